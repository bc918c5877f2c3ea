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


def select_matching(patterns: Iterable[str] | None, texts: frozenset[str]) -> frozenset[str]:
    """Return those of `texts` that any pattern matches; None and `*` match everything: then `texts` itself.

    For many texts at once: a pattern without a star is a look-up, one with stars a pass over the texts.
    """
    distinct = ("*",) if patterns is None else tuple(dict.fromkeys(patterns))
    if "*" in distinct:
        return texts
    exact: set[str] = set()
    found: set[str] = set()
    for pattern in distinct:
        first, star, last = pattern.partition("*")
        if not star:
            exact.add(pattern)
        elif "*" in last:
            found.update(filter(compile_glob(pattern), texts))
        else:  # `order.*` and `*.delete`, nearly all there are: no call per text
            shorter = len(first) + len(last)
            found.update(
                [
                    text
                    for text in texts
                    if text.startswith(first) and text.endswith(last) and len(text) > shorter
                ]
            )
    if exact:
        found.update(exact.intersection(texts))
    return frozenset(found)
