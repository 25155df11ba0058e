"""``python -m compliance``: starts the server, runs the faces, compares, writes the report."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
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

# Compression (RFC 7692): twelve groups of 18 cases, the first ten of a group with messages of
# 16 bytes to 128 KiB, the others with long ones in ever larger frames. A third of each is for
# every day, on one face.
COMPRESSION_GROUPS = ("12", "13")
SHARE_FACE = "blocking"
SHARE = frozenset({"1", "3", "5", "7", "10", "13"})

# The server itself gives up on its slowest cases after 480 s.
STALL_SECONDS = 500
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
        "--all",
        action="store_true",
        help="run all cases of groups 12 and 13 (compression) on each face; by default a third "
        f"of them are run, on the {SHARE_FACE} face",
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help=f"write the outcome to {EXPECTED.name}, and after a run with --all of every face "
        f"and case to {CHECKED_IN_REPORT.name}",
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


def choose(face: str, cases: Sequence[str], everything: bool) -> list[str]:
    """Those of the cases that a face is run through."""
    return [case for case in cases if everything or _is_daily(face, case)]


def _is_daily(face: str, case: str) -> bool:
    group, *_, last = case.split(".")
    return group not in COMPRESSION_GROUPS or (face == SHARE_FACE and last in SHARE)


async def drive(
    face: str, server: FuzzingServer, offered: Sequence[str], chosen: Sequence[str]
) -> None:
    """Run one face's driver in a process of its own, until it ends or shows no sign of life.

    Whatever goes wrong is printed: the cases that were not run are then missing from the
    results, which fails the comparison.
    """
    case = "none"
    numbers = [str(offered.index(case) + 1) for case in chosen]
    log = REPORTS / f"{face}.log"
    with log.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"compliance.drivers.{face}", server.url, *numbers),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
            cwd=ROOT,
        )
        assert process.stdout is not None
        try:
            while line := await asyncio.wait_for(process.stdout.readline(), STALL_SECONDS):
                case = offered[int(line) - 1]
            status = await asyncio.wait_for(process.wait(), STALL_SECONDS)
            if status:
                print(f"{face}: the driver ended with status {status} in case {case}: read {log}.")
        except asyncio.TimeoutError:
            print(f"{face}: nothing happened for {STALL_SECONDS} s in case {case}: read {log}.")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def drive_all(
    server: FuzzingServer, offered: Sequence[str], chosen: Mapping[str, Sequence[str]]
) -> None:
    """Run the drivers side by side: in some cases the server waits for a second or more."""
    await asyncio.gather(*(drive(face, server, offered, chosen[face]) for face in chosen))


def run(
    faces: Sequence[str], patterns: list[str], everything: bool, environment: Path
) -> tuple[Results, dict[str, list[str]], Path]:
    """Run the chosen cases.

    Returns:
        The outcomes, the cases by face, and the server's index file.
    """
    REPORTS.mkdir(exist_ok=True)
    with running_server(environment, REPORTS, patterns) as server:
        try:
            offered = list_cases(server)
            chosen = {face: choose(face, offered, everything) for face in faces}
            counts = " and ".join(f"{len(chosen[face])} cases on {face}" for face in faces)
            print(f"Running {counts} ...", flush=True)
            asyncio.run(drive_all(server, offered, chosen))
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
        return results.read(server.index), chosen, server.index


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
    # Who names cases means them.
    everything = options.all or bool(options.cases)
    started = time.monotonic()
    try:
        actual, cases, index = run(faces, patterns, everything, options.server_env)
    except ComplianceError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"The run took {time.monotonic() - started:.0f} s.")

    expected = results.read(EXPECTED) if EXPECTED.exists() else {}
    complete = all(len(actual.get(face, {})) == len(cases[face]) for face in faces)
    if options.update and complete:
        expected = results.update(expected, actual)
        EXPECTED.write_text(results.dump(expected), encoding="utf-8")
        print(f"Wrote {EXPECTED}.")
    elif options.update:
        print(f"Left {EXPECTED} as it was: some cases were not run.")

    problems = [
        replace(p, lines=(*p.lines, *results.server_remarks(index, p.face, p.case)))
        for face in faces
        for p in results.check(expected, actual, [face], cases[face])
    ]
    full = faces == FACES and patterns == ["*"] and options.all and complete
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
