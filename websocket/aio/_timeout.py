"""What may last until a deadline; ``asyncio.timeout``, also where Python does not have it yet."""

from __future__ import annotations

import sys
from types import TracebackType

from .._socket import Deadline

__all__ = ["before", "timeout"]

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    import asyncio

    class timeout:
        """Cancels what runs inside after so many seconds, and raises TimeoutError then."""

        def __init__(self, seconds: float | None) -> None:
            self._seconds = seconds
            self._timer: asyncio.TimerHandle | None = None
            self._over = False

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


class before:
    """Cancels what runs inside when the deadline has passed.

    It is no generator, as ``contextlib`` would keep the cancellation in a frame that this holds.

    Raises:
        WebSocketTimeoutException: it has.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._scope = timeout(deadline.left())

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._scope.__aexit__(kind, error, traceback)
        except TimeoutError as late:
            raise self._deadline.error() from late
