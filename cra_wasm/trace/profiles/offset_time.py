"""Profile `offset-time`: PROTOCOL 3.2's preimage with `+00:00` for the time's `Z`, and a payload of its own.

The payload may be any JSON value. Its keys are sorted by code point and written between quotes without
escapes, its numbers as they stand in the line. No field has a format, so that neither keys nor the
boundaries of fields are protected: `{"a":1,"b":2}` and `{"a\\":1,\\"b":2}` hash alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring as _quote
from typing import Final

from ...errors import Json
from ...model.event import EVENT_FIELDS, GENESIS_HASH
from ..reader import BadLine
from .foreign import ForeignEvent, Recipe, text_of
from .lexemes import Number

_FIELDS: Final = frozenset(EVENT_FIELDS)


def _read(members: Mapping[str, Json]) -> ForeignEvent:
    timestamp = text_of(members, "timestamp")
    sequence = members.get("sequence")
    if type(sequence) is not Number or not timestamp.endswith("Z") or "payload" not in members:
        raise BadLine("bad_field")
    session_id = text_of(members, "session_id")
    event_type = text_of(members, "event_type")
    previous = text_of(members, "previous_event_hash")
    parent = "" if members.get("parent_span_id") is None else text_of(members, "parent_span_id")
    preimage = "".join(
        (
            text_of(members, "trace_version"),
            text_of(members, "event_id"),
            text_of(members, "trace_id"),
            text_of(members, "span_id"),
            parent,
            session_id,
            sequence,
            timestamp[:-1],
            "+00:00",
            event_type,
            payload_text(members["payload"]),
            previous,
        )
    )
    return ForeignEvent(
        sequence=str(sequence),
        session_id=session_id,
        event_type=event_type,
        previous_event_hash=previous,
        event_hash=text_of(members, "event_hash"),
        preimage=preimage.encode(),
        has_unhashed_members=not members.keys() <= _FIELDS,
    )


def payload_text(value: Json) -> str:
    """Return the text of a payload as it is hashed."""
    if type(value) is Number:
        return str(value)
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, dict):
        return "{" + ",".join([f'"{key}":{payload_text(value[key])}' for key in sorted(value)]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([payload_text(item) for item in value]) + "]"
    return "null" if value is None else "true" if value else "false"


RECIPE: Final = Recipe(
    name="offset-time",
    read=_read,
    first_sequence=0,
    genesis=GENESIS_HASH,
    protects_boundaries=False,
    ends_sessions=False,
)
