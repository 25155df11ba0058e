"""Messages in pieces: recv_stream and send_stream, and what others may do meanwhile."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_deflate import encoded, pair, sent_messages
from test_properties import chunk_sizes, chunked, examples
from wire import frame, parse

from websocket import (
    ABNF,
    Deflate,
    WebSocket,
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketPayloadException,
    WebSocketProtocolException,
    WebSocketTimeoutException,
    create_connection,
    enableTrace,
)
from websocket._pieces import PIECE_SIZE
from websocket._protocol.connection import Connection, Role
from websocket._protocol.messages import Piece, Ping
from websocket.testing import Server, ServerConnection

DEADLINE = 20.0
MIB = 1 << 20

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def ends() -> Iterator[tuple[WebSocket, socket.socket]]:
    """An open connection, and the bare socket at its other end."""
    ours, peer = socket.socketpair()
    peer.settimeout(DEADLINE)
    ws = WebSocket()
    ws.sock = ours
    ws.settimeout(DEADLINE)
    ws._open_stream().exact = False
    with peer:
        yield ws, peer
        ws.shutdown()


def in_thread(function: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


class TestReceiving:
    def test_a_frame_is_handed_out_before_its_end(self, ends):
        ws, peer = ends
        peer.sendall(frame(2, b"begin", length=1 << 62))
        stream = ws.recv_stream()
        assert next(stream) == b"begin"
        peer.sendall(b"more")
        assert next(stream) == b"more"

    @pytest.mark.parametrize("exact", [False, True])
    def test_a_message_and_the_next(self, ends, exact):
        ws, peer = ends
        ws._open_stream().exact = exact
        peer.sendall(
            frame(1, "é€".encode()[:3], fin=False)
            + frame(9, b"ping")
            + frame(0, "é€".encode()[3:4], fin=False)
            + frame(0, "é€".encode()[4:])
            + frame(1, b"next")
        )
        assert list(ws.recv_stream()) == ["é", "€"]
        assert ws.recv() == "next"
        assert peer.recv(100)[0] == 0x8A

    @pytest.mark.parametrize(
        ("data", "piece"),
        [(frame(1), ""), (frame(2), b""), (frame(1, fin=False) + frame(0), "")],
    )
    def test_an_empty_message(self, ends, data, piece):
        ws, peer = ends
        peer.sendall(data + frame(2, b"next"))
        assert list(ws.recv_stream()) == [piece]
        assert list(ws.recv_stream()) == [b"next"]

    def test_a_message_that_is_here_already(self, ends):
        ws, peer = ends
        peer.sendall(frame(1, b"one") + frame(1, b"two") + frame(1, b"three"))
        assert ws.recv() == "one"
        assert list(ws.recv_stream()) == ["two"]
        assert ws.recv() == "three"

    @pytest.mark.parametrize("fragments", [False, True])
    def test_a_message_that_has_begun(self, ends, fragments):
        ws, peer = ends
        text = "€" * 10
        if fragments:
            peer.sendall(frame(1, text.encode()[:10], fin=False) + frame(0, b"", fin=False))
        else:
            peer.sendall(frame(1, text.encode())[:12])
        with pytest.raises(WebSocketTimeoutException):
            ws.recv(timeout=0)
        if fragments:
            peer.sendall(frame(0, text.encode()[10:]))
        else:
            peer.sendall(frame(1, text.encode())[12:])
        pieces = list(ws.recv_stream())
        assert "".join(pieces) == text
        assert len(pieces) == 2 if fragments else 1

    def test_a_timeout_before_the_message_changes_nothing(self, ends):
        ws, peer = ends
        with pytest.raises(WebSocketTimeoutException):
            next(ws.recv_stream(timeout=0))
        peer.sendall(frame(1, b"whole", fin=False) + frame(0, b" message"))
        assert ws.recv() == "whole message"

    def test_after_a_timeout_the_iteration_goes_on(self, ends):
        ws, peer = ends
        peer.sendall(frame(1, b"one", length=6))
        stream = ws.recv_stream(timeout=0)
        assert next(stream) == "one"
        with pytest.raises(WebSocketTimeoutException):
            next(stream)
        peer.sendall(b"two")
        assert next(stream) == "two"
        assert list(stream) == []

    def test_the_rest_of_a_message_is_skipped(self, ends):
        ws, peer = ends
        long = frame(1, b"a" * 10, fin=False) + frame(0, b"b" * 300_000)
        data = long + frame(1, b"c") + long + frame(1, b"d") + long + frame(1, b"e")
        writer = in_thread(peer.sendall, data)
        assert next(ws.recv_stream())[0] == "a"
        assert ws.recv() == "c"
        left = ws.recv_stream()
        next(left)
        assert list(ws.recv_stream()) == ["d"]
        next(ws.recv_stream())
        assert ws.recv_data() == (1, b"e")
        writer.join()

    def test_a_stream_that_was_left_does_not_end_up_in_the_next(self, ends):
        ws, peer = ends
        peer.sendall(frame(1, b"old", fin=False) + frame(0, b"old"))
        next(ws.recv_stream())
        peer.sendall(frame(1, b"new", fin=False) + frame(0, b"new"))
        assert "".join(ws.recv_stream()) == "newnew"

    def test_a_close_in_the_middle(self, ends):
        ws, peer = ends
        peer.sendall(frame(1, b"half", fin=False) + frame(8, b"\x03\xe9"))
        stream = ws.recv_stream()
        assert next(stream) == "half"
        with pytest.raises(WebSocketConnectionClosedException, match="in the middle"):
            next(stream)
        assert ws.close_code == 1001

    def test_a_close_before_it(self, ends):
        ws, peer = ends
        peer.sendall(frame(8, b"\x03\xe8"))
        assert list(ws.recv_stream()) == []
        assert ws.close_code == 1000

    def test_the_end_of_the_stream_in_the_middle(self, ends):
        ws, peer = ends
        peer.sendall(frame(2, b"half", length=9))
        stream = ws.recv_stream()
        assert next(stream) == b"half"
        peer.close()
        with pytest.raises(WebSocketConnectionClosedException):
            next(stream)

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (frame(0, b"\xff"), WebSocketPayloadException),
            (frame(0, b"\xe2\x82"), WebSocketPayloadException),
            (frame(1, b""), WebSocketProtocolException),
        ],
    )
    def test_errors(self, ends, data, error):
        ws, peer = ends
        peer.sendall(frame(1, b"good", fin=False))
        stream = ws.recv_stream()
        assert next(stream) == "good"
        peer.sendall(data)
        with pytest.raises(error):
            list(stream)
        assert not ws.connected

    def test_text_that_is_not_checked(self):
        ours, peer = socket.socketpair()
        ws = WebSocket(skip_utf8_validation=True)
        ws.sock = ours
        with peer:
            peer.sendall(frame(1, b"a\xe2", fin=False) + frame(0, b"\x82\xac\xff\xe2"))
            assert "".join(ws.recv_stream()) == "a€\udcff\udce2"
            ws.shutdown()

    def test_with_fire_cont_frame(self):
        ours, peer = socket.socketpair()
        ws = WebSocket(fire_cont_frame=True)
        ws.sock = ours
        with peer:
            peer.sendall(frame(1, b"a", fin=False) + frame(0, b"b"))
            assert list(ws.recv_stream()) == ["a", "b"]
            peer.sendall(frame(1, b"a", fin=False) + frame(0, b"b"))
            assert ws.recv_data() == (1, b"a")
            assert ws.recv_data() == (0, b"b")
            ws.shutdown()

    def test_on_the_outer_road(self):
        class Own(WebSocket):
            def recv_frame(self) -> ABNF:
                return super().recv_frame()

        ours, peer = socket.socketpair()
        ws = Own()
        ws.sock = ours
        with peer:
            peer.sendall(frame(1, b"a", fin=False) + frame(0, b"b") + frame(1, b"c"))
            assert list(ws.recv_stream()) == ["a", "b"]
            assert ws.recv() == "c"
            ws.shutdown()

    @pytest.mark.parametrize("compression", [None, "deflate"])
    def test_memory_is_that_of_a_chunk(self, compression):
        total, chunk = 40 * MIB, bytes(MIB)

        def handler(connection: ServerConnection) -> None:
            # As one frame where that is possible without having it in memory.
            if compression is None:
                connection.send_raw(b"\x82\x7f" + total.to_bytes(8, "big"))
                for _ in range(total // MIB):
                    connection.send_raw(chunk)
            else:
                connection.send(bytes(total))
            connection.recv(DEADLINE)

        with Server(handler, compression=compression) as server:
            ws = create_connection(server.url, compression=compression, timeout=DEADLINE)
            stream = ws.recv_stream()
            size = len(next(stream))
            base = 0
            tracemalloc.start()
            try:
                ours = [tracemalloc.Filter(True, "*/websocket/_*")]
                for piece in stream:
                    size += len(piece)
                    if size - base > 8 * MIB:
                        base = size
                        traces = tracemalloc.take_snapshot().filter_traces(ours)
                        assert sum(trace.size for trace in traces.traces) < 4 * MIB
            finally:
                tracemalloc.stop()
            assert size == total
            ws.send("done")
            ws.close()

    def test_a_ping_is_answered_between_pieces(self):
        answered = threading.Event()

        def handler(connection: ServerConnection) -> None:
            def pieces() -> Iterator[str]:
                yield "one"
                pong = connection.ping("now")
                yield "two"
                assert pong.wait(DEADLINE) >= 0
                answered.set()
                yield "three"

            connection.send_fragments(pieces())

        with Server(handler) as server:
            with create_connection(server.url, timeout=DEADLINE) as ws:
                assert "".join(ws.recv_stream()) == "onetwothree"
            assert answered.is_set()
            assert server.errors == []

    def test_a_wait_for_a_pong_does_not_gather_the_message(self, ends):
        """What the pieces are to spare us."""
        ws, peer = ends
        size = 30 * MIB
        writer = in_thread(send_all_or_fail, peer, frame(2, bytes(size)))
        stream = ws.recv_stream()
        next(stream)
        waiter = ws.ping()
        with pytest.raises(WebSocketTimeoutException):
            waiter.wait(0.05)
        assert len(ws._core.buffer) < MIB
        ws.shutdown()
        writer.join()

    @pytest.mark.parametrize("to", ["server", "client"])
    @examples(30)
    @given(
        messages=sent_messages(),
        sizes=chunk_sizes(),
        whole=st.lists(st.booleans(), min_size=1, max_size=4),
        settings=st.sampled_from([None, Deflate(threshold=0), Deflate(threshold=300)]),
        start=st.integers(0, 60),
    )
    def test_any_messages(self, to, messages, sizes, whole, settings, start):
        """Streamed and whole ones in turn; the first one maybe only once it has begun."""
        if settings is None:
            ends = Connection(Role.CLIENT), Connection(Role.SERVER)
        else:
            ends = pair(settings, settings)
        receiving, sending = ends if to == "client" else ends[::-1]
        data = b"".join(encoded(sending, messages))
        wanted = (whole * len(messages))[: len(messages)]
        chunks = iter([data[:start], *chunked(data[start:], sizes), b"", b""])

        def next_event() -> object:
            while not receiving.events:
                if receiving.streaming:
                    receiving.go_on()
                if not receiving.events:
                    receiving.feed(next(chunks))
            return receiving.events.popleft()

        if start:
            receiving.feed(next(chunks))
        for (message, _), as_whole in zip(messages, wanted, strict=True):
            pieces: list[Any] = []
            while True:
                if not as_whole and not pieces and not receiving.events:
                    receiving.stream()
                event = next_event()
                assert not isinstance(event, Exception)
                if isinstance(event, Piece):
                    assert event.first is not bool(pieces)
                    pieces.append(event.data)
                    if event.fin:
                        break
                elif not isinstance(event, Ping):
                    assert not pieces
                    pieces.append(event)
                    break
            assert type(message)().join(pieces) == message


def send_all_or_fail(peer: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        peer.sendall(data)


class Recorder:
    """A server's handler that keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.closed: list[tuple[int | None, bool]] = []
        self.ended = threading.Event()

    def __call__(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                self.messages.append(message)
        finally:
            self.closed.append((connection.close_code, True))
            self.ended.set()

    def wait(self) -> None:
        assert self.ended.wait(DEADLINE)


COMPRESSIONS = [None, "deflate", Deflate(client_no_context_takeover=True)]


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=["plain", "deflate", "no takeover"])
class TestSending:
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (lambda: ["one ", "two"], "one two"),
            (lambda: iter([b"one ", bytearray(b"two"), memoryview(b" 3")]), b"one two 3"),
            (lambda: ["", "a", "", "b", ""], "ab"),
            (lambda: [""], ""),
            (lambda: [b""], b""),
            (lambda: ["é", b"\xe2\x82", b"\xac"], "é€"),
            (lambda: ["\U0001f600" * 100_000, "x"], "\U0001f600" * 100_000 + "x"),
            (lambda: [bytes(300_000), b"x"], bytes(300_000) + b"x"),
            (lambda: io.StringIO("line\n" * 50_000), "line\n" * 50_000),
            (lambda: io.BytesIO(bytes(200_001)), bytes(200_001)),
            (lambda: io.StringIO(""), ""),
            (lambda: io.BytesIO(b""), b""),
        ],
    )
    @pytest.mark.parametrize("road", ["direct", "outer"])
    def test_sources(self, compression, source, message, road):
        with (
            Server(compression="deflate") as server,
            create_connection(server.url, compression=compression, timeout=DEADLINE) as ws,
        ):
            if road == "outer":
                ws.set_mask_key(lambda size: b"\1\2\3\4"[:size])
            assert ws.send_stream(source()) > 0
            assert ws.recv() == message
            ws.send("after" * 20)
            assert ws.recv() == "after" * 20
        assert server.errors == []

    def test_the_opcode(self, compression):
        with (
            Server(compression="deflate") as server,
            create_connection(server.url, compression=compression, timeout=DEADLINE) as ws,
        ):
            ws.send_stream([b"te", b"xt"], ABNF.OPCODE_TEXT)
            assert ws.recv() == "text"
            ws.send_stream(["bin"], ABNF.OPCODE_BINARY)
            assert ws.recv() == b"bin"
            ws.send_stream([], ABNF.OPCODE_BINARY)
            assert ws.recv() == b""
            with pytest.raises(WebSocketArgumentException, match="give the opcode"):
                ws.send_stream([])
            with pytest.raises(WebSocketArgumentException, match="OPCODE_TEXT"):
                ws.send_stream(["a"], ABNF.OPCODE_PING)
            ws.send("still open")
            assert ws.recv() == "still open"

    def test_a_file(self, compression, tmp_path: Path):
        path = tmp_path / "file"
        path.write_bytes(b"0123456789" * 30_000)
        with (
            Server(compression="deflate") as server,
            create_connection(server.url, compression=compression, timeout=DEADLINE) as ws,
            path.open("rb") as file,
        ):
            ws.send_stream(file)
            assert ws.recv() == path.read_bytes()

    @pytest.mark.parametrize("source", ["text", b"bytes", bytearray(b"x"), memoryview(b"x")])
    def test_a_message_is_no_source(self, compression, source):
        with (
            Server() as server,
            create_connection(server.url, compression=compression, timeout=DEADLINE) as ws,
        ):
            with pytest.raises(TypeError, match="send"):
                ws.send_stream(source)
            ws.send("still open")
            assert ws.recv() == "still open"

    def test_an_error_before_the_first_piece(self, compression):
        def source() -> Iterator[str]:
            raise KeyError("nothing")
            yield "never"

        with (
            Server() as server,
            create_connection(server.url, compression=compression, timeout=DEADLINE) as ws,
        ):
            with pytest.raises(KeyError):
                ws.send_stream(source())
            ws.send("still open")
            assert ws.recv() == "still open"

    @pytest.mark.parametrize(
        ("rest", "error"),
        [
            (ZeroDivisionError(), ZeroDivisionError),
            (KeyboardInterrupt(), KeyboardInterrupt),
            (17, TypeError),
            (b"\xff", WebSocketPayloadException),
            ("\udc80", WebSocketPayloadException),
            (b"\xe2", WebSocketPayloadException),
        ],
    )
    def test_an_error_in_the_middle_ends_the_connection(self, compression, rest, error):
        def source() -> Iterator[Any]:
            yield "half"
            if isinstance(rest, BaseException):
                raise rest
            yield rest

        recorder = Recorder()
        with Server(recorder, compression="deflate") as server:
            ws = create_connection(server.url, compression=compression, timeout=DEADLINE)
            with pytest.raises(error):
                ws.send_stream(source())
            assert not ws.connected
            recorder.wait()
            with pytest.raises(WebSocketConnectionClosedException):
                ws.send("more")
        assert recorder.messages == []
        assert recorder.closed == [(1011, True)]

    def test_messages_of_other_threads_wait(self, compression):
        recorder = Recorder()
        with Server(recorder, compression="deflate") as server:
            ws = create_connection(server.url, compression=compression, timeout=DEADLINE)
            others: list[threading.Thread] = []

            def source() -> Iterator[str]:
                yield "one "
                others.extend(in_thread(ws.send, f"other {i} " * 20) for i in range(3))
                others.append(in_thread(ws.send_stream, [f"other {3} "] * 20))
                for number in range(20):
                    # A ping goes through; its pong is read here, as nobody else receives.
                    assert ws.ping(str(number)).wait(DEADLINE) >= 0
                    yield f"{number} "

            ws.send_stream(source())
            for other in others:
                other.join()
            ws.close()
            recorder.wait()
        first, *rest = recorder.messages
        assert first == "one " + "".join(f"{number} " for number in range(20))
        assert sorted(map(str, rest)) == [f"other {i} " * 20 for i in range(4)]
        assert server.errors == []

    def test_another_message_of_the_same_thread(self, compression):
        recorder = Recorder()
        with Server(recorder, compression="deflate") as server:
            ws = create_connection(server.url, compression=compression, timeout=DEADLINE)

            def source() -> Iterator[str]:
                yield "one"
                ws.send("two")
                yield "three"

            with pytest.raises(WebSocketException, match="in pieces"):
                ws.send_stream(source())
            recorder.wait()
        assert recorder.messages == []

    def test_a_close_of_another_thread_goes_out_in_between(self, compression):
        recorder = Recorder()
        with Server(recorder, compression="deflate") as server:
            ws = create_connection(server.url, compression=compression, timeout=DEADLINE)

            def source() -> Iterator[str]:
                yield "one"
                closer = in_thread(ws.close, 1001)
                closer.join()
                yield "two"

            with pytest.raises(WebSocketConnectionClosedException):
                ws.send_stream(source())
            recorder.wait()
        assert recorder.messages == []
        assert recorder.closed == [(1001, True)]

    def test_a_close_while_a_source_never_pauses(self, compression):
        recorder = Recorder()
        with Server(recorder, compression="deflate") as server:
            ws = create_connection(server.url, compression=compression, timeout=DEADLINE)
            begun = threading.Event()

            def source() -> Iterator[bytes]:
                while True:
                    yield bytes(PIECE_SIZE)
                    begun.set()

            def close() -> None:
                begun.wait(DEADLINE)
                ws.close(timeout=DEADLINE)

            closer = in_thread(close)
            with pytest.raises(WebSocketConnectionClosedException):
                ws.send_stream(source())
            closer.join()
            recorder.wait()
        assert recorder.closed == [(1000, True)]


class TestSendingOnTheWire:
    def test_each_piece_goes_out_at_once(self, ends):
        ws, peer = ends
        seen: list[bytes] = []

        def source() -> Iterator[str]:
            yield "one"
            seen.append(peer.recv(100))
            yield "two"
            seen.append(peer.recv(100))

        size = ws.send_stream(source())
        seen.append(peer.recv(100))
        assert [data[0] for data in seen] == [0x01, 0x00, 0x80]
        assert sum(map(len, seen)) == size

    def test_without_locks(self):
        ours, peer = socket.socketpair()
        ws = WebSocket(enable_multithread=False)
        ws.sock = ours
        with peer:
            ws.send_stream(["one", "two"])
            ws.send("three")
            sent = peer.recv(100)
            assert [f.opcode for f in parse(sent)] == [1, 0, 0, 1]

            def source() -> Iterator[str]:
                yield "one"
                ws.send("two")
                yield "three"

            with pytest.raises(WebSocketException, match="in pieces"):
                ws.send_stream(source())

    def test_a_timeout_drops_the_connection(self, ends):
        ws, peer = ends
        ws.settimeout(0.05)
        with pytest.raises(WebSocketTimeoutException):
            ws.send_stream(bytes(PIECE_SIZE) for _ in range(1000))
        assert not ws.connected
        with pytest.raises(WebSocketConnectionClosedException):
            ws.send("more")
        while peer.recv(MIB):
            pass

    def test_a_file_that_would_block(self, ends):
        class Dry(io.RawIOBase):
            def read(self, size: int = -1) -> None:
                return None

        ws, _ = ends
        with pytest.raises(BlockingIOError, match="nothing to read"):
            ws.send_stream(Dry())

    def test_overridden_methods_see_the_fragments(self):
        frames: list[tuple[int, int, int, bytes]] = []

        class Own(WebSocket):
            def send_frame(self, frame: ABNF) -> int:
                frames.append((frame.fin, frame.rsv1, frame.opcode, bytes(frame.data)))
                return super().send_frame(frame)

        with (
            Server(compression="deflate") as server,
            create_connection(
                server.url, class_=Own, compression="deflate", timeout=DEADLINE
            ) as ws,
        ):
            ws.send_stream(["one", "two"])
            assert ws.recv() == "onetwo"
            ws.send("whole" * 20)
            assert ws.recv() == "whole" * 20
        assert [f[:3] for f in frames[:4]] == [(0, 1, 1), (0, 0, 0), (1, 0, 0), (1, 1, 1)]

    def test_traced(self, caplog):
        enableTrace(True)
        try:
            with (
                Server(compression="deflate") as server,
                create_connection(server.url, compression="deflate", timeout=DEADLINE) as ws,
            ):
                ws.send_stream(["one", "two"])
                assert "".join(ws.recv_stream()) == "onetwo"
                ws.send("x" * 500)
                assert ws.recv() == "x" * 500
        finally:
            enableTrace(False)
