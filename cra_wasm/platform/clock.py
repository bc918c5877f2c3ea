"""The system's clocks and its randomness."""

from __future__ import annotations

import os
import time
from typing import Final

from ..model.ids import uuid7

_POOL_IDS: Final = 512
"""Ids per os.urandom call: one call costs 2.3 us in WebAssembly, a slice of its result 0.1 us."""

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

    def reserve(self, wall_ns: int) -> int:
        """Return the first id of a fresh block."""
        while True:
            try:
                return uuid7(wall_ns, self._pool.pop())
            except IndexError:
                block = os.urandom(_POOL_IDS * _BYTES_PER_ID)
                self._pool = [
                    int.from_bytes(block[start : start + _BYTES_PER_ID], "little")
                    for start in range(0, len(block), _BYTES_PER_ID)
                ]
