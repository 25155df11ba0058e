"""The blocking face, against scripted servers."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from badservers import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Peer,
    close_payload,
    scripted,
)
from conftest import DEADLINE, Certificates
from loopback import serve
from wire import Parsed, frame, parse

import websocket
from websocket import (
    ABNF,
    WebSocket,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketPayloadException,
    WebSocketProtocolException,
    WebSocketTimeoutException,
    create_connection,
    enableTrace,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

CLOSED = "Connection is already closed."
LOST = "Connection to remote host was lost."


def opening(then: bytes = b"") -> Callable[[Peer], None]:
    """A server that says ``then`` along with its opening handshake and waits for a Close."""

    def script(peer: Peer) -> None:
        peer.accept(then=then)
        peer.finish()

    return script


class Recorder:
    """A server that notes the client's frames up to its Close, which it answers."""

    def __init__(self, then: bytes = b"") -> None:
        self._then = then
        self.frames: queue.Queue[Parsed] = queue.Queue()

    def __call__(self, peer: Peer) -> None:
        peer.accept(then=self._then)
        while True:
            received = peer.next_frame()
            self.frames.put(received)
            if received.opcode == CLOSE:
                peer.send(frame(CLOSE, received.payload))
                return

    def next(self) -> Parsed:
        return self.frames.get(timeout=DEADLINE)


@contextlib.contextmanager
def connected(
    script: Callable[[Peer], None], class_: type[WebSocket] = WebSocket, **options: Any
) -> Iterator[Any]:
    """A connection to a scripted server."""
    options.setdefault("timeout", DEADLINE)
    with scripted(script) as url, create_connection(url, class_=class_, **options) as ws:
        yield ws


@pytest.fixture
def traced() -> Iterator[None]:
    """Tracing is on: the connection takes the outer road."""
    enableTrace(True, logging.NullHandler())
    yield
    enableTrace(False)


class TakesFrames(WebSocket):
    """A class as programs write it, which puts the connection on the outer road."""

    def recv_frame(self) -> ABNF:
        return super().recv_frame()


each_road = pytest.mark.parametrize(
    "class_", [WebSocket, TakesFrames], ids=["direct road", "outer road"]
)


# Receiving


@each_road
def test_what_comes_along_with_the_opening_handshake(class_: type[WebSocket]) -> None:
    data = frame(TEXT, b"one") + frame(BINARY, b"two") + frame(TEXT)
    with connected(opening(data), class_) as ws:
        assert [ws.recv() for _ in range(3)] == ["one", b"two", ""]


@each_road
def test_a_ping_that_comes_along_with_the_opening_handshake(class_: type[WebSocket]) -> None:
    server = Recorder(frame(PING, b"early"))
    with connected(server, class_) as ws:
        with pytest.raises(WebSocketTimeoutException):
            ws.recv(timeout=0.05)
        pong = server.next()
        assert (pong.opcode, pong.payload) == (PONG, b"early")


@each_road
def test_a_received_close_is_an_empty_str(class_: type[WebSocket]) -> None:
    with connected(opening(frame(CLOSE, close_payload(1001, b"bye"))), class_) as ws:
        assert ws.recv() == ""
        assert not ws.connected
        assert (ws.close_code, ws.close_reason) == (1001, "bye")
        with pytest.raises(WebSocketConnectionClosedException, match=CLOSED):
            ws.recv()
        with pytest.raises(WebSocketConnectionClosedException, match=CLOSED):
            ws.send("too late")


@each_road
def test_a_timeout_in_a_frame_leaves_the_connection_usable(class_: type[WebSocket]) -> None:
    more = threading.Semaphore(0)
    message = "é€\U0001f600" * 100
    data = frame(TEXT, message.encode())

    def script(peer: Peer) -> None:
        peer.accept()
        for start, stop in ((0, 1), (1, 3), (3, 5), (5, 400), (400, len(data))):
            assert more.acquire(timeout=DEADLINE)
            peer.send(data[start:stop])
        peer.finish()

    with connected(script, class_) as ws:
        for _ in range(4):
            with pytest.raises(WebSocketTimeoutException, match="timed out"):
                ws.recv(timeout=0.02)
            more.release()
        ws.settimeout(0.05)
        with pytest.raises(WebSocketTimeoutException, match="timed out"):
            ws.recv()
        assert ws.connected
        ws.settimeout(DEADLINE)
        more.release()
        assert ws.recv() == message


@each_road
def test_the_timeout_of_a_receive_is_absolute(class_: type[WebSocket]) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.drip(frame(TEXT, b"a" * 30), 0.02)

    with connected(script, class_) as ws:
        before = time.monotonic()
        with pytest.raises(WebSocketTimeoutException, match="timed out"):
            ws.recv(timeout=0.2)
        assert time.monotonic() - before < 1
        assert ws.recv(timeout=DEADLINE) == "a" * 30


@each_road
def test_receiving_without_blocking(class_: type[WebSocket]) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        assert go.wait(DEADLINE)
        peer.send(frame(TEXT, b"one") + frame(TEXT, b"two"))
        peer.finish()

    for timeout in (None, DEADLINE):
        go.clear()
        with connected(script, class_, timeout=timeout) as ws:
            with pytest.raises(WebSocketTimeoutException):
                ws.recv(timeout=0)
            go.set()
            assert ws.recv(timeout=DEADLINE) == "one"
            assert ws.recv(timeout=0) == "two"
            with pytest.raises(WebSocketTimeoutException):
                ws.recv(timeout=0)


def test_recv_data_gives_opcodes_and_bytes() -> None:
    data = frame(TEXT, "é".encode()) + frame(PING, b"p") + frame(BINARY, b"b")
    with connected(opening(data + frame(CLOSE, close_payload(1000, b"r")))) as ws:
        assert ws.recv_data() == (TEXT, "é".encode())
        assert ws.recv_data(control_frame=True) == (PING, b"p")
        assert ws.recv_data() == (BINARY, b"b")
        assert ws.recv_data() == (CLOSE, close_payload(1000, b"r"))


@each_road
def test_recv_data_frame_joins_fragments(class_: type[WebSocket]) -> None:
    data = frame(TEXT, b"a", fin=False) + frame(PONG, b"p") + frame(CONT, b"b")
    with connected(opening(data), class_) as ws:
        opcode, joined = ws.recv_data_frame()
        assert (opcode, joined.opcode, joined.data, joined.fin) == (TEXT, TEXT, b"ab", 1)


@each_road
def test_fragments_one_by_one(class_: type[WebSocket]) -> None:
    """A character that is cut in two comes with its second half."""
    first, second = "aé".encode()[:2], "é€".encode()[1:]
    data = frame(TEXT, first, fin=False) + frame(CONT, second, fin=False) + frame(CONT)
    data += frame(BINARY, b"b")
    with connected(opening(data), class_, fire_cont_frame=True) as ws:
        received = [ws.recv_data_frame() for _ in range(4)]
        assert [(op, f.data, f.fin) for op, f in received] == [
            (TEXT, first, 0),
            (CONT, second, 0),
            (CONT, b"", 1),
            (BINARY, b"b", 1),
        ]


def test_recv_frame_gives_each_frame() -> None:
    data = frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONT, b"b")
    with connected(opening(data), TakesFrames) as ws:
        frames = [ws.recv_frame() for _ in range(3)]
        assert [(f.opcode, f.data, f.fin) for f in frames] == [
            (TEXT, b"a", 0),
            (PING, b"p", 1),
            (CONT, b"b", 1),
        ]


@each_road
def test_text_that_is_not_utf8_can_be_let_through(class_: type[WebSocket]) -> None:
    with connected(opening(frame(TEXT, b"a\xffb")), class_, skip_utf8_validation=True) as ws:
        message = ws.recv()
        assert isinstance(message, str)
        assert message.encode("utf-8", "surrogateescape") == b"a\xffb"


@each_road
def test_iteration_ends_with_the_connection(class_: type[WebSocket]) -> None:
    data = frame(TEXT, b"one") + frame(TEXT) + frame(BINARY, b"two")
    with connected(opening(data + frame(CLOSE, close_payload(1000))), class_) as ws:
        assert list(ws) == ["one", "", b"two"]


def test_iteration_over_a_lost_connection_raises() -> None:
    with connected(lambda peer: peer.accept(then=frame(TEXT, b"one"))) as ws:
        messages = iter(ws)
        assert next(messages) == "one"
        with pytest.raises(WebSocketConnectionClosedException, match=LOST):
            next(messages)


@each_road
def test_after_an_error_the_connection_is_closed(class_: type[WebSocket]) -> None:
    with connected(opening(frame(CONT)), class_) as ws:
        with pytest.raises(WebSocketProtocolException):
            ws.recv()
        assert not ws.connected
        assert ws.sock is None
        with pytest.raises(WebSocketConnectionClosedException, match=CLOSED):
            ws.recv()


# Sending


@pytest.mark.parametrize("payload", ["a", "é" * 200, b"", b"b" * 70000])
def test_send_returns_the_size_of_the_frame(payload: str | bytes) -> None:
    server = Recorder()
    with connected(server) as ws:
        size = ws.send(payload, TEXT if isinstance(payload, str) else BINARY)
        data = payload.encode() if isinstance(payload, str) else payload
        header = 6 if len(data) < 126 else 8 if len(data) < 65536 else 14
        assert size == header + len(data)
        assert server.next().payload == data


def test_every_way_to_send() -> None:
    server = Recorder()
    with connected(server) as ws:
        ws.send("text")
        ws.send(b"bytes are text unless something else is said")
        ws.send_text("text")
        ws.send_bytes(b"a")
        ws.send_binary(bytearray(b"b"))
        ws.send_binary(memoryview(b"abcdef")[::2])
        ws.send("x", ABNF.OPCODE_BINARY)
        ws.ping("p")
        ws.pong(b"q")
        ws.send_frame(ABNF.create_frame("one", TEXT, 0))
        ws.send_frame(ABNF.create_frame("two", ABNF.OPCODE_CONT, 1))
        got = [server.next() for _ in range(11)]
    assert [(f.opcode, f.payload, f.fin) for f in got] == [
        (TEXT, b"text", True),
        (TEXT, b"bytes are text unless something else is said", True),
        (TEXT, b"text", True),
        (BINARY, b"a", True),
        (BINARY, b"b", True),
        (BINARY, b"ace", True),
        (BINARY, b"x", True),
        (PING, b"p", True),
        (PONG, b"q", True),
        (TEXT, b"one", False),
        (CONT, b"two", True),
    ]
    assert all(f.key is not None for f in got)


def test_what_can_not_be_sent_is_refused_and_harms_nothing() -> None:
    server = Recorder()
    with connected(server) as ws:
        for payload, opcode, error in [
            ("a", 3, ValueError),
            (b"\xff", TEXT, WebSocketPayloadException),
            ("\ud800", TEXT, WebSocketPayloadException),
            (b"a" * 126, PING, ValueError),
            (b"\x03", CLOSE, ValueError),
            (5, TEXT, TypeError),
            (None, BINARY, TypeError),
            ({"a": 1}, TEXT, TypeError),
        ]:
            with pytest.raises(error):
                ws.send(payload, opcode)
        ws.send("fine")
        assert server.next().payload == b"fine"


MANY = ["a", b"b", "\u00e9" * 300, bytearray(b"c"), memoryview(b"d"), "", b"", "x" * 200_000]


class Loud(WebSocket):
    """Notes what goes through ``send``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.said: list[Any] = []

    def send(self, payload: Any, opcode: int = TEXT) -> int:
        self.said.append(payload)
        return super().send(payload, opcode)


@pytest.mark.parametrize(
    "options",
    [{}, {"get_mask_key": lambda size: b"abcd"}, {"class_": Loud}],
    ids=["direct road", "outer road", "overridden"],
)
def test_send_many(options: dict[str, Any]) -> None:
    server = Recorder()
    with connected(server, **options) as ws:
        size = ws.send_many(iter(MANY))
        frames = [server.next() for _ in MANY]
        assert [f.opcode for f in frames] == [
            TEXT,
            BINARY,
            TEXT,
            BINARY,
            BINARY,
            TEXT,
            BINARY,
            TEXT,
        ]
        expected = [m.encode() if isinstance(m, str) else bytes(m) for m in MANY]
        assert [f.payload for f in frames] == expected
        assert all(f.fin and f.key is not None for f in frames)
        assert size == sum(len(frame(f.opcode, f.payload, key=f.key)) for f in frames)
        assert ws.send_many([]) == 0
        if isinstance(ws, Loud):
            assert ws.said == MANY


@pytest.mark.parametrize(
    ("bad", "error"), [("\ud800", WebSocketPayloadException), (5, TypeError), (None, TypeError)]
)
def test_what_came_before_a_message_that_is_none_is_sent(bad: Any, error: type) -> None:
    server = Recorder()
    with connected(server) as ws:
        with pytest.raises(error):
            ws.send_many(["a", "b", bad, "c"])
        ws.send("d")
        assert [server.next().payload for _ in range(3)] == [b"a", b"b", b"d"]


def test_a_batch_on_a_connection_that_is_closed_meanwhile() -> None:
    server = Recorder()
    with connected(server) as ws:

        def messages() -> Iterator[str]:
            yield "x" * 100_000
            ws.close()
            yield "y"

        with pytest.raises(WebSocketConnectionClosedException):
            ws.send_many(messages())
        assert server.next().payload == b"x" * 100_000
        with pytest.raises(WebSocketConnectionClosedException):
            ws.send_many([])


@pytest.mark.parametrize("size", [65536, 65537, 131_072, 1_000_003])
@pytest.mark.parametrize("kind", [str, bytes, bytearray, memoryview])
def test_large_messages_go_out_whole(size: int, kind: type) -> None:
    payload = bytes(i * 7 & 0x7F for i in range(size))
    server = Recorder()
    with connected(server) as ws:
        opcode = TEXT if kind is str else BINARY
        size = ws.send(payload.decode() if kind is str else kind(payload), opcode)
        sent = server.next()
        assert (sent.fin, sent.opcode, sent.payload) == (True, opcode, payload)
        assert size == len(frame(opcode, payload, key=sent.key))


@pytest.mark.parametrize(
    "make", [lambda size: "\0" * size, lambda size: b"\0" * size], ids=["str", "bytes"]
)
def test_mask_keys_of_the_program(make: Callable[[int], str | bytes]) -> None:
    server = Recorder()
    with connected(server, get_mask_key=make) as ws:
        ws.send("a")
        assert server.next().key == bytes(4)
        ws.set_mask_key(lambda size: b"abcd")
        ws.send("a")
        ws.ping()
        assert {server.next().key, server.next().key} == {b"abcd"}
        ws.set_mask_key(None)
        ws.send("a")
        assert server.next().key != b"abcd"


@pytest.fixture(params=["tcp", "tls"])
def slow_reader(
    request: pytest.FixtureRequest, certificates: Certificates
) -> Iterator[tuple[str, dict[str, Any], threading.Event, queue.Queue[list[Parsed]]]]:
    """A server that reads nothing before the event, then everything up to a Close."""
    go = threading.Event()
    received: queue.Queue[list[Parsed]] = queue.Queue()

    def script(peer: Peer) -> None:
        peer.accept()
        assert go.wait(DEADLINE)
        frames = [peer.next_frame()]
        while frames[-1].opcode != CLOSE:
            frames.append(peer.next_frame())
        received.put(frames)

    def handler(sock: socket.socket) -> None:
        if request.param == "tls":
            sock = certificates.server.wrap_socket(sock, server_side=True)
        with sock:
            script(Peer(sock))

    with serve(handler) as server:
        if request.param == "tls":
            options: dict[str, Any] = {"sslopt": {"ca_certs": certificates.ca_file}}
            yield f"wss://localhost:{server.port}/", options, go, received
        else:
            yield f"ws://127.0.0.1:{server.port}/", {}, go, received
        go.set()


SlowReader = tuple[str, dict[str, Any], threading.Event, "queue.Queue[list[Parsed]]"]


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize("key", [None, lambda size: b"abcd"], ids=["direct road", "outer road"])
def test_a_send_that_times_out_goes_on_later(
    slow_reader: SlowReader, size: int, key: Callable[[int], bytes] | None
) -> None:
    """Half a frame is finished before the next one, whatever the transport buffers."""
    url, options, go, received = slow_reader
    options["get_mask_key"] = key
    sockopt = (socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    ws = create_connection(url, timeout=DEADLINE, sockopt=sockopt, **options)
    ws.settimeout(0.05)
    sent = []
    for number in range(100_000):
        payload = (str(number) * size)[:size].encode()
        sent.append(payload)
        try:
            ws.send_binary(payload)
        except WebSocketTimeoutException:
            break
    # Again and again: what is stuck must not be lost, nor mixed up with something else. On a
    # busy machine the first timeout may have come before the buffers were full.
    stuck = 0
    while stuck < 3:
        try:
            ws.send_binary(b"!" * 700)
            stuck = 0
        except WebSocketTimeoutException:
            stuck += 1
    ws.settimeout(DEADLINE)
    go.set()
    ws.send_binary(b"the end")
    ws.close()
    payloads = [f.payload for f in received.get(timeout=DEADLINE)]
    assert payloads[-2:] == [b"the end", close_payload(1000)]
    # Frames that were not begun are missing, those that were are whole.
    whole = [payload for payload in payloads[:-2] if payload != b"!" * 700]
    assert whole == sent[: len(whole)]
    assert len(sent) - len(whole) <= 1


def test_closing_while_the_buffers_are_full(slow_reader: SlowReader) -> None:
    url, options, _, _ = slow_reader
    ws = create_connection(url, timeout=DEADLINE, **options)
    ws.settimeout(0.05)
    with contextlib.suppress(WebSocketTimeoutException):
        while True:
            ws.send_binary(b"a" * 1_000_000)
    ws.settimeout(None)
    before = time.monotonic()
    ws.close(timeout=0.2)
    assert time.monotonic() - before < 2
    assert ws.sock is None


def test_a_flood_of_pings_does_not_stretch_a_receive() -> None:
    """A server that sends pings and reads no pong: sending must not block the receiver."""

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        peer.accept()
        peer.endless_and_deaf(frame(PING, b"x" * 125) * 100)

    with connected(script, timeout=None, sockopt=(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)) as ws:
        before = time.monotonic()
        with pytest.raises(WebSocketTimeoutException):
            ws.recv(timeout=0.5)
        assert time.monotonic() - before < 2
        ws.close(timeout=0.2)
        assert time.monotonic() - before < 4


@each_road
def test_a_flood_of_pongs_does_not_stretch_a_receive(class_: type[WebSocket]) -> None:
    """There is always something to read, and never a message."""

    def script(peer: Peer) -> None:
        peer.accept()
        peer.endless_and_deaf(frame(PONG, b"x" * 125) * 1000)

    with connected(script, class_) as ws:
        for timeout in (0.2, 0):
            before = time.monotonic()
            with pytest.raises(WebSocketTimeoutException):
                ws.recv(timeout=timeout)
            assert time.monotonic() - before < 1.5
        waiter = ws.ping("mine")
        with pytest.raises(WebSocketTimeoutException):
            waiter.wait(0.1)
        ws.close(timeout=0.1)
        assert time.monotonic() - before < 4


# Closing


def test_every_method_says_that_the_connection_is_closed() -> None:
    with connected(opening()) as ws:
        ws.close()
        for call in (
            ws.recv,
            ws.recv_data,
            ws.recv_data_frame,
            ws.recv_frame,
            ws.ping,
            ws.pong,
            ws.send_close,
            ws.fileno,
            lambda: ws.send("a"),
            lambda: ws.send_binary(b"a"),
            lambda: ws.send_frame(ABNF.create_frame("a", TEXT)),
            lambda: ws.recv(timeout=1),
        ):
            with pytest.raises(WebSocketConnectionClosedException) as caught:
                call()
            assert str(caught.value) == CLOSED


def test_a_connection_that_never_was() -> None:
    ws = WebSocket()
    assert not ws.connected
    assert (ws.sock, ws.status, ws.headers, ws.subprotocol) == (None, None, None, None)
    with pytest.raises(WebSocketConnectionClosedException, match=CLOSED):
        ws.recv()
    ws.close()
    ws.abort()
    ws.shutdown()


def test_closing_again_does_nothing() -> None:
    server = Recorder()
    with connected(server) as ws:
        ws.close(1001, b"bye")
        ws.close(1002, b"again")
        ws.shutdown()
    assert server.next().payload == close_payload(1001, b"bye")
    assert server.frames.empty()


def test_a_close_that_can_not_be_sent_leaves_the_connection_open() -> None:
    server = Recorder()
    with connected(server) as ws:
        for arguments in [(999,), (1005,), (1006,), (1015,), (5000,), (1000, b"\xff")]:
            for method in (ws.close, ws.send_close):
                with pytest.raises(ValueError, match=r"close|Close"):
                    method(*arguments)
        with pytest.raises(ValueError, match="123"):
            ws.close(reason="a" * 124)
        assert ws.connected
        ws.send("still open")
        assert server.next().payload == b"still open"


def test_a_server_that_never_answers_the_close() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.wait_for_end()

    with connected(script) as ws:
        before = time.monotonic()
        ws.close(timeout=0.2)
        assert 0.1 < time.monotonic() - before < 1.5
        assert ws.sock is None


def test_messages_do_not_stretch_the_close() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.endless_and_deaf(frame(TEXT, b"still talking" * 9))

    with connected(script) as ws:
        before = time.monotonic()
        ws.close(timeout=0.2)
        assert time.monotonic() - before < 1.5


def test_sending_close_and_going_on_receiving() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.close_frame()
        peer.send(frame(TEXT, b"one last word") + frame(CLOSE, close_payload(4000, b"ok")))

    with connected(script) as ws:
        ws.send_close(1001, b"bye")
        with pytest.raises(WebSocketConnectionClosedException, match=CLOSED):
            ws.send("too late")
        assert ws.recv() == "one last word"
        assert ws.recv() == ""
        assert (ws.close_code, ws.close_reason) == (4000, "ok")


def test_shutdown_says_nothing() -> None:
    codes: queue.Queue[int | None] = queue.Queue()

    def script(peer: Peer) -> None:
        peer.accept()
        codes.put(peer.finish())

    with connected(script) as ws:
        ws.shutdown()
        assert not ws.connected
        assert codes.get(timeout=DEADLINE) is None


def test_abort_wakes_and_loses_the_connection() -> None:
    with connected(opening()) as ws:
        ws.abort()
        with pytest.raises(WebSocketConnectionClosedException):
            ws.recv()


def test_leaving_by_an_exception_closes_as_well() -> None:
    server = Recorder()
    with pytest.raises(ZeroDivisionError), connected(server):
        raise ZeroDivisionError
    assert server.next().payload == close_payload(1000)


def test_the_same_object_connects_again() -> None:
    with scripted(opening(frame(TEXT, b"hello"))) as url:
        ws = WebSocket()
        for _ in range(3):
            ws.connect(url, timeout=DEADLINE)
            assert ws.recv() == "hello"
        ws.close()
        assert ws.close_code == 1000


def test_a_socket_that_the_program_closed_itself() -> None:
    acts: list[Callable[[WebSocket], object]] = [
        lambda ws: ws.recv(),
        lambda ws: ws.recv(timeout=1),
        lambda ws: ws.send("a"),
    ]
    for act in acts:
        with connected(opening()) as ws:
            ws.sock.close()
            with pytest.raises(WebSocketConnectionClosedException):
                act(ws)


# Pings


def test_a_ping_can_be_waited_for() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        ping = peer.next_frame()
        peer.send(frame(TEXT, b"first") + frame(PONG, b"odd") + frame(PONG, ping.payload))
        peer.finish()

    with connected(script) as ws:
        waiter = ws.ping("payload")
        assert not waiter.done
        assert 0 <= waiter.wait(DEADLINE) < DEADLINE
        assert waiter.done
        assert waiter.rtt == waiter.wait()
        assert ws.recv() == "first"


def test_a_pong_answers_earlier_pings_too() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        for _ in range(3):
            ping = peer.next_frame()
        peer.send(frame(PONG, ping.payload))
        peer.finish()

    with connected(script) as ws:
        waiters = [ws.ping(str(number)) for number in range(3)]
        for waiter in waiters:
            waiter.wait(DEADLINE)


def test_no_pong() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.drip(frame(PONG, b"another") * 4, 0.01)

    with connected(script) as ws:
        waiter = ws.ping("mine")
        before = time.monotonic()
        with pytest.raises(WebSocketTimeoutException, match="timed out"):
            waiter.wait(0.2)
        assert time.monotonic() - before < 1
        assert waiter.rtt is None


def test_the_end_instead_of_a_pong() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.next_frame()

    with connected(script) as ws:
        waiter = ws.ping()
        with pytest.raises(WebSocketConnectionClosedException):
            waiter.wait(DEADLINE)


# Test doubles and overridden methods


class Fake:
    """All that programs give their stand-in for a socket."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.sent = bytearray()
        self.asked: list[int] = []
        self.closed = False

    def recv(self, size: int) -> bytes:
        self.asked.append(size)
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def send(self, data: bytes) -> int:
        taken = bytes(data[:1000])
        self.sent += taken
        return len(taken)

    def gettimeout(self) -> float | None:
        return None

    def close(self) -> None:
        self.closed = True


def test_a_fake_socket_receives() -> None:
    ws = WebSocket()
    fake = Fake(frame(TEXT, b"Hello") + frame(BINARY, bytes(300)) + frame(CLOSE))
    ws.sock = fake
    assert ws.sock is fake
    assert ws.recv() == "Hello"
    # Never more than the frame needs: the rest may belong to somebody else.
    assert len(fake.data) == len(frame(BINARY, bytes(300)) + frame(CLOSE))
    assert ws.recv() == bytes(300)
    assert ws.recv() == ""
    ws.close()
    assert fake.closed
    assert parse(bytes(fake.sent))[-1].opcode == CLOSE


def test_a_fake_socket_sends() -> None:
    ws = WebSocket()
    ws.sock = fake = Fake()
    ws.set_mask_key(lambda size: "abcd")
    ws.send("Hello")
    assert fake.sent == b"\x81\x85abcd)\x07\x0f\x08\x0e"
    ws.send_binary(bytes(5000))
    assert parse(bytes(fake.sent))[1].payload == bytes(5000)


def test_a_fake_socket_answers_pings() -> None:
    ws = WebSocket()
    ws.sock = fake = Fake(frame(PING, b"p") + frame(TEXT, b"a"))
    assert ws.recv() == "a"
    assert parse(bytes(fake.sent))[0].opcode == PONG


def test_a_fake_socket_that_times_out_and_ends() -> None:
    class Slow(Fake):
        def recv(self, size: int) -> bytes:
            if not self.asked:
                self.asked.append(size)
                raise TimeoutError("timed out")
            return super().recv(size)

    ws = WebSocket()
    ws.sock = Slow(frame(TEXT, b"a"))
    with pytest.raises(WebSocketTimeoutException):
        ws.recv()
    assert ws.recv() == "a"
    with pytest.raises(WebSocketConnectionClosedException, match=LOST):
        ws.recv()


def test_a_mock_socket() -> None:
    from unittest.mock import MagicMock

    ws = WebSocket()
    mock = MagicMock()
    mock.recv.side_effect = [b"\x81", b"\x01", b"a"]
    mock.send.side_effect = len
    ws.sock = mock
    assert ws.recv() == "a"
    ws.send("b")
    mock.send.assert_called_once()


@pytest.mark.parametrize("name", ["recv_frame", "_recv", "recv_data_frame", "recv_data"])
@pytest.mark.parametrize("on", ["class", "instance"])
def test_overridden_receiving_methods_are_called(name: str, on: str) -> None:
    calls = []

    def override(self: WebSocket, *args: Any) -> Any:
        calls.append(args)
        return getattr(WebSocket, name)(self, *args)

    class_ = type("Own", (WebSocket,), {name: override} if on == "class" else {})
    ws = class_()
    if on == "instance":
        setattr(ws, name, lambda *args: override(ws, *args))

    def script(peer: Peer) -> None:
        peer.accept()
        # Not along with the opening handshake, which nobody overrides.
        peer.next_frame()
        peer.send(frame(TEXT, b"one"))
        peer.finish()

    with scripted(script) as url:
        ws.connect(url, timeout=DEADLINE)
        ws.send("go")
        assert ws.recv() == "one"
        assert calls
        ws.close()


@pytest.mark.parametrize("name", ["send_frame", "_send"])
def test_overridden_sending_methods_are_called(name: str) -> None:
    calls = []

    def override(self: WebSocket, *args: Any) -> Any:
        calls.append(args)
        return getattr(WebSocket, name)(self, *args)

    class_ = type("Own", (WebSocket,), {name: override})

    def script(peer: Peer) -> None:
        peer.accept()
        seen.append(peer.next_frame().opcode)
        peer.send(frame(PING, b"p") + frame(TEXT, b"two"))
        seen.append(peer.next_frame().opcode)
        seen.append(CLOSE if peer.finish() else None)

    seen: list[int | None] = []
    with connected(script, class_) as ws:
        ws.send("one")
        assert len(calls) == 1
        assert ws.recv() == "two"
        # The pong goes the same way, and so does the Close.
        assert len(calls) == 2
        ws.close()
        assert len(calls) == 3
    assert seen == [TEXT, PONG, CLOSE]


def test_an_overridden_pong_answers_pings() -> None:
    class Own(WebSocket):
        def pong(self, payload: str | bytes = "") -> None:
            assert isinstance(payload, bytes)
            super().pong(b"own " + payload)

    server = Recorder(frame(PING, b"p"))
    with connected(server, Own) as ws:
        with pytest.raises(WebSocketTimeoutException):
            ws.recv(timeout=0.05)
        assert server.next().payload == b"own p"


def test_recv_frame_may_be_replaced_by_frames_of_the_program() -> None:
    class Own(WebSocket):
        left = 2

        def recv_frame(self) -> Any:
            self.left -= 1
            return ABNF.create_frame("made up", TEXT) if self.left else None

    with connected(opening(), Own) as ws:
        assert ws.recv() == "made up"
        with pytest.raises(WebSocketProtocolException):
            ws.recv()


@pytest.mark.usefixtures("traced")
def test_a_traced_connection_works() -> None:
    server = Recorder(frame(TEXT, b"one") + frame(PING, b"p"))
    with connected(server) as ws:
        assert ws.recv() == "one"
        ws.send("two")
        with pytest.raises(WebSocketTimeoutException):
            ws.recv(timeout=0.05)
    assert sorted(server.next().opcode for _ in range(3)) == [TEXT, CLOSE, PONG]


# Options and facts


def test_facts_of_a_connection() -> None:
    with connected(opening()) as ws:
        assert ws.connected
        assert ws.fileno() == ws.sock.fileno()
        assert ws.getstatus() == ws.status == 101
        assert ws.getheaders()["upgrade"] == "websocket"
        assert ws.getsubprotocol() is None
        assert ws.gettimeout() == ws.timeout == DEADLINE
        assert not ws.is_ssl()
        assert ws.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        ws.settimeout(3)
        assert ws.sock.gettimeout() == 3


@pytest.mark.parametrize(
    "sockopt",
    [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),
        ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),),
        [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)],
    ],
)
def test_sockopt_in_both_forms(sockopt: Any) -> None:
    with connected(opening(), sockopt=sockopt) as ws:
        assert not ws.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.usefixtures("default_timeout")
def test_the_default_timeout() -> None:
    websocket.setdefaulttimeout(0.1)
    assert websocket.getdefaulttimeout() == 0.1
    with scripted(opening()) as url, create_connection(url) as ws:
        assert ws.gettimeout() == 0.1
        with pytest.raises(WebSocketTimeoutException):
            ws.recv()


def test_a_prepared_socket_is_used_and_closed() -> None:
    with scripted(opening(frame(TEXT, b"hello"))) as url:
        host, _, port = url.strip("/").rpartition("/")[2].partition(":")
        sock = socket.create_connection((host, int(port)), DEADLINE)
        with create_connection("ws://example.org/", socket=sock, timeout=DEADLINE) as ws:
            assert ws.sock is sock
            assert ws.recv() == "hello"
        assert sock.fileno() == -1


def test_a_failed_connect_closes_the_prepared_socket() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 403 No\r\n\r\n")

    with scripted(script) as url:
        host, _, port = url.strip("/").rpartition("/")[2].partition(":")
        sock = socket.create_connection((host, int(port)), DEADLINE)
        with pytest.raises(WebSocketException):
            create_connection("ws://example.org/", socket=sock, timeout=DEADLINE)
        assert sock.fileno() == -1


def test_one_thread_needs_no_locks() -> None:
    server = Recorder(frame(TEXT, b"one") + frame(PING, b"p"))
    with connected(server, enable_multithread=False) as ws:
        assert ws.recv() == "one"
        ws.send("two")
        assert server.next().opcode in (TEXT, PONG)
    assert server.next().opcode in (TEXT, PONG)


def test_tls_facts(certificates: Certificates) -> None:
    def handler(sock: socket.socket) -> None:
        with certificates.server.wrap_socket(sock, server_side=True) as tls:
            opening(frame(TEXT, b"a" * 100_000))(Peer(tls))

    with serve(handler) as server:
        url = f"wss://localhost:{server.port}/"
        sslopt = {"ca_certs": certificates.ca_file}
        with create_connection(url, timeout=DEADLINE, sslopt=sslopt) as ws:
            assert ws.is_ssl()
            assert ws.gettimeout() == DEADLINE
            assert ws.recv() == "a" * 100_000
            with pytest.raises(WebSocketTimeoutException):
                ws.recv(timeout=0.01)
            # A timeout that the program gives the socket itself counts as well.
            ws.sock.settimeout(0.05)
            with pytest.raises(WebSocketTimeoutException):
                ws.recv()
