"""Several connections in one thread, with ``rel`` as the dispatcher.

    pip install rel
    python examples/rel_client.py [URL]

Without a URL it talks to a server of its own on this machine. Ctrl-C ends it early.
"""

from __future__ import annotations

import signal
import sys

import rel  # type: ignore[import-untyped]

import websocket
from websocket.testing import Server

NAMES = ("one", "two", "three")
still_open = set(NAMES)


def open_connection(url: str, name: str) -> None:
    def on_open(wsapp: websocket.WebSocketApp) -> None:
        wsapp.send(f"Hello from connection {name}")

    def on_message(wsapp: websocket.WebSocketApp, message: str) -> None:
        print(f"{name} received: {message}")
        wsapp.close()

    def on_error(wsapp: websocket.WebSocketApp, error: Exception) -> None:
        print(f"{name}: error: {error}")

    def on_close(wsapp: websocket.WebSocketApp, code: int | None, reason: str | None) -> None:
        print(f"{name} closed: {code}")
        still_open.discard(name)
        if not still_open:
            rel.abort()

    wsapp = websocket.WebSocketApp(
        url, on_open=on_open, on_message=on_message, on_error=on_error, on_close=on_close
    )
    # Returns at once: rel calls back when there is something to read.
    wsapp.run_forever(dispatcher=rel)


def main(url: str) -> None:
    for name in NAMES:
        open_connection(url, name)
    rel.signal(signal.SIGINT, rel.abort)
    rel.dispatch()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with Server() as server:
            main(server.url)
