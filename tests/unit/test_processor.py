"""The processor: stores what the buffer holds, once, also when the storage fails in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from cra_wasm import (
    BackendFailure,
    InvalidState,
    MemoryStorage,
    RawEvent,
    TraceEvent,
    TraceProcessor,
    TraceRingBuffer,
)
from cra_wasm.model.ids import uuid_text
from cra_wasm.trace.buffer import WAKE_WEIGHT
from cra_wasm.trace.raw import as_given
from cra_wasm.trace.verify import verify_lines

BASE = 0x01940D233A0070008000000000010000
SESSION = uuid_text(BASE + 1)


def record(first: int, count: int = 1) -> RawEvent:
    texts = [("app.step", f'{{"n":{first + number}}}') for number in range(count)]
    base = BASE + ((first + 2) << 16)
    return RawEvent(SESSION, first, count, 1_735_387_200_000_000_000, base, base, None, as_given, texts)


class ManualDrive:
    """A drive whose steps happen when the test says so."""

    def __init__(self) -> None:
        self.step: Callable[[], None] | None = None
        self.running = False
        self.wakes = 0

    def start(self, step: Callable[[], None], interval_ms: int) -> None:
        self.step, self.running = step, True

    def wake(self) -> None:
        self.wakes += 1

    def is_running(self) -> bool:
        return self.running

    def stop(self) -> None:
        self.running = False

    def join(self, timeout_seconds: float | None = None) -> bool:
        return True

    def tick(self) -> None:
        assert self.running and self.step is not None
        self.step()


class BrokenStorage(MemoryStorage):
    """Raises the given errors, one at each call, before it works."""

    def __init__(self, *errors: Exception, after: bool = False) -> None:
        super().__init__()
        self.errors, self.after = list(errors), after
        self.calls = 0

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        self.calls += 1
        if self.after:
            super().store_events(events)
        if self.errors:
            raise self.errors.pop(0)
        if not self.after:
            super().store_events(events)


def full_disk() -> BackendFailure:
    return BackendFailure("storage_failed", "disk full")


def numbers(storage: MemoryStorage) -> list[int]:
    return [event.payload["n"] for event in storage.get_events(SESSION)]


def test_flush_stores_everything_and_says_how_much() -> None:
    buffer, storage = TraceRingBuffer(10_000), MemoryStorage()
    processor = TraceProcessor(buffer, storage)
    assert processor.flush() == 0
    buffer.push(record(0, 4_500))
    buffer.push(record(4_500, 3))
    assert processor.flush() == 4_503
    assert processor.flush() == 0
    assert numbers(storage) == list(range(4_503))
    assert verify_lines(storage.iter_lines(SESSION)).events == 4_503
    stats = buffer.buffer_stats()
    assert (stats.pending, stats.in_flight, stats.acknowledged) == (0, 0, 4_503)
    assert processor.statistics().events_stored == 4_503
    assert processor.statistics().batches_stored == 3


# PROTOCOL 3.5.8
@pytest.mark.parametrize("after", [False, True], ids=["nothing stored", "stored, then failed"])
def test_a_batch_that_could_not_be_stored_stays_and_is_stored_once(after: bool) -> None:
    buffer = TraceRingBuffer(100)
    storage = BrokenStorage(full_disk(), full_disk(), after=after)
    processor = TraceProcessor(buffer, storage)
    buffer.push(record(0, 3))
    for failures in (1, 2):
        with pytest.raises(BackendFailure) as caught:
            processor.flush()
        assert caught.value.code == "storage_failed"
        assert buffer.buffer_stats().in_flight == 3
        assert processor.statistics().failures == failures
        assert processor.statistics().last_error == "storage_failed"
    buffer.push(record(3, 2))
    assert processor.flush() == 5
    assert numbers(storage) == [0, 1, 2, 3, 4]
    assert verify_lines(storage.iter_lines(SESSION)).events == 5
    assert processor.statistics().last_error is None
    assert buffer.buffer_stats().acknowledged == 5


def test_a_batch_in_flight_from_before_goes_first() -> None:
    buffer, storage = TraceRingBuffer(100), MemoryStorage()
    processor = TraceProcessor(buffer, storage)
    buffer.push(record(0, 5))
    buffer.drain(2), buffer.drain(2)
    assert processor.flush() == 5
    assert numbers(storage) == [0, 1, 2, 3, 4]


def test_two_processors_cannot_share_a_buffer() -> None:
    buffer = TraceRingBuffer(16)
    TraceProcessor(buffer, MemoryStorage())
    with pytest.raises(InvalidState) as caught:
        TraceProcessor(buffer, MemoryStorage())
    assert caught.value.code == "buffer_consumed"


def test_without_a_drive_it_cannot_start_but_flushes() -> None:
    buffer, storage = TraceRingBuffer(16), MemoryStorage()
    processor = TraceProcessor(buffer, storage)
    with pytest.raises(InvalidState) as caught:
        processor.start()
    assert caught.value.code == "no_drive"
    processor.wake()
    buffer.push(record(0))
    assert processor.flush() == 1


def test_a_running_processor_cannot_be_started_again() -> None:
    processor = TraceProcessor(TraceRingBuffer(16), MemoryStorage(), drive=ManualDrive())
    handle = processor.start()
    assert handle.is_running()
    with pytest.raises(InvalidState) as caught:
        processor.start()
    assert caught.value.code == "processor_started"


def test_a_step_stores_and_a_wake_asks_the_drive() -> None:
    buffer, storage, drive = TraceRingBuffer(16), MemoryStorage(), ManualDrive()
    processor = TraceProcessor(buffer, storage, drive=drive)
    processor.start()
    processor.wake()
    assert drive.wakes == 1
    buffer.push(record(0, 2))
    drive.tick()
    assert numbers(storage) == [0, 1]


@pytest.mark.parametrize("error", [full_disk(), OSError("gone"), ZeroDivisionError()], ids=repr)
def test_a_failing_step_does_not_end_the_background_and_later_ones_store(error: Exception) -> None:
    buffer, storage, drive = TraceRingBuffer(16), BrokenStorage(error), ManualDrive()
    processor = TraceProcessor(buffer, storage, drive=drive)
    processor.start()
    buffer.push(record(0))
    drive.tick()
    assert processor.statistics().last_error == "storage_failed"
    for _ in range(10):
        drive.tick()
    assert numbers(storage) == [0]
    assert processor.statistics().last_error is None


def test_after_a_failure_it_waits_longer_each_time_but_never_gives_up() -> None:
    buffer, drive = TraceRingBuffer(16), ManualDrive()
    storage = BrokenStorage(*[full_disk() for _ in range(5)])
    processor = TraceProcessor(buffer, storage, drive=drive)
    processor.start()
    buffer.push(record(0))
    tried_at = []
    for tick in range(50):
        before = storage.calls
        drive.tick()
        if storage.calls > before:
            tried_at.append(tick)
    waits = [later - earlier for earlier, later in pairwise(tried_at)]
    assert waits == sorted(waits)
    assert waits[0] > 1 and waits[-1] <= 9
    assert numbers(storage) == [0]


def test_once_it_works_again_the_waits_start_anew() -> None:
    buffer, drive = TraceRingBuffer(16), ManualDrive()
    storage = BrokenStorage(*[full_disk() for _ in range(5)])
    processor = TraceProcessor(buffer, storage, drive=drive)
    processor.start()
    buffer.push(record(0))
    for _ in range(50):
        drive.tick()
    storage.errors.append(full_disk())
    buffer.push(record(1))
    for _ in range(4):
        drive.tick()
    assert numbers(storage) == [0, 1]


def test_shutdown_stores_what_is_left_and_a_second_one_does_nothing() -> None:
    buffer, storage, drive = TraceRingBuffer(16), MemoryStorage(), ManualDrive()
    handle = TraceProcessor(buffer, storage, drive=drive).start()
    buffer.push(record(0, 3))
    handle.shutdown()
    assert not handle.is_running()
    assert handle.join(0) is True
    assert numbers(storage) == [0, 1, 2]
    storage.close()
    buffer.push(record(3))
    handle.shutdown()
    assert buffer.buffer_stats().pending == 1


def test_shutdown_stores_what_is_left_also_when_the_background_has_died() -> None:
    buffer, storage, drive = TraceRingBuffer(16), MemoryStorage(), ManualDrive()
    handle = TraceProcessor(buffer, storage, drive=drive).start()
    buffer.push(record(0))
    drive.stop()
    handle.shutdown()
    assert numbers(storage) == [0]


def test_a_shutdown_that_could_not_store_stops_and_can_be_repeated() -> None:
    buffer, storage, drive = TraceRingBuffer(16), BrokenStorage(full_disk()), ManualDrive()
    handle = TraceProcessor(buffer, storage, drive=drive).start()
    buffer.push(record(0))
    with pytest.raises(BackendFailure):
        handle.shutdown()
    assert not handle.is_running()
    assert buffer.buffer_stats().in_flight == 1
    handle.shutdown()
    assert numbers(storage) == [0]


def test_a_processor_can_be_started_again_after_its_end() -> None:
    buffer, storage, drive = TraceRingBuffer(16), MemoryStorage(), ManualDrive()
    processor = TraceProcessor(buffer, storage, drive=drive)
    processor.start().shutdown()
    handle: Any = processor.start()
    buffer.push(record(0))
    drive.tick()
    assert numbers(storage) == [0]
    buffer.push(record(1))
    handle.shutdown()
    assert numbers(storage) == [0, 1]


def test_many_pending_events_wake_the_background_at_once() -> None:
    buffer, drive = TraceRingBuffer(2_000), ManualDrive()
    processor = TraceProcessor(buffer, MemoryStorage(), drive=drive)
    processor.start()
    buffer.push(record(0, WAKE_WEIGHT - 1))
    assert drive.wakes == 0
    buffer.push(record(WAKE_WEIGHT - 1))
    assert drive.wakes == 1
    drive.tick()
    buffer.push(record(WAKE_WEIGHT))
    assert drive.wakes == 1
