"""A full buffer: refused or dropped, counted, told by a gap, never silent (PROTOCOL 3.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import (
    BackendFailure,
    BufferFull,
    InvalidInput,
    InvalidState,
    MemoryStorage,
    NotFound,
    RawEvent,
    Resolver,
)
from cra_wasm.trace.chain_writer import ChainWriter
from cra_wasm.trace.verify import verify_lines

CAPACITY = 64


@pytest.fixture
def dropping(new_rig: Callable[..., Any]) -> Any:
    """A rig that drops, with one resolution on record and an executor for item.list."""
    rig = new_rig(tracing="deferred", capacity=CAPACITY, on_full="drop")
    rig.resolver.register_executor("item.list", lambda parameters: "ran")
    rig.first = rig.resolve()
    return rig


def fill(rig: Any) -> None:
    """Leave no room, without losing anything of the session."""
    stats = rig.resolver.buffer_stats()
    for _ in range(stats.capacity - round(rig.resolver.buffer_pressure() * stats.capacity)):
        assert rig.resolver.emit(rig.session_id, "app.fill", {}) is not None
    assert rig.resolver.buffer_pressure() == 1.0
    assert rig.resolver.buffer_stats().dropped == 0


def take(rig: Any, max_events: int = 1000) -> list[tuple[str, str]]:
    """Drain and acknowledge once; return (event_type, payload) of the rig's session."""
    batch = rig.resolver.drain_traces(max_events)
    rig.resolver.ack(batch.batch_id)
    lines = [
        line.split("\x1f")
        for group in batch.groups
        if group.session_id == rig.session_id
        for line in batch.data[group.offset : group.offset + group.length].decode().splitlines()
    ]
    return [(fields[6], fields[7]) for fields in lines]


@pytest.mark.parametrize("on_full", ["", "DROP", "overwrite", None, True, ["drop"]])
@pytest.mark.parametrize("tracing", ["immediate", "deferred"])
def test_another_word_than_refuse_or_drop_is_refused(on_full: Any, tracing: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver(tracing=tracing, on_full=on_full)
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_on_full", "/on_full")


def test_immediate_mode_has_nothing_to_drop() -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver(on_full="drop")
    assert caught.value.code == "invalid_on_full"
    Resolver(on_full="refuse").close()


def test_refusing_is_the_default_and_leaves_no_gap(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred", capacity=CAPACITY)
    fill(rig)
    for call in (rig.resolve, lambda: rig.resolver.emit(rig.session_id, "app.x", {})):
        with pytest.raises(BufferFull) as caught:
            call()
        assert caught.value.code == "buffer_full"
    stats = rig.resolver.buffer_stats()
    assert (stats.dropped, stats.refused) == (0, 12)
    take(rig)
    assert isinstance(rig.resolver.emit(rig.session_id, "app.x", {}), RawEvent)
    assert [event_type for event_type, _ in take(rig)] == ["app.x"]


# PROTOCOL 3.7.7
def test_what_finds_no_room_is_decided_counted_and_takes_no_number(dropping: Any) -> None:
    fill(dropping)
    resolution = dropping.resolve()
    assert resolution.decision.type == dropping.first.decision.type
    assert dropping.resolver.emit(dropping.session_id, "app.x", {}) is None
    with pytest.raises(InvalidInput) as caught:
        dropping.resolve("")
    assert caught.value.code == "invalid_goal"
    stats = dropping.resolver.buffer_stats()
    assert (stats.dropped, stats.refused, stats.pushed) == (13, 0, CAPACITY)
    take(dropping)
    numbered = dropping.resolver.emit(dropping.session_id, "app.x", {})
    assert numbered is not None
    assert numbered.first_sequence == CAPACITY + 1


# PROTOCOL 3.1.21, 3.7.8
def test_the_gap_comes_before_anything_newer_of_its_session(dropping: Any) -> None:
    fill(dropping)
    dropping.resolver.emit(dropping.session_id, "app.lost", {})
    batch = dropping.resolver.drain_traces(1)
    dropping.resolver.ack(batch.batch_id)
    # One place is too few for the gap and the event.
    assert dropping.resolver.emit(dropping.session_id, "app.lost", {}) is None
    dropping.resolver.ack(dropping.resolver.drain_traces(1).batch_id)
    dropping.resolver.emit(dropping.session_id, "app.kept", {})
    assert take(dropping)[-2:] == [
        ("trace.gap", '{"cause":"buffer_full","lost_at_most":2,"lost_count":2}'),
        ("app.kept", "{}"),
    ]
    dropping.resolver.emit(dropping.session_id, "app.kept", {})
    assert take(dropping) == [("app.kept", "{}")]


def test_a_resolve_behind_its_gap_is_on_record_and_may_be_executed(dropping: Any) -> None:
    fill(dropping)
    dropping.resolve()
    take(dropping, 20)
    resolution = dropping.resolve()
    assert dropping.run("item.list", resolution_id=resolution.resolution_id).result == "ran"
    types = [event_type for event_type, _ in take(dropping)]
    assert types[-17:-14] == ["app.fill", "trace.gap", "carp.request.received"]
    assert types[-1] == "action.executed"


def test_only_the_session_that_lost_something_is_told(dropping: Any) -> None:
    other = dropping.resolver.create_session("agent-2", "goal")
    fill(dropping)
    dropping.resolver.emit(other, "app.lost", {})
    take(dropping)
    dropping.resolver.emit(dropping.session_id, "app.kept", {})
    assert [event_type for event_type, _ in take(dropping)] == ["app.kept"]


# PROTOCOL 3.7.8
def test_a_session_that_makes_no_call_is_told_once_the_buffer_is_half_empty(dropping: Any) -> None:
    fill(dropping)
    dropping.resolver.emit(dropping.session_id, "app.lost", {})
    take(dropping, CAPACITY // 2)
    assert dropping.resolver.buffer_stats().pending == CAPACITY // 2
    take(dropping, 1)
    assert take(dropping)[-1][0] == "trace.gap"


def test_gaps_come_as_far_as_there_is_room_for_them(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred", capacity=16, on_full="drop")
    sessions = []
    for _ in range(2):
        sessions += [rig.resolver.create_session("agent-2", "goal") for _ in range(10)]
        take(rig)
    fill(rig)
    assert [rig.resolver.emit(session_id, "app.lost", {}) for session_id in sessions] == [None] * 20
    take(rig)
    assert rig.resolver.buffer_stats().pending == 16
    take(rig)
    stats = rig.resolver.buffer_stats()
    assert (stats.pending, stats.dropped, stats.refused) == (4, 20, 0)


# PROTOCOL 3.7.6, 3.7.8, 3.7.9
def test_session_ended_has_room_and_stands_behind_the_gap(dropping: Any) -> None:
    fill(dropping)
    dropping.resolve()
    payload = dropping.resolver.end_session(dropping.session_id)
    assert payload["resolution_count"] == 2
    stats = dropping.resolver.buffer_stats()
    assert (stats.pending_weight, stats.capacity) == (CAPACITY + 2, CAPACITY)
    assert [event_type for event_type, _ in take(dropping)[-2:]] == ["trace.gap", "session.ended"]


def test_closing_tells_every_gap(dropping: Any) -> None:
    fill(dropping)
    dropping.resolver.emit(dropping.session_id, "app.lost", {})
    with pytest.raises(NotFound):
        dropping.resolver.end_session("01940d23-3a00-7000-8000-0000ffff0001")
    dropping.resolver.close()
    batch = dropping.resolver.drain_traces(1000)
    storage = MemoryStorage()
    ChainWriter(storage).write_batch(batch)
    gaps = storage.get_events(event_type="trace.gap")
    assert sorted((gap.session_id == dropping.session_id, gap.payload["lost_count"]) for gap in gaps) == [
        (False, 1),
        (True, 1),
    ]
    assert dropping.resolver.buffer_stats().dropped == 2


def test_the_outcome_of_a_call_stands_behind_the_gap_of_what_was_lost_while_it_ran(dropping: Any) -> None:
    def flood(parameters: Any) -> str:
        while dropping.resolver.emit(dropping.session_id, "app.fill", {}) is not None:
            pass
        return "done"

    dropping.resolver.register_executor("item.list", flood)
    assert dropping.run("item.list", resolution_id=dropping.first.resolution_id).result == "done"
    assert [event_type for event_type, _ in take(dropping)[-2:]] == ["trace.gap", "action.executed"]
    assert dropping.resolver.buffer_stats().reserved_weight == 0


# PROTOCOL 3.7.10
def test_an_execute_is_refused_before_its_executor_runs(dropping: Any) -> None:
    dropping.resolver.register_executor("item.list", lambda parameters: pytest.fail("it ran"))
    fill(dropping)
    for action_id in ("item.list", "item.delete"):
        with pytest.raises(BufferFull):
            dropping.run(action_id, resolution_id=dropping.first.resolution_id)
    stats = dropping.resolver.buffer_stats()
    assert (stats.dropped, stats.reserved_weight, stats.pending) == (0, 0, CAPACITY)


# PROTOCOL 3.7.10
def test_sessions_and_approvals_are_refused_and_nothing_is_decided(dropping: Any) -> None:
    asked = dropping.run("item.refund", {"amount": 1}, resolution_id=dropping.first.resolution_id)
    approval_id = asked.error["details"]["approval_id"]
    fill(dropping)
    with pytest.raises(BufferFull):
        dropping.resolver.create_session("agent-2", "goal")
    with pytest.raises(BufferFull):
        dropping.resolver.grant_approval(approval_id, approver="ann")
    assert dropping.resolver.statistics().sessions_active == 1
    assert dropping.resolver.approvals()[0]["state"] == "pending"
    assert dropping.resolver.buffer_stats().dropped == 0


# PROTOCOL 3.7.11
def test_nothing_runs_under_a_resolution_that_is_not_on_record(dropping: Any) -> None:
    dropping.resolver.register_executor("item.list", lambda parameters: pytest.fail("it ran"))
    fill(dropping)
    lost = dropping.resolve()
    take(dropping)
    with pytest.raises(InvalidState) as caught:
        dropping.run("item.list", resolution_id=lost.resolution_id)
    assert caught.value.code == "resolution_unrecorded"
    assert caught.value.details["pointer"] == "/execution/resolution_id"
    with pytest.raises(InvalidState) as caught:
        dropping.run("item.refund", {"amount": 1}, resolution_id=lost.resolution_id)
    assert caught.value.code == "resolution_unrecorded"
    assert dropping.resolver.explain(dropping.session_id, lost.resolution_id)[0]["action_id"] == "item.read"
    assert dropping.resolver.approvals() == []


def test_a_record_larger_than_the_buffer_is_dropped_and_told(dropping: Any) -> None:
    assert dropping.resolver.emit(dropping.session_id, "app.huge", {"v": "x" * 1024 * CAPACITY}) is None
    dropping.resolver.emit(dropping.session_id, "app.kept", {})
    assert [event_type for event_type, _ in take(dropping)[-2:]] == ["trace.gap", "app.kept"]


def test_a_request_that_was_dropped_counts_as_made(dropping: Any, request_of: Callable[..., Any]) -> None:
    request = request_of(dropping)
    fill(dropping)
    dropping.resolver.resolve_request(request)
    take(dropping)
    with pytest.raises(InvalidInput) as caught:
        dropping.resolver.resolve_request(request)
    assert caught.value.code == "duplicate_request_id"


def test_a_trace_with_a_gap_verifies_and_reads_as_any(new_rig: Callable[..., Any]) -> None:
    class Slow(MemoryStorage):
        refuses = True

        def store_events(self, events: Any) -> None:
            if self.refuses:
                raise BackendFailure("storage_failed", "not now")
            super().store_events(events)

    storage = Slow()
    rig = new_rig(tracing="deferred", capacity=CAPACITY, on_full="drop", storage=storage)
    for _ in range(CAPACITY):
        rig.resolve()
    lost = rig.resolver.buffer_stats().dropped
    assert lost > CAPACITY
    storage.refuses = False
    rig.resolver.flush_traces()
    rig.resolver.end_session(rig.session_id)
    gaps = [event for event in rig.events() if event.event_type == "trace.gap"]
    assert sum(event.payload["lost_count"] for event in gaps) == lost
    verified = verify_lines(storage.iter_lines(rig.session_id))
    assert (verified.valid, verified.warnings) == (True, ())
