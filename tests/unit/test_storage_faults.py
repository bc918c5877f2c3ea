"""What a resolver does when the storage behind it fails, forks, or comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cra_wasm import BackendFailure, InvalidState, MemoryStorage, Resolver, TraceEvent
from cra_wasm.trace.buffer import TraceRingBuffer
from cra_wasm.trace.processor import TraceProcessor

ATLAS = {
    "atlas_version": "1.0",
    "atlas_id": "test.shop",
    "version": "1.0.0",
    "name": "T",
    "description": "",
    "actions": [
        {"action_id": "t.a", "name": "A", "description": ""},
        {"action_id": "t.risky", "name": "B", "description": "", "risk_tier": "critical"},
    ],
    "policies": [{"policy_id": "all", "type": "allow"}],
}


class Switched(MemoryStorage):
    """A storage that somebody can break and mend."""

    broken = False

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        if self.broken:
            raise BackendFailure("storage_failed", "broken")
        super().store_events(events)

    def get_events(self, *args: Any, **options: Any) -> list[TraceEvent]:
        if self.broken:
            raise OSError("broken")
        return super().get_events(*args, **options)


def deferred(storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """A deferred resolver whose background does nothing: the test flushes."""
    monkeypatch.setattr(TraceProcessor, "_step", lambda self: None)
    resolver = Resolver(tracing="deferred", storage=storage)
    resolver.load_atlas(ATLAS)
    return resolver


def test_a_session_that_cannot_go_on_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    resolver = deferred(storage, monkeypatch)
    lost, other = resolver.create_session("a", "g"), resolver.create_session("b", "g")
    resolver.flush_traces()
    storage.delete_session(lost)
    resolver.resolve(lost, "x")
    resolver.resolve(other, "y")
    with pytest.raises(InvalidState) as caught:
        resolver.flush_traces()
    assert (caught.value.code, caught.value.details["sessions"]) == ("sequence_gap", [lost])
    assert resolver.verify_chain(other).events == 5
    resolver.resolve(lost, "x")
    resolver.resolve(other, "y")
    resolver.flush_traces()
    assert resolver.verify_chain(other).events == 9
    assert storage.count(lost) == 0
    stats = resolver.buffer_stats()
    assert (stats.pending, stats.in_flight) == (0, 0)
    resolver.close()


def test_a_loser_of_a_fork_never_joins_the_winner_s_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    resolver = deferred(storage, monkeypatch)
    session = resolver.create_session("a", "g")
    resolver.flush_traces()
    # Another writer took number 1, and left off where our second event would fit.
    winner = resolver.get_trace(session)[0]
    taken = TraceEvent(
        event_id=winner.event_id,
        trace_id=winner.trace_id,
        span_id=winner.span_id,
        parent_span_id=None,
        session_id=session,
        sequence=1,
        timestamp=winner.timestamp,
        event_type="other.writer",
        payload_json="{}",
        event_hash="f" * 64,
        previous_event_hash=winner.event_hash,
    )
    resolver.emit(session, "app.one", {})
    storage.store_events([taken])
    # A new processor has no head in memory, as after a restart.
    resolver._processor._writer._heads.clear()  # type: ignore[union-attr]
    with pytest.raises(InvalidState) as caught:
        resolver.flush_traces()
    assert caught.value.code == "session_forked"
    resolver.emit(session, "app.two", {})
    resolver.flush_traces()
    assert [event.event_type for event in storage.get_events(session)] == ["session.started", "other.writer"]
    resolver.close()


def test_a_storage_that_cannot_be_read_keeps_the_batch_and_is_no_raw_exception(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = Switched()
    resolver = deferred(storage, monkeypatch)
    storage.broken = True
    session = resolver.create_session("a", "g")
    with pytest.raises(BackendFailure):
        resolver.flush_traces()
    storage.broken = False
    resolver.flush_traces()
    assert resolver.verify_chain(session).events == 1
    resolver.close()


def test_immediate_mode_tells_a_broken_storage_as_a_backend_failure() -> None:
    storage = Switched()
    storage.broken = True
    with pytest.raises(BackendFailure):
        Resolver(storage=storage).create_session("a", "g")


def test_a_close_that_could_not_store_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Switched()
    resolver = deferred(storage, monkeypatch)
    session = resolver.create_session("a", "g")
    storage.broken = True
    with pytest.raises(BackendFailure):
        resolver.close()
    storage.broken = False
    resolver.close()
    assert storage.count(session) == 1


def test_a_critical_action_does_not_run_before_its_approval_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = Switched()
    resolver = deferred(storage, monkeypatch)
    ran: list[str] = []
    for action in ("t.a", "t.risky"):
        resolver.register_executor(action, lambda parameters, action=action: ran.append(action))
    session = resolver.create_session("a", "g")
    resolution_id = resolver.resolve(session, "g").resolution_id
    storage.broken = True
    assert resolver.execute(session, resolution_id, "t.a", {}).status == "success"
    with pytest.raises(BackendFailure):
        resolver.execute(session, resolution_id, "t.risky", {})
    assert ran == ["t.a"]
    storage.broken = False
    assert resolver.execute(session, resolution_id, "t.risky", {}).status == "success"
    assert ran == ["t.a", "t.risky"]
    failed = [event.payload for event in resolver.get_trace(session) if event.event_type == "action.failed"]
    assert [payload["error_code"] for payload in failed] == ["not_durable"]
    resolver.close()


def test_the_outcome_of_a_call_is_recorded_once_the_storage_is_back() -> None:
    storage = Switched()
    resolver = Resolver(storage=storage)
    resolver.load_atlas(ATLAS)
    session = resolver.create_session("a", "g")
    resolution_id = resolver.resolve(session, "g").resolution_id

    def run(parameters: dict[str, Any]) -> str:
        storage.broken = True
        return "done"

    resolver.register_executor("t.a", run)
    with pytest.raises(BackendFailure):
        resolver.execute(session, resolution_id, "t.a", {}, idempotency_key="k")
    storage.broken = False
    again = resolver.execute(session, resolution_id, "t.a", {}, idempotency_key="k")
    assert (again.status, again.result) == ("success", "done")
    resolver.end_session(session)
    types = [event.event_type for event in resolver.get_trace(session)]
    assert types[-3:] == ["action.approved", "action.executed", "session.ended"]
    assert resolver.verify_chain(session).valid


def test_a_processor_counts_what_it_put_aside() -> None:
    buffer = TraceRingBuffer()
    processor = TraceProcessor(buffer, MemoryStorage())
    assert processor.statistics().events_quarantined == 0
