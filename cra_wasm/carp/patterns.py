"""Globs over ids: `*` stands for one or more characters, dots included; nothing else is special."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

Matcher: TypeAlias = Callable[[str], bool]


def compile_glob(pattern: str) -> Matcher:
    """Return a function that tells whether a whole text matches (PROTOCOL 1.8).

    The pieces between stars are found left to right, each once, so the time is linear in the text for a
    given pattern; there is no backtracking to exploit.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern.__eq__
    *middle, last = rest

    def matches(text: str) -> bool:
        if not text.startswith(first):
            return False
        position = len(first)
        for piece in middle:
            found = text.find(piece, position + 1)
            if found < 0:
                return False
            position = found + len(piece)
        return len(text) - len(last) > position and text.endswith(last)

    return matches


def compile_globs(patterns: Iterable[str] | None) -> Matcher:
    """Return a function that tells whether any pattern matches; None matches everything."""
    if patterns is None:
        return lambda _text: True
    matchers = tuple(compile_glob(pattern) for pattern in patterns)
    return lambda text: any(matches(text) for matches in matchers)
