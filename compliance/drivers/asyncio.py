"""Echo client on the asyncio face: ``aio.connect``, ``async for``, ``send``."""

from __future__ import annotations

import asyncio

import websocket
from compliance.drivers import COMPRESSION, run_cases


async def converse(url: str) -> None:
    """Return each message: text as text, binary as binary."""
    try:
        async with websocket.aio.connect(url, compression=COMPRESSION) as connection:
            async for message in connection:
                await connection.send(message)
    except websocket.WebSocketException:
        # Most cases provoke one; whether the library handled it well is the server's verdict.
        pass


def echo(url: str) -> None:
    """Run one loop for one connection."""
    asyncio.run(converse(url))


if __name__ == "__main__":
    run_cases("asyncio", echo)
