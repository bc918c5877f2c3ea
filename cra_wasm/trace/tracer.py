"""Where records go: hashed and stored at once, or buffered for a consumer.

`weight` counts events' worth, as `RawEvent.weight` does.
"""

from __future__ import annotations

from typing import Protocol

from ..errors import BufferFull
from ..ports import StorageBackend
from .buffer import TraceRingBuffer
from .chain_writer import ChainWriter
from .raw import RawEvent


class Tracer(Protocol):
    """Takes the records of a resolver. A record it refused has not happened.

    `lost` counts the events of each session that were dropped and that no trace.gap tells of yet
    (PROTOCOL 3.7); it stays empty unless `drops`.
    """

    drops: bool
    lost: dict[str, int]

    def is_full(self) -> bool:
        """Whether everything would be refused but what goes beyond."""
        ...

    def reserve(self, weight: int, events: int) -> None:
        """Keep room for events to come, or raise BufferFull."""
        ...

    def release(self, weight: int) -> None:
        """Give reserved room back."""
        ...

    def drop(self, session_id: str, events: int) -> None:
        """Count events of a record that was refused just now as lost; only where `drops`."""
        ...

    def record(self, raw: RawEvent, *, reserved: int = 0, beyond: bool = False) -> None:
        """Take a record; see `TraceRingBuffer.push`."""
        ...


class ImmediateTracer:
    """Hashes and stores each record before the call returns."""

    def __init__(self, storage: StorageBackend) -> None:
        self._writer = ChainWriter(storage)
        self.drops = False
        self.lost: dict[str, int] = {}

    def is_full(self) -> bool:
        """Never: nothing is refused for want of room."""
        return False

    def reserve(self, weight: int, events: int) -> None:
        """Nothing to keep: the storage is asked when the record comes."""

    def release(self, weight: int) -> None:
        """Nothing was kept."""

    def drop(self, session_id: str, events: int) -> None:
        """Never called: nothing is refused for want of room."""

    def record(self, raw: RawEvent, *, reserved: int = 0, beyond: bool = False) -> None:
        """Chain and store the record's events.

        Raises:
            BackendFailure: nothing of the record was stored.
        """
        self._writer.write_lines(raw.session_id, raw.algorithm, raw.lines())


class DeferredTracer:
    """Puts each record into a buffer, for a processor or for `drain_traces`.

    Args:
        drops: the resolver drops what finds no room, so that sessions may owe a gap.
    """

    def __init__(self, buffer: TraceRingBuffer, *, drops: bool = False) -> None:
        self.drops = drops
        self.lost: dict[str, int] = {}
        self._buffer = buffer
        self.reserve = buffer.reserve
        self.release = buffer.release
        self.record = self._record_unless_lost if drops else buffer.push

    def is_full(self) -> bool:
        """Whether the buffer has no room for a single event's worth."""
        return self._buffer.buffer_pressure() >= 1.0

    def drop(self, session_id: str, events: int) -> None:
        """Count events of a record that was refused just now as lost."""
        self._buffer.drop(events)
        self.lost[session_id] = self.lost.get(session_id, 0) + events

    def _record_unless_lost(self, raw: RawEvent, *, reserved: int = 0, beyond: bool = False) -> None:
        """Refuse what would stand before its session's gap; who records a gap takes it out of `lost` first.

        A consumer on another thread may make room between two calls, so that being full once does not keep
        the next record out.
        """
        if raw.session_id in self.lost:
            raise BufferFull("buffer_full", "the session's trace.gap comes first")
        self._buffer.push(raw, reserved=reserved, beyond=beyond)
