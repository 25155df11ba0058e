"""Measure round-trip times with pings (RFC 6455 section 5.5.2).

    python examples/ping.py [URL]

Without a URL it talks to a server of its own on this machine.
"""

from __future__ import annotations

import sys

from websocket import create_connection
from websocket.testing import Server

COUNT = 5


def main(url: str) -> None:
    times: list[float] = []
    with create_connection(url, timeout=10) as ws:
        for number in range(COUNT):
            # Messages that arrive in the meantime are kept for recv().
            seconds = ws.ping(f"ping {number}").wait(timeout=10)
            times.append(seconds)
            print(f"pong {number}: {seconds * 1000:.3f} ms")
    average = sum(times) / COUNT
    print(
        f"min {min(times) * 1000:.3f} ms, average {average * 1000:.3f} ms,"
        f" max {max(times) * 1000:.3f} ms"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with Server() as server:
            main(server.url)
