"""Events in one SQLite file, for hosts that query their traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from ..errors import BackendFailure, CRAError, Json
from ..model.event import TraceEvent
from ..platform.threads import new_lock
from .rules import (
    check_query,
    check_session_id,
    closed_error,
    events_to_append,
    failed_error,
    parse_stored,
)

if TYPE_CHECKING:
    import sqlite3

SCHEMA_VERSION: Final = 1
PAGE_EVENTS: Final = 500
"""How many lines iter_lines holds at a time."""

_BUSY_SECONDS: Final = 5.0
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS events ("
    " arrival INTEGER PRIMARY KEY, session_id TEXT NOT NULL, sequence INTEGER NOT NULL,"
    " event_type TEXT NOT NULL, event_hash TEXT NOT NULL, line TEXT NOT NULL,"
    " UNIQUE (session_id, sequence))",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_SELECT: Final = "SELECT session_id, sequence, line FROM events"

_Row: TypeAlias = tuple[str, int, str]
_Result = TypeVar("_Result")


class SqliteStorage:
    """`ports.StorageBackend` in one SQLite file; each store_events is one durable transaction.

    The journal is a WAL where the file system can do that. Several processes may open the same file: forks
    are found inside the write transaction, and one that stays locked for 5 s is `storage_failed`.

    Args:
        path: the database file, created when missing; its folder must exist.

    Raises:
        BackendFailure: `sqlite_missing` where Python was built or shipped without sqlite3; `storage_failed`;
            `storage_version` for a file of another layout.
    """

    name: Final = "sqlite"

    def __init__(self, path: str | PathLike[str]) -> None:
        try:
            import sqlite3
        except ImportError as error:
            raise BackendFailure(
                "sqlite_missing",
                "this Python has no `sqlite3`: load it, as older Pyodides need, or use another storage",
            ) from error
        self._database_error = sqlite3.Error
        self._lock = new_lock()
        self._connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                fspath(path), timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, ValueError) as error:  # ValueError: a path with a NUL
            raise failed_error(self.name, f"open `{fspath(path)}`", error) from error
        try:
            self._journal_mode = _prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise failed_error(self.name, f"use `{fspath(path)}`", error) from error
        except CRAError:
            connection.close()
            raise
        self._connection = connection

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        """Append events in one transaction.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `session_forked`, `sequence_gap`, `storage_closed`.
            BackendFailure: `storage_failed`; nothing was stored.
        """

        def append(connection: sqlite3.Connection) -> None:
            fresh = events_to_append(
                events,
                lambda session_id: _count(connection, session_id),
                lambda session_id, sequence: _hash_at(connection, session_id, sequence),
            )
            connection.executemany(
                "INSERT INTO events (session_id, sequence, event_type, event_hash, line)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    (event.session_id, event.sequence, event.event_type, event.event_hash, event.to_json())
                    for new in fresh.values()
                    for event in new
                ),
            )

        self._write("store events", append)

    def get_events(
        self, session_id: str | None = None, *, event_type: str | None = None, last: int | None = None
    ) -> list[TraceEvent]:
        """Return events in the order of their arrival, filtered; `last` keeps the newest n of them.

        Raises:
            InvalidInput: `invalid_id`, `invalid_last`.
            InvalidState: `storage_closed`.
            BackendFailure: `storage_failed`, `storage_corrupt`.
        """
        check_query(session_id, last)
        # Within a session both orders are one, and this one has an index.
        where, order = ("1", "arrival") if session_id is None else ("session_id = :session", "sequence")
        rows = self._rows(
            f"{_SELECT} WHERE {where} AND (:type IS NULL OR event_type = :type)"
            f" ORDER BY {order} DESC LIMIT :last",
            {"session": session_id, "type": event_type, "last": -1 if last is None else last},
        )
        return [parse_stored(self.name, *row) for row in reversed(rows)]

    def iter_lines(self, session_id: str) -> Iterator[bytes]:
        """Yield the session's lines, each with its line feed, PAGE_EVENTS at a time.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`, also when it is closed under way.
            BackendFailure: `storage_failed`.
        """
        check_session_id(session_id)
        return self._pages(session_id, self._page(session_id, -1))

    def _pages(self, session_id: str, page: list[_Row]) -> Iterator[bytes]:
        while page:
            for _, _, line in page:
                yield f"{line}\n".encode()
            page = self._page(session_id, page[-1][1])

    def _page(self, session_id: str, after: int) -> list[_Row]:
        return self._rows(
            f"{_SELECT} WHERE session_id = :session AND sequence > :after ORDER BY sequence LIMIT :page",
            {"session": session_id, "after": after, "page": PAGE_EVENTS},
        )

    def sessions(self) -> list[str]:
        """Return the ids of all stored sessions in the order of their first event.

        Raises:
            InvalidState: `storage_closed`.
            BackendFailure: `storage_failed`.
        """
        query = "SELECT session_id FROM events GROUP BY session_id ORDER BY MIN(arrival)"
        return self._call("read", lambda connection: [str(row[0]) for row in connection.execute(query)])

    def count(self, session_id: str | None = None) -> int:
        """Return the number of stored events, of one session or of all.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`.
            BackendFailure: `storage_failed`.
        """
        check_query(session_id, None)
        return self._call("count events", lambda connection: _count(connection, session_id))

    def delete_session(self, session_id: str) -> int:
        """Remove a session's events and return how many there were.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`.
            BackendFailure: `storage_failed`; nothing was removed.
        """
        check_session_id(session_id)
        return self._write(
            "delete a session",
            lambda connection: (
                connection.execute("DELETE FROM events WHERE session_id = ?", (session_id,)).rowcount
            ),
        )

    def health_check(self) -> dict[str, Json]:
        """Return {"ok", "name", "durable": true, "journal_mode"} after taking the write lock once.

        When that fails, `ok` is false and `error` says why.

        Raises:
            InvalidState: `storage_closed`.
        """
        report: dict[str, Json] = {"name": self.name, "durable": True, "journal_mode": self._journal_mode}
        try:
            self._write("take the write lock", lambda connection: None)
        except BackendFailure as error:
            return {"ok": False, **report, "error": error.message}
        return {"ok": True, **report}

    def close(self) -> None:
        """Close the connection. Calling it again does nothing."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _rows(self, query: str, arguments: dict[str, object]) -> list[_Row]:
        return self._call("read", lambda connection: connection.execute(query, arguments).fetchall())

    def _write(self, doing: str, change: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run `change` in a transaction that has the write lock from its start."""

        def transaction(connection: sqlite3.Connection) -> _Result:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = change(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return result

        return self._call(doing, transaction)

    def _call(self, doing: str, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        with self._lock:
            if self._connection is None:
                raise closed_error(self.name)
            try:
                return work(self._connection)
            except self._database_error as error:
                raise failed_error(self.name, doing, error) from error


def _prepare(connection: sqlite3.Connection) -> str:
    """Create the table and return the journal mode that the file system allowed."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise BackendFailure(
            "storage_version",
            f"the database has layout `{version}`, this version reads `{SCHEMA_VERSION}`: use another file",
        )
    journal_mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    connection.execute("PRAGMA synchronous = FULL")
    for statement in _SCHEMA:
        connection.execute(statement)
    return journal_mode


def _count(connection: sqlite3.Connection, session_id: str | None) -> int:
    if session_id is None:
        row = connection.execute("SELECT COUNT(*) FROM events").fetchone()
    else:
        # Sequences have no gaps, so the largest tells the number without reading the others.
        query = "SELECT COALESCE(MAX(sequence) + 1, 0) FROM events WHERE session_id = ?"
        row = connection.execute(query, (session_id,)).fetchone()
    return int(row[0])


def _hash_at(connection: sqlite3.Connection, session_id: str, sequence: int) -> str:
    row = connection.execute(
        "SELECT event_hash FROM events WHERE session_id = ? AND sequence = ?", (session_id, sequence)
    ).fetchone()
    return "" if row is None else str(row[0])
