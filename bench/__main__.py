"""``python -m bench``: run it all, or a part of it, and write what came out."""

from __future__ import annotations

import argparse
from pathlib import Path

from .contestants import CONTESTANTS
from .run import run
from .scenarios import SCENARIOS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--only", action="append")
    options = parser.parse_args()
    home = Path(__file__).parent / ".environments"
    home.mkdir(exist_ok=True)
    contestants = [
        c for c in CONTESTANTS if not options.only or any(o in c.name for o in options.only)
    ]
    scenarios = [s for s in SCENARIOS if not options.scenarios or s.key in options.scenarios]
    results = run(scenarios, contestants, rounds=options.rounds, seconds=options.seconds, home=home)
    for key, rows in results.items():
        print(key)
        first = next(iter(rows.values())).rate
        for name, r in rows.items():
            print(f"  {name:40} {r.rate:12.1f}/s  {r.rate / first:6.3f}  {r.cpu:8.2f} us")


if __name__ == "__main__":
    main()
