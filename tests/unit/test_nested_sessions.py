"""Sessions under a session: a sub-agent's, with a trace of its own (PROTOCOL 2.11)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import BackendFailure, CRAError, InvalidInput, InvalidState, MemoryStorage, NotFound, Resolver
from cra_wasm.runtime.session import Session
from cra_wasm.testing import FakeClock, SequentialIds

from .conftest import SHOP

UNKNOWN = "01940d23-3a00-7000-8000-0000ffff0001"
PARENT = "/requester/parent_session_id"


def child_of(rig: Any, parent: str | None = None, agent_id: str = "sub-agent") -> str:
    made: str = rig.resolver.create_session(agent_id, "help", parent_session_id=parent or rig.session_id)
    return made


def ends(rig: Any, *session_ids: str) -> list[dict[str, Any]]:
    events = [rig.resolver.get_trace(one)[-1] for one in session_ids]
    assert {event.event_type for event in events} == {"session.ended"}
    return [event.payload for event in events]


def test_a_nested_session_names_its_parent_in_its_first_event_and_no_other_does(rig: Any) -> None:
    # PROTOCOL 2.11.2, PROTOCOL 3.1.7
    child = child_of(rig)
    (started,) = rig.resolver.get_trace(child)
    assert started.payload["parent_session_id"] == rig.session_id
    assert (started.parent_span_id, started.sequence) == (None, 0)
    assert "parent_session_id" not in rig.events()[0].payload
    assert rig.types() == ["session.started"]


@pytest.mark.parametrize(
    ("parent", "kind", "code"),
    [
        ("x", InvalidInput, "invalid_id"),
        (7, InvalidInput, "invalid_id"),
        ("", InvalidInput, "invalid_id"),
        (UNKNOWN, NotFound, "session_not_found"),
    ],
)
def test_a_parent_that_does_not_run_here_is_refused(
    rig: Any, parent: Any, kind: type[CRAError], code: str
) -> None:
    before = rig.resolver.statistics()
    with pytest.raises(kind) as caught:
        rig.resolver.create_session("sub-agent", "help", parent_session_id=parent)
    assert (caught.value.code, caught.value.details["pointer"]) == (code, PARENT)
    assert rig.resolver.statistics() == before
    assert [one["code"] for one in rig.runtime_errors()] == [code]


def test_an_ended_parent_takes_no_more_children(rig: Any) -> None:
    # PROTOCOL 2.11.1
    rig.resolver.end_session(rig.session_id)
    with pytest.raises(InvalidState) as caught:
        child_of(rig)
    assert (caught.value.code, caught.value.details["pointer"]) == ("session_ended", PARENT)


def test_a_request_may_name_the_parent_and_must_name_the_right_one(
    rig: Any, request_of: Callable[..., Any]
) -> None:
    # PROTOCOL 2.11.3
    child = child_of(rig)
    requester = {"agent_id": "sub-agent", "session_id": child}
    for parent in ({"parent_session_id": rig.session_id}, {}, {"parent_session_id": None}):
        request = request_of(rig, requester={**requester, **parent})
        assert rig.resolver.resolve_request(request).decision.type == "partial"
    wrong = request_of(rig, requester={**requester, "parent_session_id": child})
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.resolve_request(wrong)
    assert (caught.value.code, caught.value.details["pointer"]) == ("parent_mismatch", PARENT)
    none = request_of(
        rig,
        requester={"agent_id": "agent-1", "session_id": rig.session_id, "parent_session_id": child},
    )
    with pytest.raises(InvalidInput):
        rig.resolver.resolve_request(none)


def test_ending_a_session_ends_those_under_it_first_as_cancelled(rig: Any) -> None:
    # PROTOCOL 2.11.4
    child = child_of(rig)
    other = child_of(rig)
    grandchild = child_of(rig, child, "third")
    unrelated = rig.resolver.create_session("agent-1", "else")
    rig.resolver.resolve(grandchild, "look")
    rig.clock.advance(2)
    payload = rig.resolver.end_session(rig.session_id, "completed")
    assert (payload["reason"], payload["resolution_count"]) == ("completed", 0)
    told = ends(rig, grandchild, other, child, rig.session_id)
    assert [one["reason"] for one in told] == ["cancelled"] * 3 + ["completed"]
    assert told[0] == {
        "reason": "cancelled",
        "duration_ms": 2000,
        "resolution_count": 1,
        "action_count": 0,
    }
    order = [
        event.session_id
        for event in rig.resolver._storage.get_events(event_type="session.ended")
        if event.session_id != unrelated
    ]
    assert order.index(grandchild) < order.index(child) < order.index(rig.session_id)
    assert rig.resolver.statistics().sessions_active == 1
    rig.resolver.resolve(unrelated, "look")
    for one in (child, other, grandchild):
        assert rig.resolver.verify_chain(one).warnings == ()
        with pytest.raises(InvalidState) as caught:
            rig.resolver.resolve(one, "look")
        assert caught.value.code == "session_ended"


def test_a_child_that_ended_is_not_ended_again(rig: Any) -> None:
    child = child_of(rig)
    assert rig.resolver.end_session(child, "error")["reason"] == "error"
    rig.resolver.end_session(rig.session_id)
    assert [one["reason"] for one in ends(rig, child)] == ["error"]


@pytest.mark.cpython_only(reason="asyncio.run cannot wait inside Pyodide's running event loop")
def test_while_an_executor_of_a_descendant_runs_none_ends(rig: Any) -> None:
    # PROTOCOL 2.11.5
    child = child_of(rig)
    grandchild = child_of(rig, child)

    async def scenario() -> None:
        gate = asyncio.Event()

        async def wait(parameters: Any) -> None:
            await gate.wait()

        rig.resolver.register_executor("item.list", wait)
        resolution_id = rig.resolver.resolve(grandchild, "look").resolution_id
        running = asyncio.ensure_future(
            rig.resolver.execute_async(grandchild, resolution_id, "item.list", {})
        )
        await asyncio.sleep(0)
        with pytest.raises(InvalidState) as caught:
            rig.resolver.end_session(rig.session_id)
        assert caught.value.code == "execution_in_progress"
        assert rig.resolver.statistics().sessions_active == 3
        gate.set()
        assert (await running).status == "success"

    asyncio.run(scenario())
    rig.resolver.end_session(rig.session_id)
    assert rig.resolver.statistics().sessions_active == 0


def test_what_the_storage_refuses_to_end_runs_on_and_ends_at_the_next_call() -> None:
    class Failing(MemoryStorage):
        broken = ""

        def store_events(self, events: Any) -> None:
            if self.broken and events[0].session_id == self.broken:
                raise BackendFailure("storage_failed", "no")
            super().store_events(events)

    storage = Failing()
    resolver = Resolver(storage=storage, clock=FakeClock(), ids=SequentialIds())
    parent = resolver.create_session("a", "g")
    child = resolver.create_session("b", "g", parent_session_id=parent)
    grandchild = resolver.create_session("c", "g", parent_session_id=child)
    storage.broken = child
    with pytest.raises(BackendFailure):
        resolver.end_session(parent)
    assert resolver.statistics().sessions_active == 2
    assert storage.get_events(grandchild)[-1].event_type == "session.ended"
    storage.broken = ""
    resolver.end_session(parent)
    assert resolver.statistics().sessions_active == 0
    for one in (parent, child, grandchild):
        assert resolver.verify_chain(one).warnings == ()


def test_a_thousand_generations_end_together(rig: Any) -> None:
    last = rig.session_id
    for _ in range(1000):
        last = child_of(rig, last)
    rig.resolver.end_session(rig.session_id)
    assert rig.resolver.statistics().sessions_active == 0


def test_the_limits_and_approvals_of_those_under_it_are_forgotten_too(rig: Any) -> None:
    child = child_of(rig)
    resolution_id = rig.resolver.resolve(child, "pay").resolution_id
    assert rig.resolver.execute(child, resolution_id, "item.pay", {"amount": 5}).status == "success"
    asked = rig.resolver.execute(child, resolution_id, "item.refund", {"amount": 5})
    assert asked.status == "pending_approval"
    assert (len(rig.resolver.approvals()), len(rig.resolver._ledger._taken)) == (1, 1)
    rig.resolver.end_session(rig.session_id)
    assert (rig.resolver.approvals(), rig.resolver._ledger._taken) == ([], {})


def live_sessions() -> int:
    gc.collect()
    return sum(isinstance(one, Session) for one in gc.get_objects())


def test_ended_sessions_free_their_memory() -> None:
    # PROTOCOL 2.11.6
    resolver = Resolver(clock=FakeClock(), ids=SequentialIds(), tracing="deferred", capacity=100_000)
    resolver.load_atlas(SHOP)
    resolver.register_executor("item.list", lambda parameters: {"text": "x" * 1000})
    before = live_sessions()
    for _ in range(20):
        parent = resolver.create_session("a", "g")
        for name in [
            parent,
            *(resolver.create_session("b", "g", parent_session_id=parent) for _ in range(5)),
        ]:
            resolution = resolver.resolve(name, "look", reuse=True)
            call = (name, resolution.resolution_id)
            resolver.execute(*call, "item.list", {}, idempotency_key="k")
            resolver.execute(*call, "item.refund", {"amount": 1})
        resolver.end_session(parent)
        resolver.ack(resolver.drain_traces(100_000).batch_id)
    assert live_sessions() == before
    assert resolver.approvals() == []
    stats = resolver.statistics()
    assert (stats.sessions_active, stats.resolutions_remembered) == (0, 0)
