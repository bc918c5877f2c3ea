"""Whole traces in memory, for what looks at all of a trace at once: replay, state, diff (PROTOCOL 3.11-3.13).

`verify` needs none of this: it holds one event at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from os import PathLike, fspath
from typing import BinaryIO, Final, TypeAlias

from ..errors import BackendFailure, InvalidInput, Json, NotFound
from ..model.event import TRACE_VERSION, TraceEvent
from ..model.limits import MAX_TEXT_BYTES
from ..model.parse import parse_json
from ..model.timestamps import parse_timestamp_ns
from .canonical import canonical_json
from .reader import MAX_LINE_BYTES, BadLine, read_event, read_lines
from .verify import verify_lines

MAX_TRACE_EVENTS: Final = 1_000_000
MAX_TRACE_BYTES: Final = 512 * 1024 * 1024

TraceSource: TypeAlias = str | PathLike[str] | bytes | Iterable[TraceEvent]
"""The path of a .trace.jsonl file, the bytes of one, or events of one session in order."""

_CODE: Final = "invalid_trace"
_IDS: Final = ("event_id", "trace_id", "span_id", "event_hash", "previous_event_hash")


def load_trace(source: TraceSource, *, verify: bool = True) -> list[TraceEvent]:
    """Return the events of one session's trace.

    Args:
        source: see TraceSource; at most 1,000,000 events and 512 MiB.
        verify: refuse a trace that does not verify (3.4). Without it, each line need only be a JSON object
            with the members of an event, so that traces of other implementations, parts of traces and broken
            ones can be read; ids and hashes may then be any text.

    Raises:
        NotFound: `trace_not_found`.
        BackendFailure: `trace_unreadable`, `hash_unavailable`.
        InvalidInput: `trace_too_large`; `invalid_trace` with `error` and `error_at` of the verification, or
            the pointer of what is no event: `/12/payload` in the 13th line.
    """
    if isinstance(source, bytes):
        return _events_of(_checked(io.BytesIO(source)), verify)
    if isinstance(source, str | PathLike):
        return _load_file(source, verify)
    return _given_events(source, verify)


def _load_file(path: str | PathLike[str], verify: bool) -> list[TraceEvent]:
    try:
        with open(path, "rb") as file:
            lines = _checked(file)
    except FileNotFoundError:
        raise NotFound(
            "trace_not_found", f"no file `{fspath(path)}`: give the path of a .trace.jsonl file"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise BackendFailure("trace_unreadable", f"cannot read `{fspath(path)[:300]}`: {error}") from None
    return _events_of(lines, verify)


def _checked(file: BinaryIO) -> list[bytes]:
    lines: list[bytes] = []
    size_bytes = 0
    for line in read_lines(file):
        size_bytes += len(line)
        if len(lines) >= MAX_TRACE_EVENTS or size_bytes > MAX_TRACE_BYTES:
            raise _too_large()
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInput(_CODE, "a line is too long to be an event", pointer=f"/{len(lines)}")
        lines.append(line)
    return lines


def _given_events(source: Iterable[TraceEvent], verify: bool) -> list[TraceEvent]:
    events: list[TraceEvent] = []
    for event in source:
        if not isinstance(event, TraceEvent):
            raise InvalidInput(_CODE, "give TraceEvents, bytes or a path", pointer=f"/{len(events)}")
        if len(events) >= MAX_TRACE_EVENTS:
            raise _too_large()
        events.append(event)
    if verify:
        _refuse_invalid(f"{event.to_json()}\n".encode() for event in events)
    return events


def _too_large() -> InvalidInput:
    return InvalidInput(
        "trace_too_large",
        f"more than {MAX_TRACE_EVENTS} events or {MAX_TRACE_BYTES} bytes: give a part of it",
    )


def _events_of(lines: list[bytes], verify: bool) -> list[TraceEvent]:
    if verify:
        _refuse_invalid(lines)
    elif not lines:
        raise InvalidInput(_CODE, "the trace is empty", pointer="")
    return [_event_of(line, index) for index, line in enumerate(lines)]


def _refuse_invalid(lines: Iterable[bytes]) -> None:
    result = verify_lines(lines)
    if not result.valid:
        raise InvalidInput(
            _CODE,
            f"{result.error} at event {result.error_at}: `cra-wasm verify` tells more; to read it all the "
            "same, say that it need not verify",
            pointer=f"/{result.error_at}",
            error=result.error,
            error_at=result.error_at,
        )


def _event_of(line: bytes, index: int) -> TraceEvent:
    try:
        return read_event(line)
    except BadLine:
        return _foreign_event(line, index)


def _foreign_event(line: bytes, index: int) -> TraceEvent:
    """Return the event of a line that is none of ours; only the members' types are looked at."""
    if len(line) > MAX_TEXT_BYTES:
        raise InvalidInput(_CODE, "the line is too long", pointer=f"/{index}")
    value = parse_json(line, code=_CODE)
    if not isinstance(value, dict):
        raise InvalidInput(_CODE, "the line is no object", pointer=f"/{index}")

    def text(name: str) -> str:
        found = value.get(name, "")
        if not isinstance(found, str):
            raise InvalidInput(_CODE, f"`{name}` is no text", pointer=f"/{index}/{name}")
        return found

    parent = value.get("parent_span_id")
    if not isinstance(parent, str | None):
        raise InvalidInput(_CODE, "`parent_span_id` is no text", pointer=f"/{index}/parent_span_id")
    return TraceEvent(
        **{name: text(name) for name in _IDS},
        parent_span_id=parent,
        session_id=_needed(text("session_id"), f"/{index}/session_id"),
        sequence=_whole_number(value.get("sequence"), index),
        timestamp=text("timestamp"),
        event_type=_needed(text("event_type"), f"/{index}/event_type"),
        payload_json=_payload_of(value.get("payload"), index),
        trace_version=text("trace_version") or TRACE_VERSION,
    )


def _needed(text: str, pointer: str) -> str:
    if not text:
        raise InvalidInput(_CODE, "every event has one", pointer=pointer)
    return text


def _whole_number(value: Json, index: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(_CODE, "is no number of an event", pointer=f"/{index}/sequence")
    return value


def _payload_of(value: Json, index: int) -> str:
    if not isinstance(value, dict):
        raise InvalidInput(_CODE, "the payload is no object", pointer=f"/{index}/payload")
    try:
        return canonical_json(value)
    except InvalidInput as error:
        pointer = f"/{index}/payload{error.details.get('pointer', '')}"
        raise InvalidInput(_CODE, error.message, pointer=pointer) from None


def wall_ns_of(event: TraceEvent) -> int:
    """Return an event's time.

    Raises:
        InvalidInput: `invalid_trace` for a day that no calendar has; verification does not look at that.
    """
    try:
        return parse_timestamp_ns(event.timestamp)
    except (ValueError, OverflowError):
        raise InvalidInput(
            _CODE, f"`{event.timestamp[:40]}` is no time", pointer=f"/{event.sequence}/timestamp"
        ) from None
