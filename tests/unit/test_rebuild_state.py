"""The state that a trace leaves behind is rebuilt from its events alone (PROTOCOL 3.12)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import CRAError, TraceEvent, rebuild_state
from cra_wasm.trace.canonical import canonical_json
from cra_wasm.trace.state import SessionState

from .chaining import rechained
from .conftest import SHOP, Rig


@pytest.fixture
def busy() -> Rig:
    rig = Rig()
    for one in SHOP["actions"]:
        if one["action_id"] != "item.list":
            rig.resolver.register_executor(one["action_id"], lambda parameters: {"done": True})
    rig.resolver.register_executor("item.count", lambda parameters: 1 / 0)
    return rig


def state_of(rig: Rig) -> SessionState:
    (session,) = rebuild_state(rig.events()).sessions
    return session


def test_a_session_is_told_from_start_to_end(busy: Rig) -> None:
    # PROTOCOL 3.12.1
    busy.clock.advance(2)
    busy.resolver.end_session(busy.session_id, "cancelled")
    session = state_of(busy)
    assert (session.session_id, session.agent_id, session.goal) == (
        busy.session_id,
        "agent-1",
        "keep the shop",
    )
    assert session.atlas_versions == {"test.shop": "1.2.3"}
    assert (session.started_at, session.ended_at) == (
        "2024-12-28T12:00:00.000000Z",
        "2024-12-28T12:00:02.000000Z",
    )
    assert (session.end_reason, session.duration_ms, session.truncated) == ("cancelled", 2000, False)
    assert (session.events, session.head) == (2, busy.events()[-1].event_hash)
    assert session.event_types == {"session.ended": 1, "session.started": 1}


def test_a_session_without_an_end_is_truncated(busy: Rig) -> None:
    assert state_of(busy).truncated


def test_a_resolution_is_what_the_resolver_answered(busy: Rig) -> None:
    # PROTOCOL 3.12.2
    answer = busy.resolve("refund me", risk_tier="high")
    (told,) = state_of(busy).resolutions
    assert (told.resolution_id, told.decision_type) == (answer.resolution_id, "partial")
    assert (told.goal, told.risk_tier, told.ttl_seconds) == ("refund me", "high", 3600)
    assert told.allowed == [one.action_id for one in answer.allowed_actions]
    assert told.denied == {one.action_id: one.policy_id for one in answer.denied_actions}
    assert told.context_blocks == ["refund-rules", "house-rules"]


def test_executions_have_the_outcomes_that_callers_got(busy: Rig) -> None:
    # PROTOCOL 3.12.2, 3.12.4
    for action_id in ("item.write", "item.count", "item.count", "item.delete"):
        busy.run(action_id)
    ran, failed, full, denied = state_of(busy).executions
    assert (ran.outcome, ran.action_id, ran.duration_ms) == ("executed", "item.write", 0)
    assert len(ran.result_hash or "") == len(ran.parameters_hash or "") == 64
    assert (failed.outcome, failed.error_code) == ("failed", "executor_error")
    assert (full.outcome, full.policy_id, full.reason) == (
        "denied",
        "item.count#rate_limit",
        "rate_limit_exceeded",
    )
    assert (denied.outcome, denied.reason) == ("denied", "never")
    session = state_of(busy)
    assert session.consumed == {"item.write": 1, "item.count": 1}
    assert session.full_limits == {"item.count#rate_limit": 1}


def test_a_call_without_an_end_is_running(busy: Rig) -> None:
    busy.run("item.write")
    events = [event for event in busy.events() if event.event_type != "action.executed"]
    (session,) = rebuild_state(rechained(events)).sessions
    assert session.executions[0].outcome == "running"


def test_approvals_end_where_the_resolver_has_them(busy: Rig) -> None:
    # PROTOCOL 3.12.3
    def ask(amount: int) -> dict[str, Any]:
        busy.run("item.refund", {"amount": amount})
        return busy.resolver.approvals()[-1]

    used, refused, expired, granted = (ask(amount) for amount in range(4))
    ask(4)
    busy.resolver.grant_approval(used["approval_id"], approver="ann", reason="fine", uses=2)
    busy.run("item.refund", {"amount": 0})
    busy.run("item.refund", {"amount": 0})
    busy.resolver.refuse_approval(refused["approval_id"], approver="bob")
    busy.resolver.grant_approval(expired["approval_id"], approver="ann", expires_in_seconds=5)
    busy.resolver.grant_approval(granted["approval_id"], approver="ann", uses=3)
    busy.clock.advance(10)
    busy.run("item.refund", {"amount": 3})
    told = state_of(busy).approvals
    assert [one.state for one in told] == ["used", "refused", "expired", "granted", "pending"]
    assert (told[0].approver, told[0].reason, told[0].used, told[0].uses) == ("ann", "fine", 2, 2)
    assert (told[1].approver, told[3].used) == ("bob", 1)
    assert state_of(busy).executions[0].outcome == "waiting"
    assert state_of(busy).executions[-1].approval_id == granted["approval_id"]


def test_asking_again_ends_the_grant_before(busy: Rig) -> None:
    busy.run("item.refund", {"amount": 1})
    first = busy.resolver.approvals()[0]["approval_id"]
    busy.resolver.grant_approval(first, approver="ann", expires_in_seconds=5)
    busy.clock.advance(6)
    busy.run("item.refund", {"amount": 1})
    assert [one.state for one in state_of(busy).approvals] == ["expired", "pending"]


def test_gaps_errors_and_reused_answers_are_told(busy: Rig) -> None:
    # PROTOCOL 3.12.5
    resolution_id = busy.resolve().resolution_id
    with pytest.raises(CRAError):
        busy.resolver.execute(busy.session_id, resolution_id, "no.such", {})
    events = busy.events()
    gap = canonical_json({"cause": "buffer_full", "lost_at_most": 3, "lost_count": 3})
    cached = canonical_json({"cache_hit": True, "resolution_id": resolution_id})
    events += [
        events[1],
        events[1]._replace(event_type="carp.resolution.cached", payload_json=cached),
        events[1]._replace(event_type="trace.gap", payload_json=gap),
    ]
    (session,) = rebuild_state(rechained(events)).sessions
    assert session.gaps == [
        {"sequence": len(events) - 1, "cause": "buffer_full", "lost_count": 3, "lost_at_most": 3}
    ]
    assert [one["code"] for one in session.errors] == ["action_not_found"]
    assert [one.reused for one in session.resolutions] == [1]


def test_several_sessions_stand_in_the_order_of_their_first_events(busy: Rig) -> None:
    other = busy.resolver.create_session("agent-2", "help")
    both = [*busy.events(other), *busy.events()]
    assert [one.agent_id for one in rebuild_state(both).sessions] == ["agent-2", "agent-1"]
    assert rebuild_state([]).sessions == []


def test_members_that_were_taken_out_are_counted(busy: Rig) -> None:
    busy.resolver.emit(busy.session_id, "app.note", {"redacted": ["/a", "/b"]})
    assert state_of(busy).redacted == 2


@given(data=st.data())
def test_any_events_have_a_state(data: st.DataObject) -> None:
    values = st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    )
    members = (
        "agent_id action_id approval_id atlas_versions operation policy_id redacted resolution_id result uses"
    )
    payload = st.dictionaries(st.sampled_from(members.split()), values, max_size=4)
    base = some_events()
    kinds = st.sampled_from(sorted({event.event_type for event in base}))
    events = [
        base[index % len(base)]._replace(event_type=kind, payload_json=canonical_json(told))
        for index, kind, told in data.draw(
            st.lists(st.tuples(st.integers(0, 99), kinds, payload), min_size=1, max_size=12)
        )
    ]
    state = rebuild_state(events)
    assert sum(one.events for one in state.sessions) == len(events)
    json.dumps(state.to_dict(), allow_nan=False)


BASE: list[TraceEvent] = []


def some_events() -> list[TraceEvent]:
    if not BASE:
        rig = Rig()
        rig.resolver.register_executor("item.write", lambda parameters: None)
        rig.run("item.write")
        rig.run("item.delete")
        rig.run("item.refund", {"amount": 1})
        rig.resolver.grant_approval(rig.resolver.approvals()[0]["approval_id"], approver="ann")
        BASE.extend(rig.events())
    return BASE
