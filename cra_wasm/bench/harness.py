"""Timing: batches for the median, single calls for the 99th percentile, a fixed workload for the machine.

The time of a batch divided by its size is exact however coarse the timer is; one call is not, so a p99 is a
multiple of the timer's resolution, which every report states. Nothing is subtracted from either.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from math import ceil
from statistics import median
from typing import Final, TypeAlias

from .scenario import Bench, Effort, Figures

TimeCalls: TypeAlias = Callable[[int], int]
"""Makes so many calls and returns the nanoseconds that they took together."""

UNSTEADY_ABOVE: Final = 0.15
_CALIBRATIONS: Final = 9
_WARM_UP: Final = 100
_QUICK_CALL_NS: Final = 500_000
_RESOLUTION_STEPS: Final = 50


@dataclass(slots=True, kw_only=True)
class Timed:
    """What is measured call by call. `size` is the batch's; None is fitted to the effort."""

    time: TimeCalls
    size: int | None = None
    max_size: int = 1_000
    batches: int | None = None
    singles: bool = True

    def fit(self, effort: Effort) -> int:
        """Return the batch's size: doubled from 1, after a warm-up, until a batch takes long enough.

        The fastest of three counts, for a hiccup of the machine would end the doubling too early.
        """
        if self.size is None:
            self.warm_up(effort.warm_up_ms)
            size = 1
            while size < self.max_size and min(self.time(size) for _ in range(3)) < effort.batch_us * 1_000:
                size = min(size * 2, self.max_size)
            self.size = size
        return self.size

    def warm_up(self, least_ms: int) -> None:
        """Call until the engine has compiled what is called: WebAssembly that is new to V8 runs at half pace.

        What takes long a call is called a few times only.
        """
        step = min(_WARM_UP, self.max_size)
        calls, spent = step, self.time(step)
        while spent < least_ms * 1_000_000 and spent < calls * _QUICK_CALL_NS:
            calls += step
            spent += self.time(step)


def timed_call(
    bench: Bench,
    call: Callable[[], object],
    settle: Callable[[], object] = lambda: None,
    max_size: int = 1_000,
) -> Timed:
    """Measure a call without arguments; `settle` runs before each batch and is not timed."""
    timer = bench.timer

    def time(count: int) -> int:
        settle()
        start = timer()
        for _ in repeat(None, count):
            call()
        return timer() - start

    return Timed(time=time, max_size=max_size)


def measuring(timed: Timed, bench: Bench) -> Callable[[], Figures]:
    """Return the function that makes one run: p50, and p99 where single calls are timed."""
    return partial(_measure, timed, bench)


def _measure(timed: Timed, bench: Bench) -> Figures:
    gc.collect()
    size = timed.fit(bench.effort)
    batches = min(bench.effort.batches, timed.batches or bench.effort.batches)
    figures = {"p50": median(timed.time(size) / size for _ in range(batches)) / 1_000}
    if timed.singles:
        figures["p99"] = percentile([timed.time(1) for _ in range(bench.effort.singles)], 99) / 1_000
    return figures


def measuring_in_turn(timed: Mapping[str, Timed], bench: Bench) -> Callable[[], Figures]:
    """Return the function that makes one run: the p50 of each by name, a batch of every one in turn."""
    return partial(_measure_in_turn, timed, bench)


def _measure_in_turn(timed: Mapping[str, Timed], bench: Bench) -> Figures:
    gc.collect()
    sizes = {name: one.fit(bench.effort) for name, one in timed.items()}
    batches = min(bench.effort.batches, *(one.batches or bench.effort.batches for one in timed.values()))
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(batches):
        for name, one in timed.items():
            times[name].append(one.time(sizes[name]) / sizes[name])
    return {name: median(taken) / 1_000 for name, taken in times.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile: the smallest value that so many percent are not above."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def calibrate(timer: Callable[[], int]) -> float:
    """Return the microseconds of a fixed pure-Python workload, the median of nine."""
    times = []
    for _ in range(_CALIBRATIONS):
        start = timer()
        _workload()
        times.append(timer() - start)
    return median(times) / 1_000


def _workload() -> int:
    """Do what this package's code does most: look-ups, small texts, additions."""
    known: dict[str, int] = {}
    total = 0
    for number in range(2_000):
        text = f"key {number & 63}"
        known[text] = known.get(text, 0) + number
        total += len(text)
    return total + len(known)


def is_unsteady(before: float, after: float) -> bool:
    """Whether the machine changed its pace by more than 15 % between two calibrations."""
    low, high = sorted((before, after))
    return high > low * (1 + UNSTEADY_ABOVE)


def timer_resolution_us(timer: Callable[[], int]) -> float:
    """Return the smallest step of the timer that was seen."""
    steps: list[int] = []
    last = timer()
    while len(steps) < _RESOLUTION_STEPS:
        now = timer()
        if now != last:
            steps.append(now - last)
            last = now
    return min(steps) / 1_000
