"""Sessions end in time: by a timer where one fires, and at the next call where none ever does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import InvalidInput, InvalidState, MemoryStorage
from cra_wasm.testing import FakeClock, MockTimerBackend
from cra_wasm.timing.config import MAX_SECONDS, HeartbeatConfig, SessionTTLConfig

READ = {"item_id": "a"}
IDLE = SessionTTLConfig(idle_timeout_seconds=60, max_lifetime_seconds=None)
LIFE = SessionTTLConfig(idle_timeout_seconds=None, max_lifetime_seconds=60)


class DeadBackend(MockTimerBackend):
    """Takes every timer and never fires one."""

    def advance(self, delay_ms: float) -> int:
        raise AssertionError("it never fires")


@pytest.fixture
def new_timed_rig(new_rig: Callable[..., Any]) -> Callable[..., Any]:
    def make(session_ttl: SessionTTLConfig | None = IDLE, *, dead: bool = False, **options: Any) -> Any:
        clock = FakeClock()
        timers = DeadBackend(clock) if dead else MockTimerBackend(clock)
        rig = new_rig(clock=clock, timers=timers, session_ttl=session_ttl, **options)
        rig.timers = timers
        rig.resolver.register_executor("item.read", lambda parameters: {"done": True})
        return rig

    return make


def ended(rig: Any, session_id: str | None = None) -> dict[str, Any] | None:
    """Return the payload of session.ended, None while it runs."""
    last = rig.events(session_id)[-1]
    return last.payload if last.event_type == "session.ended" else None


# PROTOCOL 3.14.4, 3.14.5
def test_an_idle_session_ends_with_reason_timeout(new_timed_rig: Callable[..., Any]) -> None:
    rig = new_timed_rig()
    rig.timers.advance(59_900)
    assert ended(rig) is None
    rig.timers.advance(100)
    payload = ended(rig)
    assert payload is not None
    assert payload["reason"] == "timeout"
    assert 59_990 <= payload["duration_ms"] <= 60_000
    assert rig.resolver.statistics().sessions_active == 0
    assert rig.resolver.statistics().clock.sessions_timed_out == 1
    assert rig.resolver.verify_chain(rig.session_id).valid


def test_activity_moves_the_end_on(new_timed_rig: Callable[..., Any]) -> None:
    rig = new_timed_rig()
    for _ in range(5):
        rig.timers.advance(50_000)
        rig.resolve()
    rig.timers.advance(59_000)
    rig.run("item.read", READ)
    rig.timers.advance(59_000)
    assert ended(rig) is None
    rig.timers.advance(1_000)
    assert ended(rig) is not None


def test_a_lifetime_ends_a_session_that_never_rests(new_timed_rig: Callable[..., Any]) -> None:
    rig = new_timed_rig(LIFE)
    for _ in range(11):
        rig.timers.advance(5_000)
        rig.resolve()
    rig.timers.advance(5_000)
    payload = ended(rig)
    assert payload is not None and payload["reason"] == "timeout"


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "resolve": lambda rig, resolution_id: rig.resolve(),
    "resolve with options": lambda rig, resolution_id: rig.resolve(context_hints=["x"]),
    "execute": lambda rig, resolution_id: rig.run("item.read", READ, resolution_id=resolution_id),
    "emit": lambda rig, resolution_id: rig.resolver.emit(rig.session_id, "app.step", {}),
    "explain": lambda rig, resolution_id: rig.resolver.explain(rig.session_id, resolution_id),
    "end": lambda rig, resolution_id: rig.resolver.end_session(rig.session_id),
    "grant": lambda rig, resolution_id: rig.resolver.grant_approval(
        rig.resolver.approvals(rig.session_id)[0]["approval_id"], approver="ann"
    ),
    "refuse": lambda rig, resolution_id: rig.resolver.refuse_approval(
        rig.resolver.approvals(rig.session_id)[0]["approval_id"], approver="ann"
    ),
}


# PROTOCOL 3.14.3
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("ttl", [IDLE, LIFE], ids=["idle", "lifetime"])
@pytest.mark.parametrize("passes", ["advance", "sleep_machine", "step_wall"])
@pytest.mark.parametrize("tracing", ["immediate", "deferred"])
def test_however_late_its_timer_is_an_expired_session_can_never_act(
    new_timed_rig: Callable[..., Any], ttl: SessionTTLConfig, name: str, passes: str, tracing: str
) -> None:
    ran = []
    rig = new_timed_rig(ttl, dead=True, tracing=tracing, storage=MemoryStorage())
    rig.resolver.register_executor("item.read", lambda parameters: ran.append(parameters))
    rig.resolver.register_executor("item.refund", lambda parameters: ran.append(parameters))
    resolution_id = rig.resolve().resolution_id
    asked = rig.run("item.refund", {"amount": 1}, resolution_id=resolution_id)
    assert asked.status == "pending_approval"
    getattr(rig.clock, passes)(60)
    before = len(rig.events())
    with pytest.raises(InvalidState) as refused:
        CALLS[name](rig, resolution_id)
    assert refused.value.code == "session_ended"
    assert ran == []
    new = [event.event_type for event in rig.events()][before:]
    assert new == (["session.ended"] if passes == "advance" else ["clock.step", "session.ended"])
    assert rig.resolver.approvals() == []
    assert rig.resolver.verify_chain(rig.session_id).valid
    with pytest.raises(InvalidState) as again:
        CALLS["resolve"](rig, resolution_id)
    assert again.value.code == "session_ended"
    assert len(rig.events()) == before + len(new)


# PROTOCOL 3.14.7
@pytest.mark.parametrize("seconds", [3600, 3601, 100_000])
def test_an_expired_resolution_can_never_act_though_no_timer_fires(
    new_timed_rig: Callable[..., Any], seconds: int
) -> None:
    rig = new_timed_rig(None, dead=True)
    resolution_id = rig.resolve().resolution_id
    rig.clock.advance(seconds)
    with pytest.raises(InvalidState) as refused:
        rig.run("item.read", READ, resolution_id=resolution_id)
    assert refused.value.code == "resolution_expired"


# PROTOCOL 3.14.7
def test_an_approval_that_has_expired_lets_nothing_run_though_no_timer_fires(
    new_timed_rig: Callable[..., Any],
) -> None:
    rig = new_timed_rig(None, dead=True)
    rig.resolver.register_executor("item.refund", lambda parameters: pytest.fail("it ran"))
    asked = rig.run("item.refund", {"amount": 1})
    approval_id = asked.error["details"]["approval_id"]
    rig.resolver.grant_approval(approval_id, approver="ann", expires_in_seconds=10)
    rig.clock.advance(10)
    assert rig.run("item.refund", {"amount": 1}).status == "pending_approval"


# PROTOCOL 3.14.4
def test_a_running_executor_is_no_idleness(new_timed_rig: Callable[..., Any]) -> None:
    rig = new_timed_rig()
    rig.resolver.register_executor("item.read", lambda parameters: rig.timers.advance(200_000))
    assert rig.run("item.read", READ).status == "success"
    rig.timers.advance(59_000)
    assert ended(rig) is None
    rig.timers.advance(1_000)
    assert ended(rig) is not None


def test_after_a_long_call_idleness_is_noticed_without_a_timer_too(new_timed_rig: Callable[..., Any]) -> None:
    rig = new_timed_rig(dead=True)

    def slow(parameters: Any) -> None:
        rig.clock.advance(200)
        rig.resolver.emit(rig.session_id, "app.progress", {})

    rig.resolver.register_executor("item.read", slow)
    assert rig.run("item.read", READ).status == "success"
    rig.clock.advance(60)
    with pytest.raises(InvalidState):
        rig.resolve()


# PROTOCOL 3.14.5
def test_a_lifetime_over_during_a_call_refuses_others_and_ends_behind_its_outcome(
    new_timed_rig: Callable[..., Any],
) -> None:
    rig = new_timed_rig(LIFE)
    refusals = []

    def slow(parameters: Any) -> str:
        rig.timers.advance(70_000)
        with pytest.raises(InvalidState) as refused:
            rig.resolve()
        refusals.append(refused.value.code)
        return "done"

    rig.resolver.register_executor("item.read", slow)
    assert rig.run("item.read", READ).result == "done"
    assert refusals == ["session_ended"]
    assert rig.types()[-2:] == ["action.executed", "session.ended"]
    assert rig.resolver.verify_chain(rig.session_id).valid
    assert rig.timers.advance(10_000) >= 0
    assert rig.resolver.statistics().clock.timers.tracked == 0


# PROTOCOL 3.14.2, 3.14.6
def test_a_warning_comes_once_for_each_idle_period_and_is_no_activity(
    new_timed_rig: Callable[..., Any],
) -> None:
    rig = new_timed_rig(SessionTTLConfig(idle_timeout_seconds=60, idle_warning_seconds=40))
    rig.timers.advance(50_000)
    rig.resolve()
    rig.timers.advance(39_000)
    warnings = [event for event in rig.events() if event.event_type == "session.idle"]
    assert len(warnings) == 1
    assert warnings[0].payload["idle_ms"] in range(39_990, 40_001)
    assert warnings[0].payload["ends_in_ms"] in range(20_000, 20_011)
    rig.timers.advance(21_000)
    assert rig.types()[-2:] == ["session.idle", "session.ended"]
    assert ended(rig)["reason"] == "timeout"


def test_with_a_full_buffer_a_session_still_ends_and_its_warning_waits(
    new_timed_rig: Callable[..., Any],
) -> None:
    ttl = SessionTTLConfig(idle_timeout_seconds=60, idle_warning_seconds=40)
    rig = new_timed_rig(ttl, tracing="deferred", capacity=16)
    for number in range(15):
        rig.resolver.emit(rig.session_id, "app.step", {"n": number})
    rig.timers.advance(45_000)
    batch = rig.resolver.drain_traces(100)
    assert b"session.idle" not in batch.data
    rig.resolver.ack(batch.batch_id)
    rig.timers.advance(15_000)
    batch = rig.resolver.drain_traces(100)
    assert b"session.idle" in batch.data
    assert b"session.ended" in batch.data


def test_a_storage_that_fails_only_delays_the_record_of_the_end(new_timed_rig: Callable[..., Any]) -> None:
    class Failing(MemoryStorage):
        broken = False

        def store_events(self, events: Any) -> None:
            if self.broken:
                raise OSError("disk full")
            super().store_events(events)

    storage = Failing()
    rig = new_timed_rig(storage=storage)
    resolution_id = rig.resolve().resolution_id
    storage.broken = True
    rig.timers.advance(60_000)
    with pytest.raises(Exception) as refused:
        rig.run("item.read", READ, resolution_id=resolution_id)
    assert refused.value is not None
    storage.broken = False
    rig.timers.advance(2_000)
    assert ended(rig) is not None


# PROTOCOL 3.14.8, 3.14.10
def test_after_a_freeze_sessions_end_in_the_order_of_their_deadlines_behind_a_clock_step(
    new_timed_rig: Callable[..., Any],
) -> None:
    storage = MemoryStorage()
    rig = new_timed_rig(storage=storage)
    others = []
    for _ in range(3):
        rig.timers.advance(1_000)
        others.append(rig.resolver.create_session("agent-1", "wait"))
    rig.clock.advance(300)
    assert rig.resolver.statistics().sessions_active == 4
    rig.timers.advance(0)
    ends = [event.session_id for event in storage.get_events(event_type="session.ended")]
    assert ends == [rig.session_id, *others]
    for session_id in ends:
        step, last = rig.events(session_id)[-2:]
        assert (step.event_type, last.event_type) == ("clock.step", "session.ended")
        assert step.payload["suspensions"] == 1
        assert 240_000 <= step.payload["gap_ms"] <= 243_000
    assert rig.resolver.statistics().clock.suspensions == 1


# PROTOCOL 3.14.13
def test_a_thousand_sessions_cost_one_timer_of_the_backend(new_timed_rig: Callable[..., Any]) -> None:
    rig = new_timed_rig(heartbeat=HeartbeatConfig())
    for _ in range(1_000):
        rig.resolver.create_session("agent-1", "wait")
    assert len(rig.timers._table) == 1
    assert rig.resolver.statistics().clock.timers.tracked == 1_001


def test_closing_leaves_a_given_backend_open_and_empty(new_timed_rig: Callable[..., Any]) -> None:
    rig = new_timed_rig(heartbeat=HeartbeatConfig())
    rig.resolver.close()
    assert len(rig.timers._table) == 0
    rig.timers.schedule_once("still open", 1, "")


@pytest.mark.cpython_only(reason="there are no threads inside Pyodide")
def test_without_being_asked_a_resolver_starts_no_thread_and_with_its_own_ends_it(
    new_rig: Callable[..., Any],
) -> None:
    import threading

    def timer_threads() -> int:
        return sum(thread.name == "cra-timers" for thread in threading.enumerate())

    rig = new_rig()
    assert timer_threads() == 0
    assert rig.resolver.statistics().clock.timers is None
    timed = new_rig(session_ttl=SessionTTLConfig())
    assert timer_threads() == 1
    timed.resolver.close()
    assert timer_threads() == 0


@pytest.mark.parametrize("name", ["idle_timeout_seconds", "max_lifetime_seconds"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "60", MAX_SECONDS + 1])
def test_a_ttl_that_is_no_whole_number_of_seconds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        SessionTTLConfig(**{name: value})
    assert (refused.value.code, refused.value.details["pointer"]) == ("invalid_session_ttl", f"/{name}")


@pytest.mark.parametrize("timeout", [None, 30, 10])
def test_a_warning_that_comes_no_earlier_than_the_end_is_refused(timeout: int | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        SessionTTLConfig(idle_timeout_seconds=timeout, idle_warning_seconds=30)
    assert refused.value.details["pointer"] == "/idle_warning_seconds"


@pytest.mark.parametrize("value", [0, None, 0.5, True, MAX_SECONDS + 1])
def test_a_heartbeat_that_is_no_whole_number_of_seconds_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        HeartbeatConfig(interval_seconds=value)
    assert refused.value.code == "invalid_heartbeat"
