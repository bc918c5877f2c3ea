"""Timers on a thread of their own, for CPython."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Final

from ..errors import BackendFailure
from .timer_listener import TimerListener
from .timer_table import NS_PER_MS, TimerTable

_JOIN_SECONDS: Final = 5.0
"""The thread may wait for a lock that the caller of `close` holds; it ends as soon as it gets it."""

_LONGEST_WAIT_SECONDS: Final = 3_600.0
"""Waits of locks overflow somewhere between platforms; waking once an hour costs nothing."""


class StdTimerBackend:
    """`ports.TimerBackend` on one daemon thread, which starts with the first timer.

    Safe to call from any thread; the listener is called on the timer thread, outside this object's lock.
    """

    name = "std"

    def __init__(self) -> None:
        self._table = TimerTable()
        self._listener = TimerListener()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def failures(self) -> int:
        """How often the listener raised."""
        return self._listener.failures

    def listen(self, on_event: Callable[[str, str], None]) -> None:
        """Call `on_event(timer_id, event)` for each firing."""
        self._listener.listen(on_event)

    def schedule_once(self, timer_id: str, delay_ms: int, event: str) -> None:
        """Fire once; see `ports.TimerBackend`."""
        self._schedule(timer_id, delay_ms, event, repeating=False)

    def schedule_repeating(self, timer_id: str, interval_ms: int, event: str) -> None:
        """Fire again and again; see `ports.TimerBackend`."""
        self._schedule(timer_id, interval_ms, event, repeating=True)

    def _schedule(self, timer_id: str, delay_ms: int, event: str, *, repeating: bool) -> None:
        with self._changed:
            self._table.schedule(timer_id, delay_ms, event, monotonic_ns(), repeating=repeating)
            try:
                self._start()
            except BackendFailure:
                self._table.cancel(timer_id)
                raise
            self._changed.notify()

    def cancel(self, timer_id: str) -> bool:
        """Remove a timer; it does not fire any more unless it is firing just now."""
        with self._changed:
            return self._table.cancel(timer_id)

    def exists(self, timer_id: str) -> bool:
        """Whether it is still to fire."""
        with self._changed:
            return self._table.exists(timer_id)

    def time_remaining_ms(self, timer_id: str) -> int | None:
        """Milliseconds until it fires, rounded up; None when there is no such timer."""
        with self._changed:
            return self._table.remaining_ms(timer_id, monotonic_ns())

    def close(self) -> None:
        """Forget all timers and end the thread. Again: nothing."""
        with self._changed:
            self._table.close()
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name="cra-timers", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise BackendFailure(
                "no_threads", "this interpreter starts no threads: use EventLoopTimerBackend"
            ) from error
        self._thread = thread

    def _run(self) -> None:
        due: Iterator[tuple[str, str]] = iter(())
        while True:
            with self._changed:
                if self._table.is_closed():
                    return
                # One at a time: the listener may cancel what is due as well.
                timer = next(due, None)
                if timer is None:
                    wait_seconds = self._wait_seconds()
                    if wait_seconds is None or wait_seconds > 0:
                        self._changed.wait(wait_seconds)
                    due = self._table.take_due(monotonic_ns())
                    continue
            self._listener.tell(*timer)

    def _wait_seconds(self) -> float | None:
        due_ns = self._table.next_due_ns()
        if due_ns is None:
            return None
        return min(_LONGEST_WAIT_SECONDS, max(0, due_ns - monotonic_ns()) / (1_000 * NS_PER_MS))
