"""Plans: every fact of the key counts, none besides it, and the caches never change an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cra_wasm.carp import plan as plan_module
from cra_wasm.carp import planner as planner_module
from cra_wasm.carp.catalogue import Catalogue, CompiledAtlas
from cra_wasm.carp.plan import Plan
from cra_wasm.carp.planner import Planner
from cra_wasm.carp.schema import compile_schema
from cra_wasm.errors import InvalidInput, NotFound

from .building import (
    TTL_SECONDS,
    action,
    answers,
    at,
    block,
    load,
    manifest,
    plan_with,
    planner_of,
    policy,
)

NS = 1_000_000_000
NOON = at("2026-11-24T12:00:00+00:00")
OFFICE = {"time_window": {"start": "09:00", "end": "17:00"}}
FULL = manifest(
    actions=[action("order.read"), action("order.refund", risk_tier="medium"), action("user.read")],
    capabilities=[
        {"capability_id": "orders", "name": "Orders", "actions": ["order.read", "order.refund"]},
        {"capability_id": "users", "name": "Users", "actions": ["user.read"]},
        {"capability_id": "nothing", "name": "Nothing"},
    ],
    policies=[
        policy("calm", "allow", conditions={"risk_tiers": ["low", "medium"], **OFFICE}),
        policy("bots", "deny", actions=["order.refund"], conditions={"agents": ["bot-*"]}),
        policy("abroad", "deny", actions=["user.*"], conditions={"context_matches": {"region": "us"}}),
    ],
    context_blocks=[block("always"), block("hinted", keywords=["never said"])],
)
OTHER = manifest(
    atlas_id="com.example.other",
    actions=[action("mail.send")],
    policies=[policy("ok", "allow")],
    context_blocks=[block("other")],
)
USUAL: dict[str, Any] = {"agent_id": "human", "wall_ns": NOON, "context": {"region": "eu"}}
AGENTS = ("human", "bot-1")
TIERS = ("low", "medium", "high")


def shown(plan: Plan) -> dict[str, Any]:
    """Return all that a plan answers."""
    outcome = plan.usual
    blocks = ",".join(plan.selector.select("a goal").block_jsons)
    text = f"{{{outcome.json_before_context}[{blocks}]{outcome.json_after_context}}}"
    result: dict[str, Any] = json.loads(text)
    return result


# Bad input


@pytest.mark.parametrize(
    ("facts", "code", "pointer"),
    [
        (
            {"required_capabilities": ("orders", "lost")},
            "capability_not_found",
            "/task/required_capabilities/1",
        ),
        (
            {"required_capabilities": ("orders",), "atlas_ids": ("com.example.other",)},
            "capability_not_found",
            None,
        ),
        ({"atlas_ids": ("com.example.shop", "com.example.lost")}, "atlas_not_found", "/atlas_ids/1"),
    ],
)
def test_what_is_not_loaded_is_not_found(facts: dict[str, Any], code: str, pointer: str | None) -> None:
    planner = planner_of(FULL, OTHER)
    for _ in range(2):
        with pytest.raises(NotFound) as caught:
            plan_with(planner, **facts)
        assert caught.value.code == code
        if pointer is not None:
            assert caught.value.details["pointer"] == pointer


def test_unloading_what_is_not_loaded_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        planner_of(FULL).unloading("com.example.other")
    assert (caught.value.code, caught.value.details["pointer"]) == ("atlas_not_found", "/atlas_id")


def test_schemas_that_were_compiled_at_the_check_are_not_compiled_again() -> None:
    names = ("parameters_schema", "returns_schema")
    atlas = load(actions=[action("a.a"), action("a.b", **{name: {"type": "object"} for name in names})])
    given = {f"/actions/1/{name}": compile_schema({"type": "object"}) for name in names}
    compiled = CompiledAtlas(atlas, validators=given).actions[1]
    assert [compiled.validator, compiled.returns] == list(given.values())


def test_an_action_of_another_loaded_atlas_is_refused_and_nothing_changes() -> None:
    planner = planner_of(FULL)
    rival = load(atlas_id="com.example.rival", actions=[action("a.b"), action("user.read")])
    with pytest.raises(InvalidInput) as caught:
        planner.loading(CompiledAtlas(rival))
    assert caught.value.code == "duplicate_action"
    assert caught.value.details["pointer"] == "/actions/1/action_id"
    assert caught.value.details["atlas_id"] == "com.example.rival"
    assert list(planner.catalogue.atlases) == ["com.example.shop"]


# PROTOCOL 0.3.7
def test_too_many_actions_of_all_atlases_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cra_wasm.carp.catalogue.MAX_CANDIDATES", 4)
    planner = planner_of(FULL).loading(
        CompiledAtlas(load(atlas_id="com.example.other", actions=[action("a.b")]))
    )
    with pytest.raises(InvalidInput) as caught:
        planner.loading(CompiledAtlas(load(atlas_id="com.example.third", actions=[action("a.c")])))
    assert (caught.value.code, caught.value.details["pointer"]) == ("too_many_actions", "/actions")
    # One atlas replaced is not counted twice.
    planner.loading(CompiledAtlas(load(actions=[action(f"n.n{index}") for index in range(3)])))


# The key


@pytest.mark.parametrize(
    "change",
    [
        {"agent_id": "bot-1"},
        {"risk_tier": "high"},
        {"context": {"region": "us"}},
        {"context": None},
        {"context": {"region": ["eu"]}},
        {"required_capabilities": ("orders",)},
        {"required_capabilities": ("nothing",)},
        {"context_hints": ("hinted",)},
        {"context_hints": ("never said",)},
        {"atlas_ids": ("com.example.shop",)},
        {"atlas_ids": ("com.example.other",)},
        {"atlas_ids": ()},
        {"wall_ns": at("2026-11-24T17:00:00+00:00")},
        {"wall_ns": at("2026-11-24T08:59:59+00:00")},
    ],
)
def test_each_fact_changes_the_answer_and_changing_it_back_gives_the_first_again(
    change: dict[str, Any],
) -> None:
    planner = planner_of(FULL, OTHER)
    before = shown(plan_with(planner, **USUAL))
    changed = shown(plan_with(planner, **{**USUAL, **change}))
    assert changed != before
    assert changed == shown(plan_with(planner_of(FULL, OTHER), **{**USUAL, **change}))
    assert shown(plan_with(planner, **USUAL)) == before


@pytest.mark.parametrize(
    "change",
    [
        {"agent_id": "other-human"},
        {"context": {"region": "eu", "not looked at": 5}},
        {"wall_ns": at("2026-11-24T16:59:59+00:00")},
    ],
)
def test_what_no_policy_looks_at_shares_a_plan(change: dict[str, Any]) -> None:
    planner = planner_of(FULL, OTHER)
    assert plan_with(planner, **USUAL) is plan_with(planner, **{**USUAL, **change})


def test_a_plan_is_made_anew_when_its_window_ends_and_when_the_clock_steps_behind_it() -> None:
    planner = planner_of(FULL)
    closing = at("2026-11-24T17:00:00+00:00")
    plan = plan_with(planner, **{**USUAL, "wall_ns": closing - 1})
    assert plan.valid_until_ns == closing
    assert answers(plan)["order.read"] == ("calm", None)
    assert answers(plan_with(planner, **{**USUAL, "wall_ns": closing}))["order.read"][0] == "default-deny"
    assert answers(plan_with(planner, **{**USUAL, "wall_ns": closing - 1}))["order.read"] == ("calm", None)


def test_a_plan_without_windows_holds_for_ever() -> None:
    planner = planner_of(OTHER)
    plan = plan_with(planner, wall_ns=NOON)
    assert plan.valid_until_ns is None
    assert plan_with(planner, wall_ns=0) is plan_with(planner, wall_ns=NOON * 2) is plan


def test_the_window_of_a_context_block_ends_a_plan() -> None:
    planner = planner_of(manifest(context_blocks=[block("day", conditions=OFFICE)]))
    assert len(plan_with(planner, wall_ns=NOON).selector.select("x").blocks) == 1
    evening = plan_with(planner, wall_ns=at("2026-11-24T17:00:00+00:00"))
    assert evening.selector.select("x").blocks == ()


FACTS = st.fixed_dictionaries(
    {
        "agent_id": st.sampled_from(["human", "bot-1", "bot-"]),
        "risk_tier": st.sampled_from(["low", "medium", "high", "critical"]),
        "context": st.sampled_from([None, {}, {"region": "eu"}, {"region": "us"}, {"region": 5}]),
        "required_capabilities": st.sampled_from([(), ("orders",), ("users", "orders"), ("nothing",)]),
        "context_hints": st.sampled_from([(), ("hinted",), ("x",)]),
        "atlas_ids": st.sampled_from(
            [None, ("com.example.shop",), ("com.example.other", "com.example.shop")]
        ),
        "wall_ns": st.integers(0, 48).map(lambda half_hours: NOON + half_hours * 1800 * NS),
    }
)


@settings(max_examples=40)
@given(st.lists(FACTS, min_size=2, max_size=30))
def test_a_planner_that_has_seen_everything_answers_like_a_new_one(asked: list[dict[str, Any]]) -> None:
    planner = planner_of(FULL, OTHER)
    for facts in asked:
        assert shown(plan_with(planner, **facts)) == shown(plan_with(planner_of(FULL, OTHER), **facts))


# Bounds


def test_the_number_of_plans_is_bounded_and_dropping_the_oldest_half_changes_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner_module, "PLANS_KEPT", 4)
    planner = planner_of(FULL)
    questions = [{**USUAL, "agent_id": one, "risk_tier": tier} for tier in TIERS for one in AGENTS]
    plans = [plan_with(planner, **one) for one in questions[:4]]
    assert [plan_with(planner, **one) for one in questions[:4]] == plans
    plans += [plan_with(planner, **one) for one in questions[4:]]
    assert list(planner.plans.values()) == plans[2:]
    assert shown(plan_with(planner, **questions[0])) == shown(plans[0])
    assert len(planner.plans) == 3


def test_256_plans_are_kept() -> None:
    planner = planner_of(manifest())
    for kind in range(256):
        planner.plan_for("bot", kind, "low", None, 0)
    assert len(planner.plans) == 256
    planner.plan_for("bot", 256, "low", None, 0)
    assert len(planner.plans) == 129


def test_a_plan_that_is_made_anew_takes_no_room_and_counts_as_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner_module, "PLANS_KEPT", 4)
    planner = planner_of(FULL)
    plan_with(planner, **USUAL)
    kept = [plan_with(planner, **{**USUAL, "agent_id": "bot-1", "risk_tier": tier}) for tier in TIERS]
    anew = plan_with(planner, **{**USUAL, "wall_ns": at("2026-11-24T17:00:00+00:00")})
    assert list(planner.plans.values()) == [*kept, anew]


def test_a_context_value_that_is_not_given_matches_no_glob() -> None:
    by_region = policy("abroad", "allow", conditions={"context_matches": {"region": "eu-*"}})
    planner = planner_of(manifest(actions=[action("a.b")], policies=[by_region]))
    for context in (None, {}, {"region": None}, {"region": "us-1"}):
        assert answers(plan_with(planner, context=context)) == {"a.b": ("default-deny", "no_matching_policy")}
    assert answers(plan_with(planner, context={"region": "eu-1"})) == {"a.b": ("abroad", None)}


def test_the_number_of_variants_is_bounded_and_dropping_them_changes_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan_module, "_VARIANTS_KEPT", 3)
    limits = [
        policy(f"rate{n}", "rate_limit", actions=["a.b"], parameters={"max_calls": n, "window_seconds": 1})
        for n in range(1, 6)
    ]
    planner = planner_of(manifest(actions=[action("a.b")], policies=[policy("ok", "allow"), *limits]))
    plan = plan_with(planner)
    assert plan.usual.verdicts[0].allowed
    for n in range(1, 6):
        full = frozenset({("com.example.shop", f"rate{n}")})
        assert plan.variant(full).verdicts[0].policy_id == f"rate{n}"
        assert plan.variant(full) is plan.variant(full)
        assert len(plan._variants) <= 3
    assert plan.usual.verdicts[0].allowed


def test_each_kind_of_agent_has_a_number_of_its_own_and_none_is_used_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner_module, "_AGENT_KINDS_KEPT", 4)
    kinds = ["a", "b", "c", "d", "e", "f"]
    policies = [policy(one, "allow", conditions={"agents": [f"{one}-*"]}) for one in kinds]
    planner = planner_of(manifest(actions=[action("a.b")], policies=policies))
    first = [planner.agent_kind(f"{one}-1") for one in kinds[:4]]
    assert [planner.agent_kind(f"{one}-2") for one in kinds[:4]] == first
    later = [planner.agent_kind(f"{one}-1") for one in (*kinds[4:], *kinds[:2])]
    assert len({*first, *later}) == 8
    assert len(planner._agent_kinds) == 4


# Loading


def test_unloading_takes_actions_policies_context_and_capabilities_along() -> None:
    planner = planner_of(FULL, OTHER).unloading("com.example.shop")
    assert shown(plan_with(planner, **USUAL)) == shown(plan_with(planner_of(OTHER), **USUAL))
    assert planner.catalogue.context_globs == planner.catalogue.agent_globs == ()
    with pytest.raises(NotFound):
        plan_with(planner, required_capabilities=("orders",))


def test_loading_an_atlas_again_replaces_it_in_its_place() -> None:
    first = planner_of(FULL, OTHER)
    changed = manifest(actions=[action("order.read")], policies=[policy("none", "deny")])
    (atlas,) = planner_of(changed).catalogue.atlases.values()
    second = first.loading(atlas)
    assert answers(plan_with(second, **USUAL)) == {
        "order.read": ("none", "denied_by_policy"),
        "mail.send": ("ok", None),
    }
    assert "user.read" in answers(plan_with(first, **USUAL))


def test_candidates_stand_in_loading_order_then_manifest_order_whatever_order_is_asked() -> None:
    planner = planner_of(OTHER, FULL)
    names = ["mail.send", "order.read", "order.refund", "user.read"]
    assert list(answers(plan_with(planner))) == names
    asked = ("com.example.shop", "com.example.other", "com.example.shop")
    assert list(answers(plan_with(planner, atlas_ids=asked))) == names


def test_required_capabilities_are_joined_and_an_empty_one_brings_nothing() -> None:
    planner = planner_of(FULL, OTHER)
    wanted = ("users", "nothing", "orders")
    assert list(answers(plan_with(planner, required_capabilities=wanted))) == [
        "order.read",
        "order.refund",
        "user.read",
    ]
    decision = plan_with(planner, required_capabilities=("nothing",)).usual.decision
    assert (decision.type, decision.reason) == ("deny", "no_candidates")


def test_no_atlas_at_all_denies() -> None:
    plan = plan_with(Planner(Catalogue(), TTL_SECONDS))
    assert plan.usual.decision.type == "deny"
    assert plan.usual.verdicts == ()


def test_an_action_is_told_as_its_atlas_has_it_and_its_schemas_are_compiled_if_nothing_did_before() -> None:
    of_order = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
    members = {
        "action_id": "order.read",
        "name": "Read",
        "description": "Read an order",
        "parameters_schema": of_order,
        "returns_schema": {"type": "integer"},
        "risk_tier": "high",
        "requires_confirmation": True,
        "idempotent": True,
        "rate_limit": {"max_calls": 2, "window_seconds": 60},
    }
    told, plain = CompiledAtlas(load(actions=[members, action("order.list")])).actions
    assert told.part.to_dict() == json.loads(told.json) == members
    assert (json.loads(told.id_json), told.atlas_id) == ("order.read", "com.example.shop")
    assert told.returns is not None
    assert [one.pointer for one in told.returns.errors("text", pointer="/result")] == ["/result"]
    assert [one.keyword for one in told.validator.errors({})] == ["required"]
    assert told.validator.errors({"order_id": "7"}) == told.returns.errors(7) == []
    assert plain.returns is None
    assert plain.validator.errors({"anything": 1}) == []
    assert [one.keyword for one in plain.validator.errors([])] == ["type"]
