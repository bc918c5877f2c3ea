"""What every timer backend does, as cases over a rig: one backend, what it fired, and a way to wait.

The cases wait by `until` and `fence` only, so that a backend in virtual time answers without waiting.
The rig's `step_ms` is long enough for the backend to keep two deadlines apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from cra_wasm.errors import InvalidInput, InvalidState

Waiting = Callable[[Callable[[], bool]], Awaitable[None]]


class TimerRig:
    """A backend under test. `wait` waits until a condition holds, and fails when it never does."""

    def __init__(
        self, backend: Any, wait: Waiting, step_ms: int, name: str, own_clean_up: Any = None
    ) -> None:
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


async def a_timer_fires_once_with_its_id_and_its_event(rig: TimerRig) -> None:
    rig.backend.schedule_once("a", rig.step_ms, "wake up")
    assert rig.fired == []
    await rig.until(1)
    await rig.fence(2)
    assert rig.fired == [("a", "wake up")]
    assert not rig.backend.exists("a")


async def timers_fire_in_the_order_of_their_deadlines(rig: TimerRig) -> None:
    # Wide apart: a busy machine may hold this thread up between two calls.
    for steps in (15, 5, 10):
        rig.backend.schedule_once(f"t{steps}", steps * rig.step_ms, "")
    await rig.until(3)
    assert [timer_id for timer_id, _ in rig.fired] == ["t5", "t10", "t15"]


async def a_delay_of_0_fires_soon_but_not_within_the_call(rig: TimerRig) -> None:
    rig.backend.schedule_once("a", 0, "x")
    await rig.until(1)
    assert rig.fired == [("a", "x")]


async def an_id_that_is_scheduled_again_is_replaced(rig: TimerRig) -> None:
    rig.backend.schedule_once("a", rig.step_ms, "first")
    rig.backend.schedule_once("a", 2 * rig.step_ms, "second")
    await rig.until(1)
    await rig.fence(2)
    assert rig.fired == [("a", "second")]


async def a_repeating_timer_is_replaced_by_one_that_fires_once(rig: TimerRig) -> None:
    rig.backend.schedule_repeating("a", rig.step_ms, "again")
    rig.backend.schedule_once("a", rig.step_ms, "once")
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
    rig.backend.schedule_once("a", rig.step_ms, "x")
    assert rig.backend.cancel("a") is True
    assert rig.backend.cancel("a") is False
    assert rig.backend.cancel("never there") is False
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
    await rig.until(3)
    assert ("b", "x") in rig.fired
    rig.backend.cancel("a")
    assert rig.backend.failures >= 1


async def a_listener_may_schedule_and_cancel(rig: TimerRig) -> None:
    def chain(timer_id: str) -> None:
        if timer_id == "first":
            rig.backend.cancel("victim")
            rig.backend.schedule_once("second", rig.step_ms, "x")

    rig.on_fire = chain
    rig.backend.schedule_once("first", rig.step_ms, "x")
    rig.backend.schedule_once("victim", 4 * rig.step_ms, "x")
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
    rig.backend.schedule_once("a", rig.step_ms, "x")
    rig.backend.schedule_repeating("b", rig.step_ms, "x")
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
