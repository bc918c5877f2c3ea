"""Events as files that other tools read: one `<session_id>.trace.jsonl` per session in one folder."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import Final

from ..errors import Json
from ..model.event import TraceEvent
from ..model.ids import is_uuid_text
from ..platform.threads import new_lock
from .folder_lock import FolderLock
from .rules import (
    check_query,
    check_session_id,
    closed_error,
    events_to_append,
    failed_error,
    parse_stored,
)
from .session_file import SessionFile, cut_back, cut_torn_line, sync_folder

SUFFIX: Final = ".trace.jsonl"
_PROBE_NAME: Final = ".probe"
_HASH_AT: Final = slice(len('{"event_hash":"'), len('{"event_hash":"') + 64)


class JsonlStorage:
    """`ports.StorageBackend` in a folder of JSONL files, which `verify_file` reads as they are.

    A call of store_events makes one write per session. When one fails, all files are cut back to where they
    were; after a crash in between, whole lines of that call may stand, and storing it again adds the rest.
    A torn last line is cut off when the folder is opened; `health_check` lists what was cut.

    Files know no order among each other: over several sessions, get_events merges by timestamp, and
    sessions() sorts by that of the first event. One process at a time has the folder (`folder_lock`).

    Args:
        directory: the folder, created when missing.
        fsync: wait for the disk in each store_events. Without it a power cut, but no crash of the process,
            can lose events that were confirmed.

    Raises:
        InvalidState: `storage_locked`.
        BackendFailure: `storage_failed`.
    """

    name: Final = "jsonl"

    def __init__(self, directory: str | PathLike[str], *, fsync: bool = True) -> None:
        self._folder = Path(directory)
        self._fsync = fsync
        self._lock = new_lock()
        self._files: dict[str, SessionFile] = {}
        self._cut: list[dict[str, Json]] = []
        self._closed = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder_lock = FolderLock(self._folder)
            try:
                for session_id in self._stored_ids():
                    self._cut_torn_line(session_id)
            except BaseException:
                self._folder_lock.release()
                raise
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL
            raise failed_error(self.name, f"open `{self._folder}`", error) from error

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        """Append events, all or none.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `session_forked`, `sequence_gap`, `storage_closed`.
            BackendFailure: `storage_failed`; nothing was stored.
        """
        with self._lock:
            self._check_open()
            touched: dict[str, int] = {}
            try:
                fresh = events_to_append(events, self._length, self._hash_at)
                for session_id, new in fresh.items():
                    file = self._files[session_id] = self._file(session_id)
                    touched[session_id] = file.size_bytes
                    file.append([f"{event.to_json()}\n".encode() for event in new], fsync=self._fsync)
            except OSError as error:
                self._undo(touched)
                raise failed_error(self.name, "store events", error) from error

    def get_events(
        self, session_id: str | None = None, *, event_type: str | None = None, last: int | None = None
    ) -> list[TraceEvent]:
        """Return events in their order, filtered; `last` keeps the newest n of them.

        Raises:
            InvalidInput: `invalid_id`, `invalid_last`.
            InvalidState: `storage_closed`.
            BackendFailure: `storage_failed`, `storage_corrupt`.
        """
        check_query(session_id, last)
        with self._lock:
            self._check_open()
            try:
                ids = self._stored_ids() if session_id is None else [session_id]
                found = [self._events_of(one, event_type, last) for one in ids]
            except OSError as error:
                raise failed_error(self.name, "read events", error) from error
        events = list(heapq.merge(*found, key=attrgetter("timestamp")))
        return events if last is None else events[max(0, len(events) - last) :]

    def iter_lines(self, session_id: str) -> Iterator[bytes]:
        """Yield the session's lines of this moment as they stand in the file; none when it is unknown.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`.
            BackendFailure: `storage_failed`.
        """
        check_session_id(session_id)
        with self._lock:
            self._check_open()
            try:
                lines = self._file(session_id).read_from(0)
            except OSError as error:
                raise failed_error(self.name, "read lines", error) from error
        return self._guarded(lines)

    def sessions(self) -> list[str]:
        """Return the ids of all stored sessions in the order of their first events' timestamps.

        Raises:
            InvalidState: `storage_closed`.
            BackendFailure: `storage_failed`, `storage_corrupt`.
        """
        with self._lock:
            self._check_open()
            try:
                return sorted(self._stored_ids(), key=self._started_at)
            except OSError as error:
                raise failed_error(self.name, "list sessions", error) from error

    def count(self, session_id: str | None = None) -> int:
        """Return the number of stored events, of one session or of all.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`.
            BackendFailure: `storage_failed`.
        """
        check_query(session_id, None)
        with self._lock:
            self._check_open()
            try:
                ids = self._stored_ids() if session_id is None else [session_id]
                return sum(self._length(one) for one in ids)
            except OSError as error:
                raise failed_error(self.name, "count events", error) from error

    def delete_session(self, session_id: str) -> int:
        """Remove a session's file and return how many events it had.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`.
            BackendFailure: `storage_failed`.
        """
        check_session_id(session_id)
        with self._lock:
            self._check_open()
            try:
                removed = self._length(session_id)
                self._files.pop(session_id, None)
                self._path(session_id).unlink(missing_ok=True)
                if self._fsync:
                    sync_folder(self._folder)
            except OSError as error:
                raise failed_error(self.name, "delete a session", error) from error
            return removed

    def health_check(self) -> dict[str, Json]:
        """Return {"ok", "name", "durable", "exclusive", "torn_lines"} after writing a probe file.

        `durable` is the `fsync` of the constructor, `exclusive` whether the folder's lock keeps others out,
        `torn_lines` what was cut: [{"session_id", "removed_bytes"}]. When the probe fails, `ok` is false
        and `error` says why.

        Raises:
            InvalidState: `storage_closed`.
        """
        with self._lock:
            self._check_open()
            report: dict[str, Json] = {
                "name": self.name,
                "durable": self._fsync,
                "exclusive": self._folder_lock.is_exclusive,
                "torn_lines": [dict(cut) for cut in self._cut],
            }
            probe = self._folder / _PROBE_NAME
            try:
                probe.write_bytes(b"probe")
                probe.unlink()
            except OSError as error:
                return {"ok": False, **report, "error": str(error)}
            return {"ok": True, **report}

    def close(self) -> None:
        """Release the folder. Calling it again does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._files.clear()
                self._folder_lock.release()

    def _check_open(self) -> None:
        if self._closed:
            raise closed_error(self.name)

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{session_id}{SUFFIX}"

    def _stored_ids(self) -> list[str]:
        names = (path.name.removesuffix(SUFFIX) for path in self._folder.glob(f"*{SUFFIX}"))
        return sorted(name for name in names if is_uuid_text(name))

    def _file(self, session_id: str) -> SessionFile:
        """Return what is known of a file, reading it through once unless it is new."""
        file = self._files.get(session_id)
        if file is None:
            if self._path(session_id).exists():
                self._cut_torn_line(session_id)
            file = SessionFile(self._path(session_id))
            if file.lines:
                self._files[session_id] = file
        return file

    def _cut_torn_line(self, session_id: str) -> None:
        removed_bytes = cut_torn_line(self._path(session_id))
        if removed_bytes:
            self._cut.append({"session_id": session_id, "removed_bytes": removed_bytes})

    def _length(self, session_id: str) -> int:
        return self._file(session_id).lines

    def _hash_at(self, session_id: str, sequence: int) -> str:
        line = next(self._file(session_id).read_from(sequence))
        return line[_HASH_AT].decode("ascii", "replace")

    def _events_of(self, session_id: str, event_type: str | None, last: int | None) -> list[TraceEvent]:
        file = self._file(session_id)
        first = max(0, file.lines - last) if last is not None and event_type is None else 0
        events = (
            parse_stored(self.name, session_id, sequence, line)
            for sequence, line in enumerate(file.read_from(first), first)
        )
        return list(deque((e for e in events if event_type in (None, e.event_type)), maxlen=last))

    def _started_at(self, session_id: str) -> tuple[str, str]:
        with self._path(session_id).open("rb") as source:
            first = parse_stored(self.name, session_id, 0, source.readline())
        return first.timestamp, session_id

    def _guarded(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from lines
        except FileNotFoundError:
            return  # deleted after the call and before the first line
        except OSError as error:
            raise failed_error(self.name, "read lines", error) from error

    def _undo(self, touched: dict[str, int]) -> None:
        """Cut files back to their sizes and forget them, so that the next call reads what really stands."""
        for session_id, size_bytes in touched.items():
            del self._files[session_id]
            try:
                cut_back(self._path(session_id), size_bytes)
            except OSError:
                # What stays are whole lines that a retry skips, and a torn one that is cut when re-read.
                continue
