"""Profile `ascii`: PROTOCOL 3.2's preimage with `\\uXXXX` for each character of the payload outside ASCII.

Its fields have the formats of 3.1, which keep their boundaries apart as they do for `jcs`; without them a
trace of the project's own whose boundaries were moved would pass here. How the line is spelled (order, white
space, escapes) is free. The payload is canonical JSON but for the escapes, whatever the line's spelling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ...errors import InvalidInput, Json
from ...model.event import EVENT_FIELDS, GENESIS_HASH, TRACE_VERSION
from ..canonical import canonical_json
from ..chain import event_preimage
from ..formats import EVENT_TYPE, HASH, SEQUENCE, TIMESTAMP, UUID
from ..reader import BadLine
from .foreign import ForeignEvent, Recipe
from .lexemes import Number, number_value

_TEXT_FORMATS: Final = {
    name: re.compile(pattern)
    for name, pattern in {
        "event_hash": HASH,
        "event_id": UUID,
        "event_type": EVENT_TYPE,
        "previous_event_hash": HASH,
        "session_id": UUID,
        "span_id": UUID,
        "timestamp": TIMESTAMP,
        "trace_id": UUID,
        "trace_version": re.escape(TRACE_VERSION),
    }.items()
}
_SEQUENCE: Final = re.compile(SEQUENCE)
_UUID: Final = re.compile(UUID)
_FIELDS: Final = frozenset(EVENT_FIELDS)
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")


def _read(members: Mapping[str, Json]) -> ForeignEvent:
    if members.keys() != _FIELDS:
        raise BadLine("bad_field")
    texts: dict[str, str] = {}
    for name, pattern in _TEXT_FORMATS.items():
        texts[name] = _formatted(members[name], pattern)
    parent = members["parent_span_id"]
    sequence = members["sequence"]
    if type(sequence) is not Number or not _SEQUENCE.fullmatch(sequence):
        raise BadLine("bad_field")
    return ForeignEvent(
        sequence=str(sequence),
        session_id=texts["session_id"],
        event_type=texts["event_type"],
        previous_event_hash=texts["previous_event_hash"],
        event_hash=texts["event_hash"],
        preimage=event_preimage(
            texts["event_id"],
            texts["trace_id"],
            texts["span_id"],
            None if parent is None else _formatted(parent, _UUID),
            texts["session_id"],
            int(sequence),
            texts["timestamp"],
            texts["event_type"],
            ascii_text(members["payload"]),
            texts["previous_event_hash"],
        ),
    )


def _formatted(value: Json, pattern: re.Pattern[str]) -> str:
    if type(value) is not str or not pattern.fullmatch(value):
        raise BadLine("bad_field")
    return value


def ascii_text(payload: Json) -> str:
    """Return a payload's canonical JSON in ASCII.

    Raises:
        BadLine: `bad_field` unless it is an object of values that RFC 8785 can write.
    """
    if not isinstance(payload, dict):
        raise BadLine("bad_field")
    try:
        text = canonical_json(_with_numbers(payload))
    except InvalidInput:
        raise BadLine("bad_field") from None
    return _NOT_ASCII.sub(_escaped, text)


def _with_numbers(value: Json) -> Json:
    if type(value) is Number:
        # Past 16 digits it is refused anyway, and int() of thousands is refused by Python.
        is_short = len(value) <= 17 and value.lstrip("-").isdigit()
        return int(value) if is_short else number_value(value)
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    return [_with_numbers(item) for item in value] if isinstance(value, list) else value


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


RECIPE: Final = Recipe(
    name="ascii",
    read=_read,
    first_sequence=0,
    genesis=GENESIS_HASH,
    protects_boundaries=True,
    ends_sessions=True,
)
