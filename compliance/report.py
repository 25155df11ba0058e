"""Renders results as one HTML page that needs no other file and no network.

Knows nothing of servers and files: results in, text out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby

from compliance.results import Outcome, Problem, Results, case_key, describe, rule_breaches

__all__ = ["render"]

GROUPS = {
    "1": "Messages of every length encoding",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Reserved opcodes",
    "5": "Fragmentation",
    "6": "UTF-8 in text messages",
    "7": "Closing handshake and close codes",
    "9": "Large messages, many messages, small chunks",
    "10": "Fragments of the client's own choice",
    "12": "Compression of messages of many kinds",
    "13": "Compression parameters",
}

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #d5dae1;
  --soft: #f3f5f8; --ok: #d3f0d9; --info: #d6e6fb; --warn: #fdeab8; --bad: #fbd0cd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --paper: #14171b; --line: #363d47;
  --soft: #1e2329; --ok: #17462a; --info: #17395f; --warn: #5a450b; --bad: #6a211d; } }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin-bottom: .2rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
th, td { border: 1px solid var(--line); padding: .2rem .6rem; text-align: left; }
thead th { background: var(--soft); }
tbody th { font-weight: 600; font-variant-numeric: tabular-nums; }
tr.group th { background: var(--soft); padding-top: .6rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.ok { background: var(--ok); } .info { background: var(--info); }
.warn { background: var(--warn); } .bad { background: var(--bad); }
pre { background: var(--soft); border: 1px solid var(--line); padding: 1rem; overflow-x: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1.5rem; }
dt { font-weight: 600; } dd { margin: 0; }
"""

EXPLANATION = """
<p>Each face of the library ran every case of the
<a href="https://github.com/crossbario/autobahn-testsuite">Autobahn test suite</a> listed here
against the suite's fuzzing server on the same machine. <em>Behaviour</em> is the server's verdict
on the messages, <em>closing</em> its verdict on the closing handshake, and <em>code</em> the close
code that the library sent (RFC 6455 section 7.4.1). INFORMATIONAL is the only verdict that the
suite can give on a few cases whose outcome the RFC leaves open.</p>
"""


def _colour(verdict: str) -> str:
    return {"OK": "ok", "INFORMATIONAL": "info", "NON-STRICT": "warn"}.get(verdict, "bad")


def _cells(outcome: Outcome | None) -> str:
    if outcome is None:
        return '<td class="bad" colspan="4">not run</td>'
    code = "none" if outcome.close_code is None else outcome.close_code
    time = "" if outcome.milliseconds is None else outcome.milliseconds
    return (
        f'<td class="{_colour(outcome.behavior)}">{escape(outcome.behavior)}</td>'
        f'<td class="{_colour(outcome.behavior_close)}">{escape(outcome.behavior_close)}</td>'
        f'<td class="number">{code}</td><td class="number">{time}</td>'
    )


def _summary(results: Results, faces: Sequence[str]) -> str:
    rows: list[str] = []
    for face in faces:
        outcomes = results.get(face, {})
        bad = sum(1 for case, outcome in outcomes.items() if rule_breaches(case, outcome))
        informational = sum(o.behavior == "INFORMATIONAL" for o in outcomes.values())
        strict = sum(o.behavior == "OK" and o.behavior_close == "OK" for o in outcomes.values())
        rows.append(
            f'<tr><th scope="row">{escape(face)}</th><td class="number">{len(outcomes)}</td>'
            f'<td class="number ok">{strict}</td><td class="number info">{informational}</td>'
            f'<td class="number {"bad" if bad else "ok"}">{bad}</td></tr>'
        )
    return (
        '<table><thead><tr><th scope="col">Face</th><th scope="col">Cases</th>'
        '<th scope="col">OK, closed with the right code</th><th scope="col">Informational</th>'
        '<th scope="col">Not good enough</th></tr></thead><tbody>' + "".join(rows) + "</tbody>"
        "</table>"
    )


def _table(results: Results, faces: Sequence[str]) -> str:
    columns = "".join(f'<th scope="colgroup" colspan="4">{escape(face)}</th>' for face in faces)
    details = (
        '<th scope="col">Behaviour</th><th scope="col">Closing</th>'
        '<th scope="col">Code</th><th scope="col">ms</th>'
    ) * len(faces)
    cases = sorted({case for face in faces for case in results.get(face, {})}, key=case_key)
    rows: list[str] = []
    for group, members in groupby(cases, key=lambda case: case.partition(".")[0]):
        title = escape(f"{group} {GROUPS.get(group, '')}".strip())
        width = 1 + 4 * len(faces)
        rows.append(f'<tr class="group"><th scope="rowgroup" colspan="{width}">{title}</th></tr>')
        for case in members:
            cells = "".join(_cells(results.get(face, {}).get(case)) for face in faces)
            rows.append(f'<tr><th scope="row">{escape(case)}</th>{cells}</tr>')
    return (
        f'<table><thead><tr><th scope="col" rowspan="2">Case</th>{columns}</tr>'
        f"<tr>{details}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"
    )


def render(
    results: Results,
    faces: Sequence[str],
    facts: Mapping[str, str],
    problems: Sequence[Problem] = (),
) -> str:
    """Render the page.

    Args:
        results: what the server said.
        faces: the columns, in order.
        facts: shown above the table as they are, such as versions and the date.
        problems: differences and breaches of the rule, shown first when there are any.
    """
    shown = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    trouble = ""
    if problems:
        trouble = f"<h2>Problems: {len(problems)}</h2><pre>{escape(describe(problems))}</pre>"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>WebSocket compliance report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>WebSocket compliance report</h1>\n<dl>{shown}</dl>\n{EXPLANATION}"
        f"{_summary(results, faces)}\n{trouble}\n{_table(results, faces)}\n</body>\n</html>\n"
    )
