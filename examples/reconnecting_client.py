"""Stay connected, whatever the line does.

    python examples/reconnecting_client.py [URL]

Without a URL it talks to a server of its own on this machine. On the way to it, each of the
first connections is lost.
"""

from __future__ import annotations

import sys

from websocket import Backoff, WebSocket, reconnecting
from websocket.testing import FaultyProxy, Server, close_with, cut, refuse, reset

COUNT = 4


def subscribe(ws: WebSocket) -> None:
    """Called with each new connection."""
    for number in range(COUNT):
        ws.send(f"message {number}")


def main(url: str) -> None:
    with reconnecting(
        url,
        timeout=10,
        reconnect=Backoff(initial=0.05, maximum=5, attempts=20, first=True),
        ping_interval=30,
        ping_timeout=10,
        on_connect=subscribe,
        on_loss=lambda error: print(f"lost: {error}"),
    ) as feed:
        for message in feed:
            print(f"received: {message!r}")
            if message == f"message {COUNT - 1}":
                break
        print(f"done after {feed.reconnect_count} reconnects")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        script = [refuse(), cut(after=60), reset(after=80), close_with(1012, "restarting")]
        with Server() as server, FaultyProxy(server.url, *script) as proxy:
            main(proxy.url)
