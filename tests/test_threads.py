"""One connection, many threads: sending, receiving, pinging and closing at the same time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from badservers import BINARY, CLOSE, PING, PONG, TEXT, Peer
from conftest import DEADLINE, Certificates
from loopback import serve
from wire import frame, parse

from websocket import (
    WebSocket,
    WebSocketConnectionClosedException,
    WebSocketTimeoutException,
    create_connection,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

Connect = Callable[..., contextlib.AbstractContextManager[WebSocket]]


@pytest.fixture(params=["tcp", "tls"])
def connect(request: pytest.FixtureRequest, certificates: Certificates) -> Connect:
    """Connects to a server that runs a script."""

    @contextlib.contextmanager
    def connected(script: Callable[[Peer], None], **options: Any) -> Iterator[WebSocket]:
        def handler(sock: socket.socket) -> None:
            if request.param == "tls":
                sock = certificates.server.wrap_socket(sock, server_side=True)
            with sock:
                script(Peer(sock))

        url = "ws://127.0.0.1"
        if request.param == "tls":
            url = "wss://localhost"
            options["sslopt"] = {"ca_certs": certificates.ca_file}
        with serve(handler) as server:
            ws = create_connection(f"{url}:{server.port}/", **options)
            try:
                yield ws
            finally:
                ws.close(timeout=1)

    return connected


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def all_done(futures: list[Future[Any]]) -> list[Any]:
    _, pending = wait(futures, DEADLINE)
    assert not pending, "a thread is stuck"
    return [future.result() for future in futures]


def silent(peer: Peer) -> None:
    """Opens, and then says nothing at all, not even to a Close."""
    peer.accept()
    peer.wait_for_end()


def polite(peer: Peer) -> None:
    """Opens, and answers the Close."""
    peer.accept()
    peer.finish()


class Closes:
    """A server that counts the Close frames before the end of the stream."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, peer: Peer) -> None:
        peer.accept()
        peer.finish()
        peer.wait_for_end()
        self.count += sum(f.opcode == CLOSE for f in parse(bytes(peer.received)))


def end_of_receive(ws: WebSocket, started: threading.Event) -> Any:
    """What a blocked receive came back with."""
    started.set()
    try:
        return ws.recv()
    except WebSocketConnectionClosedException as error:
        return error


@pytest.mark.parametrize("script", [polite, silent])
@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_a_close_ends_the_receives_of_other_threads(
    connect: Connect, pool: ThreadPoolExecutor, script: Any, timeout: float | None
) -> None:
    with connect(script, timeout=timeout) as ws:
        events = [threading.Event() for _ in range(3)]
        futures = [pool.submit(end_of_receive, ws, event) for event in events]
        for event in events:
            assert event.wait(DEADLINE)
        before = time.monotonic()
        ws.close(timeout=0.3)
        ends = all_done(futures)
        assert time.monotonic() - before < 3
        assert all(end == "" or isinstance(end, Exception) for end in ends)
        assert ws.sock is None


@pytest.mark.parametrize("how", ["shutdown", "abort"])
def test_a_rude_end_ends_them_as_well(connect: Connect, pool: ThreadPoolExecutor, how: str) -> None:
    with connect(silent) as ws:
        event = threading.Event()
        future = pool.submit(end_of_receive, ws, event)
        assert event.wait(DEADLINE)
        getattr(ws, how)()
        (end,) = all_done([future])
        assert isinstance(end, WebSocketConnectionClosedException)


def test_closes_of_many_threads_send_one_close(connect: Connect, pool: ThreadPoolExecutor) -> None:
    server = Closes()
    with connect(server) as ws:
        barrier = threading.Barrier(8)

        def close(code: int) -> None:
            barrier.wait(DEADLINE)
            ws.close(code)

        all_done([pool.submit(close, 3000 + number) for number in range(8)])
        assert ws.sock is None
    assert server.count == 1


def test_frames_of_many_senders_are_not_mixed(connect: Connect, pool: ThreadPoolExecutor) -> None:
    """Sizes on both sides of every border, and of what a socket takes at once."""
    senders, rounds = 8, 12
    sizes = (0, 1, 125, 126, 65535, 65536, 200_000)
    received: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.accept()
        while (got := peer.next_frame()).opcode != CLOSE:
            received.append(got.payload)
        peer.send(frame(CLOSE, got.payload))

    def send(sender: int) -> None:
        for number in range(rounds):
            size = sizes[(sender + number) % len(sizes)]
            ws.send_binary(bytes([sender, number]) + bytes([sender]) * size)

    with connect(script) as ws:
        all_done([pool.submit(send, sender) for sender in range(senders)])
        ws.close(timeout=DEADLINE)
    assert len(received) == senders * rounds
    for sender in range(senders):
        own = [payload for payload in received if payload[0] == sender]
        # In the order in which the thread sent them, each of one piece.
        assert [payload[1] for payload in own] == list(range(rounds))
        assert all(set(payload[2:]) <= {sender} for payload in own)


def test_both_directions_at_full_speed(connect: Connect, pool: ThreadPoolExecutor) -> None:
    """Neither end reads all before it writes: only two threads at once get this through."""
    count, size = 60, 100_000

    def script(peer: Peer) -> None:
        peer.accept()
        received: list[bytes] = []

        def receive() -> None:
            received.extend(peer.next_frame().payload for _ in range(count))

        # TLS sockets of Python take one thread at a time, so the peer does both by turns.
        if isinstance(peer.sock, socket.socket) and type(peer.sock) is socket.socket:
            thread = threading.Thread(target=receive)
            thread.start()
            for number in range(count):
                peer.send(frame(BINARY, bytes([number]) * size))
            thread.join(DEADLINE)
        else:
            for number in range(count):
                peer.send(frame(BINARY, bytes([number]) * size))
                received.append(peer.next_frame().payload)
        assert received == [bytes([number]) * size for number in range(count)]
        peer.finish()

    def send() -> None:
        for number in range(count):
            ws.send_binary(bytes([number]) * size)

    with connect(script, timeout=DEADLINE) as ws:
        future = pool.submit(send)
        for number in range(count):
            assert ws.recv() == bytes([number]) * size
        all_done([future])
        ws.close(timeout=DEADLINE)


def test_pings_are_answered_while_another_thread_sends(
    connect: Connect, pool: ThreadPoolExecutor
) -> None:
    """The pong waits for the frame that is being sent, and is not lost."""
    opcodes: list[int] = []
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        peer.send(frame(PING, b"in between") + frame(TEXT, b"after the ping"))
        assert go.wait(DEADLINE)
        for _ in range(4):
            got = peer.next_frame()
            opcodes.append(got.opcode)
            assert got.payload in (b"in between", bytes(5_000_000))
        peer.finish()

    def send() -> None:
        for _ in range(3):
            ws.send_binary(bytes(5_000_000))

    with connect(script) as ws:
        future = pool.submit(send)
        # The sender is stuck, as nobody reads: receiving goes on all the same.
        assert ws.recv() == "after the ping"
        go.set()
        all_done([future])
        ws.close(timeout=DEADLINE)
    assert sorted(opcodes) == [BINARY, BINARY, BINARY, PONG]


def test_a_pong_that_found_no_room_is_sent_when_there_is(connect: Connect) -> None:
    """No further frame of either side must be needed for it."""
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        assert go.wait(DEADLINE)
        while (got := peer.next_frame()).opcode == BINARY:
            pass
        assert got == (True, 0, PONG, got.key, b"late")
        peer.send(frame(TEXT, b"thank you"))
        peer.finish()

    def fill(ws: WebSocket) -> None:
        ws.settimeout(0.1)
        while True:
            ws.send_binary(bytes(100_000))

    with connect(script, timeout=DEADLINE) as ws:
        with pytest.raises(WebSocketTimeoutException):
            fill(ws)
        ws.settimeout(DEADLINE)
        # As if the server had sent a ping, which it can't while it doesn't read.
        assert ws._stream is not None
        ws._stream._send_soon(PONG, b"late")
        go.set()
        assert ws.recv() == "thank you"
        ws.close(timeout=DEADLINE)


def ponging(peer: Peer) -> None:
    """Answers pings, and sends a text after each."""
    peer.accept()
    while (got := peer.next_frame()).opcode != CLOSE:
        if got.opcode == PING:
            peer.send(frame(PONG, got.payload) + frame(TEXT, got.payload))
    peer.send(frame(CLOSE, got.payload))


def test_waiting_for_pongs_in_many_threads(connect: Connect, pool: ThreadPoolExecutor) -> None:
    with connect(ponging) as ws:

        def ping(number: int) -> None:
            for turn in range(20):
                assert ws.ping(f"{number}-{turn}").wait(DEADLINE) >= 0

        all_done([pool.submit(ping, number) for number in range(6)])
        # The messages that came meanwhile are all there.
        assert len({ws.recv(timeout=DEADLINE) for _ in range(120)}) == 120


def test_waiting_for_pongs_while_another_thread_receives(
    connect: Connect, pool: ThreadPoolExecutor
) -> None:
    with connect(ponging) as ws:
        receiver = pool.submit(lambda: [ws.recv() for _ in range(100)])

        def ping(number: int) -> None:
            for turn in range(25):
                assert ws.ping(f"{number}-{turn}").wait(DEADLINE) >= 0

        pings = [pool.submit(ping, number) for number in range(4)]
        all_done(pings)
        assert len(set(all_done([receiver])[0])) == 100


def test_a_receiver_is_not_starved_by_a_thread_that_waits_for_a_pong(
    connect: Connect, pool: ThreadPoolExecutor
) -> None:
    """The pong never comes; the message must."""
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        assert go.wait(DEADLINE)
        peer.send(frame(TEXT, b"one"))
        peer.finish()

    with connect(script) as ws:
        waiter = ws.ping("never answered")

        def wait_for_pong() -> None:
            with pytest.raises(WebSocketConnectionClosedException):
                waiter.wait()

        pinger = pool.submit(wait_for_pong)
        assert ws._stream is not None
        # Until the pinger holds what only one thread can hold.
        deadline = time.monotonic() + DEADLINE
        while ws.readlock.acquire(blocking=False):
            ws.readlock.release()
            assert time.monotonic() < deadline
        receiver = pool.submit(ws.recv)
        while not ws._stream._receivers:
            assert time.monotonic() < deadline
        go.set()
        assert all_done([receiver]) == ["one"]
        ws.close(timeout=1)
        all_done([pinger])


def test_who_stood_back_for_a_receiver_takes_over_when_that_gives_up(
    connect: Connect, pool: ThreadPoolExecutor
) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        ping = peer.next_frame()
        assert go.wait(DEADLINE)
        peer.send(frame(PONG, ping.payload))
        peer.finish()

    with connect(script) as ws:
        pinger = pool.submit(ws.ping("p").wait, DEADLINE)
        for _ in range(5):
            with pytest.raises(WebSocketTimeoutException):
                ws.recv(timeout=0.02)
        go.set()
        assert all_done([pinger])[0] >= 0


def test_closing_while_others_send(connect: Connect, pool: ThreadPoolExecutor) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        while (got := peer.next_frame()).opcode != CLOSE:
            pass
        peer.send(frame(CLOSE, got.payload))

    def send() -> int:
        for number in range(1_000_000):
            try:
                ws.send(f"message {number}" * 100)
            except WebSocketConnectionClosedException:
                break
        return number

    with connect(script) as ws:
        futures = [pool.submit(send) for _ in range(4)]
        ws.close(timeout=DEADLINE)
        assert all(number < 999_999 for number in all_done(futures))
        # The server saw whole frames up to the Close, and its answer was waited for.
        assert ws.close_code == 1000


def test_a_thread_stuck_in_a_send_comes_back(connect: Connect, pool: ThreadPoolExecutor) -> None:
    """The server reads nothing, so that not even the Close can be sent."""
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        assert done.wait(DEADLINE)

    def send() -> None:
        with pytest.raises(WebSocketConnectionClosedException):
            ws.send_binary(bytes(64_000_000))

    with connect(script) as ws:
        future = pool.submit(send)
        deadline = time.monotonic() + DEADLINE
        while ws.lock.acquire(blocking=False):
            ws.lock.release()
            assert time.monotonic() < deadline
        before = time.monotonic()
        ws.close(timeout=0.3)
        all_done([future])
        assert time.monotonic() - before < 4
        done.set()
