"""A hundred feeds into one queue, with statistics, in one thread.

    python examples/aio_fan_in.py [URL]

The URL has to be that of an echo server. Without one it talks to a server of its own on this
machine.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

from websocket import aio
from websocket.testing import Server

FEEDS = 100
MESSAGES = 50


async def feed(url: str, number: int, queue: asyncio.Queue[tuple[int, str | bytes]]) -> aio.Stats:
    """Put what one connection brings into the queue, as fast as that is emptied."""
    async with aio.connect(url, timeout=30) as ws:
        await ws.send_many(f"message {i} of feed {number}" for i in range(MESSAGES))
        for _ in range(MESSAGES):
            # While the queue is full, this waits, the connection's own queue fills, reading
            # pauses, and the server has to wait: nothing grows without bound.
            await queue.put((number, await ws.recv()))
        return ws.stats


async def count(queue: asyncio.Queue[tuple[int, str | bytes]], counts: Counter[int]) -> None:
    while True:
        number, _ = await queue.get()
        counts[number] += 1
        queue.task_done()


async def main(url: str) -> None:
    queue: asyncio.Queue[tuple[int, str | bytes]] = asyncio.Queue(maxsize=1000)
    counts: Counter[int] = Counter()
    start = time.perf_counter()
    counting = asyncio.create_task(count(queue, counts))
    try:
        # The first feed that fails ends it all.
        stats = await asyncio.gather(*(feed(url, number, queue) for number in range(FEEDS)))
        await queue.join()
    finally:
        counting.cancel()
    seconds = time.perf_counter() - start
    print(f"{len(counts)} feeds, {counts.total()} messages in {seconds:.2f} s")
    fewest, most = min(counts.values()), max(counts.values())
    print(f"{sum(s.bytes_received for s in stats)} bytes, {fewest} to {most} messages per feed")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with Server() as server:
            asyncio.run(main(server.url))
