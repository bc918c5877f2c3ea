"""Generated policies and facts: the compiled plan answers what the slow reading of the protocol answers."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from . import reference_evaluator as reference
from .building import action, at, manifest, plan_with, planner_of

ACTION_IDS = ["order.read", "order.refund", "user.order.delete", "user.read"]
CAPABILITIES = ["orders", "users"]
GLOBS = ["*", "order.*", "*.read", "user.*.delete", "order.refund", "*.order.*"]
AGENTS = ["bot-1", "bot-", "human"]
CONTEXTS = [{}, {"region": "eu-1"}, {"region": "us"}, {"region": 5}, {"region": True}, {"region": None}]
CONTEXTS.append({"region": "eu-" + "x" * 1022})
FRIDAY = at("2026-11-27T00:00:00+00:00")


def subset(values: list[str], min_size: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True, min_size=min_size, max_size=3)


CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "risk_tiers": subset(reference.TIERS),
        "agents": subset(["bot-*", "human", "*-1"]),
        "capabilities": subset(CAPABILITIES),
        "context_matches": st.dictionaries(
            st.sampled_from(["region", "other"]),
            st.sampled_from(["eu-*", "us", "5", "true", "*"]),
            max_size=1,
        ),
        "time_window": st.fixed_dictionaries(
            {
                "start": st.sampled_from(["00:00", "09:00", "22:00"]),
                "end": st.sampled_from(["00:00", "06:00", "17:00", "22:00"]),
            },
            optional={
                "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Mars/Olympus"]),
                "days": subset(["thu", "fri", "sat"]),
            },
        ),
    },
)
PARAMETERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "allow": st.just({}),
    "deny": st.sampled_from([{}, {"reason": "because"}, {"reason": "requires_approval"}]),
    "require_approval": st.just({}),
    "rate_limit": st.just({"max_calls": 1, "window_seconds": 60}),
    "budget": st.just({"max_calls": 1}),
    "scope": st.fixed_dictionaries(
        {"actions": subset(GLOBS)}, optional={"capabilities": subset(CAPABILITIES)}
    ),
}


@st.composite
def policies(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for index in range(draw(st.integers(0, 5))):
        # More limits and allows than there are of the others, which deny almost everything at once.
        kind = draw(st.sampled_from([*PARAMETERS, "allow", "allow", "rate_limit", "budget"]))
        one: dict[str, Any] = {"policy_id": f"p{index}", "type": kind, "parameters": draw(PARAMETERS[kind])}
        if draw(st.integers(0, 2)) == 0:
            one["actions"] = draw(subset(GLOBS))
        if draw(st.booleans()):
            one["priority"] = draw(st.integers(-1, 1))
        if draw(st.integers(0, 2)) == 0:
            one["conditions"] = draw(CONDITIONS)
        made.append(one)
    return made


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    actions = []
    for name in ACTION_IDS[: draw(st.integers(1, len(ACTION_IDS)))]:
        own = {"rate_limit": {"max_calls": 1, "window_seconds": 60}} if draw(st.booleans()) else {}
        actions.append(action(name, risk_tier=draw(st.sampled_from(reference.TIERS)), **own))
    named = [one["action_id"] for one in actions]
    capabilities = [
        {"capability_id": name, "name": name, "actions": draw(subset(named))} for name in CAPABILITIES
    ]
    return manifest(actions=actions, capabilities=capabilities, policies=draw(policies()))


FACTS = st.fixed_dictionaries(
    {
        "agent_id": st.sampled_from(AGENTS),
        "risk_tier": st.sampled_from(reference.TIERS),
        "context": st.sampled_from(CONTEXTS),
        "wall_ns": st.integers(0, 95).map(lambda quarters: FRIDAY + quarters * 900 * 10**9),
    }
)
FULL = st.just(frozenset(range(9))) | st.frozensets(st.integers(0, 9))
REQUIRED = st.sampled_from([(), ("orders",), ("users", "orders")])


@settings(max_examples=400)
@given(manifests(), st.lists(st.tuples(FACTS, REQUIRED, FULL), min_size=1, max_size=3))
def test_a_plan_answers_what_the_protocol_says(
    atlas: dict[str, Any], asked: list[tuple[dict[str, Any], tuple[str, ...], frozenset[int]]]
) -> None:
    planner = planner_of(atlas)
    limits = [one["policy_id"] for one in atlas["policies"] if one["type"] in ("rate_limit", "budget")]
    limits += [f"{one['action_id']}#rate_limit" for one in atlas["actions"] if "rate_limit" in one]
    awaiting = {one["policy_id"] for one in atlas["policies"] if one["type"] == "require_approval"}
    for facts, required, chosen in asked:
        full = {name for index, name in enumerate(limits) if index in chosen}
        plan = plan_with(planner, **facts, required_capabilities=required)
        variant = plan.variant(frozenset((atlas["atlas_id"], name) for name in full))
        expected = {
            one["action_id"]: reference.verdict(atlas, one, facts, full)
            for one in reference.candidates(atlas, list(required))
        }
        assert {one.action_id: (one.policy_id, one.reason) for one in variant.verdicts} == expected
        assert [one.action_id for one in variant.verdicts] == list(expected)
        outcome = variant
        assert outcome.decision.type == reference.decision(list(expected.values()), awaiting)
        allowed = [name for name, (_, reason) in expected.items() if reason is None]
        assert [one.action_id for one in outcome.allowed_actions] == allowed
        assert {one.action_id for one in outcome.denied_actions} == set(expected) - set(allowed)


@settings(max_examples=100)
@given(manifests(), FACTS)
def test_an_answer_holds_until_the_moment_that_the_plan_and_the_resolution_name(
    atlas: dict[str, Any], facts: dict[str, Any]
) -> None:
    plan = plan_with(planner_of(atlas), **facts)
    now = facts["wall_ns"]
    quarter = 900 * 10**9

    def answers(wall_ns: int) -> list[tuple[str, str | None]]:
        return [
            reference.verdict(atlas, one, {**facts, "wall_ns": wall_ns}, set()) for one in atlas["actions"]
        ]

    first = answers(now)
    changes = next((at for at in range(now, now + 96 * quarter, quarter) if answers(at) != first), None)
    for until in (plan.valid_until_ns, plan.usual.expires_wall_ns):
        if changes is not None:
            assert until is not None
            assert now < until <= changes
