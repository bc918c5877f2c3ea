"""Fakes of every port, for this project's tests and for its users': time and ids that a test decides."""

from __future__ import annotations

from collections.abc import Callable

from .model.ids import IDS_PER_BLOCK, uuid7
from .platform.timer_listener import TimerListener
from .platform.timer_table import NS_PER_MS, TimerTable
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

    def advance_ns(self, delta_ns: int) -> None:
        """Let so many nanoseconds pass."""
        self._wall_ns += delta_ns
        self._monotonic_ns += delta_ns

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


class MockTimerBackend:
    """`ports.TimerBackend` in virtual time: nothing fires but in `advance`, which moves the clock along.

    Time that passes by the clock alone (`clock.advance`, `clock.sleep_machine`) is time in which the timers
    did not run, as in a frozen tab: what is overdue then fires in the next `advance`, `advance(0)` included.
    """

    name = "mock"

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self._table = TimerTable()
        self._listener = TimerListener()

    @property
    def failures(self) -> int:
        """How often the listener raised."""
        return self._listener.failures

    def listen(self, on_event: Callable[[str, str], None]) -> None:
        """Call `on_event(timer_id, event)` for each firing."""
        self._listener.listen(on_event)

    def schedule_once(self, timer_id: str, delay_ms: int, event: str) -> None:
        """Fire once; see `ports.TimerBackend`."""
        self._table.schedule(timer_id, delay_ms, event, self.clock.monotonic_ns())

    def schedule_repeating(self, timer_id: str, interval_ms: int, event: str) -> None:
        """Fire again and again; see `ports.TimerBackend`."""
        self._table.schedule(timer_id, interval_ms, event, self.clock.monotonic_ns(), repeating=True)

    def cancel(self, timer_id: str) -> bool:
        """Remove a timer; False when there is none."""
        return self._table.cancel(timer_id)

    def exists(self, timer_id: str) -> bool:
        """Whether it is still to fire."""
        return self._table.exists(timer_id)

    def time_remaining_ms(self, timer_id: str) -> int | None:
        """Milliseconds until it fires, rounded up; None when there is no such timer."""
        return self._table.remaining_ms(timer_id, self.clock.monotonic_ns())

    def close(self) -> None:
        """Forget all timers and take no more."""
        self._table.close()

    def advance(self, delay_ms: float) -> int:
        """Let time pass, stopping at each deadline to fire what is due, and return how often it fired."""
        end_ns = self.clock.monotonic_ns() + int(delay_ms * NS_PER_MS)
        fired = 0
        while (due_ns := self._table.next_due_ns()) is not None and due_ns <= end_ns:
            self._move_to(due_ns)
            for timer_id, event in self._table.take_due(self.clock.monotonic_ns()):
                fired += 1
                self._listener.tell(timer_id, event)
        self._move_to(end_ns)
        return fired

    def _move_to(self, monotonic_ns: int) -> None:
        ahead_ns = monotonic_ns - self.clock.monotonic_ns()
        if ahead_ns > 0:
            self.clock.advance_ns(ahead_ns)
