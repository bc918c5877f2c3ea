"""The verdict on one action: the first of six steps that hits, and fail closed in each."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from cra_wasm.carp.conditions import Facts
from cra_wasm.carp.decision import (
    CompiledPolicy,
    Governing,
    Subject,
    Verdict,
    by_priority,
    decide,
    governing_of,
    higher_tier,
)
from cra_wasm.carp.limits import limit_of_action

from .building import action, answers, at, load, manifest, plan_with, planner_of, policy

UNKNOWN = {"context_matches": {"absent": "*"}}
NEVER = {"agents": ["nobody"]}
NONE = Governing(())
SUBJECT = Subject(
    action_id="order.refund", risk_tier="low", capabilities=frozenset({"orders"}), governing=NONE
)

RATE = {"parameters": {"max_calls": 1, "window_seconds": 60}}
BUDGET = {"parameters": {"max_calls": 1}}
NARROW = {"parameters": {"actions": ["order.read"]}}
STEPS: dict[str, tuple[dict[str, Any], str | None]] = {
    "deny": ({}, "denied_by_policy"),
    "require_approval": ({}, "requires_approval"),
    "rate_limit": (RATE, "rate_limit_exceeded"),
    "budget": (BUDGET, "budget_exceeded"),
    "allow": ({}, None),
}


def verdict(
    *policies: dict[str, Any],
    subject: Subject = SUBJECT,
    tier: str = "low",
    exhausted: frozenset[str] | None = None,
    approved: bool = False,
) -> Verdict:
    """Decide with every limit full, unless told which are."""
    atlas = load(policies=policies, capabilities=[{"capability_id": "orders", "name": "Orders"}])
    ids = frozenset([subject.action_id])
    compiled = by_priority(CompiledPolicy(atlas.atlas_id, one, ids) for one in atlas.policies)
    governed = replace(subject, governing=governing_of(compiled, ids)[subject.action_id])
    facts = Facts(agent_id="bot-1", risk_tier=tier, wall_ns=0)
    full = frozenset(one.policy_id for one in atlas.policies) if exhausted is None else exhausted
    found = decide(governed, facts, full, approved=approved)
    assert found.action_id == subject.action_id
    return found


def test_without_a_policy_the_default_denies() -> None:
    assert verdict() == Verdict("order.refund", False, "default-deny", "no_matching_policy")


@pytest.mark.parametrize("kind", ["deny", "require_approval", "rate_limit", "budget", "scope"])
def test_an_allow_beside_any_restriction_that_acts_allows_nothing(kind: str) -> None:
    members = {"scope": NARROW, **{name: extra for name, (extra, _) in STEPS.items()}}[kind]
    assert not verdict(policy("yes", "allow"), policy("no", kind, **members)).allowed


@pytest.mark.parametrize("kind", ["deny", "require_approval", "rate_limit", "budget", "scope"])
def test_a_restriction_that_cannot_be_told_acts(kind: str) -> None:
    members = {"scope": NARROW, **{name: extra for name, (extra, _) in STEPS.items()}}[kind]
    found = verdict(policy("yes", "allow"), policy("no", kind, conditions=UNKNOWN, **members))
    assert (found.allowed, found.policy_id) == (False, "no")


@pytest.mark.parametrize("kind", ["deny", "require_approval", "rate_limit", "budget", "scope"])
def test_a_restriction_whose_conditions_are_false_does_nothing(kind: str) -> None:
    members = {"scope": NARROW, **{name: extra for name, (extra, _) in STEPS.items()}}[kind]
    found = verdict(policy("no", kind, conditions=NEVER, **members), policy("yes", "allow"))
    assert (found.allowed, found.policy_id, found.reason) == (True, "yes", None)


@pytest.mark.parametrize("conditions", [UNKNOWN, NEVER])
def test_an_allow_that_does_not_hold_or_cannot_be_told_does_not_allow(conditions: dict[str, Any]) -> None:
    assert verdict(policy("yes", "allow", conditions=conditions)).policy_id == "default-deny"


@pytest.mark.parametrize(("first", "second"), list(combinations(STEPS, 2)))
def test_an_earlier_step_wins_over_any_priority_and_order(first: str, second: str) -> None:
    losing = policy("second", second, priority=1000, **STEPS[second][0])
    winning = policy("first", first, priority=-1000, **STEPS[first][0])
    found = verdict(losing, winning)
    assert (found.policy_id, found.reason) == ("first", STEPS[first][1])


@pytest.mark.parametrize("kind", STEPS)
def test_within_a_step_the_higher_priority_comes_first_then_manifest_order(kind: str) -> None:
    extra = STEPS[kind][0]
    policies = [policy(name, kind, priority=rank, **extra) for name, rank in [("a", 1), ("b", 2), ("c", 2)]]
    assert verdict(*policies).policy_id == "b"
    assert verdict(*policies[:1], *policies[:0:-1]).policy_id == "c"


@pytest.mark.parametrize(
    ("deny_priority", "policy_id", "reason"),
    [(1, "no", "denied_by_policy"), (-1, "narrow", "out_of_scope"), (0, "narrow", "out_of_scope")],
)
def test_scope_and_deny_are_one_step(deny_priority: int, policy_id: str, reason: str) -> None:
    found = verdict(policy("narrow", "scope", **NARROW), policy("no", "deny", priority=deny_priority))
    assert (found.policy_id, found.reason) == (policy_id, reason)


@pytest.mark.parametrize(
    ("parameters", "allowed"),
    [
        ({"actions": ["order.read"]}, False),
        ({"actions": []}, False),
        ({"capabilities": []}, False),
        ({"actions": ["order"]}, False),
        ({"actions": ["order.*"]}, True),
        ({"actions": ["x.y", "*.refund"]}, True),
        ({"capabilities": ["orders"]}, True),
        ({"actions": ["order.read"], "capabilities": ["orders"]}, True),
    ],
)
def test_a_scope_lists_by_glob_or_by_capability(parameters: dict[str, Any], allowed: bool) -> None:
    narrow = policy("narrow", "scope", parameters=parameters)
    assert verdict(policy("yes", "allow"), narrow).allowed is allowed


def test_a_scope_covers_by_capability_only_what_belongs_to_it() -> None:
    stranger = Subject(action_id="order.refund", risk_tier="low", capabilities=frozenset(), governing=NONE)
    narrow = policy("narrow", "scope", parameters={"capabilities": ["orders"]})
    assert verdict(policy("yes", "allow"), narrow, subject=stranger).reason == "out_of_scope"


def test_a_scope_says_nothing_of_actions_that_it_is_not_about() -> None:
    narrow = policy("narrow", "scope", actions=["user.*"], **NARROW)
    assert verdict(policy("yes", "allow"), narrow).allowed


def test_a_scope_does_not_allow_what_it_lists() -> None:
    found = verdict(policy("wide", "scope", parameters={"actions": ["*"]}))
    assert found.policy_id == "default-deny"


@pytest.mark.parametrize(
    ("globs", "allowed"), [([], False), (["order.read", "order"], False), (["x.*", "order.*"], True)]
)
def test_a_policy_is_about_the_actions_that_its_globs_match(globs: list[str], allowed: bool) -> None:
    assert verdict(policy("yes", "allow", actions=globs)).allowed is allowed


def test_conditions_on_capabilities_look_at_those_of_the_action() -> None:
    yes = policy("yes", "allow", conditions={"capabilities": ["orders"]})
    stranger = Subject(
        action_id="order.refund", risk_tier="low", capabilities=frozenset({"users"}), governing=NONE
    )
    assert verdict(yes).allowed
    assert not verdict(yes, subject=stranger).allowed


@pytest.mark.parametrize("of_task", ["low", "medium", "high", "critical"])
@pytest.mark.parametrize("of_action", ["low", "medium", "high", "critical"])
def test_the_higher_tier_of_task_and_action_counts(of_task: str, of_action: str) -> None:
    tiers = ["low", "medium", "high", "critical"]
    effective = tiers[max(tiers.index(of_task), tiers.index(of_action))]
    assert higher_tier(of_task, of_action) == higher_tier(of_action, of_task) == effective
    subject = Subject(action_id="order.refund", risk_tier=of_action, capabilities=frozenset(), governing=NONE)
    for tier in tiers:
        yes = policy("yes", "allow", conditions={"risk_tiers": [tier]})
        assert verdict(yes, subject=subject, tier=of_task).allowed is (tier == effective)


def test_only_limits_that_are_exhausted_deny() -> None:
    policies = [
        policy("yes", "allow"),
        policy("rate", "rate_limit", **RATE),
        policy("sum", "budget", **BUDGET),
    ]
    assert verdict(*policies, exhausted=frozenset()).allowed
    assert verdict(*policies, exhausted=frozenset({"sum"})).reason == "budget_exceeded"
    assert verdict(*policies, exhausted=frozenset({"yes", "other"})).allowed


def test_a_deny_tells_its_own_reason_and_a_scope_does_not() -> None:
    reason = {"reason": "ask your manager"}
    assert verdict(policy("no", "deny", parameters=reason)).reason == "ask your manager"
    narrow = {"actions": ["order.read"], **reason}
    assert verdict(policy("narrow", "scope", parameters=narrow)).reason == "out_of_scope"


def test_an_approval_skips_only_its_own_step() -> None:
    ask, yes = policy("ask", "require_approval"), policy("yes", "allow")
    assert verdict(ask, yes, exhausted=frozenset()).awaits_approval
    assert verdict(ask, yes, exhausted=frozenset(), approved=True).allowed
    assert verdict(ask, approved=True).policy_id == "default-deny"
    assert verdict(ask, yes, policy("no", "deny"), approved=True).policy_id == "no"
    assert verdict(ask, yes, policy("rate", "rate_limit", **RATE), approved=True).policy_id == "rate"


def test_a_deny_whose_reason_reads_like_an_approval_awaits_none() -> None:
    members = {"parameters": {"reason": "requires_approval"}}
    assert not verdict(policy("no", "deny", **members)).awaits_approval
    planner = planner_of(
        manifest(actions=[action("order.refund")], policies=[policy("no", "deny", **members)])
    )
    decision = plan_with(planner).usual.decision
    assert (decision.type, decision.reason) == ("deny", "requires_approval")


def test_a_policy_governs_only_the_actions_of_its_own_atlas() -> None:
    planner = planner_of(
        manifest(actions=[action("order.refund")], policies=[policy("p", "deny")]),
        manifest(
            atlas_id="com.example.other", actions=[action("user.read")], policies=[policy("p", "allow")]
        ),
    )
    assert answers(plan_with(planner)) == {
        "order.refund": ("p", "denied_by_policy"),
        "user.read": ("p", None),
    }


@pytest.mark.parametrize(
    ("kinds", "decision"),
    [
        ([], ("deny", "no_candidates")),
        (["allow", "allow"], ("allow", None)),
        (["allow", "deny"], ("partial", None)),
        (["allow", "require_approval"], ("partial", None)),
        (["deny", "require_approval"], ("requires_approval", "requires_approval")),
        (["deny", "deny"], ("deny", "denied_by_policy")),
        (["deny", None], ("deny", "no_action_allowed")),
        ([None], ("deny", "no_matching_policy")),
    ],
)
def test_the_decision_sums_up_the_candidates(
    kinds: list[str | None], decision: tuple[str, str | None]
) -> None:
    names = [f"a.n{index}" for index in range(len(kinds))]
    policies = [
        policy(name, kind, actions=[name])
        for name, kind in zip(names, kinds, strict=True)
        if kind is not None
    ]
    planner = planner_of(manifest(actions=[action(name) for name in names], policies=policies))
    outcome = plan_with(planner).usual
    assert (outcome.decision.type, outcome.decision.reason) == decision
    assert [one.action_id for one in outcome.allowed_actions] == [
        name for name, kind in zip(names, kinds, strict=True) if kind == "allow"
    ]


def test_an_unknown_timezone_closes_an_allow_and_keeps_a_deny() -> None:
    lost = {"time_window": {"start": "00:00", "end": "00:00", "timezone": "Mars/Olympus"}}
    open_all_day = {"time_window": {"start": "00:00", "end": "00:00"}}
    noon = at("2026-11-24T12:00:00+00:00")
    for kind, conditions, allowed in [
        ("allow", lost, False),
        ("allow", open_all_day, True),
        ("deny", lost, False),
        ("deny", open_all_day, False),
    ]:
        policies = [policy("p", kind, conditions=conditions)]
        if kind == "deny":
            policies.append(policy("yes", "allow"))
        planner = planner_of(manifest(actions=[action("a.b")], policies=policies))
        assert plan_with(planner, wall_ns=noon).usual.verdicts[0].allowed is allowed


def test_an_action_past_its_own_limit_is_denied() -> None:
    own = action("order.refund", rate_limit={"max_calls": 1, "window_seconds": 60})
    subject = replace(SUBJECT, own_limit=limit_of_action("shop", load(actions=[own]).actions[0]))
    name = "order.refund#rate_limit"
    found = verdict(policy("yes", "allow"), subject=subject, exhausted=frozenset({name}))
    assert found == Verdict("order.refund", False, name, "rate_limit_exceeded")
