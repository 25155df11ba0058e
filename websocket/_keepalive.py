"""When to ping, and when to give a silent connection up. Time is passed in, nothing waits.

A ping is answered by the pong with its payload (RFC 6455 section 5.5.3). As anything that
arrives shows that the peer is alive, the timeout counts from the last sign of life.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from ._exceptions import WebSocketArgumentException
from ._protocol.counts import smoothed

_KEPT: Final = 512


class RoundTrips:
    """The times between pings and their pongs, in seconds. All are None at first.

    Attributes:
        last: the latest one.
        smoothed: their moving average, as TCP computes it.
        count: how many there have been.
    """

    def __init__(self, on_add: Callable[[float], object] | None = None) -> None:
        self._on_add = on_add
        self.last: float | None = None
        self.smoothed: float | None = None
        self.count = 0
        self._kept: deque[float] = deque(maxlen=_KEPT)

    def add(self, seconds: float) -> None:
        """Take note of one more."""
        self.last = seconds
        self.smoothed = smoothed(self.smoothed, seconds)
        self.count += 1
        self._kept.append(seconds)
        if self._on_add is not None:
            self._on_add(seconds)

    def percentile(self, share: float) -> float | None:
        """What ``share`` percent (above 0, up to 100) of the latest 512 did not exceed."""
        if not 0 < share <= 100:
            raise WebSocketArgumentException(
                f"A percentile is above 0 and at most 100, not {share!r}"
            )
        kept = sorted(self._kept)
        return kept[math.ceil(len(kept) * share / 100) - 1] if kept else None


class Due(Enum):
    PING = "ping"
    TIMEOUT = "timeout"


def check_settings(interval: float | None, timeout: float | None) -> None:
    """Refuse settings that can't work.

    Raises:
        WebSocketArgumentException: a negative interval, a timeout that is not positive, or
            one that is not shorter than the interval.
    """
    if interval is not None and interval < 0:
        raise WebSocketArgumentException(f"ping_interval must not be negative, but is {interval}")
    if timeout is None:
        return
    if timeout <= 0:
        raise WebSocketArgumentException(f"ping_timeout must be above 0, but is {timeout}")
    if interval and interval <= timeout:
        raise WebSocketArgumentException(
            f"ping_interval ({interval}) must be longer than ping_timeout ({timeout})"
        )


class Keepalive:
    """The ping deadlines of one connection.

    Parameters:
        interval: seconds between pings; 0 for none.
        timeout: seconds without a sign of life after a ping that end the connection, None
            for no end.
        now: the time on a monotonic clock.
    """

    def __init__(self, interval: float, timeout: float | None, now: float) -> None:
        self.interval = interval
        self.timeout = timeout
        self.pinged_at: float | None = None  # the outstanding ping
        self._payload = b""
        self._heard_at = now
        self._next_ping = now + interval

    def heard(self, now: float) -> None:
        """Something arrived."""
        self._heard_at = now

    def pong(self, payload: bytes) -> None:
        """A pong arrived; it counts if it answers the outstanding ping."""
        if self.pinged_at is not None and payload == self._payload:
            self.pinged_at = None

    def pinged(self, payload: bytes, now: float) -> None:
        """A ping was sent."""
        self._next_ping = now + self.interval
        # The timeout counts from the oldest ping without an answer.
        if self.pinged_at is None:
            self.pinged_at = now
        self._payload = payload

    def deadline(self) -> float | None:
        """The time at which ``due`` will have something to say."""
        if not self.interval:
            return None
        expiry = self._expiry()
        return self._next_ping if expiry is None else min(self._next_ping, expiry)

    def due(self, now: float) -> Due | None:
        """What is to be done now. Read what has arrived before asking."""
        if not self.interval:
            return None
        expiry = self._expiry()
        if expiry is not None and now >= expiry:
            return Due.TIMEOUT
        return Due.PING if now >= self._next_ping else None

    def _expiry(self) -> float | None:
        if self.timeout is None or self.pinged_at is None:
            return None
        return max(self.pinged_at, self._heard_at) + self.timeout
