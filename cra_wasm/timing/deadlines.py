"""Deadlines of many things, kept small: a heap of (deadline, key) in which what is over stays until it shows.

100,000 tracked sessions are the case that this is made for: an entry is one pair, which shares its integer
and its key with the session; there is no second table of what is in the heap.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

_DEAD_BEFORE_REBUILD: Final = 64


class Deadlines:
    """A heap whose entries the owner may declare dead. `len` counts the live ones."""

    __slots__ = ("_dead", "_heap", "_is_live")

    def __init__(self, is_live: Callable[[int, str], bool]) -> None:
        self._heap: list[tuple[int, str]] = []
        self._dead = 0
        self._is_live = is_live

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def push(self, deadline_ns: int, key: str) -> None:
        """Add an entry."""
        heappush(self._heap, (deadline_ns, key))

    def bury_one(self) -> None:
        """Note that an entry has died; when most have, the heap is rebuilt without them."""
        self._dead += 1
        if self._dead * 2 > len(self._heap) + _DEAD_BEFORE_REBUILD or self._dead == len(self._heap):
            self._heap = [entry for entry in self._heap if self._is_live(*entry)]
            self._dead = 0
            heapify(self._heap)

    def next(self) -> tuple[int, str] | None:
        """Return the earliest live entry, which stays; None when there is none."""
        heap = self._heap
        while heap and not self._is_live(*heap[0]):
            heappop(heap)
            self._dead = max(0, self._dead - 1)
        return heap[0] if heap else None

    def pop(self) -> tuple[int, str]:
        """Remove and return the entry that `next` gave."""
        return heappop(self._heap)

    def clear(self) -> None:
        """Remove all."""
        self._heap.clear()
        self._dead = 0
