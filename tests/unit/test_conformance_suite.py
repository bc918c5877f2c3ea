"""Case files are read strictly, and a run is reported whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cra_wasm import InvalidInput, NotFound
from cra_wasm.conformance.answering import answer_case, answer_lines
from cra_wasm.conformance.case import AREAS, GOLDEN
from cra_wasm.conformance.runner import LEVELS, Result, level_of, run_suite
from cra_wasm.conformance.suite import SuiteCase, load_suite
from cra_wasm.testing import FakeClock

SUITE = Path(__file__).resolve().parents[2] / "specs" / "conformance"
CASE: dict[str, Any] = {
    "id": "canonical-json.one",
    "clauses": ["3.3.1"],
    "description": "one",
    "input": {"json": "1.0"},
    "expected": {"canonical": "1"},
}


def write(folder: Path, cases: list[dict[str, Any]], **members: Any) -> Path:
    (folder / "canonical-json").mkdir(exist_ok=True)
    file = {"area": "canonical-json", "about": "one", "cases": cases, **members}
    (folder / "canonical-json" / "one.json").write_text(json.dumps(file), encoding="utf-8")
    return folder


def load(folder: Path) -> list[SuiteCase]:
    return load_suite(folder, ["canonical-json"])


def test_the_suite_is_as_large_as_promised() -> None:
    cases = load_suite(SUITE)
    assert sum(one.area == "hash-chain" for one in cases) >= 60
    assert sum(one.area == "policy" for one in cases) >= 80
    assert sum(one.area == "replay" for one in cases) >= 12
    assert sum(one.area == "diff" for one in cases) >= 12
    assert sum(one.area == GOLDEN for one in cases) >= 6
    assert {one.area for one in cases} == {*AREAS, GOLDEN}


def test_every_area_counts_for_one_level() -> None:
    assert sorted(area for areas in LEVELS.values() for area in areas) == sorted((*AREAS, GOLDEN))


def test_an_implementation_never_sees_what_is_expected() -> None:
    for one in load_suite(SUITE):
        if one.steps or one.golden:
            assert not [step for step in one.input["steps"] if {"expect", "refused"} & step.keys()]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"id": "other.one"}, None),
        ({"id": "canonical-json"}, "/canonical-json/cases/0/id"),
        ({"clauses": []}, "/canonical-json/cases/0/clauses"),
        ({"clauses": ["three"]}, "/canonical-json/cases/0/clauses/0"),
        ({"description": ""}, "/canonical-json/cases/0/description"),
        ({"input": {}}, "/canonical-json/cases/0/input/json"),
        ({"input": {"json": "1", "x": 1}}, "/canonical-json/cases/0/input/x"),
        ({"expect": 1}, "/canonical-json/cases/0/expect"),
        ({"requires": ["speed"]}, "/canonical-json/cases/0/requires/0"),
        ({"refused": {"code": "not_canonical"}}, "/cases/canonical-json.one"),
        ({"refused": {"kode": "not_canonical"}}, "/canonical-json/cases/0/refused/code"),
    ],
)
def test_a_case_that_says_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], pointer: str | None
) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(write(tmp_path, [{**CASE, **changes}]))
    assert caught.value.code == "invalid_case"
    assert caught.value.details.get("pointer") == pointer


@pytest.mark.parametrize(
    ("area", "question"),
    [
        ("schema", {"document": "atlas"}),
        ("schema", {"document": "atlas", "value": {}, "files": {}}),
        ("schema", {"document": "request", "files": {}}),
        ("schema", {"document": "event", "value": {}, "lenient": True}),
        ("profile", {"profile": "auto"}),
        ("profile", {"profile": "auto", "text": "", "hex": ""}),
        ("replay", {"traces": [], "atlases": []}),
        ("replay", {"traces": [[]], "atlases": []}),
        ("diff", {"a": ["x"], "b": []}),
        ("execution", {"steps": [{"do": "load_atlas"}]}),
        ("execution", {"steps": [{"do": "load_atlas", "atlas": {}, "files": {}}]}),
    ],
)
def test_a_question_that_is_not_given_once_is_refused(area: str, question: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        answer_case({"id": f"{area}.one", "area": area, "input": question})


def test_a_case_without_an_expectation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        load(write(tmp_path, [{name: CASE[name] for name in CASE if name != "expected"}]))


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        load(write(tmp_path, [CASE, CASE]))


def test_a_file_in_the_wrong_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [CASE])
    (tmp_path / "canonical-json").rename(tmp_path / "policy")
    with pytest.raises(InvalidInput) as caught:
        load_suite(tmp_path, ["policy"])
    assert caught.value.details["file"].endswith("one.json")


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "one.json").write_text("{", encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        load_suite(tmp_path, ["policy"])
    assert (caught.value.code, caught.value.details["line"]) == ("invalid_case", 1)


def test_a_golden_session_without_answers_is_refused(tmp_path: Path) -> None:
    source = next(iter(sorted((SUITE / GOLDEN).glob("*/input.json"))))
    folder = tmp_path / GOLDEN / "one"
    folder.mkdir(parents=True)
    (folder / "input.json").write_bytes(source.read_bytes())
    with pytest.raises(InvalidInput) as caught:
        load_suite(tmp_path, [GOLDEN])
    assert caught.value.details["file"].endswith("answers.json")
    (folder / "one.trace.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(InvalidInput) as caught:
        load_suite(tmp_path, [GOLDEN])
    assert caught.value.code == "invalid_case"
    assert caught.value.details["file"].endswith("one.trace.jsonl")


def test_a_missing_folder_and_an_empty_area_are_told(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path / ("a" * 300), tmp_path):
        with pytest.raises(NotFound) as caught:
            load_suite(folder)
        assert caught.value.code == "cases_not_found"


def test_a_report_has_the_protocol_s_members(tmp_path: Path) -> None:
    wrong = {**CASE, "id": "canonical-json.two", "expected": {"canonical": "2"}}
    cases = load(write(tmp_path, [CASE, wrong]))
    report = run_suite(cases, answer_case, implementation="mine", version="7", clock=FakeClock())
    assert report.keys() == {"implementation", "version", "conformance_level", "test_run", "results"}
    assert (report["implementation"], report["version"]) == ("mine", "7")
    assert report["conformance_level"] == "none"
    run = report["test_run"]
    assert run.keys() == {"timestamp", "duration_ms", "total", "passed", "failed", "skipped"}
    assert run["timestamp"] == "2024-12-28T12:00:00.000000Z"
    assert [run[name] for name in ("total", "passed", "failed", "skipped")] == [2, 1, 1, 0]
    passed, failed = report["results"]
    assert passed.keys() == {"test_id", "status", "duration_ms"}
    assert failed["error"] == '`/canonical` is "1", expected "2"'
    assert failed["details"] == {"clauses": ["3.3.1"], "description": "one"}


def results(**statuses: str) -> list[Result]:
    return [
        Result(
            case=SuiteCase(id=f"{area}.x", area=area, clauses=(), description="", requires=(), input={}),
            status=status,  # type: ignore[arg-type]
            duration_ms=0,
        )
        for area, status in {**dict.fromkeys((*AREAS, GOLDEN), "passed"), **statuses}.items()
        if status
    ]


def test_a_level_needs_all_its_areas_and_no_failure() -> None:
    assert level_of(results()) == "CRA-Minimal"
    assert level_of(results(schema="failed")) == "CARP-Core, TRACE-Core"
    assert level_of(results(golden="failed", policy="failed")) == "Atlas-Core"
    assert level_of(results(approval="")) == "Atlas-Core, TRACE-Core"
    assert level_of(results(schema="skipped")) == "CARP-Core, TRACE-Core"
    assert level_of([]) == "none"


@pytest.mark.parametrize(
    "line",
    [
        *("", "no json", "[]", "1", "{}", "[" * 100_000),
        '{"id":"a","area":"none","input":{}}',
        '{"id":"a","area":"policy"}',
        '{"id":"a","area":"policy","input":{"atlases":1}}',
    ],
)
def test_a_line_that_is_no_question_is_answered_as_such(line: str) -> None:
    (answer,) = answer_lines([line])
    assert json.loads(answer)["refused"]["code"] == "invalid_case"


def test_a_reference_that_leads_nowhere_ends_the_steps() -> None:
    steps = [
        {"do": "resolve", "session": "$s/session_id", "goal": "g"},
        {"do": "advance", "seconds": 1},
    ]
    answer = answer_case({"id": "execution.x", "area": "execution", "input": {"steps": steps}})
    assert [sorted(outcome) for outcome in answer["answer"]["steps"]] == [["unanswered"]]
