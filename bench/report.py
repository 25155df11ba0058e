"""What came out, as tables in Markdown."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from typing import Any

from .contestants import OLD, RAW
from .floors import FLOORS, Floor
from .processes import IDLE_CONNECTIONS
from .run import Results
from .scenarios import SCENARIOS


def write_report(facts: dict[str, Any], results: Results) -> str:
    """The whole report.

    Parameters:
        facts: what else was measured: "import", "memory", "growth", "versions", "rounds",
            "seconds"; what is missing is left out.
        results: of the scenarios.
    """
    return "\n".join(
        [
            "# Benchmark",
            "",
            (
                f"Python {platform.python_version()} on {platform.machine()}, {platform.system()},"
                f" {facts['cores']} cores. Medians of {facts['rounds']} interleaved rounds of"
                f" {facts['seconds']} s. Only ratios of one run mean anything."
            ),
            "",
            "Versions: " + ", ".join(f"{n} {v}" for n, v in facts["versions"].items()) + ".",
            "",
            *_scenarios(results),
            *_simple("Import", "ms", facts.get("import")),
            *_simple(
                f"Memory of an idle connection beyond its socket ({IDLE_CONNECTIONS} of them)",
                "bytes",
                facts.get("memory"),
            ),
            *_growth(facts.get("growth", {})),
            *_floors(results, facts),
        ]
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(head)
    yield "| " + " | ".join(titles) + " |"
    yield "|---" + "|---:" * (len(titles) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _scenarios(results: Results) -> Iterator[str]:
    for scenario in SCENARIOS:
        rows = results.get(scenario.key)
        if not rows:
            continue
        yield f"## {scenario.title} ({scenario.cores})"
        yield ""
        raw = rows[RAW].rate if RAW in rows else None
        old = rows[OLD].rate if OLD in rows else None
        yield from _table(
            ["", "per second", "of the raw socket", f"times {OLD}", "CPU, µs"],
            (
                [
                    name,
                    f"{result.rate:,.0f}" if result.rate >= 1000 else f"{result.rate:,.1f}",
                    _ratio(result.rate, raw),
                    _ratio(result.rate, old),
                    f"{result.cpu:,.2f}",
                ]
                for name, result in sorted(rows.items(), key=lambda item: -item[1].rate)
            ),
        )


def _ratio(value: float, of: float | None) -> str:
    return f"{value / of:.2f}" if of else "-"


def _simple(title: str, unit: str, values: dict[str, float] | None) -> Iterator[str]:
    if values:
        yield f"## {title}"
        yield ""
        rows = ([name, f"{value:,.1f}"] for name, value in values.items())
        yield from _table(["", unit], rows)


def _growth(growth: dict[str, dict[int, float]]) -> Iterator[str]:
    if not growth:
        return
    yield "## Growth"
    yield ""
    yield "Processor time per unit: where work is linear, it does not rise."
    yield ""
    for title, costs in growth.items():
        yield from _table(
            ["", *(f"{size:,}" for size in costs)],
            [[title, *(f"{cost:.2f}" for cost in costs.values())]],
        )


def _floors(results: Results, facts: dict[str, Any]) -> Iterator[str]:
    rows = [(floor, floor.measured(results, facts)) for floor in FLOORS]
    if all(measured is None for _, measured in rows):
        return
    yield "## Floors"
    yield ""
    yield "What we promise ourselves, as ratios of this run."
    yield ""
    yield from _table(
        ["", "asked for", "measured", ""],
        (
            [_floor_title(floor), floor.text, f"{measured:.2f}", _verdict(floor, measured)]
            for floor, measured in rows
            if measured is not None
        ),
    )


def _floor_title(floor: Floor) -> str:
    titles = {scenario.key: scenario.title for scenario in SCENARIOS}
    what = titles.get(floor.scenario, floor.scenario)
    return f"{what}: {floor.contestant} against {floor.reference}"


def _verdict(floor: Floor, measured: float) -> str:
    return "met" if floor.holds(measured) else "**missed**"
