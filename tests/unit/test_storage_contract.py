"""What every storage keeps to (ports.StorageBackend), and what one that is missing says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cra_wasm.errors import BackendFailure, InvalidInput, InvalidState
from cra_wasm.model.event import GENESIS_HASH, TraceEvent
from cra_wasm.ports import StorageBackend
from cra_wasm.signing.storage import SigningStorage
from cra_wasm.storage.jsonl import JsonlStorage
from cra_wasm.storage.memory import MemoryStorage
from cra_wasm.storage.null import NullStorage
from cra_wasm.storage.sqlite import SqliteStorage
from cra_wasm.trace.verify import verify_lines

from .chaining import sealed

FIRST, SECOND, UNKNOWN = (f"01a20896-5fbb-702e-a97c-f91cc497001{digit}" for digit in "678")


def signing(inner: StorageBackend, folder: Path) -> StorageBackend:
    return SigningStorage(inner, folder, every=1)


OPENERS: dict[str, Callable[[Path], StorageBackend]] = {
    "memory": lambda folder: MemoryStorage(),
    "jsonl": lambda folder: JsonlStorage(folder / "traces"),
    "jsonl without fsync": lambda folder: JsonlStorage(folder / "traces", fsync=False),
    "sqlite": lambda folder: SqliteStorage(folder / "traces.sqlite"),
    "signed jsonl": lambda folder: signing(JsonlStorage(folder / "traces"), folder / "traces"),
    "signed sqlite": lambda folder: signing(SqliteStorage(folder / "traces.sqlite"), folder),
}
SIGNING = pytest.mark.cpython_only(reason="the site has no package `cryptography`")
STORAGES = [pytest.param(name, marks=SIGNING if "signed" in name else ()) for name in OPENERS]
DURABLE = [one for one in STORAGES if one.values != ("memory",)]


def event(session_id: str, sequence: int, previous: str, **changes: Any) -> TraceEvent:
    """An event whose time grows with its number and with its session."""
    fields: dict[str, Any] = {
        "event_id": f"01a20896-5fbd-76bb-a6ca-{sequence:012x}",
        "trace_id": "01a20896-5fbc-7478-b79b-59b548d527a4",
        "span_id": f"01a20896-5fbd-76bb-a6cb-{sequence:012x}",
        "parent_span_id": None,
        "session_id": session_id,
        "sequence": sequence,
        "timestamp": f"2026-11-23T13:26:42.{2 * sequence + (session_id != FIRST):06d}Z",
        "event_type": "policy.evaluated" if sequence else "session.started",
        "payload_json": '{"text":"caf\u00e9"}',
        "previous_event_hash": previous,
    }
    fields |= changes
    return sealed(fields)


def chain(session_id: str, length: int, **changes: Any) -> list[TraceEvent]:
    events: list[TraceEvent] = []
    previous = GENESIS_HASH
    for sequence in range(length):
        events.append(event(session_id, sequence, previous, **changes))
        previous = events[-1].event_hash
    return events


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageBackend]:
    with closing(OPENERS[request.param](tmp_path)) as opened:
        yield opened


BAD_IDS = ["", "../../etc/passwd", FIRST.upper(), FIRST + "\n", FIRST[:-1], f"{FIRST}/x"]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_a_session_id_that_is_no_uuid_is_refused(storage: StorageBackend, bad: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.store_events([event(bad, 0, GENESIS_HASH)]),
        lambda: storage.get_events(bad),
        lambda: storage.iter_lines(bad),
        lambda: storage.count(bad),
        lambda: storage.delete_session(bad),
    ]
    for call in calls:
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.code == "invalid_id"
        assert caught.value.details["pointer"] == "/session_id"
    assert storage.sessions() == []


def test_a_negative_last_is_refused(storage: StorageBackend) -> None:
    with pytest.raises(InvalidInput) as caught:
        storage.get_events(last=-1)
    assert caught.value.code == "invalid_last"


def test_another_event_at_a_stored_number_is_a_fork(storage: StorageBackend) -> None:
    events = chain(FIRST, 3)
    storage.store_events(events)
    other = event(FIRST, 1, events[0].event_hash, payload_json="{}")
    with pytest.raises(InvalidState) as caught:
        storage.store_events([other])
    assert caught.value.code == "session_forked"
    assert storage.get_events(FIRST) == events


def test_a_fork_within_one_call_is_refused(storage: StorageBackend) -> None:
    events = chain(FIRST, 2)
    other = event(FIRST, 1, events[0].event_hash, payload_json="{}")
    with pytest.raises(InvalidState) as caught:
        storage.store_events([*events, other])
    assert caught.value.code == "session_forked"
    assert storage.count() == 0


@pytest.mark.parametrize("sequence", [-1, 2, 7])
def test_a_number_that_is_not_the_next_is_a_gap(storage: StorageBackend, sequence: int) -> None:
    events = chain(FIRST, 1)
    storage.store_events(events)
    with pytest.raises(InvalidState) as caught:
        storage.store_events([event(FIRST, sequence, events[0].event_hash)])
    assert caught.value.code == "sequence_gap"
    assert storage.count() == 1


@pytest.mark.parametrize("bad", ["fork", "gap", "id"])
def test_a_refused_call_stores_nothing_of_any_session(storage: StorageBackend, bad: str) -> None:
    kept = chain(FIRST, 2)
    storage.store_events(kept)
    last = {
        "fork": event(FIRST, 0, GENESIS_HASH, payload_json="{}"),
        "gap": event(FIRST, 9, GENESIS_HASH),
        "id": event("x", 0, GENESIS_HASH),
    }[bad]
    with pytest.raises((InvalidState, InvalidInput)):
        storage.store_events([*chain(SECOND, 3), event(FIRST, 2, kept[1].event_hash), last])
    assert storage.get_events() == kept
    assert storage.sessions() == [FIRST]


def test_every_call_after_close_is_refused(storage: StorageBackend) -> None:
    storage.store_events(chain(FIRST, 1))
    storage.close()
    storage.close()
    calls: list[Callable[[], object]] = [
        lambda: storage.store_events([]),
        lambda: storage.get_events(),
        lambda: storage.iter_lines(FIRST),
        lambda: storage.sessions(),
        lambda: storage.count(),
        lambda: storage.delete_session(FIRST),
        lambda: storage.health_check(),
    ]
    for call in calls:
        with pytest.raises(InvalidState) as caught:
            call()
        assert caught.value.code == "storage_closed"


def test_events_come_back_as_they_were_stored(storage: StorageBackend) -> None:
    events = chain(FIRST, 3)
    storage.store_events(events[:1])
    storage.store_events(events[1:])
    assert storage.get_events() == storage.get_events(FIRST) == events


def test_storing_again_changes_nothing(storage: StorageBackend) -> None:
    events = chain(FIRST, 4)
    storage.store_events([*events[:2], events[0], events[1]])
    storage.store_events(events)
    storage.store_events(events[1:3])
    assert storage.get_events() == events


def test_events_of_several_sessions_come_in_the_order_of_their_arrival(storage: StorageBackend) -> None:
    first, second = chain(FIRST, 3), chain(SECOND, 3)
    arrival = [event for pair in zip(first, second, strict=True) for event in pair]
    for one in arrival:
        storage.store_events([one])
    assert storage.get_events() == arrival
    assert storage.get_events(SECOND) == second
    assert storage.sessions() == [FIRST, SECOND]


def test_events_are_filtered_by_type_and_cut_to_the_newest(storage: StorageBackend) -> None:
    first, second = chain(FIRST, 5), chain(SECOND, 2)
    storage.store_events(first)
    storage.store_events(second)
    assert storage.get_events(event_type="session.started") == [first[0], second[0]]
    assert storage.get_events(FIRST, event_type="session.started", last=3) == [first[0]]
    assert storage.get_events(FIRST, event_type="policy.evaluated", last=2) == first[3:]
    assert storage.get_events(FIRST, last=2) == first[3:]
    assert storage.get_events(FIRST, last=99) == first
    assert storage.get_events(FIRST, last=0) == []
    assert len(storage.get_events(last=3)) == 3
    assert storage.get_events(event_type="no.such") == []


def test_an_unknown_session_is_empty(storage: StorageBackend) -> None:
    storage.store_events(chain(FIRST, 1))
    assert storage.get_events(UNKNOWN) == []
    assert list(storage.iter_lines(UNKNOWN)) == []
    assert storage.count(UNKNOWN) == 0
    assert storage.delete_session(UNKNOWN) == 0


def test_the_lines_of_a_session_verify(storage: StorageBackend) -> None:
    # More than one page of SQLite and several marks of a file.
    events = chain(FIRST, 1_100)
    storage.store_events(chain(SECOND, 3))
    storage.store_events(events)
    result = verify_lines(storage.iter_lines(FIRST))
    assert (result.valid, result.events, result.head) == (True, 1_100, events[-1].event_hash)
    assert storage.get_events(FIRST, last=600) == events[500:]


def test_the_lines_are_those_of_the_moment_they_were_asked_for_or_newer(storage: StorageBackend) -> None:
    events = chain(FIRST, 4)
    storage.store_events(events[:2])
    lines = storage.iter_lines(FIRST)
    first = next(lines)
    storage.store_events(events[2:])
    result = verify_lines([first, *lines])
    assert (result.valid, result.events >= 2) == (True, True)


def test_a_deleted_session_is_gone_and_can_begin_anew(storage: StorageBackend) -> None:
    first, second = chain(FIRST, 3), chain(SECOND, 2)
    storage.store_events([*first, *second])
    assert storage.delete_session(FIRST) == 3
    assert storage.delete_session(FIRST) == 0
    assert storage.get_events() == second
    assert (storage.count(), storage.count(FIRST), storage.sessions()) == (2, 0, [SECOND])
    storage.store_events(chain(FIRST, 1, payload_json="{}"))
    assert storage.count(FIRST) == 1


def test_no_events_are_stored_by_an_empty_call(storage: StorageBackend) -> None:
    storage.store_events([])
    assert (storage.count(), storage.sessions(), storage.get_events()) == (0, [], [])


def test_a_storage_in_order_is_healthy(storage: StorageBackend) -> None:
    storage.store_events(chain(FIRST, 1))
    health = storage.health_check()
    assert health["ok"] is True
    assert health["name"] == storage.name


@pytest.mark.parametrize("name", DURABLE)
def test_what_was_stored_is_there_after_opening_again(name: str, tmp_path: Path) -> None:
    events = chain(FIRST, 300)
    with closing(OPENERS[name](tmp_path)) as storage:
        storage.store_events(events)
    with closing(OPENERS[name](tmp_path)) as storage:
        assert storage.get_events(FIRST) == events
        assert storage.count() == 300
        storage.store_events(events[250:])
        storage.store_events([event(FIRST, 300, events[-1].event_hash)])
        assert verify_lines(storage.iter_lines(FIRST)).events == 301


@pytest.mark.cpython_only(reason="Pyodide starts no threads")
def test_threads_can_store_and_read_at_once(storage: StorageBackend) -> None:
    chains = {f"01a20896-5fbb-702e-a97c-{number:012x}": 40 for number in range(4)}

    def write(session_id: str) -> int:
        for one in chain(session_id, chains[session_id]):
            storage.store_events([one])
            assert storage.get_events(session_id, last=1) == [one]
            storage.count()
        return storage.count(session_id)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, chains)) == list(chains.values())
    assert sorted(storage.sessions()) == sorted(chains)
    for session_id in chains:
        assert verify_lines(storage.iter_lines(session_id)).valid


def test_the_null_storage_keeps_nothing_and_says_so() -> None:
    storage: StorageBackend = NullStorage()
    storage.store_events(chain(FIRST, 3))
    assert (storage.name, storage.count(), storage.count(FIRST), storage.sessions()) == ("null", 0, 0, [])
    assert storage.get_events() == []
    assert list(storage.iter_lines(FIRST)) == []
    assert storage.delete_session(FIRST) == 0
    health = storage.health_check()
    assert (health["ok"], health["durable"], health["dropped"]) == (True, False, 3)
    assert health["note"] == "nothing is kept"


def test_the_null_storage_checks_ids_and_can_be_closed() -> None:
    storage = NullStorage()
    with pytest.raises(InvalidInput):
        storage.store_events([event("x", 0, GENESIS_HASH)])
    storage.close()
    storage.close()
    for call in (lambda: storage.store_events([]), storage.count, storage.sessions, storage.health_check):
        with pytest.raises(InvalidState) as caught:
            call()
        assert caught.value.code == "storage_closed"


def test_a_python_without_sqlite_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with pytest.raises(BackendFailure) as caught:
        SqliteStorage(tmp_path / "traces.sqlite")
    assert caught.value.code == "sqlite_missing"


@pytest.mark.parametrize("has_key", [False, True])
def test_a_python_without_ed25519_says_so_when_the_storage_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_key: bool
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    if has_key:
        (tmp_path / "checkpoint.key.pem").touch(mode=0o600)
    with pytest.raises(BackendFailure) as caught:
        signing(MemoryStorage(), tmp_path)
    assert caught.value.code == "signed_unavailable"
    assert len(list(tmp_path.iterdir())) == has_key
