"""Operation validate: all findings, what would be decided, and no effect (PROTOCOL 2.10).

That its answer is what the request then gets is held by test_three_ways.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import BufferFull, InvalidInput, InvalidState, Resolver, ValidateResponse
from cra_wasm.carp import approvals as approvals_module

UNKNOWN = "01940d23-3a00-7000-8000-0000ffff0001"
READ = {"item_id": "a"}


@pytest.fixture
def execute_of(rig: Any, request_of: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """A function that makes a request to execute an action under a fresh resolution."""

    def make(action_id: str = "item.read", parameters: Any = None, **members: Any) -> dict[str, Any]:
        execution = {
            "resolution_id": rig.resolve().resolution_id,
            "action_id": action_id,
            "parameters": READ if parameters is None else parameters,
            **members,
        }
        made: dict[str, Any] = request_of(rig, operation="execute", execution=execution)
        return made

    return make


def codes(answer: ValidateResponse) -> list[tuple[str, str]]:
    return [(finding.code, finding.pointer) for finding in answer.findings]


def state_of(rig: Any) -> tuple[Any, ...]:
    resolver = rig.resolver
    session = resolver._sessions.find(rig.session_id)
    return (
        resolver.statistics(),
        resolver.approvals(),
        session.next_sequence,
        session.last_active_ns,
        session.resolution_count,
        session.action_count,
        dict(session.request_ids or {}),
        dict(session.keyed_calls or {}),
        {account: taken.calls for account, taken in resolver._ledger._taken.items()},
        resolver._storage.count(),
        resolver._recorder.ids._next_block,
    )


def test_a_valid_resolve_is_answered_with_its_decision(rig: Any, request_of: Callable[..., Any]) -> None:
    # PROTOCOL 2.10.3, PROTOCOL 2.10.7
    request = request_of(rig)
    answer = rig.resolver.validate_request(request)
    assert answer.to_dict() == {
        "carp_version": "1.0",
        "request_id": request["request_id"],
        "timestamp": "2024-12-28T12:00:00.000000Z",
        "valid": True,
        "findings": [],
        "findings_total": 0,
        "decision": {"type": "partial", "reason": None, "approval_id": None, "expires_at": None},
        "would_execute": None,
    }
    assert json.loads(answer.to_json()) == answer.to_dict()


def test_resolve_request_answers_the_operation(rig: Any, request_of: Callable[..., Any]) -> None:
    request = request_of(rig, operation="validate")
    answer = rig.resolver.resolve_request(request)
    assert answer == rig.resolver.validate_request(request)
    assert answer.valid


def test_nothing_is_changed_recorded_or_used_up(
    rig: Any, request_of: Callable[..., Any], execute_of: Callable[..., dict[str, Any]]
) -> None:
    # PROTOCOL 2.10.1
    asked = [
        request_of(rig),
        execute_of(),
        execute_of("item.refund", {"amount": 1}),
        execute_of("item.count", {}),
        execute_of("item.read", {"nope": 1}, idempotency_key="k"),
        request_of(rig, timestamp="2024-12-28T11:00:00Z"),
        request_of(rig, requester={"agent_id": "agent-1", "session_id": UNKNOWN}),
        {"nonsense": True},
    ]
    before = state_of(rig)
    for request in asked * 2:
        rig.resolver.validate_request(request)
    assert state_of(rig) == before
    assert rig.resolver.resolve_request(asked[0]).request_id == asked[0]["request_id"]
    assert rig.resolver.resolve_request(asked[3]).status == "success"


@pytest.mark.parametrize(
    ("action_id", "parameters", "expected"),
    [
        ("item.read", READ, {"status": "allowed"}),
        ("item.delete", {}, {"status": "denied", "reason": "never", "policy_id": "no-delete"}),
        (
            "item.hidden",
            {},
            {"status": "denied", "reason": "no_matching_policy", "policy_id": "default-deny"},
        ),
        (
            "item.refund",
            {"amount": 1},
            {"status": "pending_approval", "reason": "requires_approval", "policy_id": "ask-refund"},
        ),
        (
            "item.pay",
            {"amount": 101},
            {"status": "denied", "reason": "budget_exceeded", "policy_id": "purse", "retry_after_ms": -1},
        ),
        (
            "item.pay",
            {"amount": "much"},
            {"status": "denied", "reason": "invalid_cost", "policy_id": "purse"},
        ),
    ],
)
def test_an_execute_is_told_what_it_would_be_answered(
    rig: Any,
    execute_of: Callable[..., dict[str, Any]],
    action_id: str,
    parameters: Any,
    expected: dict[str, Any],
) -> None:
    # PROTOCOL 2.10.2, PROTOCOL 2.10.4, PROTOCOL 2.10.8
    request = execute_of(action_id, parameters)
    answer = rig.resolver.validate_request(request).to_dict()
    nothing = dict.fromkeys(["reason", "policy_id", "approval_id", "retry_after_ms"])
    assert (answer["valid"], answer["decision"]) == (True, None)
    assert answer["would_execute"] == {**nothing, **expected}
    status = {"allowed": "success"}.get(expected["status"], expected["status"])
    assert rig.resolver.resolve_request(request).status == status


def test_a_waiting_call_is_told_its_approval_and_an_answered_key_that_it_was_answered(
    rig: Any, execute_of: Callable[..., dict[str, Any]]
) -> None:
    asked = rig.resolver.resolve_request(execute_of("item.refund", {"amount": 1}))
    approval_id = asked.error["details"]["approval_id"]
    waiting = rig.resolver.validate_request(execute_of("item.refund", {"amount": 1})).would_execute
    assert (waiting.status, waiting.approval_id) == ("pending_approval", approval_id)
    rig.resolver.grant_approval(approval_id, approver="ann")
    granted = rig.resolver.validate_request(execute_of("item.refund", {"amount": 1}))
    assert granted.would_execute.status == "allowed"
    rig.resolver.resolve_request(execute_of(idempotency_key="k"))
    again = rig.resolver.validate_request(execute_of(idempotency_key="k"))
    assert again.would_execute.status == "answered_before"
    other = rig.resolver.validate_request(execute_of(parameters={"item_id": "b"}, idempotency_key="k"))
    assert codes(other) == [("idempotency_conflict", "/execution/idempotency_key")]


def test_all_findings_are_told_in_the_order_of_the_checks(rig: Any, request_of: Callable[..., Any]) -> None:
    # PROTOCOL 2.10.5
    used = request_of(rig)
    rig.resolver.resolve_request(used)
    request = {
        **used,
        "operation": "validate",
        "timestamp": "2024-12-28T11:00:00Z",
        "requester": {
            "agent_id": "agent-2",
            "session_id": rig.session_id,
            "parent_session_id": UNKNOWN,
        },
        "task": {"goal": "g", "required_capabilities": ["reading", "no.such", "none"]},
        "context": {"n": 2**60},
    }
    answer = rig.resolver.validate_request(request)
    assert codes(answer) == [
        ("agent_mismatch", "/requester/agent_id"),
        ("parent_mismatch", "/requester/parent_session_id"),
        ("stale_timestamp", "/timestamp"),
        ("duplicate_request_id", "/request_id"),
        ("not_canonical", "/context/n"),
        ("capability_not_found", "/task/required_capabilities/1"),
        ("capability_not_found", "/task/required_capabilities/2"),
    ]
    assert (answer.valid, answer.decision, answer.findings_total) == (False, None, 7)
    missing = {**request, "atlas_ids": ["test.none", "test.shop", "test.other"], "context": {}}
    assert codes(rig.resolver.validate_request(missing))[4:] == [
        ("atlas_not_found", "/atlas_ids/0"),
        ("atlas_not_found", "/atlas_ids/2"),
    ]


def test_an_unknown_session_hides_only_what_needs_one(rig: Any, request_of: Callable[..., Any]) -> None:
    request = request_of(
        rig,
        requester={"agent_id": "x", "session_id": UNKNOWN},
        timestamp="2024-12-28T11:00:00Z",
        atlas_ids=["test.none"],
    )
    expected = ["session_not_found", "stale_timestamp", "atlas_not_found"]
    assert [code for code, _ in codes(rig.resolver.validate_request(request))] == expected


def test_parameters_hide_neither_a_missing_resolution_nor_a_missing_executor(
    rig: Any, execute_of: Callable[..., dict[str, Any]]
) -> None:
    rig.resolver.unregister_executor("item.read")
    request = execute_of(parameters={"count": 0, "tags": [1]})
    assert codes(rig.resolver.validate_request(request)) == [
        ("invalid_parameters", "/execution/parameters/count"),
        ("invalid_parameters", "/execution/parameters/tags/0"),
        ("invalid_parameters", "/execution/parameters/item_id"),
        ("no_executor", "/execution/action_id"),
    ]
    assert codes(rig.resolver.validate_request(execute_of())) == [("no_executor", "/execution/action_id")]
    request = execute_of(parameters={"item_id": 2**60})
    request["execution"]["resolution_id"] = UNKNOWN
    assert codes(rig.resolver.validate_request(request)) == [
        ("invalid_parameters", "/execution/parameters/item_id"),
        ("resolution_not_found", "/execution/resolution_id"),
    ]
    request = execute_of("no.such", {})
    request["requester"]["session_id"] = UNKNOWN
    assert [code for code, _ in codes(rig.resolver.validate_request(request))] == ["session_not_found"]


def test_a_session_full_of_approvals_is_a_finding_and_forgets_none(
    rig: Any, execute_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # PROTOCOL 2.10.1
    monkeypatch.setattr(approvals_module, "APPROVALS_PER_SESSION", 1)
    asked = rig.resolver.resolve_request(execute_of("item.refund", {"amount": 1}))
    other = execute_of("item.refund", {"amount": 2})
    assert codes(rig.resolver.validate_request(other)) == [("approvals_full", "")]
    rig.resolver.refuse_approval(asked.error["details"]["approval_id"], approver="ann")
    assert rig.resolver.validate_request(other).valid
    assert len(rig.resolver.approvals()) == 1


@pytest.mark.parametrize(
    ("source", "pointers"),
    [
        ("{", [""]),
        (b"\xff", [""]),
        (None, [""]),
        ([], [""]),
        ({}, ["/carp_version", "/request_id", "/timestamp", "/operation", "/requester", "/task"]),
    ],
)
def test_what_is_no_request_has_findings_and_no_id(rig: Any, source: Any, pointers: list[str]) -> None:
    # PROTOCOL 2.10.9
    answer = rig.resolver.validate_request(source)
    assert codes(answer) == [("invalid_request", pointer) for pointer in pointers]
    assert (answer.request_id, answer.valid) == (None, False)


def test_findings_are_cut_and_counted(rig: Any, request_of: Callable[..., Any]) -> None:
    # PROTOCOL 2.10.6
    request = request_of(rig, **{f"x{number}": 1 for number in range(300)})
    answer = rig.resolver.validate_request(request)
    assert (len(answer.findings), answer.findings_total) == (100, 300)
    named = [f"test.none{number}" for number in range(100)]
    stale = request_of(rig, atlas_ids=named, timestamp="2024-12-28T11:00:00Z")
    answer = rig.resolver.validate_request(stale)
    assert (len(answer.findings), answer.findings_total) == (100, 101)


def test_an_unrecorded_resolution_is_a_finding(new_rig: Callable[..., Any], request_of: Any) -> None:
    rig = new_rig(tracing="deferred", capacity=16, on_full="drop")
    while True:
        resolution = rig.resolve()
        if rig.resolver.buffer_stats().dropped:
            break
    execution = {"resolution_id": resolution.resolution_id, "action_id": "item.read", "parameters": READ}
    request = request_of(rig, operation="validate", execution=execution)
    assert codes(rig.resolver.validate_request(request)) == [
        ("resolution_unrecorded", "/execution/resolution_id")
    ]


def test_neither_room_nor_the_way_of_the_call_is_looked_at(
    new_rig: Callable[..., Any], request_of: Any
) -> None:
    # PROTOCOL 2.10.10
    rig = new_rig(tracing="deferred", capacity=16)
    resolution_id = rig.resolve().resolution_id

    async def read(parameters: Any) -> None:
        pytest.fail("it ran")

    rig.resolver.register_executor("item.read", read)
    execution = {"resolution_id": resolution_id, "action_id": "item.read", "parameters": READ}
    asked = request_of(rig, operation="execute", execution=execution)
    assert rig.resolver.validate_request(asked).would_execute.status == "allowed"
    with pytest.raises(InvalidState) as caught:
        rig.resolver.resolve_request(asked)
    assert caught.value.code == "async_executor"
    before = rig.resolver.buffer_stats()
    assert rig.resolver.validate_request(request_of(rig)).valid
    assert rig.resolver.buffer_stats() == before
    with pytest.raises(BufferFull):
        rig.resolve()


def test_a_closed_resolver_validates_nothing(rig: Any, request_of: Callable[..., Any]) -> None:
    rig.resolver.close()
    with pytest.raises(InvalidState) as caught:
        rig.resolver.validate_request(request_of(rig))
    assert caught.value.code == "resolver_closed"


@pytest.mark.parametrize("skew_seconds", [-1, 1.5, True, "300", None])
def test_a_resolver_wants_a_skew_in_whole_seconds(skew_seconds: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver(skew_seconds=skew_seconds)
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_skew", "/skew_seconds")
