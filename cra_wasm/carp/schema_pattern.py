"""`pattern` that cannot hang: an upper bound of the backtracking is computed before a pattern is taken.

Two rules refuse a pattern as `unsafe_pattern`.

1. By its shape (PROTOCOL 2): an unbounded quantifier inside another, `(a+)+`, or right after another, `a*a*`,
   even where the characters differ; and a quantifier over a group that can match nothing.
2. By its price: the steps that a backtracking engine may take on a subject of 1,024 characters, start
   positions included, are over MAX_STEPS. This finds `(a|aa)+$`, `(a|a)*$`, `(.*a){20}`, `(a?b?){30}`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import pairwise
from typing import Final

from .schema_pattern_parse import PatternRefused, parse
from .schema_pattern_price import price
from .schema_pattern_tree import Choice, Part, Repeat, Sequence, effort, shortest_match, write

MAX_SUBJECT_CHARS: Final = 1_024
"""Longest text that a pattern is tried on; a longer one is a finding of its own."""

MAX_STEPS: Final = 16_000_000
"""Most steps of one search: a quadratic pattern passes (< 50 ms on CPython), a cubic one does not."""

STEPS_PER_UNIT: Final = 256
"""So many steps of `re` cost at most about as much as applying one subschema in Python: a step takes 3 ns."""

MAX_EFFORT: Final = 200_000
"""Most that the patterns of one atlas may take to be priced and compiled, in units of `effort`: 2 s or so."""

_LENGTHS: Final = (16, 64, 256, MAX_SUBJECT_CHARS)


class GuardedPattern:
    """A pattern that was found safe. It finds its text anywhere in the subject, as JSON Schema wants it."""

    __slots__ = ("_search", "_units", "text")

    def __init__(self, text: str, search: re.Pattern[str], units: tuple[int, ...]) -> None:
        self.text = text
        self._search = search.search
        self._units = units

    def units(self, length: int) -> int:
        """Return what a search in `length` characters costs at most, in units of one subschema."""
        return self._units[bisect_left(_LENGTHS, length)]

    def found_in(self, subject: str) -> bool:
        """Tell whether the pattern is found. The caller has checked MAX_SUBJECT_CHARS."""
        return self._search(subject) is not None


class PatternBook:
    """The patterns of one atlas: each is compiled once, and all of them together take a bounded time."""

    def __init__(self) -> None:
        self._known: dict[str, GuardedPattern | PatternRefused] = {}
        self._left = MAX_EFFORT

    def find(self, text: str) -> GuardedPattern | PatternRefused:
        """Return `text` compiled, or why it was refused; `limits` when those before it took too much."""
        known = self._known.get(text)
        if known is None:
            try:
                known = self._compile(text)
            except PatternRefused as refused:
                known = refused
            self._known[text] = known
        return known

    def _compile(self, text: str) -> GuardedPattern:
        if self._left >= 0:
            part = parse(text)
            self._left -= effort(part)
        if self._left < 0:
            raise PatternRefused("limits", "all patterns of the atlas together take too long to be compiled")
        return _guard(text, part)


def compile_pattern(text: str) -> GuardedPattern:
    """Return `text` compiled.

    Raises:
        PatternRefused: `unsupported_pattern` or `unsafe_pattern`.
    """
    return _guard(text, parse(text))


def _guard(text: str, part: Part) -> GuardedPattern:
    _refuse_shape(part)
    steps = [price(part, length) for length in _LENGTHS]
    if steps[-1] > MAX_STEPS:
        raise PatternRefused(
            "unsafe_pattern",
            f"`{text[:60]}` may backtrack for too long: anchor it, let branches begin differently",
        )
    units = tuple(1 + count // STEPS_PER_UNIT for count in steps)
    return GuardedPattern(text, re.compile(write(part), re.ASCII), units)


def _refuse_shape(part: Part) -> None:
    match part:
        case Sequence():
            for item in part.items:
                _refuse_shape(item)
            for before, after in pairwise(part.items):
                if _unbounded_at(before, -1) and _unbounded_at(after, 0):
                    raise PatternRefused("unsafe_pattern", "an unbounded quantifier follows another at once")
        case Choice():
            for branch in part.branches:
                _refuse_shape(branch)
        case Repeat():
            _refuse_shape(part.body)
            _refuse_repeat(part)


def _refuse_repeat(part: Repeat) -> None:
    if part.high is None and _holds_unbounded(part.body):
        raise PatternRefused("unsafe_pattern", "an unbounded quantifier stands inside another")
    if part.high is None or part.high > 1:
        if shortest_match(part.body) == 0:
            raise PatternRefused("unsafe_pattern", "a group that can match nothing is repeated")
        if _unbounded_at(part.body, -1) and _unbounded_at(part.body, 0):
            raise PatternRefused("unsafe_pattern", "an unbounded quantifier follows itself at once")


def _unbounded_at(part: Part, edge: int) -> bool:
    """Tell whether an unbounded repetition stands at the start (edge 0) or the end (edge -1) of `part`."""
    match part:
        case Sequence():
            return bool(part.items) and _unbounded_at(part.items[edge], edge)
        case Choice():
            return any(_unbounded_at(branch, edge) for branch in part.branches)
        case Repeat():
            return part.high is None or _unbounded_at(part.body, edge)
        case _:
            return False


def _holds_unbounded(part: Part) -> bool:
    match part:
        case Sequence():
            return any(map(_holds_unbounded, part.items))
        case Choice():
            return any(map(_holds_unbounded, part.branches))
        case Repeat():
            return part.high is None or _holds_unbounded(part.body)
        case _:
            return False
