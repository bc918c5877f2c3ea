"""The system's clocks and its randomness."""

from __future__ import annotations

import os
import time
from array import array
from typing import Final

from ..model.ids import RANDOM_BITS, uuid7

_POOL_IDS: Final = 8
"""Ids per os.urandom call. In WebAssembly 64 bytes take 3.7 us and 16 take 2.3, but 256 take 19 and 2,048
take 75: a larger pool costs more for each id, and all at once.
"""


_NS_PER_MS: Final = 1_000_000


class SystemClock:
    """`ports.Clock` on time.time_ns and time.monotonic_ns."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


class PooledIds:
    """`ports.IdSource` with 58 random bits per block, drawn from os.urandom in pools.

    The pool is an array, filled in one step; a list of ready-made ids cost the call that filled it 1 us for
    each. The `random` module is never used: its state would repeat in each boot of a memory snapshot.
    """

    def __init__(self) -> None:
        self._pool = array("Q")
        self._from_ns = self._until_ns = 0
        self._time_part = 0

    def reserve(self, wall_ns: int) -> int:
        """Return the first id of a fresh block."""
        if not self._from_ns <= wall_ns < self._until_ns:
            self._from_ns = wall_ns // _NS_PER_MS * _NS_PER_MS
            self._until_ns = self._from_ns + _NS_PER_MS
            self._time_part = uuid7(wall_ns, 0)
        try:
            random_bits = self._pool.pop()
        except IndexError:
            self._pool.frombytes(os.urandom(_POOL_IDS * self._pool.itemsize))
            random_bits = self._pool.pop()
        return self._time_part | (random_bits << 16 & RANDOM_BITS)
