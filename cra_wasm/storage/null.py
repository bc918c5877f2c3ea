"""No storage at all, for measuring what the rest costs and for hosts that take batches themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ..errors import Json
from ..model.event import TraceEvent
from ..platform.threads import new_lock
from .rules import check_query, check_session_id, closed_error


class NullStorage:
    """`ports.StorageBackend` that keeps nothing: no event of it can ever be read, verified or replayed.

    It finds no fork and no gap either, since it knows no earlier event. `health_check` says so, and counts
    what it was given.
    """

    name: Final = "null"

    def __init__(self) -> None:
        self._lock = new_lock()
        self._dropped = 0
        self._closed = False

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        """Drop the events.

        Raises:
            InvalidInput: `invalid_id`.
            InvalidState: `storage_closed`.
        """
        for event in events:
            check_session_id(event.session_id)
        with self._lock:
            self._check_open()
            self._dropped += len(events)

    def get_events(
        self, session_id: str | None = None, *, event_type: str | None = None, last: int | None = None
    ) -> list[TraceEvent]:
        """Return no events; raises as every backend does."""
        check_query(session_id, last)
        self._check_open()
        return []

    def iter_lines(self, session_id: str) -> Iterator[bytes]:
        """Yield no lines."""
        self.get_events(session_id)  # refuses what the other backends refuse
        return iter(())

    def sessions(self) -> list[str]:
        """Return no sessions."""
        self._check_open()
        return []

    def count(self, session_id: str | None = None) -> int:
        """Return 0."""
        return len(self.get_events(session_id))

    def delete_session(self, session_id: str) -> int:
        """Return 0: there is nothing to remove."""
        check_session_id(session_id)
        return self.count(session_id)

    def health_check(self) -> dict[str, Json]:
        """Return {"ok": true, "name", "durable": false, "note", "dropped": number of events}."""
        self._check_open()
        return {
            "ok": True,
            "name": self.name,
            "durable": False,
            "note": "nothing is kept",
            "dropped": self._dropped,
        }

    def close(self) -> None:
        """Refuse all later calls."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise closed_error(self.name)
