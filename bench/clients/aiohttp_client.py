"""aiohttp's WebSocket client."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import aiohttp

from ._loop import run, tls
from ._timing import Timing, timed_async


def echo(
    url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str, loop: str
) -> Timing:
    return _conversation(loop, url, ca_file, "echo", message, chunk, seconds)


def send(
    url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str, loop: str
) -> Timing:
    return _conversation(loop, url, ca_file, "send", message, chunk, seconds)


def receive(url: str, size: int, chunk: int, seconds: float, ca_file: str, loop: str) -> Timing:
    return _conversation(loop, url, ca_file, "receive", b"", chunk, seconds)


def _conversation(
    loop: str,
    url: str,
    ca_file: str,
    kind: str,
    message: str | bytes,
    chunk: int,
    seconds: float,
) -> Timing:
    async def main() -> Timing:
        async with aiohttp.ClientSession() as session:
            ws = await session.ws_connect(url, ssl=tls(url, ca_file) or True, max_msg_size=0)
            post: Any = ws.send_str if isinstance(message, str) else ws.send_bytes

            async def echo(count: int) -> None:
                for _ in repeat(None, count):
                    await post(message)
                    await ws.receive()

            async def receive(count: int) -> None:
                for _ in repeat(None, count):
                    await ws.receive()

            async def send(count: int) -> None:
                for _ in repeat(None, count):
                    await post(message)
                await ws.send_bytes(b"!")
                await ws.receive()

            some = {"echo": echo, "receive": receive, "send": send}[kind]
            # No ws.close(): it reads up to a Close, which a server that sends without end
            # never sends. The session closes the connection.
            return await timed_async(some, chunk, seconds)

    timing: Timing = run(loop, main())
    return timing


def connect(url: str, chunk: int, seconds: float, ca_file: str, loop: str) -> Timing:
    async def main() -> Timing:
        async with aiohttp.ClientSession() as session:

            async def some(count: int) -> None:
                for _ in repeat(None, count):
                    ws = await session.ws_connect(url, ssl=tls(url, ca_file) or True)
                    await ws.close()

            return await timed_async(some, chunk, seconds)

    timing: Timing = run(loop, main())
    return timing
