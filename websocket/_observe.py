"""What a metrics library may want to be told of connections while it happens.

What can be asked for at any time is in ``_stats``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

__all__ = ["Observer"]

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
