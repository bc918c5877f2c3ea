"""What the storages on disk do with damage: torn lines, full disks, second writers, files of others."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cra_wasm.errors import BackendFailure, InvalidState
from cra_wasm.model.event import GENESIS_HASH, TraceEvent
from cra_wasm.signing.storage import SigningStorage
from cra_wasm.storage.jsonl import JsonlStorage
from cra_wasm.storage.memory import MemoryStorage
from cra_wasm.storage.sqlite import SqliteStorage
from cra_wasm.trace.verify import verify_file, verify_lines

from .chaining import sealed

FIRST, SECOND = (f"01a20896-5fbb-702e-a97c-f91cc497001{digit}" for digit in "67")


def chain(session_id: str, length: int) -> list[TraceEvent]:
    events: list[TraceEvent] = []
    previous = GENESIS_HASH
    for sequence in range(length):
        fields: dict[str, Any] = {
            "event_id": f"01a20896-5fbd-76bb-a6ca-{sequence:012x}",
            "trace_id": "01a20896-5fbc-7478-b79b-59b548d527a4",
            "span_id": f"01a20896-5fbd-76bb-a6cb-{sequence:012x}",
            "parent_span_id": None,
            "session_id": session_id,
            "sequence": sequence,
            "timestamp": f"2026-11-23T13:26:42.{sequence:06d}Z",
            "event_type": "policy.evaluated",
            "payload_json": "{}",
            "previous_event_hash": previous,
        }
        events.append(sealed(fields))
        previous = events[-1].event_hash
    return events


def path_of(folder: Path, session_id: str = FIRST) -> Path:
    return folder / f"{session_id}.trace.jsonl"


def stored(folder: Path, length: int = 3, session_id: str = FIRST) -> list[TraceEvent]:
    events = chain(session_id, length)
    with closing(JsonlStorage(folder)) as storage:
        storage.store_events(events)
    return events


@pytest.mark.parametrize("torn", [b"x", b'{"event_hash":"', b"y" * 200_000])
def test_a_torn_last_line_is_cut_off_and_reported(tmp_path: Path, torn: bytes) -> None:
    events = stored(tmp_path)
    whole = path_of(tmp_path).read_bytes()
    path_of(tmp_path).write_bytes(whole + torn)
    with closing(JsonlStorage(tmp_path)) as storage:
        cut = [{"session_id": FIRST, "removed_bytes": len(torn)}]
        assert storage.health_check()["torn_lines"] == cut
        assert storage.get_events(FIRST) == events
    assert path_of(tmp_path).read_bytes() == whole


def test_a_file_that_is_one_torn_line_is_removed(tmp_path: Path) -> None:
    path_of(tmp_path).write_bytes(b'{"event_hash":"')
    path_of(tmp_path, SECOND).write_bytes(b"")
    with closing(JsonlStorage(tmp_path)) as storage:
        assert storage.sessions() == []
        assert storage.health_check()["torn_lines"] == [{"session_id": FIRST, "removed_bytes": 15}]
    assert not path_of(tmp_path).exists()


def test_a_file_is_a_trace_that_verifies(tmp_path: Path) -> None:
    events = stored(tmp_path)
    result = verify_file(path_of(tmp_path))
    assert (result.valid, result.head) == (True, events[-1].event_hash)


def test_a_damaged_line_is_an_error_to_read_and_still_there_to_verify(tmp_path: Path) -> None:
    stored(tmp_path)
    lines = path_of(tmp_path).read_bytes().splitlines(keepends=True)
    path_of(tmp_path).write_bytes(lines[0] + b"[]\n" + lines[2])
    with closing(JsonlStorage(tmp_path)) as storage:
        with pytest.raises(BackendFailure) as caught:
            storage.get_events(FIRST)
        assert caught.value.code == "storage_corrupt"
        assert caught.value.details == {"session_id": FIRST, "sequence": 1}
        assert verify_lines(storage.iter_lines(FIRST)).error_at == 1


def test_a_removed_line_is_an_error_to_read(tmp_path: Path) -> None:
    stored(tmp_path)
    lines = path_of(tmp_path).read_bytes().splitlines(keepends=True)
    path_of(tmp_path).write_bytes(lines[0] + lines[2])
    with closing(JsonlStorage(tmp_path)) as storage, pytest.raises(BackendFailure) as caught:
        storage.get_events(FIRST)
    assert caught.value.code == "storage_corrupt"


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "demo.trace.jsonl", f"{FIRST.upper()}.trace.jsonl"):
        (tmp_path / name).write_text("torn")
    with closing(JsonlStorage(tmp_path)) as storage:
        assert (storage.sessions(), storage.count()) == ([], 0)
    assert (tmp_path / "demo.trace.jsonl").read_text() == "torn"


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_full_disk_stores_nothing_of_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    events, others = chain(FIRST, 4), chain(SECOND, 2)
    with closing(JsonlStorage(tmp_path)) as storage:
        storage.store_events(events[:2])
        before = path_of(tmp_path).read_bytes()
        calls = 0
        real_fsync = os.fsync

        def full_disk(descriptor: int) -> None:
            """The bytes were written, the disk cannot take them."""
            nonlocal calls
            calls += 1
            if calls > fails_at:
                raise OSError(28, "No space left on device")
            real_fsync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_disk)
            with pytest.raises(BackendFailure) as caught:
                storage.store_events([*events[2:], *others])
        assert caught.value.code == "storage_failed"
        assert path_of(tmp_path).read_bytes() == before
        assert not path_of(tmp_path, SECOND).exists()
        assert storage.count() == 2
        storage.store_events([*events[2:], *others])
        assert storage.get_events(FIRST) == events
        assert storage.get_events(SECOND) == others


def test_a_folder_that_vanished_is_not_healthy(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    with closing(JsonlStorage(folder)) as storage:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert storage.health_check()["ok"] is False
        with pytest.raises(BackendFailure) as caught:
            storage.store_events(chain(FIRST, 1))
        assert caught.value.code == "storage_failed"


@pytest.mark.parametrize(
    "make",
    [JsonlStorage, SqliteStorage, lambda path: SigningStorage(MemoryStorage(), path)],
    ids=["jsonl", "sqlite", "signing"],
)
def test_a_path_with_a_nul_is_refused(make: Callable[[str], object]) -> None:
    with pytest.raises(BackendFailure) as caught:
        make("no\x00name")
    assert caught.value.code == "storage_failed"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "traces").write_text("")
    with pytest.raises(BackendFailure) as caught:
        JsonlStorage(tmp_path / "traces")
    assert caught.value.code == "storage_failed"


def test_a_session_file_that_cannot_be_opened_is_told_and_releases_the_folder(tmp_path: Path) -> None:
    path_of(tmp_path).mkdir()
    with pytest.raises(BackendFailure) as caught:
        JsonlStorage(tmp_path)
    assert caught.value.code == "storage_failed"
    path_of(tmp_path).rmdir()
    JsonlStorage(tmp_path).close()


def test_a_session_file_that_became_unreadable_fails_each_call(tmp_path: Path) -> None:
    with closing(JsonlStorage(tmp_path)) as storage:
        path_of(tmp_path).mkdir()
        calls: list[Callable[[], object]] = [
            lambda: storage.store_events(chain(FIRST, 1)),
            lambda: storage.get_events(),
            lambda: storage.iter_lines(FIRST),
            lambda: storage.sessions(),
            lambda: storage.count(),
            lambda: storage.delete_session(FIRST),
        ]
        for call in calls:
            with pytest.raises(BackendFailure) as caught:
                call()
            assert caught.value.code == "storage_failed"
        storage.store_events(chain(SECOND, 1))
        assert storage.count(SECOND) == 1


def test_lines_that_became_unreadable_under_way_are_an_error(tmp_path: Path) -> None:
    with closing(JsonlStorage(tmp_path)) as storage:
        storage.store_events(chain(FIRST, 2))
        lines = storage.iter_lines(FIRST)
        path_of(tmp_path).unlink()
        path_of(tmp_path).mkdir()
        with pytest.raises(BackendFailure) as caught:
            list(lines)
        assert caught.value.code == "storage_failed"


def test_what_a_failed_call_could_not_take_back_is_skipped_when_it_is_stored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = chain(FIRST, 4)

    def broken_disk(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with closing(JsonlStorage(tmp_path)) as storage:
        storage.store_events(events[:1])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken_disk)
            patch.setattr(os, "truncate", broken_disk)
            with pytest.raises(BackendFailure):
                storage.store_events(events[1:3])
        storage.store_events(events[1:])
        assert storage.get_events(FIRST) == events


def test_a_second_writer_is_refused_wherever_the_lock_is_said_to_be_exclusive(tmp_path: Path) -> None:
    with closing(JsonlStorage(tmp_path)) as storage:
        exclusive = storage.health_check()["exclusive"]
        assert exclusive is (sys.platform not in ("emscripten", "win32"))
        if exclusive:
            with pytest.raises(InvalidState) as caught:
                JsonlStorage(tmp_path)
            assert caught.value.code == "storage_locked"
    JsonlStorage(tmp_path).close()


def test_lines_asked_for_before_a_session_was_deleted_are_none(tmp_path: Path) -> None:
    with closing(JsonlStorage(tmp_path)) as storage:
        storage.store_events(chain(FIRST, 2))
        lines = storage.iter_lines(FIRST)
        storage.delete_session(FIRST)
        assert list(lines) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(BackendFailure) as caught:
        SqliteStorage(path)
    assert caught.value.code == "storage_failed"


def test_a_database_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendFailure) as caught:
        SqliteStorage(tmp_path / "none" / "traces.sqlite")
    assert caught.value.code == "storage_failed"


def test_a_database_of_another_layout_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(BackendFailure) as caught:
        SqliteStorage(path)
    assert caught.value.code == "storage_version"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (0,)


def test_two_connections_cannot_fork_a_session(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    events = chain(FIRST, 2)
    with closing(SqliteStorage(path)) as one, closing(SqliteStorage(path)) as other:
        one.store_events(events[:1])
        other.store_events(events)
        with pytest.raises(InvalidState) as caught:
            one.store_events([chain(SECOND, 1)[0], _other_event_at(1, events[0].event_hash)])
        assert caught.value.code == "session_forked"
        assert one.get_events() == events


def _other_event_at(sequence: int, previous: str) -> TraceEvent:
    fields: dict[str, Any] = {
        name: getattr(chain(FIRST, sequence + 1)[sequence], name)
        for name in ("event_id", "trace_id", "span_id", "parent_span_id", "session_id", "timestamp")
    }
    fields |= {
        "sequence": sequence,
        "event_type": "custom.event",
        "payload_json": "{}",
        "previous_event_hash": previous,
    }
    return sealed(fields)


def test_a_failed_transaction_stores_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    with closing(SqliteStorage(path)) as storage:
        storage.store_events(chain(FIRST, 1))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON events WHEN NEW.sequence = 2"
                " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
            connection.commit()
        with pytest.raises(BackendFailure) as caught:
            storage.store_events(chain(FIRST, 3))
        assert caught.value.code == "storage_failed"
        assert storage.count() == 1
        assert storage.health_check()["ok"] is True


def test_a_damaged_row_is_an_error_to_read_and_still_there_to_verify(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    with closing(SqliteStorage(path)) as storage:
        storage.store_events(chain(FIRST, 3))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE events SET line = '[]' WHERE sequence = 1")
            connection.commit()
        with pytest.raises(BackendFailure) as caught:
            storage.get_events(FIRST)
        assert caught.value.code == "storage_corrupt"
        assert verify_lines(storage.iter_lines(FIRST)).error_at == 1
