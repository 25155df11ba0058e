"""Many connections for a long time, with random drops: does anything grow?

``python -m bench.soak --connections 200 --minutes 10`` runs that many apps in one process over a
line that is dropped again and again. Reported are the memory's slope after the first third, the
descriptors, and how long it took until a lost connection was there again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import threading
import time
from multiprocessing import resource_tracker
from typing import Any, NamedTuple

import websocket
from websocket.testing import FaultyProxy, Server, ServerConnection

_INTERVAL = 1.0


class Sample(NamedTuple):
    second: float
    resident: float  # MiB
    descriptors: int


def serve(connection: ServerConnection) -> None:
    """Echo, until the line is dropped."""
    for message in connection:
        connection.send(message)


def resident() -> float:
    """MiB of memory that this process has now; Linux only."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def slope(samples: list[Sample]) -> float:
    """MiB a minute, by the least squares through the last two thirds of the samples."""
    kept = samples[len(samples) // 3 :]
    fit = statistics.linear_regression([s.second for s in kept], [s.resident for s in kept])
    return fit.slope * 60


class Client:
    """One app that says something now and then, and notes how long it was cut off."""

    def __init__(self, url: str) -> None:
        self.gaps: list[float] = []
        self.errors = 0
        self._lost: float | None = None
        self.app = websocket.WebSocketApp(
            url, on_open=self._opened, on_error=self._failed, on_message=lambda app, message: None
        )
        policy = websocket.Backoff(0.05, 1, attempts=None, at_once=True, first=True)
        self.thread = threading.Thread(
            target=self.app.run_forever,
            kwargs={"reconnect": policy, "ping_interval": 5, "ping_timeout": 4},
        )

    def _opened(self, app: Any) -> None:
        if self._lost is not None:
            self.gaps.append(time.monotonic() - self._lost)
            self._lost = None
        app.send("x" * 100)

    def _failed(self, app: Any, error: BaseException) -> None:
        self.errors += 1
        if self._lost is None:
            self._lost = time.monotonic()


def line(pipe: Any, seed: int) -> None:
    """The server and the line to it, in a process of their own, so that only clients count."""
    dice = random.Random(seed)
    with Server(serve) as server, FaultyProxy(server.url) as proxy:
        pipe.send(proxy.url)
        while not pipe.poll(_INTERVAL):
            # About one of twenty, each second.
            proxy.drop(share=0.05, reset=dice.random() < 0.5)


def soak(connections: int, seconds: float, seed: int) -> tuple[list[Sample], list[float]]:
    samples: list[Sample] = []
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=line, args=(there, seed))
    process.start()
    url = here.recv()
    clients = [Client(url) for _ in range(connections)]
    for client in clients:
        client.thread.start()
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        samples.append(Sample(now, resident(), len(os.listdir("/proc/self/fd"))))
        time.sleep(_INTERVAL)
    for client in clients:
        client.app.close()
    for client in clients:
        client.thread.join()
    here.send("end")
    process.join()
    process.close()
    here.close()
    there.close()
    return samples, [gap for client in clients for gap in client.gaps]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # A process of Python's own, whose pipe is no connection's.
    resource_tracker.ensure_running()
    before = len(os.listdir("/proc/self/fd"))
    samples, gaps = soak(options.connections, options.minutes * 60, options.seed)
    cuts = statistics.quantiles(gaps, n=100)
    memory = [sample.resident for sample in samples]
    print(f"connections: {options.connections}, minutes: {options.minutes:g}")
    print(f"reconnects: {len(gaps)}")
    print(f"memory: {memory[0]:.1f} to {memory[-1]:.1f} MiB, {slope(samples):+.3f} MiB a minute")
    print(
        f"descriptors: {before} before, at most {max(s.descriptors for s in samples)},"
        f" {len(os.listdir('/proc/self/fd'))} after"
    )
    print(
        f"time to reconnect: 50% {cuts[49] * 1000:.1f} ms, 90% {cuts[89] * 1000:.1f} ms,"
        f" 99% {cuts[98] * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
