"""What patterns cost, in numbers: another price or effort takes or refuses other atlases."""

from __future__ import annotations

import pytest

from cra_wasm.carp.schema_pattern import (
    MAX_EFFORT,
    MAX_SUBJECT_CHARS,
    STEPS_PER_UNIT,
    GuardedPattern,
    PatternBook,
    compile_pattern,
)
from cra_wasm.carp.schema_pattern_parse import MAX_CLASS_WIDTH, PatternRefused, parse
from cra_wasm.carp.schema_pattern_price import price
from cra_wasm.carp.schema_pattern_tree import MAX_CODE_POINT, Chars, Ranges, chars, complement, effort, union

PRICES = [
    ("", 0, 0),
    ("a", 17, 1025),
    ("^a", 2, 2),
    ("^a|^b", 8, 8),
    ("^a|b", 119, 7175),
    ("(^a)b", 3, 3),
    ("a^", 34, 2050),
    (r"^\ba", 3, 3),
    ("a$", 34, 2050),
    ("a*$", 884, 3152900),
    ("^a*$", 53, 3077),
    ("^a*(b|$)", 108, 6156),
    ("^(a|$)b", 8, 8),
    ("^(|a)b", 7, 7),
    ("^(foo|bar)x", 9, 9),
    ("^(foo|fox)x", 13, 13),
    ("^(a|ab)(c|bcd)d", 24, 24),
    ("^(a|b|c)", 8, 8),
    ("^(a|b?c|d)x", 14, 14),
    ("^a{0}", 1, 1),
    ("^a{0}b", 2, 2),
    ("^a{2}", 10, 10),
    ("^a{2}b", 8, 8),
    ("^a{2,5}b", 17, 17),
    ("^a{2,5}a", 20, 20),
    ("^a?a", 6, 6),
    ("^a?b", 5, 5),
    ("^a{1,}b", 53, 3077),
    ("^a{3,}a", 67, 4099),
    ("^a{0,200}b", 53, 602),
    ("^(ab)*c", 38, 2054),
    ("^(a|b)*a", 138, 8202),
    ("^(a?b){3}c", 20, 20),
    ("^(ab|ac)?d", 23, 23),
    ("^(ab|ac){1,3}d", 89, 89),
    ("^(ab|ac){3}a", 97, 97),
    ("^(abc){2,9}a", 36, 54),
    ("^(abc){0,9}", 26, 38),
    ("^(a|ab){2,9}", 4130, 4130),
    ("^(a|ab){0,9}", 4106, 4106),
    ("^(a|ab){1,9}c", 5121, 5121),
    ("^x(a?b)?", 8, 8),
    ("^x(a?b)?b", 10, 10),
    ("^((a|b)c?){2}d", 30, 30),
    ("^(a{2}b?){0,3}(c|d)", 96, 96),
    ("(a{1,3}b){2}c", 425, 25625),
    ("a.?b.?c", 272, 16400),
    ("^(a|ab)?(a|ab)?(a|ab)?c", 471, 471),
    ("(a|aa){99}x", 22282240, 189079126755522904064000),
    ("^((a|aa){40}b?){2}", 1786706919426, 1000000000000000000000000000000),
    ("^(a|b*c)?d", 62, 3086),
    ("^(a*b)?a", 57, 3081),
    ("^(a{0}b)?c", 5, 5),
    ("^(a?|b)c", 11, 11),
    ("^(?:a{2,4}){3}b", 514, 514),
    ("^(?:(?:a|ab){2}c?){3}", 107522, 107522),
    ("^a*$a", 71, 4103),
    ("^($|$)", 7, 7),
    ("^a{1,5}(b?|c)", 52, 52),
    ("^a{1,5}b?", 29, 29),
    ("^a?b{1,3}a", 14, 14),
    ("^(ab{0,5}){0,3}", 56, 56),
    ("^(ab{0,5}){1,3}", 59, 59),
    ("^(ab{0,5}){2,3}", 87, 87),
    ("^(a?)?b", 8, 8),
    ("^(?:(?:ab){4})*c", 68, 2840),
    (r"^(a?)?\b", 8, 8),
]


@pytest.mark.parametrize(("pattern", "short", "long"), PRICES)
def test_a_pattern_has_its_price_on_a_short_text_and_on_the_longest(
    pattern: str, short: int, long: int
) -> None:
    assert [price(parse(pattern), length) for length in (16, MAX_SUBJECT_CHARS)] == [short, long]


@pytest.mark.parametrize(
    ("pieces", "follower", "steps"),
    [(63, "\u0101", 121), (64, "\u0101", 138), (64, "\u4dff", 138), (64, "\u00ff", 121), (64, "\u4e01", 121)],
)
def test_the_gaps_between_more_ranges_than_are_kept_apart_count_as_in_them(
    pieces: int, follower: str, steps: int
) -> None:
    points = "".join(chr(point) for point in range(0x100, 0x100 + 2 * pieces, 2))
    assert price(parse(f"^(?:[{points}]|\u4e00)*{follower}"), 16) == steps


def test_more_ranges_than_are_kept_apart_begin_where_the_first_one_does() -> None:
    points = "".join(chr(point) for point in range(0x100, 0x100 + 2 * 64, 2))
    assert price(parse(f"^(?:[\u00f0-\u00f8{points}]|\u4e00)*\u00f0"), 16) == 138


LAST = MAX_CODE_POINT


@pytest.mark.parametrize(
    ("sets", "merged"),
    [
        ([], ()),
        ([((5, 9),), ((1, 3),)], ((1, 3), (5, 9))),
        ([((1, 2),), ((3, 4),)], ((1, 4),)),
        ([((1, 5), (20, 21)), ((3, 9),)], ((1, 9), (20, 21))),
        ([((1, 9),), ((2, 3), (11, 11))], ((1, 9), (11, 11))),
    ],
)
def test_ranges_that_touch_become_one(sets: list[Ranges], merged: Ranges) -> None:
    assert union(*sets) == merged


@pytest.mark.parametrize(
    ("ranges", "others"),
    [
        ((), ((0, LAST),)),
        (((0, LAST),), ()),
        (((5, 9),), ((0, 4), (10, LAST))),
        (((0, 0), (2, LAST - 1)), ((1, 1), (LAST, LAST))),
    ],
)
def test_what_ranges_leave_out_has_its_own_ranges(ranges: Ranges, others: Ranges) -> None:
    assert complement(ranges) == others
    assert complement(others) == ranges


@pytest.mark.parametrize(
    ("ranges", "negated", "covered", "source", "width"),
    [
        (((97, 97),), False, ((97, 97),), r"[\U00000061]", 1),
        (((97, 99), (120, 120)), False, ((97, 99), (120, 120)), r"[\U00000061-\U00000063\U00000078]", 4),
        (((10, 10),), True, ((0, 9), (11, LAST)), r"[^\U0000000a]", 1),
        ((), False, (), r"[^\s\S]", 0),
        ((), True, ((0, LAST),), r"[\s\S]", 0),
        (((0xFFFF, 0xFFFF),), False, ((0xFFFF, 0xFFFF),), r"[\U0000ffff]", 1),
        (((0x10000, 0x10005),), False, ((0x10000, 0x10005),), r"[\U00010000-\U00010005]", 0),
        (((0xFFF0, 0x1FFFF),), False, ((0xFFF0, 0x1FFFF),), r"[\U0000fff0-\U0001ffff]", 16),
        (((0xE000, LAST),), False, ((0xE000, LAST),), r"[^\U00000000-\U0000dfff]", 0xE000),
    ],
)
def test_a_class_names_what_it_holds_or_what_it_leaves_out(
    ranges: Ranges, negated: bool, covered: Ranges, source: str, width: int
) -> None:
    assert chars(ranges, negated=negated) == Chars(covered, source, width)


EFFORTS = [
    ("", 1),
    ("a", 3),
    ("ab", 5),
    ("(ab)", 9),
    ("a|b", 11),
    ("(a|bc)d", 23),
    ("a*", 6),
    ("(ab*)?", 19),
    ("^$", 5),
    (r"^(\b|a{2})", 24),
    ("[\u0100-\u01fe]", 4),
    ("[\u0100-\u01ff]", 5),
    ("([\u0100-\u027f]x)", 12),
]


@pytest.mark.parametrize(("pattern", "units"), EFFORTS)
def test_a_pattern_takes_its_effort_to_be_compiled(pattern: str, units: int) -> None:
    assert effort(parse(pattern)) == units


def test_the_patterns_of_a_book_are_compiled_up_to_its_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cra_wasm.carp.schema_pattern.MAX_EFFORT", 2 * effort(parse("ab")))
    book = PatternBook()
    first = book.find("ab")
    assert isinstance(first, GuardedPattern)
    assert first.text == "ab"
    assert isinstance(book.find("cd"), GuardedPattern)
    for text in ("e", "("):
        refused = book.find(text)
        assert isinstance(refused, PatternRefused)
        assert refused.code == "limits"
        assert book.find(text) is refused
    assert book.find("ab") is first


def test_a_book_without_a_limit_of_its_own_has_the_one_of_an_atlas() -> None:
    assert MAX_EFFORT == 200_000
    assert isinstance(PatternBook().find("a"), GuardedPattern)


@pytest.mark.parametrize(
    ("length", "priced_for"), [(0, 16), (16, 16), (17, 64), (64, 64), (65, 256), (1_024, 1_024)]
)
def test_a_search_costs_what_the_next_longer_text_is_priced_at(length: int, priced_for: int) -> None:
    steps = price(parse("foo.*bar"), priced_for)
    assert compile_pattern("foo.*bar").units(length) == 1 + steps // STEPS_PER_UNIT


def test_a_pattern_remembers_its_text() -> None:
    assert compile_pattern("a|b").text == "a|b"


def test_classes_name_as_many_characters_as_they_may() -> None:
    whole, one = "[\u0100-\uffff]" * 4, "[\u4e00-\u4e01]"
    left = MAX_CLASS_WIDTH - 4 * (0x10000 - 0x100)
    fits = whole + f"[\u4e00-{chr(0x4E00 + left - 1)}]"
    assert parse(fits)
    for text in (fits + "a", whole + one + f"[\u4e00-{chr(0x4E00 + left - 2)}]"):
        with pytest.raises(PatternRefused) as refused:
            parse(text)
        assert refused.value.code == "unsupported_pattern"
