"""runtime.heartbeat and clock.step: what the record tells of time itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from cra_wasm import BufferFull, InvalidInput, MemoryStorage, NotFound, Resolver
from cra_wasm.testing import FakeClock, MockTimerBackend, SequentialIds
from cra_wasm.timing.config import HeartbeatConfig


class ClockRig:
    """A resolver whose own session can be read."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.timers = MockTimerBackend(self.clock)
        self.storage = options.pop("storage", None) or MemoryStorage()
        self.resolver = Resolver(
            clock=self.clock, ids=SequentialIds(), timers=self.timers, storage=self.storage, **options
        )

    def create(self) -> str:
        return self.resolver.create_session("agent-1", "work")

    def own(self, event_type: str) -> list[dict[str, Any]]:
        """Return the payloads of that type in the runtime's own session."""
        self.resolver.flush_traces()
        starts = self.storage.get_events(event_type="session.started")
        own = {one.session_id for one in starts if one.payload["agent_id"] == "cra-runtime"}
        assert len(own) <= 1
        found = self.storage.get_events(event_type=event_type)
        return [event.payload for event in found if event.session_id in own]

    def types(self, session_id: str) -> list[str]:
        return [event.event_type for event in self.resolver.get_trace(session_id)]


@pytest.fixture
def new_clock_rig() -> Any:
    made: list[ClockRig] = []

    def make(**options: Any) -> ClockRig:
        made.append(ClockRig(**options))
        return made[-1]

    yield make
    for rig in made:
        rig.resolver.close()


@pytest.mark.parametrize("name", ["heartbeat", "session_ttl"])
@pytest.mark.parametrize("value", [30, True, {}, "30"])
def test_a_setting_of_time_that_is_no_configuration_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver(**{name: value})
    assert (caught.value.code, caught.value.details["pointer"]) == (f"invalid_{name}", f"/{name}")


# PROTOCOL 3.15.1
def test_a_heartbeat_tells_how_the_runtime_is(new_clock_rig: Callable[..., ClockRig]) -> None:
    rig = new_clock_rig(heartbeat=HeartbeatConfig(interval_seconds=10), tracing="deferred")
    rig.create()
    rig.timers.advance(25_000)
    first, second = rig.own("runtime.heartbeat")
    assert (first["uptime_ms"], second["uptime_ms"]) == (10_000, 20_000)
    assert first["active_sessions"] == 1
    assert (first["drift_ms"], first["missed"]) == (0, 0)
    assert first["buffer"]["capacity"] == 65_536
    assert 0 <= first["pressure"] < 0.1
    assert rig.resolver.statistics().clock.heartbeats == 2


def test_immediate_mode_has_no_buffer_to_tell_of(new_clock_rig: Callable[..., ClockRig]) -> None:
    rig = new_clock_rig(heartbeat=HeartbeatConfig(interval_seconds=1))
    rig.timers.advance(1_000)
    (beat,) = rig.own("runtime.heartbeat")
    assert set(beat) == {"active_sessions", "drift_ms", "missed", "uptime_ms"}


# PROTOCOL 3.14.10, 3.15.2
def test_missed_beats_are_not_made_up_for_and_the_drift_is_told(
    new_clock_rig: Callable[..., ClockRig],
) -> None:
    rig = new_clock_rig(heartbeat=HeartbeatConfig(interval_seconds=1))
    rig.timers.advance(3_000)
    rig.clock.advance(60)
    rig.timers.advance(0)
    beats = rig.own("runtime.heartbeat")
    assert [beat["drift_ms"] for beat in beats] == [0, 0, 0, 59_000]
    (step,) = rig.own("clock.step")
    assert step == {
        "gap_ms": 59_000,
        "monotonic_ms": 59_000,
        "steps": 0,
        "suspensions": 1,
        "wall_ms": 59_000,
    }


@pytest.mark.parametrize("on_full", ["refuse", "drop"])
def test_a_beat_without_room_is_counted_and_told_by_the_next(
    new_clock_rig: Callable[..., ClockRig], on_full: str
) -> None:
    clock = FakeClock()
    timers = MockTimerBackend(clock)
    resolver = Resolver(
        clock=clock,
        timers=timers,
        heartbeat=HeartbeatConfig(interval_seconds=1),
        tracing="deferred",
        capacity=16,
        on_full=on_full,  # type: ignore[arg-type]
    )
    session_id = resolver.create_session("agent-1", "work")
    timers.advance(1_000)
    while resolver.buffer_pressure() < 1:
        resolver.emit(session_id, "app.step", {})
    timers.advance(3_000)
    assert resolver.statistics().clock.heartbeats_missed == 3
    assert resolver.statistics().clock.timers is not None
    assert resolver.statistics().clock.timers.failures == 0
    resolver.ack(resolver.drain_traces(100).batch_id)
    timers.advance(1_000)
    assert b'"missed":3' in resolver.drain_traces(100).data
    assert resolver.statistics().clock.heartbeats_missed == 0
    resolver.close()


# PROTOCOL 3.15.3
def test_the_runtime_s_own_session_never_expires(new_clock_rig: Callable[..., ClockRig]) -> None:
    from cra_wasm.timing.config import SessionTTLConfig

    rig = new_clock_rig(
        heartbeat=HeartbeatConfig(interval_seconds=3_000),
        session_ttl=SessionTTLConfig(idle_timeout_seconds=10, max_lifetime_seconds=20),
    )
    rig.timers.advance(10_000_000)
    assert len(rig.own("runtime.heartbeat")) == 3
    assert rig.own("session.ended") == []


# PROTOCOL 3.14.1, 3.14.8, 3.14.9, 3.14.11
@pytest.mark.parametrize("seconds", [-3_600.0, -1.5, 1.5, 3_600.0])
def test_a_step_stands_before_what_the_session_does_next_and_in_the_runtime_s_own(
    new_clock_rig: Callable[..., ClockRig], seconds: float
) -> None:
    rig = new_clock_rig()
    one, other = rig.create(), rig.create()
    rig.clock.advance(10)
    rig.clock.step_wall(seconds)
    rig.resolver.emit(one, "app.step", {})
    expected = {
        "gap_ms": int(seconds * 1_000),
        "monotonic_ms": 10_000,
        "steps": 1,
        "suspensions": 0,
        "wall_ms": int((10 + seconds) * 1_000),
    }
    assert rig.own("clock.step") == [expected]
    assert rig.types(one) == ["session.started", "clock.step", "app.step"]
    assert rig.resolver.get_trace(one)[1].payload == expected
    assert rig.types(other) == ["session.started"]
    rig.resolver.emit(other, "app.step", {})
    assert rig.types(other) == ["session.started", "clock.step", "app.step"]
    assert rig.own("clock.step") == [expected]
    for session_id in (one, other):
        assert rig.resolver.verify_chain(session_id).valid


# PROTOCOL 3.14.9
def test_a_session_that_slept_through_several_steps_is_told_their_sum_once(
    new_clock_rig: Callable[..., ClockRig],
) -> None:
    rig = new_clock_rig()
    awake, asleep = rig.create(), rig.create()
    for seconds in (100, -40, 7):
        rig.clock.step_wall(seconds)
        rig.resolver.emit(awake, "app.step", {})
    rig.resolver.end_session(asleep)
    (told,) = (one for one in rig.resolver.get_trace(asleep) if one.event_type == "clock.step")
    assert (told.payload["steps"], told.payload["gap_ms"]) == (3, 67_000)
    assert rig.types(awake).count("clock.step") == 3


# PROTOCOL 3.14.8
def test_less_than_a_second_is_no_step(new_clock_rig: Callable[..., ClockRig]) -> None:
    rig = new_clock_rig()
    session_id = rig.create()
    rig.clock.step_wall(0.9)
    rig.resolver.emit(session_id, "app.step", {})
    assert rig.types(session_id) == ["session.started", "app.step"]


# PROTOCOL 3.14.9
def test_a_session_that_starts_after_a_step_is_not_told_of_it(
    new_clock_rig: Callable[..., ClockRig],
) -> None:
    rig = new_clock_rig()
    rig.clock.step_wall(60)
    session_id = rig.create()
    rig.resolver.emit(session_id, "app.step", {})
    assert rig.types(session_id) == ["session.started", "app.step"]
    rig.resolver.close()
    assert len(rig.own("clock.step")) == 1


# PROTOCOL 3.14.9
def test_a_full_buffer_has_room_for_a_step(new_clock_rig: Callable[..., ClockRig]) -> None:
    clock = FakeClock()
    resolver = Resolver(clock=clock, tracing="deferred", capacity=16)
    session_id = resolver.create_session("agent-1", "work")
    for _ in range(15):
        resolver.emit(session_id, "app.step", {})
    clock.step_wall(-5)
    resolver.end_session(session_id)
    data = resolver.drain_traces(100).data
    assert data.count(b"clock.step") == 2
    assert data.index(b"clock.step") < data.index(b"session.ended")
    resolver.close()


# PROTOCOL 3.14.9
@pytest.mark.parametrize("on_full", ["refuse", "drop"])
def test_a_clock_that_goes_back_and_forth_fills_no_memory_behind_a_full_buffer(on_full: Any) -> None:
    clock = FakeClock()
    resolver = Resolver(clock=clock, tracing="deferred", capacity=16, on_full=on_full)
    session_id = resolver.create_session("agent-1", "work")
    for _ in range(100):
        clock.step_wall(10)
        with suppress(BufferFull):
            resolver.emit(session_id, "app.step", {})
        with suppress(NotFound):
            resolver.emit("01940d23-3a00-7000-8000-000000000000", "app.step", {})
    assert resolver.buffer_stats().pending <= 16 + 2
    resolver.ack(resolver.drain_traces(100).batch_id)
    resolver.emit(session_id, "app.step", {})
    lines = [line.split("\x1f") for line in resolver.drain_traces(100).data.decode().splitlines()]
    told = [json.loads(payload) for *_, kind, payload in lines if kind == "clock.step"]
    types = [kind for *_, kind, _ in lines]
    assert types.index("clock.step") < types.index("app.step")
    assert all(one["steps"] > 80 and one["gap_ms"] == one["steps"] * 10_000 for one in told)
    assert len(told) == 2
    resolver.close()


def test_statistics_show_what_was_noticed(new_clock_rig: Callable[..., ClockRig]) -> None:
    rig = new_clock_rig(heartbeat=HeartbeatConfig(interval_seconds=30))
    rig.timers.advance(1_000)
    rig.clock.step_wall(-5)
    clock = rig.resolver.statistics().clock
    assert (clock.uptime_ms, clock.steps, clock.gap_ms, clock.suspensions) == (1_000, 1, -5_000, 0)
    assert clock.timers is not None
    assert (clock.timers.backend, clock.timers.named) == ("mock", 1)
    assert clock.timers.next_due_ms == 29_000


class SteppedWhileRead:
    """A timeline of which another thread finds a step right after its steps were read for the nth time."""

    def __init__(self, timeline: Any, reads: int) -> None:
        self._timeline = timeline
        self._reads = reads

    @property
    def steps(self) -> Any:
        found = self._timeline.steps
        self._reads -= 1
        if self._reads == 0:
            self._timeline.note_suspension(5_000_000_000)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._timeline, name)


@pytest.mark.parametrize("reads", [1, 2])
def test_a_step_that_the_timers_find_while_a_call_looks_is_told_before_the_next_event(
    new_clock_rig: Callable[..., ClockRig], reads: int
) -> None:
    rig = new_clock_rig()
    session_id = rig.create()
    expiry = rig.resolver._sessions.expiry
    timeline = expiry._timeline
    expiry._timeline = SteppedWhileRead(timeline, reads)  # type: ignore[assignment]
    expiry.look(rig.resolver._sessions.find(session_id), *timeline.read())
    rig.resolver.emit(session_id, "host.note", {})
    assert rig.types(session_id) == ["session.started", "clock.step", "host.note"]
