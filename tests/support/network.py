"""Two machines and the cable between them: network namespaces joined by a pair of interfaces.

Namespaces belong to threads, and a socket to the namespace in which it was made. So a test makes
its server inside one, its client inside the other, and then uses both from wherever it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.programs import program

SERVER_4, CLIENT_4 = "10.77.0.1", "10.77.0.2"
SERVER_6, CLIENT_6 = "fd77::1", "fd77::2"
# Nobody has these; packets to them are lost without a word.
NOBODY_4, NOBODY_6 = "10.77.0.99", "fd77::99"
_NOBODYS_CARD = "02:00:00:00:00:99"
_CLONE_NEWNET = 0x40000000


class Network:
    """The machines ``client`` and ``server``."""

    def __init__(self, ip: str) -> None:
        self._ip = ip
        self._names = {who: f"{who}-{os.getpid()}" for who in ("client", "server")}

    def ip(self, who: str, *arguments: str) -> None:
        """``ip`` as the machine's own administrator enters it; its card is ``eth``."""
        done = subprocess.run(
            [self._ip, "-n", self._names[who], *arguments],
            capture_output=True,
            text=True,
            timeout=30,
        )
        if done.returncode:
            raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    @contextlib.contextmanager
    def inside(self, who: str) -> Iterator[None]:
        """Sockets and threads made in the block belong to the machine."""
        with open("/proc/thread-self/ns/net") as before:
            with open(f"/var/run/netns/{self._names[who]}") as there:
                _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def set_up(self) -> None:
        for name in self._names.values():
            self._run("netns", "add", name)
        client, server = self._names["client"], self._names["server"]
        pair = ("type", "veth", "peer", "name", "eth", "netns", server)
        self._run("link", "add", "eth", "netns", client, *pair)
        for who, addresses in {
            "client": (f"{CLIENT_4}/24", f"{CLIENT_6}/64"),
            "server": (f"{SERVER_4}/24", f"{SERVER_6}/64"),
        }.items():
            self.ip(who, "link", "set", "lo", "up")
            for address in addresses:
                # Without the wait for someone else who has the address already.
                extra = ("nodad",) if ":" in address else ()
                self.ip(who, "address", "add", address, "dev", "eth", *extra)
            self.ip(who, "link", "set", "eth", "up")
        for nobody in (NOBODY_4, NOBODY_6):
            self.ip("client", "neigh", "add", nobody, "lladdr", _NOBODYS_CARD, "dev", "eth")

    def tear_down(self) -> None:
        for name in self._names.values():
            subprocess.run([self._ip, "netns", "del", name], capture_output=True, timeout=30)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([self._ip, *arguments], capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _enter(descriptor: int) -> None:
    if sys.version_info >= (3, 12):
        os.setns(descriptor, _CLONE_NEWNET)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A network of one's own; the test is skipped where the system allows none."""
    if sys.platform != "linux" or not Path("/proc/thread-self/ns/net").exists():
        pytest.skip("network namespaces are a part of Linux")
    made = Network(program("ip", "iproute2"))
    try:
        try:
            made.set_up()
            with made.inside("client"), made.inside("server"):
                pass
        except OSError as error:
            pytest.skip(f"network namespaces are not allowed here ({error})")
        yield made
    finally:
        made.tear_down()
