"""The timers of one resolver: heartbeats, the ends of its sessions, and what it tells of its clocks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from ..ports import TimerBackend
from ..timing.manager import TimerManager, TimerStats
from .heartbeat import Heartbeat
from .recorder import Recorder
from .sessions import Sessions

_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStats:
    """How time went for a resolver (PROTOCOL 3.14).

    `steps` and `suspensions` are those noticed so far and `gap_ms` their sum; `timers` is None where nothing
    runs by itself, and deadlines are looked at when a call comes.
    """

    uptime_ms: int
    steps: int
    suspensions: int
    gap_ms: int
    sessions_timed_out: int
    heartbeats: int
    heartbeats_missed: int
    timers: TimerStats | None


class Timekeeping:
    """Runs one manager on one backend, or none.

    Args:
        owned: whether closing the backend belongs to closing this.
    """

    def __init__(
        self,
        recorder: Recorder,
        sessions: Sessions,
        lock: AbstractContextManager[object],
        backend: TimerBackend | None,
        heartbeat: Heartbeat | None,
        *,
        owned: bool,
    ) -> None:
        self._recorder = recorder
        self._sessions = sessions
        self._backend = backend
        self._owned = owned
        self._heartbeat = heartbeat
        self._manager: TimerManager | None = None
        if backend is None:
            return
        timeline = recorder.timeline
        self._manager = sessions.expiry.manager = TimerManager(
            backend,
            lambda: timeline.read()[1],
            awake_ns=timeline.awake_ns,
            tracker=sessions.expiry,
            lock=lock,
            on_suspension=self._tell_suspension,
        )
        if heartbeat is not None:
            self._manager.repeating("heartbeat", heartbeat.interval_ms, heartbeat.beat)

    def statistics(self) -> ClockStats:
        """Return the state of this moment; the resolver's lock is held."""
        _, elapsed_ns = self._recorder.times()
        steps = self._recorder.timeline.steps
        beats = self._heartbeat
        return ClockStats(
            uptime_ms=elapsed_ns // _NS_PER_MS,
            steps=steps.steps,
            suspensions=steps.suspensions,
            gap_ms=steps.gap_ns // _NS_PER_MS,
            sessions_timed_out=self._sessions.expiry.timed_out,
            heartbeats=0 if beats is None else beats.beats,
            heartbeats_missed=0 if beats is None else beats.missed,
            timers=None if self._manager is None else self._manager.statistics(),
        )

    def stop(self) -> None:
        """Let nothing fire any more; the resolver's lock is held."""
        if self._manager is not None:
            self._manager.close()

    def release(self) -> None:
        """Close the backend, if it is this resolver's. Without the lock: a timer's thread may wait for it."""
        if self._owned and self._backend is not None:
            self._backend.close()

    def _tell_suspension(self, late_ns: int) -> None:
        self._recorder.timeline.note_suspension(late_ns)
        if not self._recorder.tracer.is_full():
            self._sessions.expiry.tell_runtime(*self._recorder.times())
