"""Waiting on the event loop: asyncio's, which in Pyodide is JavaScript's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from ..errors import Json


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
