"""Waiting for the pong of a ping, while others may be receiving (RFC 6455 section 5.5.3)."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from ._deadline import Deadline
from ._exceptions import WebSocketException

if TYPE_CHECKING:
    from ._stream import Stream

# What has arrived is read even when the time is over (a timeout of 0 means just that), but
# not for so many seconds: a peer that never stops must not keep us here.
GRACE: Final = 0.1

# Seconds in which a program that is receiving should have taken one message.
PATIENCE: Final = 10.0


class PongWaiter:
    """A ping that was sent, and the pong that answers it (RFC 6455 section 5.5.3).

    Attributes:
        payload: what the ping carried.
        rtt: seconds between the ping and its pong, None while there is none.
    """

    def __init__(self, stream: Stream, payload: bytes) -> None:
        self.payload = payload
        self.rtt: float | None = None
        self._stream = stream
        self._sent = time.monotonic()
        self._wake = threading.Event()

    @property
    def done(self) -> bool:
        """Whether the pong has come."""
        return self.rtt is not None

    def wait(self, timeout: float | None = None) -> float:
        """Wait for the pong and return the round-trip time in seconds.

        What arrives in the meantime is kept for the receiving methods, up to 16 MiB; another
        thread may be receiving at the same time.

        Parameters:
            timeout: seconds, None for no limit.

        Raises:
            WebSocketTimeoutException: the pong did not come in time.
            WebSocketConnectionClosedException: the connection ended before it came.
            WebSocketException: reading on would keep more messages, or pieces of one that is
                being streamed, than it should, and nobody receives them.
        """
        deadline = Deadline(timeout)
        while self.rtt is None:
            self._wake.clear()
            if deadline.overdue(GRACE):
                raise deadline.error()
            if not self._stream.try_read(deadline):
                self._stand_by(deadline)
        return self.rtt

    def _stand_by(self, deadline: Deadline) -> None:
        """Wait until another thread has read, or has taken what was read ahead."""
        unread = self._stream.unread
        patience = deadline.sooner(PATIENCE)
        if self._wake.wait(patience.remaining()) or self.rtt is not None or deadline.expired:
            return
        if 0 < unread <= self._stream.unread:
            raise WebSocketException(
                f"The pong may be behind {unread} messages or pieces of which nobody"
                f" has received any for {PATIENCE:g} seconds: receive them while waiting"
            )

    def acknowledge(self) -> None:
        self.rtt = time.monotonic() - self._sent
        self._wake.set()

    def wake(self) -> None:
        """Let the waiting thread look again: nobody else is reading now."""
        self._wake.set()
