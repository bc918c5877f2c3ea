"""The hash chain: the protocol's vector, and what the one writer of a storage does with lines."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import BackendFailure, InvalidState, MemoryStorage, RawEvent, TraceEvent
from cra_wasm.model.ids import uuid_text
from cra_wasm.storage.null import NullStorage
from cra_wasm.trace.buffer import Batch, TraceRingBuffer
from cra_wasm.trace.canonical import canonical_json
from cra_wasm.trace.chain import event_preimage
from cra_wasm.trace.chain_writer import ChainWriter
from cra_wasm.trace.raw import as_given
from cra_wasm.trace.verify import verify_lines

SESSION = "01940d23-3a00-7000-8000-000000010001"
OTHER = "01940d23-3a00-7000-8000-000000990001"
BASE = 0x01940D233A0070008000000000010000
VECTOR: dict[str, Any] = {
    "event_id": "01234567-89ab-cdef-0123-456789abcdef",
    "trace_id": "11111111-1111-1111-1111-111111111111",
    "span_id": "22222222-2222-2222-2222-222222222222",
    "parent_span_id": None,
    "session_id": "33333333-3333-3333-3333-333333333333",
    "sequence": 0,
    "timestamp": "2024-12-28T12:00:00.000000Z",
    "event_type": "session.started",
    "payload_json": '{"agent_id":"test-agent","goal":"Test session"}',
    "previous_event_hash": "0" * 64,
}


def record(first: int, *payloads: dict[str, Any], session_id: str = SESSION, block: int = 0) -> RawEvent:
    texts = [("app.step", canonical_json(payload)) for payload in payloads]
    base = BASE + (block << 16)
    return RawEvent(
        session_id, first, len(texts), 1_735_387_200_000_000_000, base, base, None, as_given, texts
    )


def lines_of(events: Iterable[TraceEvent]) -> list[str]:
    return [event.to_json() for event in events]


class BrokenStorage(MemoryStorage):
    """Fails as often as it is told to, before it stores anything."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        super().store_events(events)


def hash_of(fields: dict[str, Any]) -> str:
    return hashlib.sha256(event_preimage(**fields)).hexdigest()


def test_the_reference_vector_of_the_protocol() -> None:
    assert hash_of(VECTOR) == "f5b4945b0bb5f9adc249a7062a5bf1bbcf6f095edbd8fb1503bbc2d5a05d19c5"


@pytest.mark.parametrize("field", VECTOR)
def test_each_field_is_part_of_the_hash(field: str) -> None:
    value = VECTOR[field]
    other = 1 if field == "sequence" else VECTOR["span_id"] if value is None else value[:-1] + "e"
    assert other != value
    assert hash_of({**VECTOR, field: other}) != hash_of(VECTOR)


def test_an_event_is_hashed_as_the_protocol_says_and_linked_to_the_one_before() -> None:
    storage = MemoryStorage()
    writer = ChainWriter(storage)
    writer.write_lines(SESSION, "sha256", record(0, {"b": 1, "a": "é"}, {}).lines())
    writer.write_lines(SESSION, "sha256", record(2, {"x": None}, block=1).lines())
    previous = "0" * 64
    for number, event in enumerate(storage.get_events(SESSION)):
        fields = event.to_dict()
        text = "".join(
            [
                fields["trace_version"],
                fields["event_id"],
                fields["trace_id"],
                fields["span_id"],
                fields["parent_span_id"] or "",
                fields["session_id"],
                str(number),
                fields["timestamp"],
                fields["event_type"],
                rfc8785.dumps(fields["payload"]).decode(),
                previous,
            ]
        )
        assert fields["previous_event_hash"] == previous
        assert fields["event_hash"] == hashlib.sha256(text.encode()).hexdigest()
        previous = fields["event_hash"]
    assert verify_lines(storage.iter_lines(SESSION)).events == 3


@given(st.dictionaries(st.text(), st.text(max_size=9) | st.integers(0, 9)))
def test_a_stored_line_is_the_canonical_text_of_its_event_and_reads_back(payload: dict[str, Any]) -> None:
    storage = MemoryStorage()
    ChainWriter(storage).write_lines(SESSION, "sha256", record(0, payload, payload).lines())
    for event in storage.get_events(SESSION):
        assert event.to_json().encode() == rfc8785.dumps(json.loads(event.to_json()))
        assert TraceEvent.from_line(event.to_json()) == event
        assert event.payload == payload


# PROTOCOL 3.5.7
def test_a_number_that_leaves_a_gap_is_refused_and_nothing_is_stored() -> None:
    storage = MemoryStorage()
    writer = ChainWriter(storage)
    with pytest.raises(InvalidState) as caught:
        writer.write_lines(SESSION, "sha256", record(1, {}).lines())
    assert caught.value.code == "sequence_gap"
    assert storage.count() == 0
    writer.write_lines(SESSION, "sha256", record(0, {}).lines())
    assert storage.count() == 1


# PROTOCOL 3.5.6
@pytest.mark.parametrize("known", [True, False], ids=["same writer", "new writer"])
def test_lines_that_are_stored_already_are_skipped(known: bool) -> None:
    storage = MemoryStorage()
    writer = ChainWriter(storage)
    whole = record(0, {"n": 0}, {"n": 1}, {"n": 2}).lines()
    writer.write_lines(SESSION, "sha256", whole[:2])
    before = lines_of(storage.get_events())
    again = writer if known else ChainWriter(storage)
    again.write_lines(SESSION, "sha256", whole)
    assert lines_of(storage.get_events())[:2] == before
    assert [event.payload["n"] for event in storage.get_events()] == [0, 1, 2]
    assert verify_lines(storage.iter_lines(SESSION)).valid


# PROTOCOL 3.5.7
@pytest.mark.parametrize("other", ["id", "payload"])
def test_another_event_at_a_stored_number_is_a_fork(other: str) -> None:
    storage = MemoryStorage()
    writer = ChainWriter(storage)
    writer.write_lines(SESSION, "sha256", record(0, {"n": 0}, {"n": 1}).lines())
    before = lines_of(storage.get_events())
    forged = record(0, {"n": 0}, {"n": 1}, {"n": 2}, block=7) if other == "id" else record(0, {"n": 9})
    with pytest.raises(InvalidState) as caught:
        ChainWriter(storage).write_lines(SESSION, "sha256", forged.lines())
    assert caught.value.code == "session_forked"
    assert lines_of(storage.get_events()) == before


# PROTOCOL 3.5.7
def test_what_comes_again_after_the_storage_has_lost_it_is_a_fork() -> None:
    storage = MemoryStorage()
    writer = ChainWriter(storage)
    lines = record(0, {"n": 0}, {"n": 1}).lines()
    writer.write_lines(SESSION, "sha256", lines)
    storage.delete_session(SESSION)
    with pytest.raises(InvalidState) as caught:
        writer.write_lines(SESSION, "sha256", lines)
    assert caught.value.code == "session_forked"
    assert storage.count() == 0


def test_lines_that_come_again_are_compared_with_their_own_session_s() -> None:
    storage = MemoryStorage()
    writer = ChainWriter(storage)
    lines = record(0, {"n": 0}, {"n": 1}).lines()
    writer.write_lines(OTHER, "sha256", record(0, {"n": 8}, {"n": 9}, session_id=OTHER, block=7).lines())
    writer.write_lines(SESSION, "sha256", lines)
    writer.write_lines(SESSION, "sha256", lines)
    assert (storage.count(OTHER), storage.count(SESSION)) == (2, 2)


def batch_of(*records: RawEvent) -> Batch:
    buffer = TraceRingBuffer(16)
    for each in records:
        buffer.push(each)
    return buffer.drain(16)


# PROTOCOL 3.5.7
def test_all_lines_of_stopped_sessions_are_counted_batch_after_batch() -> None:
    writer = ChainWriter(MemoryStorage())
    writer.write_batch(batch_of(record(1, {}), record(0, {}, session_id=OTHER, block=1)))
    assert writer.events_quarantined == 1
    # One session is stopped already, and the other one leaves a gap now.
    writer.write_batch(batch_of(record(2, {}, {}), record(5, {}, {}, {}, session_id=OTHER, block=2)))
    assert writer.events_quarantined == 6
    assert [error.details["session_id"] for error in writer.untold] == [SESSION, OTHER]


def test_a_writer_keeps_nothing_of_sessions_that_have_ended() -> None:
    def write(first: int, last: int) -> None:
        for number in range(first, last):
            session = uuid_text(BASE + number)
            (line,) = record(0, {}, session_id=session).lines()
            writer.write_lines(session, "sha256", [line.replace("app.step", "session.ended")])

    writer = ChainWriter(NullStorage())
    write(0, 10)
    tracemalloc.start()
    try:
        write(10, 500)
        kept_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept_bytes < 20_000


# PROTOCOL 3.5.6
def test_a_batch_is_stored_whole_or_not_at_all() -> None:
    storage = BrokenStorage(BackendFailure("storage_failed", "disk full"))
    buffer = TraceRingBuffer(16)
    buffer.push(record(0, {"n": 0}))
    buffer.push(record(0, {"n": 0}, session_id=OTHER, block=1))
    batch = buffer.drain(16)
    writer = ChainWriter(storage)
    with pytest.raises(BackendFailure):
        writer.write_batch(batch)
    assert storage.count() == 0
    writer.write_batch(batch)
    assert (storage.count(SESSION), storage.count(OTHER)) == (1, 1)
    assert all(event.previous_event_hash == "0" * 64 for event in storage.get_events())


def test_an_error_of_a_foreign_storage_becomes_a_backend_failure() -> None:
    writer = ChainWriter(BrokenStorage(OSError("no space left")))
    with pytest.raises(BackendFailure) as caught:
        writer.write_lines(SESSION, "sha256", record(0, {}).lines())
    assert caught.value.code == "storage_failed"
    assert isinstance(caught.value.__cause__, OSError)


def test_a_storage_that_keeps_nothing_still_gets_a_chain() -> None:
    class Keeping(NullStorage):
        seen: list[TraceEvent]

        def store_events(self, events: Sequence[TraceEvent]) -> None:
            self.seen = [*getattr(self, "seen", []), *events]

    storage = Keeping()
    writer = ChainWriter(storage)
    for number in range(3):
        writer.write_lines(SESSION, "sha256", record(number, {"n": number}, block=number).lines())
    assert verify_lines(f"{event.to_json()}\n".encode() for event in storage.seen).events == 3


def test_a_payload_cannot_break_out_of_its_line() -> None:
    storage = MemoryStorage()
    evil = {"a": "\x1f\n\r\u2028\x7f", 'x","previous_event_hash":"': '"payload":{'}
    ChainWriter(storage).write_lines(SESSION, "sha256", record(0, evil, evil).lines())
    assert [event.payload for event in storage.get_events()] == [evil, evil]
    assert verify_lines(storage.iter_lines(SESSION)).events == 2
    assert TraceEvent.from_line(storage.get_events()[0].to_json()) == storage.get_events()[0]


def test_a_changed_event_does_not_verify() -> None:
    storage = MemoryStorage()
    ChainWriter(storage).write_lines(SESSION, "sha256", record(0, {"n": 0}, {"n": 1}).lines())
    first, second = storage.get_events()
    changed = second._replace(payload_json='{"n":2}')
    result = verify_lines(f"{event.to_json()}\n".encode() for event in (first, changed))
    assert (result.error, result.error_at) == ("hash_mismatch", 1)
