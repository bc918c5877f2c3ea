"""When a session's time is over, and what its trace tells of the clocks (PROTOCOL 3.14).

A deadline holds at the moment of a call, whatever any timer did: `look` stands before everything that a
session can do. Timers only make the end of a session that does nothing come in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import CRAError, InvalidState, Json
from ..timing.config import SessionTTLConfig
from ..timing.manager import RETRY_MS, TimerManager
from ..timing.timeline import NO_STEPS, ClockSteps
from ..trace.canonical import canonical_json
from .recorder import Moment, Recorder
from .session import NEVER_NS, Session

_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000


class SessionExpiry:
    """Ends the sessions of one resolver, which holds its lock around each method.

    It is the manager's tracker too: timer callbacks come to `look_at`.

    Args:
        running: the running sessions by id; not changed here.
        runtime_session: the runtime's own session, started when it is asked for.
        end: records session.ended with a reason and drops the session and those under it; InvalidState
            `execution_in_progress` while an executor of any of them runs.
    """

    def __init__(
        self,
        recorder: Recorder,
        running: dict[str, Session],
        runtime_session: Callable[[], Session],
        end: Callable[[Session, str], object],
        ttl: SessionTTLConfig | None = None,
    ) -> None:
        self._recorder = recorder
        self._timeline = recorder.timeline
        self._running = running
        self._runtime_session = runtime_session
        self._end = end
        self._told_runtime = NO_STEPS
        self._idle_ns = _nanoseconds(ttl.idle_timeout_seconds if ttl else None)
        self._life_ns = _nanoseconds(ttl.max_lifetime_seconds if ttl else None)
        self._warning_ns = _nanoseconds(ttl.idle_warning_seconds if ttl else None)
        self.timed_out = 0
        self.manager: TimerManager | None = None
        self._timeline.on_step = self._look_at_all

    # Every session's start and end

    def started(self, session: Session, parent: Session | None) -> None:
        """Begin to watch a session. It lives no longer than its parent."""
        session.steps = self._timeline.steps
        ends_ns = min(NEVER_NS, session.started_elapsed_ns + self._life_ns)
        session.ends_ns = ends_ns if parent is None else min(ends_ns, parent.ends_ns)
        over_at_ns = self._over_at(session, session.started_elapsed_ns)
        self._check_at(session, over_at_ns)
        if self.manager is not None:
            first_ns = min(over_at_ns, session.last_active_ns + self._warning_ns)
            if first_ns < NEVER_NS:
                # One integer for both, and one less to keep; a look too early finds the right one.
                session.check_at_ns = first_ns
                self.manager.track(session.session_id, first_ns)

    def ended(self, session: Session) -> None:
        """Stop watching it."""
        if self.manager is not None and min(self._idle_ns, self._life_ns, self._warning_ns) < NEVER_NS:
            self.manager.untrack(session.session_id)

    # Every call of a session

    def look(
        self, session: Session, wall_ns: int, elapsed_ns: int, *, pointer: str = "/requester/session_id"
    ) -> None:
        """Tell a session of steps of the clock, and end it if its time is over.

        Where there is no room at all nothing else is recorded either, so steps wait for their sum to be told:
        a clock that goes back and forth must not fill the memory behind a full buffer.

        Raises:
            InvalidState: `session_ended`: it was over.
            BackendFailure: its end could not be stored; it is over all the same.
        """
        if session.steps is not self._timeline.steps and not self._recorder.tracer.is_full():
            self._tell_steps(session, wall_ns, elapsed_ns)
        over_at_ns = self._over_at(session, elapsed_ns)
        if elapsed_ns >= over_at_ns:
            if not _is_busy(session):
                self._time_out(session)
            raise over(session, pointer)
        self._check_at(session, over_at_ns)

    def refuse_over(self, session: Session, elapsed_ns: int) -> Session:
        """Return the session if its time is not over; for a check that has no effect.

        Raises:
            InvalidState: `session_ended`.
        """
        if elapsed_ns >= self._over_at(session, elapsed_ns):
            raise over(session, "/requester/session_id")
        return session

    def after_call(self, session: Session) -> None:
        """End a session whose lifetime was over while its executor ran."""
        if self._life_ns >= NEVER_NS or session.session_id not in self._running:
            return
        try:
            self.look(session, *self._recorder.times())
        except CRAError:
            return

    # The manager's questions

    def is_tracked(self, key: str) -> bool:
        """Whether the session runs."""
        return key in self._running

    def look_at(self, key: str, elapsed_ns: int) -> int | None:
        """End or warn a session that does nothing, and return when to look at it again."""
        session = self._running.get(key)
        if session is None:
            return None
        over_at_ns = self._over_at(session, elapsed_ns)
        if elapsed_ns >= over_at_ns:
            if _is_busy(session):
                return elapsed_ns + RETRY_MS * _NS_PER_MS  # after_call comes first, as a rule
            self._time_out(session)
            return None
        warn_at_ns = session.last_active_ns + self._warning_ns
        if session.warned_ns == session.last_active_ns or warn_at_ns >= NEVER_NS:
            return over_at_ns
        if elapsed_ns < warn_at_ns:
            return min(over_at_ns, warn_at_ns)
        if not session.calls_running and not session.children:
            self._warn(session)
        return over_at_ns

    # Steps of the clocks

    def tell(self, session: Session) -> None:
        """Record the steps of the clocks in a session, if it was not told yet."""
        if session.steps is not self._timeline.steps:
            self._tell_steps(session, *self._recorder.times())

    def tell_runtime(self, wall_ns: int, elapsed_ns: int) -> None:
        """Record the steps of the clocks in the runtime's own session, if it was not told yet."""
        steps = self._timeline.steps
        if self._told_runtime is not steps:
            session = self._runtime_session()
            self._record_steps(session, wall_ns, elapsed_ns, self._told_runtime)
            self._told_runtime = steps

    def _tell_steps(self, session: Session, wall_ns: int, elapsed_ns: int) -> None:
        self.tell_runtime(wall_ns, elapsed_ns)
        self._record_steps(session, wall_ns, elapsed_ns, session.steps)
        session.steps = self._timeline.steps

    def _record_steps(self, session: Session, wall_ns: int, elapsed_ns: int, before: ClockSteps) -> None:
        new = self._timeline.steps.since(before)
        payload: dict[str, Json] = {
            "gap_ms": _milliseconds(new.gap_ns),
            "monotonic_ms": _milliseconds(new.monotonic_ns),
            "steps": new.steps,
            "suspensions": new.suspensions,
            "wall_ms": _milliseconds(new.wall_ns),
        }
        moment = self._recorder.at(wall_ns, elapsed_ns)
        self._record(session, moment, "clock.step", payload, beyond=True)

    def _look_at_all(self) -> None:
        """Have each session looked at before its next call: a store each, and steps are rare."""
        # A copy: the timers' thread may find the step while another begins a session.
        for session in tuple(self._running.values()):
            session.check_at_ns = 0

    def _check_at(self, session: Session, at_ns: int) -> None:
        """Have it looked at from then on, or at once after a step that it was not told.

        INVARIANT: the store comes before the comparison. The timers' thread reads the clocks without the
        resolver's lock: a step that it finds between the two would be overwritten the other way round.
        """
        session.check_at_ns = at_ns
        if session.steps is not self._timeline.steps:
            session.check_at_ns = 0

    # The rest

    def _over_at(self, session: Session, elapsed_ns: int) -> int:
        """Return when a session's time is over. While a call runs, or a session under it, it is not idle."""
        busy = session.calls_running or session.children
        active_ns = elapsed_ns if busy else session.last_active_ns
        return min(session.ends_ns, active_ns + self._idle_ns)

    def _time_out(self, session: Session) -> None:
        while session.owed:
            session.owed[0]()
            del session.owed[0]
        self._end(session, "timeout")
        self.timed_out += 1

    def _warn(self, session: Session) -> None:
        moment = self._recorder.now()
        idle_ns = moment.elapsed_ns - session.last_active_ns
        ends_in_ns = self._over_at(session, moment.elapsed_ns) - moment.elapsed_ns
        payload: dict[str, Json] = {
            "ends_in_ms": max(0, ends_in_ns // _NS_PER_MS),
            "idle_ms": idle_ns // _NS_PER_MS,
        }
        self._record(session, moment, "session.idle", payload)
        session.warned_ns = session.last_active_ns

    def _record(
        self,
        session: Session,
        moment: Moment,
        event_type: str,
        payload: dict[str, Json],
        *,
        beyond: bool = False,
    ) -> None:
        """Record what the runtime tells of itself: that is no activity of the session."""
        active_ns = session.last_active_ns
        texts = [(event_type, canonical_json(payload))]
        self._recorder.record(session, moment, texts, trace_id=session.trace_id, beyond=beyond)
        session.last_active_ns = active_ns


def over(session: Session, pointer: str) -> InvalidState:
    """Return the refusal of a session whose time is over."""
    return InvalidState(
        "session_ended",
        f"the time of session `{session.session_id}` is over: create another",
        pointer=pointer,
    )


def _is_busy(session: Session) -> bool:
    """Whether an executor of it, or of a session under it, still runs: its outcome comes before the end."""
    return any(one.calls_running for one in session.family())


def _nanoseconds(seconds: int | None) -> int:
    return NEVER_NS if seconds is None else seconds * _NS


def _milliseconds(nanoseconds: int) -> int:
    """Cut towards zero: a clock put back by 1.5 ms went back by 1."""
    whole = abs(nanoseconds) // _NS_PER_MS
    return whole if nanoseconds >= 0 else -whole
