"""``python -m compliance``: starts the server, runs the faces, compares, writes the report."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import websocket
from compliance import report, results
from compliance.drivers import FACES
from compliance.results import Problem, Results
from compliance.server import SUITE_VERSION, ComplianceError, FuzzingServer, running_server

HERE = Path(__file__).parent
ROOT = HERE.parent
EXPECTED = HERE / "expected-results.json"
CHECKED_IN_REPORT = HERE / "report.html"
REPORTS = HERE / "reports"

# Compression (RFC 7692), 216 cases.
COMPRESSION_CASES: tuple[str, ...] = ("12.*", "13.*")

# The server itself gives up on its slowest cases after 100 s.
STALL_SECONDS = 120
ASK_SECONDS = 120


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m compliance",
        description="Run the Autobahn test suite and compare the outcome with the expected one.",
    )
    parser.add_argument(
        "--face",
        action="append",
        choices=FACES,
        metavar="FACE",
        help="run only this face (repeatable; default: all): %(choices)s",
    )
    parser.add_argument(
        "--cases",
        action="append",
        metavar="PATTERN",
        help="run only these cases (repeatable), for instance 7.1.5 or '6.*'",
    )
    parser.add_argument(
        "--all", action="store_true", help="also run groups 12 and 13, which need compression"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help=f"write the outcome to {EXPECTED.name}, and after a full run to "
        f"{CHECKED_IN_REPORT.name}",
    )
    parser.add_argument(
        "--server-env",
        type=Path,
        default=ROOT / ".ci-env" / "autobahn",
        metavar="FOLDER",
        help="where the test suite is, or is to be, installed (default: .ci-env/autobahn)",
    )
    return parser.parse_args(arguments)


def ask(url: str) -> str:
    """The first message that a URL of the server answers with, empty if it only closes."""
    with websocket.create_connection(url, timeout=ASK_SECONDS) as connection:
        answer = connection.recv()
    return answer if isinstance(answer, str) else answer.decode()


def list_cases(server: FuzzingServer) -> list[str]:
    """The cases that the server offers, in its order."""
    count = int(ask(f"{server.url}/getCaseCount"))
    numbers = range(1, count + 1)
    return [str(json.loads(ask(f"{server.url}/getCaseInfo?case={n}"))["id"]) for n in numbers]


async def drive(face: str, server: FuzzingServer, cases: Sequence[str]) -> None:
    """Run one face's driver in a process of its own, until it ends or shows no sign of life.

    Whatever goes wrong is printed: the cases that were not run are then missing from the
    results, which fails the comparison.
    """
    case = "none"
    log = REPORTS / f"{face}.log"
    with log.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"compliance.drivers.{face}", server.url, str(len(cases))),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
            cwd=ROOT,
        )
        assert process.stdout is not None
        try:
            while line := await asyncio.wait_for(process.stdout.readline(), STALL_SECONDS):
                case = cases[int(line) - 1]
            status = await asyncio.wait_for(process.wait(), STALL_SECONDS)
            if status:
                print(f"{face}: the driver ended with status {status} in case {case}: read {log}.")
        except asyncio.TimeoutError:
            print(f"{face}: nothing happened for {STALL_SECONDS} s in case {case}: read {log}.")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def drive_all(faces: Sequence[str], server: FuzzingServer, cases: Sequence[str]) -> None:
    """Run the drivers side by side: in some cases the server waits for a second or more."""
    await asyncio.gather(*(drive(face, server, cases) for face in faces))


def run(
    faces: Sequence[str], patterns: list[str], excluded: list[str], environment: Path
) -> tuple[Results, list[str], Path]:
    """Run the chosen cases on every face.

    Returns:
        The outcomes, the cases, and the server's index file.
    """
    REPORTS.mkdir(exist_ok=True)
    with running_server(environment, REPORTS, patterns, excluded) as server:
        try:
            cases = list_cases(server)
            print(f"Running {len(cases)} cases on {' and '.join(faces)} ...", flush=True)
            asyncio.run(drive_all(faces, server, cases))
            ask(f"{server.url}/updateReports?agent={faces[0]}")
        except (OSError, ValueError, websocket.WebSocketException) as error:
            raise ComplianceError(
                "The fuzzing server could not be asked for its cases or its reports "
                f"({type(error).__name__}: {error}): read {REPORTS / 'server.log'}."
            ) from error
        if not server.index.exists():
            raise ComplianceError(
                f"The fuzzing server wrote no {server.index.name}: read {REPORTS / 'server.log'}."
            )
        return results.read(server.index), cases, server.index


def facts() -> dict[str, str]:
    """What the report says about the run itself."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {
        "Library": f"websocket-client {websocket.__version__}",
        "Test suite": f"autobahntestsuite {SUITE_VERSION}",
        "Python": f"{python} on {platform.system()} {platform.machine()}",
        "Date": datetime.now(timezone.utc).date().isoformat(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0 if every case is as expected and good enough, 1 if one is not,
        2 if the suite could not be run.
    """
    options = parse_arguments(arguments)
    faces = tuple(face for face in FACES if not options.face or face in options.face)
    patterns: list[str] = options.cases or ["*"]
    excluded = [] if options.all else list(COMPRESSION_CASES)
    started = time.monotonic()
    try:
        actual, cases, index = run(faces, patterns, excluded, options.server_env)
    except ComplianceError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"The run took {time.monotonic() - started:.0f} s.")

    expected = results.read(EXPECTED) if EXPECTED.exists() else {}
    complete = all(len(actual.get(face, {})) == len(cases) for face in faces)
    if options.update and complete:
        expected = results.update(expected, actual)
        EXPECTED.write_text(results.dump(expected), encoding="utf-8")
        print(f"Wrote {EXPECTED}.")
    elif options.update:
        print(f"Left {EXPECTED} as it was: some cases were not run.")

    problems = [
        replace(p, lines=(*p.lines, *results.server_remarks(index, p.face, p.case)))
        for p in results.check(expected, actual, faces, cases)
    ]
    full = faces == FACES and patterns == ["*"] and complete
    write_reports(faces, actual, problems, checked_in=options.update and full)
    return conclude(faces, actual, problems)


def write_reports(
    faces: Sequence[str], actual: Results, problems: Sequence[Problem], *, checked_in: bool
) -> None:
    """Write the results and the page into the reports folder, and the page beside this file."""
    (REPORTS / "results.json").write_text(results.dump(actual, durations=True), encoding="utf-8")
    page = report.render(actual, faces, facts(), problems)
    target = REPORTS / "index.html"
    target.write_text(page, encoding="utf-8")
    print(f"Wrote {target}.")
    if checked_in:
        CHECKED_IN_REPORT.write_text(page, encoding="utf-8")
        print(f"Wrote {CHECKED_IN_REPORT}.")


def conclude(faces: Sequence[str], actual: Results, problems: Sequence[Problem]) -> int:
    """Print the problems and the count; return the exit status."""
    if problems:
        print(f"\nNot as in {EXPECTED.name}, or not good enough:\n")
        print(results.describe(problems), end="\n\n")
    bad = {(p.face, p.case) for p in problems}
    passed = sum((face, case) not in bad for face in faces for case in actual.get(face, {}))
    print(f"{passed} passed, {len(bad)} failed")
    return 1 if bad or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
