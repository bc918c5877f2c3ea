"""A raw record becomes the lines of the batch, whole or in pieces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import RawEvent
from cra_wasm.model.ids import IDS_PER_BLOCK, is_uuid_text, uuid7, uuid_text
from cra_wasm.testing import SequentialIds
from cra_wasm.trace.raw import FIRST_EVENT_OFFSET, MAX_EVENTS_PER_RECORD, as_given

WALL_NS = 1_735_387_200_123_456_789
BASE = SequentialIds().reserve(WALL_NS)
SESSION = uuid_text(BASE + 1)
PARENT = BASE + (5 << 16)


def record(count: int, *, first_sequence: int = 7, parent: int | None = PARENT) -> RawEvent:
    texts = [("app.step", f'{{"n":{number}}}') for number in range(count)]
    return RawEvent(SESSION, first_sequence, count, WALL_NS, BASE, BASE + 3, parent, as_given, texts)


def fields_of(line: str) -> list[str]:
    assert line.endswith("\n")
    return line[:-1].split("\x1f")


# PROTOCOL 3.5.2
def test_a_line_has_the_eight_fields_of_the_batch_in_order() -> None:
    assert fields_of(record(1).lines()[0]) == [
        uuid_text(BASE + FIRST_EVENT_OFFSET),
        uuid_text(BASE + 3),
        uuid_text(BASE + FIRST_EVENT_OFFSET + 1),
        uuid_text(PARENT),
        "7",
        "2024-12-28T12:00:00.123456Z",
        "app.step",
        '{"n":0}',
    ]


def test_the_first_span_is_the_parent_of_the_rest_and_sequences_count_on() -> None:
    raw = record(4)
    rows = [fields_of(line) for line in raw.lines()]
    assert [row[3] for row in rows] == [uuid_text(PARENT)] + [uuid_text(raw.first_span_id)] * 3
    assert [row[4] for row in rows] == ["7", "8", "9", "10"]
    assert [row[0] for row in rows] == [uuid_text(raw.event_id(index)) for index in range(4)]
    assert rows[0][2] == uuid_text(raw.first_span_id)


def test_no_parent_is_an_empty_field() -> None:
    assert fields_of(record(1, parent=None).lines()[0])[3] == ""


def test_the_largest_record_has_no_id_twice_and_only_well_formed_ones() -> None:
    rows = [fields_of(line) for line in record(MAX_EVENTS_PER_RECORD).lines()]
    ids = [row[0] for row in rows] + [row[2] for row in rows]
    assert len(set(ids)) == 2 * MAX_EVENTS_PER_RECORD <= IDS_PER_BLOCK
    assert all(is_uuid_text(text) for text in ids)
    assert all(text[14] == "7" and text[19] in "89ab" for text in ids)


@given(st.integers(1, 12), st.data())
def test_pieces_joined_are_the_whole(count: int, data: st.DataObject) -> None:
    raw = record(count)
    cut = data.draw(st.integers(0, count))
    beyond = data.draw(st.integers(count, count + 5))
    assert raw.lines(0, cut) + raw.lines(cut, beyond) == raw.lines()


@pytest.mark.parametrize(
    ("wall_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (999, "1970-01-01T00:00:00.000000Z"),
        (1_000, "1970-01-01T00:00:00.000001Z"),
        (1_709_164_799_999_999_999, "2024-02-28T23:59:59.999999Z"),
        (1_709_164_800_000_000_000, "2024-02-29T00:00:00.000000Z"),
        (253_402_300_799_999_999_000, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_is_written_in_27_characters(wall_ns: int, text: str) -> None:
    raw = RawEvent(SESSION, 0, 1, wall_ns, BASE, BASE, None, as_given, [("app.step", "{}")])
    assert fields_of(raw.lines()[0])[5] == text
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text, re.ASCII)


@given(st.integers(0, 2**48 * 1_000_000 - 1), st.integers(0, 2**80 - 1))
def test_an_id_block_is_a_uuid_7_of_its_time_with_room_for_its_ids(wall_ns: int, bits: int) -> None:
    base = uuid7(wall_ns, bits)
    assert base % IDS_PER_BLOCK == 0
    for value in (base, base + IDS_PER_BLOCK - 1):
        text = uuid_text(value)
        assert is_uuid_text(text)
        assert text[14] == "7" and text[19] in "89ab"
        assert int(text.replace("-", "")[:12], 16) == wall_ns // 1_000_000
