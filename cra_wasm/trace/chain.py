"""The hash of one event (PROTOCOL 3.2): the text on the wire, nothing between the fields.

Hot path of immediate mode: an event is made as a tuple, once, since a frozen dataclass of its size takes
3.7 us in Pyodide and the hash of its 400 bytes 1.8 (`cra-wasm bench chain` measures them together).
"""

from __future__ import annotations

import json
from typing import Final

from ..hashing import DEFAULT_ALGORITHM, NewHash
from ..model.event import HASHED_FIELDS, TRACE_VERSION, TraceEvent
from .canonical import canonical_json
from .raw import UNIT_SEPARATOR

_MEMBER: Final = '"hash_algorithm":'


def event_preimage(
    event_id: str,
    trace_id: str,
    span_id: str,
    parent_span_id: str | None,
    session_id: str,
    sequence: int,
    timestamp: str,
    event_type: str,
    payload_json: str,
    previous_event_hash: str,
) -> bytes:
    """Return the bytes that are hashed. Formats, checked before, keep two events from sharing them.

    INVARIANT: these are the first HASHED_FIELDS of a TraceEvent, in its order.
    """
    return (
        f"{TRACE_VERSION}{event_id}{trace_id}{span_id}{parent_span_id or ''}{session_id}{sequence}"
        f"{timestamp}{event_type}{payload_json}{previous_event_hash}"
    ).encode()


def event_hash(event: TraceEvent, new_hash: NewHash) -> str:
    """Return the hash that the event should have, as 64 lower-case hex digits."""
    return new_hash(event_preimage(*event[:HASHED_FIELDS])).hexdigest()


def chain_line(line: str, session_id: str, previous_event_hash: str, new_hash: NewHash) -> TraceEvent:
    """Return the event of a batch's line, without its line feed, behind the event with that hash."""
    event_id, trace_id, span_id, parent, number, timestamp, event_type, payload = line.split(UNIT_SEPARATOR)
    hashed = (
        event_id,
        trace_id,
        span_id,
        parent or None,
        session_id,
        int(number),
        timestamp,
        event_type,
        payload,
        previous_event_hash,
    )
    digest = new_hash(event_preimage(*hashed)).hexdigest()
    return TraceEvent._make((*hashed, digest, TRACE_VERSION))


def line_of(event: TraceEvent) -> str:
    """Return the line of which `chain_line` makes this event."""
    return UNIT_SEPARATOR.join(
        (
            event.event_id,
            event.trace_id,
            event.span_id,
            event.parent_span_id or "",
            str(event.sequence),
            event.timestamp,
            event.event_type,
            event.payload_json,
        )
    )


def named_algorithm(event_type: str, payload_json: str) -> str:
    """Return the hash that a session's first event names (PROTOCOL 3.8), which may be one that nobody knows.

    SHA-256 where it names none. What is no text comes back as its JSON, which is no hash's name.
    """
    if event_type != "session.started" or _MEMBER not in payload_json:
        return DEFAULT_ALGORITHM
    payload = json.loads(payload_json)
    if "hash_algorithm" not in payload:
        return DEFAULT_ALGORITHM
    name = payload["hash_algorithm"]
    return name if isinstance(name, str) else canonical_json(name)
