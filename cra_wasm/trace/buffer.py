"""The bounded buffer between deciding and storing. What was pushed stays until its batch is acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import BufferFull, InvalidInput, InvalidState, Json
from ..platform.threads import new_lock
from .raw import RawEvent

DEFAULT_CAPACITY: Final = 65_536
"""Events' worth: 40 MB of lines of usual length, half a second of the fastest writer. Filled with as much
text as is free it holds 95 MB, and 150 MB while a batch of it is made (64-bit CPython; a test holds 160)."""

MAX_IN_FLIGHT: Final = 2
"""Batches drained and not acknowledged; one is hashed while the other is being stored."""

WAKE_WEIGHT: Final = 500
"""So many pending events' worth, or half of a smaller buffer, do not wait for the consumer's interval."""

BATCH_CHARS: Final = 4 * 1024 * 1024
"""A batch ends with the record that makes its text this long, so that two in flight and the text of a third
stay small whatever is in them."""

_ASLEEP: Final = 1 << 62

Tell: TypeAlias = Callable[[str | None], None]
"""Called once: with None when it is stored, else with the reason why it was not. It must return at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchGroup:
    """The lines of one session in a batch; offset and length count bytes of `Batch.data`."""

    session_id: str
    first_sequence: int
    count: int
    offset: int
    length: int
    algorithm: str

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON object that JavaScript gets."""
        return {
            "session_id": self.session_id,
            "first_sequence": self.first_sequence,
            "count": self.count,
            "offset": self.offset,
            "length": self.length,
            "algorithm": self.algorithm,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one drain took out. `count` 0 is nothing to drain: `batch_id` 0, no acknowledgement wanted.

    `weight` is what it takes of the buffer's capacity until then; `events_before` is how many events were
    drained before it.
    """

    batch_id: int
    count: int
    groups: tuple[BatchGroup, ...]
    data: bytes
    weight: int = 0
    events_before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """Somebody who is told once the first `events` of all that were pushed are acknowledged."""

    events: int
    session_id: str
    tell: Tell


_EMPTY: Final = Batch(batch_id=0, count=0, groups=(), data=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferStats:
    """Counts of events; `capacity` and what ends in `_weight` are events' worth (PROTOCOL 3.7).

    `refused` counts the events of calls that were refused, `dropped` those of calls that went on without.
    """

    capacity: int
    pending: int
    pending_weight: int
    in_flight: int
    in_flight_weight: int
    reserved_weight: int
    batches_in_flight: int
    pushed: int
    acknowledged: int
    refused: int
    dropped: int


class TraceRingBuffer:
    """A bounded queue of raw records with one consumer. Safe to push to from several threads.

    Nothing is ever overwritten: full means refused, with BufferFull, before anything was decided. What counts
    is `RawEvent.weight`, so that large payloads fill it before they fill the memory.

    Args:
        capacity: 16 to 16,777,216 events' worth, pending and in flight: an event, or 1 KiB of text more.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or not 16 <= capacity <= 16_777_216:
            raise InvalidInput(
                "invalid_capacity", "give a capacity of 16 to 16777216 events' worth", pointer="/capacity"
            )
        self._capacity = capacity
        self._lock = new_lock()
        self._records: deque[RawEvent] = deque()
        self._drained_of_first = 0
        self._pending = 0
        self._pending_weight = 0
        self._in_flight: deque[Batch] = deque()
        self._in_flight_events = 0
        self._in_flight_weight = 0
        self._reserved_weight = 0
        self._next_batch_id = 1
        self._acknowledged = 0
        self._refused = 0
        self._dropped = 0
        self._consumer: str | None = None
        self._wake: Callable[[], None] = _do_nothing
        self._wake_durable: Callable[[], None] = _do_nothing
        self._waiting: list[_Waiting] = []
        self._wake_weight = min(WAKE_WEIGHT, capacity // 2)
        self._wake_at_weight = self._wake_weight
        self._on_room: list[Callable[[], None]] = []

    def check_room(self, weight: int, events: int) -> None:
        """Refuse a call whose events would not fit.

        Raises:
            BufferFull: `buffer_full`; `details` has the weights. Drain and acknowledge, then call again.
        """
        taken = self._pending_weight + self._in_flight_weight + self._reserved_weight
        if taken + weight > self._capacity:
            self._refused += events
            remedy = "drain and acknowledge, then retry"
            if weight > self._capacity:
                remedy = "make the resolver with a larger capacity, or record less at once"
            raise BufferFull(
                "buffer_full",
                f"the trace buffer has no room for {weight} more events' worth: {remedy}",
                capacity=self._capacity,
                pending_weight=self._pending_weight,
                in_flight_weight=self._in_flight_weight,
                reserved_weight=self._reserved_weight,
                needed_weight=weight,
            )

    def push(self, record: RawEvent, *, reserved: int = 0, beyond: bool = False) -> None:
        """Append a record.

        Args:
            reserved: how much reserved weight it gives back, used or not.
            beyond: take it even when full; only for what must not be lost: a few events per session or
                running call.

        Raises:
            BufferFull: as `check_room`.
        """
        weight = record.weight
        with self._lock:
            taken = self._pending_weight + self._in_flight_weight + self._reserved_weight
            # check_room's own question, asked here: on the hot path a call costs as much as the rest.
            if taken - reserved + weight > self._capacity and weight > reserved and not beyond:
                self.check_room(weight - reserved, record.count)
            if reserved:
                self._reserved_weight -= reserved
            self._records.append(record)
            self._pending += record.count
            self._pending_weight = weight = self._pending_weight + weight
            if weight >= self._wake_at_weight:
                self._wake_at_weight = _ASLEEP
                # INVARIANT: a record that was taken is not refused, else its numbers would be given twice.
                with suppress(Exception):
                    self._wake()

    def reserve(self, weight: int, events: int) -> None:
        """Keep room for events to come, so that what is about to happen can be recorded.

        Args:
            events: how many those are, for the count of what was refused.

        Raises:
            BufferFull: as `check_room`.
        """
        with self._lock:
            self.check_room(weight, events)
            self._reserved_weight += weight

    def release(self, weight: int) -> None:
        """Give reserved room back."""
        with self._lock:
            self._reserved_weight -= weight

    def drop(self, events: int) -> None:
        """Count events that were refused just now as dropped: their call goes on without them."""
        with self._lock:
            self._refused -= events
            self._dropped += events

    def notify_room(self, on_room: Callable[[], None]) -> None:
        """Have `on_room` called after each acknowledgement, after others that asked, outside the lock."""
        self._on_room.append(on_room)

    def claim(
        self,
        consumer: str,
        wake: Callable[[], None] | None = None,
        wake_durable: Callable[[], None] | None = None,
    ) -> None:
        """Become the buffer's consumer; the same name may claim again.

        Args:
            wake: called by the push that makes WAKE_WEIGHT (or half the capacity) pending, and again after
                the next drain; it must return at once, and what it raises is lost. None keeps the one that
                the same consumer gave.
            wake_durable: as `wake`, called when somebody waits until what is pending is stored; None means
                `wake`.

        Raises:
            InvalidState: `buffer_consumed` when another one drains it.
        """
        with self._lock:
            if self._consumer not in (None, consumer):
                raise InvalidState(
                    "buffer_consumed",
                    f"`{self._consumer}` drains this buffer already: a buffer has one consumer",
                )
            self._consumer = consumer
            if wake is not None:
                self._wake = wake
                self._wake_durable = wake_durable or wake
                self._wake_at_weight = self._wake_weight

    def drain(self, max_events: int) -> Batch:
        """Take up to `max_events` new events out as one batch; a large record may be split.

        Fewer where their text is longer than BATCH_CHARS, but at least one. Empty when there is nothing new,
        or while two batches wait for their acknowledgement.

        Raises:
            InvalidInput: `invalid_max_events` unless >= 1.
        """
        if isinstance(max_events, bool) or not isinstance(max_events, int) or max_events < 1:
            raise InvalidInput("invalid_max_events", "give 1 or more", pointer="/max_events")
        with self._lock:
            if not self._pending or len(self._in_flight) >= MAX_IN_FLIGHT:
                return _EMPTY
            batch = self._take(max_events)
            self._in_flight.append(batch)
            self._in_flight_events += batch.count
            self._in_flight_weight += batch.weight
            self._next_batch_id += 1
            self._wake_at_weight = self._wake_weight
            return batch

    def ack(self, batch_id: int) -> bool:
        """Forget a batch that is stored. False when it is not in flight (any more): that is no error."""
        with self._lock:
            for batch in self._in_flight:
                if batch.batch_id == batch_id:
                    self._in_flight.remove(batch)
                    self._in_flight_events -= batch.count
                    self._in_flight_weight -= batch.weight
                    self._acknowledged += batch.count
                    break
            else:
                return False
            stored = self._stored_without_gap()
            told = [one for one in self._waiting if one.events <= stored]
            if told:
                self._waiting = [one for one in self._waiting if one.events > stored]
        for one in told:
            one.tell(None)
        for on_room in self._on_room:
            on_room()
        return True

    def _stored_without_gap(self) -> int:
        """Return how many events are acknowledged before the first that is not: of two batches in flight,
        the younger may be acknowledged first."""
        return self._in_flight[0].events_before if self._in_flight else self._acknowledged

    def tell_when_stored(self, session_id: str, tell: Tell) -> None:
        """Have `tell` called once all that was pushed so far is acknowledged, and ask the consumer to hurry.

        Args:
            session_id: whose events they wait for; see `refuse_waiting`.
        """
        with self._lock:
            events = self._pending + self._in_flight_events + self._acknowledged
            if self._stored_without_gap() >= events:
                hurry = False
            else:
                hurry = True
                self._waiting.append(_Waiting(events=events, session_id=session_id, tell=tell))
        if not hurry:
            tell(None)
            return
        with suppress(Exception):
            self._wake_durable()

    def stop_waiting(self, tell: Tell) -> None:
        """Forget who waits: its time is over."""
        with self._lock:
            self._waiting = [one for one in self._waiting if one.tell is not tell]

    def refuse_waiting(self, reason: str, session_ids: Collection[str] | None = None) -> int:
        """Tell those who wait that it was not stored, all or those of some sessions; return how many."""
        with self._lock:
            told = [one for one in self._waiting if session_ids is None or one.session_id in session_ids]
            self._waiting = [one for one in self._waiting if one not in told]
        for one in told:
            one.tell(reason)
        return len(told)

    def redeliver(self) -> list[Batch]:
        """Return the batches in flight again, byte for byte, oldest first."""
        with self._lock:
            return list(self._in_flight)

    def buffer_stats(self) -> BufferStats:
        """Return the counts of this moment."""
        with self._lock:
            return BufferStats(
                capacity=self._capacity,
                pending=self._pending,
                pending_weight=self._pending_weight,
                in_flight=self._in_flight_events,
                in_flight_weight=self._in_flight_weight,
                reserved_weight=self._reserved_weight,
                batches_in_flight=len(self._in_flight),
                pushed=self._pending + self._in_flight_events + self._acknowledged,
                acknowledged=self._acknowledged,
                refused=self._refused,
                dropped=self._dropped,
            )

    def buffer_pressure(self) -> float:
        """Return how full it is: 0.0 empty, 1.0 full (more only by events that must not be lost)."""
        return (self._pending_weight + self._in_flight_weight + self._reserved_weight) / self._capacity

    def _take(self, max_events: int) -> Batch:
        """Make the next batch. Nothing is removed before its whole text exists."""
        taken: dict[str, tuple[RawEvent, int, list[str]]] = {}
        left = max_events
        chars = 0
        weight = 0
        whole = 0
        start = self._drained_of_first
        for record in self._records:
            lines = record.lines(start, start + left)
            if record.session_id in taken:
                taken[record.session_id][2].extend(lines)
            else:
                taken[record.session_id] = (record, record.first_sequence + start, lines)
            if start == 0:
                weight += record.weight - record.count  # its text leaves with its first events
            left -= len(lines)
            chars += sum(map(len, lines))
            start += len(lines)
            if start == record.count:
                whole += 1
                start = 0
            if left == 0 or chars >= BATCH_CHARS:
                break
        weight += max_events - left
        before = self._acknowledged + self._in_flight_events
        batch = _batch_of(self._next_batch_id, taken, weight, before)
        for _ in range(whole):
            self._records.popleft()
        self._drained_of_first = start
        self._pending -= batch.count
        self._pending_weight -= weight
        return batch


def _do_nothing() -> None:
    """Stands where nobody asked to be told."""


def _batch_of(
    batch_id: int, taken: dict[str, tuple[RawEvent, int, list[str]]], weight: int, events_before: int
) -> Batch:
    groups = []
    parts = []
    offset = 0
    for session_id, (first_record, first_sequence, lines) in taken.items():
        part = "".join(lines).encode()
        parts.append(part)
        groups.append(
            BatchGroup(
                session_id=session_id,
                first_sequence=first_sequence,
                count=len(lines),
                offset=offset,
                length=len(part),
                algorithm=first_record.algorithm,
            )
        )
        offset += len(part)
    return Batch(
        batch_id=batch_id,
        count=sum(group.count for group in groups),
        groups=tuple(groups),
        data=b"".join(parts),
        weight=weight,
        events_before=events_before,
    )
