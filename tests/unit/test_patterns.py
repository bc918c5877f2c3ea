"""Globs, held to a matcher that is slow and obviously right."""

from __future__ import annotations

import time
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cra_wasm.carp.patterns import compile_glob, compile_globs, select_matching

SMALL_TEXT = st.text(alphabet="ab.", max_size=12)
SMALL_PATTERN = st.text(alphabet="ab.*", max_size=8)


def matches_slowly(pattern: str, text: str) -> bool:
    """Say what PROTOCOL 1.8 says: `*` is one or more characters, everything else is itself."""

    @cache
    def rest_matches(of_pattern: int, of_text: int) -> bool:
        if of_pattern == len(pattern):
            return of_text == len(text)
        if of_text == len(text):
            return False
        if pattern[of_pattern] == "*":
            return rest_matches(of_pattern + 1, of_text + 1) or rest_matches(of_pattern, of_text + 1)
        return pattern[of_pattern] == text[of_text] and rest_matches(of_pattern + 1, of_text + 1)

    return rest_matches(0, 0)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*", ""),
        ("ticket.*", "ticket."),
        ("ticket.*", "ticket"),
        ("ticket.*", "tickets.read"),
        ("ticket.*", "my.ticket.read"),
        ("*.delete", ".delete"),
        ("*.delete", "ticket.deleted"),
        ("db.*.drop", "db..drop"),
        ("db.*.drop", "db.drop"),
        ("a*a", "a"),
        ("a*a", "aa"),
        ("ab*b", "ab"),
        ("**", "x"),
        ("a**b", "axb"),
        ("*a*a*", "xaxx"),
        ("*ab*ab*", "xabxx"),
        ("ticket.read", "ticket.read\n"),
        ("ticket.read", "Ticket.read"),
        ("ticket?read", "ticket.read"),
        ("ticket.[r]ead", "ticket.read"),
        ("ticket.rea.", "ticket.read"),
        ("", "x"),
    ],
)
def test_a_glob_does_not_match_what_only_looks_alike(pattern: str, text: str) -> None:
    assert not matches_slowly(pattern, text)
    assert compile_glob(pattern)(text) is False


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("ticket.read", "ticket.read"),
        ("ticket.*", "ticket.read"),
        ("ticket.*", "ticket.comment.add"),
        ("*.delete", "ticket.comment.delete"),
        ("db.*.drop", "db.main.table.drop"),
        ("*", "x"),
        ("**", "xy"),
        ("a*a", "aba"),
        ("*a*a*", "xaaax"),
        ("a[b]", "a[b]"),
        ("*", "line\nbreak"),
    ],
)
def test_a_glob_matches_any_depth(pattern: str, text: str) -> None:
    assert matches_slowly(pattern, text)
    assert compile_glob(pattern)(text) is True


@given(SMALL_PATTERN, SMALL_TEXT)
def test_a_glob_agrees_with_the_slow_matcher(pattern: str, text: str) -> None:
    assert compile_glob(pattern)(text) is matches_slowly(pattern, text)


@given(st.lists(SMALL_PATTERN, max_size=4), st.frozensets(SMALL_TEXT.filter(bool), max_size=8))
@example(["ab*ba"], frozenset({"aba", "abba", "abxba"}))
@example(["a*", "*b", "a"], frozenset({"a", "b", "ab"}))
def test_what_patterns_select_is_what_they_match(patterns: list[str], texts: frozenset[str]) -> None:
    expected = {text for text in texts if any(matches_slowly(pattern, text) for pattern in patterns)}
    assert select_matching(patterns, texts) == expected


@given(st.lists(st.text(alphabet="ab.", min_size=1, max_size=3), min_size=2, max_size=5), st.data())
def test_a_text_made_from_a_pattern_matches_it(pieces: list[str], data: st.DataObject) -> None:
    pattern, text = pieces[0], pieces[0]
    for piece in pieces[1:]:
        pattern += "*" + piece
        text += data.draw(st.text(min_size=1, max_size=4)) + piece
    assert compile_glob(pattern)(text) is True


def test_a_pattern_of_many_stars_takes_no_more_than_a_moment() -> None:
    hostile = compile_glob("*" + "a*" * 126 + "b")
    text = "a" * 255
    assert hostile(text) is False
    started = time.perf_counter()
    for _ in range(100):
        hostile(text)
    # A matcher that backtracks needs more steps than a 64-bit counter holds; this needs some 128 a call.
    assert time.perf_counter() - started < 2


def test_globs_that_are_absent_match_everything_and_no_globs_match_nothing() -> None:
    assert compile_globs(None)("anything") is True
    assert compile_globs(())("anything") is False
    texts = frozenset({"a.b", "a.c"})
    assert select_matching(None, texts) is texts
    assert select_matching(["a.b", "*"], texts) is texts
    assert select_matching((), texts) == frozenset()
    either = compile_globs(("a.*", "b.c"))
    assert [either(text) for text in ("a.x", "b.c", "b.d")] == [True, True, False]
