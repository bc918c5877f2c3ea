"""The buffer: bounded, one consumer, nothing leaves it before it was acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import BufferFull, InvalidInput, InvalidState, RawEvent, TraceRingBuffer
from cra_wasm.model.ids import uuid_text
from cra_wasm.trace.raw import as_given

BASE = 0x01940D233A0070008000000000010000
ONE, TWO = uuid_text(BASE + 1), uuid_text(BASE + (1 << 16) + 1)


def record(count: int, first: int = 0, session_id: str = ONE) -> RawEvent:
    texts = [("app.step", f'{{"n":{first + number}}}') for number in range(count)]
    base = BASE + ((first + 2) << 16)
    return RawEvent(session_id, first, count, 1_735_387_200_000_000_000, base, base, None, as_given, texts)


def numbers_in(data: bytes) -> list[int]:
    return [int(line.split("\x1f")[4]) for line in data.decode().splitlines()]


def test_nothing_to_drain_is_a_batch_of_count_0() -> None:
    batch = TraceRingBuffer(16).drain(10)
    assert (batch.batch_id, batch.count, batch.groups, batch.data) == (0, 0, (), b"")


@pytest.mark.parametrize("capacity", [15, 16_777_217, 0, -1, 16.0, True, "16", None])
def test_a_capacity_out_of_range_is_refused(capacity: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        TraceRingBuffer(capacity)
    assert caught.value.code == "invalid_capacity"


@pytest.mark.parametrize("max_events", [0, -1, 1.5, True, "9", None])
def test_a_wrong_max_events_is_refused_and_takes_nothing(max_events: Any) -> None:
    buffer = TraceRingBuffer(16)
    buffer.push(record(2))
    with pytest.raises(InvalidInput) as caught:
        buffer.drain(max_events)
    assert caught.value.code == "invalid_max_events"
    assert buffer.buffer_stats().pending == 2


def test_full_is_refused_counted_and_changes_nothing() -> None:
    buffer = TraceRingBuffer(16)
    buffer.push(record(15))
    with pytest.raises(BufferFull) as caught:
        buffer.push(record(2, 15))
    assert caught.value.code == "buffer_full"
    assert caught.value.details == {
        "capacity": 16,
        "pending_weight": 15,
        "in_flight_weight": 0,
        "reserved_weight": 0,
        "needed_weight": 2,
    }
    stats = buffer.buffer_stats()
    assert (stats.pending, stats.pushed, stats.refused) == (15, 15, 2)
    buffer.push(record(1, 15))
    assert buffer.buffer_pressure() == 1.0
    assert numbers_in(buffer.drain(99).data) == list(range(16))


# PROTOCOL 3.7.2
def test_events_in_flight_fill_the_buffer_until_they_are_acknowledged() -> None:
    buffer = TraceRingBuffer(16)
    buffer.push(record(16))
    batch = buffer.drain(16)
    assert (buffer.buffer_stats().pending, buffer.buffer_stats().in_flight) == (0, 16)
    with pytest.raises(BufferFull):
        buffer.push(record(1, 16))
    assert buffer.ack(batch.batch_id) is True
    buffer.push(record(1, 16))
    assert buffer.buffer_stats().acknowledged == 16


def test_an_event_that_must_not_be_lost_goes_in_beyond_the_capacity() -> None:
    buffer = TraceRingBuffer(16)
    buffer.push(record(16))
    buffer.push(record(1, 16), beyond=True)
    assert buffer.buffer_stats().pending == 17
    assert buffer.buffer_pressure() > 1.0
    with pytest.raises(BufferFull):
        buffer.push(record(1, 17))


def test_reserved_room_is_kept_from_others_and_can_be_used_or_given_back() -> None:
    buffer = TraceRingBuffer(16)
    buffer.reserve(10, 10)
    with pytest.raises(BufferFull):
        buffer.push(record(7))
    buffer.push(record(6))
    buffer.push(record(4, 6), reserved=4)
    assert (buffer.buffer_stats().pending, buffer.buffer_stats().reserved_weight) == (10, 6)
    with pytest.raises(BufferFull):
        buffer.reserve(1, 1)
    buffer.release(6)
    buffer.push(record(6, 10))
    assert (buffer.buffer_stats().pending, buffer.buffer_stats().reserved_weight) == (16, 0)


def test_a_record_larger_than_its_reservation_needs_room_for_the_rest_only() -> None:
    buffer = TraceRingBuffer(16)
    buffer.push(record(12))
    buffer.reserve(3, 3)
    buffer.push(record(4, 12), reserved=3)
    assert (buffer.buffer_stats().pending, buffer.buffer_stats().reserved_weight) == (16, 0)


def test_a_refused_push_keeps_its_reservation_for_the_caller_to_release() -> None:
    buffer = TraceRingBuffer(16)
    buffer.push(record(14))
    buffer.reserve(2, 2)
    with pytest.raises(BufferFull):
        buffer.push(record(3, 14), reserved=2)
    assert buffer.buffer_stats().reserved_weight == 2


# PROTOCOL 3.5.2
def test_a_batch_groups_lines_by_session_at_their_byte_offsets() -> None:
    buffer = TraceRingBuffer(64)
    buffer.push(record(2))
    buffer.push(record(1, session_id=TWO))
    buffer.push(record(1, 2))
    texts = [("app.step", '{"name":"é😀"}')]
    wide = RawEvent(TWO, 1, 1, 0, BASE + (9 << 16), BASE, None, as_given, texts)
    buffer.push(wide)
    batch = buffer.drain(64)
    assert batch.count == 5
    assert [group.to_dict() for group in batch.groups] == [
        {
            "session_id": ONE,
            "first_sequence": 0,
            "count": 3,
            "offset": 0,
            "length": batch.groups[0].length,
            "algorithm": "sha256",
        },
        {
            "session_id": TWO,
            "first_sequence": 0,
            "count": 2,
            "offset": batch.groups[0].length,
            "length": len(batch.data) - batch.groups[0].length,
            "algorithm": "sha256",
        },
    ]
    first, second = (batch.data[one.offset : one.offset + one.length] for one in batch.groups)
    assert first.decode() == "".join(record(2).lines() + record(1, 2).lines())
    assert second.decode() == "".join(record(1, session_id=TWO).lines() + wide.lines())


def test_a_large_record_is_split_over_batches_and_numbers_go_on() -> None:
    buffer = TraceRingBuffer(64)
    buffer.push(record(10))
    buffer.push(record(2, 10))
    seen = []
    for expected_first in (0, 4, 8):
        batch = buffer.drain(4)
        assert batch.groups[0].first_sequence == expected_first
        assert batch.count == batch.groups[0].count == 4
        seen.append(batch.data)
        assert buffer.ack(batch.batch_id)
    assert b"".join(seen).decode() == "".join(record(10).lines() + record(2, 10).lines())
    assert buffer.drain(4).count == 0
    assert buffer.buffer_stats().acknowledged == 12


# PROTOCOL 3.5.3
def test_a_third_drain_is_empty_until_one_of_two_batches_is_acknowledged() -> None:
    buffer = TraceRingBuffer(64)
    buffer.push(record(6))
    first, second = buffer.drain(1), buffer.drain(1)
    assert buffer.drain(1).count == 0
    assert buffer.buffer_stats().batches_in_flight == 2
    assert buffer.ack(second.batch_id)
    third = buffer.drain(1)
    assert numbers_in(third.data) == [2]
    assert [batch.batch_id for batch in buffer.redeliver()] == [first.batch_id, third.batch_id]


# PROTOCOL 3.5.4
def test_redelivery_gives_the_same_bytes_in_order_and_takes_nothing_new() -> None:
    buffer = TraceRingBuffer(64)
    buffer.push(record(4))
    drained = [buffer.drain(2), buffer.drain(1)]
    assert buffer.redeliver() == drained
    assert buffer.redeliver() == drained
    assert buffer.buffer_stats().pending == 1
    assert buffer.ack(drained[0].batch_id)
    assert buffer.redeliver() == drained[1:]


@pytest.mark.parametrize("batch_id", [0, -1, 99, "1", None, 1.5])
def test_an_unknown_acknowledgement_is_false_and_changes_nothing(batch_id: Any) -> None:
    buffer = TraceRingBuffer(16)
    buffer.push(record(2))
    buffer.drain(1)
    before = buffer.buffer_stats()
    assert buffer.ack(batch_id) is False
    assert buffer.buffer_stats() == before


def test_a_second_acknowledgement_is_false() -> None:
    buffer = TraceRingBuffer(16)
    buffer.push(record(2))
    batch = buffer.drain(2)
    assert buffer.ack(batch.batch_id) is True
    assert buffer.ack(batch.batch_id) is False
    assert buffer.buffer_stats().acknowledged == 2


def test_text_that_cannot_be_made_leaves_everything_in_place() -> None:
    buffer = TraceRingBuffer(16)
    fails = [True]

    def expand(argument: Any) -> list[tuple[str, str]]:
        if fails:
            raise MemoryError
        return [("app.step", "{}")]

    buffer.push(record(2))
    buffer.push(RawEvent(ONE, 2, 1, 0, BASE + (9 << 16), BASE, None, expand, None))
    with pytest.raises(MemoryError):
        buffer.drain(9)
    assert (buffer.buffer_stats().pending, buffer.buffer_stats().in_flight) == (3, 0)
    fails.clear()
    assert numbers_in(buffer.drain(9).data) == [0, 1, 2]


# PROTOCOL 3.5.5
def test_a_buffer_has_one_consumer() -> None:
    buffer = TraceRingBuffer(16)
    buffer.claim("one")
    buffer.claim("one")
    with pytest.raises(InvalidState) as caught:
        buffer.claim("another")
    assert caught.value.code == "buffer_consumed"


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 9)),
        st.tuples(st.just("drain"), st.integers(1, 12)),
        st.tuples(st.just("ack"), st.integers(0, 1)),
        st.tuples(st.just("redeliver"), st.just(0)),
    ),
    max_size=60,
)


def try_to_push(buffer: TraceRingBuffer, raw: RawEvent) -> int:
    """Return how many events went in: all or none."""
    try:
        buffer.push(raw)
    except BufferFull:
        return 0
    return raw.count


@given(ACTIONS)
def test_every_event_leaves_once_in_order_and_the_counts_add_up(actions: list[tuple[str, int]]) -> None:
    buffer = TraceRingBuffer(24)
    pushed, refused = 0, 0
    out: dict[int, list[int]] = {}
    in_flight: list[int] = []

    def push(count: int) -> None:
        nonlocal pushed, refused
        taken = try_to_push(buffer, record(count, pushed))
        pushed += taken
        refused += count - taken

    def drain(count: int) -> None:
        batch = buffer.drain(count)
        assert batch.count <= count
        out[batch.batch_id] = numbers_in(batch.data)
        in_flight.extend([batch.batch_id] if batch.count else [])

    def ack(index: int) -> None:
        assert all(buffer.ack(name) for name in in_flight[index : index + 1])
        del in_flight[index : index + 1]

    def redeliver(_: int) -> None:
        assert {batch.batch_id: numbers_in(batch.data) for batch in buffer.redeliver()} == {
            name: out[name] for name in in_flight
        }

    steps: dict[str, Callable[[int], None]] = {
        "push": push,
        "drain": drain,
        "ack": ack,
        "redeliver": redeliver,
    }
    for name, argument in actions:
        steps[name](argument)
        stats = buffer.buffer_stats()
        assert stats.pending + stats.in_flight + stats.acknowledged == stats.pushed == pushed
        assert stats.pending + stats.in_flight <= stats.capacity
        assert stats.refused == refused
        assert stats.batches_in_flight == len(in_flight) <= 2
    while buffer.buffer_stats().acknowledged < pushed:
        drain(7)
        ack(0)
    assert [number for name in sorted(out) for number in out[name]] == list(range(pushed))
