"""The hash of one event (PROTOCOL 3.2): the text on the wire, nothing between the fields."""

from __future__ import annotations

from ..hashing import new
from ..model.event import TRACE_VERSION


def event_preimage(
    *,
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
    trace_version: str = TRACE_VERSION,
) -> bytes:
    """Return the bytes that are hashed. Formats, checked before, keep two events from sharing them."""
    return (
        f"{trace_version}{event_id}{trace_id}{span_id}{parent_span_id or ''}{session_id}{sequence}"
        f"{timestamp}{event_type}{payload_json}{previous_event_hash}"
    ).encode()


def event_hash(
    *,
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
    trace_version: str = TRACE_VERSION,
    algorithm: str = "sha256",
) -> str:
    """Return the event's hash as 64 lower-case hex digits.

    Raises:
        InvalidInput: `unknown_algorithm`.
    """
    preimage = event_preimage(
        event_id=event_id,
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent_span_id,
        session_id=session_id,
        sequence=sequence,
        timestamp=timestamp,
        event_type=event_type,
        payload_json=payload_json,
        previous_event_hash=previous_event_hash,
        trace_version=trace_version,
    )
    return new(algorithm, preimage).hexdigest()
