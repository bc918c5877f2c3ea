"""SemVer 2.0.0 versions and npm-like ranges over them (PROTOCOL 1.12).

Own code, because the Python packages do not serve: `semver` has no such ranges, and `semantic-version` gets
prereleases below an upper bound wrong (its issue 100, open since 2020). Held to npm's own package by a test.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Final, TypeAlias

Version: TypeAlias = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]
"""Compares as SemVer says: numbers, then "is no prerelease", then the prerelease's parts."""

Comparator: TypeAlias = tuple[Callable[[Version, Version], bool], Version]
ComparatorSet: TypeAlias = tuple[Comparator, ...]

_NUMBER: Final = "(?:0|[1-9][0-9]*)"
_PART: Final = f"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_PRERELEASE: Final = rf"(?:-({_PART}(?:\.{_PART})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
_FULL: Final = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER}){_PRERELEASE}")
_PARTIAL: Final = re.compile(rf"(?:[xX*]|({_NUMBER})(?:\.(?:[xX*]|({_NUMBER})))?)(?:\.[xX*])*")
_COMPARATOR: Final = re.compile(r"(\^|~|>=|<=|>|<|=|)\s*([0-9xX*][^\s<>=^~|]*)\s*")
_LOWEST: Final = ((False, 0, ""),)
"""The prerelease `0`, below all others: `<2.0.0-0` keeps out the prereleases of 2.0.0 as well."""

_ANY: Final[ComparatorSet] = ()
_NOTHING: Final[ComparatorSet] = ((operator.lt, (0, 0, 0, False, _LOWEST)),)


def parse_version(text: str) -> Version:
    """Read a full version; what stands behind `+` has no meaning for the order.

    Raises:
        ValueError: it is none.
    """
    found = _FULL.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is no full version")
    major, minor, patch, prerelease = found.groups()
    return int(major), int(minor), int(patch), prerelease is None, _parts(prerelease or "")


def parse_range(text: str) -> tuple[ComparatorSet, ...]:
    """Read a range: sets of comparators, of which one must hold whole.

    Raises:
        ValueError: it is no range; the message names the part.
    """
    return tuple(_comparator_set(part.strip()) for part in text.split("||"))


def satisfies(version: str, range_text: str) -> bool:
    """Whether a version lies in a range.

    A prerelease does so only where a comparator of its set names a prerelease of the same three numbers: who
    asks for `^1.0.0` has not asked for 2.0.0-alpha, nor for 1.1.0-alpha.
    """
    asked = parse_version(version)
    return any(_holds(comparators, asked) for comparators in parse_range(range_text))


def _holds(comparators: ComparatorSet, asked: Version) -> bool:
    if not all(compare(asked, bound) for compare, bound in comparators):
        return False
    return asked[3] or any(not bound[3] and bound[:3] == asked[:3] for _, bound in comparators)


def _parts(prerelease: str) -> tuple[tuple[bool, int, str], ...]:
    """Return what compares as the parts of a prerelease: numbers by value and below words."""
    return tuple(
        (False, int(part), "") if part.isdigit() else (True, 0, part)
        for part in (prerelease.split(".") if prerelease else ())
    )


def _comparator_set(text: str) -> ComparatorSet:
    if not text:
        raise ValueError("a part of the range is empty: write `*` for any version")
    ends = re.split(r"\s+-\s+", text)
    if len(ends) == 2:
        return (*_compare(">=", ends[0]), *_compare("<=", ends[1]))
    found: list[Comparator] = []
    place = 0
    while place < len(text):
        match = _COMPARATOR.match(text, place)
        if match is None:
            raise ValueError(f"`{text[place:]}` is no part of a version range")
        found.extend(_compare(match[1], match[2]))
        place = match.end()
    return tuple(found)


def _compare(sign: str, text: str) -> ComparatorSet:
    """Return what one comparator means; text is a full version, or one that leaves numbers open."""
    if _FULL.fullmatch(text):
        return _compare_full(sign, parse_version(text))
    partial = _PARTIAL.fullmatch(text)
    if partial is None or text.count(".") > 2:
        raise ValueError(f"`{text}` is no version, nor one like `1.x` or `1.2.x`")
    if partial[1] is None:
        return _NOTHING if sign in ("<", ">") else _ANY
    major, minor = int(partial[1]), None if partial[2] is None else int(partial[2])
    return _compare_partial(sign, major, minor)


def _compare_full(sign: str, version: Version) -> ComparatorSet:
    if sign == "~":
        return ((operator.ge, version), _below(version[0], version[1] + 1, 0))
    if sign == "^":
        return ((operator.ge, version), _below_next(version[0], version[1], version[2]))
    return ((_PLAIN[sign], version),)


def _compare_partial(sign: str, major: int, minor: int | None) -> ComparatorSet:
    first = _release(major, minor or 0, 0)
    next_numbers = (major + 1, 0, 0) if minor is None else (major, minor + 1, 0)
    if sign == "<":
        return (_below(*first[:3]),)
    if sign == "<=":
        return (_below(*next_numbers),)
    if sign == ">":
        return ((operator.ge, _release(*next_numbers)),)
    if sign == ">=":
        return ((operator.ge, first),)
    if sign == "^":
        return ((operator.ge, first), _below_next(major, minor, None))
    return ((operator.ge, first), _below(*next_numbers))


def _below_next(major: int, minor: int | None, patch: int | None) -> Comparator:
    """Return the bound of `^`: nothing changes up to the first number that is not 0, or the last told."""
    if major or minor is None:
        return _below(major + 1, 0, 0)
    if minor or patch is None:
        return _below(0, minor + 1, 0)
    return _below(0, 0, patch + 1)


def _release(major: int, minor: int, patch: int) -> Version:
    return major, minor, patch, True, ()


def _below(major: int, minor: int, patch: int) -> Comparator:
    return operator.lt, (major, minor, patch, False, _LOWEST)


_PLAIN: Final[dict[str, Callable[[Version, Version], bool]]] = {
    "": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
