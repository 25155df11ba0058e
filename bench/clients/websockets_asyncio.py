"""The ``websockets`` library, its asyncio client."""

from __future__ import annotations

from itertools import repeat
from typing import Any

from websockets.asyncio.client import connect as open_connection

from ._loop import run, tls
from ._timing import Timing, timed_async

_OPTIONS: dict[str, Any] = {
    "compression": None,
    "max_size": None,
    "ping_interval": None,
    # A server that sends without end answers no Close.
    "close_timeout": 0.1,
}
# picows has this interface too: the module below overrides this name.
_connect = open_connection


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
        ws = await _connect(url, ssl=tls(url, ca_file), proxy=None, **_OPTIONS)

        async def echo(count: int) -> None:
            for _ in repeat(None, count):
                await ws.send(message)
                await ws.recv()

        async def receive(count: int) -> None:
            for _ in repeat(None, count):
                await ws.recv()

        async def send(count: int) -> None:
            for _ in repeat(None, count):
                await ws.send(message)
            await ws.send(b"!")
            await ws.recv()

        some = {"echo": echo, "receive": receive, "send": send}[kind]
        timing = await timed_async(some, chunk, seconds)
        await ws.close()
        return timing

    timing: Timing = run(loop, main())
    return timing


def connect(url: str, chunk: int, seconds: float, ca_file: str, loop: str) -> Timing:
    async def some(count: int) -> None:
        for _ in repeat(None, count):
            ws = await _connect(url, ssl=tls(url, ca_file), proxy=None, **_OPTIONS)
            await ws.close()

    async def main() -> Timing:
        return await timed_async(some, chunk, seconds)

    timing: Timing = run(loop, main())
    return timing
