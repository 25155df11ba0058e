"""Reading and writing sockets of every kind: deadlines, ends, errors."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from conftest import DEADLINE, Certificates

from websocket import WebSocketConnectionClosedException, WebSocketTimeoutException
from websocket._socket import Deadline
from websocket._transport import (
    DoubleTransport,
    SocketTransport,
    TLSTransport,
    Transport,
    transport_for,
)

pytestmark = pytest.mark.usefixtures("no_leaks")


class Pair:
    """A transport and the other end of its connection."""

    def __init__(self, ours: Any, theirs: Any) -> None:
        self.transport = transport_for(ours)
        self.ours = ours
        self.theirs = theirs


@contextlib.contextmanager
def tls_pair(certificates: Certificates) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    left, right = socket.socketpair()
    accepted: list[ssl.SSLSocket] = []

    def accept() -> None:
        accepted.append(certificates.server.wrap_socket(right, server_side=True))

    thread = threading.Thread(target=accept)
    thread.start()
    with certificates.client.wrap_socket(left, server_hostname="localhost") as ours:
        thread.join(DEADLINE)
        with accepted[0] as theirs:
            theirs.settimeout(DEADLINE)
            # The tickets that a server sends after the handshake are out of the way.
            theirs.send(b"-")
            assert ours.recv(1) == b"-"
            yield ours, theirs


@pytest.fixture(params=["socket", "tls"])
def pair(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Pair]:
    if request.param == "tls":
        with tls_pair(certificates) as (ours, theirs):
            yield Pair(ours, theirs)
    else:
        left, right = socket.socketpair()
        right.settimeout(DEADLINE)
        with left, right:
            yield Pair(left, right)


def recv(transport: Transport, size: int = 100, deadline: Deadline | None = None) -> bytes:
    buffer = bytearray(size)
    with memoryview(buffer) as view:
        count = transport.recv_into(view, deadline)
    return bytes(buffer[:count])


def fill(pair: Pair, deadline: float | None = 0.0) -> int:
    """Write until there is no room; returns how many bytes went."""
    total = 0
    with contextlib.suppress(WebSocketTimeoutException):
        while True:
            limit = None if deadline is None else Deadline(deadline)
            total += pair.transport.send(b"x" * 65536, limit)
    return total


def test_the_kind_is_chosen_by_the_socket(certificates: Certificates) -> None:
    left, right = socket.socketpair()
    with left, right:
        assert isinstance(transport_for(left), SocketTransport)
        assert isinstance(transport_for(mock.Mock(wraps=left)), DoubleTransport)
    with tls_pair(certificates) as (ours, _):
        assert isinstance(transport_for(ours), TLSTransport)


def test_bytes_go_through(pair: Pair) -> None:
    for deadline in (None, Deadline(DEADLINE)):
        assert pair.transport.send(b"to them", deadline) == 7
        assert pair.theirs.recv(100) == b"to them"
        pair.theirs.sendall(b"to us")
        assert recv(pair.transport, deadline=deadline) == b"to us"


def test_the_end_of_the_stream(pair: Pair) -> None:
    if isinstance(pair.theirs, ssl.SSLSocket):
        pair.theirs.settimeout(0)
        with contextlib.suppress(ssl.SSLError):
            pair.theirs.unwrap()
    pair.theirs.shutdown(socket.SHUT_RDWR)
    assert recv(pair.transport) == b""


@pytest.mark.parametrize("action", [recv, lambda t, d=None: fill_up(t, d)], ids=["recv", "send"])
def test_the_timeout_counts_where_no_deadline_is_given(
    pair: Pair, action: Callable[[Transport], Any]
) -> None:
    pair.transport.timeout = 0.05
    assert pair.transport.timeout == 0.05
    with pytest.raises(WebSocketTimeoutException, match=r"timed out after 0\.05 s"):
        action(pair.transport)


def fill_up(transport: Transport, deadline: Deadline | None = None) -> None:
    while True:
        transport.send(b"x" * 65536, deadline)


@pytest.mark.parametrize("timeout", [None, DEADLINE, 0.01])
def test_a_deadline_goes_before_the_timeout(pair: Pair, timeout: float | None) -> None:
    pair.transport.timeout = timeout
    before = time.monotonic()
    with pytest.raises(WebSocketTimeoutException, match="timed out"):
        recv(pair.transport, deadline=Deadline(0.1))
    assert 0.09 < time.monotonic() - before < 1
    before = time.monotonic()
    with pytest.raises(WebSocketTimeoutException, match="timed out"):
        fill_up(pair.transport, Deadline(0.1))
    assert 0.09 < time.monotonic() - before < 1


@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_an_expired_deadline_takes_what_is_there(pair: Pair, timeout: float | None) -> None:
    pair.transport.timeout = timeout
    with pytest.raises(WebSocketTimeoutException):
        recv(pair.transport, deadline=Deadline(0))
    pair.theirs.sendall(b"a")
    assert recv(pair.transport, deadline=Deadline(DEADLINE)) == b"a"
    pair.theirs.sendall(b"b")
    assert pair.transport.wait_for_room(Deadline(DEADLINE)) in (True, False)
    while not pair.transport.wait_for_room(Deadline(DEADLINE)):
        pass
    assert recv(pair.transport, deadline=Deadline(0)) == b"b"


def test_room(pair: Pair) -> None:
    # There is room, and nothing to read.
    assert pair.transport.wait_for_room(Deadline(DEADLINE)) is False
    fill(pair)
    with pytest.raises(WebSocketTimeoutException):
        pair.transport.wait_for_room(Deadline(0.02))
    pair.transport.timeout = 0.02
    with pytest.raises(WebSocketTimeoutException):
        pair.transport.wait_for_room()
    pair.theirs.sendall(b"a")
    assert pair.transport.wait_for_room(Deadline(DEADLINE)) is True


def test_shutting_down_ends_a_blocked_read(pair: Pair) -> None:
    ended: list[Any] = []

    def read() -> None:
        try:
            ended.append(recv(pair.transport))
        except WebSocketConnectionClosedException as error:
            ended.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    pair.transport.shutdown()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert ended[0] == b"" or isinstance(ended[0], WebSocketConnectionClosedException)
    pair.transport.shutdown()
    pair.transport.close()
    pair.transport.close()
    assert pair.ours.fileno() == -1


def test_after_the_close_everything_says_so(pair: Pair) -> None:
    pair.transport.close()
    for deadline in (None, Deadline(DEADLINE), Deadline(0)):
        with pytest.raises(WebSocketConnectionClosedException):
            recv(pair.transport, deadline=deadline)
        with pytest.raises(WebSocketConnectionClosedException):
            pair.transport.send(b"a", deadline)
    assert not pair.transport.pending()


def test_a_peer_that_is_gone(pair: Pair) -> None:
    pair.theirs.close()
    with pytest.raises(WebSocketConnectionClosedException, match="lost") as caught:
        fill_up(pair.transport)
    assert isinstance(caught.value.__cause__, OSError)


def test_tls_holds_bytes_that_a_selector_can_not_see(certificates: Certificates) -> None:
    with tls_pair(certificates) as (ours, theirs):
        transport = transport_for(ours)
        assert not transport.pending()
        theirs.sendall(b"x" * 100)
        assert recv(transport, 10) == b"x" * 10
        assert transport.pending()
        assert transport.wait_for_room(Deadline(0))
        assert recv(transport, 100) == b"x" * 90


def test_tls_takes_over_the_timeout_of_the_socket(certificates: Certificates) -> None:
    with tls_pair(certificates) as (ours, _):
        ours.settimeout(7)
        transport = transport_for(ours)
        assert transport.timeout == 7
        ours.settimeout(0.03)
        with pytest.raises(WebSocketTimeoutException):
            recv(transport)
        assert transport.timeout == 0.03
        # And it stays, though the socket itself is kept non-blocking.
        with pytest.raises(WebSocketTimeoutException):
            recv(transport)


class Double:
    """A stand-in for a socket with nothing but what it must have."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self._chunks = list(chunks)
        self.sent: list[bytes] = []
        self.closed = 0

    def recv(self, size: int) -> bytes:
        chunk = self._chunks.pop(0) if self._chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        return chunk[:size]

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.closed += 1


def test_a_double() -> None:
    double = Double(b"abc", TimeoutError("timed out"), ConnectionResetError("reset"))
    transport = transport_for(double)
    assert transport.timeout is None
    transport.timeout = 3
    assert recv(transport, 2) == b"ab"
    with pytest.raises(WebSocketTimeoutException):
        recv(transport)
    with pytest.raises(WebSocketConnectionClosedException):
        recv(transport)
    assert recv(transport) == b""
    # One that says nothing about how much it took has taken all.
    assert transport.send(memoryview(b"abc")) == 3
    assert double.sent == [b"abc"]
    assert transport.wait_for_room()
    assert not transport.pending()
    transport.shutdown()
    transport.close()
    assert double.closed == 1


def test_an_error_that_is_no_end_is_not_hidden() -> None:
    transport = transport_for(Double(ValueError("a bug in the double")))
    with pytest.raises(ValueError, match="a bug"):
        recv(transport)
