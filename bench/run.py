"""The rounds: every contestant of a scenario in turn, again and again."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .contestants import HERE, Contestant, Worker
from .environments import python_of
from .scenarios import ONE_CORE, Scenario
from .server import Server


class Result(NamedTuple):
    """Of one contestant in one scenario, the medians of all rounds.

    Attributes:
        rate: operations a second.
        cpu: microseconds of processor time per operation, in the client.
        rates: of each round.
    """

    rate: float
    cpu: float
    rates: list[float]


Results = dict[str, dict[str, Result]]


def takes_part(contestant: Contestant, scenario: Scenario) -> bool:
    """Whether the contestant's module has the scenario's verb; nothing is imported for it."""
    source = (HERE / "clients" / f"{contestant.module}.py").read_text()
    if scenario.verb == "batch" and contestant.environment.startswith("old"):
        return False  # the same module, but the old library has no such method
    if contestant.module == "picows_websockets":
        return scenario.verb in ("echo", "receive", "send", "connect")
    return f"def {scenario.verb}(" in source


def run(
    scenarios: Iterable[Scenario],
    contestants: Iterable[Contestant],
    *,
    rounds: int,
    seconds: float,
    home: Path,
) -> Results:
    """Measure; progress goes to standard error."""
    workers = [Worker(c, python_of(c.environment, home)) for c in contestants]
    try:
        with Server(home) as server:
            return {
                scenario.key: _run_scenario(scenario, workers, server, rounds, seconds)
                for scenario in scenarios
            }
    finally:
        for worker in workers:
            worker.close()


def _run_scenario(
    scenario: Scenario, workers: list[Worker], server: Server, rounds: int, seconds: float
) -> dict[str, Result]:
    taking_part = [w for w in workers if takes_part(w.contestant, scenario)]
    measured: dict[str, list[tuple[float, float]]] = {w.contestant.name: [] for w in taking_part}
    client_cpu, server_cpu = _cores(scenario)
    arguments = _arguments(scenario)
    for number in range(rounds):
        print(f"{scenario.key}: round {number + 1} of {rounds}", file=sys.stderr)
        # Whoever runs behind a slow one must not always be the same.
        shift = number % max(len(taking_part), 1)
        for worker in taking_part[shift:] + taking_part[:shift]:
            count, elapsed, cpu = worker.call(
                scenario.verb,
                client_cpu,
                url=server.url(scenario.path, tls=scenario.tls, cpu=server_cpu),
                ca_file=server.ca_file,
                chunk=scenario.chunk,
                seconds=seconds,
                **arguments,
            )
            measured[worker.contestant.name].append((count / elapsed, cpu / count * 1e6))
    return {
        name: Result(
            statistics.median(rate for rate, _ in values),
            statistics.median(cpu for _, cpu in values),
            [rate for rate, _ in values],
        )
        for name, values in measured.items()
    }


def _arguments(scenario: Scenario) -> dict[str, Any]:
    if scenario.verb in ("echo", "send", "batch"):
        return {"message": scenario.message}
    return {"size": scenario.size} if scenario.verb == "receive" else {}


def _cores(scenario: Scenario) -> tuple[int | None, int | None]:
    """Where client and server run; nowhere in particular where that can't be said."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[0] if scenario.cores == ONE_CORE else cores[-1]
