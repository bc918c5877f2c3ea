"""Aligns two sequences: which places of one belong to which of the other, in bounded time.

Myers' greedy algorithm finds the fewest insertions and removals, in time that grows with their square. So it
runs in stages: one that would need more than EDITS_PER_STAGE of them keeps the furthest that it came to and
begins anew from there. Two sequences that differ by less are aligned exactly; others in time linear in their
length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

EDITS_PER_STAGE: Final = 64


def align(one: Sequence[int], other: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of places that hold the same number, both rising."""
    pairs: list[tuple[int, int]] = []
    place, other_place = 0, 0
    while place < len(one) and other_place < len(other):
        if one[place] == other[other_place]:
            pairs.append((place, other_place))
            place, other_place = place + 1, other_place + 1
            continue
        matched, place_after, other_after = _stage(one, place, other, other_place)
        pairs += matched
        place, other_place = place_after, other_after
    return pairs


def _stage(
    one: Sequence[int], start: int, other: Sequence[int], other_start: int
) -> tuple[list[tuple[int, int]], int, int]:
    """Return the pairs of one stage, and where it ended in both."""
    length, other_length = len(one) - start, len(other) - other_start
    furthest = {1: 0}
    """By diagonal (x - y), the largest x that was reached."""
    before: list[dict[int, int]] = []
    for edits in range(EDITS_PER_STAGE + 1):
        before.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            x = _step(furthest, diagonal, edits)
            y = x - diagonal
            while x < length and y < other_length and one[start + x] == other[other_start + y]:
                x, y = x + 1, y + 1
            furthest[diagonal] = x
            if x >= length and y >= other_length:
                pairs = _back(before, x, y)
                return [(start + a, other_start + b) for a, b in pairs], len(one), len(other)
    x, y = max(
        (
            (x, x - diagonal)
            for diagonal, x in furthest.items()
            if x <= length and x - diagonal <= other_length
        ),
        key=sum,
    )
    # Diagonals of the other parity are as they were one edit before.
    edits_used = EDITS_PER_STAGE if (x - y - EDITS_PER_STAGE) % 2 == 0 else EDITS_PER_STAGE - 1
    pairs = _back(before[: edits_used + 1], x, y)
    return [(start + a, other_start + b) for a, b in pairs], start + x, other_start + y


def _step(furthest: dict[int, int], diagonal: int, edits: int) -> int:
    """Return the x at which a diagonal is entered: from above (an insertion) or from the left (a removal)."""
    if diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1]):
        return furthest[diagonal + 1]
    return furthest[diagonal - 1] + 1


def _back(before: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    """Return the pairs on the way that led to (x, y), in rising order."""
    pairs = []
    for edits in range(len(before) - 1, 0, -1):
        entered_x = _step(before[edits], x - y, edits)
        entered_y = entered_x - (x - y)
        while x > entered_x and y > entered_y:
            x, y = x - 1, y - 1
            pairs.append((x, y))
        diagonal = x - y
        from_above = diagonal == -edits or (
            diagonal != edits and before[edits][diagonal - 1] < before[edits][diagonal + 1]
        )
        x, y = (x, y - 1) if from_above else (x - 1, y)
    while x > 0 and y > 0:
        x, y = x - 1, y - 1
        pairs.append((x, y))
    pairs.reverse()
    return pairs
