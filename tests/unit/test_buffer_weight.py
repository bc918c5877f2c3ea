"""What a record weighs, and that a buffer is full long before the memory is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import BufferFull, RawEvent, TraceRingBuffer
from cra_wasm.trace.buffer import BATCH_CHARS, DEFAULT_CAPACITY, WAKE_WEIGHT
from cra_wasm.trace.raw import LIGHT_CHARS, as_given, own_text_weight, text_weight

BASE = 0x01940D233A0070008000000000010000
SESSION = "01940d23-3a00-7000-8000-000000010001"
MEGABYTE = 1_000_000


def record(number: int, *payloads: str) -> RawEvent:
    texts = [("app.step", payload) for payload in payloads]
    base = BASE + (number << 16)
    return RawEvent(SESSION, number, len(texts), 0, base, base, None, as_given, texts, own_text_weight(texts))


def fill(buffer: TraceRingBuffer, payload: Callable[[], str]) -> int:
    """Push events until one is refused and return how many went in."""
    number = 0
    with pytest.raises(BufferFull):
        while True:
            buffer.push(record(number, payload()))
            number += 1
    return number


# PROTOCOL 3.7.1
@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("", 0),
        ("a" * 1023, 0),
        ("a" * 1024, 1),
        ("a" * 1_000_000, 976),
        ("é" * 255, 0),
        ("é" * 256, 1),
        ("a" * 255 + "😀", 1),
        ("😀" * 1_000_000, 3906),
    ],
)
def test_text_weighs_one_for_each_whole_kibibyte(text: str, weight: int) -> None:
    assert text_weight(text) == weight
    assert record(0, text).weight == 1 + weight


@given(st.lists(st.text(max_size=3000), min_size=1, max_size=4))
def test_text_takes_less_memory_than_its_weight(payloads: list[str]) -> None:
    weight = record(0, *payloads).weight
    assert sum(len(payload.encode("utf-8", "surrogatepass")) for payload in payloads) < weight * 1024
    assert sum(len(payload.encode("utf-32-le", "surrogatepass")) for payload in payloads) < weight * 4096


@given(st.text(max_size=LIGHT_CHARS - 1))
def test_light_text_weighs_nothing_in_any_script(text: str) -> None:
    assert text_weight(text) == 0


# PROTOCOL 3.7.1
def test_a_resolve_weighs_its_events_and_what_its_goal_and_request_are_long(
    new_rig: Callable[..., Any],
) -> None:
    rig = new_rig(tracing="deferred")

    def added(goal: str, **options: Any) -> int:
        before = rig.resolver.buffer_stats()
        rig.resolve(goal, **options)
        after = rig.resolver.buffer_stats()
        return (after.pending_weight - before.pending_weight) - (after.pending - before.pending)

    assert added("look around") == 0
    assert added("x" * 1100) == 1
    assert added("x" * 10_000) == 9
    assert added("é" * 10_000) == 39
    assert added("look around", context={"page": "x" * 100_000}) == 97


def test_a_goal_weighs_in_the_start_of_a_session_and_in_an_execute(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred")
    rig.resolver.register_executor("item.list", lambda parameters: "ran")
    before = rig.resolver.buffer_stats()
    session_id = rig.resolver.create_session("agent-1", "x" * 10_000)
    started = rig.resolver.buffer_stats()
    assert (started.pending - before.pending, started.pending_weight - before.pending_weight) == (1, 10)
    resolution = rig.resolver.resolve(session_id, "short")
    before = rig.resolver.buffer_stats()
    assert rig.resolver.execute(session_id, resolution.resolution_id, "item.list", {}).result == "ran"
    after = rig.resolver.buffer_stats()
    assert (after.pending - before.pending, after.pending_weight - before.pending_weight) == (4, 13)


# PROTOCOL 0.3.14
@pytest.mark.parametrize(
    ("text", "most_events"),
    [
        ("a" * 1023, DEFAULT_CAPACITY),
        ("😀" * 255, DEFAULT_CAPACITY),
        ("a" * MEGABYTE, 67),
        ("a" * (MEGABYTE - 1) + "😀", 16),
        ("😀" * MEGABYTE, 16),
    ],
    ids=["light", "light emoji", "1 MB", "1 MB and one emoji", "4 MB"],
)
def test_the_default_buffer_is_full_long_before_the_memory_is(text: str, most_events: int) -> None:
    buffer = TraceRingBuffer()
    tracemalloc.start()
    try:
        # Each payload is a copy of its own, as each emit makes one.
        events = fill(buffer, lambda: "".join((text[:1], text[1:])))
        stats = buffer.buffer_stats()
        assert events == most_events
        assert stats.capacity - stats.pending_weight < text_weight(text) + 1
        held, _ = tracemalloc.get_traced_memory()
        assert held < 110 * MEGABYTE
        while buffer.drain(DEFAULT_CAPACITY).count:
            pass
        _, most_held = tracemalloc.get_traced_memory()
        assert most_held < 160 * MEGABYTE
    finally:
        tracemalloc.stop()


# PROTOCOL 3.7.2
def test_weight_moves_from_pending_to_in_flight_and_is_free_once_acknowledged() -> None:
    buffer = TraceRingBuffer(32)
    buffer.push(record(0, "a" * 9 * 1024, "{}", "{}"))
    buffer.push(record(3, "a" * 4 * 1024))
    first = buffer.drain(2)
    stats = buffer.buffer_stats()
    assert first.weight == 11
    assert (stats.pending, stats.pending_weight, stats.in_flight, stats.in_flight_weight) == (2, 6, 2, 11)
    assert buffer.buffer_pressure() == 17 / 32
    with pytest.raises(BufferFull):
        buffer.push(record(4, "a" * 15 * 1024))
    assert buffer.ack(first.batch_id)
    assert buffer.buffer_stats().in_flight_weight == 0
    buffer.push(record(4, "a" * 15 * 1024))
    second = buffer.drain(9)
    assert (second.count, second.weight) == (3, 22)
    assert buffer.ack(second.batch_id)
    stats = buffer.buffer_stats()
    assert (stats.pending_weight, stats.in_flight_weight, stats.acknowledged) == (0, 0, 5)


# PROTOCOL 3.7.3
def test_a_batch_ends_where_its_text_is_long_but_never_before_its_first_record() -> None:
    buffer = TraceRingBuffer()
    for number in range(6):
        buffer.push(record(number, "a" * MEGABYTE))
    batch = buffer.drain(100)
    assert batch.count == 5
    assert BATCH_CHARS < len(batch.data) < BATCH_CHARS + 2 * MEGABYTE
    huge = TraceRingBuffer()
    huge.push(record(0, "a" * 2 * BATCH_CHARS))
    assert huge.drain(100).count == 1


# PROTOCOL 3.7.4
@pytest.mark.parametrize("payload", ["{}", "a" * 1024 * 10])
def test_the_consumer_is_woken_once_per_drain_when_much_is_pending_in_events_or_in_text(
    payload: str,
) -> None:
    woken: list[int] = []
    buffer = TraceRingBuffer()
    buffer.claim("test", lambda: woken.append(buffer.buffer_stats().pending_weight))
    number = 0

    def push_until(weight: int) -> None:
        nonlocal number
        while buffer.buffer_stats().pending_weight < weight:
            buffer.push(record(number, payload))
            number += 1

    push_until(WAKE_WEIGHT - 11)
    assert woken == []
    push_until(3 * WAKE_WEIGHT)
    assert len(woken) == 1
    assert WAKE_WEIGHT <= woken[0] < WAKE_WEIGHT + 11
    buffer.claim("test")
    buffer.drain(1)
    push_until(4 * WAKE_WEIGHT)
    assert len(woken) == 2


# PROTOCOL 3.7.4
def test_a_small_buffer_wakes_its_consumer_when_it_is_half_full() -> None:
    woken: list[int] = []
    buffer = TraceRingBuffer(16)
    buffer.claim("test", lambda: woken.append(buffer.buffer_stats().pending))
    fill(buffer, lambda: "{}")
    assert woken == [8]


def test_a_consumer_that_raises_when_it_is_woken_refuses_no_record() -> None:
    def wake() -> None:
        raise RuntimeError("the consumer's own fault")

    buffer = TraceRingBuffer(16)
    buffer.claim("test", wake)
    assert fill(buffer, lambda: "{}") == 16
    assert buffer.drain(16).count == 16
