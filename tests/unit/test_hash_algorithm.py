"""A session's chain has one hash from its first event on: its own, or the resolver's (PROTOCOL 3.8)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cra_wasm import (
    BackendFailure,
    BufferFull,
    CRAError,
    InvalidInput,
    InvalidState,
    JsonlStorage,
    MemoryStorage,
    Resolver,
    SqliteStorage,
    hashing,
)
from cra_wasm.model.event import TraceEvent
from cra_wasm.trace.buffer import TraceRingBuffer
from cra_wasm.trace.chain import named_algorithm
from cra_wasm.trace.chain_writer import ChainWriter
from cra_wasm.trace.processor import TraceProcessor
from cra_wasm.trace.raw import RawEvent, as_given
from cra_wasm.trace.verify import verify_file, verify_lines

from .chaining import chain, line_of, sealed, started

FIRST = "01940d23-3a00-7000-8000-000000010001"
SECOND = "01940d23-3a00-7000-8000-000000020001"
BASE = 0x01940D233A0070008000000000010000
NAMED = '{"agent_id":"a","goal":"g","hash_algorithm":"%s"}'
ATLAS: dict[str, Any] = {
    "atlas_version": "1.0",
    "atlas_id": "com.example.shop",
    "version": "1.0.0",
    "name": "Shop",
    "description": "",
    "actions": [{"action_id": "item.read", "name": "Read", "description": ""}],
    "policies": [{"policy_id": "allow", "type": "allow"}],
}


def record(
    first: int,
    count: int = 1,
    algorithm: str = "blake3",
    *,
    session_id: str = FIRST,
    named: str | None = None,
) -> RawEvent:
    """Events of a session; number 0 is session.started, which names `named`, by default its algorithm."""
    begin = NAMED % (named or algorithm) if (named or algorithm) != "sha256" else "{}"
    texts = [
        ("session.started", begin) if number == 0 else ("app.step", f'{{"n":{number}}}')
        for number in range(first, first + count)
    ]
    base = BASE + (first << 16)
    return RawEvent(session_id, first, count, 10**18, base, base, None, as_given, texts, algorithm=algorithm)


def verified(storage: Any, session_id: str = FIRST) -> tuple[bool, int, str | None]:
    result = verify_lines(storage.iter_lines(session_id))
    return result.valid, result.events, result.algorithm


@pytest.fixture(params=["memory", "jsonl", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: Any = {
        "memory": MemoryStorage,
        "jsonl": lambda: JsonlStorage(tmp_path / "traces"),
        "sqlite": lambda: SqliteStorage(tmp_path / "traces.db"),
    }[request.param]()
    yield made
    made.close()


# Sessions of a resolver


@pytest.mark.parametrize("asked", [None, "sha256"])
def test_a_session_with_sha256_names_no_hash_so_that_it_is_plain_trace_1_0(asked: str | None) -> None:
    resolver = Resolver()
    session = resolver.create_session("a", "g", hash_algorithm=asked)
    assert "hash_algorithm" not in resolver.get_trace(session)[0].payload
    assert resolver.verify_chain(session).algorithm == "sha256"


def test_a_session_with_blake3_names_it_in_its_first_event() -> None:
    resolver = Resolver()
    session = resolver.create_session("a", "g", hash_algorithm="blake3")
    resolver.end_session(session)
    first, last = resolver.get_trace(session)
    assert first.payload["hash_algorithm"] == "blake3"
    assert "hash_algorithm" not in last.payload
    result = resolver.verify_chain(session)
    assert (result.valid, result.algorithm, result.warnings) == (True, "blake3", ())


def test_the_resolver_s_hash_is_that_of_sessions_without_a_wish_and_of_its_own() -> None:
    resolver = Resolver(hash_algorithm="blake3")
    plain = resolver.create_session("a", "g")
    other = resolver.create_session("a", "g", hash_algorithm="sha256")
    with pytest.raises(CRAError):
        resolver.end_session(plain, "no such reason")
    with pytest.raises(InvalidInput):
        resolver.create_session("", "g")
    (runtime,) = set(resolver._storage.sessions()) - {plain, other}  # type: ignore[union-attr]
    told = [resolver.verify_chain(one).algorithm for one in (plain, other, runtime)]
    assert told == ["blake3", "sha256", "blake3"]


@pytest.mark.parametrize("name", ["md5", "", "BLAKE3", 7])
def test_an_unknown_hash_starts_no_session_and_no_resolver(name: Any) -> None:
    resolver = Resolver()
    with pytest.raises(InvalidInput) as caught:
        resolver.create_session("a", "g", hash_algorithm=name)
    assert (caught.value.code, caught.value.details["pointer"]) == ("unknown_algorithm", "/hash_algorithm")
    assert resolver.statistics().sessions_active == 0
    with pytest.raises(InvalidInput) as caught:
        Resolver(hash_algorithm=name)
    assert caught.value.code == "unknown_algorithm"


# PROTOCOL 3.8.3, 3.8.6
def test_a_missing_blake3_starts_no_session_and_never_gives_another_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = [line_of(event) for event in chain(2, algorithm="blake3")]
    monkeypatch.delitem(hashing._constructors, "blake3", raising=False)
    monkeypatch.setitem(sys.modules, "blake3", None)
    resolver = Resolver()
    for call in (
        lambda: resolver.create_session("a", "g", hash_algorithm="blake3"),
        lambda: Resolver(hash_algorithm="blake3"),
        lambda: verify_lines(data),
    ):
        with pytest.raises(BackendFailure) as caught:
            call()
        assert caught.value.code == "hash_unavailable"
    assert resolver.statistics().sessions_active == 0
    assert resolver._storage.count() == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("name", hashing.ALGORITHMS)
def test_parameters_and_results_are_hashed_as_their_session_is(name: str) -> None:
    resolver = Resolver()
    resolver.load_atlas(ATLAS)
    resolver.register_executor("item.read", lambda parameters: {"é": 1})
    session = resolver.create_session("a", "g", hash_algorithm=name)
    resolution = resolver.resolve(session, "read")
    resolver.execute(session, resolution.resolution_id, "item.read", {"b": 1, "a": 2})
    payloads = {event.event_type: event.payload for event in resolver.get_trace(session)}
    told = (payloads["action.requested"]["parameters_hash"], payloads["action.executed"]["result_hash"])
    texts = ('{"a":2,"b":1}', '{"é":1}')
    assert told == tuple(hashing.new(name, text.encode()).hexdigest() for text in texts)
    assert resolver.verify_chain(session).valid


def test_sessions_of_both_hashes_share_a_batch_and_each_keeps_its_own() -> None:
    resolver = Resolver(tracing="deferred")
    named = [
        resolver.create_session("a", "g", hash_algorithm=name) for name in ("blake3", "sha256", "blake3")
    ]
    for session in named * 2:
        resolver.emit(session, "app.note", {"of": session})
    batch = resolver.drain_traces(100)
    assert [group.to_dict()["algorithm"] for group in batch.groups] == ["blake3", "sha256", "blake3"]
    storage = MemoryStorage()
    ChainWriter(storage).write_batch(batch)
    told = [verified(storage, session) for session in named]
    assert told == [(True, 3, "blake3"), (True, 3, "sha256"), (True, 3, "blake3")]


def test_a_session_that_has_no_room_leaves_nothing_behind() -> None:
    resolver = Resolver(tracing="deferred", capacity=16)
    session = resolver.create_session("a", "g", hash_algorithm="blake3")
    for _ in range(15):
        resolver.emit(session, "app.note", {})
    with pytest.raises(BufferFull):
        resolver.create_session("a", "g", hash_algorithm="blake3")
    assert resolver.statistics().sessions_active == 1


def test_the_gap_that_a_full_buffer_leaves_is_hashed_as_its_session_is() -> None:
    resolver = Resolver(tracing="deferred", capacity=16, on_full="drop")
    session = resolver.create_session("a", "g", hash_algorithm="blake3")
    storage = MemoryStorage()
    writer = ChainWriter(storage)
    for _ in range(3):
        for _ in range(30):
            resolver.emit(session, "app.note", {})
        while (batch := resolver.drain_traces(4)).count:
            writer.write_batch(batch)
            resolver.ack(batch.batch_id)
    resolver.end_session(session)
    writer.write_batch(resolver.drain_traces(16))
    assert "trace.gap" in {event.event_type for event in storage.get_events(session)}
    result = verify_lines(storage.iter_lines(session))
    assert (result.valid, result.algorithm, result.warnings) == (True, "blake3", ())


# The writer and its storages


# PROTOCOL 3.8.5
@pytest.mark.parametrize("name", hashing.ALGORITHMS)
def test_a_new_writer_goes_on_with_the_hash_that_the_stored_session_began_with(
    storage: Any, name: str
) -> None:
    ChainWriter(storage).write_lines(FIRST, name, record(0, 2, name).lines())
    ChainWriter(storage).write_lines(FIRST, name, record(2, 3, name).lines())
    assert verified(storage) == (True, 5, name)


def test_a_batch_that_comes_again_after_a_restart_is_skipped_under_blake3_too(storage: Any) -> None:
    lines = [*record(0).lines(), *record(1, 3).lines()]
    ChainWriter(storage).write_lines(FIRST, "blake3", lines)
    ChainWriter(storage).write_lines(FIRST, "blake3", [*lines, *record(4).lines()])
    assert verified(storage) == (True, 5, "blake3")


@pytest.mark.parametrize(("began", "then"), [("blake3", "sha256"), ("sha256", "blake3")])
@pytest.mark.parametrize("restart", [False, True])
def test_a_running_session_cannot_change_its_hash(storage: Any, began: str, then: str, restart: bool) -> None:
    writer = ChainWriter(storage)
    writer.write_lines(FIRST, began, record(0, 2, began).lines())
    if restart:
        writer = ChainWriter(storage)
    with pytest.raises(InvalidState) as caught:
        writer.write_lines(FIRST, then, record(2, 1, then).lines())
    assert caught.value.code == "algorithm_changed"
    assert verified(storage) == (True, 2, began)
    writer.write_lines(FIRST, began, record(2, 1, began).lines())
    assert verified(storage) == (True, 3, began)


@pytest.mark.parametrize(("group", "named"), [("blake3", "sha256"), ("sha256", "blake3"), ("sha256", "md5")])
def test_a_first_event_that_names_another_hash_than_its_batch_is_not_stored(group: str, named: str) -> None:
    storage = MemoryStorage()
    with pytest.raises(InvalidState) as caught:
        ChainWriter(storage).write_lines(FIRST, group, record(0, 1, group, named=named).lines())
    assert caught.value.code == "algorithm_changed"
    assert storage.count() == 0


@pytest.mark.parametrize("name", hashing.ALGORITHMS)
def test_events_whose_beginning_is_missing_are_a_gap_under_any_hash(name: str) -> None:
    storage = MemoryStorage()
    with pytest.raises(InvalidState) as caught:
        ChainWriter(storage).write_lines(FIRST, name, record(2, 1, name).lines())
    assert caught.value.code == "sequence_gap"
    assert storage.count() == 0


# PROTOCOL 3.8.5
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (record(0, 2, "sha256", named="blake3"), "algorithm_changed"),
        (record(0, 2, "md5"), "unknown_algorithm"),
    ],
    ids=["changed", "unknown"],
)
def test_a_session_with_a_wrong_hash_is_stopped_alone_and_told_once(bad: RawEvent, code: str) -> None:
    storage = MemoryStorage()
    buffer = TraceRingBuffer(64)
    processor = TraceProcessor(buffer, storage)
    buffer.push(bad)
    buffer.push(record(0, 2, session_id=SECOND))
    with pytest.raises(CRAError) as caught:
        processor.flush()
    assert (caught.value.code, caught.value.details["sessions"]) == (code, [FIRST])
    assert storage.count(FIRST) == 0
    assert verified(storage, SECOND) == (True, 2, "blake3")
    assert processor.statistics().events_quarantined == 2
    assert buffer.buffer_stats().in_flight == 0
    assert processor.flush() == 0


def test_a_session_whose_stored_beginning_was_damaged_is_stopped_alone(tmp_path: Path) -> None:
    storage = JsonlStorage(tmp_path)
    ChainWriter(storage).write_lines(FIRST, "blake3", record(0, 2).lines())
    path = tmp_path / f"{FIRST}.trace.jsonl"
    path.write_bytes(path.read_bytes()[1:])
    buffer = TraceRingBuffer(64)
    buffer.push(record(2, 1))
    buffer.push(record(0, 2, session_id=SECOND))
    with pytest.raises(InvalidState) as caught:
        TraceProcessor(buffer, storage).flush()
    assert (caught.value.code, caught.value.details["sessions"]) == ("algorithm_changed", [FIRST])
    assert verified(storage, SECOND) == (True, 2, "blake3")
    assert verify_lines(storage.iter_lines(FIRST)).error_at == 0
    storage.close()


def test_a_batch_waits_in_the_buffer_while_its_hash_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    buffer = TraceRingBuffer(64)
    processor = TraceProcessor(buffer, storage)
    buffer.push(record(0, 2))
    with monkeypatch.context() as patch:
        patch.delitem(hashing._constructors, "blake3", raising=False)
        patch.setitem(sys.modules, "blake3", None)
        with pytest.raises(BackendFailure) as caught:
            processor.flush()
        assert caught.value.code == "hash_unavailable"
        assert storage.count() == 0
    assert processor.flush() == 2
    assert verified(storage) == (True, 2, "blake3")


# Verification


def test_a_downgrade_is_found_whatever_becomes_of_the_name(tmp_path: Path) -> None:
    """As the shared vectors, on a trace of this runtime and through a file."""
    storage = JsonlStorage(tmp_path)
    resolver = Resolver(storage=storage)
    session = resolver.create_session("a", "g", hash_algorithm="blake3")
    resolver.end_session(session)
    storage.close()
    path = tmp_path / f"{session}.trace.jsonl"
    whole = path.read_bytes()
    assert verify_file(path).algorithm == "blake3"
    member = b'"hash_algorithm":"blake3"'
    assert member in whole
    for other in (b'"hash_algorithm":"sha256"', b'"hash_algoritha":"blake3"'):
        path.write_bytes(whole.replace(member, other))
        result = verify_file(path)
        assert (result.error, result.error_at) == ("hash_mismatch", 0)
    path.write_bytes(whole.replace(b"," + member, b""))
    result = verify_file(path)
    assert (result.error, result.error_at, result.algorithm) == ("hash_mismatch", 0, "sha256")


@pytest.mark.parametrize("name", ["md5", "x" * 500, "\x1b[31m", None, {"a": "blake3"}])
def test_a_first_event_with_an_unknown_hash_is_a_bad_field_with_a_message(name: Any) -> None:
    result = verify_lines([line_of(sealed(started(name)))])
    assert (result.valid, result.error, result.error_at, result.algorithm) == (False, "bad_field", 0, None)
    assert result.message is not None
    assert len(result.message) < 150


def test_the_name_counts_before_the_number_and_the_hash_behind_the_form() -> None:
    event = sealed(started("md5", sequence=7))
    assert verify_lines([line_of(event)]).error == "bad_field"
    event = sealed(started("blake3", sequence=7), "blake3")
    assert verify_lines([line_of(event)]).error == "bad_genesis"


def test_a_missing_blake3_does_not_hide_that_a_first_line_is_no_genesis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event: TraceEvent = sealed(started("blake3", sequence=7), "blake3")
    monkeypatch.delitem(hashing._constructors, "blake3", raising=False)
    monkeypatch.setitem(sys.modules, "blake3", None)
    assert verify_lines([line_of(event)]).error == "bad_genesis"


@pytest.mark.parametrize(
    ("event_type", "payload_json", "name"),
    [
        ("session.started", '{"hash_algorithm":"blake3"}', "blake3"),
        ("session.started", '{"hash_algorithm":"md5"}', "md5"),
        ("session.started", '{"hash_algorithm":["sha256"]}', '["sha256"]'),
        ("session.started", '{"hash_algorithm":null}', "null"),
        ("session.started", "{}", "sha256"),
        ("session.started", '{"goal":{"hash_algorithm":"blake3"}}', "sha256"),
        ("app.step", '{"hash_algorithm":"blake3"}', "sha256"),
    ],
)
def test_only_a_started_session_names_its_hash_and_what_is_no_text_names_none(
    event_type: str, payload_json: str, name: str
) -> None:
    assert named_algorithm(event_type, payload_json) == name
