"""Back-pressure for asyncio: calls that find no room wait in a row, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Final, TypeVar

from ..errors import BufferFull
from .detect import IN_PYODIDE

_Result = TypeVar("_Result")

_SLICE_NS: Final = 2_000_000
"""Who calls in a loop without ever waiting gives way to the others after this long."""


class Turnstile:
    """Makes calls that may raise BufferFull, and makes them again once there may be room.

    Whoever comes while others wait goes to the end of the row, so nobody starves. The call itself is made
    in one piece: a task that is cancelled while it waits has done nothing, one that got through has done all.

    Args:
        patience_seconds: how long a call waits for room before its BufferFull is raised.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._row: deque[asyncio.Event] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gave_way_ns = monotonic_ns()

    @property
    def waiting(self) -> int:
        """How many calls wait for room."""
        return len(self._row)

    async def run(self, call: Callable[[], _Result]) -> _Result:
        """Make a call as soon as there is room, and return or raise what it does.

        Raises:
            BufferFull: the call's own, when the buffer can never hold it or had no room for too long.
        """
        self._loop = asyncio.get_running_loop()
        await self._give_way()
        if not self._row:
            try:
                return call()
            except BufferFull as full:
                _raise_if_hopeless(full)
        return await self._wait_in_row(call, self._loop.time() + self._patience_seconds)

    def open(self) -> None:
        """Let the first of the row try again. Safe from any thread."""
        if self._loop is not None and not self._loop.is_closed() and self._row:
            self._loop.call_soon_threadsafe(self._wake_first)

    async def _wait_in_row(self, call: Callable[[], _Result], until: float) -> _Result:
        turn = asyncio.Event()
        self._row.append(turn)
        refusal: BufferFull | None = None
        try:
            while True:
                if self._row[0] is turn:
                    turn.clear()
                    try:
                        return call()
                    except BufferFull as full:
                        _raise_if_hopeless(full)
                        refusal = full
                try:
                    async with asyncio.timeout_at(until):
                        await turn.wait()
                except TimeoutError:
                    if refusal is not None:
                        raise refusal from None
                    return call()  # it never came to be the first: its own last chance
        finally:
            was_first = self._row[0] is turn
            self._row.remove(turn)
            if was_first:
                self._wake_first()

    async def _give_way(self) -> None:
        if monotonic_ns() - self._gave_way_ns > _SLICE_NS:
            await asyncio.sleep(0)
            self._gave_way_ns = monotonic_ns()

    def _wake_first(self) -> None:
        if self._row:
            self._row[0].set()


def _raise_if_hopeless(full: BufferFull) -> None:
    """Raise it again when even an empty buffer could not hold the call."""
    if full.details.get("needed_weight", 0) > full.details.get("capacity", 0):
        raise full


async def run_blocking(work: Callable[[], _Result]) -> _Result:
    """Do work that blocks beside the loop: on a thread, or in Pyodide, which has none, here.

    A caller that is cancelled leaves the work to its end.
    """
    if IN_PYODIDE:
        return work()
    return await asyncio.to_thread(work)
