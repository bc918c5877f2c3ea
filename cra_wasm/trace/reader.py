"""Reads the lines of a trace that anyone may have written (PROTOCOL 3.4): bytes in, one checked event out.

A line is accepted only when it is, byte for byte, the canonical serialisation of the twelve fields, each in
its format. The formats are part of the chain's security: the hash has nothing between the fields, so only
they keep two different events from having the same preimage. Nothing here looks beyond one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

from ..errors import Json
from ..model.event import TraceEvent
from ..model.limits import MAX_JSON_DEPTH, MAX_PAYLOAD_CHARS
from ..model.nesting import nests_deeper
from .canonical import MAX_SAFE_INTEGER, canonical_json
from .formats import EVENT_TYPE, HASH, SEQUENCE, TIMESTAMP, UUID

_REST_CHARS: Final = 4096
"""Room for what stands around a payload: some 600 characters and the event type."""

MAX_LINE_BYTES: Final = 4 * MAX_PAYLOAD_CHARS + _REST_CHARS
"""Longest line that is read, line feed included: the largest payload at four bytes a character, and the rest.

A longer one is `bad_field` and is never held as a whole, so that one endless line cannot fill the memory.
"""

_LINE_DEPTH: Final = MAX_JSON_DEPTH + 1
"""A payload may nest to the limit; its line is one more object around it."""

# The order of the keys, the absence of white space and of escapes are checked by the shape; what is left is
# to see that the payload is canonical. The text behind the payload holds no second `"previous_event_hash":`,
# so there is one way to match and it is found in linear time.
_LINE: Final = re.compile(
    rf'\{{"event_hash":"(?P<event_hash>{HASH})"'
    rf',"event_id":"(?P<event_id>{UUID})"'
    rf',"event_type":"(?P<event_type>{EVENT_TYPE})"'
    rf',"parent_span_id":(?:null|"(?P<parent_span_id>{UUID})")'
    r',"payload":(?P<payload_json>\{.*\})'
    rf',"previous_event_hash":"(?P<previous_event_hash>{HASH})"'
    rf',"sequence":(?P<sequence>{SEQUENCE})'
    rf',"session_id":"(?P<session_id>{UUID})"'
    rf',"span_id":"(?P<span_id>{UUID})"'
    rf',"timestamp":"(?P<timestamp>{TIMESTAMP})"'
    rf',"trace_id":"(?P<trace_id>{UUID})"'
    r',"trace_version":"(?P<trace_version>1\.0)"\}'
)

LineError = Literal["bad_field", "duplicate_key"]


class BadLine(Exception):
    """A line is no event; `error` is the protocol's term for it."""

    def __init__(self, error: LineError) -> None:
        super().__init__(error)
        self.error: LineError = error


def read_lines(source: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file with their line feeds; one beyond MAX_LINE_BYTES comes in pieces.

    The first piece is longer than the limit, so `read_event` refuses it.

    Raises:
        OSError: the file could not be read.
    """
    while line := source.readline(MAX_LINE_BYTES + 1):
        yield line


def read_event(line: bytes) -> TraceEvent:
    """Return the event of one line, which ends with its line feed.

    The timestamp's digits are not looked up in a calendar and the ids' UUID versions not checked: both are
    the writer's duty and neither can make two preimages equal.

    Raises:
        BadLine: `duplicate_key` when the line is JSON with a key twice in one object, at any level;
            `bad_field` for everything else: no line feed, a carriage return, a byte order mark, no UTF-8,
            no JSON, another set of fields, a wrong format, a number or string that RFC 8785 refuses or
            writes in another way, a payload beyond MAX_JSON_DEPTH or MAX_PAYLOAD_CHARS.
    """
    if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
        raise BadLine("bad_field")
    try:
        text = line[:-1].decode()
    except UnicodeDecodeError:
        raise BadLine("bad_field") from None
    # Before anything is parsed: an empty list takes 3 characters as text and 64 bytes as an object.
    if len(text) > MAX_PAYLOAD_CHARS + _REST_CHARS or nests_deeper(text, _LINE_DEPTH):
        raise BadLine("bad_field")
    match = _LINE.fullmatch(text)
    if match is None or not _is_canonical(match["payload_json"]):
        raise BadLine("duplicate_key" if _has_duplicate_key(text) else "bad_field")
    sequence = int(match["sequence"])
    if sequence > MAX_SAFE_INTEGER:
        raise BadLine("bad_field")
    fields = match.groupdict()
    fields.pop("sequence")
    return TraceEvent(sequence=sequence, **fields)


def _is_canonical(payload_json: str) -> bool:
    if len(payload_json) > MAX_PAYLOAD_CHARS:
        return False
    try:
        return canonical_json(json.loads(payload_json)) == payload_json
    except ValueError:
        return False


def _has_duplicate_key(text: str) -> bool:
    """Tell whether JSON text repeats a key. Only for lines known to be bad: it names the fault."""
    found = False

    def note(members: list[tuple[str, Json]]) -> None:
        nonlocal found
        found = found or len({name for name, _ in members}) < len(members)

    try:
        # Numbers stay text: none is too large for the question asked here.
        json.loads(text, object_pairs_hook=note, parse_int=str, parse_float=str, parse_constant=_no_json)
    except ValueError:
        return False
    return found


def _no_json(name: str) -> Json:
    raise ValueError(f"`{name}` is not JSON")
