"""Whether work grows no faster than what is received: fragments, and megabytes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

import websocket

from .scenarios import MIB
from .server import Server

FRAGMENTS: Final = (1, 10, 100, 1000, 10_000, 100_000)
MEGABYTES: Final = (1, 2, 4, 8, 16)

Growth = dict[str, dict[int, float]]


def growth(*, rounds: int, home: Path) -> Growth:
    """Processor time: microseconds per fragment of one byte, milliseconds per megabyte."""
    print("growth", file=sys.stderr)
    with Server(home) as server:
        return {
            "microseconds per fragment": {
                count: _cost(server, f"/serve/t/{count}/{count}", rounds) / count * 1e6
                for count in FRAGMENTS
            },
            "milliseconds per MiB, binary": {
                size: _cost(server, f"/serve/b/{size * MIB}/1", rounds) / size * 1e3
                for size in MEGABYTES
            },
            "milliseconds per MiB, text beyond ASCII": {
                size: _cost(server, f"/serve/u/{size * MIB}/1", rounds) / size * 1e3
                for size in MEGABYTES
            },
        }


def _cost(server: Server, path: str, rounds: int) -> float:
    """Seconds of processor time that receiving one message takes, at best."""
    ws = websocket.create_connection(server.url(path))
    try:
        costs: list[float] = []
        for _ in range(max(rounds, 3)):
            ws.send("next")
            before = time.process_time()
            ws.recv()
            costs.append(time.process_time() - before)
    finally:
        ws.close()
    return min(costs)
