"""JSON text into a model, with every finding as a JSON Pointer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import InvalidInput, Json, NotFound
from .limits import MAX_JSON_DEPTH, MAX_TEXT_BYTES, MAX_VALUES
from .nesting import holds_more_values, nests_deeper

Model = TypeVar("Model", bound=BaseModel)

MAX_FINDINGS: Final = 100
"""Most findings that one error carries; `details["findings_total"]` has the number of all."""

_MOST_ERRORS: Final = 50_000
"""Most errors of pydantic's that are written out, at 2 KB each, so that the first hundred can be told."""


def pointer_of(path: Sequence[str | int]) -> str:
    """Return the JSON Pointer (RFC 6901) of a path of keys and indexes; "" is the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


class _DuplicateKey(ValueError):
    """Two members of one object have the same name."""


def _without_duplicates(members: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(members)
    if len(found) != len(members):
        seen: set[str] = set()
        for name, _ in members:
            if name in seen:
                raise _DuplicateKey(name)
            seen.add(name)
    return found


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"`{name}` is not JSON")


def check_shape(value: Json, *, code: str, limit: int = MAX_JSON_DEPTH) -> None:
    """Refuse a value that nests deeper than `limit` arrays and objects, has a member name that is no text, or
    holds more than MAX_VALUES values.

    Raises:
        InvalidInput: with that code and the pointer of the first value that is too deep.
    """
    left = MAX_VALUES
    stack: list[tuple[Json, tuple[str | int, ...]]] = [(value, ())]
    while stack:
        item, path = stack.pop()
        if not isinstance(item, dict | list | tuple):
            continue
        if len(path) >= limit:
            raise InvalidInput(code, f"nests deeper than {limit} levels", pointer=pointer_of(path))
        if isinstance(item, dict) and not all(isinstance(name, str) for name in item):
            raise InvalidInput(code, "has a member name that is no text", pointer=pointer_of(path))
        left -= len(item)
        if left < 0:
            raise InvalidInput(code, f"holds more than {MAX_VALUES} values", pointer="")
        members = item.items() if isinstance(item, dict) else enumerate(item)
        stack.extend((child, (*path, key)) for key, child in members)


def parse_json(text: str | bytes, *, code: str) -> Json:
    """Read JSON text: UTF-8, no duplicate member names, no NaN, at most 16 MiB, 64 levels and MAX_VALUES.

    Raises:
        InvalidInput: with the given code; `line` and `column` where the text is broken, `member` where one
            stands twice.
    """
    if not isinstance(text, str | bytes):
        raise InvalidInput(code, "give JSON text", pointer="")
    if len(text) > MAX_TEXT_BYTES:
        raise InvalidInput(code, f"is larger than {MAX_TEXT_BYTES} bytes", pointer="")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if nests_deeper(text, MAX_JSON_DEPTH):
            raise InvalidInput(code, f"nests deeper than {MAX_JSON_DEPTH} levels", pointer="")
        if holds_more_values(text, MAX_VALUES):
            raise InvalidInput(code, f"holds more than {MAX_VALUES} values", pointer="")
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except InvalidInput:
        raise
    except _DuplicateKey as error:
        raise InvalidInput(
            code, f"the member `{error}` stands twice in one object", pointer="", member=str(error)
        ) from None
    except json.JSONDecodeError as error:
        raise InvalidInput(
            code,
            f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}",
            pointer="",
            line=error.lineno,
            column=error.colno,
        ) from None
    except ValueError as error:
        raise InvalidInput(code, f"is not JSON: {error}", pointer="") from None
    return value


def parse_line(line: bytes, *, code: str) -> dict[str, Json]:
    """Read a line that is one object.

    Raises:
        InvalidInput: with the given code, for `error_of_line`.
    """
    value = parse_json(line.rstrip(), code=code)
    if not isinstance(value, dict):
        raise InvalidInput(code, "is no object", pointer="")
    return value


def error_of_line(error: InvalidInput, index: int) -> InvalidInput:
    """Return the error of a line as one of its file: the first is `/0`, and for people line 1."""
    message = f"line {index + 1} {error.message.replace(' at line 1 ', ' at ')}"
    details = {**error.details, "pointer": f"/{index}{error.details['pointer']}"}
    if "line" in details:
        details["line"] = index + 1
    return InvalidInput(error.code, message, **details)


def read_bounded(path: Path) -> bytes:
    """Return a file's bytes; of one that is too large, one more than MAX_TEXT_BYTES.

    Raises:
        NotFound: `file_not_found`.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise NotFound("file_not_found", f"cannot read `{str(path)[:300]}`: {error}"[:600]) from None


def as_json_text(source: str | bytes | dict[str, Json], *, code: str) -> str:
    """Return JSON text whose well-formedness was checked, from text or from a dict of JSON values."""
    if isinstance(source, str | bytes):
        value = parse_json(source, code=code)
    else:
        check_shape(source, code=code)
        value = source
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InvalidInput(code, f"is not JSON: {type(error).__name__}: {error}"[:300], pointer="") from None
    if len(text) > MAX_TEXT_BYTES:
        raise InvalidInput(code, f"is larger than {MAX_TEXT_BYTES} bytes", pointer="")
    return text


def parse_model(model: type[Model], source: str | bytes | dict[str, Json], *, code: str) -> Model:
    """Read a model from JSON text or from a dict of JSON values.

    Raises:
        InvalidInput: with the given code; `pointer` is the first culprit's, `findings` lists all as
            {pointer, code, message}.
    """
    text = as_json_text(source, code=code)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise findings_error(code, findings_of(error)) from None


def too_many(error: ValidationError) -> bool:
    """Tell whether there are so many errors that none of them is looked at."""
    return error.error_count() > _MOST_ERRORS


def findings_of(error: ValidationError) -> list[dict[str, Json]]:
    """Return pydantic's errors as findings, in document order; one for all where there are too many."""
    if too_many(error):
        message = f"has {error.error_count()} findings, too many to tell apart: give a document of this kind"
        return [{"pointer": "", "code": "too_many_findings", "message": message}]
    found = []
    for item in error.errors(include_url=False, include_context=False):
        message = item["msg"].removeprefix("Value error, ")
        path = item["loc"]
        if path[-1:] == ("[key]",) and item["input"] == path[-2]:
            # pydantic's mark for a bad member name; JSON Pointer has none, so the member is the culprit.
            path = path[:-1]
        found.append(
            {
                "pointer": pointer_of(path),
                "code": item["type"],
                "message": message[:1].lower() + message[1:],
            }
        )
    return found


def findings_error(code: str, findings: list[dict[str, Json]]) -> InvalidInput:
    """Return the error that carries these findings (at least one); those of packages name the `file` too."""
    first = findings[0]
    file = {"file": first["file"]} if "file" in first else {}
    where = f"{first.get('file', '')}{first['pointer']}" or "the document"
    more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
    return InvalidInput(
        code,
        f"`{where}` {first['message']}{more}",
        pointer=first["pointer"],
        **file,
        findings=findings[:MAX_FINDINGS],
        findings_total=len(findings),
    )
