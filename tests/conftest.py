"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import os
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from websocket import getdefaulttimeout, setdefaulttimeout

DEADLINE = 10.0


def descriptors() -> int:
    """How many descriptors this process has open; always 0 where that can't be counted."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def _join(thread: threading.Thread, deadline: float) -> None:
    while True:
        try:
            thread.join(max(0.0, deadline - time.monotonic()))
            return
        except RuntimeError:
            # An interrupt has come while it was being started: it is about to run.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)


class LeakCheck:
    """What was open when it was made, and whether it is no more than that now."""

    def __init__(self) -> None:
        # What earlier tests left must not be closed meanwhile; the young garbage will do.
        gc.collect(1)
        self._descriptors = descriptors()
        self._threads = set(threading.enumerate())

    def verify(self) -> None:
        # A peer's thread may be on its last lines.
        deadline = time.monotonic() + DEADLINE
        for thread in set(threading.enumerate()) - self._threads:
            _join(thread, deadline)
            assert not thread.is_alive(), f"{thread} was left behind"
        # Before the collector could close what was forgotten.
        assert descriptors() <= self._descriptors, "a descriptor was left open"


def wait_until_in(function: str, thread: threading.Thread) -> None:
    """Wait until ``thread`` is inside a Python function of this name."""
    deadline = time.monotonic() + DEADLINE
    while True:
        frame = sys._current_frames().get(thread.ident or 0)
        while frame is not None:
            if frame.f_code.co_name == function:
                return
            frame = frame.f_back
        assert time.monotonic() < deadline, f"{thread} never came to {function}"
        time.sleep(0.001)


@pytest.fixture
def no_leaks() -> Iterator[LeakCheck]:
    """Fails a test that leaves a descriptor or a thread behind."""
    check = LeakCheck()
    yield check
    check.verify()


@pytest.fixture
def default_timeout() -> Iterator[None]:
    """Puts back what the test changes with ``setdefaulttimeout``."""
    before = getdefaulttimeout()
    yield
    setdefaulttimeout(before)


class Certificates(NamedTuple):
    """A certificate for localhost and 127.0.0.1, and the authority that signed it."""

    ca_file: str
    server: ssl.SSLContext
    server_file: str

    @property
    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    trustme = pytest.importorskip("trustme")
    folder: Path = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    leaf = authority.issue_cert("localhost", "127.0.0.1", "::1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    server_file = folder / "server.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(server_file))
    return Certificates(str(ca_file), server, str(server_file))
