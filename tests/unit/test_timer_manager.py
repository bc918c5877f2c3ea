"""One backend timer for any number of deadlines, held to a naive model in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cra_wasm.errors import InvalidInput, InvalidState
from cra_wasm.testing import MockTimerBackend
from cra_wasm.timing.manager import LONGEST_WAIT_MS, TimerManager
from cra_wasm.timing.timeline import Timeline

MS = 1_000_000


class Things:
    """A tracker: things that are over `life_ms` after they were last touched."""

    def __init__(self, life_ms: int = 100) -> None:
        self.life_ns = life_ms * MS
        self.touched_ns: dict[str, int] = {}
        self.over: list[str] = []
        self.fail = False

    def is_tracked(self, key: str) -> bool:
        return key in self.touched_ns

    def look_at(self, key: str, elapsed_ns: int) -> int | None:
        if self.fail:
            raise OSError("the disk is full")
        deadline_ns = self.touched_ns[key] + self.life_ns
        if deadline_ns > elapsed_ns:
            return deadline_ns
        del self.touched_ns[key]
        self.over.append(key)
        return None


class ManagerRig:
    def __init__(self, **options: Any) -> None:
        self.backend = MockTimerBackend()
        self.timeline = Timeline(self.backend.clock)
        self.things = Things(options.pop("life_ms", 100))
        self.manager = TimerManager(
            self.backend,
            self.elapsed_ns,
            awake_ns=self.backend.clock.monotonic_ns,
            tracker=self.things,
            **options,
        )
        self.fired: list[tuple[str, int]] = []

    def elapsed_ns(self) -> int:
        return self.timeline.read()[1]

    def elapsed_ms(self) -> int:
        return self.elapsed_ns() // MS

    def noting(self, name: str) -> Callable[[int], None]:
        return lambda late_ns: self.fired.append((name, self.elapsed_ms()))

    def track(self, key: str) -> None:
        self.things.touched_ns[key] = self.elapsed_ns()
        self.manager.track(key, self.elapsed_ns() + self.things.life_ns)


@pytest.fixture
def rig() -> ManagerRig:
    return ManagerRig()


def test_a_thousand_deadlines_are_one_timer_of_the_backend(rig: ManagerRig) -> None:
    for number in range(500):
        rig.manager.once(f"n{number}", 1_000 + number, rig.noting("n"))
        rig.track(f"k{number}")
    assert len(rig.backend._table) == 1
    assert rig.manager.statistics().tracked == 500
    assert rig.manager.statistics().next_due_ms == 100


def test_touching_moves_a_deadline_on_without_telling_the_manager(rig: ManagerRig) -> None:
    rig.track("session")
    rig.backend.advance(80)
    rig.things.touched_ns["session"] = rig.elapsed_ns()
    rig.backend.advance(90)
    assert rig.things.over == []
    rig.backend.advance(10)
    assert rig.things.over == ["session"]
    assert rig.manager.statistics().tracked == 0


# PROTOCOL 3.14.13
def test_what_is_due_within_the_tolerance_fires_along_and_nothing_fires_late(rig: ManagerRig) -> None:
    for delay_ms in (100, 105, 110, 111):
        rig.manager.once(f"t{delay_ms}", delay_ms, rig.noting(f"t{delay_ms}"))
    rig.backend.advance(200)
    assert rig.fired == [("t100", 100), ("t105", 100), ("t110", 100), ("t111", 111)]


def test_after_a_suspension_overdue_timers_fire_once_in_the_order_of_their_deadlines() -> None:
    gaps: list[int] = []
    rig = ManagerRig(on_suspension=gaps.append)
    rig.manager.repeating("beat", 1_000, rig.noting("beat"))
    rig.manager.once("late", 3_500, rig.noting("late"))
    rig.track("session")
    rig.backend.clock.advance(10)
    rig.backend.advance(0)
    assert gaps == [9_900 * MS]
    assert rig.things.over == ["session"]
    assert rig.fired == [("beat", 10_000), ("late", 10_000)]
    assert rig.manager.statistics().suspensions == 1
    rig.backend.advance(1_000)
    assert rig.fired[2:] == [("beat", 11_000)]


def test_a_step_of_the_wall_clock_is_no_suspension_but_brings_deadlines_within_a_minute() -> None:
    gaps: list[int] = []
    rig = ManagerRig(on_suspension=gaps.append)
    rig.manager.once("in an hour", 3_600_000, rig.noting("in an hour"))
    rig.backend.advance(1_000)
    rig.backend.clock.sleep_machine(7_200)
    rig.backend.advance(LONGEST_WAIT_MS)
    assert [name for name, _ in rig.fired] == ["in an hour"]
    assert gaps == []


def test_the_backend_is_left_alone_when_nothing_waits(rig: ManagerRig) -> None:
    rig.manager.repeating("beat", 1_000, rig.noting("beat"))
    rig.track("session")
    assert len(rig.backend._table) == 1
    del rig.things.touched_ns["session"]
    rig.manager.untrack("session")
    assert len(rig.backend._table) == 1
    assert rig.manager.cancel("beat")
    assert len(rig.backend._table) == 0


def test_a_callback_that_raises_is_counted_and_stops_nothing(rig: ManagerRig) -> None:
    def fail(late_ns: int) -> None:
        raise ValueError

    rig.manager.repeating("bad", 100, fail)
    rig.manager.repeating("good", 100, rig.noting("good"))
    rig.backend.advance(350)
    assert len(rig.fired) == 3
    stats = rig.manager.statistics()
    assert (stats.failures, stats.last_failure) == (3, "ValueError")


def test_a_tracked_thing_that_could_not_be_dealt_with_is_tried_again(rig: ManagerRig) -> None:
    rig.track("session")
    rig.things.fail = True
    rig.backend.advance(100)
    assert rig.manager.statistics().failures == 1
    rig.things.fail = False
    rig.backend.advance(999)
    assert rig.things.over == []
    rig.backend.advance(100)
    assert rig.things.over == ["session"]


def test_a_callback_that_schedules_itself_at_once_does_not_go_round_for_ever(rig: ManagerRig) -> None:
    rounds = []

    def again(late_ns: int) -> None:
        rounds.append(late_ns)
        if len(rounds) < 50:
            rig.manager.once("again", 0, again)

    rig.manager.once("again", 0, again)
    assert rig.manager.fire_due() == 1
    assert rig.manager.fire_due() == 0
    rig.backend.advance(1_000)
    assert len(rounds) == 50


def test_firing_within_firing_does_nothing(rig: ManagerRig) -> None:
    inner: list[int] = []
    rig.manager.once("a", 10, lambda late_ns: inner.append(rig.manager.fire_due()))
    rig.manager.once("b", 10, rig.noting("b"))
    rig.backend.advance(10)
    assert inner == [0]
    assert rig.fired == [("b", 10)]


def test_a_backend_that_never_fires_leaves_what_is_due_to_fire_due(rig: ManagerRig) -> None:
    rig.manager.once("a", 10, rig.noting("a"))
    rig.backend.clock.advance(1)
    assert rig.fired == []
    assert rig.manager.fire_due() == 1
    assert rig.fired == [("a", 1_000)]


def test_a_closed_manager_fires_nothing_and_takes_nothing(rig: ManagerRig) -> None:
    rig.manager.once("a", 10, rig.noting("a"))
    rig.track("session")
    rig.manager.close()
    rig.manager.close()
    rig.backend.advance(1_000)
    assert rig.fired == []
    assert rig.things.over == []
    assert rig.manager.fire_due() == 0
    with pytest.raises(InvalidState) as refused:
        rig.manager.once("b", 1, rig.noting("b"))
    assert refused.value.code == "timers_closed"


@pytest.mark.parametrize("delay_ms", [-1, 1.5, True, "1", None])
def test_a_delay_that_is_no_whole_number_is_refused(rig: ManagerRig, delay_ms: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        rig.manager.once("a", delay_ms, rig.noting("a"))
    assert refused.value.code == "invalid_delay"
    with pytest.raises(InvalidInput):
        rig.manager.repeating("a", 0, rig.noting("a"))


def test_sessions_that_come_and_go_leave_no_entries_behind(rig: ManagerRig) -> None:
    for number in range(10_000):
        rig.track(f"k{number}")
        if number % 100:
            del rig.things.touched_ns[f"k{number}"]
            rig.manager.untrack(f"k{number}")
    assert rig.manager.statistics().tracked == 100
    assert len(rig.manager._tracked_heap._heap) < 400


class ManagerAgainstModel(RuleBasedStateMachine):
    """The model keeps plain dicts and looks at all of them. Without tolerance, so that times are exact."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = ManagerRig(tolerance_ms=0, life_ms=1_000)
        self.now = 0
        self.named: dict[str, list[int]] = {}
        self.tracked: dict[str, list[int]] = {}
        self.expected: list[tuple[str, int]] = []
        self.over: list[str] = []

    names = st.sampled_from("abcd")
    keys = st.sampled_from("stuvw")
    delays = st.integers(0, 5_000)

    @rule(name=names, delay_ms=delays)
    def once(self, name: str, delay_ms: int) -> None:
        self.rig.manager.once(name, delay_ms, self.rig.noting(name))
        self.named[name] = [self.now + delay_ms, 0]

    @rule(name=names, interval_ms=st.integers(1, 3_000))
    def repeating(self, name: str, interval_ms: int) -> None:
        self.rig.manager.repeating(name, interval_ms, self.rig.noting(name))
        self.named[name] = [self.now + interval_ms, interval_ms]

    @rule(name=names)
    def cancel(self, name: str) -> None:
        assert self.rig.manager.cancel(name) == (self.named.pop(name, None) is not None)

    @rule(key=keys)
    def track_or_touch(self, key: str) -> None:
        if key in self.tracked:
            self.rig.things.touched_ns[key] = self.rig.elapsed_ns()
        else:
            self.rig.track(key)
        self.tracked[key] = [self.now + 1_000]

    @rule(key=keys)
    def untrack(self, key: str) -> None:
        if self.tracked.pop(key, None):
            del self.rig.things.touched_ns[key]
            self.rig.manager.untrack(key)

    @rule(delay_ms=delays)
    def time_passes(self, delay_ms: int) -> None:
        self.rig.backend.advance(delay_ms)
        end = self.now + delay_ms
        while (due := self.next_due()) is not None and max(due, self.now) <= end:
            self.now = max(due, self.now)
            self.fire()
        self.now = end

    @rule(delay_ms=delays)
    def the_tab_is_frozen(self, delay_ms: int) -> None:
        self.rig.backend.clock.advance_ns(delay_ms * MS)
        self.now += delay_ms

    @rule()
    def somebody_looks(self) -> None:
        self.rig.manager.fire_due()
        self.fire()

    def next_due(self) -> int | None:
        dues = [one[0] for one in (*self.named.values(), *self.tracked.values())]
        return min(dues, default=None)

    def fire(self) -> None:
        for _, name in sorted((one[0], name) for name, one in self.named.items() if one[0] <= self.now):
            due, interval = self.named[name]
            self.expected.append((name, self.now))
            if interval:
                self.named[name][0] = due + ((self.now - due) // interval + 1) * interval
            else:
                del self.named[name]
        # In the order in which the manager asked, which is that of the deadlines it knew.
        gone = [key for key, (due,) in self.tracked.items() if due <= self.now]
        self.over += gone
        for key in gone:
            del self.tracked[key]

    @invariant()
    def they_agree(self) -> None:
        assert self.rig.fired == self.expected
        assert sorted(self.rig.things.over) == sorted(self.over)
        assert self.rig.things.touched_ns.keys() == self.tracked.keys()
        for name in "abcd":
            due = self.named.get(name)
            assert self.rig.manager.exists(name) == (due is not None)
            left = None if due is None else max(0, due[0] - self.now)
            assert self.rig.manager.time_remaining_ms(name) == left
        stats = self.rig.manager.statistics()
        assert (stats.named, stats.tracked) == (len(self.named), len(self.tracked))
        assert len(self.rig.backend._table) == (1 if self.named or self.tracked else 0)


TestManagerAgainstModel = ManagerAgainstModel.TestCase
TestManagerAgainstModel.settings = settings(max_examples=100, stateful_step_count=40)
