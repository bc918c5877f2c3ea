"""JSON read with its numbers as they are written: some recipes hash that very text."""

from __future__ import annotations

import json
from math import isfinite

import rfc8785

from ...errors import Json
from ...model.limits import MAX_JSON_DEPTH, MAX_PAYLOAD_CHARS
from ...model.nesting import nests_deeper
from ..reader import MAX_LINE_BYTES, BadLine

_LINE_DEPTH = MAX_JSON_DEPTH + 1
_LINE_CHARS = MAX_PAYLOAD_CHARS + 4096


class Number(str):
    """A number's text in the line: `1.0`, `-0`, `1e16`, an integer of any length."""

    __slots__ = ()


def read_members(line: bytes) -> dict[str, Json]:
    """Return the members of a line that is one JSON object, its numbers as `Number`.

    White space around it and a missing line feed are no fault: no foreign recipe fixes them.

    Raises:
        BadLine: `duplicate_key` when an object has a key twice, at any level; `bad_field` for no UTF-8, no
            JSON object, and what is longer or deeper than the limits of a line (PROTOCOL 0.3).
    """
    if len(line) > MAX_LINE_BYTES:
        raise BadLine("bad_field")
    try:
        text = line.decode()
        if len(text) > _LINE_CHARS or nests_deeper(text, _LINE_DEPTH):
            raise BadLine("bad_field")
        value = json.loads(
            text,
            object_pairs_hook=_members,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_number,
        )
    except ValueError:
        raise BadLine("bad_field") from None
    if not isinstance(value, dict):
        raise BadLine("bad_field")
    return value


def _members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise BadLine("duplicate_key")
    return members


def _no_number(name: str) -> Json:
    raise ValueError(f"`{name}` is not JSON")


def number_value(number: Number) -> float:
    """Return the double that JavaScript reads.

    Raises:
        BadLine: `bad_field` beyond the doubles, where JavaScript reads an infinity.
    """
    value = float(number)
    if not isfinite(value):
        raise BadLine("bad_field")
    return value


def javascript_text(number: Number) -> str:
    """Return ECMAScript's text of a number, also of integers that a double cannot hold exactly."""
    return rfc8785.dumps(number_value(number)).decode()
