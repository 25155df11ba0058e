"""Real servers of other projects, started for a test on loopback with a configuration of its own.

Nothing of what the system itself may run is touched. A program that is missing skips the test,
or fails it where the environment variable ``CI_REQUIRE_TOOLS`` is set.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from loopback import unused_port

DEADLINE = 30.0
# Debian keeps daemons out of the path of users that are not root.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])


def program(name: str, package: str = "") -> str:
    """The path of a program; ``package`` is what Debian calls the package."""
    found = shutil.which(name, path=_PATH)
    if found is not None:
        return found
    return missing(f"{name} is not installed (Debian's package {package or name})")


def missing(reason: str) -> str:
    """Skip the test, or fail it where all tools must be there."""
    if os.environ.get("CI_REQUIRE_TOOLS"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def running(
    make: Callable[[Sequence[int]], Sequence[str]], folder: Path, ports: int = 1
) -> Iterator[list[int]]:
    """A program that listens on ports that the system picked, until the end of the block.

    ``make`` is given the ports, writes the configuration, and returns the command. Another
    process may take a port before the program does; then all of it is tried again.
    """
    log = folder / "log.txt"
    for _ in range(3):
        chosen = unused_ports(ports)
        with log.open("ab") as output:
            process = subprocess.Popen(
                make(chosen), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder
            )
        try:
            if all(_listens(port, process) for port in chosen):
                yield chosen
                return
        finally:
            process.terminate()
            try:
                # Some wait for their connections to end, which is nothing to wait for here.
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(DEADLINE)
    pytest.fail(f"the program did not come up: {log.read_text(errors='replace')[-2000:]}")


def unused_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on."""
    ports: list[int] = []
    while len(ports) < count:
        port = unused_port()
        if port not in ports:
            ports.append(port)
    return ports


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.02)
    return False
