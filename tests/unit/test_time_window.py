"""Time windows over midnight, days and changes of the clocks, in zones of both hemispheres."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cra_wasm.carp.time_window import window_answer
from cra_wasm.model.atlas import TimeWindow

from .building import at

NS = 1_000_000_000
MINUTE = 60 * NS
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def window(start: str, end: str, zone: str = "UTC", days: list[str] | None = None) -> TimeWindow:
    members = {"start": start, "end": end, "timezone": zone, "days": days}
    return TimeWindow.model_validate_json(json.dumps(members))


def is_open(opened: TimeWindow, text: str) -> bool | None:
    return window_answer(opened, at(text))[0]


def is_open_slowly(opened: TimeWindow, wall_ns: int) -> bool:
    """Look for the day on which a window that holds this local time would have started."""
    local = datetime.fromtimestamp(wall_ns // NS, UTC).astimezone(ZoneInfo(opened.timezone))
    now = local.replace(tzinfo=None)
    for back in (0, 1):
        day = now.date() - timedelta(days=back)
        start, end = datetime.combine(day, opened.start), datetime.combine(day, opened.end)
        if end <= start:
            end += timedelta(days=1)
        if start <= now < end and (opened.days is None or DAYS[day.weekday()] in opened.days):
            return True
    return False


@pytest.mark.parametrize(
    "zone",
    [
        "Mars/Olympus",
        "..",
        "../UTC",
        "/etc/passwd",
        "America",
        "é",
        "a\x00b",
        "UTC\n",
        ".",
        "x" * 64,
        "tzdata.zi",
    ],
)
def test_an_unknown_timezone_cannot_be_told_and_is_asked_again(zone: str) -> None:
    now = at("2026-11-24T12:00:00+00:00")
    opened, until = window_answer(window("00:00", "00:00", zone), now)
    assert opened is None
    assert now < until <= now + MINUTE


def test_what_cannot_be_told_holds_up_to_the_same_moment_whenever_it_is_asked() -> None:
    now = at("2026-11-24T12:00:00+00:00")
    unknown = window("09:00", "17:00", "Mars/Olympus")
    untils = {window_answer(unknown, now + seconds * NS)[1] for seconds in (0, 1, 30, 59)}
    assert untils == {now + MINUTE}


@pytest.mark.parametrize("wall_ns", [-(10**21), 10**21, at("9999-12-31T12:00:00+00:00")])
def test_a_time_at_the_end_of_the_calendar_cannot_be_told(wall_ns: int) -> None:
    opened, until = window_answer(window("09:00", "17:00"), wall_ns)
    assert opened is None
    assert until > wall_ns


def test_a_window_holds_from_its_first_to_before_its_last_minute() -> None:
    office = window("09:00", "17:00")
    times = ["08:59:59", "09:00:00", "16:59:59", "17:00:00"]
    assert [is_open(office, f"2026-11-24T{clock}+00:00") for clock in times] == [False, True, True, False]


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    friday_night = window("22:00", "06:00", days=["fri"])
    assert is_open(friday_night, "2026-11-27T05:00:00+00:00") is False  # friday morning: thursday's
    assert is_open(friday_night, "2026-11-27T22:00:00+00:00") is True
    assert is_open(friday_night, "2026-11-28T05:59:59+00:00") is True
    assert is_open(friday_night, "2026-11-28T06:00:00+00:00") is False
    assert is_open(friday_night, "2026-11-28T22:30:00+00:00") is False


def test_a_window_till_midnight_ends_there() -> None:
    evening = window("18:00", "00:00", days=["tue"])
    assert is_open(evening, "2026-11-24T23:59:59+00:00") is True
    assert is_open(evening, "2026-11-25T00:00:00+00:00") is False


def test_equal_start_and_end_is_a_whole_day_from_there() -> None:
    shift = window("06:00", "06:00", days=["tue"])
    assert is_open(shift, "2026-11-24T05:59:59+00:00") is False
    assert is_open(shift, "2026-11-24T06:00:00+00:00") is True
    assert is_open(shift, "2026-11-25T05:59:59+00:00") is True
    assert is_open(shift, "2026-11-25T06:00:00+00:00") is False


def test_no_days_at_all_is_never_open() -> None:
    assert is_open(window("00:00", "00:00", days=[]), "2026-11-24T12:00:00+00:00") is False


def test_a_window_follows_its_zone_through_both_changes_of_the_clocks() -> None:
    berlin = window("09:00", "17:00", "Europe/Berlin")
    assert is_open(berlin, "2026-03-28T08:00:00+00:00") is True  # winter: 09:00
    assert is_open(berlin, "2026-03-29T07:00:00+00:00") is True  # summer: 09:00
    assert is_open(berlin, "2026-03-29T06:59:59+00:00") is False
    assert is_open(berlin, "2026-10-25T07:30:00+00:00") is False  # winter again: 08:30


def test_an_answer_before_a_change_of_the_clocks_ends_at_its_very_second() -> None:
    berlin = window("12:00", "11:00", "Europe/Berlin")
    change = at("2026-03-29T01:00:00+00:00")
    for seconds in range(1, 7000, 97):
        assert window_answer(berlin, change - seconds * NS)[1] == change


def test_an_hour_that_comes_twice_opens_twice() -> None:
    berlin = window("02:00", "02:30", "Europe/Berlin")
    first, between = at("2026-10-25T00:10:00+00:00"), at("2026-10-25T00:40:00+00:00")
    assert window_answer(berlin, first) == (True, at("2026-10-25T00:30:00+00:00"))
    assert window_answer(berlin, between) == (False, at("2026-10-25T01:00:00+00:00"))
    assert window_answer(berlin, at("2026-10-25T01:10:00+00:00")) == (True, at("2026-10-25T01:30:00+00:00"))


def test_an_hour_that_is_left_out_does_not_open() -> None:
    berlin = window("02:00", "03:00", "Europe/Berlin")
    answers = {window_answer(berlin, at("2026-03-29T00:30:00+00:00") + n * MINUTE)[0] for n in range(120)}
    assert answers == {False}


def test_an_answer_given_in_the_minute_before_a_boundary_ends_at_it_near_a_change_of_the_clocks_too() -> None:
    berlin = window("09:00", "17:00", "Europe/Berlin")
    closing = at("2026-03-27T16:00:00+00:00")
    assert window_answer(berlin, closing - 30 * NS) == (True, closing)
    assert window_answer(berlin, closing - 1) == (True, closing)


def test_an_answer_far_from_any_boundary_holds_for_hours_near_a_change_of_the_clocks_too() -> None:
    berlin = window("09:00", "17:00", "Europe/Berlin")
    assert window_answer(berlin, at("2026-03-28T08:00:00+00:00"))[1] == at("2026-03-28T16:00:00+00:00")


# Weeks in which the clocks of these zones change: ahead, back, by half an hour, at midnight, in Ramadan.
CHANGES = [
    ("Europe/Berlin", "2026-03-26"),
    ("Europe/Berlin", "2026-10-22"),
    ("America/New_York", "2026-03-05"),
    ("America/New_York", "2026-10-29"),
    ("Australia/Lord_Howe", "2026-04-02"),
    ("Australia/Lord_Howe", "2026-10-01"),
    ("America/Santiago", "2026-04-02"),
    ("America/Santiago", "2026-09-03"),
    ("Africa/Cairo", "2026-04-21"),
    ("Africa/Casablanca", "2026-02-12"),
    ("Asia/Kathmandu", "2026-05-01"),
    ("UTC", "2026-05-01"),
]
CLOCKS = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 45, 59]))


@settings(max_examples=60)
@given(
    st.sampled_from(CHANGES),
    CLOCKS,
    CLOCKS,
    st.none() | st.lists(st.sampled_from(DAYS), unique=True),
    st.integers(0, 4 * 24 * 60 - 1),
    st.integers(0, MINUTE - 1),
)
def test_an_answer_holds_up_to_the_moment_it_names(
    change: tuple[str, str], start: str, end: str, days: list[str] | None, minute: int, rest_ns: int
) -> None:
    zone, first_day = change
    opened = window(start, end, zone, days)
    now = at(f"{first_day}T00:00:00+00:00") + minute * MINUTE + rest_ns
    answer, until = window_answer(opened, now)
    assert answer is is_open_slowly(opened, now)
    assert now < until <= now + 49 * 3600 * NS
    sampled = {now, until - 1, *range(now - now % MINUTE + MINUTE, until, 5 * MINUTE)}
    assert {is_open_slowly(opened, moment) for moment in sampled} == {answer}


@pytest.mark.parametrize(("zone", "first_day"), CHANGES)
def test_following_the_named_moments_misses_no_minute_of_a_week_with_a_change(
    zone: str, first_day: str
) -> None:
    # 02:30 is left out or comes twice in most of these zones, 00:00 in the others.
    for start, end in [("02:30", "17:00"), ("00:00", "00:30")]:
        opened = window(start, end, zone, ["thu", "sat", "sun"])
        now, last = at(f"{first_day}T00:00:00+00:00"), at(f"{first_day}T00:00:00+00:00") + 5 * 1440 * MINUTE
        answer, until = window_answer(opened, now)
        for moment in range(now, last, 5 * MINUTE):
            if moment >= until:
                answer, until = window_answer(opened, moment)
            assert answer is is_open_slowly(opened, moment)
