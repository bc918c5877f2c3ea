"""What every timer backend keeps: which timers there are, which is next, and what is due at a moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final

from ..errors import InvalidInput, InvalidState

NS_PER_MS: Final = 1_000_000
MAX_DELAY_MS: Final = 366 * 86_400_000
"""A year. JavaScript's own timers overflow at 25 days; backends sleep in shorter pieces."""

MAX_TIMER_ID_CHARS: Final = 255
MAX_EVENT_CHARS: Final = 1_000
_DEAD_BEFORE_REBUILD: Final = 64


@dataclass(slots=True, eq=False)
class _Timer:
    due_ns: int
    interval_ns: int
    event: str


class TimerTable:
    """Timers by id, in nanoseconds of a clock that the caller reads. Not safe from several threads by itself.

    An entry of the heap whose timer was replaced or cancelled is dead; the heap is rebuilt when most are.
    """

    __slots__ = ("_closed", "_heap", "_order", "_timers")

    def __init__(self) -> None:
        self._timers: dict[str, _Timer] = {}
        self._heap: list[tuple[int, int, str, _Timer]] = []
        self._order = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._timers)

    def schedule(
        self, timer_id: str, delay_ms: int, event: str, now_ns: int, *, repeating: bool = False
    ) -> None:
        """Take a timer in, in place of one of the same id.

        Raises:
            InvalidInput: `invalid_timer_id`, `invalid_delay`, `invalid_timer_event`.
            InvalidState: `timers_closed`.
        """
        check_timer(timer_id, delay_ms, event, least_ms=1 if repeating else 0)
        if self._closed:
            raise InvalidState("timers_closed", "this timer backend was closed: make another")
        wait_ns = delay_ms * NS_PER_MS
        timer = _Timer(now_ns + wait_ns, wait_ns if repeating else 0, event)
        self._timers[timer_id] = timer
        self._push(timer_id, timer)
        if len(self._heap) > 2 * len(self._timers) + _DEAD_BEFORE_REBUILD:
            self._heap = [entry for entry in self._heap if self._timers.get(entry[2]) is entry[3]]
            heapify(self._heap)

    def cancel(self, timer_id: str) -> bool:
        """Remove a timer; False when there is none."""
        if self._timers.pop(timer_id, None) is None:
            return False
        if not self._timers:
            self._heap.clear()
        return True

    def exists(self, timer_id: str) -> bool:
        """Whether a timer is still to fire."""
        return timer_id in self._timers

    def remaining_ms(self, timer_id: str, now_ns: int) -> int | None:
        """Return the milliseconds until a timer is due, rounded up, 0 when overdue; None for no timer."""
        timer = self._timers.get(timer_id)
        return None if timer is None else wait_ms(timer.due_ns, now_ns)

    def next_due_ns(self) -> int | None:
        """Return when the next timer is due; None when there is none."""
        heap = self._heap
        while heap and self._timers.get(heap[0][2]) is not heap[0][3]:
            heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now_ns: int) -> Iterator[tuple[str, str]]:
        """Yield (timer_id, event) of each timer that is due, in the order of their deadlines.

        A repeating one is yielded once however many of its beats were missed, and keeps its rhythm. What is
        scheduled meanwhile waits for the next call, so that a delay of 0 cannot go round for ever.
        """
        newest = self._order
        kept = []
        while (due_ns := self.next_due_ns()) is not None and due_ns <= now_ns:
            entry = heappop(self._heap)
            _, order, timer_id, timer = entry
            if order > newest:
                kept.append(entry)
                continue
            if timer.interval_ns:
                timer.due_ns += ((now_ns - due_ns) // timer.interval_ns + 1) * timer.interval_ns
                self._push(timer_id, timer)
            else:
                del self._timers[timer_id]
            yield timer_id, timer.event
        for entry in kept:
            heappush(self._heap, entry)

    def is_closed(self) -> bool:
        """Whether it takes no more timers."""
        return self._closed

    def close(self) -> None:
        """Forget all timers and take no more."""
        self._closed = True
        self._timers.clear()
        self._heap.clear()

    def _push(self, timer_id: str, timer: _Timer) -> None:
        self._order += 1
        heappush(self._heap, (timer.due_ns, self._order, timer_id, timer))


def wait_ms(due_ns: int, now_ns: int) -> int:
    """Return the whole milliseconds until a moment, rounded up so that none is waited for too shortly."""
    return max(0, -((now_ns - due_ns) // NS_PER_MS))


def check_timer(timer_id: object, delay_ms: object, event: object, *, least_ms: int) -> None:
    """Hold a timer to its limits.

    Raises:
        InvalidInput: `invalid_timer_id`, `invalid_delay`, `invalid_timer_event`.
    """
    if not isinstance(timer_id, str) or not 1 <= len(timer_id) <= MAX_TIMER_ID_CHARS:
        raise InvalidInput(
            "invalid_timer_id", f"give text of 1 to {MAX_TIMER_ID_CHARS} characters", pointer="/timer_id"
        )
    if (
        isinstance(delay_ms, bool)
        or not isinstance(delay_ms, int)
        or not least_ms <= delay_ms <= MAX_DELAY_MS
    ):
        raise InvalidInput(
            "invalid_delay", f"give {least_ms} to {MAX_DELAY_MS} whole milliseconds", pointer="/delay_ms"
        )
    if not isinstance(event, str) or len(event) > MAX_EVENT_CHARS:
        raise InvalidInput(
            "invalid_timer_event", f"give text of at most {MAX_EVENT_CHARS} characters", pointer="/event"
        )
