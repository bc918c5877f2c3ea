"""Verifies one session's trace (PROTOCOL 3.4): the first bad event is named, what is behind it is not read.

Each line is checked in this order, and its first fault is the one that is told:

    1 its own form    bad_field, duplicate_key    see reader.read_event; for the first, a hash that is known
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
from ..hashing import ALGORITHMS, DEFAULT_ALGORITHM, NewHash, constructor_of
from ..model.event import GENESIS_HASH, TraceEvent
from .chain import event_hash, named_algorithm
from .reader import BadLine, LineError, read_event, read_lines

VerifyError = LineError | Literal["bad_genesis", "sequence_gap", "chain_broken", "hash_mismatch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What a verification found.

    `events` counts the events that verified, so it is also `error_at`, the 0-based line of the first bad
    one, when there is one. `message` says for people what the term in `error` leaves open, mostly nothing.
    `head` is the hash of the last event that verified, None when there is none. `algorithm` is the chain's
    hash, None where the first line tells none that is known. `warnings` is empty or ("truncated",), and
    always empty when there is an error.
    """

    valid: bool
    events: int
    error: VerifyError | None
    error_at: int | None
    message: str | None
    head: str | None
    algorithm: str | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Json]:
        """Return the fields as the JSON that `cra-wasm verify --json` prints."""
        return {
            "valid": self.valid,
            "events": self.events,
            "error": self.error,
            "error_at": self.error_at,
            "message": self.message,
            "head": self.head,
            "algorithm": self.algorithm,
            "warnings": list(self.warnings),
        }


def verify_lines(lines: Iterable[bytes]) -> VerifyResult:
    """Verify a session's trace given line by line, each with its line feed, in the order of the file.

    Holds one event at a time, so the memory does not grow with the number of lines. A last line without a
    line feed is torn and so `bad_field`. The first event names the hash (PROTOCOL 3.8).

    Raises:
        BackendFailure: `hash_unavailable`: the trace is neither valid nor invalid, it cannot be checked here.
        Exception: whatever `lines` raises.
    """
    chain = _Chain()
    for line in lines:
        try:
            event = read_event(line)
        except BadLine as bad:
            return chain.refused(bad.error)
        error = chain.add(event)
        if error is not None:
            return chain.refused(error)
    return chain.result()


def verify_file(path: str | PathLike[str]) -> VerifyResult:
    """Verify a `.trace.jsonl` file in constant memory; see `verify_lines`.

    Raises:
        NotFound: `trace_not_found`.
        BackendFailure: `trace_unreadable`, `hash_unavailable`.
    """
    try:
        with open(path, "rb") as source:
            return verify_lines(read_lines(source))
    except FileNotFoundError as error:
        raise NotFound(
            "trace_not_found", f"no file `{fspath(path)}`: give the path of a .trace.jsonl file"
        ) from error
    except OSError as error:
        raise BackendFailure(
            "trace_unreadable", f"cannot read `{fspath(path)}`: {error.strerror or error}"
        ) from error


class _Chain:
    """What was verified so far. It keeps the last event, and the hash that the first one named."""

    def __init__(self) -> None:
        self._events = 0
        self._last: TraceEvent | None = None
        self._algorithm: str | None = None
        self._new_hash: NewHash = constructor_of(DEFAULT_ALGORITHM)
        self._message: str | None = None

    def add(self, event: TraceEvent) -> VerifyError | None:
        """Take the event that follows, or return what is wrong with it."""
        error = self._first_fault(event) if self._last is None else _link_fault(event, self._last)
        if error is not None:
            return error
        if event_hash(event, self._new_hash) != event.event_hash:
            return "hash_mismatch"
        self._last = event
        self._events += 1
        return None

    def _first_fault(self, event: TraceEvent) -> VerifyError | None:
        name = named_algorithm(event.event_type, event.payload_json)
        if name not in ALGORITHMS:
            self._message = f"its hash_algorithm is `{name[:40]}`, which is none of {', '.join(ALGORITHMS)}"
            return "bad_field"
        self._algorithm = name
        if event.sequence != 0 or event.previous_event_hash != GENESIS_HASH:
            return "bad_genesis"
        self._new_hash = constructor_of(name)
        return None

    def refused(self, error: VerifyError) -> VerifyResult:
        return self._result(error, ())

    def result(self) -> VerifyResult:
        """Return the verdict on a trace that ends here."""
        if self._last is None:
            return self.refused("bad_genesis")
        return self._result(None, () if self._last.event_type == "session.ended" else ("truncated",))

    def _result(self, error: VerifyError | None, warnings: tuple[str, ...]) -> VerifyResult:
        return VerifyResult(
            valid=error is None,
            events=self._events,
            error=error,
            error_at=None if error is None else self._events,
            message=self._message,
            head=None if self._last is None else self._last.event_hash,
            algorithm=self._algorithm,
            warnings=warnings,
        )


def _link_fault(event: TraceEvent, previous: TraceEvent) -> VerifyError | None:
    if event.sequence != previous.sequence + 1:
        return "sequence_gap"
    if (
        event.previous_event_hash != previous.event_hash
        or event.session_id != previous.session_id
        or previous.event_type == "session.ended"
    ):
        return "chain_broken"
    return None
