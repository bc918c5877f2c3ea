"""What makes a chain worth verifying, for all traces (PROTOCOL 3.2-3.4); what it costs in memory."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cra_wasm import hashing, verify_file
from cra_wasm.model.event import GENESIS_HASH, TraceEvent
from cra_wasm.trace.canonical import canonical_json
from cra_wasm.trace.chain import event_preimage
from cra_wasm.trace.reader import BadLine, read_event, read_lines
from cra_wasm.trace.verify import verify_lines

from .chaining import fields, line_of, sealed, started
from .foreign_writers import event, write_ascii, write_offset_time, write_whole_event

TEXTS = st.text(max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
PAYLOADS = st.dictionaries(TEXTS, JSON, max_size=3).map(canonical_json)


@st.composite
def traces(draw: st.DrawFn) -> list[TraceEvent]:
    """Return a chain of any payloads that ends its session."""
    algorithm = draw(st.sampled_from(hashing.ALGORITHMS))
    events: list[TraceEvent] = []
    previous = GENESIS_HASH
    payloads = draw(st.lists(PAYLOADS, max_size=3))
    for sequence, payload in enumerate([None, *payloads, "{}"]):
        one = started(algorithm) if payload is None else fields(sequence, previous, payload_json=payload)
        if sequence == len(payloads) + 1:
            one["event_type"] = "session.ended"
        events.append(sealed(one, algorithm))
        previous = events[-1].event_hash
    return events


def data_of(events: list[TraceEvent]) -> bytes:
    return b"".join(line_of(event) for event in events)


def verdict(data: bytes) -> Any:
    return verify_lines(read_lines(io.BytesIO(data)))


@given(events=traces(), data=st.data())
def test_every_changed_removed_or_added_byte_is_found_in_any_trace(
    events: list[TraceEvent], data: st.DataObject
) -> None:
    trace = data_of(events)
    assert (verdict(trace).valid, verdict(trace).warnings) == (True, ())
    at = data.draw(st.integers(0, len(trace) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    where = trace[:at].count(b"\n")
    for changed in (
        trace[:at] + byte + trace[at + 1 :],
        trace[:at] + byte + trace[at:],
        trace[:at] + trace[at + 1 :],
    ):
        if changed == trace:
            continue
        result = verdict(changed)
        assert not result.valid
        # A byte that is doubled, or one that goes before its like, shows behind the place where it was put.
        assert where <= result.error_at <= where + 1


@given(events=traces(), data=st.data())
def test_a_trace_cut_anywhere_is_torn_or_warns(events: list[TraceEvent], data: st.DataObject) -> None:
    trace = data_of(events)
    at = data.draw(st.integers(0, len(trace) - 1))
    result = verdict(trace[:at])
    if at == 0:
        assert result.error == "bad_genesis"
    elif trace[at - 1 : at] == b"\n":
        assert (result.valid, result.warnings) == (True, ("truncated",))
    else:
        assert (result.error, result.error_at) == ("bad_field", trace[:at].count(b"\n"))


VALID = st.builds(
    lambda sequence, parent, kind, payload: {
        **fields(1, "0" * 64),
        "sequence": sequence,
        "parent_span_id": parent,
        "event_type": kind,
        "payload_json": payload,
    },
    st.integers(0, 2**53 - 1),
    st.none() | st.just("12345678-1234-1234-1234-123456789012"),
    st.from_regex(r"\A[a-z]{1,3}(\.[a-z_]{1,3}){1,2}\Z"),
    PAYLOADS,
)


@given(st.lists(VALID, min_size=2, max_size=2))
def test_two_different_valid_events_never_share_a_preimage(pair: list[dict[str, Any]]) -> None:
    one, other = pair
    assume(one != other)
    assert event_preimage(**one) != event_preimage(**other)


def pieces_of(one: dict[str, Any]) -> list[str]:
    """The texts that are hashed one behind the other."""
    return [
        "1.0",
        *(one[name] or "" for name in ("event_id", "trace_id", "span_id", "parent_span_id", "session_id")),
        *(str(one["sequence"]), one["timestamp"], one["event_type"], one["payload_json"]),
        one["previous_event_hash"],
    ]


def line_of_pieces(pieces: list[str], event_hash: str) -> bytes:
    """A line whose fields are those texts, whatever they are."""
    version, event_id, trace_id, span_id, parent, session_id, number, time, kind, payload, previous = pieces
    one: Any = (
        event_id,
        trace_id,
        span_id,
        parent or None,
        session_id,
        number,
        time,
        kind,
        payload,
        previous,
    )
    return line_of(TraceEvent._make((*one, event_hash, version)))


@given(one=VALID, data=st.data())
def test_the_same_preimage_cut_anywhere_else_is_no_event(one: dict[str, Any], data: st.DataObject) -> None:
    """Every other way to cut the hashed text into fields is refused, though its hash is right."""
    pieces = pieces_of(one)
    text = "".join(pieces)
    assert text.encode() == event_preimage(**one)
    digest = sealed(one).event_hash
    assert read_event(line_of_pieces(pieces, digest)) == sealed(one)
    cuts = [sum(map(len, pieces[: index + 1])) for index in range(len(pieces) - 1)]
    moved = list(cuts)
    for _ in range(data.draw(st.integers(1, 3))):
        which = data.draw(st.integers(0, len(cuts) - 1))
        moved[which] += data.draw(st.sampled_from([-37, -36, -9, -2, -1, 1, 2, 9, 36, 37]))
    moved = sorted(min(max(cut, 0), len(text)) for cut in moved)
    assume(moved != cuts)
    recut = [text[start:end] for start, end in zip([0, *moved], [*moved, len(text)], strict=True)]
    with pytest.raises(BadLine):
        read_event(line_of_pieces(recut, digest))


class Counted(bytes):
    """A line that knows how many of its kind are held."""

    held: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __init__(self, _: bytes) -> None:
        Counted.held += 1
        Counted.most = max(Counted.most, Counted.held)

    def __del__(self) -> None:
        Counted.held -= 1


def own_lines(count: int, text: str = "") -> Iterator[bytes]:
    previous = GENESIS_HASH
    for sequence in range(count):
        one = sealed(fields(sequence, previous, payload_json=canonical_json({"text": text})))
        previous = one.event_hash
        yield line_of(one)


FOREIGN = {
    "ascii": lambda: write_ascii([event(number, {"n": number}) for number in range(300)]),
    "offset-time": lambda: write_offset_time([event(number, {"n": number}) for number in range(300)]),
    "whole-event": lambda: write_whole_event([event(number + 1, {"n": number}) for number in range(300)]),
    "jcs": lambda: list(own_lines(300)),
}


# PROTOCOL 3.4.8
@pytest.mark.parametrize("asked", ["by name", "auto"])
@pytest.mark.parametrize("profile", FOREIGN)
def test_a_verifier_holds_one_line_at_a_time(profile: str, asked: str) -> None:
    lines = FOREIGN[profile]()
    Counted.most = Counted.held = 0
    result = verify_lines((Counted(line) for line in lines), "auto" if asked == "auto" else profile)
    assert (result.valid, result.events, result.profile) == (True, 300, profile)
    assert Counted.most <= 2  # the one at hand, and the next while it is made


@pytest.mark.parametrize("profile", ["jcs", "auto"])
def test_a_long_file_of_long_lines_takes_the_memory_of_a_few_lines(tmp_path: Path, profile: str) -> None:
    path = tmp_path / "long.trace.jsonl"
    with path.open("wb") as file:
        file.writelines(own_lines(200, "x" * 50_000))
    assert path.stat().st_size > 10_000_000
    tracemalloc.start()
    try:
        assert verify_file(path, profile).events == 200
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_500_000
