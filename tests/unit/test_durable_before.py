"""Nothing of a high tier runs before what approved it is stored, whoever stores it (PROTOCOL 2.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import BackendFailure, InvalidInput, InvalidState, MemoryStorage, Resolver, SessionTTLConfig
from cra_wasm.testing import FakeClock, MockTimerBackend, SequentialIds
from cra_wasm.trace.raw import RawEvent, as_given

from .building import action, manifest, policy
from .conftest import Rig

ATLAS = manifest(
    actions=[action("t.look"), action("t.risky", risk_tier="high")], policies=[policy("all", "allow")]
)
on_a_loop = pytest.mark.cpython_only(reason="asyncio.run cannot wait inside Pyodide's running event loop")


class Calls:
    """A resolver whose traces are drained by the test, and what ran under it."""

    def __init__(self, **options: Any) -> None:
        options = {"tracing": "deferred", "clock": FakeClock(), **options}
        self.resolver = Resolver(ids=SequentialIds(), **options)
        self.resolver.load_atlas(ATLAS)
        self.ran: list[str] = []
        for name in ("t.look", "t.risky"):
            self.resolver.register_executor(name, lambda parameters, name=name: self.ran.append(name))
        self.session_id = self.resolver.create_session("a", "g")
        self.resolution_id = self.resolver.resolve(self.session_id, "g").resolution_id

    def names(self, action_id: str = "t.risky") -> tuple[str, str, str, dict[str, Any]]:
        return self.session_id, self.resolution_id, action_id, {}

    def start(self, action_id: str = "t.risky", **options: Any) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.resolver.execute_async(*self.names(action_id), **options))

    def lines(self) -> list[tuple[str, str]]:
        """Drain everything and return the type and the payload of each event."""
        batch = self.resolver.drain_traces(10_000)
        self.resolver.ack(batch.batch_id)
        return [tuple(line.split("\x1f")[-2:]) for line in batch.data.decode().splitlines()]

    def types(self) -> list[str]:
        return [event_type for event_type, _ in self.lines()]


async def turns() -> None:
    """Let everything run that waits for nothing."""
    for _ in range(20):
        await asyncio.sleep(0)


def on_loop(scenario: Callable[[], Any]) -> Any:
    return asyncio.run(scenario())


@on_a_loop
def test_a_high_call_starts_when_the_batch_that_holds_its_approval_is_acknowledged() -> None:
    # PROTOCOL 2.7.15
    calls = Calls()

    async def scenario() -> Any:
        asked: list[str] = []
        calls.resolver.on_pressure(lambda: asked.append("much"), wake_durable=lambda: asked.append("waits"))
        running = calls.start()
        await turns()
        assert asked == ["waits"]
        before = calls.resolver.drain_traces(4)
        held = calls.resolver.drain_traces(1000)
        assert b"action.approved" in held.data and b"action.approved" not in before.data
        await turns()
        calls.resolver.ack(before.batch_id)
        await turns()
        assert calls.ran == []
        calls.resolver.ack(held.batch_id)
        return await running

    assert on_loop(scenario).status == "success"
    assert calls.ran == ["t.risky"]
    assert calls.types() == ["action.executed"]


@on_a_loop
def test_a_batch_acknowledged_out_of_turn_is_not_enough() -> None:
    calls = Calls()

    async def scenario() -> Any:
        running = calls.start()
        await turns()
        older, younger = calls.resolver.drain_traces(4), calls.resolver.drain_traces(1000)
        calls.resolver.ack(younger.batch_id)
        await turns()
        assert calls.ran == []
        calls.resolver.ack(older.batch_id)
        return await running

    assert on_loop(scenario).status == "success"


@on_a_loop
def test_what_came_later_need_not_be_stored_and_another_call_waits_for_its_own() -> None:
    calls = Calls()

    async def scenario() -> None:
        first = calls.start()
        await turns()
        batch = calls.resolver.drain_traces(1000)
        second = calls.start()
        await turns()
        calls.resolver.ack(batch.batch_id)
        assert (await first).status == "success"
        await turns()
        assert calls.ran == ["t.risky"]
        calls.lines()
        assert (await second).status == "success"

    on_loop(scenario)


@on_a_loop
def test_a_low_call_waits_only_where_all_do() -> None:
    for durable_before, waits in (("high", False), ("all", True), ("none", False)):
        calls = Calls(durable_before=durable_before)

        async def scenario(calls: Calls = calls, waits: bool = waits) -> None:
            running = calls.start("t.look")
            await turns()
            assert calls.ran == ([] if waits else ["t.look"])
            calls.lines()
            assert (await running).status == "success"

        on_loop(scenario)
    calls = Calls(durable_before="none")
    assert on_loop(lambda: calls.resolver.execute_async(*calls.names())).status == "success"


@on_a_loop
def test_a_refused_call_does_not_run_is_recorded_so_and_may_use_its_key_again() -> None:
    # PROTOCOL 2.7.18
    calls = Calls()

    async def scenario() -> None:
        running = calls.start(idempotency_key="k")
        await turns()
        other = "01940d23-3a00-7000-8000-0000ffff0001"
        assert calls.resolver.refuse_durable("no chain", [other]) == 0
        assert calls.resolver.refuse_durable("the disk is full " * 1000, [other, calls.session_id]) == 1
        with pytest.raises(BackendFailure) as caught:
            await running
        assert caught.value.code == "not_durable"
        assert len(caught.value.message) < 600
        again = calls.start(idempotency_key="k")
        await turns()
        assert calls.resolver.refuse_durable("again") == 1
        with pytest.raises(BackendFailure):
            await again
        assert calls.ran == []
        last = calls.start(idempotency_key="k")
        await turns()
        events = calls.lines()
        failed = [payload for event_type, payload in events if event_type == "action.failed"]
        assert len(failed) == 2 and all('"error_code":"not_durable"' in one for one in failed)
        assert (await last).status == "success"
        assert calls.resolver.refuse_durable("nobody waits") == 0

    on_loop(scenario)
    calls.resolver.end_session(calls.session_id)


@on_a_loop
def test_nobody_waits_for_ever_for_a_consumer_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(durable_wait_seconds=7)
    asked: list[float] = []
    at_once = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda seconds: asked.append(seconds) or at_once(0))
    with pytest.raises(BackendFailure) as caught:
        on_loop(lambda: calls.resolver.execute_async(*calls.names()))
    assert (caught.value.code, asked, calls.ran) == ("not_durable", [7], [])
    assert calls.types()[-2:] == ["action.approved", "action.failed"]
    assert calls.resolver.refuse_durable("it waits no longer") == 0


@on_a_loop
def test_a_call_cancelled_while_it_waits_never_runs() -> None:
    calls = Calls()

    async def scenario() -> None:
        running = calls.start(idempotency_key="k")
        await turns()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert calls.types()[-1] == "action.failed"
        assert calls.resolver.refuse_durable("it waits no longer") == 0
        again = calls.start(idempotency_key="k")  # PROTOCOL 2.7.18: the key stands for nothing
        await turns()
        calls.types()
        assert (await again).status == "success"

    on_loop(scenario)
    assert calls.ran == ["t.risky"]


@on_a_loop
def test_a_session_whose_time_ends_while_a_call_waits_ends_behind_that_call() -> None:
    # PROTOCOL 3.14.5
    clock = FakeClock()
    config = SessionTTLConfig(max_lifetime_seconds=60)
    calls = Calls(clock=clock, timers=MockTimerBackend(clock), session_ttl=config)

    async def scenario() -> None:
        running = calls.start()
        await turns()
        clock.advance(60)
        calls.resolver.refuse_durable("the disk is full")
        with pytest.raises(BackendFailure):
            await running
        assert calls.types()[-2:] == ["action.failed", "session.ended"]

    on_loop(scenario)


@on_a_loop
def test_closing_ends_the_wait() -> None:
    calls = Calls()

    async def scenario() -> None:
        running = calls.start()
        await turns()
        calls.resolver.close()
        with pytest.raises(BackendFailure) as caught:
            await running
        assert caught.value.code == "not_durable"

    on_loop(scenario)
    assert calls.ran == []


@on_a_loop
def test_a_consumer_on_another_thread_may_acknowledge() -> None:
    calls = Calls()

    async def scenario() -> Any:
        def store() -> None:
            calls.lines()

        loop = asyncio.get_running_loop()
        calls.resolver.on_pressure(lambda: None, wake_durable=lambda: loop.run_in_executor(None, store))
        return await calls.start()

    assert on_loop(scenario).status == "success"


def test_a_sync_call_cannot_wait_and_is_refused_before_anything_is_recorded() -> None:
    # PROTOCOL 2.7.17
    calls = Calls()
    calls.lines()
    with pytest.raises(InvalidState) as caught:
        calls.resolver.execute(*calls.names())
    assert (caught.value.code, caught.value.details["pointer"]) == ("not_durable", "/execution/action_id")
    assert calls.types() == ["error.occurred"]
    assert calls.resolver.execute(*calls.names("t.look")).status == "success"
    assert calls.ran == ["t.look"]
    assert Calls(durable_before="none").resolver.execute(*calls.names()).status == "success"


def test_a_task_of_a_high_tier_makes_every_call_high() -> None:
    calls = Calls()
    calls.resolution_id = calls.resolver.resolve(calls.session_id, "g", risk_tier="critical").resolution_id
    with pytest.raises(InvalidState):
        calls.resolver.execute(*calls.names("t.look"))


@pytest.mark.parametrize("tracing", ["immediate", "deferred"])
def test_a_resolver_with_its_own_storage_has_stored_it_when_the_executor_starts(tracing: Any) -> None:
    # PROTOCOL 2.7.14
    storage = MemoryStorage()
    calls = Calls(tracing=tracing, storage=storage)
    found: list[str] = []
    calls.resolver.register_executor(
        "t.risky", lambda parameters: found.append(storage.get_events(last=1)[0].event_type)
    )
    assert calls.resolver.execute(*calls.names()).status == "success"
    assert found == ["action.approved"]
    calls.resolver.close()


def test_a_session_whose_chain_is_stopped_runs_nothing_of_a_high_tier() -> None:
    # PROTOCOL 2.7.16
    storage = MemoryStorage()
    calls = Calls(storage=storage)
    calls.resolver.flush_traces()
    forged = RawEvent(calls.session_id, 90, 1, 0, 1 << 80, 1 << 80, 1, as_given, [("app.forged", "{}")])
    calls.resolver._tracer.record(forged)
    with pytest.raises(InvalidState) as caught:
        calls.resolver.flush_traces()
    assert caught.value.code == "sequence_gap"
    for _ in range(2):
        with pytest.raises(InvalidState) as caught:
            calls.resolver.execute(*calls.names())
        assert caught.value.code == "not_durable"
    assert calls.ran == []
    calls.resolver.close()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"durable_before": "sometimes"}, "invalid_durable_before"),
        ({"durable_before": None}, "invalid_durable_before"),
        ({"durable_before": ["high"]}, "invalid_durable_before"),
        *(({"durable_wait_seconds": value}, "invalid_durable_wait") for value in (0, 301, 1.5, True, "1")),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver(**options)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("reason", "session_ids", "code"),
    [
        (None, None, "invalid_reason"),
        ("", "abc", "invalid_id"),
        ("", ["x"], "invalid_id"),
        ("", 5, "invalid_id"),
    ],
)
def test_a_wrong_refusal_is_refused(reason: Any, session_ids: Any, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Calls().resolver.refuse_durable(reason, session_ids)
    assert caught.value.code == code


def test_only_a_drained_resolver_can_be_told_that_its_store_refused(new_rig: Callable[..., Rig]) -> None:
    with pytest.raises(InvalidState) as caught:
        new_rig().resolver.refuse_durable("x")
    assert caught.value.code == "not_deferred"
