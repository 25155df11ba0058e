"""What has gone over one connection: plain numbers, as cheap to keep as can be.

What a program sees of them is in ``_stats``.
"""

from __future__ import annotations

from .frames import FIN, OP_CLOSE, OP_PING, OP_PONG


class Counts:
    """The numbers of one connection.

    Each is written by one thread at a time: those of receiving by whoever reads, those of
    sending by whoever holds the lock for writing. On the hot paths they are counted in place,
    by the read and by the batch.

    Attributes:
        bytes_received, bytes_sent: frames with their headers.
        messages_received, messages_sent: whole messages.
        pings_received, pings_sent, pongs_received, pongs_sent: control frames.
        opened_at, received_at, sent_at: when, as ``time.time()`` has it; the driver's to set.
        latency: seconds between the last ping that was answered and its pong.
        smoothed_latency: their moving average.
    """

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "latency",
        "messages_received",
        "messages_sent",
        "opened_at",
        "pings_received",
        "pings_sent",
        "pongs_received",
        "pongs_sent",
        "received_at",
        "sent_at",
        "smoothed_latency",
    )

    def __init__(self) -> None:
        self.bytes_received = self.bytes_sent = 0
        self.messages_received = self.messages_sent = 0
        self.pings_received = self.pings_sent = 0
        self.pongs_received = self.pongs_sent = 0
        self.opened_at: float | None = None
        self.received_at: float | None = None
        self.sent_at: float | None = None
        self.latency: float | None = None
        self.smoothed_latency: float | None = None

    def sent(self, first: int) -> None:
        """A frame with this first byte was sent."""
        opcode = first & 0x0F
        if opcode < OP_CLOSE:
            self.messages_sent += first >= FIN
        elif opcode == OP_PING:
            self.pings_sent += 1
        elif opcode == OP_PONG:
            self.pongs_sent += 1

    def answered(self, seconds: float) -> None:
        """A ping has been answered after so many seconds."""
        self.latency = seconds
        self.smoothed_latency = smoothed(self.smoothed_latency, seconds)


def smoothed(average: float | None, seconds: float) -> float:
    """The moving average with one more round trip, as TCP computes it (RFC 6298 section 2)."""
    return seconds if average is None else average + (seconds - average) / 8
