"""Elapsed time for everything that expires: the larger of the two clocks' deltas (PROTOCOL 3.6).

A monotonic clock stops while a machine sleeps, a wall clock can step back. The larger delta may end
something early, never late.
"""

from __future__ import annotations

from typing import Final

from ..ports import Clock

_STEP_NS: Final = 1_000_000_000
"""A divergence of the clocks above this is a step: both are taken as new bases."""


class Timeline:
    """Reads both clocks once and returns the wall time and the elapsed time, which never goes back."""

    __slots__ = ("_elapsed", "_elapsed_base", "_monotonic_base", "_monotonic_ns", "_wall_base", "_wall_ns")

    def __init__(self, clock: Clock) -> None:
        self._wall_ns = clock.wall_ns
        self._monotonic_ns = clock.monotonic_ns
        self._wall_base = self._wall_ns()
        self._monotonic_base = self._monotonic_ns()
        self._elapsed_base = 0
        self._elapsed = 0

    def read(self) -> tuple[int, int]:
        """Return (wall_ns, elapsed_ns).

        Between steps the deltas are taken from common bases, so that the clocks' different resolutions do
        not add up.
        """
        wall_ns = self._wall_ns()
        monotonic_ns = self._monotonic_ns()
        wall_delta = wall_ns - self._wall_base
        monotonic_delta = monotonic_ns - self._monotonic_base
        elapsed = self._elapsed_base + (wall_delta if wall_delta > monotonic_delta else monotonic_delta)
        if elapsed > self._elapsed:
            self._elapsed = elapsed
        if not -_STEP_NS < wall_delta - monotonic_delta < _STEP_NS:
            self._wall_base = wall_ns
            self._monotonic_base = monotonic_ns
            self._elapsed_base = self._elapsed
        return wall_ns, self._elapsed
