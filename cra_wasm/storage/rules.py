"""What every storage refuses (PROTOCOL 3.5): the backends differ only in where they put events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import BackendFailure, InvalidInput, InvalidState
from ..model.event import TraceEvent
from ..model.ids import parse_uuid


def check_session_id(session_id: str) -> None:
    """Refuse what is no UUID: session ids become file names and keys.

    Raises:
        InvalidInput: `invalid_id`.
    """
    parse_uuid(session_id, pointer="/session_id")


def check_query(session_id: str | None, last: int | None) -> None:
    """Check the arguments of get_events.

    Raises:
        InvalidInput: `invalid_id`, or `invalid_last` for a negative number.
    """
    if session_id is not None:
        check_session_id(session_id)
    if last is not None and last < 0:
        raise InvalidInput("invalid_last", f"`{last}` events: give 0 or more", pointer="/last")


def events_to_append(
    events: Sequence[TraceEvent],
    next_sequence: Callable[[str], int],
    stored_hash: Callable[[str, int], str],
) -> dict[str, list[TraceEvent]]:
    """Return the events that are not stored yet, per session in the order of their first appearance.

    `next_sequence` tells how many events of a session are stored, `stored_hash` the hash of one of them.

    Raises:
        InvalidInput: `invalid_id`.
        InvalidState: `session_forked` where another event has the number; `sequence_gap` where the number
            is not the session's next: a stored session is a trace that verifies from line 0.
    """
    firsts: dict[str, int] = {}
    fresh: dict[str, list[TraceEvent]] = {}
    for event in events:
        session_id, sequence = event.session_id, event.sequence
        if session_id not in fresh:
            check_session_id(session_id)
            firsts[session_id] = next_sequence(session_id)
            fresh[session_id] = []
        first, new = firsts[session_id], fresh[session_id]
        if sequence == first + len(new):
            new.append(event)
            continue
        if not 0 <= sequence < first + len(new):
            raise InvalidState(
                "sequence_gap",
                f"session `{session_id}` has {first + len(new)} events, so {sequence} cannot be its next:"
                " store the events in order",
                session_id=session_id,
                sequence=sequence,
            )
        known = stored_hash(session_id, sequence) if sequence < first else new[sequence - first].event_hash
        if known != event.event_hash:
            raise InvalidState(
                "session_forked",
                f"sequence {sequence} of session `{session_id}` holds another event: two writers have it",
                session_id=session_id,
                sequence=sequence,
            )
    return {session_id: new for session_id, new in fresh.items() if new}


def closed_error(name: str) -> InvalidState:
    """The error of every call after close()."""
    return InvalidState("storage_closed", f"the {name} storage was closed: open a new one")


def failed_error(name: str, doing: str, error: Exception) -> BackendFailure:
    """The error for what the file system or the database refused."""
    return BackendFailure("storage_failed", f"{name} storage cannot {doing}: {error}")


def corrupt_error(name: str, session_id: str, sequence: int) -> BackendFailure:
    """The error for a stored line that is no event; verify says what is wrong with it."""
    return BackendFailure(
        "storage_corrupt",
        f"event {sequence} of session `{session_id}` in the {name} storage is damaged: verify the session",
        session_id=session_id,
        sequence=sequence,
    )


def parse_stored(name: str, session_id: str, sequence: int, line: str | bytes) -> TraceEvent:
    """Return the event of a line that a storage wrote, with or without its line feed.

    Raises:
        BackendFailure: `storage_corrupt`.
    """
    try:
        text = line if isinstance(line, str) else line.decode()
        event = TraceEvent.from_line(text.rstrip("\n"))
    except (ValueError, KeyError, TypeError):
        raise corrupt_error(name, session_id, sequence) from None
    if (event.session_id, event.sequence) != (session_id, sequence):
        raise corrupt_error(name, session_id, sequence)
    return event
