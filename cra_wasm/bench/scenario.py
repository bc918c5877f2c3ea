"""What a benchmark is: its name, what it sets up, the figures that it gives, and their budgets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Final, Literal, TypeAlias

Unit: TypeAlias = Literal["us", "/s", "B", "x", ""]
"""Microseconds, per second, bytes, a ratio, a count. Of `/s` more is better, of all others less."""

RUNTIMES: Final = ("cpython", "node", "chromium")
BROWSER_SIDE: Final = ("node", "chromium")
"""Where the budgets count: the product's place is WebAssembly. CPython is measured for comparison."""

MIN_RUNS: Final = 5
MAX_RUNS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured in one run."""

    batches: int
    batch_us: int
    singles: int
    sessions: int
    calls_in_a_row: int
    events: int
    warm_up_ms: int = 300


# A batch is short beside the slices of a scheduler, so that on a busy machine most are not interrupted, and
# a hundred steps of an isolated page's timer long.
FULL: Final = Effort(
    batches=100, batch_us=500, singles=1_000, sessions=10_000, calls_in_a_row=1_000_000, events=200_000
)
QUICK: Final = Effort(
    batches=20, batch_us=500, singles=200, sessions=1_000, calls_in_a_row=100_000, events=2_000
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of a scenario. `budget` is the most that it may be, in its own unit."""

    name: str
    unit: Unit
    budget: float | None = None
    budget_runtimes: tuple[str, ...] = BROWSER_SIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A budget relative to another scenario: this one's p50 is at most `budget` times that one's."""

    to: str
    budget: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaScript:
    """What JavaScript measures for us, where it is underneath.

    `calibrate()` gives the microseconds of a fixed JS workload; `time(name, count, *texts)` those of `count`
    calls of a loop that web/src/bench-loops.ts knows by name; `time_async(name, count, make, *texts)` those
    of a loop that waits for the events that `make(events)` makes.
    """

    calibrate: Callable[[], float]
    time: Callable[..., float]
    time_async: Callable[..., Awaitable[float]]


@dataclass(slots=True, kw_only=True)
class Bench:
    """What a scenario gets: the timer (nanoseconds), the effort, and a stack for what must be closed."""

    runtime: str
    effort: Effort = FULL
    timer: Callable[[], int] = perf_counter_ns
    javascript: JavaScript | None = None
    closing: ExitStack = field(default_factory=ExitStack)


Figures: TypeAlias = Mapping[str, float]
"""The metrics of one run, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One benchmark.

    Args:
        claim: what is set up and measured, for whoever reads the figure.
        prepare: sets it up, not timed, and returns the function that makes one run; what waits for JavaScript
            returns an awaitable.
        once: one run is enough, because it is long or counts bytes.
        timed_in: whose calibration belongs to the figure.
        traced: figures that the command line adds from a trace of Chromium (`pauses`); the page has them not.
    """

    name: str
    title: str
    claim: str
    metrics: tuple[Metric, ...]
    prepare: Callable[[Bench], Callable[[], Figures | Awaitable[Figures]]]
    ratio: Ratio | None = None
    once: bool = False
    runtimes: tuple[str, ...] = RUNTIMES
    timed_in: Literal["python", "javascript"] = "python"
    traced: tuple[Metric, ...] = ()
