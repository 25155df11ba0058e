"""The pings of a connection that have no pong yet (RFC 6455 section 5.5.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .._exceptions import WebSocketException

_MAX_PINGS: Final = 1024


class Pongs:
    """Which pings were sent when, and who waits for their pongs.

    Attributes:
        latency: seconds between the last ping that was answered and its pong, None before.
    """

    __slots__ = ("_pings", "latency")

    def __init__(self) -> None:
        self.latency: float | None = None
        self._pings: list[tuple[bytes, float, asyncio.Future[float] | None]] = []

    @property
    def awaited(self) -> bool:
        """Whether a ping of the program's has no pong yet."""
        return any(pong is not None and not pong.done() for _, _, pong in self._pings)

    def check_room(self) -> None:
        """Raise WebSocketException where too many pings are without an answer."""
        if len(self._pings) >= _MAX_PINGS:
            # Nobody waits for the pong of a ping that was given up.
            self._pings = [ping for ping in self._pings if ping[2] and not ping[2].done()]
            if len(self._pings) >= _MAX_PINGS:
                raise WebSocketException(f"The server has left {_MAX_PINGS} pings unanswered.")

    def expect(self, payload: bytes, now: float, pong: asyncio.Future[float] | None = None) -> None:
        """A ping was sent."""
        self._pings.append((payload, now, pong))

    def acknowledge(self, payload: bytes, now: float) -> float | None:
        """A pong answers the ping with its payload and, as peers may skip some, all before.

        Returns:
            the round-trip time in seconds, None where no ping has this payload.
        """
        place = next((i for i, ping in enumerate(self._pings) if ping[0] == payload), None)
        if place is None:
            return None
        answered = self._pings[: place + 1]
        del self._pings[: place + 1]
        self.latency = now - answered[-1][1]
        for _, sent, pong in answered:
            if pong is not None and not pong.done():
                pong.set_result(now - sent)
        return self.latency

    def fail(self, error: Callable[[], Exception]) -> None:
        """No pong will come any more."""
        pings, self._pings = self._pings, []
        for _, _, pong in pings:
            if pong is not None and not pong.done():
                pong.set_exception(error())
                # Nobody has to look at it: a program may have sent the ping for its own sake.
                pong.exception()
