"""Coroutines that wait for a turn, in the order in which they came; cancellation loses none."""

from __future__ import annotations

import asyncio

from .._exceptions import WebSocketTimeoutException


class Waiters:
    """A queue of coroutines. One that is woken looks itself whether what it waited for is so.

    Parameters:
        loop: the loop that they run in.
    """

    __slots__ = ("_loop", "_queue")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: list[asyncio.Future[bool]] = []

    def __bool__(self) -> bool:
        return bool(self._queue)

    async def wait(self, until: float | None = None) -> None:
        """Wait to be woken.

        Parameters:
            until: the time on the loop's clock at which to give up, None for no limit.

        Raises:
            WebSocketTimeoutException: the time has come.
        """
        waiter: asyncio.Future[bool] = self._loop.create_future()
        timer = None if until is None else self._loop.call_at(until, _give_up, waiter)
        self._queue.append(waiter)
        try:
            late = await waiter
        except BaseException:
            if waiter in self._queue:
                self._queue.remove(waiter)
            elif not waiter.cancelled():
                # Woken and cancelled in one turn of the loop: the next one's turn has come.
                self.wake()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if late:
            # Unless somebody was woken in the same turn of the loop, who stood behind it.
            if waiter in self._queue:
                self._queue.remove(waiter)
            raise WebSocketTimeoutException("The operation timed out.")

    def wake(self) -> None:
        """Wake the one that waits longest."""
        while self._queue:
            waiter = self._queue.pop(0)
            if not waiter.done():
                waiter.set_result(False)
                return

    def wake_all(self) -> None:
        queue, self._queue = self._queue, []
        for waiter in queue:
            if not waiter.done():
                waiter.set_result(False)


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(True)
