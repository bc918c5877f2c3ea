"""One plan: when its answers end, which limits it asks, what it constrains, which context comes with it."""

from __future__ import annotations

from typing import Any

import pytest

from cra_wasm.carp.limits import Ledger

from .building import action, answers, at, block, manifest, plan_with, planner_of, policy

NS = 1_000_000_000
NOON = at("2026-11-24T12:00:00+00:00")
OFFICE = {"time_window": {"start": "09:00", "end": "17:00"}}


# When a resolution ends


def expiry(*policies: dict[str, Any], wall_ns: int = NOON, **facts: Any) -> int | None:
    planner = planner_of(manifest(actions=[action("a.b")], policies=policies))
    return plan_with(planner, wall_ns=wall_ns, **facts).usual.expires_wall_ns


def test_a_resolution_ends_with_the_first_window_that_bears_on_a_candidate() -> None:
    ends = at("2026-11-24T17:00:00+00:00")
    assert expiry(policy("ok", "allow")) is None
    assert expiry(policy("ok", "allow", conditions=OFFICE)) == ends
    assert expiry(policy("ok", "allow", actions=["other"], conditions=OFFICE)) is None
    assert expiry(policy("ok", "allow", conditions={**OFFICE, "agents": ["nobody"]})) is None


@pytest.mark.parametrize(
    "hidden",
    [
        policy("rate", "rate_limit", parameters={"max_calls": 1, "window_seconds": 1}, conditions=OFFICE),
        policy("sum", "budget", parameters={"max_calls": 1}, conditions=OFFICE),
        policy("day", "allow", conditions=OFFICE),
    ],
)
def test_a_window_that_only_an_execute_asks_ends_the_resolution_too(hidden: dict[str, Any]) -> None:
    early = at("2026-11-24T08:59:30+00:00")
    policies = [policy("ask", "require_approval"), hidden]
    assert expiry(*policies, wall_ns=early) == at("2026-11-24T09:00:00+00:00")
    assert expiry(*policies, wall_ns=NOON) == at("2026-11-24T17:00:00+00:00")


def test_what_was_asked_of_a_plan_before_does_not_change_when_its_answers_end() -> None:
    rate = policy("rate", "rate_limit", parameters={"max_calls": 1, "window_seconds": 1}, conditions=OFFICE)
    planner = planner_of(manifest(actions=[action("a.b")], policies=[policy("ok", "allow"), rate]))
    plan = plan_with(planner, wall_ns=NOON)
    before = plan.usual
    plan.limits_on(plan.candidates[0])
    after = plan.variant(frozenset({("com.example.shop", "rate")}))
    assert before.decision.expires_at == after.decision.expires_at == "2026-11-24T17:00:00.000000Z"


# Limits


def test_a_call_takes_from_rate_limits_before_budgets_as_its_verdict_does() -> None:
    policies = [
        policy("sum", "budget", priority=9, parameters={"max_calls": 1}),
        policy("later", "rate_limit", parameters={"max_calls": 1, "window_seconds": 1}),
        policy("rate", "rate_limit", priority=1, parameters={"max_calls": 1, "window_seconds": 1}),
        policy("elsewhere", "rate_limit", actions=["x.*"], parameters={"max_calls": 1, "window_seconds": 1}),
        policy("ok", "allow"),
    ]
    own = action("a.b", rate_limit={"max_calls": 1, "window_seconds": 1})
    plan = plan_with(planner_of(manifest(actions=[own], policies=policies)))
    order = ["a.b#rate_limit", "rate", "later", "sum"]
    assert [limit.policy_id for limit in plan.limits_on(plan.candidates[0])] == order
    full = {("com.example.shop", name) for name in order}
    for name in order:
        assert plan.variant(frozenset(full)).verdicts[0].policy_id == name
        full.discard(("com.example.shop", name))
    assert plan.variant(frozenset(full)).verdicts[0].allowed


def test_only_the_caller_whose_account_is_full_is_told_so() -> None:
    rate = policy("rate", "rate_limit", parameters={"max_calls": 1, "window_seconds": 60})
    planner = planner_of(manifest(actions=[action("a.b")], policies=[policy("ok", "allow"), rate]))
    plan, ledger = plan_with(planner), Ledger()
    (limit,) = plan.limits.values()
    ledger.take(limit, limit.account("agent-1", "s"), 0, 0.0)
    assert plan.variant_now(ledger, "agent-1", "s", 1).verdicts[0].reason == "rate_limit_exceeded"
    assert plan.variant_now(ledger, "agent-2", "s", 1) is plan.usual
    assert plan.variant_now(ledger, "agent-1", "s", 60 * NS) is plan.usual
    assert not ledger.full


def test_a_limit_that_never_fits_is_full_from_the_start() -> None:
    none = policy("none", "budget", parameters={"max_cost": 1, "cost": 2})
    planner = planner_of(manifest(actions=[action("a.b")], policies=[policy("ok", "allow"), none]))
    assert answers(plan_with(planner)) == {"a.b": ("none", "budget_exceeded")}
    assert plan_with(planner).variant_now(Ledger(), "agent-1", "s", 0).verdicts[0].reason == "budget_exceeded"


def test_constraints_name_each_limit_window_scope_and_approval_over_the_candidates() -> None:
    policies = [
        policy("rate", "rate_limit", parameters={"max_calls": 2, "window_seconds": 60}),
        policy("ask", "require_approval", actions=["a.c"]),
        policy("day", "allow", conditions=OFFICE),
        policy("narrow", "scope", parameters={"actions": ["a.*"]}),
        policy("no", "deny", actions=["x"]),
    ]
    own = action("a.b", rate_limit={"max_calls": 1, "window_seconds": 1})
    planner = planner_of(manifest(actions=[own, action("a.c")], policies=policies))
    outcome = plan_with(planner, wall_ns=NOON).usual
    assert [one.to_dict() for one in outcome.constraints] == [
        {
            "constraint_id": "a.b#rate_limit",
            "type": "rate_limit",
            "parameters": {"max_calls": 1, "window_seconds": 1, "actions": ["a.b"]},
        },
        {
            "constraint_id": "rate",
            "type": "rate_limit",
            "parameters": {"max_calls": 2, "window_seconds": 60, "actions": ["a.b", "a.c"]},
        },
        {"constraint_id": "ask", "type": "require_approval", "parameters": {"actions": ["a.c"]}},
        {
            "constraint_id": "day",
            "type": "time_window",
            "parameters": {"start": "09:00", "end": "17:00", "timezone": "UTC", "actions": ["a.b"]},
        },
        {
            "constraint_id": "narrow",
            "type": "scope",
            "parameters": {"allowed": {"actions": ["a.*"]}, "actions": ["a.b", "a.c"]},
        },
    ]


def test_a_limit_or_a_scope_constrains_only_the_actions_for_which_its_conditions_may_hold() -> None:
    twice = {"max_calls": 2, "window_seconds": 60}
    policies = [
        policy("ok", "allow"),
        policy("bots", "rate_limit", parameters=twice, conditions={"agents": ["bot-*"]}),
        policy("risky", "budget", parameters={"max_calls": 5}, conditions={"risk_tiers": ["high"]}),
        policy("narrow", "scope", parameters={"actions": ["a.*"]}, conditions={"agents": ["bot-*"]}),
        policy("abroad", "scope", parameters={"actions": ["*"]}, conditions={"context_matches": {"r": "us"}}),
    ]
    actions = [action("a.b"), action("a.c", risk_tier="high")]
    planner = planner_of(manifest(actions=actions, policies=policies))

    def over(agent_id: str) -> dict[str, list[str]]:
        constraints = plan_with(planner, agent_id).usual.constraints
        return {one.constraint_id: one.parameters["actions"] for one in constraints}

    usual = {"risky": ["a.c"], "abroad": ["a.b", "a.c"]}
    assert over("human") == usual
    assert over("bot-1") == {**usual, "bots": ["a.b", "a.c"], "narrow": ["a.b", "a.c"]}


def test_context_comes_in_by_the_capabilities_and_the_actions_of_the_candidates() -> None:
    capabilities = [
        {"capability_id": "orders", "name": "Orders", "actions": ["order.read"]},
        {"capability_id": "users", "name": "Users", "actions": ["user.read"]},
    ]
    blocks = [
        block("of-orders", conditions={"capabilities": ["orders"]}),
        block("of-users", inject_when=["user.*"]),
    ]
    actions = [action("order.read"), action("user.read")]
    planner = planner_of(manifest(actions=actions, capabilities=capabilities, context_blocks=blocks))

    def injected(*required: str) -> list[str]:
        selected = plan_with(planner, required_capabilities=required).selector.select("a goal")
        return [one.block_id for one in selected.blocks]

    assert injected() == ["of-orders", "of-users"]
    assert injected("orders") == ["of-orders"]
    assert injected("users") == ["of-users"]
