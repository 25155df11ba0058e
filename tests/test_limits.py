"""Memory stays bounded whatever a server sends, and a slow program holds it back."""

from __future__ import annotations

import contextlib
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from faces import FACES, Face
from wire import frame

from websocket import (
    WebSocket,
    WebSocketException,
    WebSocketMessageTooBigException,
    WebSocketTimeoutException,
    create_connection,
)
from websocket._protocol.buffer import READ_SIZE
from websocket.testing import Server, ServerConnection

DEADLINE = 20.0
MIB = 1 << 20
SOCKET_BUFFER = 32 * 1024

pytestmark = pytest.mark.usefixtures("no_leaks")

FLOODS = {
    "pings": frame(9, b"x" * 20) * 100,
    "pongs": frame(10, b"x" * 125) * 20,
    "empty fragments": frame(0, fin=False) * 1000,
    "tiny messages": frame(1, b"a") * 1000,
    "empty messages": frame(2) * 1000,
}


class Flood:
    """A connection into which its other end pours the same bytes without end.

    Parameters:
        what: one of ``FLOODS``.
    """

    def __init__(self, what: str) -> None:
        data = FLOODS[what]
        self.what = what
        self.poured = 0
        self._data = data
        ours, self._peer = socket.socketpair()
        for sock in (ours, self._peer):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        self.ws = WebSocket()
        self.ws.sock = ours
        self.ws._open_stream().exact = False
        self._peer.sendall(frame(2, b"begun", fin=False) if data[:2] == b"\0\0" else b"")
        self._threads = [threading.Thread(target=self._pour), threading.Thread(target=self._drink)]
        for thread in self._threads:
            thread.start()

    def _pour(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.poured += self._peer.send(self._data)

    def _drink(self) -> None:
        """Pongs are read, or they would be what holds the flood back."""
        with contextlib.suppress(OSError):
            while self._peer.recv(4096):
                pass

    def close(self) -> None:
        self.ws.shutdown()
        self._peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._peer.close()


@pytest.fixture
def flood(request: pytest.FixtureRequest) -> Iterator[Flood]:
    running = Flood(request.param)
    yield running
    running.close()


@pytest.mark.parametrize("flood", FLOODS, indirect=True)
def test_a_flood_is_not_kept(flood: Flood) -> None:
    """Many times what the socket holds goes through; memory is that of once."""
    rounds = 32
    peaks: list[int] = []
    levels: list[int] = []
    tracemalloc.start()
    try:
        for round in range(1, rounds + 1):
            while flood.poured < round * SOCKET_BUFFER:
                with contextlib.suppress(WebSocketTimeoutException):
                    flood.ws.recv(timeout=0)
            level, peak = tracemalloc.get_traced_memory()
            levels.append(level)
            peaks.append(peak)
    finally:
        tracemalloc.stop()
    # A ping of 20 bytes is an event of some 150, and an entry in two queues.
    assert max(peaks) < 60 * SOCKET_BUFFER
    # How much one read brings, and the buffer for it, differ from round to round. What is kept
    # shows in all of them, and is more than the bytes that came: each is an object.
    assert min(levels[-8:]) < rounds * SOCKET_BUFFER // 2


@pytest.mark.parametrize("flood", ["tiny messages", "empty messages"], indirect=True)
def test_a_slow_program_holds_the_server_back(flood: Flood) -> None:
    received = 0
    for _ in range(100):
        flood.ws.recv()
        received += 1
    core = flood.ws._core
    kept = len(core.events) + received
    # What was read beyond that came in one read.
    assert kept * 2 <= READ_SIZE
    assert len(core.buffer) <= READ_SIZE


@pytest.mark.parametrize("flood", FLOODS, indirect=True)
def test_waiting_for_a_pong_keeps_no_flood(flood: Flood, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pong may be behind more than memory holds; whoever waits for ever is told so."""
    monkeypatch.setattr("websocket._pong.PATIENCE", 0.05)
    monkeypatch.setattr("websocket._stream.MOST_AHEAD", MIB)
    flood.ws.settimeout(DEADLINE)
    pong = flood.ws.ping("behind all that")
    tracemalloc.start()
    try:
        if flood.what == "empty fragments":
            # They come to nothing, so that there is nothing to keep.
            with pytest.raises(WebSocketTimeoutException):
                pong.wait(0.5)
        else:
            with pytest.raises(WebSocketException, match=r"behind \d+ messages"):
                pong.wait()
            assert flood.ws._stream is not None
            assert flood.ws._stream.unread > 100
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * MIB
    if flood.what != "empty fragments":
        opcode, received = flood.ws.recv_data_frame(control_frame=True)
        # What was kept is received.
        assert frame(opcode, bytes(received.data)) == FLOODS[flood.what][: 2 + len(received.data)]


def test_a_pong_behind_more_than_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever receives late makes room for what is in front of the pong."""
    monkeypatch.setattr("websocket._stream.MOST_AHEAD", MIB)
    size, count = 64 * 1024, 200
    answered = threading.Event()

    def handler(connection: ServerConnection) -> None:
        # The client's ping is answered where it is read, which is behind all that.
        for _ in range(count):
            connection.send(bytes(size))
        connection.recv(DEADLINE)

    with Server(handler) as server, create_connection(server.url, timeout=DEADLINE) as ws:
        assert ws._stream is not None
        stream = ws._stream
        pong = ws.ping()
        times: list[float] = []

        def wait() -> None:
            times.append(pong.wait(DEADLINE))
            answered.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        while stream.unread * size < MIB:
            assert not answered.wait(0.001)
        for _ in range(count):
            assert len(ws.recv()) == size
        ws.send("done")
        waiting.join(DEADLINE)
        assert len(times) == 1


def bomb(size: int) -> bytes:
    """Zeros, a thousandth of their size."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(MIB)
    first = stream.compress(zeros) + stream.flush(zlib.Z_SYNC_FLUSH)
    again = stream.compress(zeros) + stream.flush(zlib.Z_SYNC_FLUSH)
    return (first + again * (size // MIB - 1))[:-4]


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
@pytest.mark.parametrize("fragments", [1, 50])
def test_a_bomb(face: Face, fragments: int) -> None:
    """1 GiB in 1 MiB, on a connection with a limit of 4 MiB."""
    payload = bomb(1024 * MIB)
    assert len(payload) < 1.2 * MIB
    codes: list[int | None] = []
    size = len(payload) // fragments + 1

    def handler(connection: ServerConnection) -> None:
        data = b"".join(
            frame(
                0 if at else 2,
                payload[at : at + size],
                rsv=0 if at else 4,
                fin=at + size >= len(payload),
            )
            for at in range(0, len(payload), size)
        )
        connection.send("here it comes")
        with contextlib.suppress(Exception):
            connection.send_raw(data)
        with contextlib.suppress(Exception):
            connection.recv(DEADLINE)
        codes.append(connection.close_code)

    limit = 4 * MIB
    with Server(handler, compression="deflate") as server:
        tracemalloc.start()
        try:
            outcome = face.run(server.url, DEADLINE, compression="deflate", max_size=limit)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert outcome.messages == ["here it comes"]
    assert isinstance(outcome.error, WebSocketMessageTooBigException)
    assert outcome.error.limit == limit
    assert "max_size" in str(outcome.error)
    assert codes == [1009]
    # The server's own copy of the bomb is in it, and what its socket could not take yet.
    assert peak < limit + limit // 8 + 5 * len(payload)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_no_limit(compression: str | None) -> None:
    size = 3 * MIB
    with (
        Server(lambda c: c.send(bytes(size)), compression="deflate") as server,
        create_connection(
            server.url, compression=compression, max_size=None, timeout=DEADLINE
        ) as ws,
    ):
        assert ws.recv() == bytes(size)
