"""Elapsed time for everything that expires: the larger of the two clocks' deltas (PROTOCOL 3.6).

A monotonic clock stops while a machine sleeps, a wall clock can step back. The larger delta may end
something early, never late.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from ..ports import Clock

_STEP_NS: Final = 1_000_000_000
"""A divergence of the clocks above this is a step: both are taken as new bases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSteps:
    """All steps and suspensions so far: how many, and the sums of what they were (PROTOCOL 3.14).

    Two of these subtracted tell what happened between, however much it was.
    """

    steps: int = 0
    suspensions: int = 0
    wall_ns: int = 0
    monotonic_ns: int = 0
    gap_ns: int = 0

    def since(self, before: ClockSteps) -> ClockSteps:
        """Return what came after `before`."""
        return ClockSteps(
            steps=self.steps - before.steps,
            suspensions=self.suspensions - before.suspensions,
            wall_ns=self.wall_ns - before.wall_ns,
            monotonic_ns=self.monotonic_ns - before.monotonic_ns,
            gap_ns=self.gap_ns - before.gap_ns,
        )


NO_STEPS: Final = ClockSteps()


class Timeline:
    """Reads both clocks once and returns the wall time and the elapsed time, which never goes back.

    `steps` is replaced by each step, then `on_step` is called, under `lock` if one is given. Reads take it
    only where the clocks diverged, so that threads that find one step count it once.

    INVARIANT: a read takes `_elapsed_base` before the other bases, and a step stores it after them. A read
    that a step falls into sees clocks that diverge and looks again, or an elapsed time that is too small and
    not used.
    """

    __slots__ = (
        "_elapsed",
        "_elapsed_base",
        "_lock",
        "_monotonic_base",
        "_monotonic_ns",
        "_wall_base",
        "_wall_ns",
        "on_step",
        "steps",
    )

    def __init__(self, clock: Clock, lock: AbstractContextManager[object] | None = None) -> None:
        self._wall_ns = clock.wall_ns
        self._monotonic_ns = clock.monotonic_ns
        self._lock = nullcontext() if lock is None else lock
        self._wall_base = self._wall_ns()
        self._monotonic_base = self._monotonic_ns()
        self._elapsed_base = 0
        self._elapsed = 0
        self.steps = NO_STEPS
        self.on_step: Callable[[], None] = _do_nothing

    def read(self) -> tuple[int, int]:
        """Return (wall_ns, elapsed_ns).

        Between steps the deltas are taken from common bases, so that the clocks' different resolutions do
        not add up.
        """
        elapsed_base = self._elapsed_base
        wall_ns = self._wall_ns()
        monotonic_ns = self._monotonic_ns()
        wall_delta = wall_ns - self._wall_base
        monotonic_delta = monotonic_ns - self._monotonic_base
        if not -_STEP_NS < wall_delta - monotonic_delta < _STEP_NS:
            return self._read_after_step()
        elapsed = elapsed_base + (wall_delta if wall_delta > monotonic_delta else monotonic_delta)
        if elapsed > self._elapsed:
            self._elapsed = elapsed
        return wall_ns, self._elapsed

    def _read_after_step(self) -> tuple[int, int]:
        """Read anew, and take both clocks as new bases unless another thread did meanwhile."""
        with self._lock:
            wall_ns = self._wall_ns()
            monotonic_ns = self._monotonic_ns()
            wall_delta = wall_ns - self._wall_base
            monotonic_delta = monotonic_ns - self._monotonic_base
            self._elapsed = max(self._elapsed, self._elapsed_base + max(wall_delta, monotonic_delta))
            if not -_STEP_NS < wall_delta - monotonic_delta < _STEP_NS:
                self._wall_base = wall_ns
                self._monotonic_base = monotonic_ns
                self._elapsed_base = self._elapsed
                self._note(wall_delta, monotonic_delta, wall_delta - monotonic_delta, 1, 0)
            return wall_ns, self._elapsed

    def awake_ns(self) -> int:
        """Return the monotonic clock's time alone, by which a late timer is told from a step."""
        return self._monotonic_ns()

    def note_suspension(self, late_ns: int) -> None:
        """Take down that the runtime did not run for so long, though both clocks did."""
        with self._lock:
            self._note(late_ns, late_ns, late_ns, 0, 1)

    def _note(self, wall_ns: int, monotonic_ns: int, gap_ns: int, steps: int, suspensions: int) -> None:
        before = self.steps
        self.steps = ClockSteps(
            steps=before.steps + steps,
            suspensions=before.suspensions + suspensions,
            wall_ns=before.wall_ns + wall_ns,
            monotonic_ns=before.monotonic_ns + monotonic_ns,
            gap_ns=before.gap_ns + gap_ns,
        )
        self.on_step()


def _do_nothing() -> None:
    """Stands where nobody asked to be told."""
