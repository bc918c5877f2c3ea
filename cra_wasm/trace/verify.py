"""Verifies one session's trace (PROTOCOL 3.4): the first bad event is named, what is behind it is not read.

Each line is checked in this order, and its first fault is the one that is told:

    1 its own form    bad_field, duplicate_key    see reader.read_event
    2 its number      bad_genesis, sequence_gap   0 for the first event, then the one before plus 1
    3 its link        bad_genesis, chain_broken   64 zeros first, then the hash of the event before
    4 its hash        hash_mismatch

An event of another session, and one that follows session.ended, are `chain_broken` at step 3: their number
may be right, but they do not belong to the chain that they stand in. A trace without any event has no
genesis and is `bad_genesis` at line 0. A missing session.ended is the warning `truncated`: nothing in a
chain proves that there was no later event, which is why whoever needs that must keep the head elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Literal

from ..errors import BackendFailure, Json, NotFound
from ..model.event import GENESIS_HASH, TraceEvent
from .chain import event_hash
from .reader import BadLine, LineError, read_event, read_lines

VerifyError = LineError | Literal["bad_genesis", "sequence_gap", "chain_broken", "hash_mismatch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What a verification found.

    `events` counts the events that verified, so it is also `error_at`, the 0-based line of the first bad
    one, when there is one. `head` is the hash of the last event that verified, None when there is none.
    `warnings` is empty or ("truncated",), and always empty when there is an error.
    """

    valid: bool
    events: int
    error: VerifyError | None
    error_at: int | None
    head: str | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Json]:
        """Return the fields as the JSON that `cra-wasm verify --json` prints."""
        return {
            "valid": self.valid,
            "events": self.events,
            "error": self.error,
            "error_at": self.error_at,
            "head": self.head,
            "warnings": list(self.warnings),
        }


def verify_lines(lines: Iterable[bytes], *, algorithm: str = "sha256") -> VerifyResult:
    """Verify a session's trace given line by line, each with its line feed, in the order of the file.

    Holds one event at a time, so the memory does not grow with the number of lines. A last line without a
    line feed is torn and so `bad_field`.

    Raises:
        InvalidInput: `unknown_algorithm`.
        Exception: whatever `lines` raises.
    """
    events = 0
    previous: TraceEvent | None = None
    for line in lines:
        try:
            event = read_event(line)
        except BadLine as bad:
            return _refused(bad.error, events, previous)
        error = _fault(event, previous, algorithm)
        if error is not None:
            return _refused(error, events, previous)
        previous = event
        events += 1
    if previous is None:
        return _refused("bad_genesis", 0, None)
    return VerifyResult(
        valid=True,
        events=events,
        error=None,
        error_at=None,
        head=previous.event_hash,
        warnings=() if previous.event_type == "session.ended" else ("truncated",),
    )


def verify_file(path: str | PathLike[str], *, algorithm: str = "sha256") -> VerifyResult:
    """Verify a `.trace.jsonl` file in constant memory; see `verify_lines`.

    Raises:
        NotFound: `trace_not_found`.
        BackendFailure: `trace_unreadable`.
        InvalidInput: `unknown_algorithm`.
    """
    try:
        with open(path, "rb") as source:
            return verify_lines(read_lines(source), algorithm=algorithm)
    except FileNotFoundError as error:
        raise NotFound(
            "trace_not_found", f"no file `{fspath(path)}`: give the path of a .trace.jsonl file"
        ) from error
    except OSError as error:
        raise BackendFailure(
            "trace_unreadable", f"cannot read `{fspath(path)}`: {error.strerror or error}"
        ) from error


def _fault(event: TraceEvent, previous: TraceEvent | None, algorithm: str) -> VerifyError | None:
    if previous is None:
        if event.sequence != 0 or event.previous_event_hash != GENESIS_HASH:
            return "bad_genesis"
    elif event.sequence != previous.sequence + 1:
        return "sequence_gap"
    elif (
        event.previous_event_hash != previous.event_hash
        or event.session_id != previous.session_id
        or previous.event_type == "session.ended"
    ):
        return "chain_broken"
    return None if _hash_of(event, algorithm) == event.event_hash else "hash_mismatch"


def _hash_of(event: TraceEvent, algorithm: str) -> str:
    return event_hash(
        event_id=event.event_id,
        trace_id=event.trace_id,
        span_id=event.span_id,
        parent_span_id=event.parent_span_id,
        session_id=event.session_id,
        sequence=event.sequence,
        timestamp=event.timestamp,
        event_type=event.event_type,
        payload_json=event.payload_json,
        previous_event_hash=event.previous_event_hash,
        trace_version=event.trace_version,
        algorithm=algorithm,
    )


def _refused(error: VerifyError, events: int, last: TraceEvent | None) -> VerifyResult:
    return VerifyResult(
        valid=False,
        events=events,
        error=error,
        error_at=events,
        head=None if last is None else last.event_hash,
        warnings=(),
    )
