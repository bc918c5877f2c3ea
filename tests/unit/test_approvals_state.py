"""The book of approvals by itself: what it keeps, finds, forgets and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from cra_wasm.carp import approvals as approvals_module
from cra_wasm.carp.approvals import Approval, Approvals, check_decision
from cra_wasm.errors import InvalidInput, InvalidState, NotFound


def request(name: str = "one", session: str = "s1", parameters_hash: str = "h", **members: Any) -> Approval:
    return Approval(
        approval_id=name,
        session_id=session,
        agent_id="bot",
        atlas_id="com.example",
        action_id="a.b",
        parameters_hash=parameters_hash,
        parameters_json="{}",
        policy_id="ask",
        default_expiry_seconds=60,
        default_uses=1,
        **members,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "pointer"),
    [
        ((None, "", None, None), "invalid_approver", "/approver"),
        (("", "", None, None), "invalid_approver", "/approver"),
        (("  ", "", None, None), "invalid_approver", "/approver"),
        (("x" * 256, "", None, None), "invalid_approver", "/approver"),
        ((7, "", None, None), "invalid_approver", "/approver"),
        (("ann", None, None, None), "invalid_reason", "/reason"),
        (("ann", "x" * 501, None, None), "invalid_reason", "/reason"),
        (("ann", "", 0, None), "invalid_expiry", "/expires_in_seconds"),
        (("ann", "", -1, None), "invalid_expiry", "/expires_in_seconds"),
        (("ann", "", 604_801, None), "invalid_expiry", "/expires_in_seconds"),
        (("ann", "", 1.0, None), "invalid_expiry", "/expires_in_seconds"),
        (("ann", "", True, None), "invalid_expiry", "/expires_in_seconds"),
        (("ann", "", "60", None), "invalid_expiry", "/expires_in_seconds"),
        (("ann", "", None, 0), "invalid_uses", "/uses"),
        (("ann", "", None, 1001), "invalid_uses", "/uses"),
        (("ann", "", None, False), "invalid_uses", "/uses"),
    ],
)
def test_a_decision_with_a_wrong_argument_is_refused(
    arguments: tuple[object, ...], code: str, pointer: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_decision(*arguments)
    assert (caught.value.code, caught.value.details["pointer"]) == (code, pointer)


@pytest.mark.parametrize("arguments", [("x", "", 1, 1), ("x" * 255, "x" * 500, 604_800, 1000)])
def test_a_decision_at_its_limits_is_taken(arguments: tuple[Any, ...]) -> None:
    check_decision(*arguments)


def test_an_unknown_or_decided_request_is_not_pending() -> None:
    book = Approvals()
    with pytest.raises(NotFound) as missing:
        book.find_pending("lost" * 100)
    assert missing.value.code == "approval_not_found"
    book.keep(request(state="refused"), 0)
    with pytest.raises(InvalidState) as decided:
        book.find_pending("one")
    assert decided.value.code == "approval_decided"
    assert missing.value.details["pointer"] == decided.value.details["pointer"] == "/approval_id"


@pytest.mark.parametrize(
    ("members", "usable"),
    [
        ({}, False),
        ({"state": "granted", "uses_left": 1, "expires_elapsed_ns": 11}, True),
        ({"state": "granted", "uses_left": 1, "expires_elapsed_ns": 10}, False),
        ({"state": "granted", "uses_left": 0, "expires_elapsed_ns": 11}, False),
        ({"state": "refused", "uses_left": 1, "expires_elapsed_ns": 11}, False),
        ({"state": "expired", "uses_left": 1, "expires_elapsed_ns": 11}, False),
    ],
)
def test_only_a_grant_with_uses_before_its_expiry_can_be_used(members: dict[str, Any], usable: bool) -> None:
    assert request(**members).is_usable(10) is usable


def test_the_last_use_ends_a_grant() -> None:
    book, approval = Approvals(), request(state="granted", uses_left=2, expires_elapsed_ns=99)
    book.keep(approval, 0)
    book.use(approval)
    assert approval.is_usable(0)
    book.use(approval)
    assert (approval.state, approval.uses_left, approval.is_usable(0)) == ("used", 0, False)


def test_a_request_belongs_to_its_session_action_and_parameters() -> None:
    book = Approvals()
    book.keep(request(), 0)
    assert book.of_call("s1", "com.example", "a.b", "h") is book.find_pending("one")
    own = ("s1", "com.example", "a.b", "h")
    for place, other in enumerate(["s2", "com.other", "a.c", "i"]):
        assert book.of_call(*own[:place], other, *own[place + 1 :]) is None


def test_the_newest_request_for_a_call_stands_for_it_and_an_older_grant_is_over() -> None:
    book = Approvals()
    first, refused, second = request("one", state="granted"), request("x", state="refused"), request("two")
    for one in (first, second):
        book.keep(one, 0)
    assert book.of_call("s1", "com.example", "a.b", "h") is second
    assert first.state == "expired"
    book.keep(refused, 0)
    book.keep(request("three"), 0)
    assert (second.state, refused.state) == ("pending", "refused")


def test_keeping_a_request_twice_keeps_it_once() -> None:
    book, granted = Approvals(), request(state="granted")
    book.keep(granted, 0)
    book.keep(granted, 0)
    assert book.list() == [granted]
    assert granted.state == "granted"


def test_requests_are_listed_oldest_first() -> None:
    book = Approvals()
    for name, session in [("b", "s1"), ("a", "s2"), ("c", "s1")]:
        book.keep(request(name, session, name), 0)
    assert [one.approval_id for one in book.list()] == ["b", "a", "c"]
    assert [one.approval_id for one in book.list("s1")] == ["b", "c"]
    assert book.list("lost") == []


# PROTOCOL 0.3.13
def test_a_session_full_of_open_requests_takes_no_more_until_one_is_decided() -> None:
    book, names = Approvals(), [str(number) for number in range(1024)]
    for name in names:
        book.check_room("s1", 0)
        book.keep(request(name, parameters_hash=name), 0)
    with pytest.raises(InvalidState) as caught:
        book.check_room("s1", 0)
    assert caught.value.code == "approvals_full"
    book.check_room("s2", 0)
    book.find_pending("7").state = "refused"
    book.check_room("s1", 0)
    assert [one.approval_id for one in book.list()] == names
    book.keep(request("d", parameters_hash="d"), 0)
    assert [one.approval_id for one in book.list()] == [*(one for one in names if one != "7"), "d"]
    assert book.of_call("s1", "com.example", "a.b", "7") is None


def test_making_room_keeps_a_grant_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals_module, "APPROVALS_PER_SESSION", 2)
    book = Approvals()
    book.keep(request("open"), 0)
    book.keep(request("grant", parameters_hash="g", state="granted", uses_left=1, expires_elapsed_ns=10), 0)
    with pytest.raises(InvalidState):
        book.check_room("s1", 9)
    book.check_room("s1", 10)
    book.keep(request("next", parameters_hash="n"), 10)
    assert [one.approval_id for one in book.list()] == ["open", "next"]


def test_making_room_keeps_the_newest_request_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals_module, "APPROVALS_PER_SESSION", 2)
    book, old, new = Approvals(), request("old", state="used"), request("new")
    book.keep(old, 0)
    book.keep(new, 0)
    other = request("other", parameters_hash="i")
    book.keep(other, 0)
    assert book.of_call("s1", "com.example", "a.b", "h") is new
    assert book.list() == [new, other]


def test_an_ended_session_is_forgotten_and_no_other() -> None:
    book = Approvals()
    book.keep(request("a", "s1"), 0)
    book.keep(request("b", "s2"), 0)
    book.forget_session("s1")
    book.forget_session("s1")
    assert [one.approval_id for one in book.list()] == ["b"]
    assert book.of_call("s1", "com.example", "a.b", "h") is None
    with pytest.raises(NotFound):
        book.find_pending("a")


def test_an_approver_sees_the_call_and_not_the_clockwork() -> None:
    assert request().to_dict() == {
        "approval_id": "one",
        "session_id": "s1",
        "agent_id": "bot",
        "action_id": "a.b",
        "parameters_hash": "h",
        "parameters_json": "{}",
        "policy_id": "ask",
        "state": "pending",
        "approver": None,
        "reason": None,
        "uses_left": 0,
        "expires_at": None,
    }


def test_an_approver_who_gives_no_time_sees_a_grant_as_it_was_at_the_beginning() -> None:
    granted = request(state="granted", uses_left=1, expires_elapsed_ns=1)
    assert [granted.to_dict(1)["state"], granted.to_dict()["state"]] == ["expired", "granted"]
