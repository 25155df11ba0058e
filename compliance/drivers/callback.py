"""Echo client on the callback face: ``WebSocketApp`` with ``on_message``."""

from __future__ import annotations

import websocket
from compliance.drivers import COMPRESSION, run_cases


def on_message(app: websocket.WebSocketApp, message: str | bytes) -> None:
    """Return the message: text as text, binary as binary."""
    if isinstance(message, str):
        app.send(message)
    else:
        app.send_bytes(message)


def echo(url: str) -> None:
    """Run one app until its connection ends."""
    app = websocket.WebSocketApp(url, on_message=on_message)
    app.run_forever(reconnect=0, compression=COMPRESSION)


if __name__ == "__main__":
    run_cases("callback", echo)
