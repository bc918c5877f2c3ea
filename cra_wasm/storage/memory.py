"""Events in this process's memory: for tests, for immediate mode, for sessions that nobody keeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from ..errors import Json
from ..model.event import TraceEvent
from ..platform.threads import new_lock
from .rules import check_query, check_session_id, closed_error, events_to_append


class MemoryStorage:
    """`ports.StorageBackend` in memory: gone with the process, and about 1 KB an event beside its payload."""

    name: Final = "memory"

    def __init__(self) -> None:
        self._lock = new_lock()
        self._sessions: dict[str, list[TraceEvent]] = {}
        # INVARIANT: the same events in the order in which they came; a session's list is a part of it.
        self._arrived: list[TraceEvent] = []
        self._closed = False

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        """Append events, all or none.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `session_forked`, `sequence_gap`, `storage_closed`.
        """
        with self._lock:
            self._check_open()
            for session_id, new in events_to_append(events, self._length, self._hash_at).items():
                self._sessions.setdefault(session_id, []).extend(new)
                self._arrived.extend(new)

    def get_events(
        self, session_id: str | None = None, *, event_type: str | None = None, last: int | None = None
    ) -> list[TraceEvent]:
        """Return events in the order of their arrival, filtered; `last` keeps the newest n of them.

        Raises:
            InvalidInput: `invalid_id`, `invalid_last`.
            InvalidState: `storage_closed`.
        """
        check_query(session_id, last)
        with self._lock:
            self._check_open()
            events = self._arrived if session_id is None else self._sessions.get(session_id, [])
            if event_type is not None:
                events = [event for event in events if event.event_type == event_type]
            return list(events) if last is None else events[max(0, len(events) - last) :]

    def iter_lines(self, session_id: str) -> Iterator[bytes]:
        """Yield the session's lines of this moment, each with its line feed; none when it is unknown.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`.
        """
        # A deque gives each event back as soon as it was written out.
        events = deque(self.get_events(session_id))
        return (f"{events.popleft().to_json()}\n".encode() for _ in range(len(events)))

    def sessions(self) -> list[str]:
        """Return the ids of all stored sessions in the order of their first event.

        Raises:
            InvalidState: `storage_closed`.
        """
        with self._lock:
            self._check_open()
            return list(self._sessions)

    def count(self, session_id: str | None = None) -> int:
        """Return the number of stored events, of one session or of all.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`.
        """
        check_query(session_id, None)
        with self._lock:
            self._check_open()
            return len(self._arrived) if session_id is None else self._length(session_id)

    def delete_session(self, session_id: str) -> int:
        """Remove a session's events and return how many there were.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`.
        """
        check_session_id(session_id)
        with self._lock:
            self._check_open()
            removed = self._sessions.pop(session_id, [])
            if removed:
                self._arrived = [event for event in self._arrived if event.session_id != session_id]
            return len(removed)

    def health_check(self) -> dict[str, Json]:
        """Return {"ok": true, "name", "durable": false, "events", "sessions"}.

        Raises:
            InvalidState: `storage_closed`.
        """
        with self._lock:
            self._check_open()
            return {
                "ok": True,
                "name": self.name,
                "durable": False,
                "events": len(self._arrived),
                "sessions": len(self._sessions),
            }

    def close(self) -> None:
        """Forget all events. Calling it again does nothing."""
        with self._lock:
            self._closed = True
            self._sessions = {}
            self._arrived = []

    def _length(self, session_id: str) -> int:
        return len(self._sessions.get(session_id, ()))

    def _hash_at(self, session_id: str, sequence: int) -> str:
        return self._sessions[session_id][sequence].event_hash

    def _check_open(self) -> None:
        if self._closed:
            raise closed_error(self.name)
