"""Replaying a session finds what was forged in its trace or changed in its atlas, at its place, and says what
cannot be told (PROTOCOL 3.11)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import CRAError, JsonlStorage, MemoryStorage, Resolver, TraceEvent, replay_trace
from cra_wasm.replay.report import MAX_LISTED, Difference, ReplayResult
from cra_wasm.testing import FakeClock, SequentialIds
from cra_wasm.trace.canonical import canonical_json

from .building import action, block, manifest, policy
from .chaining import changed, rechained
from .conftest import SHOP, Rig

Lead = Callable[[Rig], Any]


def with_executors(rig: Rig) -> Rig:
    for one in SHOP["actions"]:
        rig.resolver.register_executor(one["action_id"], lambda parameters: {"done": True})
    return rig


def live(rig: Rig) -> list[TraceEvent]:
    """A session with a bit of everything; what calls cost is left out."""
    rig.run("item.read", {"item_id": "1"})
    rig.clock.advance(1)
    for _ in range(3):
        rig.run("item.write")
        rig.clock.advance(5)
    rig.run("item.refund", {"amount": 3})
    asked = rig.resolver.approvals()[0]
    rig.run("item.refund", {"amount": 3})
    rig.resolver.grant_approval(asked["approval_id"], approver="ann", uses=2, expires_in_seconds=60)
    rig.run("item.refund", {"amount": 3})
    rig.run("item.delete")
    rig.run("item.count")
    rig.run("item.count")
    rig.resolver.emit(rig.session_id, "app.note", {"text": "halfway"})
    rig.clock.advance(100)
    rig.run("item.count")
    rig.run("item.write")
    rig.run("item.refund", {"amount": 3})
    rig.resolve("refund me", risk_tier="high", context={"region": "eu"}, context_hints=["refund"])
    rig.resolver.end_session(rig.session_id)
    return rig.events()


@pytest.fixture(scope="module")
def trace() -> list[TraceEvent]:
    return live(with_executors(Rig()))


def kinds(result: ReplayResult) -> set[str]:
    return {one.kind for one in result.undecidable}


def index_of(events: list[TraceEvent], event_type: str, which: int = 0) -> int:
    return [event.sequence for event in events if event.event_type == event_type][which]


def places(result: ReplayResult) -> list[tuple[int, str]]:
    return [(one.sequence, one.pointer) for one in result.differences]


def test_a_session_comes_out_as_recorded(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.2, 3.11.9, 3.11.10
    result = replay_trace(trace, [SHOP])
    assert result.identical
    assert (result.resolutions, result.executes, result.approvals) == (14, 13, 1)
    assert (result.differences, result.outcomes_taken, result.parameters_taken) == ((), 7, 13)
    assert kinds(result) == {"foreign_event"}
    assert result.replayed == len(trace) - result.outcomes_taken - 1


def test_a_replay_is_deterministic(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.14
    other = copy.deepcopy(SHOP)
    other["policies"][1]["actions"] = ["*.write"]
    assert replay_trace(trace, [other]) == replay_trace(trace, [other])


@pytest.mark.parametrize("tracing", ["immediate", "deferred"])
def test_traces_of_both_modes_and_of_files_replay_the_same(
    new_rig: Callable[..., Rig], tracing: str, tmp_path: Path
) -> None:
    with closing(JsonlStorage(tmp_path)) as storage:
        assert replay_trace(live(with_executors(new_rig(tracing=tracing, storage=storage))), [SHOP]).identical
    (path,) = tmp_path.rglob("*.jsonl")
    assert replay_trace(path, [SHOP]).identical
    assert replay_trace(path.read_bytes(), [json.dumps(SHOP)]).identical


def test_a_session_hashed_with_blake3_replays() -> None:
    pytest.importorskip("blake3")
    assert replay_trace(live(with_executors(Rig(hash_algorithm="blake3"))), [SHOP]).identical


@pytest.mark.parametrize(
    ("event_type", "which", "members", "pointer"),
    [
        ("policy.evaluated", 3, {"result": "deny"}, "/payload/result"),
        ("policy.evaluated", 3, {"policy_id": "purse"}, "/payload/policy_id"),
        ("policy.evaluated", 3, {"action_id": "item.other"}, ""),
        ("context.injected", 0, {"token_count": 3_000}, "/payload/token_count"),
        ("context.injected", 0, {"block_id": "other"}, ""),
        ("carp.resolution.completed", 2, {"decision_type": "allow"}, "/payload/decision_type"),
        ("carp.resolution.completed", 2, {"allowed_count": 8}, "/payload/allowed_count"),
        ("carp.resolution.completed", 2, {"denied_count": True}, "/payload/denied_count"),
        ("carp.resolution.completed", 2, {"context_block_count": 9}, "/payload/context_block_count"),
        ("carp.resolution.completed", 2, {"ttl_seconds": 7}, "/payload/ttl_seconds"),
        ("action.denied", 1, {"policy_id": "allow-most"}, ""),
        ("action.denied", 1, {"reason": "sometimes"}, ""),
        ("policy.violated", 0, {"details": {"retry_after_ms": 1}}, "/payload/details/retry_after_ms"),
        ("approval.granted", 0, {"action_id": "item.read"}, "/payload/action_id"),
        (
            "approval.granted",
            0,
            {"approval_id": "01940d23-3a00-7000-8000-000000020003"},
            "/payload/approval_id",
        ),
        ("approval.granted", 0, {"uses": 2000}, "/payload/approval_id"),
        ("action.executed", 0, {"action_id": "item.write"}, "/payload/action_id"),
        ("session.ended", 0, {"action_count": 70}, "/payload/action_count"),
        ("session.ended", 0, {"resolution_count": 0}, "/payload/resolution_count"),
    ],
)
def test_a_forged_member_is_found_at_its_place(
    trace: list[TraceEvent], event_type: str, which: int, members: dict[str, Any], pointer: str
) -> None:
    # PROTOCOL 3.11.3, 3.11.6
    index = index_of(trace, event_type, which)
    result = replay_trace(changed(trace, index, **members), [SHOP], complete=True)
    assert not result.identical
    assert (index, pointer) in places(result)


def test_a_forged_verdict_is_one_difference_and_what_follows_is_called_so(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.5
    index = index_of(trace, "policy.evaluated", 0)
    assert trace[index].payload["action_id"] == "item.read"
    result = replay_trace(changed(trace, index, result="deny"), [SHOP])
    assert result.differences == (
        Difference(
            session_id=trace[0].session_id,
            sequence=index,
            pointer="/payload/result",
            expected="deny",
            actual="allow",
            kind="verdict",
            why="here policy `allow-most` (allow) decides, allow",
        ),
    )


def forged_approval(trace: list[TraceEvent]) -> list[TraceEvent]:
    """Turn the first denied execute into an approved one."""
    violated = index_of(trace, "policy.violated")
    requested = trace[violated - 1].payload
    approved = {"action_id": requested["action_id"], "resolution_id": requested["resolution_id"]}
    forged = trace[violated]._replace(event_type="action.approved", payload_json=canonical_json(approved))
    return rechained([*trace[:violated], forged, *trace[violated + 2 :]])


def test_a_call_that_should_have_been_denied_is_found(trace: list[TraceEvent]) -> None:
    result = replay_trace(forged_approval(trace), [SHOP])
    first = result.differences[0]
    assert first.sequence == index_of(trace, "policy.violated")
    assert first.expected == {"verdict": "approved"}
    assert first.actual == {
        "verdict": "denied",
        "policy_id": "two-writes",
        "reason": "rate_limit_exceeded",
    }


def test_a_call_without_its_grant_is_found(trace: list[TraceEvent]) -> None:
    granted = index_of(trace, "approval.granted")
    result = replay_trace(rechained([*trace[:granted], *trace[granted + 1 :]]), [SHOP])
    waits = {"verdict": "waits", "policy_id": "ask-refund"}
    assert [(one.expected, one.actual) for one in result.differences] == [
        ({"verdict": "approved"}, waits),
        ({"verdict": "asks"}, waits),
    ]


def test_a_grant_that_nobody_asked_for_is_found(trace: list[TraceEvent]) -> None:
    granted = trace[index_of(trace, "approval.granted")]
    twice = rechained([*trace[: granted.sequence], granted, *trace[granted.sequence :]])
    (difference,) = replay_trace(twice, [SHOP]).differences
    assert (difference.sequence, difference.actual) == (granted.sequence + 1, {"refused": "approval_decided"})


def test_a_grant_that_is_over_does_not_serve_a_later_call(trace: list[TraceEvent]) -> None:
    last_asked = index_of(trace, "approval.requested", 1)
    requested = trace[last_asked - 1].payload
    approved = {"action_id": requested["action_id"], "resolution_id": requested["resolution_id"]}
    forged = trace[last_asked]._replace(event_type="action.approved", payload_json=canonical_json(approved))
    result = replay_trace(rechained([*trace[:last_asked], forged, *trace[last_asked + 1 :]]), [SHOP])
    assert (last_asked, "") in places(result)
    assert result.differences[0].actual == {"verdict": "asks", "policy_id": "ask-refund"}


def test_an_outcome_without_a_call_and_a_call_without_an_outcome_are_found(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.4
    executed = trace[index_of(trace, "action.executed")]
    twice = rechained([*trace[: executed.sequence], executed, *trace[executed.sequence :]])
    (difference,) = replay_trace(twice, [SHOP]).differences
    assert (difference.kind, difference.sequence) == ("unexpected_event", executed.sequence + 1)
    never = rechained([*trace[: executed.sequence], *trace[executed.sequence + 1 :]])
    (difference,) = replay_trace(never, [SHOP]).differences
    assert (difference.kind, difference.sequence) == ("missing_event", len(never) - 1)


def test_an_execute_under_a_resolution_that_nobody_made_is_found(trace: list[TraceEvent]) -> None:
    completed = index_of(trace, "carp.resolution.completed")
    forged = changed(trace, completed, resolution_id="01940d23-3a00-7000-8000-0000ffff0002")
    (difference,) = replay_trace(forged, [SHOP]).differences
    assert difference.kind == "unknown_resolution"


def test_an_execute_after_its_resolution_was_over_is_found(trace: list[TraceEvent]) -> None:
    received = index_of(trace, "action.requested") - 1
    late = [
        event if event.sequence < received else event._replace(timestamp="2024-12-29T12:00:00.000000Z")
        for event in trace[: received + 4]
    ]
    (difference,) = replay_trace(rechained(late), [SHOP]).differences
    assert difference.actual == {"verdict": "refused", "reason": "resolution_expired"}


def test_a_changed_policy_is_found_and_named(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.5, 3.11.8
    other = copy.deepcopy(SHOP)
    other["policies"][1]["actions"] = ["*.write"]
    result = replay_trace(trace, [other])
    verdicts = [one for one in result.differences if one.kind == "verdict"]
    assert {trace[one.sequence].payload["action_id"] for one in verdicts} == {"item.write", "item.delete"}
    assert "here policy `no-delete` (deny) decides, deny: never" in {one.why for one in verdicts}
    executes = [one for one in result.differences if one.kind == "consequence"]
    assert [trace[one.sequence].event_type for one in executes] == [
        *["action.approved"] * 2,
        *["action.denied"] * 2,
        "action.approved",
    ]


def test_an_action_that_the_atlas_lost_or_gained_is_found(trace: list[TraceEvent]) -> None:
    other = copy.deepcopy(SHOP)
    other["actions"][-1]["action_id"] = "item.shown"
    result = replay_trace(trace[:12], [other])
    assert [(one.sequence, one.actual) for one in result.differences if one.pointer == ""] == [
        (9, None),
        (1, {"action_id": "item.shown", "policy_id": "default-deny", "result": "deny"}),
    ]


def test_another_order_of_actions_is_found(trace: list[TraceEvent]) -> None:
    other = copy.deepcopy(SHOP)
    other["actions"].reverse()
    assert {one.kind for one in replay_trace(trace[:12], [other]).differences} == {"order"}


def test_other_context_is_found(trace: list[TraceEvent]) -> None:
    other = copy.deepcopy(SHOP)
    other["context_blocks"][0]["content"] = "Be stern." * 20
    result = replay_trace(trace, [other])
    assert {one.kind for one in result.differences} == {"context"}
    assert len(result.differences) == result.resolutions


def test_a_request_that_is_refused_here_is_found(trace: list[TraceEvent]) -> None:
    forged = changed(trace, 1, required_capabilities=["no.such"])
    first, execute = replay_trace(forged, [SHOP]).differences[:2]
    assert (first.kind, first.actual) == ("refused", {"refused": "capability_not_found"})
    assert execute.kind == "consequence"


def test_an_atlas_that_is_not_given_leaves_all_undecided(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.7
    result = replay_trace(trace, [manifest()])
    assert (result.identical, result.differences) == (False, ())
    assert kinds(result) >= {"atlas_missing"}
    assert result.undecidable_total > result.resolutions
    named = [one for one in result.undecidable if one.pointer == "/payload/atlas_ids"]
    assert "test.shop" in named[0].why


def test_another_version_is_told_even_where_nothing_differs(trace: list[TraceEvent]) -> None:
    result = replay_trace(trace, [{**SHOP, "version": "2.0.0"}])
    assert (result.identical, result.differences) == (False, ())
    assert kinds(result) == {"atlas_version", "foreign_event"}


def test_of_several_versions_the_recorded_one_is_taken(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.12
    newer = {**SHOP, "version": "2.0.0", "policies": []}
    assert replay_trace(trace, [SHOP, newer]).identical
    assert replay_trace(trace, [newer, SHOP]).identical


def test_what_calls_cost_is_undecidable_unless_their_parameters_are_known() -> None:
    rig = with_executors(Rig())
    for amount in (60, 60, 40, 1):
        rig.run("item.pay", {"amount": amount})
    rig.resolver.end_session(rig.session_id)
    blind = replay_trace(rig.events(), [SHOP])
    assert (blind.identical, blind.differences, kinds(blind)) == (False, (), {"cost_parameter"})
    given = [{"amount": 60}, {"amount": 40}, {"amount": 1}]
    seeing = replay_trace(rig.events(), [SHOP], parameters=given)
    assert (seeing.identical, seeing.parameters_taken) == (True, 0)


def test_known_parameters_are_held_to_their_schema(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.10
    strict = copy.deepcopy(SHOP)
    strict["actions"][0]["parameters_schema"]["required"] = ["count"]
    first = replay_trace(trace, [strict], parameters=[{"item_id": "1"}]).differences[0]
    assert first.actual == {"verdict": "refused", "reason": "invalid_parameters"}
    assert replay_trace(trace, [strict]).identical


def two_sessions() -> tuple[list[TraceEvent], list[TraceEvent]]:
    """Two sessions of one agent, which share its rate limit."""
    clock, storage = FakeClock(), MemoryStorage()
    resolver = Resolver(clock=clock, ids=SequentialIds(), storage=storage)
    resolver.load_atlas(copy.deepcopy(SHOP))
    resolver.register_executor("item.write", lambda parameters: None)
    ids = [resolver.create_session("agent-1", f"goal {number}") for number in range(2)]
    for session_id in [*ids, *ids]:
        clock.advance(1)
        resolution = resolver.resolve(session_id, "write")
        resolver.execute(session_id, resolution.resolution_id, "item.write", {})
    one, other = (storage.get_events(session_id) for session_id in ids)
    return one, other


def test_sessions_that_share_a_limit_replay_together() -> None:
    # PROTOCOL 3.11.11
    one, other = two_sessions()
    assert replay_trace([one, other], [SHOP], complete=True).identical
    assert replay_trace([other, one], [SHOP], complete=True).identical


def test_a_limit_that_unknown_sessions_may_have_filled_is_undecidable() -> None:
    # PROTOCOL 3.11.7
    _, other = two_sessions()
    alone = replay_trace(other, [SHOP])
    assert (alone.identical, alone.differences, kinds(alone)) == (False, (), {"other_sessions"})
    said = replay_trace(other, [SHOP], complete=True)
    assert {one.kind for one in said.differences} == {"verdict", "decision", "consequence"}


def test_who_took_first_at_one_moment_cannot_be_told() -> None:
    clock, storage = FakeClock(), MemoryStorage()
    resolver = Resolver(clock=clock, ids=SequentialIds(), storage=storage)
    resolver.load_atlas(copy.deepcopy(SHOP))
    resolver.register_executor("item.count", lambda parameters: None)
    ids = [resolver.create_session("agent-1", f"goal {number}") for number in range(2)]
    resolutions = [resolver.resolve(session_id, "count").resolution_id for session_id in ids]
    for session_id, resolution_id in zip(ids, resolutions, strict=True):
        resolver.execute(session_id, resolution_id, "item.count", {})
    one, other = (storage.get_events(session_id) for session_id in ids)
    # As ids of another writer would have it, the one that was denied comes first.
    earlier = rechained([event._replace(event_id="00" + event.event_id[2:]) for event in other])
    result = replay_trace([one, earlier], [SHOP], complete=True)
    assert (result.differences, kinds(result)) == ((), {"simultaneous"})


def test_a_clock_that_was_set_back_leaves_what_expires_undecided() -> None:
    rig = with_executors(Rig())
    rig.run("item.count")
    rig.clock.advance(10)
    rig.clock.step_wall(-3600)
    rig.run("item.count")
    rig.resolver.end_session(rig.session_id)
    result = replay_trace(rig.events(), [SHOP])
    assert (result.identical, result.differences, kinds(result)) == (False, (), {"clock", "runtime_event"})


def test_an_atlas_loaded_between_two_sessions_counts_from_the_second_one_on() -> None:
    clock, storage = FakeClock(), MemoryStorage()
    resolver = Resolver(clock=clock, ids=SequentialIds(), storage=storage)
    stock = manifest(atlas_id="test.stock", actions=[action("stock.read")], policies=[policy("all", "allow")])
    resolver.load_atlas(copy.deepcopy(SHOP))
    first = resolver.create_session("agent-1", "first")
    resolver.resolve(first, "before")
    clock.advance(1)
    resolver.load_atlas(stock)
    resolver.resolve(first, "between")
    clock.advance(1)
    second = resolver.create_session("agent-1", "second")
    resolver.resolve(second, "after")
    resolver.resolve(first, "after")
    traces = [storage.get_events(session_id) for session_id in (first, second)]
    result = replay_trace(traces, [SHOP, stock], complete=True)
    assert (result.differences, kinds(result)) == ((), {"atlases_changed"})
    assert {one.sequence for one in result.undecidable} <= set(range(13, 24))


def test_an_atlas_unloaded_between_two_sessions_is_unloaded_here() -> None:
    # PROTOCOL 3.11.12
    storage = MemoryStorage()
    resolver = Resolver(clock=FakeClock(), ids=SequentialIds(), storage=storage)
    stock = manifest(atlas_id="test.stock", actions=[action("stock.read")], policies=[policy("all", "allow")])
    for step in ((SHOP, stock), (), (stock,)):
        for atlas in step:
            resolver.load_atlas(copy.deepcopy(atlas))
        session_id = resolver.create_session("agent-1", "g")
        resolver.resolve(session_id, "g")
        resolver.end_session(session_id)
        resolver.unload_atlas(resolver.atlases()[0].atlas_id)
    traces = [storage.get_events(session_id) for session_id in storage.sessions()]
    assert replay_trace(traces, [SHOP, stock], complete=True).identical


def redacted(events: list[TraceEvent], index: int, **members: Any) -> list[TraceEvent]:
    return changed(events, index, redacted=[f"/{name}" for name in members], **members)


def test_a_goal_that_was_taken_out_leaves_only_the_context_undecided(trace: list[TraceEvent]) -> None:
    last = index_of(trace, "carp.request.received", -1)
    hints = {"context_hints": []}
    result = replay_trace(redacted(changed(trace, last, **hints), last, goal={"redacted": True}), [SHOP])
    assert (result.differences, kinds(result)) == ((), {"redacted", "foreign_event"})
    fixed = copy.deepcopy(SHOP)
    del fixed["context_blocks"][1]
    rig = with_executors(Rig())
    rig.resolver.load_atlas(fixed)
    session_id = rig.resolver.create_session("agent-1", "g")
    rig.resolver.resolve(session_id, "refund me")
    events = redacted(rig.events(session_id), 1, goal="[redacted]")
    assert replay_trace(events, [fixed]).identical


@pytest.mark.parametrize(
    ("pointer", "decided"),
    [
        ("/context/region", False),
        ("/context/mood", True),
        ("/context", False),
        ("/required_capabilities", False),
    ],
)
def test_context_that_was_taken_out_matters_where_policies_look_at_it(pointer: str, decided: bool) -> None:
    atlas = manifest(
        actions=[action("order.read")],
        policies=[policy("eu", "allow", conditions={"context_matches": {"region": "eu-*"}})],
    )
    resolver = Resolver(ids=SequentialIds(), clock=FakeClock())
    resolver.load_atlas(atlas)
    session_id = resolver.create_session("bot", "g")
    resolver.resolve(session_id, "g", context={"region": "eu-1", "mood": "good"})
    events = changed(resolver.get_trace(session_id), 1, redacted=[pointer])
    result = replay_trace(events, [atlas])
    assert (result.identical, kinds(result)) == (decided, set() if decided else {"redacted"})


def test_a_gap_leaves_the_counts_undecided(trace: list[TraceEvent]) -> None:
    gap = trace[-2]._replace(
        event_type="trace.gap",
        payload_json=canonical_json({"cause": "buffer_full", "lost_at_most": 9, "lost_count": 9}),
    )
    forged = rechained([*trace[:-1], gap, trace[-1]])
    result = replay_trace(changed(forged, len(forged) - 1, resolution_count=14), [SHOP])
    assert (result.differences, kinds(result)) == ((), {"trace_gap", "foreign_event"})


def test_a_trace_that_ends_within_a_call_says_so(trace: list[TraceEvent]) -> None:
    requested = index_of(trace, "action.requested")
    for length in (2, 8, requested + 1):
        result = replay_trace(trace[:length], [SHOP])
        assert (result.differences, kinds(result)) == ((), {"truncated"})
    assert replay_trace(trace[:requested], [SHOP]).identical is False
    assert replay_trace(trace[: requested - 1], [SHOP]).identical


def test_events_that_nobody_knows_are_listed(trace: list[TraceEvent]) -> None:
    def with_type(event_type: str) -> ReplayResult:
        strange = trace[-2]._replace(event_type=event_type, payload_json="{}")
        return replay_trace(rechained([*trace[:-1], strange, strange, trace[-1]]), [SHOP])

    assert "unknown_event" in kinds(with_type("carp.dreamt"))
    assert not with_type("carp.dreamt").identical
    heartbeat = with_type("runtime.heartbeat")
    assert heartbeat.identical
    assert [one.count for one in heartbeat.undecidable if one.kind == "runtime_event"] == [2]


def test_context_that_went_stale_tells_of_a_reload(trace: list[TraceEvent]) -> None:
    requested = index_of(trace, "action.requested")
    stale = trace[requested]._replace(
        event_type="context.stale", payload_json=canonical_json({"block_id": "b", "reason": "changed"})
    )
    result = replay_trace(rechained([*trace[:requested], stale, *trace[requested:]]), [SHOP])
    assert (result.differences, kinds(result)) == ((), {"atlases_changed", "foreign_event"})


@pytest.mark.parametrize(
    ("told", "doubted"), [({"gap_ms": 5000}, False), ({"gap_ms": -5000}, True), ({}, True)]
)
def test_a_step_of_the_clock_matters_where_it_went_back(told: dict[str, Any], doubted: bool) -> None:
    rig = with_executors(Rig())
    rig.run("item.count")
    rig.run("item.count")
    events = rig.events()
    step = events[1]._replace(event_type="clock.step", payload_json=canonical_json(told))
    forged = forged_approval(rechained([events[0], step, *events[1:]]))
    result = replay_trace(forged, [SHOP], complete=True)
    assert bool(result.differences) is not doubted
    assert ("clock" in kinds(result)) is doubted


def reused(trace: list[TraceEvent], resolution_id: str, **changes: Any) -> list[TraceEvent]:
    """Add a resolve that was answered by an earlier resolution, before the session's end."""
    index = index_of(trace, "carp.request.received")
    received = trace[index]._replace(payload_json=canonical_json(trace[index].payload | changes))
    cached = trace[index]._replace(
        event_type="carp.resolution.cached",
        payload_json=canonical_json({"resolution_id": resolution_id, "cache_hit": True}),
    )
    return rechained([*trace[:12], received, cached])


def test_a_reused_answer_is_held_to_what_comes_out_now(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.13
    resolution_id = trace[11].payload["resolution_id"]
    assert replay_trace(reused(trace, resolution_id), [SHOP]).identical
    (difference,) = replay_trace(reused(trace, resolution_id, goal="refund"), [SHOP]).differences
    assert (difference.kind, difference.sequence) == ("reuse", 13)
    (difference,) = replay_trace(reused(trace, "01940d23-3a00-7000-8000-0000ffff0002"), [SHOP]).differences
    assert difference.kind == "unknown_resolution"


def test_findings_are_bounded_and_counted() -> None:
    # PROTOCOL 3.11.14
    atlas = manifest(actions=[action(f"a.b{number}") for number in range(600)])
    resolver = Resolver(ids=SequentialIds(), clock=FakeClock())
    resolver.load_atlas(atlas)
    session_id = resolver.create_session("bot", "g")
    for _ in range(2):
        resolver.resolve(session_id, "g")
    result = replay_trace(resolver.get_trace(session_id), [{**atlas, "policies": [policy("all", "allow")]}])
    assert len(result.differences) == MAX_LISTED < result.differences_total == 2 * (2 * 600 + 3)


def test_time_windows_follow_the_times_of_the_trace() -> None:
    # PROTOCOL 3.11.2
    def atlas(end: str) -> dict[str, Any]:
        window = {"time_window": {"start": "09:00", "end": end}}
        return manifest(actions=[action("order.read")], policies=[policy("day", "allow", conditions=window)])

    resolver = Resolver(ids=SequentialIds(), clock=FakeClock())  # noon
    resolver.load_atlas(atlas("17:00"))
    session_id = resolver.create_session("bot", "g")
    resolver.resolve(session_id, "g")
    trace = resolver.get_trace(session_id)
    assert replay_trace(trace, [atlas("17:00")]).identical
    assert not replay_trace(trace, [atlas("11:00")]).identical


def test_a_bad_chain_is_refused_unless_asked_otherwise(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.11.1
    broken = [*trace[:3], trace[3]._replace(payload_json="{}"), *trace[4:]]
    with pytest.raises(CRAError) as caught:
        replay_trace(broken, [SHOP])
    assert (caught.value.code, caught.value.details["error"]) == ("invalid_trace", "hash_mismatch")
    assert caught.value.details["error_at"] == 3
    assert not replay_trace(broken, [SHOP], verify=False).identical


def test_a_part_of_a_trace_decides_nothing(trace: list[TraceEvent]) -> None:
    result = replay_trace(trace[1:], [SHOP], verify=False)
    assert (result.identical, result.differences) == (False, ())
    assert "no_start" in kinds(result)


@pytest.mark.parametrize(
    ("atlases", "code"),
    [
        ([b"{"], "invalid_atlas"),
        ([Path("no/such.json")], "file_not_found"),
        ([{**SHOP, "x": 1}], "invalid_atlas"),
    ],
)
def test_bad_atlases_are_refused(trace: list[TraceEvent], atlases: Any, code: str) -> None:
    with pytest.raises(CRAError) as caught:
        replay_trace(trace, atlases)
    assert caught.value.code == code


def test_a_session_twice_and_no_event_are_refused(trace: list[TraceEvent]) -> None:
    with pytest.raises(CRAError) as caught:
        replay_trace([trace, trace], [SHOP])
    assert caught.value.code == "duplicate_session"
    with pytest.raises(CRAError) as caught:
        replay_trace([trace, []], [SHOP])
    assert caught.value.code == "invalid_trace"


VALUES = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, "", "x", "item.read", "execute", "2024-12-28T12:00:00.000000Z"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "details"]), inner),
    max_leaves=3,
)
MEMBERS = st.sampled_from(
    sorted(
        "action_id agent_id allowed_count approval_id approver atlas_ids atlas_versions context "
        "context_hints decision_type details expires_at goal operation parameters_hash policy_id reason "
        "redacted result required_capabilities resolution_id risk_tier ttl_seconds uses".split()
    )
)
TYPES = st.sampled_from(
    "session.started session.ended carp.request.received policy.evaluated carp.resolution.completed "
    "carp.resolution.cached action.requested action.approved action.denied action.executed "
    "approval.requested approval.granted approval.refused trace.gap x.y".split()
)


@given(
    edits=st.lists(
        st.tuples(st.integers(0, 10_000), TYPES | st.none(), st.dictionaries(MEMBERS, VALUES, max_size=2)),
        min_size=1,
        max_size=8,
    ),
    drop=st.integers(0, 10_000),
)
def test_a_chain_of_nonsense_is_answered(
    edits: list[tuple[int, str | None, dict[str, Any]]], drop: int
) -> None:
    events = nonsense_base()
    for place, event_type, members in edits:
        event = events[place % len(events)]
        events[place % len(events)] = event._replace(
            event_type=event_type or event.event_type, payload_json=canonical_json(event.payload | members)
        )
    del events[drop % len(events)]
    try:
        result = replay_trace(rechained(events), [SHOP])
    except CRAError:
        return
    assert result.events == len(events)
    json.dumps(result.to_dict(), allow_nan=False)


BASE: list[TraceEvent] = []


def nonsense_base() -> list[TraceEvent]:
    if not BASE:
        BASE.extend(live(with_executors(Rig())))
    return list(BASE)


def test_blocks_by_hint_and_capability_replay() -> None:
    atlas = manifest(
        actions=[action("order.read"), action("order.refund", risk_tier="high")],
        capabilities=[{"capability_id": "orders", "name": "o", "actions": ["order.refund"]}],
        context_blocks=[block("b", keywords=["refund"]), block("c", inject_when=["*.refund"])],
        policies=[policy("all", "allow")],
    )
    resolver = Resolver(ids=SequentialIds(), clock=FakeClock())
    resolver.load_atlas(atlas)
    session_id = resolver.create_session("bot", "g")
    resolver.resolve(
        session_id, "x", context_hints=["b"], required_capabilities=["orders"], atlas_ids=["com.example.shop"]
    )
    assert replay_trace(resolver.get_trace(session_id), [atlas]).identical
