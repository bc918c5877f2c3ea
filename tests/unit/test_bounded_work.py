"""An atlas costs a bounded time and memory, however it is written: what would take too much is refused
(PROTOCOL 0.3.6, 0.3.15-0.3.17, 1.8.3, 2.9.7)."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from cra_wasm.atlas.loader import load_atlas
from cra_wasm.carp import schema_pattern, schema_run
from cra_wasm.carp.patterns import compile_glob
from cra_wasm.carp.schema import compile_schema
from cra_wasm.carp.schema_pattern import GuardedPattern, PatternBook
from cra_wasm.carp.schema_pattern_parse import PatternRefused
from cra_wasm.errors import InvalidInput
from cra_wasm.model import parse
from cra_wasm.model.limits import MAX_CONDITION_GLOBS, MAX_VALUES
from cra_wasm.model.nesting import holds_more_values
from cra_wasm.resolver import Resolver

from .breaking import MOST_SECONDS
from .building import accept_schema, action, block, load, manifest, policy


def refused(source: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_atlas(source, check_schema=accept_schema)
    assert caught.value.code == "invalid_atlas"
    return caught.value


def findings(**members: Any) -> list[tuple[str, str]]:
    return [(one["pointer"], one["code"]) for one in refused(manifest(**members)).details["findings"]]


@pytest.mark.parametrize("source", [json.dumps, lambda atlas: atlas], ids=["text", "dict"])
def test_a_document_has_a_largest_number_of_values(source: Any) -> None:
    """PROTOCOL 0.3.24."""
    few = manifest(metadata={"a": [0] * (MAX_VALUES - 100)})
    load_atlas(source(few), check_schema=accept_schema)
    error = refused(source(manifest(metadata={"a": [0] * MAX_VALUES})))
    assert error.details["pointer"] == ""
    assert "findings" not in error.details


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", 1),
        ("[]", 2),
        ("[1]", 2),
        ("[1,2]", 3),
        ('{"a":1,"b":[2,3]}', 5),
        ('[",[{\\",[[",1]', 3),
        ('"a,[', 1),
    ],
)
def test_values_are_counted_outside_of_strings_and_never_too_few(text: str, values: int) -> None:
    assert not holds_more_values(text, values)
    assert holds_more_values(text, values - 1)


def test_prose_full_of_commas_is_one_value() -> None:
    content = "red, green, " * 8_000
    blocks = [block(f"b{number}", content=content) for number in range(40)]
    assert len(load(context_blocks=blocks).context_blocks) == 40


def test_more_faults_than_can_be_listed_are_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "_MOST_ERRORS", 300)
    unknown = {f"x{number}": 1 for number in range(301)}
    error = refused(manifest(**unknown))
    assert [(one["pointer"], one["code"]) for one in error.details["findings"]] == [("", "too_many_findings")]
    del unknown["x300"]
    error = refused(manifest(**unknown))
    assert (len(error.details["findings"]), error.details["findings_total"]) == (100, 300)


@pytest.mark.parametrize(
    ("pointer", "members"),
    [
        ("/domains", {"domains": ["a"] * 10_001}),
        ("/authors", {"authors": [1] * 10_001}),
        ("/policies/0/actions", {"policies": [policy("p", "deny", actions=["a.b"] * 10_001)]}),
        (
            "/policies/0/conditions/agents",
            {"policies": [policy("p", "deny", conditions={"agents": ["a"] * 10_001})]},
        ),
        ("/context_blocks/0/keywords", {"context_blocks": [block("b", keywords=["a"] * 10_001)]}),
        (
            "/capabilities/0/actions",
            {"capabilities": [{"capability_id": "c", "name": "c", "actions": ["a.b"] * 10_001}]},
        ),
    ],
)
def test_every_list_of_an_atlas_has_a_largest_length(pointer: str, members: dict[str, Any]) -> None:
    assert findings(**members) == [(pointer, "too_long")]


def test_the_globs_in_the_conditions_of_an_atlas_have_a_largest_number() -> None:
    """PROTOCOL 0.3.25."""
    half = {f"k{number}": "*" for number in range(MAX_CONDITION_GLOBS // 2)}
    agents = [f"agent-{number}" for number in range(MAX_CONDITION_GLOBS // 2)]
    blocks = [block("b", conditions={"context_matches": half})]
    load(context_blocks=blocks, policies=[policy("p", "allow", conditions={"agents": agents})])
    one_more = [
        policy("p", "allow", conditions={"agents": agents}),
        policy("q", "deny", conditions={"agents": ["x"]}),
    ]
    assert findings(context_blocks=blocks, policies=one_more) == [("/policies", "too_many_patterns")]


HOSTILE_GLOBS = [
    ("*" + "ab*" * 84, "a" * 1_000_000),
    ("a*" * 127 + "b", "a" * 1_000_000),
    ("*" + "a" * 100 + "b" + "a" * 100 + "*", "a" * 1_000_000),
    ("*ab" * 85, "ab" * 500_000 + "c"),
    ("*" * 255, "a" * 254),
    ("*" + "*b*" * 80, "a" * 1_000_000),
]


@pytest.mark.parametrize(("pattern", "text"), HOSTILE_GLOBS, ids=range(len(HOSTILE_GLOBS)))
def test_no_glob_takes_more_than_linear_time(pattern: str, text: str) -> None:
    matches = compile_glob(pattern)
    started = time.process_time()
    assert not matches(text)
    # A backtracking matcher takes 10^20 years for most of these; the bound leaves room for a busy machine.
    assert time.process_time() - started < MOST_SECONDS


def test_the_patterns_of_an_atlas_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """PROTOCOL 2.9.7."""
    monkeypatch.setattr(schema_pattern, "MAX_EFFORT", 100)
    resolver = Resolver()

    def load_with(*texts: str) -> None:
        actions = [
            action(f"a.n{number}", parameters_schema={"properties": {"x": {"pattern": text}}})
            for number, text in enumerate(texts)
        ]
        resolver.load_atlas(manifest(actions=actions))

    load_with("a" * 20)
    load_with(*["a" * 20] * 50)
    with pytest.raises(InvalidInput) as caught:
        load_with(*[str(number) * 20 for number in range(5)])
    found = caught.value.details["findings"]
    assert [(one["pointer"], one["code"]) for one in found] == [
        (f"/actions/{number}/parameters_schema/properties/x/pattern", "limits") for number in (2, 3, 4)
    ]


def test_a_pattern_that_is_refused_takes_its_part_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_pattern, "MAX_EFFORT", schema_pattern.effort(schema_pattern.parse("(a+)+")))
    book = PatternBook()
    codes = []
    for text in ("(a+)+", "(b+)+", "c", "("):
        found = book.find(text)
        assert isinstance(found, PatternRefused)
        assert book.find(text) is found
        codes.append(found.code)
    assert codes == ["unsafe_pattern", "limits", "limits", "limits"]
    assert isinstance(PatternBook().find("c"), GuardedPattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "a" * 1_000,
        "(a|b(c|d(e|f(g|h))))" * 50,
        "(a|" * 16 + "b" + ")" * 16,
        "[\u4e00-\u9fff]" * 12,
        "[ab]?x" * 150,
    ],
    ids=["literals", "choices", "deep", "wide", "optional"],
)
def test_the_effort_of_a_pattern_is_known_before_it_is_made(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes 5 to 8 us per unit on CPython: one that seemed cheap by this measure would be a hole."""
    part = schema_pattern.parse(pattern)
    monkeypatch.setattr(schema_pattern, "MAX_EFFORT", schema_pattern.effort(part))
    assert isinstance(PatternBook().find(pattern), GuardedPattern)
    assert schema_pattern.effort(part) > 350


def test_a_check_that_fails_unseen_costs_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_run, "MAX_UNITS", 1 + 9 * 100)
    contains = compile_schema({"contains": {"const": -1}})
    # Each item: 1 unit for the subschema, 8 for the finding that is thrown away.
    assert [error.keyword for error in contains.errors(list(range(100)))] == ["contains"]
    assert [error.keyword for error in contains.errors(list(range(101)))] == ["limits"]
    assert contains.errors([-1] * 900) == []
