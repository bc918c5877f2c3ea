"""Profile `whole-event`: the hash of the JSON of all members but `event_hash`, as JavaScript writes it.

Keys are sorted at every level by UTF-16 code units, those that are array indices first and by number, which
is how a JavaScript object orders them; numbers are JavaScript's text. Sequences start at 1 and the first
event names no previous hash. JSON has boundaries of its own, so two different events never hash alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Final

from ...errors import Json
from ..reader import BadLine
from .foreign import ForeignEvent, Recipe, text_of
from .lexemes import Number, javascript_text

_MAX_ARRAY_INDEX: Final = 2**32 - 2
_ARRAY_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


def _read(members: Mapping[str, Json]) -> ForeignEvent:
    sequence = members.get("sequence")
    if type(sequence) is not Number:
        raise BadLine("bad_field")
    hashed = {name: value for name, value in members.items() if name != "event_hash"}
    return ForeignEvent(
        sequence=javascript_text(sequence),
        session_id=members.get("session_id"),
        event_type=members.get("event_type"),
        previous_event_hash=_previous(members),
        event_hash=text_of(members, "event_hash"),
        preimage=javascript_json(hashed).encode(),
    )


def _previous(members: Mapping[str, Json]) -> str | None:
    """Absent fields are left out: a null is a field, and no writer's."""
    return text_of(members, "previous_event_hash") if "previous_event_hash" in members else None


def javascript_json(value: Json) -> str:
    """Return the text that JSON.stringify makes of a value whose keys were sorted."""
    if type(value) is Number:
        return javascript_text(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        members = [f"{_quoted(key)}:{javascript_json(value[key])}" for key in sorted(value, key=_place)]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join([javascript_json(item) for item in value]) + "]"
    return "null" if value is None else "true" if value else "false"


def _quoted(text: str) -> str:
    """JSON.stringify writes half a surrogate pair as an escape."""
    return _HALF_PAIR.sub(lambda half: f"\\u{ord(half[0]):04x}", encode_basestring(text))


def _place(key: str) -> tuple[int, bytes]:
    """Where a JavaScript object has the key: array indices in front, by number."""
    if _ARRAY_INDEX.fullmatch(key) and int(key) <= _MAX_ARRAY_INDEX:
        return int(key), b""
    return _MAX_ARRAY_INDEX + 1, key.encode("utf-16-be", "surrogatepass")


RECIPE: Final = Recipe(
    name="whole-event",
    read=_read,
    first_sequence=1,
    genesis=None,
    protects_boundaries=True,
    ends_sessions=False,
)
