"""The system's clocks and its randomness."""

from __future__ import annotations

import os
import time
from typing import Final

from ..model.ids import uuid7_rest, uuid7_time

_POOL_IDS: Final = 64
"""Ids per os.urandom call, which costs 2.3 us in WebAssembly. Few: some call pays for making them all."""

_BYTES_PER_ID: Final = 10


class SystemClock:
    """`ports.Clock` on time.time_ns and time.monotonic_ns."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


class PooledIds:
    """`ports.IdSource` with 58 random bits per block, drawn from os.urandom in pools.

    The `random` module is never used: its state would repeat in each boot of a memory snapshot.
    """

    def __init__(self) -> None:
        self._pool: list[int] = []
        self._milliseconds = -1
        self._time_part = 0

    def reserve(self, wall_ns: int) -> int:
        """Return the first id of a fresh block."""
        milliseconds = wall_ns // 1_000_000
        if milliseconds != self._milliseconds:
            self._milliseconds = milliseconds
            self._time_part = uuid7_time(milliseconds)
        if not self._pool:
            self._fill_pool()
        return self._time_part | self._pool.pop()

    def _fill_pool(self) -> None:
        block = os.urandom(_POOL_IDS * _BYTES_PER_ID)
        self._pool = [
            uuid7_rest(int.from_bytes(block[start : start + _BYTES_PER_ID], "little"))
            for start in range(0, len(block), _BYTES_PER_ID)
        ]
