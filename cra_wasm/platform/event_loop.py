"""Waiting on the event loop: asyncio's, which in Pyodide is JavaScript's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from ..errors import Json


async def with_timeout(awaitable: Awaitable[Json], timeout_seconds: float) -> Json:
    """Wait for a result, at most so long; then cancel it and raise TimeoutError."""
    return await asyncio.wait_for(_as_coroutine(awaitable), timeout_seconds)


async def _as_coroutine(awaitable: Awaitable[Json]) -> Json:
    return await awaitable
