"""This library's asyncio face, awaited: ``send``, ``recv``, ``async for``."""

from __future__ import annotations

import time
from itertools import repeat
from typing import Any

from websocket import aio

from ._loop import run
from ._timing import Timing, timed_async


def options(ca_file: str) -> Any:
    # A server that sends without end answers no Close.
    return {"sslopt": {"ca_certs": ca_file}, "max_size": None, "close_timeout": 0.1}


def echo(
    url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str, loop: str
) -> Timing:
    async def main() -> Timing:
        async with aio.connect(url, **options(ca_file)) as ws:

            async def some(count: int) -> None:
                for _ in repeat(None, count):
                    await ws.send(message)
                    await ws.recv()

            return await timed_async(some, chunk, seconds)

    timing: Timing = run(loop, main())
    return timing


def receive(url: str, size: int, chunk: int, seconds: float, ca_file: str, loop: str) -> Timing:
    async def main() -> Timing:
        async with aio.connect(url, **options(ca_file)) as ws:
            count = -1
            start = cpu = 0.0
            async for _ in ws:
                count += 1
                if count % chunk:
                    continue
                now = time.perf_counter()
                if not count:
                    start, cpu = now, time.process_time()
                elif now - start >= seconds:
                    break
            return Timing(count, now - start, time.process_time() - cpu)

    timing: Timing = run(loop, main())
    return timing


def send(
    url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str, loop: str
) -> Timing:
    return _send(url, message, chunk, seconds, ca_file, loop, batch=False)


def batch(
    url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str, loop: str
) -> Timing:
    return _send(url, message, chunk, seconds, ca_file, loop, batch=True)


def _send(
    url: str,
    message: str | bytes,
    chunk: int,
    seconds: float,
    ca_file: str,
    loop: str,
    *,
    batch: bool,
) -> Timing:
    async def main() -> Timing:
        async with aio.connect(url, **options(ca_file)) as ws:

            async def some(count: int) -> None:
                if batch:
                    await ws.send_many(repeat(message, count))
                else:
                    for _ in repeat(None, count):
                        await ws.send(message)
                # The server answers when it has read all that came before.
                await ws.send(b"!")
                await ws.recv()

            return await timed_async(some, chunk, seconds)

    timing: Timing = run(loop, main())
    return timing


def connect(url: str, chunk: int, seconds: float, ca_file: str, loop: str) -> Timing:
    async def some(count: int) -> None:
        for _ in repeat(None, count):
            async with aio.connect(url, **options(ca_file)):
                pass

    timing: Timing = run(loop, timed_async(some, chunk, seconds))
    return timing
