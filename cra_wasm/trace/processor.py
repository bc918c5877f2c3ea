"""Takes batches out of a buffer, chains them and stores them, in the background or when told."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Final

from ..errors import CRAError, InvalidState
from ..platform.threads import new_lock
from ..ports import Drive, StorageBackend
from .buffer import Batch, TraceRingBuffer
from .chain_writer import ChainWriter

DEFAULT_INTERVAL_MS: Final = 250
BATCH_EVENTS: Final = 2_000
_BACK_OFF_STEPS: Final = 8

_numbers = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorStats:
    """What was stored, and the last failure's code (None once a later batch got through)."""

    batches_stored: int
    events_stored: int
    events_quarantined: int
    failures: int
    last_error: str | None


class TraceProcessor:
    """The consumer of one buffer and the writer of one storage.

    A batch is acknowledged only after `store_events` returned; one that failed is tried again, the same
    bytes, before anything newer.

    Args:
        drive: calls the processor in the background; `platform.drives.new_drive()` gives the one that fits
            the interpreter. Without one, only `flush` moves events.
    """

    def __init__(
        self,
        buffer: TraceRingBuffer,
        storage: StorageBackend,
        *,
        drive: Drive | None = None,
        interval_ms: int = DEFAULT_INTERVAL_MS,
    ) -> None:
        self._buffer = buffer
        self._writer = ChainWriter(storage)
        self._drive = drive
        self._interval_ms = interval_ms
        self._lock = new_lock()
        self._batches = 0
        self._events = 0
        self._failures = 0
        self._failures_in_a_row = 0
        self._last_error: CRAError | None = None
        self._steps_to_skip = 0
        buffer.claim(f"TraceProcessor {next(_numbers)}", self.wake)

    def start(self) -> ProcessorHandle:
        """Begin to drain in the background and return the handle.

        Raises:
            InvalidState: `no_drive` when the processor was made without one; `processor_started` twice.
            BackendFailure: `no_threads`.
        """
        if self._drive is None:
            raise InvalidState("no_drive", "this processor has no drive: call flush, or pass drive=")
        if self._drive.is_running():
            raise InvalidState("processor_started", "the processor is running already")
        self._drive.start(self._step, self._interval_ms)
        return ProcessorHandle(self, self._drive)

    def flush(self) -> int:
        """Store everything pushed so far and return how many events that were.

        Raises:
            CRAError: the storage's; the batch stays in flight and is tried again next time.
            CRAError: `session_forked`, `sequence_gap`, `algorithm_changed` or `unknown_algorithm`, once for a
                session that was stopped; all else was stored.
        """
        with self._lock:
            stored = self._store_all()
            untold, self._writer.untold = self._writer.untold, []
        if untold:
            untold[0].details["sessions"] = [error.details["session_id"] for error in untold]
            raise untold[0]
        return stored

    def _store_all(self) -> int:
        with self._lock:
            stored = 0
            target = self._buffer.buffer_stats().pushed
            for batch in self._buffer.redeliver():
                stored += self._store(batch)
            while self._buffer.buffer_stats().acknowledged < target:
                batch = self._buffer.drain(BATCH_EVENTS)
                if not batch.count:
                    break
                stored += self._store(batch)
            return stored

    def wake(self) -> None:
        """Ask the background for a step now; while the storage fails, it comes at its own pace."""
        if self._drive is not None and not self._failures_in_a_row:
            self._drive.wake()

    def is_stopped(self, session_id: str) -> bool:
        """Whether the session's events could not join its chain, so that nothing of it is stored any more."""
        return self._writer.is_stopped(session_id)

    def statistics(self) -> ProcessorStats:
        """Return the counts of this moment."""
        return ProcessorStats(
            batches_stored=self._batches,
            events_stored=self._events,
            events_quarantined=self._writer.events_quarantined,
            failures=self._failures,
            last_error=None if self._last_error is None else self._last_error.code,
        )

    def _step(self) -> None:
        """One background step; after a failure it waits longer and longer, the batch stays."""
        if self._steps_to_skip:
            self._steps_to_skip -= 1
            return
        try:
            self._store_all()
        except CRAError:
            self._steps_to_skip = min(2 ** min(self._failures_in_a_row, 3), _BACK_OFF_STEPS)

    def _store(self, batch: Batch) -> int:
        quarantined = self._writer.events_quarantined
        try:
            self._writer.write_batch(batch)
        except CRAError as error:
            self._failures += 1
            self._failures_in_a_row += 1
            self._last_error = error
            raise
        self._buffer.ack(batch.batch_id)
        self._last_error = None
        self._failures_in_a_row = 0
        self._batches += 1
        stored = batch.count - (self._writer.events_quarantined - quarantined)
        self._events += stored
        return stored


class ProcessorHandle:
    """The running processor, for who has to stop it."""

    def __init__(self, processor: TraceProcessor, drive: Drive) -> None:
        self._processor = processor
        self._drive = drive
        self._ended = False

    def is_running(self) -> bool:
        """Whether it still drains in the background."""
        return self._drive.is_running()

    def flush(self) -> int:
        """Store everything pushed so far; see `TraceProcessor.flush`."""
        return self._processor.flush()

    def shutdown(self) -> None:
        """Stop, then store what is left. Once that worked, calling it again does nothing.

        Raises:
            CRAError: the storage's, after the background was stopped; what was not stored stays in the
                buffer, for the next call.
        """
        if self._ended:
            return
        self._drive.stop()
        self._drive.join()
        self._processor.flush()
        self._ended = True

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the background to end; False when the time ran out first."""
        return self._drive.join(timeout_seconds)
