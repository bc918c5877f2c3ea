"""Each timer backend keeps the one contract; what is a backend's own is tested below it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from cra_wasm.errors import InvalidState
from cra_wasm.platform.event_loop_timers import EventLoopTimerBackend
from cra_wasm.platform.thread_timers import StdTimerBackend
from cra_wasm.platform.timer_table import TimerTable
from cra_wasm.testing import FakeClock, MockTimerBackend

from .timer_contract import CASES, TimerRig

Condition = Callable[[], bool]
PATIENCE_SECONDS = 20


async def wait_in_real_time(holds: Condition) -> None:
    until = monotonic() + PATIENCE_SECONDS
    while not holds():
        assert monotonic() < until, "it never came"
        await asyncio.sleep(0.001)


def mock_rig() -> TimerRig:
    backend = MockTimerBackend()

    async def wait(holds: Condition) -> None:
        for _ in range(1_000):
            if holds():
                return
            backend.advance(1)
        raise AssertionError("it never came")

    return TimerRig(backend, wait, 10, "mock")


def run_at_once(work: Awaitable[None]) -> None:
    """Run a coroutine that waits for nothing: in Pyodide there is no asyncio.run."""
    with pytest.raises(StopIteration):
        work.__await__().__next__()


# PROTOCOL 3.14.12
@pytest.mark.parametrize("case", CASES)
def test_virtual_time_keeps_the_contract(case: str) -> None:
    run_at_once(CASES[case](mock_rig()))


@pytest.mark.cpython_only(reason="there are no threads inside Pyodide")
@pytest.mark.parametrize("case", CASES)
def test_the_thread_keeps_the_contract(case: str) -> None:
    backend = StdTimerBackend()
    try:
        asyncio.run(CASES[case](TimerRig(backend, wait_in_real_time, 20, "std")))
    finally:
        backend.close()
    assert "cra-timers" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.cpython_only(reason="asyncio.run cannot wait inside Pyodide's running event loop")
@pytest.mark.parametrize("case", CASES)
def test_the_event_loop_keeps_the_contract(case: str) -> None:
    async def run() -> None:
        backend = EventLoopTimerBackend()
        try:
            await CASES[case](TimerRig(backend, wait_in_real_time, 20, "event_loop"))
        finally:
            backend.close()

    asyncio.run(run())


def test_the_mock_moves_both_hands_of_its_clock_to_each_deadline() -> None:
    clock = FakeClock(wall_ns=0)
    backend = MockTimerBackend(clock)
    seen: list[tuple[str, int, int]] = []
    backend.listen(lambda timer_id, event: seen.append((timer_id, clock.wall_ns(), clock.monotonic_ns())))
    backend.schedule_once("a", 5, "")
    backend.schedule_repeating("b", 4, "")
    assert backend.advance(8) == 3
    assert seen == [("b", 4_000_000, 4_000_000), ("a", 5_000_000, 5_000_000), ("b", 8_000_000, 8_000_000)]
    assert clock.monotonic_ns() == 8_000_000


def test_time_in_which_the_mock_did_not_run_makes_one_late_firing_and_no_burst() -> None:
    backend = MockTimerBackend()
    fired: list[str] = []
    backend.listen(lambda timer_id, event: fired.append(timer_id))
    backend.schedule_repeating("beat", 1_000, "")
    backend.clock.advance(10.5)
    assert backend.advance(0) == 1
    # The rhythm stays: the next beat is that of second 11.
    assert backend.time_remaining_ms("beat") == 500
    assert backend.advance(500) == 1
    assert fired == ["beat", "beat"]


def test_what_fires_before_there_is_a_listener_waits_for_it() -> None:
    backend = MockTimerBackend()
    backend.schedule_once("a", 1, "early")
    backend.advance(5)
    told: list[tuple[str, str]] = []
    backend.listen(lambda timer_id, event: told.append((timer_id, event)))
    assert told == [("a", "early")]


def test_ten_thousand_timers_that_come_and_go_leave_nothing_in_the_table() -> None:
    table = TimerTable()
    table.schedule("stays", 1_000, "", 0)
    for number in range(10_000):
        table.schedule(f"t{number}", 2_000, "", 0)
        assert table.cancel(f"t{number}")
    assert len(table) == 1
    assert len(table._heap) < 200


@pytest.mark.cpython_only(reason="Pyodide has an event loop at all times")
def test_without_a_running_loop_the_event_loop_backend_says_what_to_do() -> None:
    with pytest.raises(InvalidState) as refused:
        EventLoopTimerBackend()
    assert refused.value.code == "no_event_loop"


@pytest.mark.cpython_only(reason="there are no threads inside Pyodide")
def test_a_timer_scheduled_from_another_thread_fires_on_the_loop() -> None:
    async def run() -> None:
        backend = EventLoopTimerBackend()
        fired: list[Any] = []
        backend.listen(lambda timer_id, event: fired.append(threading.get_ident()))
        other = threading.Thread(target=lambda: backend.schedule_once("a", 1, ""))
        other.start()
        other.join()
        await wait_in_real_time(lambda: bool(fired))
        assert fired == [threading.get_ident()]
        backend.close()

    asyncio.run(run())


@pytest.mark.cpython_only(reason="there are no threads inside Pyodide")
def test_no_thread_starts_before_there_is_a_timer() -> None:
    before = threading.active_count()
    backend = StdTimerBackend()
    assert threading.active_count() == before
    backend.close()


async def cancel_or_move_what_is_due_as_well(backend: StdTimerBackend | EventLoopTimerBackend) -> None:
    """A listener that comes late may still keep back what is due with it."""
    fired: list[str] = []

    def note(timer_id: str, event: str) -> None:
        fired.append(timer_id)
        if timer_id == "gate":
            while backend.time_remaining_ms("moved") != 0:
                pass
        elif timer_id == "first":
            assert backend.cancel("cancelled")
            backend.schedule_once("moved", 60_000, "")
            backend.schedule_once("last", 1, "")

    backend.listen(note)
    for number, timer_id in enumerate(("gate", "first", "cancelled", "moved"), 1):
        backend.schedule_once(timer_id, number, "")
    await wait_in_real_time(lambda: "last" in fired)
    backend.close()
    assert fired == ["gate", "first", "last"]


@pytest.mark.cpython_only(reason="there are no threads inside Pyodide")
def test_a_listener_on_the_thread_may_cancel_or_move_what_is_due_as_well() -> None:
    asyncio.run(cancel_or_move_what_is_due_as_well(StdTimerBackend()))


@pytest.mark.cpython_only(reason="asyncio.run cannot wait inside Pyodide's running event loop")
def test_a_listener_on_the_event_loop_may_cancel_or_move_what_is_due_as_well() -> None:
    async def run() -> None:
        await cancel_or_move_what_is_due_as_well(EventLoopTimerBackend())

    asyncio.run(run())


@pytest.mark.cpython_only(reason="there are no threads inside Pyodide")
def test_the_listener_may_close_the_thread_that_calls_it() -> None:
    backend = StdTimerBackend()
    done = threading.Event()

    def close(timer_id: str, event: str) -> None:
        backend.close()
        done.set()

    backend.listen(close)
    backend.schedule_once("a", 1, "")
    assert done.wait(PATIENCE_SECONDS)
    backend.close()
