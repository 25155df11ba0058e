"""The chart of the README, as SVG: how many times as fast as the old library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from .contestants import NATIVE, OLD, PICOWS, TWIN
from .run import Results
from .scenarios import SCENARIOS, Scenario

_SHOWN: Final = ("echo-32", "receive-32", "receive-4k", "receive-1m", "send-32")


class _Bar(NamedTuple):
    """A line of each panel: the best of the contestants whose names begin with ``prefix``."""

    label: str
    prefix: str
    colour: str


_BARS: Final = (
    _Bar("this library, C twin", NATIVE, "#1b7f5c"),
    _Bar("this library, Python twin", TWIN, "#5fb894"),
    _Bar("picows core", PICOWS, "#8796a5"),
    _Bar("aiohttp", "aiohttp", "#8796a5"),
    _Bar("websockets", "websockets", "#8796a5"),
    _Bar("websocket-client 1.9.2", OLD, "#b9c2cb"),
)

_WIDTH, _LABELS, _LINE, _PANEL_GAP = 760, 190, 20, 34


def draw(results: Results) -> str:
    """The SVG, of the scenarios that were measured with the old library among the contestants."""
    panels = [
        scenario
        for scenario in SCENARIOS
        if scenario.key in _SHOWN and OLD in results.get(scenario.key, {})
    ]
    height = 44 + len(panels) * (len(_BARS) * _LINE + _PANEL_GAP)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
            f' viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12">'
        ),
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        (
            '<text x="16" y="24" font-size="15" font-weight="600" fill="#1d2731">'
            "Times as fast as websocket-client 1.9.2 with wsaccel</text>"
        ),
    ]
    top = 44
    for scenario in panels:
        lines.extend(_panel(scenario, results, top))
        top += len(_BARS) * _LINE + _PANEL_GAP
    return "\n".join([*lines, "</svg>", ""])


def _panel(scenario: Scenario, results: Results, top: int) -> Iterator[str]:
    rows = results[scenario.key]
    yield (
        f'<text x="16" y="{top + 14}" font-weight="600" fill="#1d2731">'
        f"{escape(scenario.title)}</text>"
    )
    rates = [
        max((r.rate for name, r in rows.items() if name.startswith(bar.prefix)), default=0.0)
        for bar in _BARS
    ]
    for number, (bar, rate) in enumerate(zip(_BARS, rates, strict=True)):
        if not rate:
            continue
        y = top + 22 + number * _LINE
        width = max(1.0, (_WIDTH - _LABELS - 90) * rate / max(rates))
        yield f'<text x="{_LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(bar.label)}</text>'
        yield (
            f'<rect x="{_LABELS}" y="{y}" width="{width:.1f}" height="14" rx="2"'
            f' fill="{bar.colour}"/>'
        )
        times = rate / rows[OLD].rate
        yield f'<text x="{_LABELS + width + 6:.1f}" y="{y + 12}">{times:.1f}</text>'
