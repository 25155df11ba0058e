"""What has gone over a connection, or over several: ``Stats``, the value that programs get.

The numbers are kept by the protocol core (``_protocol/counts.py``), always and for next to
nothing; a value is made of them when a program asks.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol

from ._protocol.connection import Connection
from ._socket import last_sent_at

__all__ = ["Stats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What has gone over a connection, or over all those of an app's run, up to a moment.

    Values can be added: ``sum((app.stats for app in apps), Stats())``. Counts are added then,
    of times the latest counts, and what is no count (latency, the Close) is that of the
    connection that was opened last.

    Attributes:
        connections: how many were opened.
        losses: lost connections and failed attempts that another attempt followed.
        bytes_received, bytes_sent: frames with their headers, as they are on the wire (inside
            of TLS), without the opening handshake.
        messages_received, messages_sent: whole messages; one in fragments counts when it is
            complete.
        pings_received, pongs_sent: the server's pings, and our answers.
        pings_sent, pongs_received: our pings, and the server's answers.
        original_received, compressed_received: bytes of the messages that came compressed,
            and of what they were compressed to. Without compression both are 0.
        original_sent, compressed_sent: the same of those that were sent.
        connected_at: when the last connection was opened. Times are seconds as
            ``time.time()`` has them, None where there is none.
        last_received_at: when something was received last.
        last_sent_at: when something was sent last, as the system's TCP tells it: None where
            it does not (other than on Linux, over Unix sockets).
        latency: seconds between the last ping that was answered and its pong, None before.
        smoothed_latency: their moving average (RFC 6298 section 2).
        close_code: the code of the server's Close frame (1005 if it had none), None before it.
        close_reason: its reason.
    """

    connections: int = 0
    losses: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    messages_sent: int = 0
    pings_received: int = 0
    pings_sent: int = 0
    pongs_received: int = 0
    pongs_sent: int = 0
    original_received: int = 0
    original_sent: int = 0
    compressed_received: int = 0
    compressed_sent: int = 0
    connected_at: float | None = None
    last_received_at: float | None = None
    last_sent_at: float | None = None
    latency: float | None = None
    smoothed_latency: float | None = None
    close_code: int | None = None
    close_reason: str | None = None

    @property
    def reconnects(self) -> int:
        """How many connections were not the first one."""
        return max(0, self.connections - 1)

    @property
    def compression_received(self) -> float | None:
        """How many times smaller compression has made what was received; None without it."""
        return _ratio(self.original_received, self.compressed_received)

    @property
    def compression_sent(self) -> float | None:
        """How many times smaller compression has made what was sent; None without it."""
        return _ratio(self.original_sent, self.compressed_sent)

    def __add__(self, other: Stats) -> Stats:
        latest = other if (other.connected_at or 0) >= (self.connected_at or 0) else self
        values: dict[str, Any] = {}
        for name in _NAMES:
            mine, others = getattr(self, name), getattr(other, name)
            if isinstance(mine, int) and name not in _LATEST:
                values[name] = mine + others
            elif name in _LATEST:
                values[name] = getattr(latest, name)
            else:
                values[name] = max(mine or 0, others or 0) or None
        return Stats(**values)


_NAMES: Final = tuple(field.name for field in fields(Stats))
_LATEST: Final = frozenset({"latency", "smoothed_latency", "close_code", "close_reason"})


def _ratio(original: int, compressed: int) -> float | None:
    return original / compressed if compressed else None


def stats_of(core: Connection, sock: Any) -> Stats:
    """The statistics of one connection.

    Parameters:
        sock: its socket while it is open, else None.
    """
    counts, volumes, close = core.counts, core.volumes, core.close_received
    return Stats(
        connections=int(counts.opened_at is not None),
        bytes_received=counts.bytes_received,
        bytes_sent=counts.bytes_sent,
        messages_received=counts.messages_received,
        messages_sent=counts.messages_sent,
        pings_received=counts.pings_received,
        pings_sent=counts.pings_sent,
        pongs_received=counts.pongs_received,
        pongs_sent=counts.pongs_sent,
        original_received=volumes.original_received,
        original_sent=volumes.original_sent,
        compressed_received=volumes.encoded_received,
        compressed_sent=volumes.encoded_sent,
        connected_at=counts.opened_at,
        last_received_at=counts.received_at,
        last_sent_at=counts.sent_at or last_sent_at(sock),
        latency=counts.latency,
        smoothed_latency=counts.smoothed_latency,
        close_code=core.close_code,
        close_reason=None if close is None else close.reason,
    )


class HasStats(Protocol):
    @property
    def stats(self) -> Stats: ...


class Tally:
    """The statistics of connections that follow one another. Any thread may ask for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._past = Stats()
        self._now: HasStats | None = None

    def begin(self, connection: HasStats) -> None:
        """A connection is open."""
        with self._lock:
            self._now = connection

    def end(self) -> None:
        """It has ended; it is not asked any more."""
        with self._lock:
            if self._now is not None:
                self._past += self._now.stats
                self._now = None

    def lost(self) -> None:
        """A connection was lost or an attempt has failed, and another attempt follows."""
        with self._lock:
            self._past += Stats(losses=1)

    @property
    def stats(self) -> Stats:
        with self._lock:
            return self._past if self._now is None else self._past + self._now.stats
