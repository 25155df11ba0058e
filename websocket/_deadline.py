"""How long an operation may take, and who else may end it: timeouts and absolute deadlines."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ._exceptions import WebSocketArgumentException, WebSocketTimeoutException

if TYPE_CHECKING:
    from ._call_off import CallOff


def check_timeout(timeout: object, name: str = "timeout") -> float | None:
    """``timeout`` if it is None or a number of seconds that makes sense.

    Raises:
        WebSocketArgumentException: it is negative, not a number, or NaN.
    """
    if timeout is None:
        return None
    if isinstance(timeout, (int, float)) and timeout >= 0:
        # An endless number of seconds is no limit; sockets refuse the number itself.
        return None if math.isinf(timeout) else timeout
    raise WebSocketArgumentException(
        f"{name} must be None or a number of seconds from 0 upwards, not {timeout!r}"
    )


class Deadline:
    """A point in time that all the steps of an operation share.

    Args:
        timeout: seconds from now, or None for no limit.
        clock: what counts the seconds.

    Attributes:
        call_off: lets another thread end the operation, None where nobody wants to.

    Raises:
        WebSocketArgumentException: ``timeout`` is negative or no number.
    """

    __slots__ = ("_clock", "_end", "call_off", "timeout")

    def __init__(self, timeout: float | None, clock: Callable[[], float] = time.monotonic):
        self.timeout = check_timeout(timeout)
        self.call_off: CallOff | None = None
        self._clock = clock
        self._end = None if self.timeout is None else clock() + self.timeout

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return self._end is not None and self._clock() >= self._end

    def left(self) -> float | None:
        """Seconds that are left, 0 when none are, or None without a limit."""
        return None if self._end is None else max(0.0, self._end - self._clock())

    def overdue(self, grace: float) -> bool:
        """Whether the time has been over for more than ``grace`` seconds."""
        return self._end is not None and self._clock() > self._end + grace

    def remaining(self) -> float | None:
        """Seconds that are left, always more than 0, or None without a limit.

        Raises:
            WebSocketTimeoutException: none are left.
        """
        if self._end is None:
            return None
        left = self._end - self._clock()
        if left <= 0:
            raise self.error()
        return left

    def announce(self, sock: Any, asked: bool = False) -> None:
        """From here on, steps wait for this socket; see ``CallOff.waits_for``."""
        if self.call_off is not None:
            self.call_off.waits_for(sock, asked)

    def alarm(self) -> AbstractContextManager[socket.socket | None]:
        """See ``CallOff.alarm``; None where nobody can call the operation off."""
        return contextlib.nullcontext() if self.call_off is None else self.call_off.alarm()

    def check(self) -> None:
        """Raise if no time is left, or if the operation was called off."""
        if self.call_off is not None:
            self.call_off.check()
        self.remaining()

    def error(self) -> WebSocketTimeoutException:
        """The exception that says that the time is over."""
        if self.timeout is None:
            return WebSocketTimeoutException("The operation timed out.")
        return WebSocketTimeoutException(f"The operation timed out after {self.timeout:g} seconds.")

    def sooner(self, timeout: float | None) -> Deadline:
        """This deadline, or a new one ``timeout`` seconds from now if that comes first."""
        if timeout is not None:
            other = Deadline(timeout, self._clock)
            if other._end is not None and (self._end is None or other._end < self._end):
                other.call_off = self.call_off
                return other
        return self
