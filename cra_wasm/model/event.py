"""A TRACE event as it is stored: one canonical JSON line (PROTOCOL 3)."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from ..errors import Json

TRACE_VERSION: Final = "1.0"
GENESIS_HASH: Final = "0" * 64
"""previous_event_hash of sequence 0."""

EVENT_FIELDS: Final = (
    "event_hash",
    "event_id",
    "event_type",
    "parent_span_id",
    "payload",
    "previous_event_hash",
    "sequence",
    "session_id",
    "span_id",
    "timestamp",
    "trace_id",
    "trace_version",
)
"""The twelve fields in the order in which a canonical line writes them."""


HASHED_FIELDS: Final = 10
"""How many fields of a TraceEvent are hashed, behind trace_version: all up to previous_event_hash."""


class TraceEvent(NamedTuple):
    """One event of a session's hash chain; name its fields, their order is the hash's.

    `payload_json` is the canonical text (RFC 8785) that was hashed; `payload` parses it anew at each call,
    so that a caller's change cannot reach the event. Ids are lower-case UUID text, `timestamp` is
    `YYYY-MM-DDTHH:MM:SS.ffffffZ`, hashes are 64 lower-case hex digits. A tuple and no dataclass, because
    one is made per event on the path of immediate mode, in a seventh of the time.
    """

    event_id: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    session_id: str
    sequence: int
    timestamp: str
    event_type: str
    payload_json: str
    previous_event_hash: str
    event_hash: str
    trace_version: str = TRACE_VERSION

    @property
    def payload(self) -> dict[str, Json]:
        """The payload as a fresh dict."""
        parsed: dict[str, Json] = json.loads(self.payload_json)
        return parsed

    def to_json(self) -> str:
        """Return the canonical line of this event, without the line feed.

        None of the fields but the payload holds a character that JSON escapes, so the line is joined from
        text; a property test holds it to rfc8785.
        """
        parent = "null" if self.parent_span_id is None else f'"{self.parent_span_id}"'
        return (
            f'{{"event_hash":"{self.event_hash}","event_id":"{self.event_id}",'
            f'"event_type":"{self.event_type}","parent_span_id":{parent},'
            f'"payload":{self.payload_json},"previous_event_hash":"{self.previous_event_hash}",'
            f'"sequence":{self.sequence},"session_id":"{self.session_id}","span_id":"{self.span_id}",'
            f'"timestamp":"{self.timestamp}","trace_id":"{self.trace_id}",'
            f'"trace_version":"{self.trace_version}"}}'
        )

    def to_dict(self) -> dict[str, Json]:
        """Return the event as the protocol's JSON object."""
        event: dict[str, Json] = json.loads(self.to_json())
        return event

    @classmethod
    def from_line(cls, line: str) -> TraceEvent:
        """Read a line that this project wrote. It trusts the line: `trace.verify` is for all others.

        Raises:
            KeyError, ValueError: the text is no such line.
        """
        fields = json.loads(line)
        start = line.index('"payload":') + len('"payload":')
        end = line.rindex(',"previous_event_hash":"')
        return cls(
            event_id=fields["event_id"],
            trace_id=fields["trace_id"],
            span_id=fields["span_id"],
            parent_span_id=fields["parent_span_id"],
            session_id=fields["session_id"],
            sequence=fields["sequence"],
            timestamp=fields["timestamp"],
            event_type=fields["event_type"],
            payload_json=line[start:end],
            event_hash=fields["event_hash"],
            previous_event_hash=fields["previous_event_hash"],
            trace_version=fields["trace_version"],
        )
