"""This library's asyncio face as a listener: called for each message, without queue or task."""

from __future__ import annotations

import asyncio
import time
from itertools import repeat
from typing import Any

from websocket import aio

from ._loop import run
from ._timing import Timing, timed_async
from .aio_connection import options


class _Listener(aio.Listener):
    def __init__(self) -> None:
        self.done: Any = asyncio.get_running_loop().create_future()


def echo(
    url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str, loop: str
) -> Timing:
    class Echo(_Listener):
        left = 0

        def on_message(self, received: str | bytes) -> None:
            self.left -= 1
            if self.left:
                self.send(message)
            else:
                self.done.set_result(None)

    async def main() -> Timing:
        listener = await aio.connect_listener(Echo(), url, **options(ca_file))

        async def some(count: int) -> None:
            listener.left = count
            listener.done = asyncio.get_running_loop().create_future()
            listener.send(message)
            await listener.done

        timing = await timed_async(some, chunk, seconds)
        await listener.close()
        return timing

    timing: Timing = run(loop, main())
    return timing


def receive(url: str, size: int, chunk: int, seconds: float, ca_file: str, loop: str) -> Timing:
    class Receiver(_Listener):
        count = -1
        start = cpu = 0.0

        def on_message(self, received: str | bytes) -> None:
            self.count += 1
            if self.count % chunk:
                return
            now = time.perf_counter()
            if not self.count:
                self.start, self.cpu = now, time.process_time()
            elif now - self.start >= seconds and not self.done.done():
                cpu = time.process_time() - self.cpu
                self.done.set_result(Timing(self.count, now - self.start, cpu))
                self.abort()

    async def main() -> Timing:
        listener = await aio.connect_listener(Receiver(), url, **options(ca_file))
        timing: Timing = await listener.done
        await listener.wait_closed()
        return timing

    timing: Timing = run(loop, main())
    return timing


def send(
    url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str, loop: str
) -> Timing:
    class Answered(_Listener):
        full = False

        def on_message(self, received: str | bytes) -> None:
            self.done.set_result(None)

        def on_pause(self) -> None:
            self.full = True

        def on_resume(self) -> None:
            self.full = False

    async def main() -> Timing:
        listener = await aio.connect_listener(Answered(), url, **options(ca_file))
        write = listener.send

        async def some(count: int) -> None:
            for _ in repeat(None, count):
                write(message)
                if listener.full:
                    await listener.drain()
            listener.done = asyncio.get_running_loop().create_future()
            write(b"!")
            await listener.done

        timing = await timed_async(some, chunk, seconds)
        await listener.close()
        return timing

    timing: Timing = run(loop, main())
    return timing
