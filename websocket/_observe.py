"""What a metrics library may want to be told of connections while it happens.

What can be asked for at any time is in ``_stats``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from ._logging import event
from ._protocol.messages import Fragment, Piece

__all__ = ["Observer"]

_logger = logging.getLogger("websocket")


class Observer:
    """Hears of what happens to connections: of an app, ``reconnecting``, or the asyncio face.

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
        """So many messages have come, of so many bytes together (characters, of text).

        A message that is handed over in pieces counts with its last one.
        """

    def sent(self, size: int) -> None:
        """A message of so many bytes (characters, of text) was sent."""

    def ponged(self, seconds: float) -> None:
        """A ping has been answered after so many seconds."""


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
    count = size = 0
    for item in events:
        if isinstance(item, (str, bytes)):
            count += 1
            size += len(item)
        elif isinstance(item, (Fragment, Piece)):
            count += item.fin
            size += len(item.payload if isinstance(item, Fragment) else item.data)
    if count or size:
        tell(observer, "received", count, size)


# The life of a run (one connection, or those that follow one another): to the log as well


def tell_opened(observer: Observer | None, number: int, seconds: float) -> None:
    """A connection is open, the how manieth of its run, after so many seconds."""
    name = "reconnected" if number > 1 else "connected"
    event(name, "connection %d is open", number)
    tell(observer, "connected", number, seconds)


def tell_lost(observer: Observer | None, error: Exception, attempt: int, delay: float) -> None:
    """A connection was lost or an attempt has failed, and another attempt follows."""
    event(
        "reconnecting",
        "attempt %d to connect again in %.1f s, after: %s",
        attempt,
        delay,
        error,
        attempt=attempt,
        delay=delay,
        error=error,
    )
    tell(observer, "lost", error, attempt, delay)


def tell_ended(observer: Observer | None, error: BaseException | None, code: int | None) -> None:
    """The run has ended."""
    event(
        "closed",
        "the connection has ended: %s",
        error or code or "closed by the program",
        error=error,
        close_code=code,
    )
    tell(observer, "closed", error, code)
