"""Ways around a policy that were open once and must stay shut."""

from __future__ import annotations

from typing import Any

import pytest

from cra_wasm import InvalidState, Resolver
from cra_wasm.model.timestamps import parse_timestamp_ns
from cra_wasm.testing import FakeClock

ALLOW = {"policy_id": "all", "type": "allow"}
ASK = {"policy_id": "ask", "type": "require_approval"}
ACTION = {"action_id": "t.a", "name": "A", "description": ""}


def atlas(*policies: dict[str, Any], atlas_id: str = "test.shop", **action: Any) -> dict[str, Any]:
    return {
        "atlas_version": "1.0",
        "atlas_id": atlas_id,
        "version": "1.0.0",
        "name": "T",
        "description": "",
        "actions": [{**ACTION, **action}],
        "policies": list(policies),
    }


class Agent:
    """One session that calls one action."""

    def __init__(self, manifest: dict[str, Any], **options: Any) -> None:
        self.resolver = Resolver(**options)
        self.resolver.load_atlas(manifest)
        self.resolver.register_executor("t.a", lambda parameters: "ran")
        self.session_id = self.resolver.create_session("agent", "goal")

    def resolve(self, **options: Any) -> Any:
        return self.resolver.resolve(self.session_id, "goal", **options)

    def call(self, number: int = 0, resolution: Any = None) -> Any:
        resolution = resolution or self.resolve()
        return self.resolver.execute(self.session_id, resolution.resolution_id, "t.a", {"n": number})

    def grant(self, number: int = 0, **options: Any) -> None:
        approval_id = self.call(number).error["details"]["approval_id"]
        self.resolver.grant_approval(approval_id, approver="Ann", **options)


@pytest.mark.parametrize("level", [1, 1.0])
def test_another_spelling_of_a_number_does_not_escape_a_deny(level: float) -> None:
    deny = {"policy_id": "d", "type": "deny", "conditions": {"context_matches": {"level": "1"}}}
    assert Agent(atlas(ALLOW, deny)).resolve(context={"level": level}).decision.type == "deny"


def test_a_wall_clock_that_steps_back_does_not_prolong_a_time_window() -> None:
    clock = FakeClock(wall_ns=parse_timestamp_ns("2026-01-05T16:59:30Z"))
    office_hours = {"time_window": {"start": "09:00", "end": "17:00"}}
    agent = Agent(atlas({**ALLOW, "conditions": office_hours}), clock=clock)
    resolution = agent.resolve()
    clock.step_wall(-5 * 3600)
    assert agent.call(resolution=resolution).status == "success"
    clock.advance(30)
    with pytest.raises(InvalidState) as caught:
        agent.call(resolution=resolution)
    assert caught.value.code == "resolution_expired"


def test_a_grant_ends_with_the_atlas_whose_policy_asked_for_it() -> None:
    agent = Agent(atlas(ALLOW, ASK))
    agent.grant(uses=5)
    assert agent.call().status == "success"
    agent.resolver.unload_atlas("test.shop")
    agent.resolver.load_atlas(atlas(ALLOW, ASK, atlas_id="other.bank", risk_tier="critical"))
    assert agent.call().status == "pending_approval"


def test_grants_that_expired_unused_make_room_for_new_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cra_wasm.carp.approvals.APPROVALS_PER_SESSION", 3)
    clock = FakeClock()
    agent = Agent(atlas(ALLOW, ASK), clock=clock)
    for number in range(3):
        agent.grant(number, expires_in_seconds=1)
    with pytest.raises(InvalidState) as caught:
        agent.call(3)
    assert caught.value.code == "approvals_full"
    clock.advance(2)
    assert agent.call(3).status == "pending_approval"


def test_nobody_is_asked_to_approve_what_a_limit_denies_anyway() -> None:
    nothing = {"policy_id": "b", "type": "budget", "parameters": {"max_calls": 0}}
    answer = Agent(atlas(ALLOW, ASK, nothing)).call()
    assert (answer.status, answer.error["details"]["policy_id"]) == ("denied", "b")


def test_a_tighter_limit_of_a_replaced_atlas_counts_what_was_taken_before() -> None:
    def limit(calls: int) -> dict[str, Any]:
        parameters = {"max_calls": calls, "window_seconds": 1000}
        return {"policy_id": "rl", "type": "rate_limit", "parameters": parameters}

    agent = Agent(atlas(ALLOW, limit(10)))
    for _ in range(7):
        assert agent.call().status == "success"
    agent.resolver.load_atlas(atlas(ALLOW, limit(5)))
    assert agent.resolve().decision.type == "deny"


def test_a_denial_by_a_full_limit_says_when_to_come_again_also_if_resolve_saw_it() -> None:
    once = {"policy_id": "rl", "type": "rate_limit", "parameters": {"max_calls": 1, "window_seconds": 10}}
    clock = FakeClock()
    agent = Agent(atlas(ALLOW, once), clock=clock)
    early = agent.resolve()
    assert agent.call(resolution=early).status == "success"
    clock.advance(4)
    waits = [agent.call(resolution=seen).error["details"]["retry_after_ms"] for seen in (early, None)]
    assert waits == [6000, 6000]


def test_an_agent_cannot_choose_how_many_plans_are_kept() -> None:
    policy = {**ALLOW, "conditions": {"context_matches": {"where": "eu*"}}}
    agent = Agent(atlas(policy))
    agent.resolve(context={"where": "eu-1"})
    agent.resolve(context={"where": "us-1"})
    agent.resolve()
    plans = len(agent.resolver._planner.plans)
    for number in range(50):
        agent.resolve(context_hints=[f"hint {number}"], context={"where": f"eu-{number}"})
        agent.resolve(context={"where": f"us-{number}"})
    assert len(agent.resolver._planner.plans) == plans


def test_names_in_another_order_or_said_twice_make_no_other_plan() -> None:
    made = atlas(ALLOW)
    made["capabilities"] = [{"capability_id": name, "name": name, "actions": ["t.a"]} for name in "ab"]
    agent = Agent(made)
    agent.resolve(required_capabilities=["a", "b"], atlas_ids=[made["atlas_id"]])
    plans = len(agent.resolver._planner.plans)
    for names in (["b", "a"], ["a", "b", "a"], ["b", "b", "a"]):
        agent.resolve(required_capabilities=names, atlas_ids=[made["atlas_id"]] * 2)
    assert len(agent.resolver._planner.plans) == plans


def test_no_id_that_was_never_given_counts_as_expired() -> None:
    agent = Agent(atlas(ALLOW))
    with pytest.raises(LookupError) as caught:
        agent.resolver.execute(agent.session_id, "00000000-0000-0000-0000-000000000000", "t.a", {})
    assert caught.value.code == "resolution_not_found"  # type: ignore[attr-defined]


def test_an_agent_cannot_make_its_trace_unverifiable_by_what_it_is_refused_for() -> None:
    agent = Agent(atlas(ALLOW))
    key = "k" * 1_000_001
    with pytest.raises(ValueError):
        agent.resolve(context={key: 2**60})
    with pytest.raises(ValueError):
        resolution_id = agent.resolve().resolution_id
        agent.resolver.execute(agent.session_id, resolution_id, "t.a", {key: float("nan")})
    with pytest.raises(ValueError):
        agent.resolver.emit(agent.session_id, "app.note", {key: 2**60})
    assert agent.resolver.verify_chain(agent.session_id).valid
    told = [one for one in agent.resolver.get_trace(agent.session_id) if one.event_type == "error.occurred"]
    assert len(told) == 3
    assert all(len(one.payload_json) < 5_000 for one in told)
