"""Other dialects: refused by name, or read with a warning, and never as something laxer (PROTOCOL 1.11)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.atlas.draft import ID_OF
from cra_wasm.atlas.loader import load_atlas, read_atlas
from cra_wasm.errors import InvalidInput

from .building import accept_schema, action, block, manifest, plan_with, planner_of, policy
from .generating import AGENTS, SHOP, TIERS, atlases
from .packages import as_zip, findings_in
from .reference_evaluator import any_matches


def warnings_of(source: Any) -> list[tuple[str, str, str]]:
    """Return (file, pointer, code) of what a lenient loader warns of."""
    warnings = read_atlas(source, check_schema=accept_schema, strict=False).warnings
    return [(one.get("file", ""), one["pointer"], one["code"]) for one in warnings]


READ: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "requires_approval": (
        {"policies": [policy("p", "requires_approval")]},
        {"policies": [policy("p", "require_approval")]},
        ["/policies/0/type"],
    ),
    "id in every list": (
        {
            "actions": [{"id": "a.b", "name": "A", "description": ""}],
            "policies": [{"id": "p", "type": "deny"}],
            "capabilities": [{"id": "c", "name": "C"}],
            "context_blocks": [{"id": "x", "name": "X", "content": "x"}],
        },
        {
            "actions": [{"action_id": "a.b", "name": "A", "description": ""}],
            "policies": [{"policy_id": "p", "type": "deny"}],
            "capabilities": [{"capability_id": "c", "name": "C"}],
            "context_blocks": [{"context_id": "x", "name": "X", "content": "x"}],
        },
        ["/capabilities/0/id", "/context_blocks/0/id", "/policies/0/id", "/actions/0/id"],
    ),
    "plain capabilities": (
        {"capabilities": ["orders", {"capability_id": "users", "name": "Users"}]},
        {"capabilities": [{"capability_id": name, "name": said} for name, said in
                          (("orders", "orders"), ("users", "Users"))]},
        ["/capabilities/0"],
    ),
    "rules": (
        {
            "policies": [
                policy("before", "allow"),
                {
                    "id": "p",
                    "priority": 5,
                    "rules": [
                        {"effect": "allow", "actions": ["a.b", "a.c"]},
                        {"effect": "deny", "actions": ["*", "a.*", "*.c.*"], "description": "no"},
                        {"effect": "requires_approval", "actions": ["a.b"]},
                    ],
                },
                policy("after", "deny"),
            ]
        },
        {
            "policies": [
                policy("before", "allow"),
                policy("p.0", "allow", priority=5, actions=["a.b", "a.c"]),
                policy("p.1", "deny", priority=5, actions=["*", "a.*", "*.c.*"]),
                policy("p.2", "require_approval", priority=5, actions=["a.b"]),
                policy("after", "deny"),
            ]
        },
        ["/policies/1/rules"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
# PROTOCOL 1.11.1, 1.11.2, 1.11.3, 1.11.4
def test_a_dialect_is_read_with_a_warning_or_refused_by_its_name(name: str) -> None:
    theirs, ours, pointers = READ[name]
    source = manifest(**copy.deepcopy(theirs))
    lenient = load_atlas(source, check_schema=accept_schema, strict=False)
    assert lenient == load_atlas(manifest(**ours), check_schema=accept_schema)
    assert source == manifest(**theirs)  # the caller's dict is the caller's
    told = [("", pointer, "dialect") for pointer in pointers]
    assert warnings_of(source) == told
    assert findings_in(source) == told


def test_the_id_of_the_atlas_and_of_its_packs_are_read() -> None:
    whole = manifest(context_packs=[{"id": "rules", "name": "R", "files": ["context/a.md"]}])
    whole["id"] = whole.pop("atlas_id")
    source = as_zip({"atlas.json": whole, "context/a.md": ""})
    told = [("atlas.json", "/id", "dialect"), ("atlas.json", "/context_packs/0/id", "dialect")]
    assert warnings_of(source) == told
    assert findings_in(source) == told


# PROTOCOL 1.11.5
def test_a_path_of_a_policy_file_that_is_read_anyway_is_left_out() -> None:
    files = {
        "atlas.json": manifest(policies=["policies/a.json", policy("p", "deny"), "./policies/a.json"]),
        "policies/a.json": policy("q", "requires_approval"),
    }
    lenient = load_atlas(as_zip(files), check_schema=accept_schema, strict=False)
    assert [(one.policy_id, one.type) for one in lenient.policies] == [
        ("p", "deny"),
        ("q", "require_approval"),
    ]
    assert warnings_of(as_zip(files)) == [
        ("atlas.json", "/policies/0", "dialect"),
        ("atlas.json", "/policies/2", "dialect"),
        ("policies/a.json", "/type", "dialect"),
    ]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two ids": ({"actions": [{**action("a.b"), "id": "a.b"}]}, "/actions/0/id"),
    "a path without a package": ({"policies": ["policies/a.json"]}, "/policies/0"),
    "no rules": ({"policies": [{"policy_id": "p", "rules": []}]}, "/policies/0/rules"),
    "rules that are no list": ({"policies": [{"policy_id": "p", "rules": {}}]}, "/policies/0/rules"),
    "rules beside a type": ({"policies": [policy("p", "deny", rules=[])]}, "/policies/0/rules"),
    "rules beside conditions": (
        {"policies": [{"id": "p", "conditions": {}, "rules": [{"effect": "deny", "actions": ["*"]}]}]},
        "/policies/0/rules",
    ),
    "rules without an id": (
        {"policies": [{"rules": [{"effect": "allow", "actions": ["a.b"]}]}]},
        "/policies/0/rules",
    ),
    "rules with an id that is no text": (
        {"policies": [{"policy_id": 5, "rules": [{"effect": "allow", "actions": ["a.b"]}]}]},
        "/policies/0/rules",
    ),
    "rules with two ids": (
        {"policies": [{"id": "p", "policy_id": "q", "rules": [{"effect": "deny", "actions": ["*"]}]}]},
        "/policies/0/rules",
    ),
    **{
        f"a rule like {rule}": ({"policies": [{"policy_id": "p", "rules": [rule]}]}, "/policies/0/rules")
        for rule in (
            1,
            {},
            {"effect": "deny"},
            {"effect": "deny", "actions": "*"},
            {"effect": "deny", "actions": []},
            {"effect": "deny", "actions": [1]},
            {"effect": ["deny"], "actions": ["*"]},
            {"effect": "permit", "actions": ["a.b"]},
            {"effect": "deny", "actions": ["*"], "unless": "x"},
            {"effect": "deny", "actions": ["*"], "conditions": {}},
            {"effect": "allow", "actions": ["a.*"]},
            {"effect": "allow", "actions": ["*"]},
            {"effect": "deny", "actions": ["a.b*"]},
            {"effect": "deny", "actions": ["a.**"]},
        )
    },
    **{
        f"a {kind} for a plain capability": (
            {
                "capabilities": ["orders"],
                "policies": [
                    policy("p", kind, conditions={"capabilities": ["orders"]}, parameters=parameters)
                ],
            },
            "/policies/0/conditions/capabilities/0",
        )
        for kind, parameters in {
            "deny": {},
            "requires_approval": {},
            "require_approval": {},
            "rate_limit": {"max_calls": 1, "window_seconds": 1},
            "budget": {"max_calls": 1},
            "scope": {"actions": ["*"]},
        }.items()
    },
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("strict", [True, False])
# PROTOCOL 1.11.6, 1.11.7
def test_what_might_come_out_laxer_is_refused_by_its_name(name: str, strict: bool) -> None:
    members, pointer = REFUSED[name]
    found = findings_in(manifest(**copy.deepcopy(members)), strict=strict)
    assert ("", pointer, "dialect_refused") in found
    assert {code for _, _, code in found} <= {"dialect_refused", "dialect"}


@pytest.mark.parametrize("path", ["policies/none.json", "rules/a.json", "../a.json", "context/a.md", ""])
def test_a_path_that_is_not_of_a_policy_file_is_refused(path: str) -> None:
    files = {"atlas.json": manifest(policies=[path]), "policies/a.json": [], "context/a.md": ""}
    assert findings_in(as_zip(files), strict=False) == [("atlas.json", "/policies/0", "dialect_refused")]


def test_all_else_that_is_wrong_is_told_where_it_stands_in_the_dialect() -> None:
    theirs = manifest(
        actions=[{"id": "A", "name": "", "description": ""}],
        policies=[{"policy_id": "p", "rules": [{"effect": "allow", "actions": ["a.z", ""]}]}],
        capabilities=["Orders"],
    )
    theirs["id"] = theirs.pop("atlas_id").upper()
    assert findings_in(theirs, strict=False) == [
        ("", "/id", "string_pattern_mismatch"),
        ("", "/capabilities/0", "string_pattern_mismatch"),
        ("", "/policies/0/rules/0/actions/1", "string_too_short"),
        ("", "/actions/0/id", "string_pattern_mismatch"),
        ("", "/actions/0/name", "string_too_short"),
    ]


def test_a_strict_atlas_has_no_warnings() -> None:
    whole = manifest(actions=[action("a.b")], context_blocks=[block("c")])
    assert warnings_of(whole) == []


# Never laxer

IDS = ["order.read", "order.refund", "user.order.delete", "user.read"]
RULES = st.lists(
    st.builds(
        lambda effect, actions: {"effect": effect, "actions": actions},
        st.sampled_from(["allow", "allow", "deny", "require_approval", "requires_approval"]),
        st.lists(st.sampled_from([*IDS, "*", "order.*", "*.read", "*.order.*"]), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=4,
)


def allowed(whole: dict[str, Any], strict: bool, *, approved: bool = False, **facts: Any) -> set[str]:
    """Return the actions that run, or would run if a person approved."""
    atlas = load_atlas(whole, check_schema=accept_schema, strict=strict)
    plan = plan_with(planner_of(atlas.model_dump(mode="json", exclude_unset=True)), **facts)
    verdicts = [plan.verdict_on(one, approved=True) for one in plan.candidates]
    return {one.action_id for one in (verdicts if approved else plan.usual.verdicts) if one.allowed}


def in_dialect(draw: st.DrawFn, ours: dict[str, Any]) -> dict[str, Any]:
    """Return the same atlas with parts of it in words of another dialect."""
    theirs = copy.deepcopy(ours)
    for one in theirs["policies"]:
        if one["type"] == "require_approval" and draw(st.booleans()):
            one["type"] = "requires_approval"
    for section, member in (
        ("actions", "action_id"),
        ("policies", "policy_id"),
        ("capabilities", "capability_id"),
    ):
        for one in theirs[section]:
            if draw(st.booleans()):
                one["id"] = one.pop(member)
    theirs["capabilities"] = [
        one.get("id", one.get("capability_id")) if draw(st.booleans()) else one
        for one in theirs["capabilities"]
    ]
    return theirs


@given(st.data())
# PROTOCOL 1.11.8
def test_a_dialect_allows_no_action_that_the_same_atlas_in_our_words_does_not(data: st.DataObject) -> None:
    ours = data.draw(atlases(SHOP))
    theirs = data.draw(st.composite(in_dialect)(ours))
    facts: dict[str, Any] = {
        "agent_id": data.draw(st.sampled_from(AGENTS)),
        "risk_tier": data.draw(st.sampled_from(TIERS)),
        "context": {"region": data.draw(st.sampled_from(["eu-1", "us"])), "other": "x"},
    }
    try:
        load_atlas(theirs, check_schema=accept_schema, strict=False)
    except ValueError:
        return  # refused: nothing is allowed
    for approved in (False, True):
        lenient = allowed(theirs, False, approved=approved, **facts)
        assert lenient <= allowed(ours, True, approved=approved, **facts)


@given(RULES, st.booleans())
def test_rules_allow_no_more_than_in_any_order_that_their_author_may_have_meant(
    rules: list[dict[str, Any]], beside_a_denial: bool
) -> None:
    more = [policy("more", "deny", actions=["user.read"])] if beside_a_denial else []
    whole = manifest(
        actions=[action(name) for name in IDS], policies=[{"policy_id": "p", "rules": rules}, *more]
    )
    starred = any("*" in one for rule in rules if rule["effect"] == "allow" for one in rule["actions"])
    if starred:
        findings_in(whole, strict=False)
        return
    told = allowed(whole, False)
    for name in IDS:
        effects = [rule["effect"] for rule in rules if any_matches(rule["actions"], name)]
        first_says, last_says = (effects[0], effects[-1]) if effects else ("deny", "deny")
        meant = first_says == "allow" and last_says == "allow" and set(effects) == {"allow"}
        assert (name in told) <= (meant and not (beside_a_denial and name == "user.read"))


# Anything else

WORDS = st.sampled_from(
    [
        "id",
        "policy_id",
        "rules",
        "type",
        "effect",
        "actions",
        "conditions",
        "capabilities",
        "files",
        "x",
        "name",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.sampled_from(["", "a.b", "*", "requires_approval", "deny"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
SECTIONS = st.sampled_from([*ID_OF, "dependencies", "metadata", "id", "version"])


@given(st.dictionaries(SECTIONS, VALUES, max_size=4), st.booleans(), st.booleans())
def test_whatever_stands_in_an_atlas_only_findings_come_out(
    members: dict[str, Any], strict: bool, in_package: bool
) -> None:
    whole = manifest(**members)
    source = as_zip({"atlas.json": whole, "policies/a.json": members}) if in_package else whole
    try:
        read_atlas(source, check_schema=accept_schema, strict=strict)
    except InvalidInput as error:
        assert error.code == "invalid_atlas"
        for one in error.details["findings"]:
            assert one["pointer"] == "" or resolves(one["pointer"], one.get("file"), whole, members)


def resolves(pointer: str, file: str | None, whole: Any, members: Any) -> bool:
    """Whether a pointer leads to something in the file, or to a member that something there lacks."""
    value = members if file == "policies/a.json" else whole
    *path, last = pointer.split("/")[1:]
    for part in path:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return isinstance(value, dict) or (isinstance(value, list) and 0 <= int(last) < len(value))
