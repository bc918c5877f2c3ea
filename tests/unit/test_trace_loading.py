"""Whole traces are read with every check, or leniently when asked, and in bounds (PROTOCOL 3.11)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import CRAError
from cra_wasm.trace import loading
from cra_wasm.trace.loading import load_trace, wall_ns_of
from cra_wasm.trace.reader import MAX_LINE_BYTES
from cra_wasm.trace.verify import verify_file

from .chaining import chain, line_of

EVENTS = chain(5)
BYTES = b"".join(map(line_of, EVENTS))


def refused(source: Any, *, verify: bool = True) -> CRAError:
    with pytest.raises(CRAError) as caught:
        load_trace(source, verify=verify)
    return caught.value


@pytest.mark.parametrize("verify", [True, False])
def test_a_path_bytes_and_events_give_the_same(tmp_path: Path, verify: bool) -> None:
    path = tmp_path / "t.trace.jsonl"
    path.write_bytes(BYTES)
    for source in (path, str(path), BYTES, EVENTS, iter(EVENTS)):
        assert load_trace(source, verify=verify) == EVENTS


def test_a_trace_that_does_not_verify_is_refused_with_its_first_fault() -> None:
    error = refused([*EVENTS[:2], *EVENTS[3:]])
    assert (error.code, error.details["error"], error.details["pointer"]) == (
        "invalid_trace",
        "sequence_gap",
        "/2",
    )
    assert load_trace([*EVENTS[:2], *EVENTS[3:]], verify=False) == [*EVENTS[:2], *EVENTS[3:]]


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    "source", [b"", b"no json\n", b"[]\n", b"{}\n", b"\x00", b"[" * 100_000, b"{" * 99 + b"\n"]
)
def test_what_is_no_trace_is_refused(source: bytes, verify: bool) -> None:
    assert refused(source, verify=verify).code == "invalid_trace"


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"payload": []}, "/0/payload"),
        ({"payload": {"n": 2**60}}, "/0/payload/n"),
        ({"sequence": -1}, "/0/sequence"),
        ({"sequence": True}, "/0/sequence"),
        ({"session_id": 5}, "/0/session_id"),
        ({"session_id": ""}, "/0/session_id"),
        ({"event_type": None}, "/0/event_type"),
        ({"parent_span_id": 7}, "/0/parent_span_id"),
        ({"event_hash": {}}, "/0/event_hash"),
        ({"sequence": -1, "session_id": ""}, "/0/session_id"),
    ],
)
def test_a_foreign_line_without_an_events_members_is_refused(members: dict[str, Any], pointer: str) -> None:
    line = json.dumps(EVENTS[0].to_dict() | members).encode() + b"\n"
    error = refused(line, verify=False)
    assert (error.code, error.details["pointer"]) == ("invalid_trace", pointer)


def test_a_foreign_line_is_read_as_it_is() -> None:
    foreign = {"session_id": "s", "sequence": 3, "event_type": "X", "payload": {"b": 1, "a": 2.0}, "more": 1}
    (event,) = load_trace(json.dumps(foreign).encode(), verify=False)
    assert (event.session_id, event.sequence, event.event_type) == ("s", 3, "X")
    assert (event.payload_json, event.timestamp, event.event_hash) == ('{"a":2,"b":1}', "", "")


def test_a_file_that_is_not_there_or_cannot_be_read_says_so(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.jsonl").code == "trace_not_found"
    assert refused(tmp_path).code == "trace_unreadable"
    assert refused("no\x00name").code == "trace_unreadable"
    with pytest.raises(CRAError) as caught:
        verify_file("no\x00name")
    assert caught.value.code == "trace_unreadable"


@pytest.mark.parametrize(
    ("line", "pointer", "told"),
    [
        (b'{"a": }\n', "/3", "line 4 is not JSON: Expecting value at column 7"),
        (b"[]\n", "/3", "line 4 is no object"),
        (b"\xff\n", "/3", "line 4 is not JSON: 'utf-8' codec"),
        (b"{" + b" " * MAX_LINE_BYTES + b"}\n", "/3", "line 4 is longer than"),
        (b'{"session_id": "s"}\n', "/3/sequence", "line 4 `sequence` is no number of an event"),
        (b'{"session_id": "s", "sequence": 1}\n', "/3/event_type", "line 4 `event_type` is missing"),
    ],
)
def test_a_line_that_is_no_event_is_told_with_its_file(
    tmp_path: Path, line: bytes, pointer: str, told: str
) -> None:
    path = tmp_path / "t.trace.jsonl"
    path.write_bytes(b"".join([*map(line_of, EVENTS[:3]), line, *map(line_of, EVENTS[3:])]))
    error = refused(path, verify=False)
    assert (error.code, error.details["pointer"]) == ("invalid_trace", pointer)
    assert (error.details["file"], error.details.get("line", 4)) == (str(path), 4)
    assert error.message.startswith(told)
    if b" " * MAX_LINE_BYTES not in line:
        assert refused(path).details["error_at"] == 3
    assert refused(path).details["file"] == str(path)


def test_what_is_no_event_is_refused() -> None:
    assert refused([EVENTS[0], "text"]).details["pointer"] == "/1"


@pytest.mark.parametrize("name", ["MAX_TRACE_EVENTS", "MAX_TRACE_BYTES"])
def test_a_trace_beyond_the_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(loading, name, 4)
    path = tmp_path / "t.trace.jsonl"
    path.write_bytes(BYTES)
    assert refused(BYTES).code == refused(path).code == "trace_too_large"
    if name == "MAX_TRACE_EVENTS":
        assert refused(EVENTS).code == "trace_too_large"
        assert load_trace(EVENTS[:4], verify=False) == EVENTS[:4]


def test_an_endless_line_is_never_held() -> None:
    assert refused(b"{" + b" " * (MAX_LINE_BYTES + 10), verify=False).code == "invalid_trace"


def test_a_day_that_no_calendar_has_is_refused_when_asked_for() -> None:
    with pytest.raises(CRAError) as caught:
        wall_ns_of(EVENTS[2]._replace(timestamp="2024-13-28T12:00:00.000000Z"))
    assert caught.value.details["pointer"] == "/2/timestamp"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(source: bytes) -> None:
    for verify in (True, False):
        try:
            load_trace(source, verify=verify)
        except CRAError:
            continue


@given(st.integers(0, len(BYTES) - 1), st.binary(min_size=1, max_size=3))
def test_a_damaged_trace_is_read_or_refused(place: int, new: bytes) -> None:
    damaged = BYTES[:place] + new + BYTES[place + 1 :]
    for verify in (True, False):
        try:
            load_trace(damaged, verify=verify)
        except CRAError:
            continue
