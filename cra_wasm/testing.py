"""Fakes of every port, for this project's tests and for its users': time and ids that a test decides."""

from __future__ import annotations

from .model.ids import IDS_PER_BLOCK, uuid7
from .storage.memory import MemoryStorage as MemoryStorage

DEFAULT_WALL_NS = 1_735_387_200_000_000_000
"""2024-12-28T12:00:00Z."""


class FakeClock:
    """A clock that stands until it is told to move. Both hands move together unless one is named."""

    def __init__(self, wall_ns: int = DEFAULT_WALL_NS, monotonic_ns: int = 0) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns

    def wall_ns(self) -> int:
        """The wall clock's time."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """The monotonic clock's time."""
        return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall_ns += int(seconds * 1e9)
        self._monotonic_ns += int(seconds * 1e9)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as a user or NTP does."""
        self._wall_ns += int(seconds * 1e9)

    def sleep_machine(self, seconds: float) -> None:
        """Let the wall clock run on while the monotonic one stands, as in a closed laptop."""
        self._wall_ns += int(seconds * 1e9)


class SequentialIds:
    """UUIDv7s that count up from the same start in each run, so that traces and hashes are literal."""

    def __init__(self, start: int = 1) -> None:
        self._next_block = start

    def reserve(self, wall_ns: int) -> int:
        """Return the next block's first id."""
        block = self._next_block
        self._next_block += 1
        return uuid7(wall_ns, block * IDS_PER_BLOCK)
