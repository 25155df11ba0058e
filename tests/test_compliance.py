"""The compliance runner's own logic; the suite itself is run by ``python -m compliance``."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

# The runner is part of the checkout, not of the installed package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from compliance import report, results, server
from compliance.__main__ import choose
from compliance.drivers import FACES
from compliance.results import Outcome, Problem, Results

FOLDER = Path(results.__file__).parent
OK = Outcome("OK", "OK", 1000)
NON_STRICT = Outcome("NON-STRICT", "OK", 1007)
INFORMATIONAL = Outcome("INFORMATIONAL", "INFORMATIONAL", 1002)


def index_entry(behavior: str, close: str, code: int | None, case: str) -> dict[str, object]:
    """An entry as the fuzzing server writes it."""
    return {
        "behavior": behavior,
        "behaviorClose": close,
        "remoteCloseCode": code,
        "duration": 12,
        "reportfile": f"blocking_case_{case.replace('.', '_')}.json",
    }


class TestFiles:
    def test_server_index_is_read(self, tmp_path: Path) -> None:
        index = tmp_path / "index.json"
        entry = index_entry("NON-STRICT", "WRONG CODE", None, "6.4.1")
        index.write_text(json.dumps({"blocking": {"6.4.1": entry}}))
        outcome = results.read(index)["blocking"]["6.4.1"]
        assert outcome == Outcome("NON-STRICT", "WRONG CODE", None)
        assert outcome.milliseconds == 12

    def test_written_results_are_read_back(self, tmp_path: Path) -> None:
        data: Results = {"blocking": {"9.2": OK, "10.1": NON_STRICT}, "callback": {"9.2": OK}}
        path = tmp_path / "results.json"
        path.write_text(results.dump(data))
        assert results.read(path) == data

    def test_cases_are_written_one_per_line_in_numeric_order(self) -> None:
        lines = results.dump({"blocking": {"10.1.1": OK, "9.8.6": OK, "9.8.10": OK}}).splitlines()
        assert [line.split('"')[1] for line in lines[2:-2]] == ["9.8.6", "9.8.10", "10.1.1"]

    @pytest.mark.parametrize("durations", [True, False])
    def test_durations_are_written_only_on_request(self, durations: bool) -> None:
        text = results.dump(
            {"blocking": {"1.1.1": Outcome("OK", "OK", 1000, 7)}}, durations=durations
        )
        assert ("duration" in text) is durations

    def test_update_keeps_what_the_run_was_not_about(self) -> None:
        before: Results = {"blocking": {"1.1": OK, "2.1": OK}, "callback": {"1.1": OK}}
        assert results.update(before, {"blocking": {"2.1": NON_STRICT}}) == {
            "blocking": {"1.1": OK, "2.1": NON_STRICT},
            "callback": {"1.1": OK},
        }
        assert before["blocking"]["2.1"] == OK


class TestRule:
    @pytest.mark.parametrize("behavior", ["NON-STRICT", "FAILED", "UNIMPLEMENTED", "INFORMATIONAL"])
    def test_behaviour_must_be_ok(self, behavior: str) -> None:
        (breach,) = results.rule_breaches("1.1.1", Outcome(behavior, "OK", 1000))
        assert behavior in breach

    @pytest.mark.parametrize("close", ["FAILED", "WRONG CODE", "UNCLEAN", "INFORMATIONAL"])
    def test_closing_must_be_ok(self, close: str) -> None:
        (breach,) = results.rule_breaches("1.1.1", Outcome("OK", close, 1000))
        assert close in breach

    @pytest.mark.parametrize("case", ["7.1.6", "7.13.1", "7.13.2"])
    def test_three_cases_may_be_informational(self, case: str) -> None:
        assert results.rule_breaches(case, INFORMATIONAL) == []
        assert results.rule_breaches(case, OK) == []
        assert results.rule_breaches(case, NON_STRICT)


class TestCheck:
    def test_same_results_have_no_problems(self) -> None:
        data: Results = {"blocking": {"1.1.1": OK, "7.13.1": INFORMATIONAL}}
        assert results.check(data, data, ["blocking"], ["1.1.1", "7.13.1"]) == []

    def test_durations_are_not_compared(self) -> None:
        slow: Results = {"blocking": {"1.1.1": Outcome("OK", "OK", 1000, 900)}}
        assert results.check({"blocking": {"1.1.1": OK}}, slow, ["blocking"], ["1.1.1"]) == []

    @pytest.mark.parametrize(
        "other", [Outcome("OK", "OK", 1001), Outcome("OK", "OK", None), NON_STRICT]
    )
    def test_any_difference_is_a_problem(self, other: Outcome) -> None:
        (problem,) = results.check(
            {"blocking": {"1.1.1": OK}}, {"blocking": {"1.1.1": other}}, ["blocking"], ["1.1.1"]
        )
        assert (problem.face, problem.case) == ("blocking", "1.1.1")
        assert str(OK) in problem.lines[0]
        assert str(other) in problem.lines[1]

    def test_a_breach_of_the_rule_is_a_problem_though_expected(self) -> None:
        data: Results = {"blocking": {"6.4.1": NON_STRICT}}
        (problem,) = results.check(data, data, ["blocking"], ["6.4.1"])
        assert problem.lines == ("rule:     behaviour is NON-STRICT, must be OK",)

    def test_a_case_without_expectation_is_a_problem(self) -> None:
        (problem,) = results.check({}, {"blocking": {"1.1.1": OK}}, ["blocking"], ["1.1.1"])
        assert "not in the file" in problem.lines[0]

    @pytest.mark.parametrize("expected", [{"blocking": {"1.1.1": OK}}, {}])
    def test_a_case_that_was_not_run_is_a_problem(self, expected: Results) -> None:
        (problem,) = results.check(expected, {}, ["blocking"], ["1.1.1"])
        assert "not run" in problem.lines[1]

    def test_other_faces_and_cases_play_no_part(self) -> None:
        expected: Results = {"blocking": {"1.1.1": OK, "2.1": OK}, "callback": {"1.1.1": OK}}
        actual: Results = {"blocking": {"1.1.1": OK}}
        assert results.check(expected, actual, ["blocking"], ["1.1.1"]) == []

    def test_description_names_face_case_and_lines(self) -> None:
        text = results.describe([Problem("callback", "7.1.5", ("one", "two"))])
        assert text == "callback 7.1.5\n    one\n    two"


class TestServerRemarks:
    def write(self, folder: Path, entry: dict[str, object]) -> Path:
        detail = {"result": "It came\n too late.", "resultClose": "Wrong code."}
        (folder / str(entry["reportfile"])).write_text(json.dumps(detail))
        index = folder / "index.json"
        index.write_text(json.dumps({"blocking": {"6.4.1": entry}}))
        return index

    def test_sentences_of_a_bad_case(self, tmp_path: Path) -> None:
        index = self.write(tmp_path, index_entry("NON-STRICT", "OK", 1007, "6.4.1"))
        assert results.server_remarks(index, "blocking", "6.4.1") == [
            "server:   It came too late.",
            "server:   Wrong code.",
        ]

    def test_nothing_on_a_good_case_or_one_that_was_not_run(self, tmp_path: Path) -> None:
        index = self.write(tmp_path, index_entry("OK", "OK", 1007, "6.4.1"))
        assert results.server_remarks(index, "blocking", "6.4.1") == []
        assert results.server_remarks(index, "callback", "6.4.1") == []


class PageReader(HTMLParser):
    """Collects the cells of a table's rows and checks that elements nest."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def read_page(page: str) -> PageReader:
    reader = PageReader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


class TestReport:
    def test_rows_show_every_face(self) -> None:
        data: Results = {
            "blocking": {"9.1": Outcome("OK", "OK", 1000, 3), "10.1": OK},
            "callback": {"9.1": Outcome("NON-STRICT", "WRONG CODE", None)},
        }
        rows = read_page(report.render(data, ["blocking", "callback"], {})).rows
        nine, ten = (next(row for row in rows if row[0] == case) for case in ("9.1", "10.1"))
        assert nine == ["9.1", "OK", "OK", "1000", "3", "NON-STRICT", "WRONG CODE", "none", ""]
        assert ten == ["10.1", "OK", "OK", "1000", "", "not run"]
        assert rows.index(nine) < rows.index(ten)

    def test_summary_counts(self) -> None:
        cases = {"1.1.1": OK, "1.1.2": OK, "7.13.1": INFORMATIONAL, "6.4.1": NON_STRICT}
        rows = read_page(report.render({"blocking": cases}, ["blocking"], {})).rows
        assert rows[1] == ["blocking", "4", "2", "1", "1"]

    def test_problems_are_shown(self) -> None:
        page = report.render({}, ["blocking"], {}, [Problem("blocking", "7.1.5", ("a sign",))])
        assert "7.1.5\n    a sign" in page

    def test_text_is_escaped(self) -> None:
        odd = Outcome("<b>&", "<i>", 1000)
        page = report.render({"blocking": {"1.1": odd}}, ["blocking"], {"<key>": "<value>"})
        assert "<b>" not in page
        assert "&lt;b&gt;&amp;" in page
        assert "&lt;key&gt;" in page
        assert "&lt;value&gt;" in page

    def test_page_needs_no_other_file(self) -> None:
        reader = read_page(report.render({"blocking": {"1.1": OK}}, ["blocking"], {"Date": "now"}))
        assert all(link.startswith("https://github.com/") for link in reader.links)


class TestCheckedInFiles:
    EXPECTED = results.read(FOLDER / "expected-results.json")

    @pytest.mark.parametrize("face", FACES)
    def test_expected_results_meet_the_rule(self, face: str) -> None:
        cases = self.EXPECTED[face]
        assert len(cases) == 517
        assert not {c: o for c, o in cases.items() if results.rule_breaches(c, o)}

    def test_report_shows_the_expected_results(self) -> None:
        page = (FOLDER / "report.html").read_text(encoding="utf-8")
        rows = {row[0]: row[1:] for row in read_page(page).rows if len(row) == 1 + 4 * len(FACES)}
        shown: dict[str, dict[str, list[str]]] = {
            face: {case: row[4 * i : 4 * i + 3] for case, row in rows.items() if case != "Case"}
            for i, face in enumerate(FACES)
        }
        expected = {
            face: {
                case: [o.behavior, o.behavior_close, str(o.close_code or "none")]
                for case, o in self.EXPECTED[face].items()
            }
            for face in FACES
        }
        assert shown == expected


class TestDailyShare:
    CASES = tuple(TestCheckedInFiles.EXPECTED["blocking"])

    def test_everything_is_everything(self) -> None:
        for face in FACES:
            assert choose(face, self.CASES, True) == list(self.CASES)

    def test_a_third_of_each_group_of_compression_on_one_face(self) -> None:
        daily = {face: choose(face, self.CASES, False) for face in FACES}
        assert {face: len(cases) for face, cases in daily.items()} == {
            face: 301 + 72 if face == "blocking" else 301 for face in FACES
        }
        extra = [case for case in daily["blocking"] if case not in daily["callback"]]
        groups = [case.rpartition(".")[0] for case in extra]
        assert {groups.count(group) for group in groups} == {6}
        assert len(set(groups)) == 12


class TestFindingPython2:
    def test_one_that_cannot_serve_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AUTOBAHN_PYTHON", sys.executable)
        with pytest.raises(server.ComplianceError) as caught:
            server.find_python2()
        assert sys.executable in str(caught.value)
        assert "AUTOBAHN_PYTHON" in str(caught.value)

    def test_none_at_all(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("AUTOBAHN_PYTHON", raising=False)
        for name in ("PYENV_ROOT", "HOME", "PATH"):
            monkeypatch.setenv(name, str(tmp_path))
        with pytest.raises(server.ComplianceError, match=r"Python 2\.7"):
            server.find_python2()
