"""Version ranges mean what npm's mean, and what is no range is refused (PROTOCOL 1.12)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.errors import InvalidInput
from cra_wasm.model.versions import parse_range, parse_version, satisfies

from .building import load

VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[2] / "specs/vectors/version_range.json").read_text(encoding="utf-8")
)
NUMBERS = st.integers(0, 3) | st.integers(0, 10**30)
RELEASES = st.tuples(NUMBERS, NUMBERS, NUMBERS).map(lambda numbers: ".".join(map(str, numbers)))
PRERELEASES = st.lists(st.sampled_from(["0", "1", "10", "alpha", "beta-2", "-"]), min_size=1, max_size=3)
VERSIONS = RELEASES | st.tuples(RELEASES, PRERELEASES).map(lambda told: f"{told[0]}-{'.'.join(told[1])}")
SIGNS = st.sampled_from(["", "=", "^", "~", "<", "<=", ">", ">="])
COMPARATORS = st.tuples(SIGNS, VERSIONS).map("".join)


@pytest.mark.parametrize("text", VECTORS["no_ranges"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_range(text)
    with pytest.raises(InvalidInput) as caught:
        load(dependencies={"com.example.other": text})
    assert caught.value.details["pointer"] == "/dependencies/com.example.other"


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "01.0.0", "1.0.0-", "1.0.0-01", " 1.0.0", "1.0.0\n"]
)
def test_what_is_no_full_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_version(text)


@pytest.mark.parametrize(("range_text", "version", "lies_in_it"), VECTORS["cases"])
# PROTOCOL 1.12.2
def test_a_range_holds_what_npm_says(range_text: str, version: str, lies_in_it: bool) -> None:
    assert satisfies(version, range_text) is lies_in_it


def test_versions_stand_in_the_order_of_semver() -> None:
    order = "1.0.0-1 1.0.0-2 1.0.0-10 1.0.0-a 1.0.0-a.1 1.0.0-a.b 1.0.0-b 1.0.0 1.0.1 1.2.0 1.10.0 2.0.0"
    versions = order.split()
    assert sorted(reversed(versions), key=parse_version) == versions


@given(VERSIONS)
def test_a_version_lies_in_each_range_that_begins_or_ends_with_it(version: str) -> None:
    for sign in ("", "=", "^", "~", ">=", "<="):
        assert satisfies(version, sign + version)
    for sign in ("<", ">"):
        assert not satisfies(version, sign + version)


@given(COMPARATORS, COMPARATORS, RELEASES)
def test_a_space_is_and_two_bars_are_or(one: str, other: str, release: str) -> None:
    first, second = satisfies(release, one), satisfies(release, other)
    assert satisfies(release, f"{one} {other}") is (first and second)
    assert satisfies(release, f"{one} || {other}") is (first or second)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_a_hyphen_is_both_bounds(low: str, high: str, version: str) -> None:
    assert satisfies(version, f"{low} - {high}") is satisfies(version, f">={low} <={high}")


@given(COMPARATORS, RELEASES, PRERELEASES)
# PROTOCOL 1.12.3
def test_a_prerelease_is_let_in_only_by_a_comparator_that_names_one_of_its_numbers(
    comparator: str, release: str, prerelease: list[str]
) -> None:
    version = f"{release}-{'.'.join(prerelease)}"
    if satisfies(version, comparator):
        assert f"{release}-" in comparator


@given(st.text(alphabet="0123 .xX*^~<>=|-ab+", max_size=40))
def test_any_text_is_a_range_or_a_value_error(text: str) -> None:
    try:
        parse_range(text)
    except ValueError:
        return
    assert satisfies("1.0.0", text) in (True, False)
