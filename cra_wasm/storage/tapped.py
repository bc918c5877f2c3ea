"""A storage that tells what it stored, after it was stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..model.event import TraceEvent
from ..ports import StorageBackend


class TappedStorage:
    """`ports.StorageBackend`: another one, with listeners. All but `store_events` is the other one's own."""

    def __init__(self, inner: StorageBackend) -> None:
        self._inner = inner
        self._listeners: list[Callable[[Sequence[TraceEvent]], None]] = []

    def listen(self, listener: Callable[[Sequence[TraceEvent]], None]) -> None:
        """Have a function called with the events of each call, on the thread that stored them."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[Sequence[TraceEvent]], None]) -> None:
        """Forget a listener."""
        self._listeners.remove(listener)

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        """Store events, then tell of them; raises what the storage does."""
        self._inner.store_events(events)
        for listener in tuple(self._listeners):
            listener(events)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
