"""`pattern` takes ECMA's everyday language and refuses what could run for long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.carp.schema_pattern import MAX_STEPS, MAX_SUBJECT_CHARS, STEPS_PER_UNIT, compile_pattern
from cra_wasm.carp.schema_pattern_parse import MAX_PATTERN_CHARS, PatternRefused, parse
from cra_wasm.carp.schema_pattern_price import price

CATASTROPHIC = [
    "(a+)+$", "(a*)*b", "(a|aa)+$", "(a|a)*$", "(a|a?)+$", "(.*a){20}", "(.*)*x", "a*a*b", r"\s*\s*$",
    "(x+x+)+y", "([a-zA-Z]+)*$", r"^(([a-z])+.)+[A-Z]([a-z])+$", "(a?){30}a{30}", "a?" * 30 + "a" * 30,
    ".*x.*x.*y", "(a{0,30}){0,30}b", "a{0,1000}a{0,1000}b", "(a+){2,}b", "(a+){2}b", "(a+)(a+)b",
    r"(\w|\d)+$", "(.|a)*b", "(ab?)*b", "^(a|b|ab)*c", "($|$)" * 30 + "x", "(^|^|a)" * 30 + "x",
    "(?:(?:a{1,9}){1,9}){1,9}b", "(a+?)+?$", "(?:a{2,})*$", r"(\ba|a)+$", "(a|b|[ab])*c", "((a|b)|(b|c))*d",
    r"^(\s|.)*$", "(x*)?(x*)?(x*)?y", "([^,]*,?){20}P",
]  # fmt: skip


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_a_catastrophic_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(PatternRefused) as refused:
        compile_pattern(pattern)
    assert refused.value.code == "unsafe_pattern"


@pytest.mark.parametrize("pattern", ["[a-z]+[0-9]+", "^[a-z]+(-[a-z]+)*$", "(foo|fox)+", "(a+b){1,}c"])
def test_a_harmless_pattern_that_breaks_a_simple_rule_is_refused_too(pattern: str) -> None:
    with pytest.raises(PatternRefused) as refused:
        compile_pattern(pattern)
    assert refused.value.code == "unsafe_pattern"


BY_SHAPE = [
    # inside another
    "^(a+b)*c", "((a+)b)*", "(a|b+c)*", "((a+b)?c)*",
    # right after another
    "a*b*", "(a+)(b+)c", "(a+|x)(y|b+)", "^(x|a+)b+", "^a+(x|b+c)", "^(ab+){0,1}c+", "^a+(b+c){0,1}",
    "^(x|a*b*c)", "^(a*b*c)?",
    # after itself
    "^(a+xb+){2}", "^(a+xb+){1,2}",
    # a group that can match nothing
    "(a?){2}", "((a?)b?){0,2}", r"(\b){2}", "(?:^)*a",
]  # fmt: skip


@pytest.mark.parametrize("pattern", BY_SHAPE)
def test_a_pattern_may_be_refused_by_its_shape_alone(pattern: str) -> None:
    assert price(parse(pattern), MAX_SUBJECT_CHARS) <= MAX_STEPS
    with pytest.raises(PatternRefused) as refused:
        compile_pattern(pattern)
    assert refused.value.code == "unsafe_pattern"


def test_a_pattern_is_refused_by_its_price_on_the_longest_text_alone() -> None:
    pattern = "a.*b.{0,3}c"
    assert (
        price(parse(pattern), MAX_SUBJECT_CHARS // 4) <= MAX_STEPS < price(parse(pattern), MAX_SUBJECT_CHARS)
    )
    with pytest.raises(PatternRefused) as refused:
        compile_pattern(pattern)
    assert refused.value.code == "unsafe_pattern"


def test_a_pattern_may_cost_as_much_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = price(parse("foo.*bar"), MAX_SUBJECT_CHARS)
    monkeypatch.setattr("cra_wasm.carp.schema_pattern.MAX_STEPS", steps)
    assert compile_pattern("foo.*bar").found_in("foobar")
    monkeypatch.setattr("cra_wasm.carp.schema_pattern.MAX_STEPS", steps - 1)
    with pytest.raises(PatternRefused) as refused:
        compile_pattern("foo.*bar")
    assert refused.value.code == "unsafe_pattern"


def test_a_pattern_has_a_longest_text() -> None:
    assert compile_pattern("a" * MAX_PATTERN_CHARS).found_in("a" * MAX_PATTERN_CHARS)


UNSUPPORTED = [
    r"(a)\1", r"(?<n>a)\k<n>", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?i)a", "(?i:a)", "(?P<n>a)",
    "(?P=n)", "(?#c)", "(?>a)", "(?", "a**", "a++", "a?+", "a{2}{3}", "*a", "+", "?", "^*", "$+", r"\b?",
    "(a", "a)", "[a", "[", "[z-a]", r"[\w-z]", r"[a-\d]", "{a}", "a{", "a{,3}", "a{3,2}", "a{65536}", "a}",
    "]", "\\", r"\B", r"\pL", r"\p{L}", r"\a", r"\A", r"\Z", r"\z", r"\_", r"\é", r"\00", r"\9", r"\x1",
    r"\xg0", r"\u12", r"\u{}", r"\u{110000}", r"\u{12", r"\u{ 1}", r"\u{000000041}", r"\c", r"\c1", r"\cé",
    r"\01x", r"\X0041", r"\ud83d\Ude00", r"[\d-z]",
    "(" * 17 + ")" * 17, "[\u4e00-\u9fff]" * 13,
    "a" * (MAX_PATTERN_CHARS + 1),
]  # fmt: skip


@pytest.mark.parametrize("pattern", UNSUPPORTED)
def test_what_is_not_of_the_language_is_refused(pattern: str) -> None:
    with pytest.raises(PatternRefused) as refused:
        compile_pattern(pattern)
    assert refused.value.code == "unsupported_pattern"


FOUND: list[tuple[str, list[str], list[str]]] = [
    ("", ["", "a"], []),
    ("b", ["abc", "b"], ["ac", ""]),
    ("^a$", ["a"], ["a\n", "\na", "ba", ""]),
    ("a$|^b", ["ba", "bc"], ["a\n", "cb"]),
    (r"^\d$", ["0", "9"], ["\u0663", "\uff11", "a", ""]),
    (r"^\w$", ["a", "Z", "_", "0"], ["\u00e9", "-"]),
    (r"^\s$", [" ", "\t", "\u00a0", "\ufeff", "\u2028"], ["\x1c", "\x85", "a"]),
    (r"^\D\W\S$", ["a-b", "\u0663\u00e9\x85"], ["1-b", "aab", "a- "]),
    (r"^[\d_-]+$", ["1_-"], ["a"]),
    (r"^[^\s,]+$", ["ab"], ["a b", "a,b", ""]),
    (r"^[\S]$", ["a"], [" "]),
    ("^.$", ["a", "\U0001f600", "\x85"], ["\n", "\r", "\u2028", "\u2029", ""]),
    ("^[]$", [], ["", "a", "]"]),
    ("^[^]$", ["a", "\n"], ["", "ab"]),
    ("^[a^]$", ["a", "^"], ["b"]),
    (r"^[\]\\\-]$", ["]", "\\", "-"], ["a"]),
    (r"^[\b]$", ["\b"], ["b", "\t"]),
    ("^[-a]$", ["-", "a"], ["b"]),
    ("^[&&[]$", ["&", "["], ["a"]),
    (r"^\x41\u0042\u{43}\u{1F600}$", ["ABC\U0001f600"], ["ABC"]),
    (r"^\ud83d\ude00$", ["\U0001f600"], ["\ud83d\ude00"]),
    (r"^\uD83D\uDE00\ud800\uDC00$", ["\U0001f600\U00010000"], ["\U0001f600"]),
    (r"^(\u{d83d}\ude00|\ud83d\u{de00}|\u{d83d}\u{de00})$", ["\ud83d\ude00"], ["\U0001f600"]),
    (r"^\udc00\udc00$", ["\udc00\udc00"], ["\U00010000"]),
    (r"^\u{00000041}\u{10FFFF}\x41", ["A\U0010ffffA"], ["A\U0010ffff"]),
    (r"^\x42", ["B"], ["A"]),
    (r"^[a-a]$", ["a"], ["b"]),
    (r"^\cJa$", ["\na"], ["\nb"]),
    ("^(?<Year_1>a)$", ["a"], ["b"]),
    (r"^\ud83d$", ["\ud83d"], ["\U0001f600"]),
    (r"^\t\n\r\f\v\0\cJ$", ["\t\n\r\f\v\0\n"], [""]),
    (r"^\.\*\+\?\(\)\[\]\{\}\|\/\^\$\@$", [".*+?()[]{}|/^$@"], [""]),
    (r"\bcat\b", ["a cat.", "cat", "\u00e9cat"], ["cats", "\u00e9_cat"]),
    ("^(a+b){2}(c?)?(?:d+e)?$", ["abaab", "ababcdde"], ["ab"]),
    ("^(ba+){2}$", ["baaba"], ["ba"]),
    ("^(a{2}b)*$", ["", "aabaab"], ["ab"]),
    ("^(ab|cd)?e{2}f{1,2}g{0}h{3,}$", ["abeefhhh", "eeffhhhh"], ["abef", "eefhh", "eefghhh"]),
    ("^(?<year>[0-9]{4})-(?:0[1-9]|1[0-2])$", ["2024-12"], ["2024-13"]),
    ("^a+?-b*?c??$", ["a-", "aa-bbc"], ["b"]),
    ("^X{1,2}$", ["X", "XX"], ["x"]),
    ("^a{0,65535}$", ["", "aa"], ["b"]),
    ("(" * 16 + "a" + ")" * 16, ["a"], ["b"]),
    ("^(foo|bar)+$", ["foobar"], ["foobaz"]),
    ("^(a|b)*c$", ["abbac", "c"], ["abd"]),
    ("<b>#x y", ["<b>#x y"], ["<b>"]),
    ("^C-[0-9]{4,10}$", ["C-1234"], ["C-123"]),
    (r"^[^@\s]+@[^@\s]+\.[^@\s]+$", ["a@b.example"], ["a@b", "a b@c.d"]),
    (r"^(\d{1,3}\.){3}\d{1,3}$", ["127.0.0.1"], ["1.2.3", "1.2.3.4444"]),
    (r"^https?://[^\s/$.?#].[^\s]*$", ["https://example.com/a"], ["ftp://example.com"]),
    (r"^\d+\.\d+\.\d+$", ["1.22.333"], ["1.2"]),
    ("foo.*bar", ["a foo and a bar"], ["bar foo"]),
    ("^.{1,2000}$", ["a" * MAX_SUBJECT_CHARS], [""]),
]


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [(pattern, text, True) for pattern, texts, _ in FOUND for text in texts]
    + [(pattern, text, False) for pattern, _, texts in FOUND for text in texts],
    ids=ascii,
)
def test_a_pattern_finds_what_ecma_finds(pattern: str, subject: str, expected: bool) -> None:
    assert compile_pattern(pattern).found_in(subject) is expected


def test_the_price_grows_with_the_subject_and_stays_under_the_limit() -> None:
    quadratic = compile_pattern("foo.*bar")
    units = [quadratic.units(length) for length in (0, 16, 17, 64, 256, MAX_SUBJECT_CHARS)]
    assert units == sorted(units)
    assert units[1] < units[2] < units[-1] <= 1 + MAX_STEPS // STEPS_PER_UNIT
    assert compile_pattern("^[A-Z]{2}$").units(MAX_SUBJECT_CHARS) == 1


PARTS = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\w", r"\d", "^", "$", r"\b", "ab"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda branches: f"({'|'.join(branches)})"),
        st.tuples(
            inner, st.sampled_from(["*", "+", "?", "{2}", "{0,3}", "{3,}", "*?", "??", "{1,40}", "{0,200}"])
        ).map(lambda pair: f"({pair[0]}){pair[1]}"),
    ),
    max_leaves=8,
)
SUBJECTS = [
    "a" * MAX_SUBJECT_CHARS,
    "ab" * 512,
    "a" * 1_023 + "!",
    "b" + "a" * 1_023,
    "aab" * 341,
    "a b\n" * 256,
]


@given(PARTS, st.lists(st.text("ab1! \n", max_size=12), max_size=6))
def test_whatever_is_accepted_agrees_with_re_and_ends_on_the_longest_subjects(
    pattern: str, subjects: list[str]
) -> None:
    try:
        guarded = compile_pattern(pattern)
    except PatternRefused:
        return
    same = re.compile(pattern.replace("$", r"\Z").replace(".", r"[^\n\r\u2028\u2029]"), re.ASCII)
    for subject in [*subjects, *SUBJECTS]:
        assert guarded.found_in(subject) is bool(same.search(subject))


@given(st.text(max_size=40) | st.text(r"ab()[]{}|*+?^$.\-,0123duxpk<>=!:", max_size=40))
def test_any_text_is_compiled_or_refused(pattern: str) -> None:
    try:
        compile_pattern(pattern).found_in("a" * 64)
    except PatternRefused as refused:
        assert refused.code in {"unsupported_pattern", "unsafe_pattern"}
