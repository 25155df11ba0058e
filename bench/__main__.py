"""Measure this library beside its rivals, and write a report, a JSON file and a chart.

Environments for the rivals are made on first use and kept. A C compiler and OpenSSL's headers
are needed for the server.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from .chart import draw
from .contestants import CONTESTANTS
from .environments import PACKAGES, versions
from .growth import growth
from .processes import idle_memory, import_times
from .report import write_report
from .run import run
from .scenarios import SCENARIOS

_EXTRAS = ("import", "memory", "growth")


def main() -> None:
    options = _parse()
    home: Path = options.environments
    home.mkdir(parents=True, exist_ok=True)
    contestants = [
        c for c in CONTESTANTS if not options.only or any(o in c.name for o in options.only)
    ]
    wanted = options.scenarios or [s.key for s in SCENARIOS] + list(_EXTRAS)
    rounds = options.rounds
    facts: dict[str, Any] = {
        "rounds": rounds,
        "seconds": options.seconds,
        "cores": os.cpu_count(),
        "versions": {
            package: version
            for name in ("ours", *PACKAGES)
            if any(c.environment == name for c in contestants)
            for package, version in versions(name, home).items()
        },
    }
    results = run(
        [s for s in SCENARIOS if s.key in wanted],
        contestants,
        rounds=rounds,
        seconds=options.seconds,
        home=home,
    )
    if "import" in wanted:
        facts["import"] = import_times(contestants, rounds=rounds * 4, home=home)
    if "memory" in wanted:
        facts["memory"] = idle_memory(contestants, rounds=min(rounds, 3), home=home)
    if "growth" in wanted:
        facts["growth"] = growth(rounds=rounds, home=home)
    report = write_report(facts, results)
    print(report)
    if options.output is not None:
        _write(options.output, report, facts, results)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="scenario",
        choices=[[], *(s.key for s in SCENARIOS), *_EXTRAS],
        help="what to measure; all if none is given: "
        + ", ".join([*(s.key for s in SCENARIOS), *_EXTRAS]),
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each scenario (5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="time of each round (0.5)")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only contestants with NAME in their name"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="write report.md, report.json and chart.svg"
    )
    parser.add_argument(
        "--environments",
        type=Path,
        metavar="FOLDER",
        default=Path(__file__).parent / ".environments",
        help="where the rivals' environments are kept",
    )
    return parser.parse_args()


def _write(folder: Path, report: str, facts: dict[str, Any], results: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(report + "\n", encoding="utf-8")
    scenarios = {
        key: {name: result._asdict() for name, result in rows.items()}
        for key, rows in results.items()
    }
    document = {**facts, "scenarios": scenarios}
    (folder / "report.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    (folder / "chart.svg").write_text(draw(results), encoding="utf-8")


if __name__ == "__main__":
    main()
