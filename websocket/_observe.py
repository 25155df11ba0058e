"""What a metrics library may want to know of connections, and a simple one that counts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

__all__ = ["Observer", "Stats"]

_logger = logging.getLogger("websocket")


class Observer:
    """Hears of what happens to the connections of an app, or of ``reconnecting``.

    Override what you need. The methods are called in the thread that the event happens in, and
    should be quick; what they raise is logged and goes no further.
    """

    def connected(self, number: int, seconds: float) -> None:
        """A connection is open.

        Parameters:
            number: 1 for the first one of a run.
            seconds: how long connecting took.
        """

    def lost(self, error: Exception, attempt: int, delay: float) -> None:
        """A connection was lost or an attempt has failed, and another attempt follows.

        Parameters:
            attempt: the number of the one that follows.
            delay: seconds until then.
        """

    def closed(self, error: BaseException | None, code: int | None) -> None:
        """A run has ended, with the last error or the code of the server's Close."""

    def received(self, messages: int, size: int) -> None:
        """So many messages have come, of so many bytes together (characters, of text)."""

    def sent(self, size: int) -> None:
        """A message of so many bytes (characters, of text) was sent."""

    def ponged(self, seconds: float) -> None:
        """A ping has been answered after so many seconds."""


class Stats(Observer):
    """Counts. The numbers are those of all runs since it was made.

    Attributes:
        connections: how many were opened.
        reconnects: how many of them were not the first of their run.
        losses: lost connections and failed attempts that another attempt followed.
        messages_in, messages_out: messages received and sent.
        size_in, size_out: bytes of their payloads (characters, of text).
        pongs: pings that were answered.
        connected_at, lost_at: when that happened last, as ``time.time()`` tells it; None before.
        last_error: the error of the latest loss or end, None before.
    """

    def __init__(self) -> None:
        self.connections = self.reconnects = self.losses = 0
        self.messages_in = self.messages_out = 0
        self.size_in = self.size_out = 0
        self.pongs = 0
        self.connected_at: float | None = None
        self.lost_at: float | None = None
        self.last_error: BaseException | None = None

    def connected(self, number: int, seconds: float) -> None:
        self.connections += 1
        self.reconnects += number > 1
        self.connected_at = time.time()

    def lost(self, error: Exception, attempt: int, delay: float) -> None:
        self.losses += 1
        self.lost_at = time.time()
        # Without its traceback, which would hold whole frames of the program alive.
        self.last_error = error.with_traceback(None)

    def closed(self, error: BaseException | None, code: int | None) -> None:
        self.last_error = error or self.last_error

    def received(self, messages: int, size: int) -> None:
        self.messages_in += messages
        self.size_in += size

    def sent(self, size: int) -> None:
        self.messages_out += 1
        self.size_out += size

    def ponged(self, seconds: float) -> None:
        self.pongs += 1


def tell(observer: Observer | None, name: str, *args: Any) -> None:
    """Call one method of an observer, if there is one; what it raises is only logged."""
    if observer is None:
        return
    try:
        getattr(observer, name)(*args)
    except Exception as error:
        _logger.error("error from observer %r: %s", observer, error, exc_info=True)


def tell_received(observer: Observer, events: Iterable[Any]) -> None:
    """Tell of the messages among the events of a connection."""
    messages = [event for event in events if isinstance(event, (str, bytes))]
    if messages:
        tell(observer, "received", len(messages), sum(map(len, messages)))
