"""Canonical JSON text (RFC 8785, PROTOCOL 3.3): the one form in which payloads are hashed and stored.

One recursive pass that checks and writes at once. In Pyodide a flat payload of 3 to 7 members takes 4 to
7 us; the rfc8785 package takes 16 to 34, and json.dumps 5 to 11 without looking at key types, integers or
surrogates (`cra-wasm bench canonical`). A property test holds the text to rfc8785's. Members that are
plain text or integers are written in place, since a call costs 0.3 us there.
"""

from __future__ import annotations

from json.encoder import encode_basestring as _quote  # escapes exactly what RFC 8785 escapes
from math import isfinite
from typing import Final

import rfc8785

from ..errors import InvalidInput, Json
from ..model.limits import MAX_JSON_DEPTH

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Largest integer that every reader of JSON numbers keeps; larger ones are refused, never rounded."""

_EXPONENT_FROM: Final = 1e21
"""From here on ECMAScript writes an exponent; a float below it and above 2^53 - 1 is an integer literal."""


class _Refused(Exception):
    """A value has no canonical text. `path` grows from the culprit up to the root."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str | int] = []


def canonical_json(value: Json) -> str:
    """Return the RFC 8785 text of a JSON value.

    Takes None, bool, int, float, str, list, tuple and dict with str keys, and subclasses of them by the
    value they hold. Minus zero becomes `0` and `1.0` becomes `1`, as the RFC has it.

    Raises:
        InvalidInput: `not_canonical` with the culprit's pointer: NaN or an infinity; an integer beyond
            +-(2^53 - 1), or a float whose text would be such an integer; a lone surrogate; a key that is
            no str; more than MAX_JSON_DEPTH levels of dicts and lists, as every cycle has; another type.
    """
    try:
        return _write(value, 0)
    except _Refused as refused:
        from ..model.parse import pointer_of  # pulls in pydantic: not for the path that succeeds

        raise InvalidInput(
            "not_canonical",
            f"the value {refused}: give JSON values that RFC 8785 can write",
            pointer=pointer_of(refused.path[::-1]),
        ) from None


def _write(value: Json, depth: int) -> str:
    kind = type(value)
    if kind is dict:
        return _write_object(value, depth + 1)
    if kind is str:
        return _write_string(value)
    if kind is int:
        return _write_integer(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is list:
        return _write_array(value, depth + 1)
    if kind is float:
        return _write_float(value)
    return _write_subclass(value, depth)


def _write_subclass(value: Json, depth: int) -> str:
    """Write what is a JSON type by inheritance, an IntEnum or an OrderedDict, and refuse the rest."""
    if isinstance(value, str):
        return _write_string(str.__str__(value))
    if isinstance(value, int):
        return _write_integer(int(value))
    if isinstance(value, float):
        return _write_float(float(value))
    if isinstance(value, list | tuple):
        return _write_array(value, depth + 1)
    if isinstance(value, dict):
        return _write_object(value, depth + 1)
    raise _Refused(f"has the type `{type(value).__name__}`, which JSON does not have")


def _write_object(value: dict[str, Json], depth: int) -> str:
    if depth > MAX_JSON_DEPTH:
        raise _Refused(f"nests deeper than {MAX_JSON_DEPTH} levels")
    keys = _sorted_keys(value)
    parts = []
    for key in keys:
        item = value[key]
        kind = type(item)
        if kind is str and item.isascii():
            parts.append(f"{_quote(key)}:{_quote(item)}")
        elif kind is int and -MAX_SAFE_INTEGER <= item <= MAX_SAFE_INTEGER:
            parts.append(f"{_quote(key)}:{item}")
        else:
            try:
                parts.append(f"{_quote(key)}:{_write(item, depth)}")
            except _Refused as refused:
                refused.path.append(key)
                raise
    return "{" + ",".join(parts) + "}"


def _sorted_keys(value: dict[str, Json]) -> list[str]:
    """Return the keys in the order of their UTF-16 code units, which differs from str's beyond U+FFFF."""
    try:
        keys = sorted(value)
        if not "".join(keys).isascii():  # join also finds keys that are no str
            keys.sort(key=_utf16)
    except TypeError:
        raise _Refused("has a key that is no text") from None
    except UnicodeEncodeError:
        raise _Refused("has a key with a lone surrogate") from None
    return keys


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def _write_array(value: list[Json] | tuple[Json, ...], depth: int) -> str:
    if depth > MAX_JSON_DEPTH:
        raise _Refused(f"nests deeper than {MAX_JSON_DEPTH} levels")
    parts: list[str] = []
    try:
        for item in value:
            parts.append(_write(item, depth))
    except _Refused as refused:
        refused.path.append(len(parts))
        raise
    return "[" + ",".join(parts) + "]"


def _write_string(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Refused("holds a lone surrogate") from None
    return _quote(value)


def _write_integer(value: int) -> str:
    if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return int.__repr__(value)
    raise _Refused("is an integer beyond +-(2^53 - 1)")


def _write_float(value: float) -> str:
    """Write ECMAScript's Number::toString: whole numbers here, the rest by rfc8785."""
    if not isfinite(value):
        raise _Refused("is NaN or an infinity")
    size = abs(value)
    if MAX_SAFE_INTEGER < size < _EXPONENT_FROM:
        raise _Refused("is a float that is written as an integer beyond +-(2^53 - 1)")
    if size <= MAX_SAFE_INTEGER and value.is_integer():
        return int.__repr__(int(value))
    return rfc8785.dumps(value).decode()
