"""The ratios that a release must reach, so that a slow change is seen before its users see it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from .contestants import (
    AIO,
    AIO_LISTENER,
    NATIVE,
    NATIVE_APP,
    OLD,
    OLD_PLAIN,
    PICOWS,
    PICOWS_AWAITED,
    RAW,
    TWIN,
    WEBSOCKETS,
)
from .run import Results


class Floor(NamedTuple):
    """``contestant`` is at least ``least`` times as good as ``reference`` in ``scenario``.

    A scenario beyond those of the rounds: "import" (time, at most), "memory" (bytes, at most),
    "batch" (against the single sends of the same contestant).
    """

    scenario: str
    contestant: str
    reference: str
    least: float

    @property
    def at_most(self) -> bool:
        return self.scenario in ("import", "memory")

    @property
    def text(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.least:g}"

    def holds(self, measured: float) -> bool:
        return measured <= self.least if self.at_most else measured >= self.least

    def measured(self, results: Results, facts: dict[str, Any]) -> float | None:
        """None where it was not measured."""
        if self.scenario == "import":
            times = facts.get("import", {})
            ours, theirs = times.get(self.contestant), times.get(self.reference)
            return ours / theirs if ours and theirs else None
        if self.scenario == "memory":
            size: float | None = facts.get("memory", {}).get(self.contestant)
            return size
        if self.scenario == "batch-32":
            ours = results.get("batch-32", {}).get(self.contestant)
            theirs = results.get("send-32", {}).get(self.contestant)
        else:
            rows = results.get(self.scenario, {})
            ours, theirs = rows.get(self.contestant), rows.get(self.reference)
        return ours.rate / theirs.rate if ours and theirs else None


FLOORS: Final = [
    Floor("echo-32", NATIVE, RAW, 0.85),
    Floor("echo-32", TWIN, RAW, 0.55),
    Floor("echo-32", NATIVE, OLD, 2.0),
    Floor("echo-32", TWIN, OLD, 1.3),
    Floor("receive-32", NATIVE, PICOWS, 2.0),
    Floor("receive-32", NATIVE, OLD, 30),
    Floor("receive-32", TWIN, OLD, 5),
    Floor("receive-32", NATIVE_APP, PICOWS, 1.0),
    Floor("receive-4k", NATIVE, PICOWS, 1.2),
    Floor("receive-1m", NATIVE, OLD, 10),
    Floor("receive-1m", TWIN, OLD, 5),
    Floor("receive-16m", NATIVE, RAW, 0.90),
    Floor("receive-16m", TWIN, RAW, 0.85),
    Floor("send-16m", NATIVE, RAW, 0.85),
    Floor("send-16m", TWIN, RAW, 0.25),
    Floor("send-32", NATIVE, RAW, 0.80),
    Floor("send-32", TWIN, RAW, 0.50),
    Floor("batch-32", NATIVE, "single sends", 8),
    Floor("batch-32", TWIN, "single sends", 3),
    Floor("connect", NATIVE, OLD_PLAIN, 1.5),
    Floor("connect", TWIN, OLD_PLAIN, 1.5),
    *(
        Floor(scenario, ours + loop, theirs + loop, least)
        for scenario, ours, theirs, least in (
            ("receive-32", AIO_LISTENER, PICOWS, 1.0),
            ("receive-32", AIO, PICOWS_AWAITED, 1.5),
            ("receive-32", AIO, WEBSOCKETS, 8),
            ("echo-32", AIO_LISTENER, PICOWS, 1.0),
            ("echo-32", AIO, WEBSOCKETS, 1.5),
            ("receive-16m", AIO_LISTENER, PICOWS, 1.0),
            ("send-16m", AIO_LISTENER, PICOWS, 1.0),
        )
        for loop in ("", ", uvloop")
    ),
    Floor("import", NATIVE, OLD_PLAIN, 1.0),
    Floor("import", TWIN, OLD_PLAIN, 1.0),
    Floor("memory", NATIVE, "its socket", 8192),
    Floor("memory", TWIN, "its socket", 8192),
]
