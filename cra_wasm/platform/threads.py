"""Locks, and a background thread on interpreters that have threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from ..errors import BackendFailure

_Result = TypeVar("_Result")


def new_lock() -> AbstractContextManager[object]:
    """Return a re-entrant lock. In Pyodide, which has one thread, taking it is free of contention."""
    lock: AbstractContextManager[object] = threading.RLock()
    return lock


def call_within(work: Callable[[], _Result], seconds: float) -> _Result:
    """Return or raise what `work` does, on a daemon thread that is left alone when the time runs out.

    Raises:
        TimeoutError: it did neither in time.
        RuntimeError: the interpreter starts no threads, as in Pyodide.
    """
    from concurrent.futures import Future  # not for those that only want a lock

    done: Future[_Result] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="cra-call", daemon=True).start()
    return done.result(seconds)


class ThreadDrive:
    """`ports.Drive` on a daemon thread."""

    def __init__(self, name: str = "cra-trace") -> None:
        self._name = name
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self, step: Callable[[], None], interval_ms: int) -> None:
        """Start the thread.

        Raises:
            BackendFailure: `no_threads` where the interpreter cannot start one, as in Pyodide.
        """

        def run() -> None:
            while not self._stopping:
                self._wake.wait(interval_ms / 1000)
                self._wake.clear()
                step()

        self._stopping = False
        self._wake.clear()
        thread = threading.Thread(target=run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise BackendFailure(
                "no_threads", "this interpreter starts no threads: use the event loop's drive"
            ) from error
        self._thread = thread

    def wake(self) -> None:
        """Ask for a step now."""
        self._wake.set()

    def is_running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Ask the thread to end after the step under way."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the thread's end; False when the time ran out first."""
        if self._thread is None or self._thread is threading.current_thread():
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()
