"""The way of most messages through an event loop; both twins face the same."""

from __future__ import annotations

import errno
import gc
import os
import socket
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import frame, parse

from websocket.aio._fast_path import PyFastPath

try:
    from websocket._accel import _c
except ImportError:
    # A machine without a compiler has the reference only. CI has one.
    if os.environ.get("CI_REQUIRE_TOOLS"):
        raise
    _c = None  # type: ignore[assignment]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not used there")

TWINS = [
    PyFastPath,
    pytest.param(
        getattr(_c, "FastPath", None),
        marks=pytest.mark.skipif(_c is None, reason="the accelerator was not built"),
    ),
]
HELLO = frame(1, b"Hello")


class Ends:
    """A fast path, the peer's socket, and what the path has called.

    Attributes:
        told: each call with its argument.
        on_message: called with each message.
    """

    def __init__(self, twin: Any) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.told: list[Any] = []
        self.room = bytearray(100)
        self.path = twin(self.ours.fileno(), self.unusual, self.unsent)
        self.path.room = self.room
        self.path.sends = True
        self.path.start(self, "message", self.delivered, None, sys.maxsize, 1000)

    def unusual(self, what: Any) -> None:
        self.told.append(what)

    def unsent(self, rest: bytes, error: OSError | None) -> None:
        self.told.append(("unsent", rest, error))

    def message(self, message: str | bytes) -> None:
        self.told.append(message)

    def delivered(self, count: int) -> None:
        self.told.append(("delivered", count))

    def failed(self, error: BaseException, rest: list[str | bytes]) -> None:
        self.told.append((type(error), rest))

    def receive(self, data: bytes = b"") -> list[Any]:
        """What is told of these bytes."""
        self.theirs.sendall(data)
        self.told.clear()
        self.path()
        self.room.append(0)  # no view of it is left
        self.room.pop()
        return self.told

    def close(self) -> None:
        self.path.end()
        self.ours.close()
        self.theirs.close()


@pytest.fixture(params=TWINS)
def twin(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def ends(twin: Any) -> Iterator[Ends]:
    ends = Ends(twin)
    yield ends
    ends.close()


class TestReceiving:
    def test_messages(self, ends: Ends) -> None:
        before = time.time()
        told = ends.receive(HELLO + frame(2, b"\xff"))
        assert told == ["Hello", b"\xff", ("delivered", 10)]
        path = ends.path
        assert (path.bytes_received, path.messages_received) == (10, 2)
        assert before <= path.received_at <= time.time()
        ends.receive(HELLO)
        assert (path.bytes_received, path.messages_received) == (17, 3)

    def test_counts_can_be_taken(self, ends: Ends) -> None:
        ends.receive(HELLO)
        ends.path.bytes_received = ends.path.messages_received = 0
        ends.receive(HELLO)
        assert (ends.path.bytes_received, ends.path.messages_received) == (7, 1)

    @pytest.mark.parametrize(
        ("rest", "messages", "limit"),
        [
            (frame(9, b"ping") + HELLO, ["Hello"], 80),
            (HELLO[:3], ["Hello"], 80),
            (frame(1, b"\xff"), ["Hello"], 80),
            (frame(2, b"", fin=False), ["Hello"], 80),
            (frame(2, bytes(81)), ["Hello"], 80),
            (frame(2, bytes(91)), ["Hello", bytes(91)], 100),
        ],
        ids=["control", "partial", "no UTF-8", "fragment", "too large", "all the room"],
    )
    def test_what_is_not_usual_is_left_as_it_came(
        self, ends: Ends, rest: bytes, messages: list[str | bytes], limit: int
    ) -> None:
        ends.path.start(ends, "message", ends.delivered, None, limit, 0)
        data = HELLO + rest
        stop = 7 + sum(2 + len(message) for message in messages[1:])
        assert ends.receive(data) == [(len(data), stop, messages)]
        assert ends.room.startswith(data)
        assert ends.path.bytes_received == 0

    def test_nothing_has_come(self, ends: Ends) -> None:
        assert ends.receive() == []

    def test_the_end_of_the_stream(self, ends: Ends) -> None:
        ends.theirs.close()
        ends.path()
        assert ends.told == [(0, 0, [])]

    def test_errors_of_the_socket(self, ends: Ends, twin: Any) -> None:
        fd = os.dup(ends.ours.fileno())
        path = twin(fd, ends.unusual, ends.unsent)
        path.room = ends.room
        path.start(ends, "message", None, None, 9, 9)
        os.close(fd)
        path()
        (error,) = ends.told
        assert isinstance(error, OSError)
        assert error.errno == errno.EBADF

    def test_without_room_others_read(self, ends: Ends) -> None:
        ends.path.room = None
        assert ends.receive(HELLO) == [None]
        ends.path.room = ends.room
        assert ends.receive() == ["Hello", ("delivered", 7)]

    def test_before_the_start_others_read(self, ends: Ends, twin: Any) -> None:
        path = twin(ends.ours.fileno(), ends.unusual, ends.unsent)
        path.room = ends.room
        path()
        assert ends.told == [None]

    def test_nobody_need_be_told_of_the_end_of_a_read(self, ends: Ends) -> None:
        ends.path.start(ends, "message", None, None, 100, 100)
        assert ends.receive(HELLO) == ["Hello"]

    def test_the_method_is_looked_up_for_each_message(self, ends: Ends) -> None:
        def replace(message: str | bytes) -> None:
            ends.told.append("replaced")
            del ends.message  # type: ignore[misc]

        ends.message = replace  # type: ignore[method-assign]
        assert ends.receive(HELLO * 2) == ["replaced", "Hello", ("delivered", 14)]

    @pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
    def test_a_message_that_can_not_be_handed_over(self, ends: Ends, kind: Any) -> None:
        def fail(message: str | bytes) -> None:
            ends.told.append(message)
            if message == "b":
                raise kind

        ends.message = fail  # type: ignore[method-assign]
        ends.path.start(ends, "message", ends.delivered, ends.failed, 100, 100)
        data = b"".join(frame(1, text) for text in (b"a", b"b", b"c", b"d"))
        assert ends.receive(data) == ["a", "b", (kind, ["c", "d"])]
        # Without anybody to tell, it is the unusual way's.
        ends.path.start(ends, "message", ends.delivered, None, 100, 100)
        *handed_over, error = ends.receive(data)
        assert handed_over == ["a", "b"]
        assert type(error) is kind

    @pytest.mark.parametrize("function", ["delivered", "failed"])
    def test_a_function_that_fails(self, ends: Ends, function: str) -> None:
        def fail(*_: object) -> None:
            raise KeyError(function)

        if function == "failed":
            ends.message = fail  # type: ignore[method-assign]
        setattr(ends, function, fail)
        ends.path.start(ends, "message", ends.delivered, ends.failed, 100, 100)
        error = ends.receive(HELLO)[-1]
        assert type(error) is KeyError
        assert error.args == (function,)

    def test_what_the_unusual_way_raises_is_raised(self, ends: Ends, twin: Any) -> None:
        def fail(what: Any) -> None:
            raise KeyError("unusual")

        path = twin(ends.ours.fileno(), fail, ends.unsent)
        with pytest.raises(KeyError, match="unusual"):
            path()

    def test_an_end_while_messages_are_handed_over(self, ends: Ends) -> None:
        def end(message: str | bytes) -> None:
            ends.told.append(message)
            ends.path.end()

        ends.message = end  # type: ignore[method-assign]
        assert ends.receive(HELLO * 2) == ["Hello", "Hello"]
        assert ends.receive(HELLO) == []

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(messages=st.lists(st.one_of(st.text(max_size=30), st.binary(max_size=200)), min_size=1))
    @pytest.mark.parametrize("one", TWINS)
    def test_any_messages(self, one: Any, messages: list[str | bytes]) -> None:
        ends = Ends(one)
        ends.room.extend(bytes(100_000))
        try:
            data = b"".join(
                frame(1, m.encode()) if isinstance(m, str) else frame(2, m) for m in messages
            )
            assert ends.receive(data) == [*messages, ("delivered", len(data))]
        finally:
            ends.close()


class TestSending:
    def sent(self, ends: Ends) -> list[tuple[int, bytes]]:
        data = ends.theirs.recv(100_000)
        return [(frame.opcode, frame.payload) for frame in parse(data)]

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 1000])
    def test_messages(self, ends: Ends, size: int) -> None:
        assert ends.path.send("x" * size) is True
        assert self.sent(ends) == [(1, b"x" * size)]
        assert ends.path.send(b"x" * size) is True
        assert self.sent(ends) == [(2, b"x" * size)]
        assert ends.path.messages_sent == 2
        assert ends.path.bytes_sent == 2 * (size + (6 if size < 126 else 8))
        assert ends.told == []

    def test_text_is_utf8(self, ends: Ends) -> None:
        assert ends.path.send("Grüße, 世界") is True
        assert self.sent(ends) == [(1, "Grüße, 世界".encode())]

    @pytest.mark.parametrize(
        "message",
        ["x" * 1001, b"x" * 1001, bytearray(b"x"), memoryview(b"x"), 5, None, "\ud800"],
        ids=["long str", "long bytes", "bytearray", "memoryview", "int", "None", "surrogate"],
    )
    def test_what_is_not_usual_is_left_to_others(self, ends: Ends, message: Any) -> None:
        assert ends.path.send(message) is False
        assert ends.path.messages_sent == ends.path.bytes_sent == 0
        with pytest.raises(BlockingIOError):
            ends.theirs.recv(1, socket.MSG_DONTWAIT)

    def test_subclasses_are_left_to_others(self, ends: Ends) -> None:
        class Text(str):
            pass

        class Data(bytes):
            pass

        assert ends.path.send(Text("x")) is False
        assert ends.path.send(Data(b"x")) is False

    def test_nothing_is_sent_while_that_is_forbidden(self, ends: Ends) -> None:
        ends.path.sends = False
        assert ends.path.send("x") is False
        ends.path.sends = True
        assert ends.path.send("x") is True
        ends.path.end()
        assert ends.path.send("x") is False
        assert ends.path.messages_sent == 1

    def test_what_there_is_no_room_for(self, ends: Ends) -> None:
        ends.path.start(ends, "message", None, None, 100, 10_000_000)
        message = bytes(10_000_000)
        assert ends.path.send(message) is True
        ((_, rest, error),) = ends.told
        assert error is None
        assert 0 < len(rest) < len(message)
        ends.told.clear()
        # Nothing goes any more: all of it is the rest.
        assert ends.path.send(b"late") is True
        ((_, late, error),) = ends.told
        assert error is None
        assert [frame.payload for frame in parse(late)] == [b"late"]
        assert ends.path.bytes_sent == len(message) + 14 + len(late)

    def test_nobody_is_there(self, ends: Ends) -> None:
        ends.theirs.close()
        assert ends.path.send("x") is True
        ((_, rest, error),) = ends.told
        assert isinstance(error, BrokenPipeError)
        assert [frame.payload for frame in parse(rest)] == [b"x"]

    def test_a_function_that_fails(self, ends: Ends, twin: Any) -> None:
        def fail(rest: bytes, error: OSError | None) -> None:
            raise KeyError("unsent")

        path = twin(ends.ours.fileno(), ends.unusual, fail)
        path.start(ends, "message", None, None, 9, 9)
        path.sends = True
        ends.theirs.close()
        with pytest.raises(KeyError, match="unsent"):
            path.send("x")


class TestMemory:
    def test_a_path_that_has_ended_holds_nothing(self, ends: Ends, twin: Any) -> None:
        class Sink:
            pass

        sink = Sink()
        gone = weakref.ref(sink)
        path = twin(ends.ours.fileno(), print, print)
        path.start(sink, "message", None, None, 9, 9)
        del sink
        assert gone() is not None
        path.end()
        assert gone() is None
        assert path.room is None

    def test_cycles_are_found(self, ends: Ends, twin: Any) -> None:
        class Sink:
            path: Any

        sink = Sink()
        gone = weakref.ref(sink)
        sink.path = twin(ends.ours.fileno(), sink.__init__, print)  # type: ignore[misc]
        sink.path.start(sink, "message", None, None, 9, 9)
        del sink
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize(
    "call",
    [
        lambda twin: twin(),
        lambda twin: twin("0", print, print),
        lambda twin: twin(0, print),
        lambda twin: twin(0, print, print, colour=1),
        lambda twin: twin(0, print, print).start(),
        lambda twin: twin(0, print, print).start(print, 5, None, None, 9, 9),
        lambda twin: twin(0, print, print).start(print, "x", None, None, -1, 9),
        lambda twin: twin(0, print, print).start(print, "x", None, None, "9", 9),
        lambda twin: twin(0, print, print).send(),
        lambda twin: twin(0, print, print)(1),
        lambda twin: twin(0, print, print)(a=1),
    ],
)
@pytest.mark.skipif(_c is None, reason="the accelerator was not built")
def test_bad_arguments_are_errors(call: Callable[[Any], object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        call(_c.FastPath)


@pytest.mark.skipif(_c is None, reason="the accelerator was not built")
def test_room_must_be_writable() -> None:
    told: list[Any] = []
    path = _c.FastPath(0, told.append, print)
    path.room = b"bytes"
    path.start(print, "x", None, None, 9, 9)
    path()
    assert isinstance(told[0], BufferError)
