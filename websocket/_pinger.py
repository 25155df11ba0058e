"""Pings of one connection: sends those that are due, and says when to give the peer up.

When is decided in ``_keepalive``, on a monotonic clock; here is what that takes of a stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ._exceptions import WebSocketException
from ._keepalive import Due, Keepalive, RoundTrips
from ._logging import debug
from ._pong import PongWaiter
from ._socket import acknowledged, unacknowledged
from ._stream import Stream


class Pinger:
    """See the module's text.

    Parameters:
        stream: the connection.
        interval, timeout: seconds, see ``Keepalive``.
        payload: what the pings carry.
        round_trips: where their times are noted.
        on_ping: called before each ping.
    """

    def __init__(
        self,
        stream: Stream,
        interval: float,
        timeout: float | None,
        payload: bytes,
        round_trips: RoundTrips,
        on_ping: Callable[[], object] = lambda: None,
    ) -> None:
        self.keepalive = Keepalive(interval, timeout, time.monotonic())
        self._stream = stream
        self._payload = payload
        self._round_trips = round_trips
        self._on_ping = on_ping
        self._waiter: PongWaiter | None = None
        # Whether the next pong may be that of an earlier ping, so that its time says nothing.
        self._ambiguous = False
        # When we last looked: whether the ping stood behind something, and how far that was.
        self._queued = False
        self._acknowledged: int | None = None

    def heard(self) -> None:
        """Something has arrived."""
        self.keepalive.heard(time.monotonic())
        self._look_for_pong()

    def wait(self) -> float | None:
        """Seconds until ``peer_is_gone`` has something to do, None for never."""
        at = self.keepalive.deadline()
        return None if at is None else max(0.0, at - time.monotonic())

    def peer_is_gone(self) -> bool:
        """Whether the time is over; a ping that is due is sent.

        Ask when all that has arrived has been read, as it may be the sign of life.
        """
        due = self.keepalive.due(time.monotonic())
        if due is Due.TIMEOUT and self._uplink_moves():
            self.keepalive.heard(time.monotonic())
            due = None
        if due is Due.PING:
            self.ping()
        return due is Due.TIMEOUT

    def ping(self) -> None:
        """Send a ping now."""
        self._on_ping()
        self._look_for_pong()
        self._queued = self._queue()
        try:
            waiter = self._stream.ping_soon(self._payload)
        except WebSocketException as error:
            # The reader finds out by itself when the connection is lost.
            debug(f"a ping could not be sent: {error}")
        else:
            self._ambiguous = self._waiter is not None
            if self._waiter is not None:
                self._stream.forget_ping(self._waiter)
            self._waiter = waiter
        self._acknowledged = acknowledged(self._stream.sock)
        self.keepalive.pinged(self._payload, time.monotonic())

    def _look_for_pong(self) -> None:
        waiter = self._waiter
        if waiter is not None and waiter.rtt is not None:
            self._waiter = None
            if not self._ambiguous:
                self._round_trips.add(waiter.rtt)
            self.keepalive.pong(waiter.payload)

    def _uplink_moves(self) -> bool:
        """Whether our ping stood in a queue that the peer has worked at since the last look.

        Behind some megabytes on a slow line, it gets there late, and so does its pong. A peer
        whose system takes the bytes but whose program has died empties the queue, and is then
        found out.
        """
        before, self._acknowledged = self._acknowledged, acknowledged(self._stream.sock)
        stood, self._queued = self._queued, self._queue()
        if before is None or self._acknowledged is None:
            return False
        return self._acknowledged > before and (stood or self._queued)

    def _queue(self) -> bool:
        return self._stream.backlog or bool(unacknowledged(self._stream.sock))
