"""The tree of a regular expression, and its writing for `re`; see `schema_pattern_parse` for the language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

MAX_CODE_POINT: Final = 0x10FFFF

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Code points as sorted, disjoint, inclusive ranges."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of `ranges`; `source` says the same to `re`, naming `width` characters."""

    ranges: Ranges
    source: str
    width: int


@dataclass(frozen=True, slots=True)
class Assertion:
    """A place, not a text: `^`, `$` or `b`."""

    kind: str


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    branches: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`body` from `low` to `high` times; `high` None is unbounded."""

    body: Part
    low: int
    high: int | None
    lazy: bool


Part: TypeAlias = Chars | Assertion | Sequence | Choice | Repeat

DIGITS: Final[Ranges] = ((48, 57),)
WORD: Final[Ranges] = ((48, 57), (65, 90), (95, 95), (97, 122))
LINE_ENDS: Final[Ranges] = ((10, 10), (13, 13), (0x2028, 0x2029))
SPACE: Final[Ranges] = (
    (9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip


def union(*sets: Ranges) -> Ranges:
    """Return the code points of all `sets`."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pair for ranges in sets for pair in ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    gaps, start = [], 0
    for first, last in ranges:
        if start < first:
            gaps.append((start, first - 1))
        start = last + 1
    if start <= MAX_CODE_POINT:
        gaps.append((start, MAX_CODE_POINT))
    return tuple(gaps)


def chars(ranges: Ranges, *, negated: bool = False) -> Chars:
    """Return one character that is in `ranges`, or is not."""
    covered = complement(ranges) if negated else ranges
    # `re` takes 3 ms to compile a class that lists most characters, so such a one names those it leaves out.
    inverted = bool(covered) and covered[-1][1] == MAX_CODE_POINT
    listed = complement(covered) if inverted else covered
    width = sum(min(last, 0xFFFF) - first + 1 for first, last in listed if first <= 0xFFFF)
    if not listed:
        return Chars(covered, r"[\s\S]" if inverted else r"[^\s\S]", 0)
    source = "".join(
        f"\\U{first:08x}" if first == last else f"\\U{first:08x}-\\U{last:08x}" for first, last in listed
    )
    return Chars(covered, f"[^{source}]" if inverted else f"[{source}]", width)


def write(part: Part) -> str:
    """Return the source of `part` for `re`, to be compiled with re.ASCII."""
    match part:
        case Chars():
            return part.source
        case Assertion():
            return {"^": r"\A", "$": r"\Z", "b": r"\b"}[part.kind]
        case Sequence():
            return "".join(map(write, part.items))
        case Choice():
            return "(?:" + "|".join(map(write, part.branches)) + ")"
        case Repeat():
            high = "" if part.high is None else part.high
            return f"(?:{write(part.body)}){{{part.low},{high}}}" + "?" * part.lazy


def effort(part: Part, depth: int = 1) -> int:
    """Return about how long it takes to price and compile `part`, in units of some 10 us."""
    match part:
        case Chars():
            return depth + part.width // 128
        case Sequence():
            return depth + sum(effort(item, depth + 1) for item in part.items)
        case Choice():
            return depth + sum(effort(branch, depth + 1) for branch in part.branches)
        case Repeat():
            return depth + effort(part.body, depth + 1)
        case _:
            return depth


def shortest_match(part: Part) -> int:
    """Return the length of the shortest text that `part` matches."""
    match part:
        case Chars():
            return 1
        case Sequence():
            return sum(map(shortest_match, part.items))
        case Choice():
            return min(map(shortest_match, part.branches))
        case Repeat():
            return part.low * shortest_match(part.body)
        case _:
            return 0
