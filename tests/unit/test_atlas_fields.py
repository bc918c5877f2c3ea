"""Each field of an atlas with what it must not hold, named by its JSON Pointer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm.atlas.loader import load_atlas
from cra_wasm.errors import InvalidInput

from .building import accept_schema, action, block, load, manifest, policy


def pointers(source: Any) -> list[str]:
    """Return where the findings of a refusal are."""
    with pytest.raises(InvalidInput) as caught:
        load_atlas(source, check_schema=accept_schema)
    assert caught.value.code == "invalid_atlas"
    assert caught.value.details["pointer"] == caught.value.details["findings"][0]["pointer"]
    return [one["pointer"] for one in caught.value.details["findings"]]


@pytest.mark.parametrize("name", ["atlas_version", "atlas_id", "version", "name", "description"])
def test_a_required_member_that_is_absent_is_named(name: str) -> None:
    members = manifest()
    del members[name]
    assert pointers(members) == [f"/{name}"]


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"id": "x"}, "/id"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"actions": [action("a.b", risk="high")]}, "/actions/0/risk"),
        ({"actions": [action("a.b", rate_limit={"max_calls": 1, "window_seconds": 1, "x": 1})]},
         "/actions/0/rate_limit/x"),
        ({"policies": [policy("p", "deny"), policy("q", "deny", rules=[])]}, "/policies/1/rules"),
        ({"policies": [policy("p", "deny", conditions={"agent": ["x"]})]}, "/policies/0/conditions/agent"),
        ({"policies": [policy("p", "deny", parameters={"why": "x"})]}, "/policies/0/parameters/why"),
        ({"policies": ["policies/p.json"]}, "/policies/0"),
        ({"capabilities": ["orders"]}, "/capabilities/0"),
        ({"context_blocks": [block("c", text="x")]}, "/context_blocks/0/text"),
    ],
)  # fmt: skip
def test_an_unknown_member_or_another_dialect_is_named(members: dict[str, Any], pointer: str) -> None:
    assert pointers(manifest(**members)) == [pointer]


def window(**members: Any) -> dict[str, Any]:
    whole = {"start": "09:00", "end": "17:00", **members}
    return {"policies": [policy("p", "deny", conditions={"time_window": whole})]}


def limited(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"policies": [policy("p", kind, parameters=parameters)]}


def conditioned(**conditions: Any) -> dict[str, Any]:
    return {"policies": [policy("p", "deny", conditions=conditions)]}


def with_action(**members: Any) -> dict[str, Any]:
    return {"actions": [{**action("a.b"), **members}]}


def with_policy(**members: Any) -> dict[str, Any]:
    return {"policies": [{**policy("p", "deny"), **members}]}


def with_block(**members: Any) -> dict[str, Any]:
    return {"context_blocks": [{**block("c"), **members}]}


PARAMETERS = "/policies/0/parameters"
CONDITIONS = "/policies/0/conditions"
# Per place that makes it wrong: how, the values that are wrong there, and the pointer.
WRONG_VALUES: list[tuple[Callable[[Any], dict[str, Any]], list[Any], str]] = [
    (lambda x: {"atlas_version": x}, ["1.1", 1.0, None], "/atlas_version"),
    (
        lambda x: {"atlas_id": x},
        ["shop", "Com.x", "com.", "com..x", "com.x_y", "com.x\n", "9.a", 5],
        "/atlas_id",
    ),
    (lambda x: {"version": x}, ["1", "1.0", "01.0.0", "1.0.0-", "1.0.0-01", "v1.0.0", "1.0.0+"], "/version"),
    (lambda x: {"name": x}, ["", " ", "\t\n", "x" * 101, None], "/name"),
    (lambda x: {"description": x}, ["x" * 1001, None], "/description"),
    (lambda x: {"actions": x}, [{}, None, "a.b"], "/actions"),
    (
        lambda x: with_action(action_id=x),
        ["read", "a.", "A.b", "a.b-c", "a.*", "a.b\n", "a.é", "a." + "b" * 254],
        "/actions/0/action_id",
    ),
    (lambda x: with_action(risk_tier=x), ["severe", "Low", None], "/actions/0/risk_tier"),
    (lambda x: with_action(timeout_seconds=x), [0, 301, 1.5, "30", True], "/actions/0/timeout_seconds"),
    (lambda x: with_action(idempotent=x), ["yes", 1, None], "/actions/0/idempotent"),
    (
        lambda x: with_action(rate_limit={"max_calls": x, "window_seconds": 1}),
        [-1, 1.0, 1_000_001, None, True],
        "/actions/0/rate_limit/max_calls",
    ),
    (
        lambda x: with_action(rate_limit={"max_calls": 1, "window_seconds": x}),
        [0, -1, 1e10, "1", None, True],
        "/actions/0/rate_limit/window_seconds",
    ),
    (lambda x: with_action(examples=[x]), [{"name": "x"}], "/actions/0/examples/0/parameters"),
    (
        lambda x: {"capabilities": [{"capability_id": x, "name": "A"}]},
        ["A", "", "a.", "a-b"],
        "/capabilities/0/capability_id",
    ),
    (lambda x: with_policy(type=x), ["requires_approval", "Allow", "", None], "/policies/0/type"),
    (
        lambda x: with_policy(policy_id=x),
        ["", "-p", "a b", "ä", "p\n", "p" * 256],
        "/policies/0/policy_id",
    ),
    (lambda x: with_policy(priority=x), [1.5, "1", 1_000_001, None], "/policies/0/priority"),
    (lambda x: with_policy(actions=x), ["a.b", {}], "/policies/0/actions"),
    (lambda x: with_policy(actions=[x]), ["", "x" * 256, 5], "/policies/0/actions/0"),
    (lambda x: conditioned(risk_tiers=["low", x]), ["none", 1], f"{CONDITIONS}/risk_tiers/1"),
    (lambda x: conditioned(context_matches={"a": x}), [5, "", None], f"{CONDITIONS}/context_matches/a"),
    (lambda x: conditioned(context_matches={"[key]": x}), [5, ""], f"{CONDITIONS}/context_matches/[key]"),
    (
        lambda x: window(start=x),
        ["9:00", "24:00", "09:60", "09:00:00", "0900", "09:00 ", "\u0660\u0669:00", 9, None],
        f"{CONDITIONS}/time_window/start",
    ),
    (lambda x: window(days=[x]), ["monday", "Mon", 0], f"{CONDITIONS}/time_window/days/0"),
    (lambda x: window(timezone=x), ["", "x" * 65, None], f"{CONDITIONS}/time_window/timezone"),
    (lambda x: limited("budget", max_cost=x, cost=1), [-1, 1e16, "5", True], f"{PARAMETERS}/max_cost"),
    (
        lambda x: limited("budget", max_cost=1, cost_parameter=x),
        ["amount", "/a~2", "/a~"],
        f"{PARAMETERS}/cost_parameter",
    ),
    (lambda x: limited("budget", max_calls=1, scope=x), ["team", 1], f"{PARAMETERS}/scope"),
    (lambda x: limited("require_approval", uses=x), [0, 1001, 1.5], f"{PARAMETERS}/uses"),
    (
        lambda x: limited("require_approval", expires_in_seconds=x),
        [0, 604_801],
        f"{PARAMETERS}/expires_in_seconds",
    ),
    (lambda x: limited("deny", reason=x), ["", "x" * 501], f"{PARAMETERS}/reason"),
    (lambda x: with_block(priority=x), [-1, 1001, 1.5], "/context_blocks/0/priority"),
    (lambda x: with_block(keywords=[x]), ["", " ", "x" * 101], "/context_blocks/0/keywords/0"),
    (lambda x: with_block(content_type=x), ["text/html"], "/context_blocks/0/content_type"),
    (lambda x: with_block(content=x), ["x" * 100_001, None], "/context_blocks/0/content"),
    (lambda x: {"dependencies": {x: "1"}}, ["NotAnId", "", "[key]"], "/dependencies/{}"),
    (lambda x: {"dependencies": {"com.example.other": x}}, [1, None], "/dependencies/com.example.other"),
]
WRONG = [(make(value), pointer.format(value)) for make, values, pointer in WRONG_VALUES for value in values]


@pytest.mark.parametrize(("members", "pointer"), WRONG)
def test_a_value_that_breaks_its_rule_is_named(members: dict[str, Any], pointer: str) -> None:
    for source in (manifest(**members), json.dumps(manifest(**members)).encode()):
        assert pointers(source) == [pointer]


# PROTOCOL 0.3.6
def test_more_than_ten_thousand_entries_are_refused() -> None:
    assert pointers(manifest(capabilities=[{"capability_id": "a", "name": "A"}] * 10_001)) == [
        "/capabilities"
    ]


# Parameters of policies

BELONG = {
    "allow": {"reason"},
    "deny": {"reason"},
    "rate_limit": {"reason", "max_calls", "window_seconds"},
    "require_approval": {"reason", "expires_in_seconds", "uses"},
    "budget": {"reason", "max_calls", "max_cost", "cost", "cost_parameter", "scope", "window_seconds"},
    "scope": {"reason", "actions", "capabilities"},
}
VALUES: dict[str, Any] = {
    "reason": "why",
    "max_calls": 1,
    "window_seconds": 60,
    "max_cost": 5,
    "cost": 1,
    "cost_parameter": "/amount",
    "scope": "agent",
    "actions": ["a.*"],
    "capabilities": [],
    "expires_in_seconds": 60,
    "uses": 2,
}
ENOUGH: dict[str, dict[str, Any]] = {
    "allow": {},
    "deny": {},
    "require_approval": {},
    "rate_limit": {"max_calls": 1, "window_seconds": 60},
    "budget": {"max_calls": 1},
    "scope": {"actions": ["a.*"]},
}


@pytest.mark.parametrize("kind", BELONG)
@pytest.mark.parametrize("name", VALUES)
def test_a_parameter_stands_only_with_its_policy_types(kind: str, name: str) -> None:
    given = {**ENOUGH[kind], name: VALUES[name]}
    if name == "max_cost":
        given["cost"] = 1
    if name in BELONG[kind]:
        load(policies=[policy("p", kind, parameters=given)])
    else:
        assert pointers(manifest(policies=[policy("ok", "deny"), policy("p", kind, parameters=given)])) == [
            "/policies/1"
        ]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("rate_limit", {}),
        ("rate_limit", {"max_calls": 1}),
        ("rate_limit", {"window_seconds": 1}),
        ("budget", {}),
        ("budget", {"window_seconds": 1}),
        ("budget", {"max_cost": 5}),
        ("budget", {"max_cost": 5, "cost": 1, "cost_parameter": "/a"}),
        ("scope", {}),
        ("scope", {"reason": "x"}),
    ],
)
def test_a_restriction_that_would_not_restrict_is_refused(kind: str, parameters: dict[str, Any]) -> None:
    assert pointers(manifest(**limited(kind, **parameters))) == ["/policies/0"]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("rate_limit", {"max_calls": None, "window_seconds": None}),
        ("rate_limit", {"max_calls": 1, "window_seconds": None}),
        ("budget", {"max_calls": None}),
        ("budget", {"max_cost": 5, "cost": None}),
        ("budget", {"max_cost": 5, "cost_parameter": None}),
        ("budget", {"max_cost": None, "cost": 1}),
        ("scope", {"actions": None}),
        ("scope", {"capabilities": None}),
    ],
)
def test_a_null_is_no_limit(kind: str, parameters: dict[str, Any]) -> None:
    assert pointers(manifest(**limited(kind, **parameters))) == ["/policies/0"]


def test_a_time_window_is_written_as_it_was_read() -> None:
    atlas = load(**window(days=["mon"]))
    told = atlas.policies[0].model_dump(mode="json", exclude_unset=True)
    assert told["conditions"]["time_window"] == {"start": "09:00", "end": "17:00", "days": ["mon"]}
