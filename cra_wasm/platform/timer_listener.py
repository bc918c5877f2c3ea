"""Hands what a timer backend fires to its listener, which may fail without stopping the timers."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import CRAError


class TimerListener:
    """One listener; what fires before there is one waits for it."""

    __slots__ = ("_early", "_on_event", "failures", "last_failure")

    def __init__(self) -> None:
        self._on_event: Callable[[str, str], None] | None = None
        self._early: list[tuple[str, str]] = []
        self.failures = 0
        self.last_failure: str | None = None

    def listen(self, on_event: Callable[[str, str], None]) -> None:
        """Call this from now on, and at once for what fired before."""
        self._on_event = on_event
        early, self._early = self._early, []
        for timer_id, event in early:
            self.tell(timer_id, event)

    def tell(self, timer_id: str, event: str) -> None:
        """Pass one firing on. What the listener raises is counted and named, no more."""
        if self._on_event is None:
            self._early.append((timer_id, event))
            return
        try:
            self._on_event(timer_id, event)
        except Exception as error:
            self.failures += 1
            self.last_failure = error.code if isinstance(error, CRAError) else type(error).__name__
