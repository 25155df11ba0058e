"""Follow prices, over connections that get lost: connect again, subscribe again, go on.

    python examples/aio_market_feed.py [URL]

Without a URL it talks to a market of its own on this machine, which drops its first client.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sys
from collections.abc import AsyncIterator

from websocket import WebSocketException, aio
from websocket.testing import Server, ServerConnection

SYMBOLS = ("BTC", "ETH", "XMR")


async def follow(url: str, symbols: tuple[str, ...]) -> AsyncIterator[dict[str, object]]:
    """Yield ticks for ever. A server forgets the subscriptions of a connection that is lost."""
    for attempt in itertools.count():
        try:
            async with aio.connect(url, timeout=10) as ws:
                await ws.send_many(json.dumps({"op": "subscribe", "symbol": s}) for s in symbols)
                print(f"subscribed to {len(symbols)} symbols")
                async for message in ws:
                    yield json.loads(message)
        except (OSError, WebSocketException) as error:
            print(f"lost: {error}")
        # Not all at the same moment, and not faster and faster.
        await asyncio.sleep(min(0.05 * 2**attempt, 30) * random.uniform(0.5, 1))


async def main(url: str) -> None:
    seen: set[object] = set()
    async with contextlib.aclosing(follow(url, SYMBOLS)) as ticks:
        async for tick in ticks:
            print(f"{tick['symbol']}: {tick.get('price', 'subscribed')}")
            seen.add(tick["symbol"])
            if seen == set(SYMBOLS):
                break
    print("every symbol was seen")


def market() -> Server:
    clients = itertools.count()

    def handler(connection: ServerConnection) -> None:
        subscribed = [json.loads(connection.recv())["symbol"] for _ in SYMBOLS]
        if next(clients) == 0:
            connection.send(json.dumps({"symbol": subscribed[0], "price": 64000}))
            connection.abort()
        for symbol in subscribed:
            connection.send(json.dumps({"symbol": symbol, "price": random.randint(1, 99999)}))
        connection.recv()

    return Server(handler)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with market() as server:
            asyncio.run(main(server.url))
