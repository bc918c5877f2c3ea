"""Where records go: hashed and stored at once, or buffered for a consumer."""

from __future__ import annotations

from typing import Protocol

from ..ports import StorageBackend
from .buffer import TraceRingBuffer
from .chain_writer import ChainWriter
from .raw import RawEvent


class Tracer(Protocol):
    """Takes the records of a resolver. A record it refused has not happened."""

    def check_room(self, count: int) -> None:
        """Raise BufferFull if that many events would not fit."""
        ...

    def reserve(self, count: int) -> None:
        """Keep room for events to come, or raise BufferFull."""
        ...

    def release(self, count: int) -> None:
        """Give reserved room back."""
        ...

    def record(self, raw: RawEvent, *, reserved: int = 0, beyond: bool = False) -> None:
        """Take a record; see `TraceRingBuffer.push`."""
        ...


class ImmediateTracer:
    """Hashes and stores each record before the call returns."""

    def __init__(self, storage: StorageBackend) -> None:
        self._writer = ChainWriter(storage)

    def check_room(self, count: int) -> None:
        """There is always room: the storage is asked when the record comes."""

    def reserve(self, count: int) -> None:
        """Nothing to keep."""

    def release(self, count: int) -> None:
        """Nothing was kept."""

    def record(self, raw: RawEvent, *, reserved: int = 0, beyond: bool = False) -> None:
        """Chain and store the record's events.

        Raises:
            BackendFailure: nothing of the record was stored.
        """
        self._writer.write_lines(raw.session_id, "sha256", raw.lines())


class DeferredTracer:
    """Puts each record into a buffer, for a processor or for `drain_traces`."""

    def __init__(self, buffer: TraceRingBuffer) -> None:
        self.check_room = buffer.check_room
        self.reserve = buffer.reserve
        self.release = buffer.release
        self.record = buffer.push
