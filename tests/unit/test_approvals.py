"""Approvals: asked for by execute, granted by a named person, good for exactly one call's parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import BufferFull, CRAError, InvalidInput, InvalidState, NotFound
from cra_wasm.carp import approvals as approvals_module

AMOUNT = {"amount": 5}


def ask(rig: Any, parameters: Any = None, **options: Any) -> Any:
    return rig.run("item.refund", AMOUNT if parameters is None else parameters, **options)


def approval_of(answer: Any) -> str:
    assert answer.status == "pending_approval"
    return str(answer.error["details"]["approval_id"])


def test_a_call_that_needs_approval_is_asked_about_and_does_not_run(rig: Any) -> None:
    rig.resolver.register_executor("item.refund", lambda parameters: pytest.fail("it ran"))
    resolution = rig.resolve()
    answers: list[Any] = []
    events = rig.new_events(lambda: answers.append(ask(rig, resolution_id=resolution.resolution_id)))
    approval_id = approval_of(answers[0])
    assert answers[0].error["code"] == "approval_required"
    assert [event.event_type for event in events] == [
        "carp.request.received",
        "action.requested",
        "approval.requested",
    ]
    hashed = hashlib.sha256(b'{"amount":5}').hexdigest()
    assert events[2].payload == {
        "approval_id": approval_id,
        "action_id": "item.refund",
        "parameters_hash": hashed,
    }
    (listed,) = rig.resolver.approvals(rig.session_id)
    assert listed == {
        "approval_id": approval_id,
        "session_id": rig.session_id,
        "agent_id": "agent-1",
        "action_id": "item.refund",
        "parameters_hash": hashed,
        "parameters_json": '{"amount":5}',
        "policy_id": "ask-refund",
        "state": "pending",
        "approver": None,
        "reason": None,
        "uses_left": 0,
        "expires_at": None,
    }


def test_resolving_asks_nobody(rig: Any) -> None:
    for _ in range(3):
        rig.resolve("refund")
    assert rig.resolver.approvals() == []


def test_parameters_are_checked_before_anybody_is_asked(rig: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(rig, {"amount": -1})
    assert caught.value.details["pointer"] == "/execution/parameters/amount"
    assert rig.resolver.approvals() == []


def test_asking_again_while_it_is_pending_is_the_same_request(rig: Any) -> None:
    first = approval_of(ask(rig))
    resolution = rig.resolve()
    events = rig.new_events(lambda: ask(rig, {"amount": 5.0}, resolution_id=resolution.resolution_id))
    assert [event.event_type for event in events] == ["carp.request.received", "action.requested"]
    assert [one["approval_id"] for one in rig.resolver.approvals()] == [first]


def test_a_granted_call_runs_once_and_then_needs_a_new_approval(rig: Any) -> None:
    approval_id = approval_of(ask(rig))
    granted = rig.resolver.grant_approval(approval_id, approver="ann", reason="fine")
    assert (granted["state"], granted["uses_left"], granted["approver"]) == ("granted", 1, "ann")
    event = rig.events()[-1]
    assert (event.event_type, event.payload) == (
        "approval.granted",
        {
            "approval_id": approval_id,
            "action_id": "item.refund",
            "parameters_hash": granted["parameters_hash"],
            "approver": "ann",
            "reason": "fine",
            "expires_at": "2024-12-28T13:00:00.000000Z",
            "uses": 1,
        },
    )
    assert ask(rig).status == "success"
    assert rig.resolver.approvals()[0]["state"] == "used"
    assert approval_of(ask(rig)) != approval_id


def test_a_grant_is_good_for_its_parameters_its_action_and_its_session_only(rig: Any) -> None:
    approval_id = approval_of(ask(rig))
    rig.resolver.grant_approval(approval_id, approver="ann", uses=1000)
    assert approval_of(ask(rig, {"amount": 5.01})) != approval_id
    assert approval_of(ask(rig, {"amount": 5, "extra": None})) != approval_id
    other = rig.resolver.create_session("agent-1", "other")
    resolution = rig.resolver.resolve(other, "refund")
    answer = rig.resolver.execute(other, resolution.resolution_id, "item.refund", AMOUNT)
    assert approval_of(answer) != approval_id
    assert ask(rig).status == "success"


def test_a_grant_for_n_uses_runs_n_times(rig: Any) -> None:
    rig.resolver.grant_approval(approval_of(ask(rig)), approver="ann", uses=3)
    statuses = [ask(rig).status for _ in range(4)]
    assert statuses == ["success", "success", "success", "pending_approval"]


def test_a_failing_call_uses_its_grant_up(rig: Any) -> None:
    rig.resolver.register_executor("item.refund", lambda parameters: 1 / 0)
    rig.resolver.grant_approval(approval_of(ask(rig)), approver="ann")
    assert [ask(rig).status for _ in range(2)] == ["error", "pending_approval"]


@pytest.mark.parametrize("passes", ["advance", "sleep_machine"])
def test_a_grant_ends_at_its_expiry_also_when_the_machine_slept(rig: Any, passes: str) -> None:
    rig.resolver.grant_approval(approval_of(ask(rig)), approver="ann", expires_in_seconds=60, uses=9)
    getattr(rig.clock, passes)(59.999)
    assert ask(rig).status == "success"
    getattr(rig.clock, passes)(0.001)
    assert ask(rig).status == "pending_approval"


def test_a_wall_clock_set_back_does_not_prolong_a_grant(rig: Any) -> None:
    rig.resolver.grant_approval(approval_of(ask(rig)), approver="ann", expires_in_seconds=60, uses=9)
    rig.clock.step_wall(-3600)
    rig.clock.advance(59)
    assert ask(rig).status == "success"
    rig.clock.advance(1)
    assert ask(rig).status == "pending_approval"


def test_a_refused_call_can_be_asked_about_again(rig: Any) -> None:
    approval_id = approval_of(ask(rig))
    refused = rig.resolver.refuse_approval(approval_id, approver="bob", reason="no")
    assert (refused["state"], refused["uses_left"]) == ("refused", 0)
    event = rig.events()[-1]
    assert event.event_type == "approval.refused"
    assert event.payload == {
        "approval_id": approval_id,
        "action_id": "item.refund",
        "parameters_hash": refused["parameters_hash"],
        "approver": "bob",
        "reason": "no",
    }
    assert approval_of(ask(rig)) != approval_id


def test_a_decision_is_made_once(rig: Any) -> None:
    approval_id = approval_of(ask(rig))
    rig.resolver.refuse_approval(approval_id, approver="bob")
    for decide in (rig.resolver.grant_approval, rig.resolver.refuse_approval):
        with pytest.raises(InvalidState) as caught:
            decide(approval_id, approver="ann")
        assert caught.value.code == "approval_decided"
    assert ask(rig).status == "pending_approval"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"approver": ""}, "invalid_approver"),
        ({"approver": " "}, "invalid_approver"),
        ({"approver": None}, "invalid_approver"),
        ({"approver": "x" * 256}, "invalid_approver"),
        ({"approver": "\ud800"}, "invalid_approver"),
        ({"approver": "a", "reason": None}, "invalid_reason"),
        ({"approver": "a", "reason": "x" * 501}, "invalid_reason"),
        ({"approver": "a", "reason": "\udfff"}, "invalid_reason"),
        ({"approver": "a", "expires_in_seconds": 0}, "invalid_expiry"),
        ({"approver": "a", "expires_in_seconds": 604_801}, "invalid_expiry"),
        ({"approver": "a", "expires_in_seconds": 1.5}, "invalid_expiry"),
        ({"approver": "a", "expires_in_seconds": True}, "invalid_expiry"),
        ({"approver": "a", "uses": 0}, "invalid_uses"),
        ({"approver": "a", "uses": 1001}, "invalid_uses"),
        ({"approver": "a", "uses": "2"}, "invalid_uses"),
    ],
)
def test_a_decision_with_wrong_arguments_decides_nothing(rig: Any, arguments: Any, code: str) -> None:
    approval_id = approval_of(ask(rig))
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.grant_approval(approval_id, **arguments)
    assert caught.value.code == code
    assert rig.runtime_errors()[-1]["code"] == code
    assert rig.resolver.approvals()[0]["state"] == "pending"


@pytest.mark.parametrize(
    ("approval_id", "error", "code"),
    [
        ("01940d23-3a00-7000-8000-00000fff0003", NotFound, "approval_not_found"),
        ("", InvalidInput, "invalid_id"),
        ("\ud800", InvalidInput, "invalid_id"),
        (None, InvalidInput, "invalid_id"),
        (["x"], InvalidInput, "invalid_id"),
    ],
)
def test_an_unknown_approval_is_refused(rig: Any, approval_id: Any, error: type[CRAError], code: str) -> None:
    with pytest.raises(error) as caught:
        rig.resolver.grant_approval(approval_id, approver="ann")
    assert (caught.value.code, caught.value.details["pointer"]) == (code, "/approval_id")
    assert rig.runtime_errors()[-1]["code"] == code


def test_the_end_of_a_session_forgets_what_it_asked_for(rig: Any) -> None:
    approval_id = approval_of(ask(rig))
    rig.resolver.end_session(rig.session_id)
    assert rig.resolver.approvals() == []
    with pytest.raises(NotFound) as caught:
        rig.resolver.grant_approval(approval_id, approver="ann")
    assert caught.value.code == "approval_not_found"


def test_a_policy_can_set_uses_and_expiry(shop: dict[str, Any], new_rig: Callable[..., Any]) -> None:
    rig = new_rig()
    shop["policies"][2]["parameters"] = {"uses": 2, "expires_in_seconds": 30}
    rig.resolver.load_atlas(shop)
    rig.resolver.register_executor("item.refund", lambda parameters: "ran")
    granted = rig.resolver.grant_approval(approval_of(ask(rig)), approver="ann")
    assert granted["uses_left"] == 2
    assert granted["expires_at"] == "2024-12-28T12:00:30.000000Z"


def test_a_grant_does_not_lift_other_policies(shop: dict[str, Any], new_rig: Callable[..., Any]) -> None:
    rig = new_rig()
    shop["actions"][5]["rate_limit"] = {"max_calls": 1, "window_seconds": 60}
    rig.resolver.load_atlas(shop)
    rig.resolver.register_executor("item.refund", lambda parameters: "ran")
    resolution_id = rig.resolve().resolution_id
    rig.resolver.grant_approval(approval_of(ask(rig, resolution_id=resolution_id)), approver="ann", uses=2)
    assert ask(rig, resolution_id=resolution_id).status == "success"
    denied = ask(rig, resolution_id=resolution_id)
    assert denied.error["details"]["reason"] == "rate_limit_exceeded"
    rig.clock.advance(60)
    assert ask(rig, resolution_id=resolution_id).status == "success"


def test_an_approval_is_asked_for_only_where_the_other_policies_would_then_allow_it(
    shop: dict[str, Any], new_rig: Callable[..., Any]
) -> None:
    # Conditions of a deny and of an allow: what they say of the caller is asked again once one is approved.
    shop["policies"][0]["conditions"] = {"agents": ["agent-1"]}
    shop["policies"].append(
        {"policy_id": "too-risky", "type": "deny", "conditions": {"risk_tiers": ["critical"]}}
    )
    rig = new_rig()
    rig.resolver.load_atlas(shop)
    rig.resolver.register_executor("item.refund", lambda parameters: None)
    rig.resolver.grant_approval(approval_of(ask(rig)), approver="ann")
    assert ask(rig).status == "success"
    stranger = rig.resolver.create_session("agent-2", "other")
    resolution = rig.resolver.resolve(stranger, "refund")
    answer = rig.resolver.execute(stranger, resolution.resolution_id, "item.refund", AMOUNT)
    assert (answer.status, answer.error["details"]["reason"]) == ("denied", "no_matching_policy")
    assert rig.resolver.approvals(stranger) == []


def test_too_many_open_requests_are_refused_before_anything_is_recorded(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals_module, "APPROVALS_PER_SESSION", 2)
    resolution_id = rig.resolve().resolution_id
    first = approval_of(ask(rig, {"amount": 1}, resolution_id=resolution_id))
    ask(rig, {"amount": 2}, resolution_id=resolution_id)
    before = rig.types()
    with pytest.raises(InvalidState) as caught:
        ask(rig, {"amount": 3}, resolution_id=resolution_id)
    assert caught.value.code == "approvals_full"
    assert rig.types() == [*before, "error.occurred"]
    rig.resolver.refuse_approval(first, approver="ann")
    assert ask(rig, {"amount": 3}, resolution_id=resolution_id).status == "pending_approval"


def test_a_request_or_a_grant_that_cannot_be_recorded_has_not_happened(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred", capacity=64)
    rig.resolver.register_executor("item.refund", lambda parameters: pytest.fail("it ran"))
    resolution_id = rig.resolve().resolution_id

    def fill() -> None:
        while rig.resolver.buffer_pressure() < 1:
            rig.resolver.emit(rig.session_id, "app.fill", {})

    def drain() -> None:
        rig.resolver.ack(rig.resolver.drain_traces(999).batch_id)

    fill()
    with pytest.raises(BufferFull):
        ask(rig, resolution_id=resolution_id)
    assert rig.resolver.approvals() == []
    drain()
    approval_id = approval_of(ask(rig, resolution_id=resolution_id))
    fill()
    with pytest.raises(BufferFull):
        rig.resolver.grant_approval(approval_id, approver="ann")
    assert rig.resolver.approvals()[0]["state"] == "pending"
    drain()
    assert ask(rig, resolution_id=resolution_id).status == "pending_approval"


def test_a_list_tells_the_state_of_now(rig: Any) -> None:
    """PROTOCOL 2.6.12: a grant whose time is over must not look as if it could be used."""
    approval_id = approval_of(ask(rig))
    rig.resolver.grant_approval(approval_id, approver="ann", expires_in_seconds=60, uses=2)
    rig.clock.advance(59)
    assert [one["state"] for one in rig.resolver.approvals()] == ["granted"]
    rig.clock.advance(1)
    assert [one["state"] for one in rig.resolver.approvals()] == ["expired"]
    assert [one["state"] for one in rig.resolver.approvals(rig.session_id)] == ["expired"]
