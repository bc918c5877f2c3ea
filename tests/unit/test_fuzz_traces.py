"""Fuzzing: a trace that anyone may have written is valid only where it is the trace that was written."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cra_wasm.model.event import TraceEvent
from cra_wasm.trace.reader import MAX_LINE_BYTES, BadLine, read_event, read_lines
from cra_wasm.trace.verify import verify_lines

from .breaking import ANY_JSON, broken, broken_bytes, tell
from .chaining import chain, line_of

LINES = [line_of(event) for event in chain(5)]
TRACE = b"".join(LINES)
EVENTS = [event.to_dict() for event in chain(3)]
PREFIXES = [b"".join(LINES[:length]) for length in range(len(LINES) + 1)]


def written(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(broken_bytes(st.just(TRACE)))
def test_of_broken_bytes_only_a_beginning_of_the_trace_is_valid(data: bytes) -> None:
    result = tell(lambda: verify_lines(read_lines(io.BytesIO(data))))
    assert result.valid == (data in PREFIXES[1:])
    if result.valid:
        assert result.warnings == (() if data == TRACE else ("truncated",))
    else:
        assert result.error_at == result.events
        assert data.startswith(PREFIXES[min(result.events, len(LINES))])


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(st.lists(st.sampled_from(LINES), max_size=8))
def test_lines_in_any_other_order_are_not_valid(lines: list[bytes]) -> None:
    result = tell(lambda: verify_lines(lines))
    assert result.valid == (b"".join(lines) in PREFIXES[1:])


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(broken(st.sampled_from(EVENTS)))
def test_a_broken_event_has_no_line_or_is_read_as_it_was_written(document: Any) -> None:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for line in (text.encode(errors="surrogatepass") + b"\n", written(document)):
        try:
            event = tell(lambda line=line: read_event(line))  # type: ignore[misc]
        except BadLine as bad:
            assert bad.error in ("bad_field", "duplicate_key")
        else:
            assert line == (event.to_json() + "\n").encode()
            assert event == TraceEvent.from_line(line.decode()[:-1])


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(st.binary(max_size=300) | st.lists(st.binary(max_size=40)).map(b"\n".join) | ANY_JSON.map(written))
def test_anything_else_is_no_trace(data: bytes) -> None:
    assert not tell(lambda: verify_lines(read_lines(io.BytesIO(data)))).valid


HOSTILE = {
    "an event type of half a million words": lambda: LINES[0].replace(
        b"policy.evaluated", b"a" + b".a" * 400_000
    ),
    "a payload full of what stands behind it": lambda: LINES[0].replace(
        b'"payload":{', b'"payload":{"a":"' + b'},\\"previous_event_hash\\":\\"' * 30_000 + b'",'
    ),
    "a payload of the link again and again": lambda: LINES[0].replace(
        b'"payload":{', b'"payload":{' + (b'"x":{},"previous_event_hash":"' + b"0" * 64 + b'",') * 9_000
    ),
    "a hundred thousand brackets": lambda: LINES[0].replace(
        b'"payload":{', b'"payload":{"a":' + b"[" * 100_000
    ),
    "a hundred thousand empty lists": lambda: LINES[0].replace(
        b'"payload":{', b'"payload":{"a":[' + b"[]," * 300_000 + b"[]],"
    ),
    "an endless line": lambda: b"{" * 9_000_000,
    "an endless number": lambda: LINES[0].replace(b'"n":0', b'"n":' + b"9" * 900_000),
    "a million quotes": lambda: b'"' * 1_000_000 + b"\n",
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_line_is_refused_in_bounded_time(make: Any) -> None:
    result = tell(lambda: verify_lines(read_lines(io.BytesIO(make()))))
    assert (result.valid, result.error_at) == (False, 0)


def test_a_line_beyond_the_limit_is_never_held_as_a_whole() -> None:
    pieces = read_lines(io.BytesIO(b"x" * (2 * MAX_LINE_BYTES)))
    assert [len(piece) for piece in pieces] == [MAX_LINE_BYTES + 1, MAX_LINE_BYTES - 1]
