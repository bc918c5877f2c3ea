"""Nested sessions and time: a parent that delegates is not idle, and nothing outlives the one above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import InvalidState, MemoryStorage
from cra_wasm.testing import FakeClock, MockTimerBackend
from cra_wasm.timing.config import SessionTTLConfig


class Family:
    """A parent and a child on one mock backend."""

    def __init__(self, new_rig: Callable[..., Any], **ttl: Any) -> None:
        clock = FakeClock()
        self.timers = MockTimerBackend(clock)
        self.storage = MemoryStorage()
        self.rig = new_rig(
            clock=clock, timers=self.timers, storage=self.storage, session_ttl=SessionTTLConfig(**ttl)
        )
        self.resolver = self.rig.resolver
        self.parent = self.rig.session_id
        self.child = self.create(self.parent)

    def create(self, parent: str) -> str:
        made: str = self.resolver.create_session("agent-2", "help", parent_session_id=parent)
        return made

    def ends(self) -> list[tuple[str, str]]:
        found = self.storage.get_events(event_type="session.ended")
        return [(one.session_id, one.payload["reason"]) for one in found]

    def work(self, session_id: str) -> None:
        self.resolver.resolve(session_id, "look")


def test_a_parent_is_not_idle_while_a_session_runs_under_it(new_rig: Callable[..., Any]) -> None:
    family = Family(new_rig, idle_timeout_seconds=60, max_lifetime_seconds=None)
    for _ in range(5):
        family.timers.advance(40_000)
        family.work(family.child)
    assert family.ends() == []
    family.resolver.end_session(family.child)
    family.timers.advance(59_000)
    family.work(family.parent)
    family.timers.advance(60_000)
    assert family.ends() == [(family.child, "completed"), (family.parent, "timeout")]


def test_an_idle_child_ends_and_its_parent_an_idle_time_later(new_rig: Callable[..., Any]) -> None:
    family = Family(new_rig, idle_timeout_seconds=60, max_lifetime_seconds=None)
    family.timers.advance(61_000)
    assert family.ends() == [(family.child, "timeout")]
    family.timers.advance(60_000)
    assert family.ends() == [(family.child, "timeout"), (family.parent, "timeout")]


@pytest.mark.parametrize("who", ["parent", "child"])
def test_a_child_can_not_act_once_its_parent_s_lifetime_is_over_though_no_timer_fires(
    new_rig: Callable[..., Any], who: str
) -> None:
    family = Family(new_rig, idle_timeout_seconds=None, max_lifetime_seconds=60)
    family.timers.clock.advance(50)
    late = family.create(family.child)
    family.timers.clock.advance(10)
    for session_id in (late, family.child, family.parent):
        with pytest.raises(InvalidState) as refused:
            family.work(session_id if who == "child" else family.parent)
        assert refused.value.code == "session_ended"
    assert {session_id for session_id, _ in family.ends()} == {late, family.child, family.parent}
    for session_id in (late, family.child, family.parent):
        assert family.resolver.verify_chain(session_id).valid


def test_nothing_starts_under_a_session_whose_time_is_over(new_rig: Callable[..., Any]) -> None:
    family = Family(new_rig, idle_timeout_seconds=None, max_lifetime_seconds=60)
    family.timers.clock.advance(60)
    with pytest.raises(InvalidState) as refused:
        family.create(family.parent)
    assert refused.value.code == "session_ended"
    assert refused.value.details["pointer"] == "/requester/parent_session_id"


def test_a_call_of_a_child_is_told_to_its_end_before_parent_and_child_end(
    new_rig: Callable[..., Any],
) -> None:
    family = Family(new_rig, idle_timeout_seconds=None, max_lifetime_seconds=60)

    def slow(parameters: Any) -> str:
        family.timers.advance(70_000)
        return "done"

    family.resolver.register_executor("item.read", slow)
    resolution_id = family.resolver.resolve(family.child, "look").resolution_id
    answer = family.resolver.execute(family.child, resolution_id, "item.read", {"item_id": "a"})
    assert answer.status == "success"
    family.timers.advance(2_000)
    assert [session_id for session_id, _ in family.ends()] == [family.child, family.parent]
    assert [one.event_type for one in family.resolver.get_trace(family.child)][-2:] == [
        "action.executed",
        "session.ended",
    ]
    stats = family.resolver.statistics().clock.timers
    assert stats is not None and stats.tracked == 0


def test_validate_says_that_a_session_is_over_and_does_not_end_it(
    new_rig: Callable[..., Any], request_of: Callable[..., dict[str, Any]]
) -> None:
    family = Family(new_rig, idle_timeout_seconds=None, max_lifetime_seconds=60)
    request = request_of(family.rig, operation="validate", timestamp="2024-12-28T12:01:00Z")
    family.timers.clock.advance(60)
    found = family.resolver.resolve_request(request)
    assert not found.valid
    assert [one.code for one in found.findings] == ["session_ended"]
    assert family.ends() == []
