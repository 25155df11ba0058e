from __future__ import annotations

import errno
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
from loopback import DEADLINE

from websocket import _socket
from websocket._exceptions import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketHandshakeException,
    WebSocketTimeoutException,
)
from websocket._socket import (
    DEFAULT_SOCKET_OPTION,
    Deadline,
    add_note,
    getdefaulttimeout,
    map_io_error,
    recv,
    recv_line,
    send,
    setdefaulttimeout,
    sock_opt,
    wait_ready,
)

ALREADY = r"^Connection is already closed\.$"
LOST = r"^Connection to remote host was lost\.$"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Double:
    """The least that a program's own stand-in for a socket has."""

    def __init__(self, *script: bytes | BaseException, timeout: float | None = None):
        self.script = list(script)
        self.sent = b""
        self.timeout = timeout

    def recv(self, size: int) -> bytes:
        step = self.script.pop(0)
        if isinstance(step, BaseException):
            raise step
        data, rest = step[:size], step[size:]
        if rest:
            self.script.insert(0, rest)
        return data

    def send(self, data: bytes) -> int | None:
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, BaseException):
                raise step
        self.sent += data
        return len(data)

    def close(self) -> None: ...

    def gettimeout(self) -> float | None:
        return self.timeout


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    left.settimeout(DEADLINE)
    right.settimeout(DEADLINE)
    with left, right:
        yield left, right


@pytest.fixture
def _default_timeout() -> Iterator[None]:
    yield
    setdefaulttimeout(None)


# --- Deadline ----------------------------------------------------------------------------


def test_deadline_is_absolute() -> None:
    clock = Clock()
    deadline = Deadline(5, clock)
    assert deadline.remaining() == 5
    clock.now += 2
    assert deadline.remaining() == 3
    assert not deadline.expired
    clock.now += 3
    assert deadline.expired
    with pytest.raises(WebSocketTimeoutException, match=r"timed out after 5 seconds"):
        deadline.remaining()


@pytest.mark.parametrize("timeout", [None, math.inf])
def test_deadline_without_limit(timeout: float | None) -> None:
    deadline = Deadline(timeout)
    assert deadline.remaining() is None
    assert deadline.timeout is None
    assert not deadline.expired
    assert "timed out" in str(deadline.error())


def test_deadline_of_no_time_has_passed() -> None:
    deadline = Deadline(0, Clock())
    assert deadline.expired
    with pytest.raises(WebSocketTimeoutException, match="after 0 seconds"):
        deadline.remaining()


def test_the_sooner_of_two_deadlines() -> None:
    clock = Clock()
    deadline = Deadline(5, clock)
    clock.now += 1
    assert deadline.sooner(None) is deadline
    assert deadline.sooner(10) is deadline
    assert deadline.sooner(2).remaining() == 2
    assert Deadline(None, clock).sooner(7).remaining() == 7


@pytest.mark.parametrize("timeout", [-1, math.nan, "5", b"5", [5]])
def test_timeouts_that_make_no_sense(timeout: object) -> None:
    with pytest.raises(WebSocketArgumentException, match="number of seconds"):
        Deadline(timeout)  # type: ignore[arg-type]
    with pytest.raises(WebSocketArgumentException, match="number of seconds"):
        setdefaulttimeout(timeout)  # type: ignore[arg-type]
    assert getdefaulttimeout() is None


@pytest.mark.usefixtures("_default_timeout")
def test_default_timeout() -> None:
    assert getdefaulttimeout() is None
    setdefaulttimeout(3.5)
    assert getdefaulttimeout() == 3.5
    assert _socket._default_timeout == 3.5


# --- options -----------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="the platform has other options")
def test_default_options_of_linux() -> None:
    assert DEFAULT_SOCKET_OPTION == [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ]


TRIPLE = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.mark.parametrize(
    ("given", "normalised"),
    [
        (None, []),
        ([], []),
        (TRIPLE, [TRIPLE]),
        (list(TRIPLE), [TRIPLE]),
        ((TRIPLE,), [TRIPLE]),
        ([TRIPLE, [1, 2, b"x"]], [TRIPLE, (1, 2, b"x")]),
        (((1, 2, None, 3),), [(1, 2, None, 3)]),
        (iter([TRIPLE]), [TRIPLE]),
    ],
)
def test_sockopt_forms(given: object, normalised: list[tuple[object, ...]]) -> None:
    assert sock_opt(given, None).sockopt == normalised  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [5, "TCP_NODELAY", [5, 6], [(1, 2)], [TRIPLE, 7], [None]])
def test_sockopt_of_another_form(given: object) -> None:
    with pytest.raises(WebSocketArgumentException, match="sockopt must be a sequence"):
        sock_opt(given, None)  # type: ignore[arg-type]


def test_sslopt_and_timeout() -> None:
    given = {"check_hostname": False}
    options = sock_opt(None, given)
    assert options.sslopt == given
    assert options.timeout is None
    assert sock_opt(None, None).sslopt == {}


def test_sslopt_of_another_form() -> None:
    with pytest.raises(WebSocketArgumentException, match="must be a dict"):
        sock_opt(None, [1])  # type: ignore[arg-type]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(WebSocketArgumentException, match="'context'"):
        sock_opt(None, context)  # type: ignore[arg-type]


# --- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("timed out"),
        TimeoutError("The read operation timed out"),
        BlockingIOError(errno.EAGAIN, "again"),
        ssl.SSLWantReadError(),
        ssl.SSLWantWriteError(),
    ],
)
def test_errors_that_are_a_timeout(error: BaseException) -> None:
    mapped = map_io_error(error)
    assert isinstance(mapped, WebSocketTimeoutException)
    assert "timed out" in str(mapped)


@pytest.mark.parametrize(
    "error",
    [
        EOFError(),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        BrokenPipeError(errno.EPIPE, "pipe"),
        ConnectionAbortedError(errno.ECONNABORTED, "aborted"),
        OSError(errno.EBADF, "closed"),
        OSError(errno.ENOTCONN, "not connected"),
        OSError(errno.EHOSTUNREACH, "no route"),
        OSError(errno.ETIMEDOUT, "the kernel gave up"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ssl.SSLZeroReturnError(6, "closed"),
        ssl.SSLError(1, "bad record mac"),
        ValueError("Read on closed or unwrapped SSL socket."),
        ValueError("Invalid file descriptor: -1"),
    ],
)
def test_errors_that_are_a_lost_connection(error: BaseException) -> None:
    mapped = map_io_error(error)
    assert isinstance(mapped, WebSocketConnectionClosedException)
    assert str(mapped) == "Connection to remote host was lost."


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOBUFS, "no buffers"),
        OSError("unknown"),
        ValueError("negative buffersize in recv"),
        AttributeError("'X' object has no attribute 'y'"),
        KeyboardInterrupt(),
        WebSocketTimeoutException("timed out"),
    ],
)
def test_other_errors_are_not_mapped(error: BaseException) -> None:
    assert map_io_error(error) is None


def test_a_socket_closed_by_another_thread_in_the_middle_of_a_tls_read() -> None:
    # What ssl runs into when its object goes away between its own check and its use.
    with pytest.raises(AttributeError) as caught:
        None.read  # type: ignore[attr-defined] # noqa: B018
    assert isinstance(map_io_error(caught.value), WebSocketConnectionClosedException)


# --- recv, recv_line, send ---------------------------------------------------------------


def test_bytes_go_through(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    assert send(left, b"bytes ") == 6
    assert send(left, "text €") == 8
    assert recv(right, 6) == b"bytes "
    assert recv(right, 100) == "text €".encode()


@pytest.mark.parametrize(
    "call", [lambda: recv(None, 1), lambda: send(None, b""), lambda: recv_line(None)]
)
def test_without_a_socket(call: Callable[[], object]) -> None:
    with pytest.raises(WebSocketConnectionClosedException, match=ALREADY):
        call()


def test_end_of_stream(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    left.close()
    with pytest.raises(WebSocketConnectionClosedException, match=LOST):
        recv(right, 1)


def test_errors_of_the_system_stay_in_the_chain(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    right.close()
    with pytest.raises(WebSocketConnectionClosedException, match=LOST) as caught:
        send(left, b"x")
    assert isinstance(caught.value.__cause__, BrokenPipeError)
    left.close()
    with pytest.raises(WebSocketConnectionClosedException, match=LOST) as caught:
        recv(left, 1)
    assert isinstance(caught.value.__cause__, OSError)


def fill(sock: socket.socket) -> None:
    for _ in range(10000):
        send(sock, bytes(65536))


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_timeouts(pair: tuple[socket.socket, socket.socket], timeout: float) -> None:
    left, _ = pair
    left.settimeout(timeout)
    with pytest.raises(WebSocketTimeoutException, match="timed out"):
        recv(left, 1)
    with pytest.raises(WebSocketTimeoutException, match="timed out"):
        fill(left)


def test_a_timeout_leaves_the_socket_usable(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    left.settimeout(0.01)
    with pytest.raises(WebSocketTimeoutException):
        recv(left, 1)
    right.sendall(b"late")
    assert recv(left, 10) == b"late"


def test_other_errors_are_raised_as_they_are() -> None:
    with pytest.raises(KeyError):
        recv(Double(KeyError()), 1)
    with pytest.raises(KeyboardInterrupt):
        recv(Double(KeyboardInterrupt()), 1)


def test_doubles() -> None:
    double = Double(b"ab", b"c\nrest")
    assert recv(double, 1) == b"a"
    assert recv_line(double) == b"bc\n"
    assert recv(double, 100) == b"rest"
    assert send(double, "sent") == 4
    assert double.sent == b"sent"
    with pytest.raises(WebSocketConnectionClosedException, match=LOST):
        recv(Double(b""), 1)


def test_a_double_that_returns_nothing_has_sent_all() -> None:
    class Silent(Double):
        def send(self, data: bytes) -> None:
            super().send(data)

    double = Silent()
    assert send(double, b"abc") == 3
    assert double.sent == b"abc"


@pytest.mark.parametrize("error", [ssl.SSLWantReadError(), BlockingIOError()])
def test_a_double_that_is_not_ready_and_can_not_be_waited_for(error: Exception) -> None:
    with pytest.raises(WebSocketTimeoutException, match="timed out"):
        recv(Double(error), 1)


class Waitable(Double):
    """A stand-in for a TLS socket: what it waits for is a real socket."""

    def __init__(self, sock: socket.socket, *script: bytes | BaseException, timeout: float | None):
        super().__init__(*script, timeout=timeout)
        self.sock = sock

    def fileno(self) -> int:
        return self.sock.fileno()


@pytest.mark.parametrize("want", [ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError])
def test_wanting_more_is_waited_for_and_tried_again(
    pair: tuple[socket.socket, socket.socket], want: type[Exception]
) -> None:
    left, right = pair
    timer = threading.Timer(0.05, right.sendall, [b"x"])
    timer.start()
    try:
        assert recv(Waitable(left, want(), want(), b"data", timeout=DEADLINE), 10) == b"data"
        assert send(Waitable(left, want(), timeout=DEADLINE), b"data") == 4
    finally:
        timer.join()


def test_wanting_more_ends_with_the_timeout(pair: tuple[socket.socket, socket.socket]) -> None:
    left, _ = pair
    with pytest.raises(WebSocketTimeoutException, match=r"timed out after 0\.02 seconds") as caught:
        recv(Waitable(left, ssl.SSLWantReadError(), timeout=0.02), 1)
    assert isinstance(caught.value.__cause__, ssl.SSLWantReadError)


def test_waiting_for_a_socket_that_is_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    left, _ = pair
    left.close()
    with pytest.raises(WebSocketConnectionClosedException, match=LOST):
        recv(Waitable(left, ssl.SSLWantReadError(), timeout=1), 1)


def test_lines_stop_at_the_line_feed(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    left.sendall(b"first\r\nsecond\nthird")
    assert recv_line(right) == b"first\r\n"
    assert recv_line(right) == b"second\n"
    assert recv(right, 100) == b"third"


def test_endless_lines_are_cut() -> None:
    with pytest.raises(WebSocketHandshakeException, match="65536 bytes"):
        recv_line(Double(b"x" * 70000))


def test_wait_ready(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    import selectors

    assert wait_ready(left, selectors.EVENT_WRITE, 0)
    assert not wait_ready(left, selectors.EVENT_READ, 0.01)
    right.sendall(b"x")
    assert wait_ready(left, selectors.EVENT_READ, DEADLINE)


def test_notes() -> None:
    error = ValueError("x")
    add_note(error, "a note")
    assert getattr(error, "__notes__", ["a note"]) == ["a note"]
