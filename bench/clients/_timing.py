"""How every contestant is timed: chunks of operations until the time is over."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Timing(NamedTuple):
    """So many operations took so many seconds, and so much of them on the processor."""

    count: int
    seconds: float
    cpu: float


def timed(chunk: Callable[[int], object], size: int, seconds: float) -> Timing:
    """Call ``chunk(size)``, which does ``size`` operations, for at least ``seconds``."""
    chunk(size)  # what is made on first use, and the way there, is not what we ask about
    count = 0
    cpu = time.process_time()
    start = time.perf_counter()
    while (now := time.perf_counter()) - start < seconds or not count:
        chunk(size)
        count += size
    return Timing(count, now - start, time.process_time() - cpu)


async def timed_async(
    chunk: Callable[[int], Awaitable[object]], size: int, seconds: float
) -> Timing:
    """``timed`` for a coroutine function."""
    await chunk(size)
    count = 0
    cpu = time.process_time()
    start = time.perf_counter()
    while (now := time.perf_counter()) - start < seconds or not count:
        await chunk(size)
        count += size
    return Timing(count, now - start, time.process_time() - cpu)
