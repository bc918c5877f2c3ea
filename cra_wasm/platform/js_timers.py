"""A background drive on the JS event loop. Importable in Pyodide only."""

from __future__ import annotations

from collections.abc import Callable

from pyodide.ffi.wrappers import clear_interval, clear_timeout, set_interval, set_timeout


class JsTimerDrive:
    """`ports.Drive` on setInterval; `stop` clears every timer, so that Node can exit."""

    def __init__(self) -> None:
        self._interval: object | None = None
        self._wake: object | None = None
        self._step: Callable[[], None] | None = None

    def start(self, step: Callable[[], None], interval_ms: int) -> None:
        """Begin to call `step`."""
        self._step = step
        self._interval = set_interval(step, interval_ms)

    def wake(self) -> None:
        """Ask for a step in the next turn of the event loop."""
        if self._interval is not None and self._wake is None:
            self._wake = set_timeout(self._woken, 0)

    def is_running(self) -> bool:
        """Whether the timer is set."""
        return self._interval is not None

    def stop(self) -> None:
        """Clear the timers."""
        if self._interval is not None:
            clear_interval(self._interval)
            self._interval = None
        if self._wake is not None:
            clear_timeout(self._wake)
            self._wake = None

    def join(self, timeout_seconds: float | None = None) -> bool:
        """No step can be running while this is called: there is one thread."""
        return True

    def _woken(self) -> None:
        self._wake = None
        if self._step is not None:
            self._step()
