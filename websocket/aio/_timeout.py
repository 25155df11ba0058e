"""What may last until a deadline; ``asyncio.timeout``, also where Python does not have it yet."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncGenerator

from .._socket import Deadline

__all__ = ["before", "timeout"]

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    import asyncio
    from types import TracebackType

    class timeout:
        """Cancels what runs inside after so many seconds, and raises TimeoutError then."""

        def __init__(self, seconds: float | None) -> None:
            self._seconds = seconds
            self._timer: asyncio.TimerHandle | None = None
            self._over = False

        def expired(self) -> bool:
            """Whether the time has passed."""
            return self._over

        async def __aenter__(self) -> None:
            task = asyncio.current_task()
            if self._seconds is not None and task is not None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._seconds, self._cancel, task)

        def _cancel(self, task: asyncio.Task[object]) -> None:
            self._over = True
            task.cancel()

        async def __aexit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            if self._timer is not None:
                self._timer.cancel()
            if self._over and kind is asyncio.CancelledError:
                raise TimeoutError from error


@contextlib.asynccontextmanager
async def before(deadline: Deadline) -> AsyncGenerator[None]:
    """Cancels what runs inside when the deadline has passed.

    Raises:
        WebSocketTimeoutException: it has.
    """
    scope = timeout(deadline.left())
    try:
        async with scope:
            yield
    except TimeoutError as error:
        # An errno is the kernel's: it has given an address up. The deadline's own clock may not
        # be there yet, as a loop's timers may run a millisecond early.
        if error.errno is not None or not scope.expired():
            raise
        raise deadline.error() from error
