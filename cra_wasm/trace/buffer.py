"""The bounded buffer between deciding and storing. What was pushed stays until its batch is acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import BufferFull, InvalidInput, InvalidState, Json
from ..platform.threads import new_lock
from .raw import RawEvent

DEFAULT_CAPACITY: Final = 65_536
"""Events: some 40 MB of lines of usual length, half a second of the fastest writer."""

MAX_IN_FLIGHT: Final = 2
"""Batches drained and not acknowledged; one is hashed while the other is being stored."""


WAKE_EVENTS: Final = 500
"""So many pending events do not wait for the consumer's next interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchGroup:
    """The lines of one session in a batch; offset and length count bytes of `Batch.data`."""

    session_id: str
    first_sequence: int
    count: int
    offset: int
    length: int
    algorithm: str = "sha256"

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
    """What one drain took out. `count` 0 is nothing to drain: `batch_id` 0, no acknowledgement wanted."""

    batch_id: int
    count: int
    groups: tuple[BatchGroup, ...]
    data: bytes


_EMPTY: Final = Batch(batch_id=0, count=0, groups=(), data=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferStats:
    """Counts of events, but `batches_in_flight`. `refused` counts events, not calls."""

    capacity: int
    pending: int
    in_flight: int
    reserved: int
    batches_in_flight: int
    pushed: int
    acknowledged: int
    refused: int


class TraceRingBuffer:
    """A bounded queue of raw records with one consumer. Safe to push to from several threads.

    Nothing is ever overwritten: full means refused, with BufferFull, before anything was decided.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or not 16 <= capacity <= 16_777_216:
            raise InvalidInput(
                "invalid_capacity", "give a capacity of 16 to 16777216 events", pointer="/capacity"
            )
        self._capacity = capacity
        self._lock = new_lock()
        self._records: deque[RawEvent] = deque()
        self._drained_of_first = 0
        self._pending = 0
        self._in_flight: deque[Batch] = deque()
        self._in_flight_events = 0
        self._reserved = 0
        self._next_batch_id = 1
        self._pushed = 0
        self._acknowledged = 0
        self._refused = 0
        self._consumer: str | None = None
        self._wake: Callable[[], None] = _sleep_on

    def check_room(self, count: int) -> None:
        """Refuse a call whose events would not fit.

        Raises:
            BufferFull: `buffer_full`; `details` has the counts. Drain and acknowledge, then call again.
        """
        if self._pending + self._in_flight_events + self._reserved + count > self._capacity:
            self._refused += count
            remedy = "drain and acknowledge, then retry"
            if count > self._capacity:
                remedy = "make the resolver with a larger capacity, or resolve fewer actions at once"
            raise BufferFull(
                "buffer_full",
                f"the trace buffer has no room for {count} more events: {remedy}",
                capacity=self._capacity,
                pending=self._pending,
                in_flight=self._in_flight_events,
                reserved=self._reserved,
                needed=count,
            )

    def push(self, record: RawEvent, *, reserved: int = 0, beyond: bool = False) -> None:
        """Append a record.

        Args:
            reserved: how many reserved places it gives back, used or not.
            beyond: take it even when full; only for events that must not be lost, one or two a session.

        Raises:
            BufferFull: as `check_room`.
        """
        with self._lock:
            if not beyond and record.count > reserved:
                self.check_room(record.count - reserved)
            self._reserved -= reserved
            self._records.append(record)
            self._pending += record.count
            self._pushed += record.count
            if self._pending >= WAKE_EVENTS:
                self._wake()

    def reserve(self, count: int) -> None:
        """Keep room for events to come, so that what is about to happen can be recorded.

        Raises:
            BufferFull: as `check_room`.
        """
        with self._lock:
            self.check_room(count)
            self._reserved += count

    def release(self, count: int) -> None:
        """Give reserved room back."""
        with self._lock:
            self._reserved -= count

    def claim(self, consumer: str, wake: Callable[[], None] | None = None) -> None:
        """Become the buffer's consumer; the same name may claim again.

        Args:
            wake: called by each push while WAKE_EVENTS or more are pending; it must return at once.

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
            self._wake = wake or _sleep_on

    def drain(self, max_events: int) -> Batch:
        """Take up to `max_events` new events out as one batch; a large record may be split.

        Empty when there is nothing new, or while two batches wait for their acknowledgement.

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
            self._next_batch_id += 1
            return batch

    def ack(self, batch_id: int) -> bool:
        """Forget a batch that is stored. False when it is not in flight (any more): that is no error."""
        with self._lock:
            for batch in self._in_flight:
                if batch.batch_id == batch_id:
                    self._in_flight.remove(batch)
                    self._in_flight_events -= batch.count
                    self._acknowledged += batch.count
                    return True
            return False

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
                in_flight=self._in_flight_events,
                reserved=self._reserved,
                batches_in_flight=len(self._in_flight),
                pushed=self._pushed,
                acknowledged=self._acknowledged,
                refused=self._refused,
            )

    def buffer_pressure(self) -> float:
        """Return how full it is: 0.0 empty, 1.0 full (more only by events that must not be lost)."""
        return (self._pending + self._in_flight_events + self._reserved) / self._capacity

    def _take(self, max_events: int) -> Batch:
        """Make the next batch. Nothing is removed before its whole text exists."""
        taken: dict[str, tuple[int, list[str]]] = {}
        left = max_events
        whole = 0
        start = self._drained_of_first
        for record in self._records:
            lines = record.lines(start, start + left)
            if record.session_id in taken:
                taken[record.session_id][1].extend(lines)
            else:
                taken[record.session_id] = (record.first_sequence + start, lines)
            left -= len(lines)
            start += len(lines)
            if start == record.count:
                whole += 1
                start = 0
            if left == 0:
                break
        batch = _batch_of(self._next_batch_id, taken)
        for _ in range(whole):
            self._records.popleft()
        self._drained_of_first = start
        self._pending -= batch.count
        return batch


def _sleep_on() -> None:
    """Wake nobody: the consumer comes by itself."""


def _batch_of(batch_id: int, taken: dict[str, tuple[int, list[str]]]) -> Batch:
    groups = []
    parts = []
    offset = 0
    for session_id, (first_sequence, lines) in taken.items():
        part = "".join(lines).encode()
        parts.append(part)
        groups.append(
            BatchGroup(
                session_id=session_id,
                first_sequence=first_sequence,
                count=len(lines),
                offset=offset,
                length=len(part),
            )
        )
        offset += len(part)
    return Batch(
        batch_id=batch_id,
        count=sum(group.count for group in groups),
        groups=tuple(groups),
        data=b"".join(parts),
    )
