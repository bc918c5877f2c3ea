"""Waiting on the event loop: asyncio's, which in Pyodide is JavaScript's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from ..errors import Json

_Told = TypeVar("_Told")


class TimeIsUp(Exception):
    """The time given was over. Not a TimeoutError: the awaited work may raise that for its own reasons."""


async def with_timeout(awaitable: Awaitable[Json], timeout_seconds: float) -> Json:
    """Wait for a result, at most so long; then cancel it and raise TimeIsUp."""
    scope = asyncio.timeout(timeout_seconds)
    try:
        async with scope:
            return await awaitable
    except TimeoutError:
        if scope.expired():
            raise TimeIsUp from None
        raise


async def first_told(begin: Callable[[Callable[[_Told], None]], None], timeout_seconds: float) -> _Told:
    """Wait until somebody, on any thread, calls what `begin` was given, and return what was told first.

    Raises:
        TimeIsUp: nobody did within the time.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[_Told] = loop.create_future()

    def settle(value: _Told) -> None:
        if not told.done():
            told.set_result(value)

    def tell(value: _Told) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(settle, value)

    begin(tell)
    result: _Told = await with_timeout(told, timeout_seconds)
    return result


def new_future() -> asyncio.Future[None]:
    """Return something of the running loop to wait for."""
    return asyncio.get_running_loop().create_future()
