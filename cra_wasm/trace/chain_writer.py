"""Hashes lines into their sessions' chains and stores them: the writer's rule of PROTOCOL 3.5 in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from ..errors import BackendFailure, CRAError, InvalidState
from ..hashing import constructor_of
from ..model.event import GENESIS_HASH, TraceEvent
from ..ports import StorageBackend
from .buffer import Batch
from .chain import chain_line, line_of, named_algorithm
from .raw import UNIT_SEPARATOR

Group: TypeAlias = tuple[str, str, Sequence[str]]
"""A session's id, its algorithm, and lines without their line feeds."""

_OF_ONE_SESSION: Final = ("session_forked", "sequence_gap", "algorithm_changed", "unknown_algorithm")


class Head(NamedTuple):
    """Where a session's chain stands, and the hash that its first event named; empty when that is damaged."""

    next_sequence: int
    event_hash: str
    algorithm: str


class ChainWriter:
    """The one writer of a storage. It keeps each running session's head; numbers it never makes up."""

    def __init__(self, storage: StorageBackend) -> None:
        self._storage = storage
        self._heads: dict[str, Head] = {}
        self._stopped: dict[str, CRAError] = {}
        self.events_quarantined = 0
        self.untold: list[CRAError] = []
        """Why sessions were stopped, until somebody is told."""

    def write_batch(self, batch: Batch) -> None:
        """Store a batch, all or nothing. One that is already stored changes nothing.

        A session whose lines cannot join its chain stops here, the others go on: its events are counted, and
        why stands in `untold`. Nothing of it is stored any more: it would join another's chain.

        Raises:
            BackendFailure: nothing of the batch was stored; `hash_unavailable` where a session's hash is
                not installed.
        """
        groups: list[Group] = []
        for group in batch.groups:
            text = batch.data[group.offset : group.offset + group.length].decode()
            groups.append((group.session_id, group.algorithm, text.split("\n")[:-1]))
        running = [group for group in groups if group[0] not in self._stopped]
        quarantined = sum(len(lines) for session_id, _, lines in groups if session_id in self._stopped)
        try:
            self._write(running)
        except CRAError as error:
            if error.code not in _OF_ONE_SESSION:
                raise
            quarantined += sum(map(self._write_or_stop, running))
        self.events_quarantined += quarantined

    def is_stopped(self, session_id: str) -> bool:
        """Whether nothing of the session is stored any more."""
        return session_id in self._stopped

    def _write_or_stop(self, group: Group) -> int:
        """Store one session's lines, or stop the session; return how many lines were not stored."""
        try:
            self._write([group])
        except CRAError as error:
            if error.code not in _OF_ONE_SESSION:
                raise
            error.details["session_id"] = group[0]
            self._stopped[group[0]] = error
            self.untold.append(error)
            return len(group[2])
        return 0

    def write_lines(self, session_id: str, algorithm: str, lines: Sequence[str]) -> None:
        """Store the lines of one record.

        Raises:
            InvalidState: `session_forked`, `sequence_gap` or `algorithm_changed`.
            InvalidInput: `unknown_algorithm`.
            BackendFailure: nothing was stored.
        """
        self._write([(session_id, algorithm, [line[:-1] for line in lines])])

    def _write(self, groups: Sequence[Group]) -> None:
        events: list[TraceEvent] = []
        heads: dict[str, Head] = {}
        try:
            for session_id, algorithm, lines in groups:
                head = self._heads.get(session_id) or self._stored_head(session_id, lines[0])
                if algorithm != head.algorithm:
                    raise InvalidState(
                        "algorithm_changed",
                        f"session `{session_id}` began with `{head.algorithm}`: its chain keeps that hash",
                    )
                new, heads[session_id] = self._chain(session_id, lines, head)
                events.extend(new)
            self._storage.store_events(events)
        except CRAError:
            raise
        except Exception as error:  # a host's own backend may raise anything
            raise BackendFailure(
                "storage_failed", f"the storage cannot store: {type(error).__name__}"
            ) from error
        self._heads.update(heads)
        for event in events:
            if event.event_type == "session.ended":
                self._heads.pop(event.session_id, None)

    def _stored_head(self, session_id: str, first_line: str) -> Head:
        """Return where the stored chain stands, or where the one begins that starts with this line."""
        last = self._storage.get_events(session_id, last=1)
        if not last:
            *_, number, _, event_type, payload_json = first_line.split(UNIT_SEPARATOR)
            if number != "0":
                raise _gap_error(session_id, 0, int(number))
            return Head(0, GENESIS_HASH, named_algorithm(event_type, payload_json))
        try:
            first = TraceEvent.from_line(next(self._storage.iter_lines(session_id)).decode())
            algorithm = named_algorithm(first.event_type, first.payload_json)
        except (ValueError, KeyError, TypeError):
            algorithm = ""  # what was damaged in one session must not hold up the others
        return Head(last[0].sequence + 1, last[0].event_hash, algorithm)

    def _chain(self, session_id: str, lines: Sequence[str], head: Head) -> tuple[list[TraceEvent], Head]:
        next_sequence, previous, algorithm = head
        new_hash = constructor_of(algorithm)
        events = []
        stored: list[TraceEvent] | None = None
        for line in lines:
            event = chain_line(line, session_id, previous, new_hash)
            sequence = event.sequence
            if sequence < next_sequence:
                if stored is None:
                    stored = self._storage.get_events(session_id)
                _check_stored(stored, event, line)
                continue
            if sequence > next_sequence:
                raise _gap_error(session_id, next_sequence, sequence)
            events.append(event)
            previous = event.event_hash
            next_sequence += 1
        return events, Head(next_sequence, previous, algorithm)


def _gap_error(session_id: str, expected: int, sequence: int) -> InvalidState:
    return InvalidState(
        "sequence_gap", f"expected sequence {expected} of session `{session_id}`, got {sequence}"
    )


def _check_stored(stored: Sequence[TraceEvent], event: TraceEvent, line: str) -> None:
    """Refuse another event at a number that is taken; the very same one is a redelivery."""
    if event.sequence >= len(stored) or line_of(stored[event.sequence]) != line:
        raise InvalidState(
            "session_forked",
            f"sequence {event.sequence} of session `{event.session_id}` holds another event",
        )
