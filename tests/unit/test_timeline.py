"""Elapsed time: never back, never late, early only when a wall clock was put forward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.testing import FakeClock
from cra_wasm.timing.timeline import Timeline

SECOND = 1_000_000_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def timeline(clock: FakeClock) -> Timeline:
    return Timeline(clock)


def elapsed(timeline: Timeline) -> float:
    return timeline.read()[1] / SECOND


def test_it_starts_at_zero_with_the_wall_time(clock: FakeClock, timeline: Timeline) -> None:
    assert timeline.read() == (clock.wall_ns(), 0)


def test_time_that_both_clocks_saw_is_counted_once(clock: FakeClock, timeline: Timeline) -> None:
    for _ in range(10):
        clock.advance(5)
        timeline.read()
    assert elapsed(timeline) == 50


@pytest.mark.parametrize("back", [0.5, 5, 3600, 100_000])
def test_a_wall_clock_set_back_is_ignored(clock: FakeClock, timeline: Timeline, back: float) -> None:
    clock.advance(10)
    assert elapsed(timeline) == 10
    clock.step_wall(-back)
    assert elapsed(timeline) == 10
    clock.advance(7)
    assert elapsed(timeline) == 17


def test_a_wall_clock_set_forward_counts_because_it_may_have_been_sleep(
    clock: FakeClock, timeline: Timeline
) -> None:
    clock.step_wall(60)
    assert elapsed(timeline) == 60
    clock.advance(1)
    assert elapsed(timeline) == 61


def test_sleep_of_the_machine_counts(clock: FakeClock, timeline: Timeline) -> None:
    clock.advance(3)
    clock.sleep_machine(3600)
    clock.advance(4)
    assert elapsed(timeline) == 3607


def test_a_step_forward_and_back_again_is_counted_once(clock: FakeClock, timeline: Timeline) -> None:
    clock.step_wall(60)
    assert elapsed(timeline) == 60
    clock.step_wall(-60)
    assert elapsed(timeline) == 60
    clock.advance(5)
    assert elapsed(timeline) == 65


def test_sleep_after_a_step_back_counts(clock: FakeClock, timeline: Timeline) -> None:
    clock.step_wall(-3600)
    timeline.read()
    clock.sleep_machine(600)
    assert elapsed(timeline) == 600


def test_small_divergences_do_not_add_up(clock: FakeClock, timeline: Timeline) -> None:
    for step in (0.4, -0.4) * 20:
        clock.step_wall(step)
        timeline.read()
    assert elapsed(timeline) == 0.4


MOVES = st.lists(st.tuples(st.sampled_from(["pass", "back", "forward"]), st.integers(0, 10_000)), max_size=30)


@given(MOVES)
def test_elapsed_never_goes_back_nor_behind_the_monotonic_clock(
    moves: list[tuple[str, int]],
) -> None:
    clock = FakeClock()
    timeline = Timeline(clock)
    before = 0
    for move, tenths in moves:
        if move == "pass":
            clock.advance(tenths / 10)
        else:
            clock.step_wall(tenths / 10 if move == "forward" else -tenths / 10)
        wall_ns, now = timeline.read()
        assert wall_ns == clock.wall_ns()
        assert now >= before
        assert now >= clock.monotonic_ns()
        before = now


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100_000)), max_size=30))
def test_elapsed_is_all_time_that_passed_awake_or_asleep(moves: list[tuple[bool, int]]) -> None:
    clock = FakeClock()
    timeline = Timeline(clock)
    for asleep, seconds in moves:
        if asleep:
            clock.sleep_machine(seconds)
        else:
            clock.advance(seconds)
        timeline.read()
    assert timeline.read()[1] == sum(seconds for _, seconds in moves) * SECOND


class InterruptedClock(FakeClock):
    """Another thread runs, once, between the readings of one read's two clocks."""

    def __init__(self) -> None:
        super().__init__()
        self.other_thread: Callable[[], None] = _nobody

    def monotonic_ns(self) -> int:
        run, self.other_thread = self.other_thread, _nobody
        run()
        return super().monotonic_ns()


def _nobody() -> None: ...


@pytest.mark.parametrize("by", [3600, -3600])
@pytest.mark.parametrize("read_first", [False, True])
def test_a_step_that_two_threads_find_at_once_is_counted_once(by: float, read_first: bool) -> None:
    clock = InterruptedClock()
    timeline = Timeline(clock)
    clock.advance(10)
    if read_first:
        timeline.read()

    def find_it_first() -> None:
        clock.step_wall(by)
        timeline.read()

    clock.other_thread = find_it_first
    timeline.read()
    assert (timeline.steps.steps, timeline.steps.gap_ns) == (1, by * SECOND)
    assert elapsed(timeline) == 10 + max(by, 0)
    clock.advance(5)
    assert elapsed(timeline) == 15 + max(by, 0)
