"""Follow prices, over connections that get lost: connect again, subscribe again, go on.

    python examples/aio_market_feed.py [URL]

Without a URL it talks to a market of its own on this machine, which drops its first client.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys

from websocket import WebSocketConnectionClosedException, aio
from websocket.testing import Server, ServerConnection

SYMBOLS = ("BTC", "ETH", "XMR")


async def main(url: str) -> None:
    seen: set[str] = set()
    # Each turn of this loop has a connection of its own. After one that was lost it waits a
    # little, and longer each time, before it brings the next.
    async for ws in aio.connect(url, timeout=10, reconnect=True):
        try:
            # A server forgets the subscriptions of a connection that is lost.
            await ws.send_many(json.dumps({"op": "subscribe", "symbol": s}) for s in SYMBOLS)
            print(f"subscribed to {len(SYMBOLS)} symbols")
            async for message in ws:
                tick = json.loads(message)
                print(f"{tick['symbol']}: {tick.get('price', 'subscribed')}")
                seen.add(tick["symbol"])
                if seen == set(SYMBOLS):
                    print("every symbol was seen")
                    return
        except WebSocketConnectionClosedException as error:
            print(f"lost: {error}")


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
