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

That is the profile `jcs`, the project's own. Traces of other writers are verified by their recipes, which
stand in `profiles/` and are loaded only when one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Final

from ..errors import BackendFailure, CRAError, InvalidInput, NotFound
from ..hashing import ALGORITHMS, DEFAULT_ALGORITHM, NewHash, constructor_of
from ..model.event import GENESIS_HASH, TraceEvent
from .chain import event_hash, named_algorithm
from .reader import BadLine, read_event, read_lines
from .verdict import LineVerifier, VerifyError, VerifyResult

OWN_PROFILE: Final = "jcs"
ANY_PROFILE: Final = "auto"
PROFILES: Final = (OWN_PROFILE, "ascii", "offset-time", "whole-event")
"""The recipes by which traces can be verified, in the order in which `auto` prefers them."""


def verify_lines(lines: Iterable[bytes], profile: str = OWN_PROFILE) -> VerifyResult:
    """Verify a session's trace given line by line, each with its line feed, in the order of the file.

    Holds one event at a time, so the memory does not grow with the number of lines. A last line without a
    line feed is torn and so `bad_field`. The first event names the hash (PROTOCOL 3.8).

    Args:
        profile: one of PROFILES; or "auto", which reads once and answers by the first of them that fits, or
            else by the one that verified the most events (PROTOCOL 3.10).

    Raises:
        InvalidInput: `unknown_profile`.
        BackendFailure: `hash_unavailable`: the trace is neither valid nor invalid, it cannot be checked here.
        Exception: whatever `lines` raises.
    """
    if profile == OWN_PROFILE:
        chain = _Chain()
        for line in lines:
            if not chain.take(line):
                break
        return chain.result()
    if profile not in (ANY_PROFILE, *PROFILES):
        raise InvalidInput(
            "unknown_profile", f"use one of {ANY_PROFILE}, {', '.join(PROFILES)}", pointer="/profile"
        )
    names = PROFILES if profile == ANY_PROFILE else (profile,)
    return _first_that_fits(lines, [_verifier_of(name) for name in names])


def verify_file(path: str | PathLike[str], profile: str = OWN_PROFILE) -> VerifyResult:
    """Verify a `.trace.jsonl` file in constant memory; see `verify_lines`.

    Raises:
        InvalidInput: `unknown_profile`.
        NotFound: `trace_not_found`.
        BackendFailure: `trace_unreadable`, `hash_unavailable`.
    """
    with trace_lines(path) as lines:
        return verify_lines(lines, profile)


@contextmanager
def trace_lines(path: str | PathLike[str]) -> Iterator[Iterator[bytes]]:
    """Open a `.trace.jsonl` file for a verification; gives its lines, each with its line feed.

    Raises:
        NotFound: `trace_not_found`.
        BackendFailure: `trace_unreadable`, also while it is read.
    """
    try:
        with open(path, "rb") as source:
            yield read_lines(source)
    except FileNotFoundError as error:
        raise NotFound(
            "trace_not_found", f"no file `{fspath(path)}`: give the path of a .trace.jsonl file"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        if isinstance(error, CRAError):  # what read the lines refused them
            raise
        raise BackendFailure(
            "trace_unreadable",
            f"cannot read `{fspath(path)[:300]}`: {getattr(error, 'strerror', None) or error}",
        ) from error


def _verifier_of(profile: str) -> LineVerifier:
    if profile == OWN_PROFILE:
        return _Chain()
    from .profiles.foreign import ForeignChain
    from .profiles.recipes import RECIPES  # traces of others are rare: not for those that verify their own

    return ForeignChain(RECIPES[profile])


def _first_that_fits(lines: Iterable[bytes], verifiers: list[LineVerifier]) -> VerifyResult:
    """Feed all verifiers in one pass; most refuse the first line of a trace that is not theirs."""
    fitting = verifiers
    for line in lines:
        fitting = [verifier for verifier in fitting if verifier.take(line)]
        if not fitting:
            break
    results = [verifier.result() for verifier in verifiers]
    # max keeps the first of equals.
    return max(results, key=lambda result: (result.valid, result.events))


class _Chain:
    """What was verified so far. It keeps the last event, and the hash that the first one named."""

    def __init__(self) -> None:
        self._events = 0
        self._last: TraceEvent | None = None
        self._algorithm: str | None = None
        self._new_hash: NewHash = constructor_of(DEFAULT_ALGORITHM)
        self._error: VerifyError | None = None
        self._message: str | None = None

    def take(self, line: bytes) -> bool:
        """Check the line that follows; False when it is bad."""
        try:
            self._error = self._fault_of(read_event(line))
        except BadLine as bad:
            self._error = bad.error
        return self._error is None

    def _fault_of(self, event: TraceEvent) -> VerifyError | None:
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

    def result(self) -> VerifyResult:
        """Return the verdict on a trace that ends here; one without events has no genesis."""
        last = self._last
        error = "bad_genesis" if self._error is None and last is None else self._error
        whole = error is not None or (last is not None and last.event_type == "session.ended")
        return VerifyResult(
            valid=error is None,
            events=self._events,
            error=error,
            error_at=None if error is None else self._events,
            message=self._message,
            head=None if last is None else last.event_hash,
            algorithm=self._algorithm,
            warnings=() if whole else ("truncated",),
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
