"""What the conformance runner takes for the expected answer, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from cra_wasm.conformance.judging import find_fault, is_skipped
from cra_wasm.conformance.matching import difference
from cra_wasm.conformance.suite import GoldenFiles, StepExpectation, SuiteCase
from cra_wasm.conformance.terms import Refusal

UUID7 = "01940d23-3a00-7000-8000-000000010008"


def case(**members: Any) -> SuiteCase:
    made: dict[str, Any] = {
        "id": "policy.one",
        "area": "policy",
        "clauses": ("2.4.6",),
        "description": "one",
        "requires": (),
        "input": {},
    }
    return SuiteCase(**{**made, **members})


def answered(answer: object) -> dict[str, Any]:
    return {"id": "policy.one", "answer": answer}


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (None, None),
        (1, 1.0),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "x"}]}),
        ("<uuid7>", UUID7),
        ("<uuid>", "11111111-1111-1111-1111-111111111111"),
        ("<timestamp>", "2024-12-28T12:00:00.000000Z"),
        ("<hash>", "0" * 64),
        ("<text>", "anything"),
        ("<any>", None),
        ("<unknown>", "<unknown>"),
    ],
)
def test_what_matches(expected: object, actual: object) -> None:
    assert difference(expected, actual) is None


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (None, False),
        (1, True),
        (True, 1),
        (0, None),
        ("1", 1),
        (1, "1"),
        ({}, []),
        ([], {}),
        ({"a": 1}, {}),
        ({}, {"a": 1}),
        ({"a": None}, {}),
        ([1], []),
        ([1], [1, 2]),
        ([1, 2], [2, 1]),
        ("<uuid7>", "11111111-1111-1111-1111-111111111111"),
        ("<uuid>", UUID7.upper()),
        ("<timestamp>", "2024-12-28T12:00:00Z"),
        ("<hash>", "0" * 63),
        ("<hash>", "0" * 64 + "\n"),
        ("<text>", ""),
        ("<text>", 1),
    ],
)
def test_what_does_not_match(expected: object, actual: object) -> None:
    assert difference(expected, actual) is not None


def test_the_first_difference_is_told_with_its_pointer() -> None:
    told = difference({"a/b": [1, {"~": 2}], "c": 1}, {"a/b": [1, {"~": 3}], "c": 2})
    assert told == "`/a~1b/1/~0` is 3, expected 2"


def test_a_part_may_have_more_members_but_no_longer_lists() -> None:
    assert difference({"a": [{}]}, {"a": [{"x": 1}], "b": 2}, whole=False) is None
    assert difference({"a": [{}]}, {"a": [{}, {}]}, whole=False) is not None
    assert difference({"b": "<absent>"}, {"a": 1}, whole=False) is None
    assert difference({"a": "<absent>"}, {"a": 1}, whole=False) is not None


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "answer",
        {},
        {"id": "policy.one"},
        {"id": "policy.two", "answer": {"n": 1}},
        {"answer": {"n": 1}},
        {"id": "policy.one", "answer": {"n": 1}, "refused": {"code": "x"}},
        {"id": "policy.one", "skipped": "no time"},
        {"id": "policy.one", "refused": {"code": "x"}},
        answered({"n": 2}),
        answered({"n": 1, "more": 1}),
        answered(None),
    ],
)
def test_an_answer_in_another_form_or_with_another_content_fails(answer: object) -> None:
    assert find_fault(case(expected={"n": 1}), answer) is not None
    assert find_fault(case(expected={"n": 1}), answered({"n": 1})) is None


@pytest.mark.parametrize(
    ("told", "passes"),
    [
        ({"code": "invalid_atlas", "pointer": "/a", "findings": [{"pointer": "/a", "code": "f"}]}, True),
        ({"code": "invalid_goal", "pointer": "/a", "findings": [{"pointer": "/a", "code": "f"}]}, False),
        ({"code": "invalid_atlas", "pointer": "/b", "findings": [{"pointer": "/a", "code": "f"}]}, False),
        ({"code": "invalid_atlas", "findings": [{"pointer": "/a", "code": "f"}]}, False),
        ({"code": "invalid_atlas", "pointer": "/a", "findings": [{"pointer": "/a", "code": "g"}]}, False),
        ({"code": "invalid_atlas", "pointer": "/a", "findings": [{"pointer": "/b", "code": "f"}]}, False),
        ({"code": "invalid_atlas", "pointer": "/a", "findings": []}, False),
        ({"code": "invalid_atlas", "pointer": "/a", "findings": [1]}, False),
        ({"code": "invalid_atlas", "pointer": "/a"}, False),
        ("invalid_atlas", False),
    ],
)
def test_a_refusal_is_compared_by_what_the_case_names(told: object, passes: bool) -> None:
    expected = Refusal(code="invalid_atlas", pointer="/a", pointers=("/a",), finding="f")
    fault = find_fault(case(refused=expected), {"id": "policy.one", "refused": told})
    assert (fault is None) == passes


@pytest.mark.parametrize(
    ("findings", "passes"),
    [
        ([{"file": "policies/a.json", "pointer": "", "code": "f"}], True),
        ([{"file": "policies/b.json", "pointer": "", "code": "f"}], False),
        ([{"pointer": "", "code": "f"}], False),
        (None, False),
    ],
)
def test_the_file_of_a_package_is_compared_where_the_case_names_it(findings: object, passes: bool) -> None:
    expected = Refusal(code="invalid_atlas", file="policies/a.json")
    told = {"code": "invalid_atlas", "findings": findings}
    fault = find_fault(case(refused=expected), {"id": "policy.one", "refused": told})
    assert (fault is None) == passes


def test_an_answer_where_a_refusal_was_expected_fails() -> None:
    assert find_fault(case(refused=Refusal(code="x")), answered({"valid": True})) is not None


def test_only_an_extension_s_case_may_be_skipped() -> None:
    skipped = {"id": "policy.one", "skipped": "no BLAKE3"}
    assert is_skipped(case(requires=("blake3",)), skipped)
    assert not is_skipped(case(), skipped)


STEPS = (
    StepExpectation(do="create_session", named="s", expect={}, refused=None),
    StepExpectation(do="resolve", named=None, expect={"of": "$s/id"}, refused=None),
    StepExpectation(do="execute", named=None, expect={}, refused=Refusal(code="no_executor")),
)
RIGHT = [{"answer": {"id": 7}}, {"answer": {"of": 7, "more": 1}}, {"refused": {"code": "no_executor"}}]


@pytest.mark.parametrize(
    "outcomes",
    [
        RIGHT[:2],
        [*RIGHT, {"answer": {}}],
        [RIGHT[0], {"answer": {"of": 8}}, RIGHT[2]],
        [RIGHT[0], {"refused": {"code": "x"}}, RIGHT[2]],
        [{"answer": {}}, *RIGHT[1:]],
        [RIGHT[0], {"unanswered": "why"}],
        [*RIGHT[:2], {"refused": {"code": "other"}}],
        [*RIGHT[:2], {"answer": {}}],
        [*RIGHT[:2], 5],
        {"0": RIGHT},
        None,
    ],
)
def test_every_step_must_answer_as_expected(outcomes: object) -> None:
    assert find_fault(case(steps=STEPS), answered({"steps": outcomes})) is not None
    assert find_fault(case(steps=STEPS), answered({"steps": RIGHT})) is None


def test_a_golden_session_is_compared_to_the_byte() -> None:
    golden = case(golden=GoldenFiles(steps=[{"answer": {}}], traces={"s": ['{"a":1}']}))
    assert find_fault(golden, answered({"steps": [{"answer": {}}], "traces": {"s": ['{"a":1}']}})) is None
    for steps, traces in (
        ([{"answer": {"a": 1}}], {"s": ['{"a":1}']}),
        ([{"answer": {}}], {"s": ['{"a": 1}']}),
        ([{"answer": {}}], {"s": []}),
        ([{"answer": {}}], {}),
        ([{"answer": {}}], {"s": ['{"a":1}'], "t": []}),
    ):
        assert find_fault(golden, answered({"steps": steps, "traces": traces})) is not None
    assert find_fault(golden, answered([])) is not None
