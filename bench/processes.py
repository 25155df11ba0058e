"""What is measured in a process of its own: the time of the import, the memory of connections."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .contestants import HERE, NATIVE, OLD, OLD_PLAIN, RAW, TWIN, Contestant
from .environments import python_of
from .server import Server

IDLE_CONNECTIONS: Final = 1000

_IMPORT = "import time; t = time.perf_counter(); import websocket; print(time.perf_counter() - t)"
_IDLE = """
import importlib, sys
client = importlib.import_module("clients." + sys.argv[1])
url, count = sys.argv[2], int(sys.argv[3])

def resident():
    with open("/proc/self/statm") as facts:
        return int(facts.read().split()[1]) * 4096

kept = client.idle(url, 10)  # what is made on first use
before = resident()
kept += client.idle(url, count)
print((resident() - before) / count)
"""


def import_times(contestants: Iterable[Contestant], *, rounds: int, home: Path) -> dict[str, float]:
    """Milliseconds that ``import websocket`` takes in a fresh process, turn by turn."""
    names = (NATIVE, TWIN, OLD, OLD_PLAIN)
    taking_part = [c for c in contestants if c.name in names]
    times: dict[str, list[float]] = {c.name: [] for c in taking_part}
    print("import", file=sys.stderr)
    for number in range(rounds + 1):
        for contestant in taking_part:
            seconds = float(_run(contestant, home, "-c", _IMPORT))
            if number:  # the first one may have compiled the modules
                times[contestant.name].append(seconds * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def idle_memory(contestants: Iterable[Contestant], *, rounds: int, home: Path) -> dict[str, float]:
    """Bytes of memory that an idle connection takes beyond a bare socket's."""
    names = (RAW, NATIVE, TWIN, OLD, "websockets, threads")
    taking_part = [c for c in contestants if c.name in names]
    print("memory", file=sys.stderr)
    with Server(home) as server:
        url = server.url("/idle")
        sizes = {
            c.name: statistics.median(
                float(_run(c, home, "-c", _IDLE, c.module, url, str(IDLE_CONNECTIONS)))
                for _ in range(rounds)
            )
            for c in taking_part
        }
    raw = sizes.pop(RAW, 0.0)
    return {name: size - raw for name, size in sizes.items()}


def _run(contestant: Contestant, home: Path, *arguments: str) -> str:
    python = python_of(contestant.environment, home)
    environment = {**os.environ, **dict(contestant.variables), "PYTHONPATH": str(HERE)}
    # Installed packages are compiled; a checkout is on its first import, if that is allowed.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.check_output(
        [python, *arguments], text=True, env=environment, cwd=HERE, timeout=120
    )
