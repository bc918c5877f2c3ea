"""Conditions in three values: holds, does not, cannot be told."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from cra_wasm.carp import conditions as conditions_module
from cra_wasm.carp.conditions import CompiledConditions, Facts, context_text
from cra_wasm.model.atlas import Conditions

from .building import at

NOON = at("2026-11-24T12:00:00+00:00")
OPEN = {"start": "09:00", "end": "17:00"}
SHUT = {"start": "17:00", "end": "18:00"}
NO_ZONE = {"start": "09:00", "end": "17:00", "timezone": "Mars/Olympus"}


def hold(
    conditions: dict[str, Any],
    *,
    agent_id: str = "bot-1",
    tier: str = "low",
    capabilities: tuple[str, ...] = (),
    context: dict[str, Any] | None = None,
) -> bool | None:
    compiled = CompiledConditions(Conditions.model_validate_json(json.dumps(conditions)))
    facts = Facts(agent_id=agent_id, risk_tier="low", context=context or {}, wall_ns=NOON)
    return compiled.hold(facts, tier=tier, capabilities=frozenset(capabilities))


@pytest.mark.parametrize("value", [None, [], {}, ["eu"], {"eu": "eu"}])
def test_a_context_value_that_is_no_scalar_cannot_be_told(value: object) -> None:
    assert context_text(value) is None
    assert hold({"context_matches": {"region": "eu"}}, context={"region": value}) is None


def test_a_whole_float_is_the_integer_up_to_where_floats_are_exact() -> None:
    assert context_text(1.0) == "1"
    assert context_text(-107.0) == "-107"
    assert context_text(2.0**53 - 1) == "9007199254740991"
    assert context_text(2.0**53) == "9007199254740992.0"


def test_a_context_text_longer_than_globs_are_matched_with_cannot_be_told() -> None:
    """PROTOCOL 0.3.26, 1.7.10."""
    assert context_text("x" * 1024) == "x" * 1024
    assert context_text("x" * 1025) is None
    assert hold({"context_matches": {"region": "x*"}}, context={"region": "x" * 1024}) is True
    assert hold({"context_matches": {"region": "y*"}}, context={"region": "x" * 1025}) is None


def test_an_absent_context_value_cannot_be_told_even_by_a_star() -> None:
    assert hold({"context_matches": {"region": "*"}}) is None


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        ("eu-west", "eu-*"),
        ("5", "5"),
        (5, "5"),
        (-5, "-*"),
        (2.5, "2.*"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_a_context_value_is_matched_as_text_or_as_its_json(value: object, pattern: str) -> None:
    assert hold({"context_matches": {"key": pattern}}, context={"key": value}) is True
    assert hold({"context_matches": {"key": "other"}}, context={"key": value}) is False


def test_an_empty_context_value_does_not_match_a_star() -> None:
    assert hold({"context_matches": {"key": "*"}}, context={"key": ""}) is False


def test_an_unknown_timezone_cannot_be_told() -> None:
    assert hold({"time_window": NO_ZONE}) is None


@pytest.mark.parametrize(("context", "window"), list(product([None, "eu", "us"], [NO_ZONE, OPEN, SHUT])))
def test_one_false_outweighs_what_cannot_be_told(context: str | None, window: dict[str, str]) -> None:
    given = {} if context is None else {"region": context}
    told = hold({"context_matches": {"region": "eu"}, "time_window": window}, context=given)
    if context == "us" or window is SHUT:
        assert told is False
    elif context is None or window is NO_ZONE:
        assert told is None
    else:
        assert told is True


@pytest.mark.parametrize(
    "failing",
    [
        {"risk_tiers": ["high"]},
        {"risk_tiers": []},
        {"agents": ["human-*"]},
        {"agents": []},
        {"capabilities": ["write"]},
        {"capabilities": []},
    ],
)
def test_a_condition_that_is_false_is_false_beside_what_cannot_be_told(failing: dict[str, Any]) -> None:
    assert hold(failing) is False
    assert hold({**failing, "time_window": NO_ZONE, "context_matches": {"absent": "*"}}) is False


def test_absent_conditions_hold() -> None:
    assert hold({}) is True


def test_all_that_are_present_hold_together() -> None:
    conditions = {
        "risk_tiers": ["high", "low"],
        "agents": ["human", "bot-*"],
        "capabilities": ["read", "write"],
        "context_matches": {"a": "1", "b": "x*"},
        "time_window": OPEN,
    }
    assert hold(conditions, capabilities=("write", "other"), context={"a": 1, "b": "xy"}) is True
    assert hold(conditions, capabilities=("write",), context={"a": 1, "b": "x"}) is False


def test_only_a_window_that_was_asked_says_until_when_the_facts_hold() -> None:
    compiled = CompiledConditions(
        Conditions.model_validate_json(json.dumps({"agents": ["bot-*"], "time_window": OPEN}))
    )
    asked = Facts(agent_id="bot-1", risk_tier="low", wall_ns=NOON)
    compiled.hold(asked, tier="low", capabilities=frozenset())
    assert asked.holds_until_wall_ns == at("2026-11-24T17:00:00+00:00")
    other = Facts(agent_id="human", risk_tier="low", wall_ns=NOON)
    compiled.hold(other, tier="low", capabilities=frozenset())
    assert other.holds_until_wall_ns is None


def test_the_first_of_several_windows_ends_the_facts() -> None:
    facts = Facts(agent_id="bot-1", risk_tier="low", wall_ns=NOON)
    for end in ("17:00", "13:00", "15:00"):
        window = {"time_window": {"start": "09:00", "end": end}}
        compiled = CompiledConditions(Conditions.model_validate_json(json.dumps(window)))
        compiled.hold(facts, tier="low", capabilities=frozenset())
    assert facts.holds_until_wall_ns == at("2026-11-24T13:00:00+00:00")


def test_what_no_action_changes_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(name: str) -> Any:
        function = getattr(conditions_module, name)
        return lambda *arguments: (asked.append(name), function(*arguments))[1]

    for name in ("context_text", "window_answer"):
        monkeypatch.setattr(conditions_module, name, counted(name))
    both = {"context_matches": {"region": "eu"}, "time_window": OPEN}
    compiled = CompiledConditions(Conditions.model_validate_json(json.dumps(both)))
    facts = Facts(agent_id="bot-1", risk_tier="low", context={"region": "eu"}, wall_ns=NOON)
    for tier in ("low", "high", "critical"):
        assert compiled.hold(facts, tier=tier, capabilities=frozenset()) is True
    assert compiled.window_ends_ns(facts) == at("2026-11-24T17:00:00+00:00")
    assert asked == ["context_text", "window_answer"]


def test_conditions_without_a_window_end_at_no_time() -> None:
    compiled = CompiledConditions(Conditions.model_validate_json("{}"))
    assert compiled.window_ends_ns(Facts(agent_id="bot-1", risk_tier="low", wall_ns=NOON)) is None
