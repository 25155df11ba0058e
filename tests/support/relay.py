"""A slow wire on loopback: a relay that delays, throttles, chops and stalls what passes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

from loopback import Server, serve


class Relay:
    """Carries bytes between clients and the server at ``port``.

    Args:
        port: of the server, on 127.0.0.1.
        delay: seconds that each byte is under way, in each direction.
        chunk: the most bytes that are passed on at once.
        rate: bytes per second in each direction, None for no limit.
        stall: after so many bytes in a direction, nothing passes for ``stall_time`` seconds.
    """

    def __init__(
        self,
        port: int,
        *,
        delay: float = 0.0,
        chunk: int = 65536,
        rate: float | None = None,
        stall: int | None = None,
        stall_time: float = 0.5,
    ) -> None:
        self._port = port
        self._delay, self._chunk = delay, chunk
        self.rate = rate
        self._stall, self._stall_time = stall, stall_time
        # Cleared, nothing passes: a cable that is out.
        self.connected = threading.Event()
        self.connected.set()
        self.server: Server | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"ws://127.0.0.1:{self.server.port}/"

    def handle(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 10) as upstream:
            for sock in (client, upstream):
                sock.settimeout(60)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threads = [
                threading.Thread(target=self._carry, args=pair, daemon=True)
                for pair in ((client, upstream), (upstream, client))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        line: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        sender = threading.Thread(target=self._deliver, args=(line, sink), daemon=True)
        sender.start()
        with contextlib.suppress(OSError):
            while data := source.recv(self._chunk):
                line.put((time.monotonic() + self._delay, data))
                if self.rate is not None:
                    time.sleep(len(data) / self.rate)
        line.put((time.monotonic() + self._delay, b""))
        sender.join()

    def _deliver(self, line: SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while True:
                due, data = line.get()
                time.sleep(max(0.0, due - time.monotonic()))
                self.connected.wait(60)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
                passed += len(data)
                if self._stall is not None and passed >= self._stall:
                    passed = 0
                    time.sleep(self._stall_time)


@contextlib.contextmanager
def relay(port: int, **options: float | None) -> Iterator[Relay]:
    """A relay to the server at ``port``; the options are those of the class."""
    made = Relay(port, **options)  # type: ignore[arg-type]
    with serve(made.handle) as made.server:
        yield made
        made.connected.set()
