"""A bounded stream from any thread into an async iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

from ..errors import InvalidState

_Item = TypeVar("_Item")


class Stream(Generic[_Item]):
    """What is put in comes out of `async for`, in order. It belongs to the loop that it was made in.

    Args:
        limit: how many items may wait. Once one more came, the iterator gives what waited, then raises.
        on_close: called once, when nobody reads any more.
    """

    def __init__(self, limit: int, on_close: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._on_close = on_close
        self._items: deque[_Item] = deque()
        self._missed = 0
        self._ended = False
        self._closed = False
        self._ready = asyncio.Event()

    def put(self, items: Iterable[_Item]) -> None:
        """Add items. Safe from any thread; never waits."""
        for item in items:
            if self._missed or len(self._items) >= self._limit:
                self._missed += 1
            else:
                self._items.append(item)
        self._wake()

    def end(self) -> None:
        """Let the iterator stop behind what was put in. Safe from any thread."""
        self._ended = True
        self._wake()

    def close(self) -> None:
        """Stop now: for a reader that has had enough. Again: nothing."""
        if not self._closed:
            self._closed = True
            self._items.clear()
            self._on_close()
            self._ready.set()

    def __aiter__(self) -> Stream[_Item]:
        return self

    async def __anext__(self) -> _Item:
        """Return the next item.

        Raises:
            InvalidState: `events_missed` with the number in `details.missed`: the reader was too slow.
        """
        while True:
            if self._items:
                return self._items.popleft()
            if self._closed:
                raise StopAsyncIteration
            if self._missed:
                missed = self._missed
                self.close()
                raise InvalidState(
                    "events_missed",
                    f"{missed} events came while {self._limit} waited: read them from the storage",
                    missed=missed,
                )
            if self._ended:
                self.close()
                raise StopAsyncIteration
            self._ready.clear()
            if not (self._items or self._missed or self._ended):
                await self._ready.wait()

    async def aclose(self) -> None:
        """As `close`, for `contextlib.aclosing`."""
        self.close()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # a loop that was closed has no reader
            self._loop.call_soon_threadsafe(self._ready.set)
