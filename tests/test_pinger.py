"""Pings over a real connection: false alarms, the uplink, and their times."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from badservers import BINARY, CONT, PING, PONG, TEXT, Peer, scripted
from conftest import DEADLINE
from test_app import BYE, Recorded
from test_session import Reconnecting, Turns, bye
from wire import frame

import websocket
from websocket import _pinger
from websocket._keepalive import RoundTrips
from websocket._protocol.connection import Connection
from websocket._socket import acknowledged, unacknowledged
from websocket._stream import Stream

pytestmark = pytest.mark.usefixtures("no_leaks")


# The times


def test_round_trips() -> None:
    times = RoundTrips()
    assert (times.last, times.smoothed, times.percentile(50)) == (None, None, None)
    for number in range(1, 101):
        times.add(number / 100)
    assert times.count == 100
    assert times.last == 1.0
    assert times.percentile(50) == 0.5
    assert times.percentile(99) == 0.99
    assert times.percentile(100) == 1.0
    assert times.percentile(0.001) == 0.01


def test_the_smoothed_time_follows_slowly() -> None:
    times = RoundTrips()
    times.add(0.8)
    assert times.smoothed == 0.8
    times.add(1.6)
    assert times.smoothed == pytest.approx(0.9)


def test_old_times_are_forgotten() -> None:
    times = RoundTrips()
    for number in range(10_000):
        times.add(float(number))
    assert times.percentile(0.0001) == 10_000 - 512


@pytest.mark.parametrize("share", [0, -1, 101])
def test_shares_that_make_no_sense(share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        RoundTrips().percentile(share)


# A pinger over a pair of sockets, on a clock that the test moves


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Pinged:
    """A pinger whose peer is a plain socket."""

    def __init__(self, left: socket.socket, right: socket.socket, clock: Clock) -> None:
        self.peer, self.clock = right, clock
        self.stream = Stream(left, Connection(), threading.RLock(), threading.RLock())
        self.times = RoundTrips()
        self.pinger = _pinger.Pinger(self.stream, 10, 3, b"p", self.times)

    def says(self, data: bytes) -> None:
        self.peer.sendall(data)
        self.stream.fill()
        self.stream.core.events.clear()
        self.pinger.heard()


@pytest.fixture
def pinged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pinged]:
    clock = Clock()
    monkeypatch.setattr(_pinger, "time", clock)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as left,
    ):
        right, _ = listener.accept()
        with right:
            yield Pinged(left, right, clock)


def test_ping_and_pong(pinged: Pinged) -> None:
    pinger, clock = pinged.pinger, pinged.clock
    assert pinger.wait() == 10
    clock.now += 10
    assert not pinger.peer_is_gone()
    assert len(pinged.peer.recv(100)) == 7
    clock.now += 1
    pinged.says(frame(PONG, b"p"))
    assert pinged.times.count == 1
    clock.now += 8.9
    assert not pinger.peer_is_gone()
    assert pinger.wait() == pytest.approx(0.1)


def test_silence(pinged: Pinged) -> None:
    pinged.clock.now += 10
    assert not pinged.pinger.peer_is_gone()
    pinged.clock.now += 2.9
    assert not pinged.pinger.peer_is_gone()
    pinged.clock.now += 0.1
    assert pinged.pinger.peer_is_gone()


def test_a_pong_that_may_be_an_earlier_ones_says_no_time(pinged: Pinged) -> None:
    """Two pings, and then two pongs: whose is the first?"""
    pinger, clock = pinged.pinger, pinged.clock
    pinger.keepalive.timeout = None
    for _ in range(2):
        clock.now += 10
        pinger.peer_is_gone()
    pinged.says(frame(PONG, b"p"))
    pinged.says(frame(PONG, b"p"))
    assert pinged.times.count == 0
    clock.now += 10
    pinger.peer_is_gone()
    pinged.says(frame(PONG, b"p"))
    assert pinged.times.count == 1


def test_a_clock_that_jumps_is_one_verdict(pinged: Pinged) -> None:
    """A laptop that slept for a day: the old connection is asked once, not a thousand times."""
    pinger, clock = pinged.pinger, pinged.clock
    clock.now += 86400
    assert not pinger.peer_is_gone()
    assert len(pinged.peer.recv(100)) == 7
    assert pinger.wait() == 3
    clock.now += 3
    assert pinger.peer_is_gone()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how far the peer's TCP is")
def test_a_ping_behind_a_queue_that_moves_is_waited_for(pinged: Pinged) -> None:
    pinger, clock, sock = pinged.pinger, pinged.clock, pinged.stream.sock
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))
    clock.now += 10
    assert not pinger.peer_is_gone()
    assert pinged.stream.backlog
    # The peer works the queue off, slowly: what it takes is its sign of life.
    taken, before = 0, acknowledged(sock)
    while acknowledged(sock) == before:
        taken += len(pinged.peer.recv(65536))
    clock.now += 3
    assert not pinger.peer_is_gone()
    clock.now += 3
    # Nothing more was taken since.
    settled = acknowledged(sock)
    pinger._acknowledged = settled
    assert pinger.peer_is_gone()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how far the peer's TCP is")
def test_a_peer_whose_system_alone_is_alive_is_found_out(pinged: Pinged) -> None:
    pinger, clock = pinged.pinger, pinged.clock
    clock.now += 10
    assert not pinger.peer_is_gone()
    deadline = time.monotonic() + DEADLINE
    while unacknowledged(pinged.stream.sock):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    clock.now += 3
    assert pinger.peer_is_gone()


def test_what_is_no_tcp_tells_nothing() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert acknowledged(left) is None
    assert unacknowledged(left) is None
    assert acknowledged(left) is None
    assert acknowledged(object()) is None
    assert unacknowledged(object()) is None


# False alarms in an app


def test_a_callback_longer_than_the_timeout_is_no_silence() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        ping = peer.next_frame()
        assert ping.opcode == PING
        peer.send(frame(TEXT, b"slow"))
        time.sleep(0.2)
        peer.send(frame(PONG, ping.payload))
        assert peer.next_frame().opcode == PING
        peer.send(BYE)
        peer.finish()

    with scripted(script) as url:
        recorded = Recorded(url, {"on_message": lambda app, message: time.sleep(0.6)})
        assert recorded.run(ping_interval=0.2, ping_timeout=0.1) is False
    assert recorded.of("on_error") == []
    assert recorded.app.round_trips.count <= 1


def test_a_message_that_takes_longer_than_the_timeout_is_no_silence() -> None:
    """Frames of one long message: no whole message comes for a while, and no pong."""

    def script(peer: Peer) -> None:
        peer.accept(then=frame(BINARY, b"begin", fin=False))
        for _ in range(20):
            time.sleep(0.05)
            peer.send(frame(CONT, b"x" * 1000, fin=False))
        peer.send(frame(CONT, b"end") + BYE)
        peer.finish()

    with scripted(script) as url:
        recorded = Recorded(url)
        assert recorded.run(ping_interval=0.5, ping_timeout=0.4) is False
    assert len(recorded.of("on_message")) == 1


def test_a_busy_inbound_stream_is_no_silence() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        end = time.monotonic() + 1
        while time.monotonic() < end:
            peer.send(frame(BINARY, bytes(1000)) * 20)
        peer.send(BYE)
        peer.finish()

    with scripted(script) as url:
        recorded = Recorded(url)
        assert recorded.run(ping_interval=0.25, ping_timeout=0.2) is False
    assert recorded.of("on_error") == []


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how far the peer's TCP is")
def test_a_saturated_uplink_is_no_silence() -> None:
    """The ping waits behind megabytes that the server takes slowly."""
    pings: list[float] = []
    began = time.monotonic()

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer.accept()
        # 64 KiB every 20 ms: the whole takes much longer than the timeout of the ping.
        while len(peer.received) < 6_000_014 + 6:
            peer.received += peer.sock.recv(65536)
            time.sleep(0.02)
        del peer.received[:6_000_014]
        assert peer.next_frame().opcode == PING
        pings.append(time.monotonic())
        peer.send(frame(PONG) + BYE)
        peer.finish()

    def flood(app: websocket.WebSocketApp) -> None:
        sender.append(threading.Thread(target=app.send_bytes, args=(bytes(6_000_000),)))
        sender[0].start()

    sender: list[threading.Thread] = []
    with scripted(script) as url:
        recorded = Recorded(url, {"on_open": flood})
        recorded.run(ping_interval=0.6, ping_timeout=0.5)
        sender[0].join(DEADLINE)
    assert recorded.of("on_error") == []
    assert pings[0] - began > 1


def test_a_reconnect_after_silence_is_one() -> None:
    def silent(peer: Peer) -> None:
        peer.accept()
        peer.wait_for_end()

    server = Turns(silent, bye)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run(ping_interval=0.2, ping_timeout=0.1) is False
    assert len(server.at) == 2
    assert recorded.names() == ["on_open", "on_error", "on_reconnect", "on_close"]


def test_times_outlast_a_connection() -> None:
    def pongs(peer: Peer) -> None:
        peer.accept()
        for _ in range(2):
            ping = peer.next_frame()
            peer.send(frame(PONG, ping.payload))

    with scripted(Turns(pongs, pongs, bye)) as url:
        recorded = Reconnecting(url)
        assert recorded.run(ping_interval=0.1, ping_payload="time") is False
    times = recorded.app.round_trips
    assert times.count == 4
    assert times.last is not None
    assert 0 < times.last < DEADLINE
