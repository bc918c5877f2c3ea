"""Timers on the event loop: asyncio's on CPython, JavaScript's in Pyodide. One timer of the loop for all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import Final, Protocol

from ..errors import InvalidState
from .detect import IN_PYODIDE
from .threads import new_lock
from .timer_listener import TimerListener
from .timer_table import TimerTable, wait_ms

LONGEST_PIECE_MS: Final = 86_400_000
"""Longer waits are slept in pieces: JavaScript fires a timer of more than 2^31-1 ms at once."""


class _Alarm(Protocol):
    """One timer of the loop. `set` replaces the one before."""

    def set(self, delay_ms: int) -> None: ...
    def clear(self) -> None: ...
    def close(self) -> None: ...


class EventLoopTimerBackend:
    """`ports.TimerBackend` whose listener runs on the event loop.

    However many timers there are, the loop holds one. It is cleared when the last one is cancelled and by
    `close`, so that Node can exit.

    Args:
        loop: CPython's; default the running one. Pyodide needs none. Timers may be scheduled from any thread.

    Raises:
        InvalidState: `no_event_loop` on CPython outside a running loop.
    """

    name = "event_loop"

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._table = TimerTable()
        self._listener = TimerListener()
        self._lock = new_lock()
        self._armed_ns: int | None = None
        self._alarm = _new_alarm(loop, self._ring)

    @property
    def failures(self) -> int:
        """How often the listener raised."""
        return self._listener.failures

    def listen(self, on_event: Callable[[str, str], None]) -> None:
        """Call `on_event(timer_id, event)` for each firing."""
        self._listener.listen(on_event)

    def schedule_once(self, timer_id: str, delay_ms: int, event: str) -> None:
        """Fire once; see `ports.TimerBackend`."""
        with self._lock:
            self._table.schedule(timer_id, delay_ms, event, monotonic_ns())
            self._arm()

    def schedule_repeating(self, timer_id: str, interval_ms: int, event: str) -> None:
        """Fire again and again; see `ports.TimerBackend`."""
        with self._lock:
            self._table.schedule(timer_id, interval_ms, event, monotonic_ns(), repeating=True)
            self._arm()

    def cancel(self, timer_id: str) -> bool:
        """Remove a timer. The loop's own stays for the others; it is cleared with the last."""
        with self._lock:
            cancelled = self._table.cancel(timer_id)
            if cancelled and not len(self._table):
                self._armed_ns = None
                self._alarm.clear()
            return cancelled

    def exists(self, timer_id: str) -> bool:
        """Whether it is still to fire."""
        return self._table.exists(timer_id)

    def time_remaining_ms(self, timer_id: str) -> int | None:
        """Milliseconds until it fires, rounded up; None when there is no such timer."""
        return self._table.remaining_ms(timer_id, monotonic_ns())

    def close(self) -> None:
        """Forget all timers and clear the loop's. Again: nothing."""
        with self._lock:
            self._table.close()
            self._armed_ns = None
            self._alarm.close()

    def _arm(self) -> None:
        due_ns = self._table.next_due_ns()
        if due_ns is None or (self._armed_ns is not None and self._armed_ns <= due_ns):
            return
        self._armed_ns = due_ns
        self._alarm.set(min(LONGEST_PIECE_MS, wait_ms(due_ns, monotonic_ns())))

    def _ring(self) -> None:
        with self._lock:
            self._armed_ns = None
        due = self._table.take_due(monotonic_ns())
        while not self._table.is_closed():
            with self._lock:
                # One at a time: the listener may cancel what is due as well.
                timer = next(due, None)
                if timer is None:
                    self._arm()
                    return
            self._listener.tell(*timer)


class _AsyncioAlarm:
    """An asyncio handle, set and cleared on the loop's own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._thread_id = threading.get_ident()

    def set(self, delay_ms: int) -> None:
        self._on_loop(lambda: self._set(delay_ms))

    def clear(self) -> None:
        self._on_loop(self._clear)

    def close(self) -> None:
        if not self._loop.is_closed():
            self.clear()

    def _on_loop(self, work: Callable[[], None]) -> None:
        if threading.get_ident() == self._thread_id:
            work()
        else:
            self._loop.call_soon_threadsafe(work)

    def _set(self, delay_ms: int) -> None:
        self._clear()
        self._handle = self._loop.call_later(delay_ms / 1_000, self._ring)

    def _clear(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def _new_alarm(loop: asyncio.AbstractEventLoop | None, ring: Callable[[], None]) -> _Alarm:
    if IN_PYODIDE:
        from .js_timers import JsAlarm

        return JsAlarm(ring)
    try:
        return _AsyncioAlarm(loop or asyncio.get_running_loop(), ring)
    except RuntimeError:
        raise InvalidState(
            "no_event_loop", "make it inside a running event loop, or pass loop=, or use StdTimerBackend"
        ) from None
