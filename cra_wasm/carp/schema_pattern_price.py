"""An upper bound of what a backtracking engine does with a pattern.

The bound never underestimates: each part has `steps` of its own and a number of `ways` by which it hands on
to what follows. A choice has one way when no character can begin two branches, a repetition when none can
both begin its body and follow it; otherwise the ways are added, and over a sequence they multiply. So
`(foo|bar)+` is cheap, and `(foo|fox)+` counts as exponential although it is harmless: write `(fo(o|x))+`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from .schema_pattern_tree import (
    MAX_CODE_POINT,
    Assertion,
    Chars,
    Choice,
    Part,
    Ranges,
    Repeat,
    Sequence,
    shortest_match,
    union,
)

_END: Final[Ranges] = ((MAX_CODE_POINT + 1, MAX_CODE_POINT + 1),)
"""Stands for the end of the subject among first characters."""

_CEILING: Final = 10**30
"""Numbers are cut here, far above any limit, so that they stay small."""

_MANY: Final = 64
"""Two ways to this power are more than any limit allows; and as many ranges are kept apart."""


class _Ahead(NamedTuple):
    """What may come next: its first characters, whether it cannot fail, and the steps of failing at once."""

    first: Ranges
    accepts: bool
    fail: int


class _Cost(NamedTuple):
    """`steps` of a part itself, `ways` on to what follows, and steps taken once in the whole search."""

    steps: int
    ways: int
    once: int


def price(part: Part, length: int) -> int:
    """Return an upper bound of the steps of one search for `part` in `length` characters."""
    cost = _explore(part, _Ahead((), True, 0), length)
    starts = 1 if _anchored(part) else length + 1
    return min(starts * cost.steps + cost.once, _CEILING)


def _anchored(part: Part) -> bool:
    match part:
        case Assertion():
            return part.kind == "^"
        case Sequence():
            return bool(part.items) and _anchored(part.items[0])
        case Choice():
            return all(map(_anchored, part.branches))
        case _:
            return False


def _entry(part: Part, ahead: _Ahead) -> _Ahead:
    """Return what an engine meets that stands before `part`, with `ahead` after it."""
    match part:
        case Chars():
            return _Ahead(part.ranges, False, 1)
        case Assertion():
            return _Ahead(_END if part.kind == "$" else ahead.first, False, 1 + ahead.fail)
        case Sequence():
            for item in reversed(part.items):
                ahead = _entry(item, ahead)
            return ahead
        case Choice():
            entries = [_entry(branch, ahead) for branch in part.branches]
            first = _first(*(entry.first for entry in entries))
            return _Ahead(
                first, any(entry.accepts for entry in entries), sum(entry.fail + 1 for entry in entries)
            )
        case Repeat():
            if part.high == 0:
                return ahead
            begin = _entry(part.body, ahead)
            if part.low > 0:
                return begin
            return _Ahead(_first(begin.first, ahead.first), ahead.accepts, begin.fail + ahead.fail + 1)


def _explore(part: Part, ahead: _Ahead, length: int) -> _Cost:
    """Return the cost of passing `part` towards `ahead` in a subject of `length` characters."""
    match part:
        case Sequence():
            total = _Cost(0, 1, 0)
            for item in reversed(part.items):
                cost = _explore(item, ahead, length)
                ahead = _entry(item, ahead)
                steps = min(cost.steps + cost.ways * total.steps, _CEILING)
                total = _Cost(steps, min(cost.ways * total.ways, _CEILING), cost.once + total.once)
            return total
        case Choice():
            return _explore_choice(part, ahead, length)
        case Repeat():
            return _explore_repeat(part, ahead, length)
        case _:
            return _Cost(1, 1, 0)


def _explore_choice(part: Choice, ahead: _Ahead, length: int) -> _Cost:
    costs = [_explore(branch, ahead, length) for branch in part.branches]
    weigh = max if _apart(*(_entry(branch, ahead).first for branch in part.branches)) else sum
    steps = weigh(cost.steps for cost in costs) + _entry(part, ahead).fail
    return _Cost(steps, weigh(cost.ways for cost in costs), sum(cost.once for cost in costs))


def _explore_repeat(part: Repeat, ahead: _Ahead, length: int) -> _Cost:
    if part.high == 0:
        return _Cost(0, 1, 0)
    shortest = shortest_match(part.body)
    # Nothing longer than the subject can match, so no more rounds than that are tried.
    rounds = length // shortest + 1 if shortest else 1
    rounds = rounds if part.high is None else min(part.high, rounds)
    begin, inner = _entry(part.body, ahead), ahead
    if part.high != 1:
        # INVARIANT: by rule 1 the body takes a character here, so `begin` does not depend on what follows.
        inner = _Ahead(
            _first(begin.first, ahead.first), ahead.accepts and part.low <= 1, begin.fail + ahead.fail
        )
    body = _explore(part.body, inner, length)
    each = body.steps + ahead.fail + 1
    total, once = _rounds(each, body.ways, rounds), body.once * rounds
    if ahead.accepts:
        # The way out cannot fail: what goes beyond the required rounds is tried once, then the search ends.
        required = _rounds(each, body.ways, min(part.low, rounds))
        return _Cost(required.steps + 1, required.ways, once + total.steps)
    if shortest > 0 and _apart(begin.first, ahead.first):
        return _Cost(total.steps, total.ways, once)
    ways = max(1, rounds - part.low + 1) if body.ways == 1 else 2 * total.ways
    return _Cost(total.steps, ways, once)


def _rounds(each: int, ways: int, rounds: int) -> _Cost:
    """Return the cost of `rounds` rounds in a row, and the ways to pass all of them."""
    if ways == 1:
        return _Cost(each * rounds, 1, 0)
    all_ways = ways ** min(rounds, _MANY) if ways < _CEILING else _CEILING
    return _Cost(min(each * all_ways, _CEILING), min(all_ways, _CEILING), 0)


def _first(*sets: Ranges) -> Ranges:
    """Return the union of `sets`, or a little more where it would have many pieces."""
    merged = union(*sets)
    return merged if len(merged) <= _MANY else ((merged[0][0], merged[-1][1]),)


def _apart(*sets: Ranges) -> bool:
    """Tell whether no character is in two of `sets`."""
    pairs = sorted(pair for ranges in sets for pair in ranges)
    return all(before[1] < after[0] for before, after in pairwise(pairs))
