"""Ids as 128-bit integers and their UUID text (RFC 9562).

An id stays an integer on the hot path; text costs about ten times as much as the addition that makes the
next id, so it is made when an event is drained or a caller reads it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ..errors import InvalidInput

IDS_PER_BLOCK: Final = 1 << 16
"""How many consecutive ids one `IdSource.reserve` gives."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_VERSION_7: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62
_RANDOM_A: Final = 0xFFF << 64
_RANDOM_B: Final = ((1 << 62) - 1) ^ (IDS_PER_BLOCK - 1)
RANDOM_BITS: Final = _RANDOM_A | _RANDOM_B
"""Where a block's first id takes randomness: 12 + 46 bits; the low 16 count within the block."""


def uuid7(wall_ns: int, random_bits: int) -> int:
    """Return the UUIDv7 of a time and of the bits of `random_bits` under RANDOM_BITS."""
    milliseconds = (wall_ns // 1_000_000) & ((1 << 48) - 1)
    return (milliseconds << 80) | _VERSION_7 | _VARIANT | (random_bits & RANDOM_BITS)


def uuid_text(value: int) -> str:
    """Return the 36 characters of an id, lower-case."""
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@lru_cache(maxsize=128)
def block_stem(base_id: int) -> str:
    """Return the 32 characters that the ids of a block share; the last four count within it, in hex.

    Kept for the latest blocks: a drain and a resolution's JSON ask several times for the same one.
    """
    return uuid_text(base_id)[:-4]


def is_uuid_text(text: str) -> bool:
    """Whether `text` is a UUID of any version in the protocol's form: 36 characters, lower-case."""
    return _UUID.fullmatch(text) is not None


def parse_uuid(text: object, *, pointer: str) -> int:
    """Return the integer of a UUID's text.

    Raises:
        InvalidInput: `invalid_id` when it is no lower-case UUID text of 36 characters.
    """
    if not isinstance(text, str) or not is_uuid_text(text):
        raise InvalidInput(
            "invalid_id", "not a UUID: give 36 characters, lower-case hex and hyphens", pointer=pointer
        )
    return int(text.replace("-", ""), 16)
