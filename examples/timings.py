"""How long the steps take: connecting, an echo of each size, closing.

    python examples/timings.py [URL]

The URL has to be that of an echo server. Without one it talks to a server of its own on this
machine.
"""

from __future__ import annotations

import sys
import time

from websocket import create_connection
from websocket.testing import Server


def show(step: str, start: float) -> None:
    print(f"{step:<24} {(time.perf_counter() - start) * 1000:9.3f} ms")


def main(url: str) -> None:
    start = time.perf_counter()
    ws = create_connection(url, timeout=10)
    show("connect and handshake", start)
    for size in (10, 1_000, 100_000, 10_000_000):
        start = time.perf_counter()
        ws.send_bytes(b"x" * size)
        ws.recv()
        show(f"echo of {size} bytes", start)
    start = time.perf_counter()
    ws.close()
    show("close", start)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with Server() as server:
            main(server.url)
