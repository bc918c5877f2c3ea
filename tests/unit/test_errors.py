"""Errors: one tree, JSON forms, and their place in the trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import (
    BackendFailure,
    BufferFull,
    CRAError,
    InvalidInput,
    InvalidState,
    MemoryStorage,
    NotFound,
)

UNKNOWN = "01940d23-3a00-7000-8000-0000ffff0001"


# PROTOCOL 0.2.1
@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (InvalidInput, ValueError),
        (NotFound, LookupError),
        (InvalidState, CRAError),
        (BufferFull, CRAError),
        (BackendFailure, CRAError),
    ],
)
def test_each_kind_is_a_cra_error_and_what_python_calls_it(
    kind: type[CRAError], builtin: type[Exception]
) -> None:
    error = kind("some_code", "the message", pointer="/a", more=[1])
    assert isinstance(error, CRAError) and isinstance(error, builtin)
    assert str(error) == "some_code: the message"
    assert error.to_dict() == {
        "code": "some_code",
        "message": "the message",
        "details": {"more": [1], "pointer": "/a"},
    }


def test_without_a_pointer_the_details_have_none() -> None:
    assert CRAError("a", "b").details == {}
    assert InvalidInput("a", "b", pointer="").details == {"pointer": ""}


def test_an_error_in_a_running_session_is_recorded_there(rig: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolve("")
    event = rig.events()[-1]
    assert event.event_type == "error.occurred"
    assert event.payload == {
        "code": "invalid_goal",
        "message": caught.value.message,
        "pointer": "/task/goal",
    }
    assert (event.parent_span_id, event.trace_id) == (rig.events()[0].span_id, rig.events()[0].trace_id)
    assert rig.runtime_errors() == []


# PROTOCOL 3.1.24
def test_errors_outside_any_session_share_the_runtimes_own(rig: Any) -> None:
    for call in (
        lambda: rig.resolver.create_session("", "g"),
        lambda: rig.resolver.resolve(UNKNOWN, "g"),
        lambda: rig.resolver.resolve_request("not json"),
    ):
        with pytest.raises(CRAError):
            call()
    assert [one["code"] for one in rig.runtime_errors()] == [
        "invalid_agent_id",
        "session_not_found",
        "invalid_request",
    ]
    storage = rig.resolver._storage
    starts = [event for event in storage.get_events() if event.event_type == "session.started"]
    assert [event.payload["agent_id"] for event in starts] == ["agent-1", "cra-runtime"]
    assert rig.resolver.verify_chain(starts[1].session_id).valid
    assert rig.resolver.statistics().sessions_active == 1


def test_a_full_buffer_is_told_to_the_caller_alone(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred", capacity=16)
    for _ in range(15):
        rig.resolver.emit(rig.session_id, "app.x", {})
    with pytest.raises(InvalidInput) as caught:
        rig.resolve("")
    assert caught.value.code == "invalid_goal"
    with pytest.raises(NotFound) as missing:
        rig.resolver.resolve(UNKNOWN, "g")
    assert missing.value.code == "session_not_found"
    assert rig.resolver.buffer_stats().pending == 16
    with pytest.raises(BufferFull):
        rig.resolver.create_session("a", "g")
    assert rig.resolver.statistics().sessions_active == 1


@pytest.mark.parametrize("broken", ["raises", "closed"])
def test_an_error_that_cannot_be_recorded_is_still_the_one_that_is_raised(
    new_rig: Callable[..., Any], broken: str
) -> None:
    class Broken(MemoryStorage):
        fails = False

        def store_events(self, events: Any) -> None:
            if self.fails:
                raise OSError("disk full")
            super().store_events(events)

    storage = Broken()
    rig = new_rig(storage=storage)
    if broken == "closed":
        storage.close()
    storage.fails = broken == "raises"
    for session_id, goal, code in ((rig.session_id, "", "invalid_goal"), (UNKNOWN, "g", "session_not_found")):
        with pytest.raises(CRAError) as caught:
            rig.resolver.resolve(session_id, goal)
        assert caught.value.code == code


def test_an_error_message_that_quotes_no_text_is_still_recorded(rig: Any, shop: dict[str, Any]) -> None:
    with pytest.raises(CRAError) as caught:
        rig.resolver.resolve_request({"\ud800": 1})
    assert caught.value.code == "invalid_request"
    assert rig.runtime_errors()[0]["code"] == "invalid_request"
