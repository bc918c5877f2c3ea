"""verify names the first bad event of a trace, whatever was done to it (PROTOCOL 3.4).

One long file, because every test changes the same sample chain, whose builders stand at its top.
"""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import hashing
from cra_wasm.errors import BackendFailure, NotFound
from cra_wasm.model.event import GENESIS_HASH, TraceEvent
from cra_wasm.model.limits import MAX_JSON_DEPTH, MAX_PAYLOAD_CHARS
from cra_wasm.model.nesting import nests_deeper
from cra_wasm.trace.canonical import MAX_SAFE_INTEGER, canonical_json
from cra_wasm.trace.chain import event_preimage
from cra_wasm.trace.reader import MAX_LINE_BYTES, BadLine, read_event, read_lines
from cra_wasm.trace.verify import VerifyResult, verify_file, verify_lines

from .chaining import SPAN, chain, fields, line_of, sealed

OTHER_SESSION = "01a20896-5fbb-702e-a97c-f91cc4970017"
REFERENCE_HASH = "f5b4945b0bb5f9adc249a7062a5bf1bbcf6f095edbd8fb1503bbc2d5a05d19c5"


def verify_bytes(data: bytes) -> VerifyResult:
    return verify_lines(read_lines(io.BytesIO(data)))


def verify_events(events: list[TraceEvent]) -> VerifyResult:
    return verify_lines(line_of(event) for event in events)


def rewritten(change: Callable[[dict[str, Any]], object], *, at: int = 1) -> list[bytes]:
    """A chain whose line `at` holds a changed object, hashed anew and written canonically."""
    lines = [line_of(event) for event in chain()]
    event = json.loads(lines[at])
    change(event)
    lines[at] = json.dumps(event, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    return lines


def assert_refused(result: VerifyResult, error: str, at: int) -> None:
    assert (result.valid, result.error, result.error_at, result.events) == (False, error, at, at)
    assert (result.head is None) == (at == 0)
    assert result.warnings == ()


FIELD_CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a missing field": lambda e: e.pop("span_id"),
    "a thirteenth field": lambda e: e.update(severity="info"),
    "a missing parent": lambda e: e.pop("parent_span_id"),
    "another version": lambda e: e.update(trace_version="1.1"),
    "an upper-case id": lambda e: e.update(event_id=e["event_id"].upper()),
    "a short id": lambda e: e.update(trace_id=e["trace_id"][:-1]),
    "an id of a number": lambda e: e.update(span_id=7),
    "an id with a line feed behind it": lambda e: e.update(span_id=e["span_id"] + "\n"),
    "an empty parent": lambda e: e.update(parent_span_id=""),
    "a null session": lambda e: e.update(session_id=None),
    "a negative sequence": lambda e: e.update(sequence=-1),
    "a sequence of text": lambda e: e.update(sequence="1"),
    "a sequence that is true": lambda e: e.update(sequence=True),
    "a sequence with a fraction": lambda e: e.update(sequence=1.0),
    "a sequence beyond 2^53-1": lambda e: e.update(sequence=MAX_SAFE_INTEGER + 1),
    "a sequence of 400 digits": lambda e: e.update(sequence=10**400),
    "milliseconds": lambda e: e.update(timestamp="2026-11-23T13:26:42.001Z"),
    "an offset": lambda e: e.update(timestamp="2026-11-23T13:26:42.000001+00:00"),
    "digits that are not ASCII": lambda e: e.update(timestamp="\u0662026-11-23T13:26:42.000001Z"),
    "an event type without a dot": lambda e: e.update(event_type="policy"),
    "an event type in upper case": lambda e: e.update(event_type="policy.Evaluated"),
    "an event type with a digit": lambda e: e.update(event_type="policy.v2"),
    "an event type that ends in a dot": lambda e: e.update(event_type="policy."),
    "a payload that is a list": lambda e: e.update(payload=[]),
    "a payload that is null": lambda e: e.update(payload=None),
    "an upper-case hash": lambda e: e.update(event_hash="A" * 64),
    "a short previous hash": lambda e: e.update(previous_event_hash="0" * 63),
}


@pytest.mark.parametrize("name", FIELD_CHANGES)
def test_a_field_in_another_format_is_a_bad_field(name: str) -> None:
    assert_refused(verify_lines(rewritten(FIELD_CHANGES[name])), "bad_field", 1)


@pytest.mark.parametrize(
    "payload_json",
    [
        pytest.param('{"a":9007199254740992}', id="an integer beyond 2^53-1"),
        pytest.param('{"a":-9007199254740992}', id="an integer below -(2^53-1)"),
        pytest.param('{"a":1e16}', id="an exponent for an integer beyond 2^53-1"),
        pytest.param('{"a":10000000000000000.5}', id="a fraction that is rounded to such an integer"),
        pytest.param('{"a":' + "9" * 5000 + "}", id="an integer of 5000 digits"),
        pytest.param('{"a":1e999}', id="a number beyond the doubles"),
        pytest.param('{"a":NaN}', id="NaN"),
        pytest.param('{"a":-Infinity}', id="an infinity"),
        pytest.param('{"a":-0}', id="minus zero"),
        pytest.param('{"a":-0.0}', id="minus zero with a fraction"),
        pytest.param('{"a":1.0}', id="1.0 for 1"),
        pytest.param('{"a":1e2}', id="1e2 for 100"),
        pytest.param('{"a":1E+21}', id="an upper-case exponent"),
        pytest.param('{"a":0.10}', id="a trailing zero"),
        pytest.param('{"a":01}', id="a leading zero"),
        pytest.param('{"a":"\\ud800"}', id="an escaped lone surrogate"),
        pytest.param('{"\\udc00":1}', id="an escaped lone surrogate in a key"),
        pytest.param('{"a":"\\ud83d\\ude00"}', id="an escaped pair"),
        pytest.param('{"a":"\\u00e9"}', id="an escaped letter"),
        pytest.param('{"a":"\\/"}', id="an escaped slash"),
        pytest.param('{"a":"\\u001F"}', id="upper-case hex in an escape"),
        pytest.param('{"a":"\t"}', id="a raw tab in a string"),
        pytest.param('{"b":1,"a":2}', id="keys out of order"),
        pytest.param('{"\ufb33":1,"\U0001f600":2}', id="keys by code point and not by UTF-16"),
        pytest.param('{"a": 1}', id="white space"),
        pytest.param('{"a":1,}', id="a comma too many"),
        pytest.param('{"a":' + "[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH + "}", id="too deep"),
        pytest.param('{"a":' + "[" * 500_000 + "]" * 500_000 + "}", id="deep enough to overflow a stack"),
        pytest.param('{"a":' + '{"a":' * 300_000 + "0" + "}" * 300_001, id="as deep, with objects"),
        pytest.param('{"a":"' + "x" * MAX_PAYLOAD_CHARS + '"}', id="too long"),
    ],
)
def test_a_payload_that_is_not_canonical_is_a_bad_field_even_when_it_hashes(payload_json: str) -> None:
    events = chain(1)
    events.append(sealed(fields(1, events[0].event_hash, payload_json=payload_json)))
    assert_refused(verify_events(events), "bad_field", 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b'"sequence":1', b'"sequence":1,"sequence":1', id="a field twice"),
        pytest.param(b'"n":1', b'"n":1,"n":1', id="a member twice"),
        pytest.param(b'"n":1', b'"n":1,"\\u006e":1', id="a member twice, once escaped"),
        pytest.param(b'"x":[1.5,null,{}]', b'"x":[1.5,null,{"y":{"z":1,"z":2}}]', id="a deep member twice"),
        pytest.param(b'"n":1', b'"n":' + b"9" * 5000 + b',"n":1', id="a member twice, once huge"),
    ],
)
def test_a_key_that_stands_twice_is_a_duplicate_key(old: bytes, new: bytes) -> None:
    lines = [line_of(event) for event in chain()]
    assert old in lines[1]
    lines[1] = lines[1].replace(old, new, 1)
    assert_refused(verify_lines(lines), "duplicate_key", 1)


def test_a_line_that_is_too_long_is_a_bad_field_whatever_its_keys() -> None:
    lines = [line_of(event) for event in chain()]
    for chars, error in ((1_000_000, "duplicate_key"), (1_005_000, "bad_field")):
        twice = lines[1].replace(b'"n":1', b'"n":1,"n":"' + b"x" * chars + b'"')
        assert_refused(verify_lines([lines[0], twice]), error, 1)


def test_text_that_is_no_json_is_a_bad_field_even_with_a_key_twice() -> None:
    for text in (b'{"a":1,"a":2\n', b'{"a":NaN,"a":2}\n', b'{"a":1,"a":2}x\n'):
        assert_refused(verify_lines([text]), "bad_field", 0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda line: b"\xef\xbb\xbf" + line, id="a byte order mark"),
        pytest.param(lambda line: line[:-1] + b"\r\n", id="CRLF"),
        pytest.param(lambda line: b"\n" + line, id="an empty line"),
        pytest.param(lambda line: b" \n" + line, id="a line of white space"),
        pytest.param(lambda line: line.replace("\u00e9".encode(), b"\xe9"), id="Latin-1"),
        pytest.param(lambda line: line.replace("\u00e9".encode(), b"\xed\xa0\x80"), id="a UTF-8 surrogate"),
        pytest.param(lambda line: line.replace("\u00e9".encode(), b"\xc0\xaf"), id="an overlong form"),
        pytest.param(lambda line: b" " + line, id="white space in front"),
        pytest.param(lambda line: line[:-1] + b" \n", id="white space behind"),
        pytest.param(lambda line: line[:-1] + b"\x00\n", id="a null byte behind"),
        pytest.param(lambda line: b"[" + line[:-1] + b"]\n", id="a list around it"),
        pytest.param(lambda line: b"null\n", id="null"),
        pytest.param(lambda line: b'"text"\n', id="a string"),
        pytest.param(lambda line: line[:200] + b"\n", id="half an event"),
        pytest.param(lambda line: b"x" * (MAX_LINE_BYTES + 5) + b"\n", id="an endless line"),
    ],
)
def test_a_line_that_is_no_canonical_event_is_a_bad_field(change: Callable[[bytes], bytes]) -> None:
    lines = [line_of(event) for event in chain()]
    assert_refused(verify_bytes(lines[0] + change(lines[1]) + lines[2]), "bad_field", 1)


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_a_torn_last_line_is_a_bad_field(cut: int) -> None:
    data = b"".join(line_of(event) for event in chain())
    assert_refused(verify_bytes(data[:-cut]), "bad_field", 3)


# PROTOCOL 0.3.17
def test_an_endless_line_is_never_held_as_a_whole() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    assert_refused(verify_lines(read_lines(io.BufferedReader(Endless()))), "bad_field", 0)


def test_a_trace_without_events_has_no_genesis() -> None:
    assert_refused(verify_bytes(b""), "bad_genesis", 0)


def test_a_chain_without_its_head_has_no_genesis() -> None:
    assert_refused(verify_events(chain()[1:]), "bad_genesis", 0)


def test_a_first_event_with_a_previous_hash_has_no_genesis() -> None:
    assert_refused(verify_events([sealed(fields(0, "1" * 64))]), "bad_genesis", 0)


def test_a_first_event_with_another_number_has_no_genesis() -> None:
    assert_refused(verify_events([sealed(fields(1, GENESIS_HASH))]), "bad_genesis", 0)


def test_a_missing_event_is_a_sequence_gap() -> None:
    events = chain()
    assert_refused(verify_events(events[:1] + events[2:]), "sequence_gap", 1)


def test_an_event_told_twice_is_a_sequence_gap() -> None:
    events = chain()
    assert_refused(verify_events([events[0], events[0], *events[1:]]), "sequence_gap", 1)


def test_swapped_events_are_a_sequence_gap() -> None:
    first, second, third, fourth = chain()
    assert_refused(verify_events([first, third, second, fourth]), "sequence_gap", 1)


def test_two_sessions_one_after_the_other_are_a_sequence_gap() -> None:
    assert_refused(verify_events([*chain(), *chain(session_id=OTHER_SESSION)]), "sequence_gap", 4)


def test_a_renumbered_event_is_linked_to_another_chain() -> None:
    events = chain()
    events[2] = sealed(fields(2, "1" * 64))
    assert_refused(verify_events(events), "chain_broken", 2)


def test_a_genesis_link_after_the_first_event_breaks_the_chain() -> None:
    events = chain()
    events[2] = sealed(fields(2, GENESIS_HASH))
    assert_refused(verify_events(events), "chain_broken", 2)


def test_an_event_of_another_session_breaks_the_chain_even_when_linked() -> None:
    events = chain(2, ended=False)
    events.append(sealed(fields(2, events[1].event_hash, session_id=OTHER_SESSION)))
    assert_refused(verify_events(events), "chain_broken", 2)


def test_nothing_follows_the_end_of_a_session() -> None:
    events = chain(2)
    events.append(sealed(fields(2, events[1].event_hash)))
    assert_refused(verify_events(events), "chain_broken", 2)


def test_a_changed_event_with_its_old_hash_is_a_hash_mismatch() -> None:
    for at, event in enumerate(chain()):
        events = chain()
        events[at] = event._replace(payload_json='{"n":99}')
        assert_refused(verify_events(events), "hash_mismatch", at)


def test_a_changed_event_with_a_new_hash_breaks_the_link_behind_it() -> None:
    events = chain()
    events[1] = sealed(fields(1, events[0].event_hash, payload_json='{"n":99}'))
    assert_refused(verify_events(events), "chain_broken", 2)


def test_the_order_of_the_checks_is_form_number_link_hash() -> None:
    events = chain()
    wrong_hash = events[1]._replace(event_hash="2" * 64)
    wrong_link = wrong_hash._replace(previous_event_hash="3" * 64)
    wrong_number = wrong_link._replace(sequence=7)
    wrong_form = wrong_number._replace(timestamp="2026")
    for event, error in [
        (wrong_hash, "hash_mismatch"),
        (wrong_link, "chain_broken"),
        (wrong_number, "sequence_gap"),
        (wrong_form, "bad_field"),
    ]:
        assert_refused(verify_events([events[0], event, *events[2:]]), error, 1)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param({"event_type": "policy.evaluatedx"}, {"event_type": "policy.evaluated"}, id="type"),
        pytest.param({"sequence": 12}, {"sequence": 1}, id="sequence"),
        pytest.param({"parent_span_id": None}, {"parent_span_id": SPAN}, id="parent"),
    ],
)
def test_moved_field_boundaries_are_found(left: dict[str, Any], right: dict[str, Any]) -> None:
    """The event that was hashed had the left fields; the line shows the right ones and keeps the hash."""
    events = chain(1, ended=False)
    event = sealed(fields(1, events[0].event_hash) | left)
    assert verify_events([*events, event._replace(**right)]).error == "hash_mismatch"


def test_text_moved_from_the_payload_into_the_type_is_a_bad_field() -> None:
    """Both lines have the same preimage; only the formats tell them apart."""
    events = chain(1)
    true = fields(1, events[0].event_hash, payload_json='{"a":{"b":1}}')
    moved = fields(1, events[0].event_hash, event_type='policy.evaluated{"a":', payload_json='{"b":1}}')
    assert event_preimage(**true) == event_preimage(**moved)
    assert_refused(verify_events([*events, sealed(moved)]), "bad_field", 1)


PAYLOADS = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)
EVENT_FORMATS = st.fixed_dictionaries(
    {name: st.uuids().map(str) for name in ("event_id", "trace_id", "span_id", "session_id")}
    | {
        "parent_span_id": st.none()
        | st.uuids().map(str)
        | st.from_regex(r"\A[0-9]{8}-[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{12}\Z"),
        "sequence": st.integers(0, MAX_SAFE_INTEGER),
        "timestamp": st.datetimes().map(lambda at: at.strftime("%m%d-%m-%dT%H:%M:%S.%fZ")),
        "event_type": st.from_regex(r"\A[a-z]{1,6}(\.[a-z_]{1,6}){1,3}\Z"),
        "payload_json": PAYLOADS.map(canonical_json),
        "previous_event_hash": st.from_regex(r"\A[0-9a-f]{64}\Z"),
    }
)
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def readings(preimage: str) -> Iterator[tuple[str, ...]]:
    """Every way to cut a preimage into fields that have their formats, by trying all boundaries."""
    for uuids in (4, 5):
        ids, rest = preimage[3 : 3 + 36 * uuids], preimage[3 + 36 * uuids :]
        if preimage[:3] != "1.0" or not re.fullmatch(rf"({_UUID}){{{uuids}}}", ids):
            continue
        for digits in range(1, 17):
            number, tail = rest[:digits], rest[digits:]
            timestamp, tail = tail[:27], tail[27:-64]
            if not re.fullmatch(r"0|[1-9][0-9]*", number) or not re.fullmatch(
                r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", timestamp
            ):
                continue
            for cut in range(1, len(tail)):
                event_type, payload = tail[:cut], tail[cut:]
                if re.fullmatch(r"[a-z]+(\.[a-z_]+)+", event_type) and payload.startswith("{"):
                    yield ids, number, timestamp, event_type, payload


@given(EVENT_FORMATS)
def test_no_preimage_can_be_read_as_two_events(event: dict[str, Any]) -> None:
    assert len(list(readings(event_preimage(**event).decode()))) == 1


@given(EVENT_FORMATS)
def test_a_line_of_any_event_in_the_formats_is_read_back_and_is_its_jcs(event: dict[str, Any]) -> None:
    written = sealed(event)
    line = line_of(written)
    assert read_event(line) == written
    assert rfc8785.dumps(json.loads(line)) + b"\n" == line


REPLACEMENTS = (0x00, 0x0A, 0x20, 0x22, 0x30, 0x5C, 0x61, 0x7D, 0x80, 0xFF)


@pytest.mark.parametrize("algorithm", hashing.ALGORITHMS)
@pytest.mark.parametrize("at", range(3))
def test_every_changed_byte_is_found_at_its_line(at: int, algorithm: str) -> None:
    lines = [line_of(event) for event in chain(3, algorithm=algorithm)]
    before, line, after = b"".join(lines[:at]), lines[at], b"".join(lines[at + 1 :])
    for position, byte in enumerate(line):
        for other in {byte ^ 1, byte ^ 0x20, *REPLACEMENTS} - {byte}:
            changed = line[:position] + bytes([other]) + line[position + 1 :]
            result = verify_bytes(before + changed + after)
            assert (result.valid, result.error_at) == (False, at), (position, chr(byte), other)


@pytest.mark.parametrize("algorithm", hashing.ALGORITHMS)
@pytest.mark.parametrize("at", range(3))
def test_every_removed_or_doubled_byte_is_found_at_its_line(at: int, algorithm: str) -> None:
    lines = [line_of(event) for event in chain(3, algorithm=algorithm)]
    before, line, after = b"".join(lines[:at]), lines[at], b"".join(lines[at + 1 :])
    for position in range(len(line)):
        for changed in (line[:position] + line[position + 1 :], line[: position + 1] + line[position:]):
            result = verify_bytes(before + changed + after)
            # A doubled line feed is an empty line behind this one.
            where = at + 1 if changed == line + b"\n" else at
            assert (result.valid, result.error_at) == (False, where), position


@given(st.data())
def test_any_bytes_give_a_verdict(data: st.DataObject) -> None:
    pieces = [line_of(event) for event in chain()]
    soup = data.draw(st.lists(st.binary(max_size=20) | st.sampled_from(pieces), max_size=5).map(b"".join))
    result = verify_bytes(soup)
    assert result.valid == (result.error is None) == (result.error_at is None)


# PROTOCOL 3.4.9
def test_a_whole_chain_is_valid_and_gives_its_head() -> None:
    events = chain()
    result = verify_events(events)
    assert result.to_dict() == {
        "valid": True,
        "events": 4,
        "error": None,
        "error_at": None,
        "message": None,
        "head": events[-1].event_hash,
        "algorithm": "sha256",
        "warnings": [],
        "profile": "jcs",
        "protects_boundaries": True,
    }


def test_a_chain_without_its_tail_is_valid_with_a_warning() -> None:
    events = chain()
    for length in range(1, 4):
        result = verify_events(events[:length])
        assert (result.valid, result.events, result.warnings) == (True, length, ("truncated",))
        assert result.head == events[length - 1].event_hash


def test_the_deepest_and_longest_payload_is_read() -> None:
    deep = "[" * (MAX_JSON_DEPTH - 1) + "]" * (MAX_JSON_DEPTH - 1)
    text = "\U0001f600" * (MAX_PAYLOAD_CHARS - len(deep) - len('{"a":,"b":""}'))
    events = chain(1, payload_json=f'{{"a":{deep},"b":"{text}"}}')
    assert len(events[0].payload_json) == MAX_PAYLOAD_CHARS
    assert verify_events(events).valid


def test_the_largest_sequence_is_read() -> None:
    event = sealed(fields(MAX_SAFE_INTEGER, GENESIS_HASH, timestamp="2026-11-23T13:26:42.000000Z",
                          event_id=SPAN, span_id=SPAN))  # fmt: skip
    assert read_event(line_of(event)) == event


def test_the_reference_vector_verifies() -> None:
    event = sealed(
        {
            "event_id": "01234567-89ab-cdef-0123-456789abcdef",
            "trace_id": "11111111-1111-1111-1111-111111111111",
            "span_id": "22222222-2222-2222-2222-222222222222",
            "parent_span_id": None,
            "session_id": "33333333-3333-3333-3333-333333333333",
            "sequence": 0,
            "timestamp": "2024-12-28T12:00:00.000000Z",
            "event_type": "session.started",
            "payload_json": '{"agent_id":"test-agent","goal":"Test session"}',
            "previous_event_hash": GENESIS_HASH,
        }
    )
    assert event.event_hash == REFERENCE_HASH
    assert verify_events([event]).head == REFERENCE_HASH


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        verify_file(tmp_path / "none.trace.jsonl")
    assert caught.value.code == "trace_not_found"


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(BackendFailure) as caught:
        verify_file(tmp_path)
    assert caught.value.code == "trace_unreadable"


def test_a_file_is_verified(tmp_path: Path) -> None:
    events = chain()
    path = tmp_path / "a.trace.jsonl"
    path.write_bytes(b"".join(line_of(event) for event in events))
    assert verify_file(str(path)) == verify_events(events)


def test_memory_does_not_grow_with_the_number_of_lines() -> None:
    def endless(length: int) -> Iterator[bytes]:
        previous = GENESIS_HASH
        for sequence in range(length):
            event = sealed(fields(sequence, previous))
            previous = event.event_hash
            yield line_of(event)

    verify_lines(endless(10))
    tracemalloc.start()
    try:
        assert verify_lines(endless(2_000)).events == 2_000
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100_000


@pytest.mark.parametrize(
    ("text", "deeper"),
    [
        ("[[[]]]", False),
        ("[[[[]]]]", True),
        ('[{"a":[{', True),
        ("[][][][][][]", False),
        ('["[[[[[[", "\\"[[[[[["]', False),
        ('"[[[[[[[[', False),
        ("]]]][[[[", False),
        ('"\\' * 10_000 + "[[[[", False),
        ('""[[[[', True),
    ],
)
def test_nesting_is_told_without_parsing(text: str, deeper: bool) -> None:
    assert nests_deeper(text, 3) is deeper


def test_a_bad_line_carries_the_term() -> None:
    with pytest.raises(BadLine) as caught:
        read_event(b"{}\n")
    assert caught.value.error == "bad_field"
