"""What every timer backend does, as cases over a rig: one backend, what it fired, and a way to wait.

The cases wait by `until` and `fence` only, so that a backend in virtual time answers without waiting. What
has to be done before a timer fires goes through `within_a_step`: a busy machine may stop this thread between
any two calls, and a backend's own thread goes on. The rig's `step_ms` is long enough for the backend to keep
two deadlines apart.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar

from cra_wasm.errors import InvalidInput, InvalidState

Waiting = Callable[[Callable[[], bool]], Awaitable[None]]
Answer = TypeVar("Answer")
TRIES = 50


class TimerRig:
    """A backend under test. `wait` waits until a condition holds, and fails when it never does."""

    def __init__(self, backend: Any, wait: Waiting, step_ms: int, name: str) -> None:
        self.backend = backend
        self.step_ms = step_ms
        self.name = name
        self.fired: list[tuple[str, str]] = []
        self.on_fire: Callable[[str], None] = lambda timer_id: None
        self._wait = wait
        self._fences = 0
        backend.listen(self._note)

    def _note(self, timer_id: str, event: str) -> None:
        if not timer_id.startswith("fence"):
            self.fired.append((timer_id, event))
        else:
            self._fences += 1
        self.on_fire(timer_id)

    async def until(self, count: int) -> None:
        """Wait until so many timers have fired."""
        await self._wait(lambda: len(self.fired) >= count)

    async def fence(self, steps: int) -> None:
        """Wait until a timer that is due in so many steps has fired: whatever was due before it did, too."""
        before = self._fences
        self.backend.schedule_once(f"fence {before}", steps * self.step_ms, "")
        await self._wait(lambda: self._fences > before)

    async def until_fired(self, timer_id: str) -> None:
        """Wait until this timer has fired."""
        await self._wait(lambda: timer_id in [fired_id for fired_id, _ in self.fired])

    async def within_a_step(self, work: Callable[[], Answer], *timer_ids: str) -> Answer:
        """Do `work`, which schedules these timers; again from the start where it took as long as a step."""
        for _ in range(TRIES):
            began = monotonic()
            answer = work()
            if monotonic() - began < self.step_ms / 1_000:
                return answer
            for timer_id in timer_ids:
                self.backend.cancel(timer_id)
            await self.fence(1)
            self.fired.clear()
        raise AssertionError("this machine stops for more than a step each time")


async def a_timer_fires_once_with_its_id_and_its_event(rig: TimerRig) -> None:
    def schedule() -> list[tuple[str, str]]:
        rig.backend.schedule_once("a", rig.step_ms, "wake up")
        return list(rig.fired)

    assert await rig.within_a_step(schedule, "a") == []
    await rig.until(1)
    await rig.fence(2)
    assert rig.fired == [("a", "wake up")]
    assert not rig.backend.exists("a")


async def timers_fire_in_the_order_of_their_deadlines(rig: TimerRig) -> None:
    def schedule() -> None:
        for steps in (6, 2, 4):
            rig.backend.schedule_once(f"t{steps}", steps * rig.step_ms, "")

    await rig.within_a_step(schedule, "t2", "t4", "t6")
    await rig.until(3)
    assert [timer_id for timer_id, _ in rig.fired] == ["t2", "t4", "t6"]


async def a_delay_of_0_fires_soon_but_not_within_the_call(rig: TimerRig) -> None:
    calling = {threading.get_ident()}
    within_the_call: list[bool] = []
    rig.on_fire = lambda timer_id: within_the_call.append(threading.get_ident() in calling)
    rig.backend.schedule_once("a", 0, "x")
    calling.clear()
    await rig.until(1)
    assert rig.fired == [("a", "x")]
    assert True not in within_the_call


async def an_id_that_is_scheduled_again_is_replaced(rig: TimerRig) -> None:
    def schedule() -> None:
        rig.backend.schedule_once("a", rig.step_ms, "first")
        rig.backend.schedule_once("a", 2 * rig.step_ms, "second")

    await rig.within_a_step(schedule, "a")
    await rig.until(1)
    await rig.fence(2)
    assert rig.fired == [("a", "second")]


async def a_repeating_timer_is_replaced_by_one_that_fires_once(rig: TimerRig) -> None:
    def schedule() -> None:
        rig.backend.schedule_repeating("a", rig.step_ms, "again")
        rig.backend.schedule_once("a", rig.step_ms, "once")

    await rig.within_a_step(schedule, "a")
    await rig.until(1)
    await rig.fence(3)
    assert rig.fired == [("a", "once")]


async def a_repeating_timer_fires_until_it_is_cancelled(rig: TimerRig) -> None:
    rig.backend.schedule_repeating("a", rig.step_ms, "beat")
    await rig.until(3)
    assert rig.backend.exists("a")
    assert rig.backend.cancel("a")
    beats = len(rig.fired)
    await rig.fence(3)
    # One may have been on its way already where the listener runs elsewhere.
    assert len(rig.fired) <= beats + 1
    assert set(rig.fired) == {("a", "beat")}


async def a_cancelled_timer_does_not_fire(rig: TimerRig) -> None:
    def cancel() -> list[bool]:
        rig.backend.schedule_once("a", rig.step_ms, "x")
        return [rig.backend.cancel(timer_id) for timer_id in ("a", "a", "never there")]

    assert await rig.within_a_step(cancel, "a") == [True, False, False]
    await rig.fence(3)
    assert rig.fired == []


async def what_remains_is_told_in_milliseconds(rig: TimerRig) -> None:
    assert rig.backend.time_remaining_ms("a") is None
    assert not rig.backend.exists("a")
    rig.backend.schedule_once("a", 60_000, "x")
    assert rig.backend.exists("a")
    assert 50_000 < rig.backend.time_remaining_ms("a") <= 60_000
    rig.backend.schedule_repeating("a", 30_000, "x")
    assert 20_000 < rig.backend.time_remaining_ms("a") <= 30_000
    assert rig.backend.cancel("a")
    assert rig.backend.time_remaining_ms("a") is None


async def a_year_is_no_overflow(rig: TimerRig) -> None:
    rig.backend.schedule_once("year", 366 * 86_400_000, "x")
    rig.backend.schedule_once("month", 2**31, "x")
    await rig.fence(2)
    assert rig.fired == []
    assert rig.backend.time_remaining_ms("month") > 2_000_000_000


async def a_listener_that_raises_stops_no_timer(rig: TimerRig) -> None:
    def fail(timer_id: str) -> None:
        if timer_id == "a":
            raise ValueError("a listener's own fault")

    rig.on_fire = fail
    rig.backend.schedule_repeating("a", rig.step_ms, "x")
    rig.backend.schedule_once("b", rig.step_ms, "x")
    await rig.until_fired("b")
    fired = len(rig.fired)
    await rig.until(fired + 1)
    rig.backend.cancel("a")
    assert rig.backend.failures >= 1


async def a_listener_may_schedule_and_cancel(rig: TimerRig) -> None:
    def chain(timer_id: str) -> None:
        if timer_id == "first":
            rig.backend.cancel("victim")
            rig.backend.schedule_once("second", rig.step_ms, "x")

    def schedule() -> None:
        rig.backend.schedule_once("victim", 4 * rig.step_ms, "x")
        rig.backend.schedule_once("first", rig.step_ms, "x")

    rig.on_fire = chain
    await rig.within_a_step(schedule, "victim", "first", "second")
    await rig.until(2)
    await rig.fence(4)
    assert [timer_id for timer_id, _ in rig.fired] == ["first", "second"]


async def bad_input_is_refused_and_schedules_nothing(rig: TimerRig) -> None:
    bad: list[tuple[Any, Any, Any, str]] = [
        ("", 1, "", "invalid_timer_id"),
        ("x" * 256, 1, "", "invalid_timer_id"),
        (7, 1, "", "invalid_timer_id"),
        ("a", -1, "", "invalid_delay"),
        ("a", 1.5, "", "invalid_delay"),
        ("a", True, "", "invalid_delay"),
        ("a", 366 * 86_400_000 + 1, "", "invalid_delay"),
        ("a", 1, None, "invalid_timer_event"),
        ("a", 1, "x" * 1_001, "invalid_timer_event"),
    ]
    for timer_id, delay_ms, event, code in bad:
        for schedule in (rig.backend.schedule_once, rig.backend.schedule_repeating):
            try:
                schedule(timer_id, delay_ms, event)
            except InvalidInput as error:
                assert error.code == code
            else:
                raise AssertionError(f"{timer_id!r}, {delay_ms!r}, {event!r} was taken")
    try:
        rig.backend.schedule_repeating("a", 0, "")
    except InvalidInput as error:
        assert error.code == "invalid_delay"
    else:
        raise AssertionError("an interval of 0 was taken")
    assert not rig.backend.exists("a")


async def close_forgets_all_and_takes_no_more(rig: TimerRig) -> None:
    rig.backend.schedule_once("a", 60_000, "x")
    rig.backend.schedule_repeating("b", 60_000, "x")
    rig.backend.close()
    rig.backend.close()
    assert not rig.backend.exists("a")
    assert rig.backend.cancel("b") is False
    try:
        rig.backend.schedule_once("c", 0, "x")
    except InvalidState as error:
        assert error.code == "timers_closed"
    else:
        raise AssertionError("a closed backend took a timer")
    assert rig.fired == []


async def the_backend_says_its_name(rig: TimerRig) -> None:
    assert rig.backend.name == rig.name


CASES: dict[str, Callable[[TimerRig], Awaitable[None]]] = {
    name: case
    for name, case in list(globals().items())
    if inspect.isfunction(case) and inspect.iscoroutinefunction(case) and case.__module__ == __name__
}
