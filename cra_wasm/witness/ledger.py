"""What a witness was told, in one SQLite file, and the rules by which it grows (PROTOCOL 3.19.10)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Final, TypeVar

from ..errors import BackendFailure, CRAError, InvalidInput, InvalidState, Json
from ..model.timestamps import timestamp_text
from ..platform.clock import SystemClock
from ..platform.threads import new_lock
from ..ports import Clock, VerifySignature
from ..storage.rules import closed_error, failed_error
from ..trace.canonical import canonical_json
from ..trace.checkpoint import VerifierKey, parse_entry, parse_vkey
from ..trace.checkpoint_verify import signed_checkpoint

if TYPE_CHECKING:
    import sqlite3

DEFAULT_MAX_SESSIONS: Final = 100_000
MAX_SESSION_BYTES: Final = 12 * 1024 * 1024
"""Of a session's lines: some 15,000 checkpoints, and less than a verifier reads of an answer."""

_NAME: Final = "witness"
# Another number than that of SqliteStorage: neither opens the other's file.
_LAYOUT: Final = 3_191
_BUSY_SECONDS: Final = 5.0
_PAGE_LINES: Final = 500
# `total`: bytes of the session's lines up to this one, with their line feeds.
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS sessions (session_id TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS checkpoints ("
    " session_id TEXT NOT NULL, size INTEGER NOT NULL, line TEXT NOT NULL, total INTEGER NOT NULL,"
    " PRIMARY KEY (session_id, size)) WITHOUT ROWID",
    f"PRAGMA user_version = {_LAYOUT}",
)
_NEWEST: Final = "SELECT size, line, total FROM checkpoints WHERE session_id = ? ORDER BY size DESC LIMIT 1"
_PAGE: Final = (
    "SELECT size, line FROM checkpoints WHERE session_id = ? AND size > ? AND size <= ? ORDER BY size LIMIT ?"
)

_Result = TypeVar("_Result")


class Ledger:
    """Checkpoints by session, each larger than the one before it, all by the key that signed the first one.

    Calls may come from several threads, and several processes may share the file. What was told is never
    changed or removed; a file that stays locked for 5 s is `storage_failed`.

    Args:
        path: the database file, created when missing; its folder must exist.
        is_signed: checks signatures.
        public_keys: take only what one of these signed; none: the first key that names a session owns it.
        max_sessions: at least 1.

    Raises:
        InvalidInput: `invalid_arguments`.
        BackendFailure: `sqlite_missing`, `storage_failed`, `storage_version` for a file of something else.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        is_signed: VerifySignature,
        public_keys: Sequence[VerifierKey] = (),
        max_sessions: int = DEFAULT_MAX_SESSIONS,
        clock: Clock | None = None,
    ) -> None:
        try:
            import sqlite3
        except ImportError:
            raise BackendFailure("sqlite_missing", "this Python has no `sqlite3`: use another one") from None
        if max_sessions < 1:
            raise InvalidInput(
                "invalid_arguments", "a witness takes 1 session or more", pointer="/max_sessions"
            )
        self._database_error = sqlite3.Error
        self._is_signed, self._keys = is_signed, frozenset(public_keys)
        self._max_sessions = max_sessions
        self._clock = clock or SystemClock()
        self._lock = new_lock()
        self._connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                fspath(path), timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise failed_error(_NAME, f"open `{fspath(path)}`", error) from error
        self._connection = connection
        try:
            self._call(f"use `{fspath(path)}`", _prepare)
        except CRAError:
            self.close()
            raise

    def add(self, line: str) -> dict[str, Json]:
        """Take a line of a `.checkpoints.jsonl` without its line feed; return what stands for it.

        That is {"session_id", "size", "head", "algorithm", "time", "witnessed_at", "key", "note"}, and it is
        durable when this returns. The newest one again gives what was kept when it first came.

        Raises:
            InvalidInput: `checkpoint_malformed`, `checkpoint_signature_invalid`, `checkpoint_key_unpinned`.
            InvalidState: `witness_conflict` with what is `known` in details: a smaller size, another head or
                algorithm at that size, another key than the session's; `witness_full`.
            BackendFailure: `storage_failed`, and nothing was kept; `signed_unavailable`.
        """
        key, note = parse_entry(line)
        if self._keys and parse_vkey(key) not in self._keys:
            raise InvalidInput("checkpoint_key_unpinned", "this witness takes no checkpoints of this key")
        checkpoint = signed_checkpoint(line, (), self._is_signed)
        entry = {
            "session_id": checkpoint.session_id,
            "size": checkpoint.size,
            "head": checkpoint.head,
            "algorithm": checkpoint.algorithm,
            "time": checkpoint.time,
            "key": key,
            "note": note,
        }

        def take(connection: sqlite3.Connection) -> dict[str, Json]:
            with connection:  # commits, or rolls back
                connection.execute("BEGIN IMMEDIATE")
                return self._take(connection, entry)

        return self._call("keep a checkpoint", take)

    def lines(self, session_id: str) -> tuple[int, Iterator[bytes]]:
        """Return how many bytes a session's lines have, and these with their line feeds, ascending by size.

        Both are of this moment, also if more comes while they are read; 500 are held at a time.

        Raises:
            InvalidState: `storage_closed`, also while they are read.
            BackendFailure: `storage_failed`, likewise.
        """
        row = self._call("read", lambda connection: connection.execute(_NEWEST, (session_id,)).fetchone())
        return (0, iter(())) if row is None else (row[2], self._pages(session_id, row[0]))

    def sessions(self) -> int:
        """Return how many sessions it knows."""
        return self._call("read", _count)

    def close(self) -> None:
        """Close the file, after what is under way. Calling it again does nothing."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _take(self, connection: sqlite3.Connection, entry: dict[str, Json]) -> dict[str, Json]:
        session_id, size = entry["session_id"], entry["size"]
        row = connection.execute(_NEWEST, (session_id,)).fetchone()
        total = 0
        if row is None:
            if _count(connection) >= self._max_sessions:
                raise InvalidState("witness_full", "this witness takes no more sessions: ask its operator")
            connection.execute("INSERT INTO sessions VALUES (?)", (session_id,))
        else:
            total, known = row[2], json.loads(row[1])
            if _is_same(entry, known):
                return dict(known)
        kept = {**entry, "witnessed_at": timestamp_text(self._clock.wall_ns())}
        line = canonical_json(kept)
        total += len(line.encode()) + 1
        if total > MAX_SESSION_BYTES:
            raise InvalidState("witness_full", "this witness takes no more of this session: begin another")
        connection.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?)", (session_id, size, line, total))
        return kept

    def _pages(self, session_id: str, until: int) -> Iterator[bytes]:
        after = 0
        while page := self._page(session_id, after, until):
            for _, line in page:
                yield f"{line}\n".encode()
            after = page[-1][0]

    def _page(self, session_id: str, after: int, until: int) -> list[tuple[int, str]]:
        asked = (session_id, after, until, _PAGE_LINES)
        return self._call("read", lambda connection: connection.execute(_PAGE, asked).fetchall())

    def _call(self, doing: str, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        with self._lock:
            if self._connection is None:
                raise closed_error(_NAME)
            try:
                return work(self._connection)
            except self._database_error as error:
                raise failed_error(_NAME, doing, error) from error


def _is_same(entry: dict[str, Json], known: dict[str, Json]) -> bool:
    """Tell whether the newest one came again; False for a larger one of the same key."""
    if entry["key"] != known["key"]:
        why = "this session belongs to another key"
    elif entry["size"] > known["size"]:
        return False
    elif entry["size"] < known["size"]:
        why = "this session is known to be longer"
    elif (entry["head"], entry["algorithm"]) != (known["head"], known["algorithm"]):
        why = "this session is known with another head at this size"
    else:
        return True
    raise InvalidState("witness_conflict", f"{why}: compare with what is `known`", known=known)


def _prepare(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        if version != _LAYOUT and (version or tables):
            raise BackendFailure(
                "storage_version", "the database is no witness's of this version: use another file"
            )
        for statement in _SCHEMA:
            connection.execute(statement)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COUNT(*) FROM sessions").fetchone()[0])
