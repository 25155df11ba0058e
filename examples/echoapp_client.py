"""Callbacks, and a thread that sends while ``run_forever`` receives: the callback API.

    python examples/echoapp_client.py [URL]

Without a URL it talks to a server of its own on this machine.
"""

from __future__ import annotations

import sys
import threading
import time

import websocket
from websocket.testing import Server


def on_open(wsapp: websocket.WebSocketApp) -> None:
    def talk() -> None:
        for number in range(3):
            wsapp.send(f"Hello {number}")
            time.sleep(0.2)
        wsapp.close()

    threading.Thread(target=talk).start()


def on_message(wsapp: websocket.WebSocketApp, message: str) -> None:
    print(f"received: {message}")


def on_error(wsapp: websocket.WebSocketApp, error: Exception) -> None:
    print(f"error: {error}")


def on_close(wsapp: websocket.WebSocketApp, code: int | None, reason: str | None) -> None:
    print(f"closed: {code} {reason or ''}".rstrip())


def main(url: str) -> None:
    wsapp = websocket.WebSocketApp(
        url, on_open=on_open, on_message=on_message, on_error=on_error, on_close=on_close
    )
    wsapp.run_forever()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with Server() as server:
            main(server.url)
