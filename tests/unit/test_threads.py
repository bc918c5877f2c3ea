"""What holds when several threads push, and when a thread drains behind their backs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import BufferFull, CRAError, MemoryStorage, Resolver, TraceRingBuffer
from cra_wasm.model.ids import uuid_text
from cra_wasm.platform.threads import ThreadDrive
from cra_wasm.trace.raw import RawEvent, as_given
from cra_wasm.trace.verify import verify_lines

pytestmark = pytest.mark.cpython_only(reason="Pyodide starts no threads")

WAIT_SECONDS = 20
BASE = 0x01940D233A0070008000000000010000


def in_threads(*functions: Callable[[], Any]) -> None:
    """Run functions at once and raise the first error of any."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(functions))

    def guarded(function: Callable[[], Any]) -> None:
        try:
            barrier.wait(WAIT_SECONDS)
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def test_pushes_of_several_threads_lose_nothing_and_keep_each_session_in_order() -> None:
    buffer = TraceRingBuffer(64)
    each, drained = 400, []
    done = threading.Event()

    def pusher(name: str) -> Callable[[], None]:
        def push_all() -> None:
            for number in range(each):
                raw = RawEvent(
                    name, number, 1, 0, BASE + (number << 16), BASE, None, as_given, [("a.b", "{}")]
                )
                while True:
                    try:
                        buffer.push(raw)
                        break
                    except BufferFull:
                        continue

        return push_all

    def drain_all() -> None:
        while not (done.is_set() and buffer.buffer_stats().pending == 0):
            batch = buffer.drain(7)
            drained.extend(
                (group.session_id, number)
                for group in batch.groups
                for number in range(group.first_sequence, group.first_sequence + group.count)
            )
            buffer.ack(batch.batch_id)

    consumer = threading.Thread(target=drain_all)
    consumer.start()
    names = ["one", "two", "three", "four"]
    in_threads(*map(pusher, names))
    done.set()
    consumer.join(WAIT_SECONDS)
    assert not consumer.is_alive()
    for name in names:
        assert [number for one, number in drained if one == name] == list(range(each))
    assert buffer.buffer_stats().pushed == buffer.buffer_stats().acknowledged == each * len(names)


@pytest.mark.parametrize("tracing", ["immediate", "deferred"])
def test_one_resolver_serves_several_threads(tracing: Any, shop: dict[str, Any]) -> None:
    storage = MemoryStorage()
    resolver = Resolver(tracing=tracing, storage=storage)
    resolver.load_atlas(shop)
    resolver.register_executor("item.list", lambda parameters: "listed")
    shared = resolver.create_session("agent", "shared")

    def work() -> None:
        own = resolver.create_session("agent", "own")
        for session_id in (own, shared) * 15:
            resolution = resolver.resolve(session_id, "list items")
            answer = resolver.execute(session_id, resolution.resolution_id, "item.list", {})
            assert answer.status == "success"
            resolver.emit(session_id, "app.note", {"from": "thread"})
        resolver.end_session(own)

    in_threads(work, work, work, work)
    resolver.end_session(shared)
    resolver.close()
    assert len(storage.sessions()) == 5
    for session_id in storage.sessions():
        result = resolver.verify_chain(session_id)
        assert result.valid and result.warnings == ()
    assert storage.count(shared) == 1 + 4 * 15 * (11 + 4 + 1) + 1


def test_two_threads_with_one_idempotency_key_run_the_action_once(shop: dict[str, Any]) -> None:
    resolver = Resolver()
    resolver.load_atlas(shop)
    session_id = resolver.create_session("agent", "goal")
    resolution = resolver.resolve(session_id, "list")
    ran: list[int] = []
    codes: list[str] = []
    resolver.register_executor("item.list", lambda parameters: ran.append(1) or "once")

    def call() -> None:
        try:
            answer = resolver.execute(
                session_id, resolution.resolution_id, "item.list", {}, idempotency_key="k"
            )
            codes.append(str(answer.result))
        except CRAError as error:
            codes.append(error.code)

    in_threads(call, call, call, call)
    assert len(ran) == 1
    assert set(codes) <= {"once", "execution_in_progress"}
    assert "once" in codes


def test_a_limit_is_not_overrun_by_threads(shop: dict[str, Any]) -> None:
    resolver = Resolver()
    resolver.load_atlas(shop)
    session_id = resolver.create_session("agent", "goal")
    resolution = resolver.resolve(session_id, "write")
    ran: list[int] = []
    resolver.register_executor("item.write", lambda parameters: ran.append(1))

    def call() -> None:
        for _ in range(5):
            resolver.execute(session_id, resolution.resolution_id, "item.write", {})

    in_threads(call, call, call)
    assert len(ran) == 2


def test_the_background_stores_without_being_asked(shop: dict[str, Any]) -> None:
    stored = threading.Event()

    class Telling(MemoryStorage):
        def store_events(self, events: Any) -> None:
            super().store_events(events)
            stored.set()

    storage = Telling()
    resolver = Resolver(tracing="deferred", storage=storage)
    session_id = resolver.create_session("agent", "goal")
    assert stored.wait(WAIT_SECONDS)
    assert storage.count(session_id) == 1
    resolver.close()
    assert not any(thread.name == "cra-trace" for thread in threading.enumerate())


def test_a_drive_steps_when_woken_ends_when_stopped_and_starts_again() -> None:
    drive = ThreadDrive()
    stepped = threading.Semaphore(0)
    assert not drive.is_running()
    assert drive.join(0)
    for _ in range(2):
        drive.start(lambda: stepped.release() or None, 1_000_000)
        assert drive.is_running()
        drive.wake()
        assert stepped.acquire(timeout=WAIT_SECONDS)
        drive.stop()
        assert drive.join(WAIT_SECONDS)
        assert not drive.is_running()


def test_a_drive_stopped_from_its_own_step_does_not_wait_for_itself() -> None:
    drive = ThreadDrive()
    joined: list[bool] = []
    done = threading.Event()

    def step() -> None:
        drive.stop()
        joined.append(drive.join())
        done.set()

    drive.start(step, 1)
    assert done.wait(WAIT_SECONDS)
    assert joined == [True]
    assert drive.join(WAIT_SECONDS)


def test_threads_that_flood_a_store_with_drops_leave_whole_chains_and_every_loss_counted(
    shop_text: str,
) -> None:
    class Gated(MemoryStorage):
        gate = threading.Event()

        def store_events(self, events: Any) -> None:
            assert self.gate.wait(WAIT_SECONDS)
            super().store_events(events)

    storage = Gated()
    resolver = Resolver(tracing="deferred", capacity=48, on_full="drop", storage=storage)
    resolver.load_atlas(shop_text)
    sessions = [resolver.create_session(f"agent-{number}", "goal") for number in range(4)]
    kept: dict[str, list[str]] = {session_id: [] for session_id in sessions}

    def flooding(session_id: str) -> Callable[[], None]:
        def flood() -> None:
            for number in range(600):
                if number % 7 == 0:
                    resolver.resolve(session_id, "look around")
                raw = resolver.emit(session_id, "app.step", {"n": number})
                if raw is not None:
                    kept[session_id].append(uuid_text(raw.event_id(0)))

        return flood

    flooding(sessions[0])()
    lost_at_first = resolver.buffer_stats().dropped
    assert lost_at_first > 600
    storage.gate.set()
    in_threads(*[flooding(session_id) for session_id in sessions])
    for session_id in sessions:
        resolver.end_session(session_id)
    resolver.close()
    gaps = storage.get_events(event_type="trace.gap")
    assert sum(event.payload["lost_count"] for event in gaps) == resolver.buffer_stats().dropped
    for session_id in sessions:
        events = storage.get_events(session_id)
        assert [event.event_id for event in events if event.event_type == "app.step"] == kept[session_id]
        verified = verify_lines(storage.iter_lines(session_id))
        assert (verified.valid, verified.warnings) == (True, ())
