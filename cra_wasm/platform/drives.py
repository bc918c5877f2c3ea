"""The background drive that fits the interpreter."""

from __future__ import annotations

from ..ports import Drive
from .detect import IN_PYODIDE
from .threads import ThreadDrive


def new_drive() -> Drive:
    """Return a drive: a thread on CPython, the JS event loop in Pyodide."""
    if IN_PYODIDE:
        from .js_timers import JsTimerDrive

        return JsTimerDrive()
    return ThreadDrive()
