"""Sessions: their ends, what they remember and for how long, and how the resolver closes."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from cra_wasm import BufferFull, CRAError, InvalidInput, InvalidState, MemoryStorage, NotFound, Resolver
from cra_wasm.runtime import session as session_module
from cra_wasm.runtime import sessions as sessions_module
from cra_wasm.testing import FakeClock

UNKNOWN = "01940d23-3a00-7000-8000-0000ffff0001"
WRONG_IDS: list[Any] = ["", "x", None, 7, ["a"], UNKNOWN.upper(), UNKNOWN + "\n", UNKNOWN.replace("-", "")]


def calls_on(rig: Any, session_id: Any) -> dict[str, Callable[[], Any]]:
    return {
        "resolve": lambda: rig.resolver.resolve(session_id, "goal"),
        "execute": lambda: rig.resolver.execute(session_id, UNKNOWN, "item.read", {}),
        "emit": lambda: rig.resolver.emit(session_id, "app.x", {}),
        "explain": lambda: rig.resolver.explain(session_id, UNKNOWN),
        "end_session": lambda: rig.resolver.end_session(session_id),
    }


CALLS = ["resolve", "execute", "emit", "explain", "end_session"]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("session_id", WRONG_IDS)
def test_what_is_no_session_id_is_refused(rig: Any, name: str, session_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        calls_on(rig, session_id)[name]()
    assert caught.value.code == "invalid_id"
    assert caught.value.details["pointer"] == "/requester/session_id"
    assert [one["code"] for one in rig.runtime_errors()] == ["invalid_id"]


@pytest.mark.parametrize("name", CALLS)
def test_an_unknown_session_is_not_found(rig: Any, name: str) -> None:
    with pytest.raises(NotFound) as caught:
        calls_on(rig, UNKNOWN)[name]()
    assert caught.value.code == "session_not_found"
    assert rig.runtime_errors()[0]["code"] == "session_not_found"


@pytest.mark.parametrize("name", CALLS)
def test_an_ended_session_takes_nothing_more(rig: Any, name: str) -> None:
    rig.resolver.end_session(rig.session_id)
    ended = [event.to_json() for event in rig.events()]
    with pytest.raises(InvalidState) as caught:
        calls_on(rig, rig.session_id)[name]()
    assert caught.value.code == "session_ended"
    assert [event.to_json() for event in rig.events()] == ended
    assert rig.runtime_errors()[0]["code"] == "session_ended"


@pytest.mark.parametrize("reason", ["completed", "timeout", "error", "cancelled", "interrupted"])
def test_the_end_of_a_session_tells_what_it_was(rig: Any, reason: str) -> None:
    rig.run("item.list")
    rig.clock.advance(1.25)
    payload = rig.resolver.end_session(rig.session_id, reason)
    assert payload == {"reason": reason, "duration_ms": 1250, "resolution_count": 1, "action_count": 1}
    last = rig.events()[-1]
    assert (last.event_type, last.payload) == ("session.ended", payload)
    assert last.parent_span_id == rig.events()[0].span_id
    result = rig.resolver.verify_chain(rig.session_id)
    assert (result.valid, result.warnings, result.head) == (True, (), last.event_hash)


@pytest.mark.parametrize("reason", ["", "done", None, [], 1])
def test_another_reason_is_refused_and_the_session_runs_on(rig: Any, reason: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.end_session(rig.session_id, reason)
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_reason", "/reason")
    assert rig.types() == ["session.started", "error.occurred"]
    assert rig.resolver.end_session(rig.session_id)["reason"] == "completed"


def test_a_session_started_tells_agent_goal_and_atlases(rig: Any) -> None:
    (started,) = rig.events()
    assert started.payload == {
        "agent_id": "agent-1",
        "goal": "keep the shop",
        "atlas_ids": ["test.shop"],
        "atlas_versions": {"test.shop": "1.2.3"},
    }
    assert (started.sequence, started.parent_span_id, started.previous_event_hash) == (0, None, "0" * 64)


def test_a_resolution_of_another_session_is_not_found(rig: Any) -> None:
    resolution = rig.resolve()
    other = rig.resolver.create_session("agent-1", "other")
    with pytest.raises(NotFound) as caught:
        rig.resolver.execute(other, resolution.resolution_id, "item.list", {})
    assert caught.value.code == "resolution_not_found"
    types = [event.event_type for event in rig.resolver.get_trace(other)]
    assert types == ["session.started", "error.occurred"]


class ShuffledIds:
    """Ids of one millisecond in no order, as the system's source gives them."""

    def __init__(self) -> None:
        self._numbers = list(range(1, 4000))
        random.Random(7).shuffle(self._numbers)

    def reserve(self, wall_ns: int) -> int:
        from cra_wasm.model.ids import uuid7

        return uuid7(wall_ns, self._numbers.pop() << 16)


# PROTOCOL 0.3.10, 2.2.4
@pytest.mark.parametrize("ids", [None, ShuffledIds()], ids=["system", "shuffled"])
def test_the_latest_1024_resolutions_are_remembered_and_older_ones_have_expired(
    shop: dict[str, Any], ids: Any
) -> None:
    resolver = Resolver(clock=FakeClock(), ids=ids)
    resolver.load_atlas(shop)
    resolver.register_executor("item.list", lambda parameters: "ran")
    session_id = resolver.create_session("agent", "goal")
    made = [resolver.resolve(session_id, "g", required_capabilities=["reading"]) for _ in range(1054)]
    assert resolver.statistics().resolutions_remembered == 1024
    codes = []
    for resolution in made[:30]:
        with pytest.raises(InvalidState) as caught:
            resolver.execute(session_id, resolution.resolution_id, "item.list", {})
        codes.append(caught.value.code)
    assert codes == ["resolution_expired"] * 30
    for resolution in (made[30], made[-1]):
        answer = resolver.execute(session_id, resolution.resolution_id, "item.list", {})
        assert answer.status == "success"


# PROTOCOL 0.3.10
def test_above_the_cap_of_all_sessions_the_oldest_go(
    new_rig: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "RESOLUTIONS_IN_ALL", 8)
    monkeypatch.setattr(sessions_module, "_FORGET_AT_ONCE", 2)
    rig = new_rig()
    resolver = rig.resolver
    other = resolver.create_session("agent-1", "other")
    made = []
    for number in range(9):
        session_id = (rig.session_id, other)[number % 2]
        made.append((session_id, resolver.resolve(session_id, "g").resolution_id))
        rig.clock.advance(1)
    assert resolver.statistics().resolutions_remembered == 7
    for session_id, resolution_id in made[:2]:
        with pytest.raises(InvalidState) as caught:
            resolver.explain(session_id, resolution_id)
        assert caught.value.code == "resolution_expired"
    for session_id, resolution_id in made[2:]:
        assert resolver.explain(session_id, resolution_id)
    resolver.end_session(other)
    assert resolver.statistics().resolutions_remembered == 4
    resolver.end_session(rig.session_id)
    assert resolver.statistics().resolutions_remembered == 0


def expired(rig: Any, resolution_id: str) -> bool:
    try:
        rig.resolver.explain(rig.session_id, resolution_id)
    except InvalidState as error:
        assert error.code == "resolution_expired"
        return True
    return False


@pytest.mark.parametrize("passes", ["advance", "sleep_machine", "step_wall"])
def test_a_resolution_expires_when_its_ttl_is_over(new_rig: Callable[..., Any], passes: str) -> None:
    rig = new_rig(ttl_seconds=60)
    resolution = rig.resolve()
    assert resolution.ttl_seconds == 60
    getattr(rig.clock, passes)(59.999)
    assert not expired(rig, resolution.resolution_id)
    getattr(rig.clock, passes)(0.001)
    assert expired(rig, resolution.resolution_id)


@pytest.mark.parametrize("back", [0.5, 30, 86_400])
def test_a_wall_clock_set_back_prolongs_nothing(new_rig: Callable[..., Any], back: float) -> None:
    rig = new_rig(ttl_seconds=60)
    resolution = rig.resolve()
    rig.clock.step_wall(-back)
    rig.clock.advance(59)
    assert not expired(rig, resolution.resolution_id)
    rig.clock.advance(1)
    assert expired(rig, resolution.resolution_id)


def test_an_expired_resolution_stays_expired_when_the_wall_clock_goes_back(
    new_rig: Callable[..., Any],
) -> None:
    rig = new_rig(ttl_seconds=60)
    resolution = rig.resolve()
    rig.clock.step_wall(61)
    assert expired(rig, resolution.resolution_id)
    rig.clock.step_wall(-61)
    assert expired(rig, resolution.resolution_id)


def test_the_default_ttl_is_an_hour(rig: Any) -> None:
    resolution = rig.resolve()
    rig.clock.advance(3599.999)
    assert rig.run("item.list", resolution_id=resolution.resolution_id).status == "success"
    rig.clock.advance(0.001)
    assert expired(rig, resolution.resolution_id)


@pytest.mark.parametrize("ttl_seconds", [0, 86_401, -1, True, "60", 60.5, None])
def test_a_ttl_out_of_range_is_refused(ttl_seconds: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver(ttl_seconds=ttl_seconds)
    assert caught.value.code == "invalid_ttl"


def test_only_the_latest_ended_sessions_are_known_as_ended(
    new_rig: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sessions_module.ENDED_SESSIONS_KNOWN == 1024
    assert session_module.RESOLUTIONS_PER_SESSION == 1024
    rig = new_rig()
    rig.resolver.end_session(rig.session_id)
    for _ in range(1024):
        rig.resolver.end_session(rig.resolver.create_session("a", "g"))
    with pytest.raises(NotFound):
        rig.resolve()


@pytest.mark.parametrize("tracing", ["immediate", "deferred"])
def test_close_ends_the_runtimes_own_session_and_is_idempotent(
    new_rig: Callable[..., Any], tracing: str
) -> None:
    storage = MemoryStorage()
    rig = new_rig(tracing=tracing, storage=storage)
    with pytest.raises(NotFound):
        rig.resolver.resolve(UNKNOWN, "g")
    rig.resolver.close()
    own = next(one for one in storage.sessions() if one != rig.session_id)
    assert [event.event_type for event in storage.get_events(own)] == [
        "session.started",
        "error.occurred",
        "session.ended",
    ]
    assert rig.resolver.verify_chain(own).warnings == ()
    before = storage.count()
    rig.resolver.close()
    assert storage.count() == before
    assert rig.types() == ["session.started"]


@pytest.mark.parametrize("tracing", ["immediate", "deferred"])
def test_a_closed_resolver_refuses_what_would_be_recorded_and_still_reads(
    new_rig: Callable[..., Any], shop: dict[str, Any], tracing: str
) -> None:
    storage = MemoryStorage()
    rig = new_rig(tracing=tracing, storage=storage)
    resolution = rig.resolve()
    rig.resolver.close()
    before = storage.count()
    calls = calls_on(rig, rig.session_id)
    del calls["explain"]
    calls |= {
        "create_session": lambda: rig.resolver.create_session("a", "g"),
        "load_atlas": lambda: rig.resolver.load_atlas(shop),
        "unload_atlas": lambda: rig.resolver.unload_atlas("test.shop"),
        "grant_approval": lambda: rig.resolver.grant_approval(UNKNOWN, approver="ann"),
        "resolve_request": lambda: rig.resolver.resolve_request("{}"),
    }
    for name, call in calls.items():
        with pytest.raises(InvalidState) as caught:
            call()
        assert (name, caught.value.code) == (name, "resolver_closed")
    rig.resolver.flush_traces()
    assert storage.count() == before
    assert rig.resolver.statistics().sessions_active == 1
    assert rig.resolver.explain(rig.session_id, resolution.resolution_id)
    assert rig.resolver.verify_chain(rig.session_id).valid


def test_what_is_left_can_be_drained_after_close(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred")
    rig.resolver.close()
    batch = rig.resolver.drain_traces(99)
    assert (batch.count, batch.groups[0].session_id) == (1, rig.session_id)
    assert rig.resolver.ack(batch.batch_id)


@pytest.mark.parametrize("call", ["drain_traces", "ack", "redeliver", "buffer_stats"])
def test_immediate_mode_has_nothing_to_drain(rig: Any, call: str) -> None:
    arguments = [1] if call in ("drain_traces", "ack") else []
    with pytest.raises(InvalidState) as caught:
        getattr(rig.resolver, call)(*arguments)
    assert caught.value.code == "not_deferred"
    assert rig.resolver.buffer_pressure() == 0.0
    assert rig.resolver.flush_traces() == 0


def test_with_a_storage_the_processor_is_the_one_consumer(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred", storage=MemoryStorage())
    with pytest.raises(InvalidState) as caught:
        rig.resolver.drain_traces(9)
    assert caught.value.code == "buffer_consumed"
    assert rig.types() == ["session.started"]


@pytest.mark.parametrize("call", ["get_trace", "verify_chain", "flush_traces"])
def test_traces_drained_elsewhere_are_read_elsewhere(new_rig: Callable[..., Any], call: str) -> None:
    rig = new_rig(tracing="deferred")
    arguments = [] if call == "flush_traces" else [rig.session_id]
    with pytest.raises(CRAError) as caught:
        getattr(rig.resolver, call)(*arguments)
    assert (caught.value.code, caught.value.details["pending"]) == ("traces_elsewhere", 1)


@pytest.mark.parametrize("tracing", ["later", None, ["deferred"], ""])
def test_another_way_of_tracing_is_refused(tracing: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver(tracing=tracing)
    assert caught.value.code == "invalid_tracing"


def test_no_agent_can_pose_as_the_runtime(rig: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.create_session("cra-runtime", "goal")
    assert caught.value.code == "invalid_agent_id"


def test_the_running_sessions_are_told_with_the_runtime_s_own(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred")
    ended = rig.resolver.create_session("agent-2", "goal")
    rig.resolver.end_session(ended)
    assert rig.resolver.running_sessions() == (rig.session_id,)
    with pytest.raises(NotFound):
        rig.resolver.emit(UNKNOWN, "app.x", {})
    first, own = rig.resolver.running_sessions()
    assert first == rig.session_id
    drained = [group.session_id for group in rig.resolver.drain_traces(1000).groups]
    assert set(drained) == {rig.session_id, ended, own}


@pytest.mark.parametrize(("on_full", "bound"), [("refuse", 66), ("drop", None)])
def test_what_may_be_unstored_is_bounded_by_the_buffer_unless_it_drops(
    new_rig: Callable[..., Any], on_full: str, bound: int | None
) -> None:
    rig = new_rig(tracing="deferred", capacity=64, on_full=on_full)
    assert rig.resolver.unstored_at_most() == bound
    for _ in range(63):
        rig.resolver.emit(rig.session_id, "app.fill", {})
    for _ in range(20):  # in which it is not told of them one by one
        rig.clock.step_wall(10)
        with suppress(BufferFull):
            rig.resolver.emit(rig.session_id, "app.fill", {})
    rig.clock.step_wall(10)
    rig.resolver.end_session(rig.session_id)
    of_session = [one for one in rig.resolver.drain_traces(1000).groups if one.session_id == rig.session_id]
    assert sum(one.count for one in of_session) <= (bound or 67)  # the trace.gap


def test_immediate_mode_leaves_nothing_unstored_and_says_so(rig: Any) -> None:
    with pytest.raises(InvalidState) as caught:
        rig.resolver.unstored_at_most()
    assert caught.value.code == "not_deferred"
