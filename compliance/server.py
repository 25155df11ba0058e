"""Installs, starts and stops the Autobahn fuzzing server, which is Python 2 software.

What the server says about a client is read by ``results.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path

__all__ = ["ComplianceError", "FuzzingServer", "find_python2", "install", "running_server"]

REQUIREMENTS = Path(__file__).parent / "autobahn-requirements.txt"
SUITE_VERSION = "25.10.1"
START_SECONDS = 60

# ``-E -S`` keep the variables and the packages of other Python programs out of the server.
# The suite itself would listen on every address of the machine; loopback is enough here.
LAUNCHER = """
import functools, site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite import fuzzing, wstest
fuzzing.listenWS = functools.partial(fuzzing.listenWS, interface="127.0.0.1")
wstest.run()
"""


class ComplianceError(Exception):
    """The suite could not be run; the text is one sentence for the person who started it."""


def _candidates() -> Iterator[str]:
    """Python 2.7 interpreters that may be there, the one asked for first."""
    asked = os.environ.get("AUTOBAHN_PYTHON")
    if asked:
        yield asked
        return
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    for root in roots:
        if root:
            for folder in sorted(Path(root, "versions").glob("2.7*"), reverse=True):
                yield str(folder / "bin" / "python2.7")
    for name in ("python2.7", "python2"):
        found = shutil.which(name)
        if found:
            yield found


def find_python2() -> str:
    """The path of a Python 2.7 with pip.

    ``AUTOBAHN_PYTHON`` names one; otherwise pyenv's versions and ``PATH`` are searched. Each
    is tried out, because pyenv also puts a ``python2.7`` that only prints an error in ``PATH``.
    """
    probe = "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))"
    tried: list[str] = []
    for candidate in _candidates():
        tried.append(candidate)
        with contextlib.suppress(OSError):
            if subprocess.run([candidate, "-E", "-c", probe], capture_output=True).returncode == 0:
                return candidate
    raise ComplianceError(
        "The Autobahn fuzzing server needs a Python 2.7 with pip, and none was found "
        f"(tried: {', '.join(tried) or 'nothing looked like one'}): install one, "
        "for instance with 'pyenv install 2.7.18', or set AUTOBAHN_PYTHON to its path."
    )


def install(folder: Path, log: Path) -> tuple[str, Path]:
    """Install the pinned suite into a folder, unless it is there already.

    Args:
        folder: created, or emptied when it holds another version of the suite.
        log: receives what pip prints.

    Returns:
        The Python 2.7 to run and the folder of its packages.
    """
    python = find_python2()
    packages = folder / "packages"
    marker = folder / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest() + " " + python
    if marker.exists() and marker.read_text() == wanted:
        return python, packages
    print(f"Installing the Autobahn test suite {SUITE_VERSION} into {folder} ...", flush=True)
    marker.unlink(missing_ok=True)
    shutil.rmtree(packages, ignore_errors=True)
    packages.mkdir(parents=True)
    command = [python, "-E", "-m", "pip", "install", "--no-warn-script-location"]
    command += ["--target", str(packages), "--requirement", str(REQUIREMENTS)]
    with log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
    if status:
        raise ComplianceError(
            f"pip could not install the Autobahn test suite with {python} (exit status {status}; "
            f"it needs PyPI, a C compiler and the headers of Python 2.7): read {log}."
        )
    marker.write_text(wanted)
    return python, packages


class FuzzingServer:
    """A fuzzing server that is listening.

    Attributes:
        url: where it listens, without a path.
        index: the JSON file with one entry per case, there after the reports were asked for.
    """

    def __init__(self, port: int, output: Path):
        self.url = f"ws://127.0.0.1:{port}"
        self._output = output

    @property
    def index(self) -> Path:
        nested = self._output / "clients" / "index.json"
        return nested if nested.exists() else self._output / "index.json"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            raise ComplianceError(
                f"The fuzzing server ended with status {process.returncode} before it "
                f"listened: read {log}."
            )
        if time.monotonic() > deadline:
            raise ComplianceError(
                f"The fuzzing server did not listen within {START_SECONDS} s: read {log}."
            )
        time.sleep(0.05)


@contextlib.contextmanager
def running_server(
    environment: Path, reports: Path, cases: list[str]
) -> Generator[FuzzingServer, None, None]:
    """Start the server on a free loopback port and stop it at the end of the block.

    Args:
        environment: folder that the suite is installed in.
        reports: receives ``server.log`` and, in ``autobahn/``, the server's own reports.
        cases: patterns of the cases to offer, such as ``7.*``.
    """
    python, packages = install(environment.resolve(), reports / "install.log")
    output = reports / "autobahn"
    shutil.rmtree(output, ignore_errors=True)
    port = _free_port()
    specification: dict[str, object] = {
        "url": f"ws://127.0.0.1:{port}",
        "outdir": str(output),
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    spec_file = reports / "server.json"
    spec_file.write_text(json.dumps(specification, indent=2) + "\n")
    command = [python, "-E", "-S", "-u", "-c", LAUNCHER, str(packages)]
    command += ["--mode", "fuzzingserver", "--webport", "0", "--spec", str(spec_file)]
    log = reports / "server.log"
    with (
        log.open("wb") as log_file,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            _wait_until_listening(port, process, log)
            yield FuzzingServer(port, output)
        finally:
            process.kill()
