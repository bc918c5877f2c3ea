"""AsyncRuntime: many tasks, a bounded buffer, nobody starves, and nothing is ever half done."""

from __future__ import annotations

import asyncio
import gc
import inspect
import random
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from cra_wasm import AsyncRuntime, BufferFull, InvalidState, MemoryStorage, NullStorage, Resolver
from cra_wasm.platform.turnstile import Turnstile

from .building import action, manifest, policy

pytestmark = pytest.mark.cpython_only(reason="asyncio.run cannot wait inside Pyodide's running event loop")

SMALL = manifest(actions=[action("item.read")], policies=[policy("all", "allow")])


def run(work: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    """Run a coroutine function over a runtime with a small atlas, and close it."""

    async def main() -> Any:
        async with AsyncRuntime(**options) as runtime:
            runtime.load_atlas(SMALL)
            return await work(runtime)

    return asyncio.run(main())


class SlowStorage(MemoryStorage):
    """Stores nothing until it is let; says when it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.asked = threading.Event()

    def store_events(self, events: Any) -> None:
        self.asked.set()
        assert self.let.wait(30)
        super().store_events(events)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.001)


@pytest.mark.timeout(300)
def test_a_thousand_agents_resolve_a_hundred_times_each_through_a_small_buffer() -> None:
    storage = NullStorage()

    async def work(runtime: AsyncRuntime) -> int:
        async def agent(number: int) -> None:
            session_id = await runtime.create_session(f"agent-{number}", "work")
            for _ in range(100):
                resolution = await runtime.resolve(session_id, "look")
                assert resolution.decision.type == "allow"
            await runtime.end_session(session_id)

        await asyncio.gather(*(agent(number) for number in range(1_000)))
        await runtime.flush_traces()
        stats = runtime.buffer_stats()
        assert (stats.pending, stats.in_flight, stats.dropped) == (0, 0, 0)
        assert stats.refused > 0, "the buffer was never full: this tested nothing"
        assert runtime.calls_waiting == 0
        return stats.acknowledged

    # Per session: start, 100 x (received, evaluated, completed), end.
    assert run(work, storage=storage, capacity=2_000) == 1_000 * 302


def test_waiting_calls_get_through_in_the_order_in_which_they_came() -> None:
    async def main() -> list[int]:
        turns = Turnstile(30)
        room = [0]
        order: list[int] = []

        def call(number: int) -> None:
            if not room[0]:
                raise BufferFull("buffer_full", "full", capacity=16, needed_weight=1)
            room[0] -= 1
            order.append(number)

        tasks = [asyncio.create_task(turns.run(lambda n=number: call(n))) for number in range(20)]
        await until(lambda: turns.waiting == 20)
        for _ in range(20):
            room[0] += 1
            turns.open()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        late = asyncio.create_task(turns.run(lambda: call(99)))
        room[0] += 1
        turns.open()
        await asyncio.gather(*tasks, late)
        return order

    assert asyncio.run(main()) == [*range(20), 99]


def test_a_call_that_comes_while_others_wait_goes_to_the_end_though_there_is_room() -> None:
    async def main() -> list[str]:
        turns = Turnstile(30)
        full = [True]
        order: list[str] = []

        def call(name: str) -> None:
            if full[0]:
                raise BufferFull("buffer_full", "full", capacity=16, needed_weight=1)
            order.append(name)

        first = asyncio.create_task(turns.run(lambda: call("first")))
        await until(lambda: turns.waiting == 1)
        full[0] = False
        second = asyncio.create_task(turns.run(lambda: call("second")))
        await asyncio.sleep(0)
        turns.open()
        await asyncio.gather(first, second)
        return order

    assert asyncio.run(main()) == ["first", "second"]


def test_a_task_that_never_waits_gives_way_to_the_others() -> None:
    async def work(runtime: AsyncRuntime) -> int:
        session_id = await runtime.create_session("busy", "work")
        done = asyncio.Event()
        turns = 0

        async def busy() -> int:
            calls = 0
            while not done.is_set():
                await runtime.resolve(session_id, "look")
                calls += 1
            return calls

        async def other() -> None:
            nonlocal turns
            for _ in range(5):
                await asyncio.sleep(0)
                turns += 1
            done.set()

        async with asyncio.timeout(30):
            calls, _ = await asyncio.gather(busy(), other())
        assert calls > 0
        return turns

    assert run(work, storage=NullStorage()) == 5


def test_a_cancelled_waiter_has_done_nothing_and_the_next_one_gets_through() -> None:
    storage = SlowStorage()

    async def work(runtime: AsyncRuntime) -> None:
        session_id = await runtime.create_session("agent", "work")
        while runtime.buffer_stats().pending_weight + runtime.buffer_stats().in_flight_weight < 16:
            runtime.resolver.emit(session_id, "app.fill", {})
        waiters = [asyncio.create_task(runtime.emit(session_id, "app.step", {"n": n})) for n in range(10)]
        await until(lambda: runtime.calls_waiting == 10)
        for waiter in waiters[:5]:
            waiter.cancel()
        await asyncio.gather(*waiters[:5], return_exceptions=True)
        assert runtime.calls_waiting == 5
        storage.let.set()
        await asyncio.gather(*waiters[5:])
        trace = await runtime.get_trace(session_id)
        steps = [event.payload["n"] for event in trace if event.event_type == "app.step"]
        assert steps == [5, 6, 7, 8, 9]
        assert (await runtime.verify_chain(session_id)).valid

    run(work, storage=storage, capacity=16)


def test_patience_ends_with_the_buffer_s_own_refusal() -> None:
    storage = SlowStorage()

    async def work(runtime: AsyncRuntime) -> None:
        session_id = await runtime.create_session("agent", "work")
        with pytest.raises(BufferFull) as refused:
            for _ in range(17):
                await runtime.emit(session_id, "app.step", {})
        assert refused.value.code == "buffer_full"
        assert runtime.calls_waiting == 0
        storage.let.set()

    run(work, storage=storage, capacity=16, patience_seconds=0.05)


def test_what_can_never_fit_is_refused_at_once() -> None:
    async def work(runtime: AsyncRuntime) -> None:
        session_id = await runtime.create_session("agent", "work")
        async with asyncio.timeout(5):
            with pytest.raises(BufferFull):
                await runtime.emit(session_id, "app.step", {"text": "x" * 100_000})

    run(work, capacity=16)


def test_cancellation_anywhere_leaves_no_half_done_state() -> None:
    """Tasks are cancelled at random moments; every trace stays valid, each begun call has its end."""
    dice = random.Random(7)

    async def work(runtime: AsyncRuntime) -> None:
        async def slow(parameters: Any) -> None:
            await asyncio.sleep(0.001)

        runtime.register_executor("item.read", slow)
        sessions = [await runtime.create_session(f"agent-{n}", "work") for n in range(10)]

        async def agent(session_id: str) -> None:
            while True:
                resolution = await runtime.resolve(session_id, "look")
                await runtime.execute(session_id, resolution.resolution_id, "item.read", {})

        for _ in range(30):
            tasks = [asyncio.create_task(agent(session_id)) for session_id in sessions]
            await asyncio.sleep(dice.random() * 0.01)
            dice.shuffle(tasks)
            for task in tasks:
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.gather(*tasks, return_exceptions=True)
        assert runtime.calls_waiting == 0
        for session_id in sessions:
            await runtime.end_session(session_id)
            trace = await runtime.get_trace(session_id)
            kinds = [event.event_type for event in trace]
            assert kinds.count("action.approved") == kinds.count("action.executed") + kinds.count(
                "action.failed"
            )
            assert kinds[-1] == "session.ended"
            assert (await runtime.verify_chain(session_id)).valid
        assert runtime.buffer_stats().reserved_weight == 0

    run(work, capacity=64)


def test_events_come_in_order_as_they_are_stored_and_end_with_the_runtime() -> None:
    seen: list[tuple[int, str]] = []

    async def main() -> None:
        runtime = AsyncRuntime()
        runtime.load_atlas(SMALL)
        session_id = await runtime.create_session("agent", "work")
        await runtime.flush_traces()

        async def read() -> None:
            async for event in runtime.events(session_id):
                seen.append((event.sequence, event.event_type))

        reader = asyncio.create_task(read())
        await asyncio.sleep(0)
        await runtime.create_session("another", "work")
        await runtime.resolve(session_id, "look")
        await runtime.end_session(session_id)
        await runtime.close()
        async with asyncio.timeout(10):
            await reader

    asyncio.run(main())
    assert seen == [
        (1, "carp.request.received"),
        (2, "policy.evaluated"),
        (3, "carp.resolution.completed"),
        (4, "session.ended"),
    ]


def test_a_reader_may_stop_and_is_forgotten() -> None:
    async def work(runtime: AsyncRuntime) -> None:
        async with aclosing(runtime.events(event_type="session.started")) as events:
            await runtime.create_session("agent", "work")
            await runtime.flush_traces()
            event = await anext(events)
            assert event.payload["agent_id"] == "agent"
        assert runtime._streams == set()
        assert runtime._storage._listeners == []
        gc.collect()

    run(work)


def test_a_reader_that_is_too_slow_is_told_how_much_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cra_wasm.async_runtime.EVENTS_WAITING", 3)

    async def work(runtime: AsyncRuntime) -> None:
        events = runtime.events()
        session_id = await runtime.create_session("agent", "work")
        for _ in range(5):
            await runtime.emit(session_id, "app.step", {})
        await runtime.flush_traces()
        got = []
        with pytest.raises(InvalidState) as missed:
            async for event in events:
                got.append(event.sequence)
        assert got == [0, 1, 2]
        assert (missed.value.code, missed.value.details["missed"]) == ("events_missed", 3)
        assert len(await runtime.get_trace(session_id)) == 6

    run(work)


def test_closing_refuses_who_still_waits() -> None:
    storage = SlowStorage()

    async def main() -> None:
        runtime = AsyncRuntime(storage=storage, capacity=16)
        session_id = await runtime.create_session("agent", "work")
        while runtime.buffer_stats().pending_weight + runtime.buffer_stats().in_flight_weight < 16:
            runtime.resolver.emit(session_id, "app.fill", {})
        waiters = [asyncio.create_task(runtime.emit(session_id, "app.step", {})) for _ in range(3)]
        await until(lambda: runtime.calls_waiting == 3)
        closing = asyncio.create_task(runtime.close())
        await until(lambda: runtime.resolver._closed)
        storage.let.set()
        await closing
        await runtime.close()
        async with asyncio.timeout(10):
            found = await asyncio.gather(*waiters, return_exceptions=True)
        assert [getattr(one, "code", one) for one in found] == ["resolver_closed"] * 3
        assert not runtime.processor.is_running()
        assert runtime.processor.join(5)

    asyncio.run(main())


def test_the_processor_s_handle_runs_until_it_is_shut_down() -> None:
    async def work(runtime: AsyncRuntime) -> None:
        assert runtime.processor.is_running()
        await runtime.create_session("agent", "work")
        runtime.processor.shutdown()
        assert not runtime.processor.is_running()
        assert runtime.processor.join(1)
        assert runtime.buffer_stats().pending == 0
        assert runtime.buffer_pressure() == 0.0
        assert runtime.statistics().sessions_active == 1

    run(work)


def test_each_call_takes_what_the_resolver_s_own_takes() -> None:
    """So that no feature is out of reach of those who wait."""
    for name in ("load_atlas", "create_session", "end_session", "resolve", "execute", "emit"):
        own = inspect.signature(getattr(Resolver, name)).parameters
        assert list(inspect.signature(getattr(AsyncRuntime, name)).parameters) == list(own), name


def test_sessions_nest_and_answers_are_reused() -> None:
    async def work(runtime: AsyncRuntime) -> None:
        parent = await runtime.create_session("a", "g")
        child = await runtime.create_session("b", "g", parent_session_id=parent)
        first = await runtime.resolve(child, "look", reuse=True)
        assert await runtime.resolve(child, "look", reuse=True) is first
        await runtime.end_session(parent)
        last = (await runtime.get_trace(child))[-1]
        assert (last.event_type, last.payload["reason"]) == ("session.ended", "cancelled")

    run(work)
