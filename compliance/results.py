"""Outcomes of cases: reading, writing, the rule that they must meet, and differences.

Knows files and data only: no server, no connection, no HTML.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "INFORMATIONAL_CASES",
    "Outcome",
    "Problem",
    "Results",
    "case_key",
    "check",
    "describe",
    "dump",
    "read",
    "rule_breaches",
    "server_remarks",
    "update",
]

# The suite passes no verdict on these: whether an echo outruns a Close that follows the message
# (7.1.6) is left to the client, and so are close codes above 4999 (7.13, RFC 6455 section 7.4.2).
INFORMATIONAL_CASES = frozenset({"7.1.6", "7.13.1", "7.13.2"})


@dataclass(frozen=True)
class Outcome:
    """What the server said about one case of one face.

    Attributes:
        behavior: the verdict on the messages, such as ``OK`` or ``NON-STRICT``.
        behavior_close: the verdict on the closing handshake.
        close_code: the code in the Close frame that the library sent, None if it had none.
        milliseconds: how long the case took; not compared.
    """

    behavior: str
    behavior_close: str
    close_code: int | None
    milliseconds: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        code = "no code" if self.close_code is None else self.close_code
        return f"{self.behavior}, close {self.behavior_close}, {code}"


Results = dict[str, dict[str, Outcome]]
"""Face, then case, to its outcome."""


@dataclass(frozen=True)
class Problem:
    """A case that is not as it must be; each of the lines says one thing about it."""

    face: str
    case: str
    lines: tuple[str, ...]


def case_key(case: str) -> tuple[int, ...]:
    """Sort key that puts 9.2 before 10.1."""
    return tuple(int(part) for part in case.split("."))


def read(path: Path) -> Results:
    """Read the server's index or a file that ``dump`` wrote; both have the same entries."""
    return {
        face: {case: _outcome(entry) for case, entry in cases.items()}
        for face, cases in json.loads(path.read_text(encoding="utf-8")).items()
    }


def _outcome(entry: Mapping[str, Any]) -> Outcome:
    return Outcome(
        behavior=entry["behavior"],
        behavior_close=entry["behaviorClose"],
        close_code=entry["remoteCloseCode"],
        milliseconds=entry.get("duration"),
    )


def dump(results: Results, *, durations: bool = False) -> str:
    """Render results as JSON with one case per line, so that a version diff stays readable."""
    faces: list[str] = []
    for face in sorted(results):
        lines: list[str] = []
        for case in sorted(results[face], key=case_key):
            outcome = results[face][case]
            entry: dict[str, str | int | None] = {
                "behavior": outcome.behavior,
                "behaviorClose": outcome.behavior_close,
                "remoteCloseCode": outcome.close_code,
            }
            if durations:
                entry["duration"] = outcome.milliseconds
            lines.append(f"    {json.dumps(case)}: {json.dumps(entry)}")
        faces.append(f"  {json.dumps(face)}: {{\n" + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(faces) + "\n}\n"


def rule_breaches(case: str, outcome: Outcome) -> list[str]:
    """What in an outcome is not good enough, whatever the file of expected results says."""
    allowed = {"OK", "INFORMATIONAL"} if case in INFORMATIONAL_CASES else {"OK"}
    wanted = " or ".join(sorted(allowed, reverse=True))
    breaches: list[str] = []
    if outcome.behavior not in allowed:
        breaches.append(f"rule:     behaviour is {outcome.behavior}, must be {wanted}")
    if outcome.behavior_close not in allowed:
        breaches.append(f"rule:     close behaviour is {outcome.behavior_close}, must be {wanted}")
    return breaches


def check(
    expected: Results, actual: Results, faces: Iterable[str], cases: Sequence[str]
) -> list[Problem]:
    """Compare a run with the expected results and with the rule.

    Args:
        expected: what the checked-in file says.
        actual: what the server said; a face that never answered may be absent.
        faces: the faces that the run was about.
        cases: the cases that the run was about; other expectations play no part.

    Returns:
        One problem for each face and case that was not run, differs or breaks the rule.
    """
    problems: list[Problem] = []
    for face in faces:
        for case in cases:
            wanted = expected.get(face, {}).get(case)
            got = actual.get(face, {}).get(case)
            lines: list[str] = []
            if got is None or got != wanted:
                lines.append(f"expected: {wanted or 'not in the file of expected results'}")
                lines.append(f"actual:   {got or 'not run'}")
            if got is not None:
                lines += rule_breaches(case, got)
            if lines:
                problems.append(Problem(face, case, tuple(lines)))
    return problems


def update(expected: Results, actual: Results) -> Results:
    """The expected results with the outcomes of a run in the place of those that it renews."""
    faces = expected.keys() | actual.keys()
    return {face: {**expected.get(face, {}), **actual.get(face, {})} for face in faces}


def server_remarks(index: Path, face: str, case: str) -> list[str]:
    """The server's own sentences on a case that it isn't content with, from its detail file."""
    if not index.exists():
        return []
    entry = json.loads(index.read_text(encoding="utf-8")).get(face, {}).get(case)
    if not entry or not rule_breaches(case, _outcome(entry)):
        return []
    detail = index.parent / entry["reportfile"]
    if not detail.exists():
        return []
    data = json.loads(detail.read_text(encoding="utf-8"))
    sentences = dict.fromkeys(" ".join(str(data[key]).split()) for key in ("result", "resultClose"))
    return [f"server:   {sentence}" for sentence in sentences]


def describe(problems: Iterable[Problem]) -> str:
    """Render problems as indented text for a terminal or a log."""
    lines: list[str] = []
    for problem in problems:
        lines.append(f"{problem.face} {problem.case}")
        lines.extend(f"    {line}" for line in problem.lines)
    return "\n".join(lines)
