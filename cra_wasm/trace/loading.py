"""Whole traces in memory, for what looks at all of a trace at once: replay, state, diff (PROTOCOL 3.11-3.13).

`verify` needs none of this: it holds one event at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from os import PathLike, fspath
from typing import Final, TypeAlias

from ..errors import InvalidInput, Json
from ..model.event import TRACE_VERSION, TraceEvent
from ..model.parse import error_of_line, parse_line
from ..model.timestamps import parse_timestamp_ns
from .canonical import canonical_json
from .reader import MAX_LINE_BYTES, BadLine, read_event, read_lines
from .verify import trace_lines, verify_lines

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
            the pointer of what is no event: `/12/payload` in the 13th line. `file` is the path, if it is one.
    """
    if isinstance(source, bytes):
        return _events_of(read_lines(io.BytesIO(source)), verify)
    if not isinstance(source, str | PathLike):
        return _given_events(source, verify)
    try:
        with trace_lines(source) as lines:
            return _events_of(lines, verify)
    except InvalidInput as error:
        error.details["file"] = fspath(source)
        raise


def checked_lines(
    source: Iterable[bytes], *, code: str = _CODE, too_large: str = "trace_too_large"
) -> list[bytes]:
    """Return the lines of a file within the limits of a trace.

    Raises:
        InvalidInput: `too_large`, or `code` for a line that is too long.
    """
    lines: list[bytes] = []
    size_bytes = 0
    for line in source:
        size_bytes += len(line)
        if len(lines) >= MAX_TRACE_EVENTS or size_bytes > MAX_TRACE_BYTES:
            raise _too_large(too_large)
        if len(line) > MAX_LINE_BYTES:
            error = InvalidInput(code, f"is longer than {MAX_LINE_BYTES} bytes", pointer="")
            raise error_of_line(error, len(lines))
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


def _too_large(code: str = "trace_too_large") -> InvalidInput:
    return InvalidInput(
        code, f"more than {MAX_TRACE_EVENTS} lines or {MAX_TRACE_BYTES} bytes: give a part of it"
    )


def _events_of(source: Iterable[bytes], verify: bool) -> list[TraceEvent]:
    lines = checked_lines(source)
    if verify:
        _refuse_invalid(lines)
    elif not lines:
        raise InvalidInput(_CODE, "the trace is empty", pointer="")
    events = []
    for index, line in enumerate(lines):
        try:
            events.append(_event_of(line))
        except InvalidInput as error:
            raise error_of_line(error, index) from None
    return events


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


def _event_of(line: bytes) -> TraceEvent:
    try:
        return read_event(line)
    except BadLine:
        return _foreign_event(parse_line(line, code=_CODE))


def _foreign_event(value: dict[str, Json]) -> TraceEvent:
    """Return the event of a line that is none of ours; only the members' types are looked at."""

    def text(name: str, *, needed: bool = False) -> str:
        found = value.get(name, "")
        if not isinstance(found, str) or (needed and not found):
            raise _bad_member(name, "is no text" if found else "is missing")
        return found

    parent = value.get("parent_span_id")
    if not isinstance(parent, str | None):
        raise _bad_member("parent_span_id", "is no text")
    return TraceEvent(
        **{name: text(name) for name in _IDS},
        parent_span_id=parent,
        session_id=text("session_id", needed=True),
        sequence=_sequence_of(value.get("sequence")),
        timestamp=text("timestamp"),
        event_type=text("event_type", needed=True),
        payload_json=_payload_of(value.get("payload")),
        trace_version=text("trace_version") or TRACE_VERSION,
    )


def _sequence_of(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _bad_member("sequence", "is no number of an event")
    return value


def _payload_of(value: Json) -> str:
    if not isinstance(value, dict):
        raise _bad_member("payload", "is no object")
    try:
        return canonical_json(value)
    except InvalidInput as error:
        raise _bad_member(f"payload{error.details['pointer']}", error.message) from None


def _bad_member(name: str, message: str) -> InvalidInput:
    return InvalidInput(_CODE, f"`{name}` {message}", pointer=f"/{name}")


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
