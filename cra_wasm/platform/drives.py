"""The background drive and the timers that fit the interpreter."""

from __future__ import annotations

from ..ports import Drive, TimerBackend
from .detect import IN_PYODIDE
from .threads import ThreadDrive


def new_drive() -> Drive:
    """Return a drive: a thread on CPython, the JS event loop in Pyodide."""
    if IN_PYODIDE:
        from .js_timers import JsTimerDrive

        return JsTimerDrive()
    return ThreadDrive()


def new_timers() -> TimerBackend:
    """Return a timer backend: a thread on CPython, the JS event loop in Pyodide."""
    if IN_PYODIDE:
        from .event_loop_timers import EventLoopTimerBackend

        return EventLoopTimerBackend()
    from .thread_timers import StdTimerBackend

    return StdTimerBackend()
