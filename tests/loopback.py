"""Small real peers on loopback for the tests: a TCP server per test, with deadlines."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

DEADLINE = 10.0


class Server:
    """A listening socket; each connection is handled by ``handler`` in a thread of its own."""

    def __init__(self, handler: Callable[[socket.socket], None], family: int, host: str):
        self._handler = handler
        self._listener = socket.create_server((host, 0), family=family, backlog=16)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self.errors: list[BaseException] = []
        self._closing = False
        self._peers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            if self._closing:
                peer.close()
                return
            peer.settimeout(DEADLINE)
            self.accepted += 1
            self._peers.append(peer)
            thread = threading.Thread(target=self._run, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, peer: socket.socket) -> None:
        try:
            self._handler(peer)
        except OSError:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            peer.close()

    def close(self) -> None:
        self._closing = True
        # Wakes the accept on every platform, where closing the listener does not.
        with contextlib.suppress(OSError), socket.socket(self._listener.family) as waker:
            waker.settimeout(1)
            waker.connect((self.host, self.port))
        self._threads[0].join(DEADLINE)
        self._listener.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive(), "a server thread is stuck"
        if self.errors:
            raise self.errors[0]


@contextlib.contextmanager
def serve(
    handler: Callable[[socket.socket], None],
    family: int = socket.AF_INET,
    host: str = "127.0.0.1",
) -> Iterator[Server]:
    server = Server(handler, family, host)
    try:
        yield server
    finally:
        server.close()


def read_until(peer: socket.socket, end: bytes) -> bytes:
    """What the client sent, up to and with ``end``."""
    data = b""
    while not data.endswith(end):
        chunk = peer.recv(1)
        if not chunk:
            raise ConnectionError("the client hung up")
        data += chunk
    return data


def wait_for_end(peer: socket.socket) -> None:
    """Read until the client hangs up."""
    while peer.recv(4096):
        pass


def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
