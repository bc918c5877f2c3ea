"""Any number of deadlines on one timer of a backend (PROTOCOL 3.14).

A deadline is a moment of elapsed time (timeline.py), so that it comes when the machine slept meanwhile. The
backend only wakes the manager; what is due is decided by the time, never by counting ticks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol

from ..errors import CRAError, InvalidInput, InvalidState
from ..ports import TimerBackend
from .deadlines import Deadlines

_NS_PER_MS: Final = 1_000_000

TOLERANCE_MS: Final = 10
"""What is due so soon fires along. Early is allowed, late is not (PROTOCOL 3.6)."""

LONGEST_WAIT_MS: Final = 60_000
"""Backends sleep by a monotonic clock, which stops in a closed laptop: look at the wall clock this often."""

RETRY_MS: Final = 1_000
"""A tracked thing that could not be dealt with, because the storage failed say, is tried again after this."""

SUSPENDED_NS: Final = 2_000_000_000
"""A wake-up that comes so much too late was a suspension: a frozen tab, a stopped process."""


class Tracker(Protocol):
    """The owner of the tracked things, which knows their real deadlines: touching one moves it on."""

    def is_tracked(self, key: str) -> bool:
        """Whether it is still there."""
        ...

    def look_at(self, key: str, elapsed_ns: int) -> int | None:
        """Do what is due at that moment and return the next deadline, a later one; None when it is over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerStats:
    """The state of a manager. `next_due_ms` is None when nothing waits, and 0 when something is overdue."""

    backend: str
    named: int
    tracked: int
    next_due_ms: int | None
    fired: int
    failures: int
    last_failure: str | None
    suspensions: int


@dataclass(slots=True, eq=False)
class _Named:
    due_ns: int
    interval_ns: int
    act: Callable[[int], None]


class _TracksNothing:
    def is_tracked(self, key: str) -> bool:
        return False

    def look_at(self, key: str, elapsed_ns: int) -> int | None:
        return None


class TimerManager:
    """Keeps named timers and the deadlines of tracked things, and arms one backend timer for the next.

    Args:
        backend: its only listener is this manager; closing it is the caller's.
        elapsed_ns: the elapsed time now; never goes back.
        awake_ns: a monotonic clock, by which a late wake-up is told from a step of the wall clock.
        tracker: who owns what `track` is told of.
        lock: held around everything, callbacks included; the backend may fire on a thread of its own.
        on_suspension: called with the nanoseconds by which a wake-up came late, above 2 s, before what is
            overdue fires.
        timer_id: the backend's timer.
    """

    def __init__(
        self,
        backend: TimerBackend,
        elapsed_ns: Callable[[], int],
        *,
        awake_ns: Callable[[], int] | None = None,
        tracker: Tracker | None = None,
        lock: AbstractContextManager[object] | None = None,
        tolerance_ms: int = TOLERANCE_MS,
        on_suspension: Callable[[int], None] = lambda late_ns: None,
        timer_id: str = "cra-timers",
    ) -> None:
        self._backend = backend
        self._elapsed_ns = elapsed_ns
        self._awake_ns = awake_ns or elapsed_ns
        self._tracker: Tracker = tracker or _TracksNothing()
        self._lock = lock or nullcontext()
        self._tolerance_ns = tolerance_ms * _NS_PER_MS
        self._on_suspension = on_suspension
        self._timer_id = timer_id
        self._named: dict[str, _Named] = {}
        self._named_heap = Deadlines(self._is_named)
        self._tracked_heap = Deadlines(lambda due_ns, key: self._tracker.is_tracked(key))
        self._armed_ns: int | None = None
        self._awake_at_ns = 0
        self._firing_until_ns: int | None = None
        self._looking_at: str | None = None
        self._closed = False
        self._fired = 0
        self._failures = 0
        self._last_failure: str | None = None
        self._suspensions = 0
        backend.listen(self._wake_up)

    def once(self, name: str, delay_ms: int, act: Callable[[int], None]) -> None:
        """Call `act(late_ns)` after `delay_ms`; a timer of that name is replaced.

        Raises:
            InvalidInput: `invalid_delay` unless it is a whole number >= 0.
            InvalidState: `timers_closed`.
        """
        self._schedule(name, delay_ms, act, repeating=False)

    def repeating(self, name: str, interval_ms: int, act: Callable[[int], None]) -> None:
        """Call `act(late_ns)` every `interval_ms`. Beats that were missed are not made up for.

        Raises:
            InvalidInput: `invalid_delay` unless it is a whole number >= 1.
            InvalidState: `timers_closed`.
        """
        self._schedule(name, interval_ms, act, repeating=True)

    def cancel(self, name: str) -> bool:
        """Remove a named timer; False when there is none."""
        with self._lock:
            if self._named.pop(name, None) is None:
                return False
            self._named_heap.bury_one()
            self._disarm_if_idle()
            return True

    def exists(self, name: str) -> bool:
        """Whether a named timer is still to fire."""
        return name in self._named

    def time_remaining_ms(self, name: str) -> int | None:
        """Return the milliseconds until a named timer is due, rounded up, 0 when overdue; None for none."""
        with self._lock:
            timer = self._named.get(name)
            return None if timer is None else _wait_ms(timer.due_ns, self._elapsed_ns())

    def track(self, key: str, deadline_ns: int) -> None:
        """Ask the tracker about `key` at that elapsed time, and from then on until it is over."""
        with self._lock:
            if not self._closed:
                self._tracked_heap.push(self._beyond_this_firing(deadline_ns), key)
                self._arm()

    def untrack(self, key: str) -> None:
        """Note that `key`, which `track` was told of, is over: `Tracker.is_tracked` says so already."""
        with self._lock:
            if not self._closed and key != self._looking_at:
                self._tracked_heap.bury_one()
                self._disarm_if_idle()

    def fire_due(self) -> int:
        """Fire what is due now, in the order of the deadlines, each at most once; return how many."""
        with self._lock:
            if self._closed or self._firing_until_ns is not None:
                return 0
            fired = 0
            until_ns = self._firing_until_ns = self._elapsed_ns() + self._tolerance_ns
            try:
                while self._fire_next(until_ns):
                    fired += 1
            finally:
                self._firing_until_ns = None
            self._fired += fired
            self._arm()
            return fired

    def statistics(self) -> TimerStats:
        """Return the state of this moment."""
        with self._lock:
            due_ns = self._next_due_ns()
            return TimerStats(
                backend=self._backend.name,
                named=len(self._named),
                tracked=len(self._tracked_heap),
                next_due_ms=None if due_ns is None else _wait_ms(due_ns, self._elapsed_ns()),
                fired=self._fired,
                failures=self._failures,
                last_failure=self._last_failure,
                suspensions=self._suspensions,
            )

    def close(self) -> None:
        """Forget everything and cancel the backend's timer. Again: nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._named.clear()
            self._named_heap.clear()
            self._tracked_heap.clear()
            self._armed_ns = None
            self._backend.cancel(self._timer_id)

    def _schedule(self, name: str, delay_ms: int, act: Callable[[int], None], *, repeating: bool) -> None:
        if isinstance(delay_ms, bool) or not isinstance(delay_ms, int) or delay_ms < (1 if repeating else 0):
            raise InvalidInput("invalid_delay", "give whole milliseconds", pointer="/delay_ms")
        with self._lock:
            if self._closed:
                raise InvalidState("timers_closed", "this timer manager was closed: make another")
            wait_ns = delay_ms * _NS_PER_MS
            due_ns = self._beyond_this_firing(self._elapsed_ns() + wait_ns)
            replaced = self._named.get(name)
            self._named[name] = _Named(due_ns, wait_ns if repeating else 0, act)
            self._named_heap.push(due_ns, name)
            if replaced is not None:
                self._named_heap.bury_one()
            self._arm()

    def _is_named(self, due_ns: int, name: str) -> bool:
        timer = self._named.get(name)
        return timer is not None and timer.due_ns == due_ns

    def _wake_up(self, timer_id: str, event: str) -> None:
        if timer_id != self._timer_id:
            return
        with self._lock:
            if self._closed or self._armed_ns is None:
                return
            self._armed_ns = None
            late_ns = self._awake_ns() - self._awake_at_ns
            if late_ns > SUSPENDED_NS:
                self._suspensions += 1
                self._guard(lambda: self._on_suspension(late_ns))
            self.fire_due()

    def _fire_next(self, until_ns: int) -> bool:
        """Fire the earliest of both heaps if it is due; named timers come first at the same moment."""
        named, tracked = self._named_heap.next(), self._tracked_heap.next()
        if named is not None and (tracked is None or named[0] <= tracked[0]):
            if named[0] <= until_ns:
                self._fire_named(named[1], until_ns)
                return True
        elif tracked is not None and tracked[0] <= until_ns:
            self._fire_tracked(tracked[1], until_ns)
            return True
        return False

    def _fire_named(self, name: str, until_ns: int) -> None:
        self._named_heap.pop()
        timer = self._named[name]
        late_ns = max(0, until_ns - self._tolerance_ns - timer.due_ns)
        if timer.interval_ns:
            timer.due_ns += ((until_ns - timer.due_ns) // timer.interval_ns + 1) * timer.interval_ns
            self._named_heap.push(timer.due_ns, name)
        else:
            del self._named[name]
        self._guard(lambda: timer.act(late_ns))

    def _fire_tracked(self, key: str, until_ns: int) -> None:
        self._tracked_heap.pop()
        next_ns: list[int | None] = [until_ns + RETRY_MS * _NS_PER_MS]

        def look() -> None:
            next_ns[0] = self._tracker.look_at(key, until_ns)

        self._looking_at = key
        self._guard(look)
        self._looking_at = None
        if next_ns[0] is not None and self._tracker.is_tracked(key):
            self._tracked_heap.push(self._beyond_this_firing(next_ns[0]), key)

    def _guard(self, work: Callable[[], None]) -> None:
        """Do a callback's work. What it raises is counted and named: it must stop no other timer."""
        try:
            work()
        except Exception as error:
            self._failures += 1
            self._last_failure = error.code if isinstance(error, CRAError) else type(error).__name__

    def _beyond_this_firing(self, due_ns: int) -> int:
        """What is scheduled while others fire waits for the next firing: a delay of 0 must not go round."""
        if self._firing_until_ns is None or due_ns > self._firing_until_ns:
            return due_ns
        return self._firing_until_ns + 1

    def _next_due_ns(self) -> int | None:
        named, tracked = self._named_heap.next(), self._tracked_heap.next()
        if named is None or tracked is None:
            return (named or tracked or (None,))[0]
        return min(named[0], tracked[0])

    def _arm(self) -> None:
        """Set the backend's timer, unless it comes early enough; one that comes too early sets it anew."""
        if self._firing_until_ns is not None:
            return
        due_ns = self._next_due_ns()
        if due_ns is None:
            self._disarm_if_idle()
            return
        if self._armed_ns is not None and self._armed_ns <= due_ns:
            return
        now_ns = self._elapsed_ns()
        delay_ms = min(LONGEST_WAIT_MS, _wait_ms(due_ns, now_ns))
        self._backend.schedule_once(self._timer_id, delay_ms, "due")
        self._armed_ns = now_ns + delay_ms * _NS_PER_MS
        self._awake_at_ns = self._awake_ns() + delay_ms * _NS_PER_MS

    def _disarm_if_idle(self) -> None:
        """Leave the backend no timer when nothing waits: a script that is done must be able to exit."""
        if not self._named and not len(self._tracked_heap) and self._armed_ns is not None:
            self._armed_ns = None
            self._backend.cancel(self._timer_id)


def _wait_ms(due_ns: int, now_ns: int) -> int:
    return max(0, -((now_ns - due_ns) // _NS_PER_MS))
