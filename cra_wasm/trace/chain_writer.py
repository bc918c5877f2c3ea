"""Hashes lines into their sessions' chains and stores them: the writer's rule of PROTOCOL 3.5 in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from ..errors import BackendFailure, CRAError, InvalidState
from ..model.event import GENESIS_HASH, TraceEvent
from ..ports import StorageBackend
from .buffer import Batch
from .chain import event_hash
from .raw import UNIT_SEPARATOR

Group: TypeAlias = tuple[str, str, Sequence[str]]
"""A session's id, its algorithm, and lines without their line feeds."""

_OF_ONE_SESSION: Final = ("session_forked", "sequence_gap")


class ChainWriter:
    """The one writer of a storage. It keeps each running session's head; numbers it never makes up."""

    def __init__(self, storage: StorageBackend) -> None:
        self._storage = storage
        self._heads: dict[str, tuple[int, str]] = {}
        self._stopped: dict[str, InvalidState] = {}
        self.events_quarantined = 0
        self.untold: list[InvalidState] = []
        """Why sessions were stopped, until somebody is told."""

    def write_batch(self, batch: Batch) -> None:
        """Store a batch, all or nothing. One that is already stored changes nothing.

        A session whose lines cannot join its chain stops here, the others go on: its events are counted, and
        why stands in `untold`. Nothing of it is stored any more: it would join another's chain.

        Raises:
            BackendFailure: nothing of the batch was stored.
        """
        groups: list[Group] = []
        for group in batch.groups:
            text = batch.data[group.offset : group.offset + group.length].decode()
            groups.append((group.session_id, group.algorithm, text.split("\n")[:-1]))
        running = [group for group in groups if group[0] not in self._stopped]
        quarantined = sum(len(lines) for session_id, _, lines in groups if session_id in self._stopped)
        try:
            self._write(running)
        except InvalidState as error:
            if error.code not in _OF_ONE_SESSION:
                raise
            quarantined += sum(map(self._write_or_stop, running))
        self.events_quarantined += quarantined

    def _write_or_stop(self, group: Group) -> int:
        """Store one session's lines, or stop the session; return how many lines were not stored."""
        try:
            self._write([group])
        except InvalidState as error:
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
            InvalidState: `session_forked` or `sequence_gap`.
            BackendFailure: nothing was stored.
        """
        self._write([(session_id, algorithm, [line[:-1] for line in lines])])

    def _write(self, groups: Sequence[Group]) -> None:
        events: list[TraceEvent] = []
        heads: dict[str, tuple[int, str]] = {}
        try:
            for session_id, algorithm, lines in groups:
                head = self._heads.get(session_id) or self._stored_head(session_id)
                new, heads[session_id] = self._chain(session_id, algorithm, lines, head)
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

    def _stored_head(self, session_id: str) -> tuple[int, str]:
        last = self._storage.get_events(session_id, last=1)
        return (last[0].sequence + 1, last[0].event_hash) if last else (0, GENESIS_HASH)

    def _chain(
        self, session_id: str, algorithm: str, lines: Sequence[str], head: tuple[int, str]
    ) -> tuple[list[TraceEvent], tuple[int, str]]:
        next_sequence, previous = head
        events = []
        stored: list[TraceEvent] | None = None
        for line in lines:
            event_id, trace_id, span_id, parent, number, timestamp, event_type, payload = line.split(
                UNIT_SEPARATOR
            )
            sequence = int(number)
            if sequence < next_sequence:
                if stored is None:
                    stored = self._storage.get_events(session_id)
                _check_stored(stored, session_id, sequence, line)
                continue
            if sequence > next_sequence:
                raise InvalidState(
                    "sequence_gap",
                    f"expected sequence {next_sequence} of session `{session_id}`, got {sequence}",
                )
            parent_span_id = parent or None
            digest = event_hash(
                event_id=event_id,
                trace_id=trace_id,
                span_id=span_id,
                parent_span_id=parent_span_id,
                session_id=session_id,
                sequence=sequence,
                timestamp=timestamp,
                event_type=event_type,
                payload_json=payload,
                previous_event_hash=previous,
                algorithm=algorithm,
            )
            events.append(
                TraceEvent(
                    event_id=event_id,
                    trace_id=trace_id,
                    span_id=span_id,
                    parent_span_id=parent_span_id,
                    session_id=session_id,
                    sequence=sequence,
                    timestamp=timestamp,
                    event_type=event_type,
                    payload_json=payload,
                    event_hash=digest,
                    previous_event_hash=previous,
                )
            )
            previous = digest
            next_sequence += 1
        return events, (next_sequence, previous)


def _check_stored(stored: Sequence[TraceEvent], session_id: str, sequence: int, line: str) -> None:
    """Refuse another event at a number that is taken; the very same one is a redelivery."""
    if sequence >= len(stored) or _line_of(stored[sequence]) != line:
        raise InvalidState(
            "session_forked", f"sequence {sequence} of session `{session_id}` holds another event"
        )


def _line_of(event: TraceEvent) -> str:
    return UNIT_SEPARATOR.join(
        (
            event.event_id,
            event.trace_id,
            event.span_id,
            event.parent_span_id or "",
            str(event.sequence),
            event.timestamp,
            event.event_type,
            event.payload_json,
        )
    )
