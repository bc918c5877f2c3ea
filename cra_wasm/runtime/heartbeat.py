"""runtime.heartbeat: the runtime says that it lives, and how (PROTOCOL 3.15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from ..errors import BufferFull, Json
from ..timing.config import HeartbeatConfig
from ..trace.buffer import BufferStats
from ..trace.canonical import canonical_json
from .recorder import Recorder
from .sessions import Sessions

_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000


class Heartbeat:
    """Records one event of the runtime's own session per beat. The resolver's lock is held around `beat`.

    A beat that finds no room is counted, and the next one that is recorded tells how many those were.
    """

    def __init__(
        self,
        recorder: Recorder,
        sessions: Sessions,
        config: HeartbeatConfig,
        buffer_stats: Callable[[], BufferStats | None],
    ) -> None:
        self._recorder = recorder
        self._sessions = sessions
        self._interval_ns = config.interval_seconds * _NS
        self._buffer_stats = buffer_stats
        self._due_ns = recorder.times()[1] + self._interval_ns
        self.beats = 0
        self.missed = 0

    @property
    def interval_ms(self) -> int:
        """What to give the timer."""
        return self._interval_ns // _NS_PER_MS

    def beat(self, late_ns: int) -> None:
        """Record one.

        Raises:
            BackendFailure: the storage's; the beat is counted as missed.
        """
        try:
            self._record()
        except BufferFull:
            self.missed += 1
        except BaseException:
            self.missed += 1
            raise

    def _record(self) -> None:
        session = self._sessions.runtime_session()
        moment = self._recorder.now()
        drift_ns = moment.elapsed_ns - self._due_ns
        self._due_ns = moment.elapsed_ns + self._interval_ns
        payload: dict[str, Json] = {
            "active_sessions": len(self._sessions),
            "drift_ms": drift_ns // _NS_PER_MS,
            "missed": self.missed,
            "uptime_ms": moment.elapsed_ns // _NS_PER_MS,
        }
        stats = self._buffer_stats()
        if stats is not None:
            taken = stats.pending_weight + stats.in_flight_weight + stats.reserved_weight
            payload["buffer"] = asdict(stats)
            payload["pressure"] = round(taken / stats.capacity, 3)
        texts = [("runtime.heartbeat", canonical_json(payload))]
        if self._recorder.record_or_drop(session, moment, texts, trace_id=session.trace_id) is None:
            self.missed += 1
            return
        self.beats += 1
        self.missed = 0
