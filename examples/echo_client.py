"""Send a message, print the answer: the blocking API.

    python examples/echo_client.py [URL]

Without a URL it talks to a server of its own on this machine.
"""

from __future__ import annotations

import sys

from websocket import create_connection
from websocket.testing import Server


def main(url: str) -> None:
    with create_connection(url, timeout=10) as ws:
        print("Sending 'Hello, World'...")
        ws.send("Hello, World")
        print(f"Received {ws.recv()!r}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with Server() as server:
            main(server.url)
