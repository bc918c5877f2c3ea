"""A background drive and an alarm on the JS event loop. Importable in Pyodide only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from js import clearTimeout, setTimeout
from pyodide.ffi import create_proxy
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


class JsAlarm:
    """One JavaScript timer that is set again and again. Its callback is one proxy, destroyed by `close`.

    `pyodide.ffi.wrappers.set_timeout` makes and destroys a proxy each time, which takes longer than the
    timer itself. Clearing is JavaScript's own clearTimeout, so nothing keeps Node alive.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._proxy = create_proxy(ring)
        self._timer: Any = None
        self._closed = False

    def set(self, delay_ms: int) -> None:
        """Ring after so many milliseconds, at most 2^31-1, instead of before."""
        self.clear()
        self._timer = setTimeout(self._proxy, delay_ms)

    def clear(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            clearTimeout(self._timer)
            self._timer = None

    def close(self) -> None:
        """Clear the timer and give the callback back. Again: nothing."""
        self.clear()
        if not self._closed:
            self._closed = True
            self._proxy.destroy()
