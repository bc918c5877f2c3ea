"""Ids and times as integers and as text."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.errors import InvalidInput
from cra_wasm.model.ids import IDS_PER_BLOCK, is_uuid_text, parse_uuid, uuid7, uuid_text
from cra_wasm.model.timestamps import parse_timestamp_ns, timestamp_text

GOOD = "01234567-89ab-cdef-0123-456789abcdef"
WALL_NS = st.integers(0, 4 * 10**18)


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD.upper(),
        GOOD + "\n",
        " " + GOOD,
        "{" + GOOD + "}",
        GOOD.replace("-", ""),
        GOOD[:-1],
        GOOD + "0",
        GOOD.replace("0", "g"),
        GOOD.replace("0", "\u0660"),
        GOOD.replace("0", "\uff10"),
        "0123456-789ab-cdef-0123-456789abcdef",
        None,
        7,
        GOOD.encode(),
    ],
)
def test_what_is_no_lower_case_uuid_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_uuid(text, pointer="/session_id")
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_id", "/session_id")
    assert not isinstance(text, str) or not is_uuid_text(text)


@given(st.integers(0, (1 << 128) - 1))
def test_an_id_is_the_same_as_text_and_back(value: int) -> None:
    assert uuid_text(value) == str(uuid.UUID(int=value))
    assert is_uuid_text(uuid_text(value))
    assert parse_uuid(uuid_text(value), pointer="") == value


@given(WALL_NS, st.integers(0, (1 << 128) - 1))
def test_a_uuid7_has_version_variant_time_and_nothing_else_of_its_randomness(wall_ns: int, bits: int) -> None:
    made = uuid.UUID(int=uuid7(wall_ns, bits))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == wall_ns // 1_000_000
    assert made.int % IDS_PER_BLOCK == 0


@given(WALL_NS, st.integers(0, (1 << 128) - 1))
def test_all_ids_of_a_block_are_uuid7s_of_one_time(wall_ns: int, bits: int) -> None:
    first = uuid7(wall_ns, bits)
    last = uuid.UUID(int=first + IDS_PER_BLOCK - 1)
    assert (last.version, last.variant, last.int >> 80) == (7, uuid.RFC_4122, wall_ns // 1_000_000)
    assert last.int >> 16 == first >> 16


def test_randomness_reaches_both_of_its_places() -> None:
    without, with_all = uuid7(0, 0), uuid7(0, (1 << 128) - 1)
    assert (without ^ with_all).bit_count() == 12 + 46


@given(st.integers(-62_135_596_800 * 10**9, 253_402_300_799 * 10**9))
def test_a_time_has_27_characters_and_loses_only_what_is_below_a_microsecond(wall_ns: int) -> None:
    text = timestamp_text(wall_ns)
    assert len(text) == 27
    assert text.endswith("Z")
    assert parse_timestamp_ns(text) == wall_ns - wall_ns % 1000
    assert timestamp_text(wall_ns) == text


@given(st.lists(st.sampled_from([0, 1, 999_999_999, 10**9, 10**9 + 5000, -1, -(10**9)]), min_size=2))
def test_the_kept_second_changes_no_text(times: list[int]) -> None:
    for wall_ns in times:
        moment = datetime.fromtimestamp(wall_ns // 10**9, UTC).replace(microsecond=wall_ns % 10**9 // 1000)
        assert timestamp_text(wall_ns) == f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


@pytest.mark.parametrize(
    ("text", "wall_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:30:00-00:30", 0),
        ("1970-01-01T00:00:00.000001999Z", 1000),
        ("1969-12-31T23:59:59.999999Z", -1000),
        ("0001-01-01T00:00:00+23:59", -62_135_596_800 * 10**9 - 86_340 * 10**9),
        ("9999-12-31T23:59:59-23:59", 253_402_300_799 * 10**9 + 86_340 * 10**9),
    ],
)
def test_a_time_of_any_zone_is_read_also_at_the_ends_of_the_calendar(text: str, wall_ns: int) -> None:
    assert parse_timestamp_ns(text) == wall_ns


@pytest.mark.parametrize("text", ["", "now", "2024-13-01T00:00:00Z", "2024-02-30T00:00:00Z"])
def test_what_is_no_time_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_timestamp_ns(text)
