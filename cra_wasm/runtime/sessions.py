"""All running sessions: their start and end, what they remember together, and where errors are told."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Final

from ..carp.planner import Planner
from ..carp.redaction import Redaction
from ..errors import BufferFull, CRAError, InvalidState, Json, NotFound
from ..hashing import DEFAULT_ALGORITHM
from ..model.ids import parse_uuid, uuid_text
from ..model.redaction import REDACTED
from ..model.resolution import Resolution
from ..timing.config import SessionTTLConfig
from ..trace.canonical import canonical_json
from ..trace.raw import FIRST_EVENT_OFFSET, RawEvent, as_given, own_text_weight
from .arguments import RUNTIME_AGENT_ID
from .expiry import SessionExpiry
from .recorder import GAP_WEIGHT, Moment, Recorder
from .redacting import redacted_texts, session_redaction, visible_pointer
from .session import RESOLUTIONS_PER_SESSION, Session

RESOLUTIONS_IN_ALL: Final = 65_536
_FORGET_AT_ONCE: Final = RESOLUTIONS_IN_ALL // 16
ENDED_SESSIONS_KNOWN: Final = 1024
_NS_PER_MS: Final = 1_000_000
SESSION_POINTER: Final = "/requester/session_id"
PARENT_POINTER: Final = "/requester/parent_session_id"
MAX_ERROR_CHARS: Final = 1000
"""Of an error's message and of its pointer, in error.occurred."""


class Sessions:
    """The sessions of one resolver, which holds its lock around each method.

    Args:
        planner: gives the atlases of this moment.
        hash_algorithm: the hash of sessions that ask for none, and of the runtime's own.
        forget: told the id of each session that has ended.
        ttl: when sessions end by themselves; None for never.
    """

    def __init__(
        self,
        recorder: Recorder,
        planner: Callable[[], Planner],
        hash_algorithm: str = DEFAULT_ALGORITHM,
        forget: Callable[[str], None] | None = None,
        ttl: SessionTTLConfig | None = None,
    ) -> None:
        self._recorder = recorder
        self._planner = planner
        self._hash_algorithm = hash_algorithm
        self._forget = forget
        self._running: dict[str, Session] = {}
        self._ended: deque[str] = deque(maxlen=ENDED_SESSIONS_KNOWN)
        self._runtime: Session | None = None
        self.remembered_count = 0
        self.expiry = SessionExpiry(
            recorder, self._running, lambda: self.runtime_session(beyond=True), self._end_family, ttl
        )

    def __len__(self) -> int:
        return len(self._running)

    def ids(self) -> list[str]:
        """Return the ids of the running sessions, oldest first, the runtime's own at the end."""
        own = [] if self._runtime is None else [self._runtime.session_id]
        return [*self._running, *own]

    def start(
        self,
        agent_id: str,
        goal: str,
        planner: Planner,
        hash_algorithm: str | None = None,
        parent_session_id: str | None = None,
    ) -> Session:
        """Record session.started and return the session, nested under a parent if one is named.

        Raises:
            InvalidInput, NotFound, InvalidState: the parent's, as `running`.
        """
        parent = None
        if parent_session_id is not None:
            parent = self.find(parent_session_id, pointer=PARENT_POINTER)
            self.expiry.look(parent, *self._recorder.times(), pointer=PARENT_POINTER)
        session = self._new(
            agent_id, goal, planner, hash_algorithm or self._hash_algorithm, parent_session_id
        )
        self._running[session.session_id] = session
        if parent is not None:
            parent.children = parent.children or {}
            parent.children[session.session_id] = session
        self.expiry.started(session, parent)
        return session

    def _new(
        self,
        agent_id: str,
        goal: str,
        planner: Planner,
        hash_algorithm: str,
        parent_session_id: str | None = None,
        *,
        beyond: bool = False,
    ) -> Session:
        moment = self._recorder.now()
        session_id = uuid_text(moment.base_id + 1)
        atlases = planner.catalogue.atlases
        payload: dict[str, Json] = {
            "agent_id": agent_id,
            "atlas_ids": list(atlases),
            "atlas_versions": {name: compiled.atlas.version for name, compiled in atlases.items()},
            "goal": goal,
        }
        if hash_algorithm != DEFAULT_ALGORITHM:
            payload["hash_algorithm"] = hash_algorithm
        if parent_session_id is not None:
            payload["parent_session_id"] = parent_session_id
        redaction = session_redaction(planner, agent_id, moment.wall_ns)
        texts = redacted_texts([("session.started", canonical_json(payload))], redaction, hash_algorithm)
        started = payload if redaction is None else json.loads(texts[0][1])
        raw = RawEvent(
            session_id,
            0,
            1,
            moment.wall_ns,
            moment.base_id,
            moment.base_id,
            None,
            as_given,
            texts,
            own_text_weight(texts),
            hash_algorithm,
        )
        self._recorder.tracer.record(raw, beyond=beyond)
        return Session(
            session_id=session_id,
            agent_id=agent_id,
            goal=started["goal"],
            goal_is_redacted=REDACTED in started,
            trace_id=moment.base_id,
            root_span_id=moment.base_id + FIRST_EVENT_OFFSET + 1,
            elapsed_ns=moment.elapsed_ns,
            planner=planner,
            hash_algorithm=hash_algorithm,
            parent_session_id=parent_session_id,
        )

    def running(self, session_id: str) -> Session:
        """Return a session whose time is not over, settled and told of the clocks' steps.

        Raises:
            InvalidInput, NotFound, InvalidState, BackendFailure: as `settled`, and `session_ended` when its
                time was over.
        """
        session = self.settled(session_id)
        self.expiry.look(session, *self._recorder.times())
        return session

    def settled(self, session_id: str) -> Session:
        """Return a running session, once its outcomes are recorded that the storage refused before.

        Whatever the time: the hot path, resolving.py, looks at that by itself.

        Raises:
            InvalidInput, NotFound, InvalidState: as `find`.
            BackendFailure: the storage refuses still.
        """
        session = self._running.get(session_id) if type(session_id) is str else None
        if session is None:
            return self.find(session_id)
        while session.owed:
            session.owed[0]()
            del session.owed[0]
        return session

    def find(self, session_id: str, *, pointer: str = SESSION_POINTER) -> Session:
        """Return a running session as it is, whatever the time.

        Raises:
            InvalidInput: `invalid_id`.
            NotFound: `session_not_found`.
            InvalidState: `session_ended`, for the latest 1,024 that ended here.
        """
        session = self._running.get(session_id) if type(session_id) is str else None
        if session is not None:
            return session
        parse_uuid(session_id, pointer=pointer)
        if session_id in self._ended:
            raise InvalidState(
                "session_ended", f"session `{session_id}` has ended: create another", pointer=pointer
            )
        raise NotFound("session_not_found", f"no session `{session_id}` here", pointer=pointer)

    def end(self, session_id: str, reason: str) -> dict[str, Json]:
        """Record session.ended, which always has room, and drop the session; the sessions under it end first,
        as cancelled (PROTOCOL 2.11).

        Raises:
            NotFound, InvalidState: as `running`; `execution_in_progress` while a call of any of them runs:
                then none has ended.
            BackendFailure: the storage's; those that were not recorded as ended run on.
        """
        return self._end_family(self.running(session_id), reason)

    def _end_family(self, session: Session, reason: str) -> dict[str, Json]:
        family = session.family()
        calls_running = sum(one.calls_running for one in family)
        if calls_running:
            raise InvalidState(
                "execution_in_progress",
                f"{calls_running} executors of this session, or of those under it, still run: wait for them",
                pointer=SESSION_POINTER,
            )
        for one in reversed(family[1:]):
            self._end(self.settled(one.session_id), "cancelled")
        return self._end(session, reason)

    def _end(self, session: Session, reason: str) -> dict[str, Json]:
        session_id = session.session_id
        self.expiry.tell(session)
        moment = self._recorder.now()
        payload: dict[str, Json] = {
            "action_count": session.action_count,
            "duration_ms": (moment.elapsed_ns - session.started_elapsed_ns) // _NS_PER_MS,
            "reason": reason,
            "resolution_count": session.resolution_count,
        }
        self._recorder.record(
            session,
            moment,
            [("session.ended", canonical_json(payload))],
            trace_id=session.trace_id,
            beyond=True,
        )
        del self._running[session_id]
        self._ended.append(session_id)
        self.remembered_count -= len(session.recent or ())
        parent = self._running.get(session.parent_session_id or "")
        if parent is not None and parent.children is not None:
            del parent.children[session_id]
            parent.last_active_ns = max(parent.last_active_ns, moment.elapsed_ns)
        self.expiry.ended(session)
        if self._forget is not None:
            self._forget(session_id)
        return payload

    def remember(self, session: Session, resolution: Resolution) -> None:
        """Keep a resolution with its session: its latest 1,024; above 65,536 in all, the oldest of all go."""
        recent = session.recent
        if recent is None:
            recent = session.recent = deque()
        recent.append(resolution)
        if len(recent) > RESOLUTIONS_PER_SESSION:
            session.forget_oldest()
            return
        self.remembered_count += 1
        if self.remembered_count > RESOLUTIONS_IN_ALL:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Drop the oldest 4,096 at once, so that looking through the sessions is paid once for many."""
        times = sorted(
            resolution.elapsed_ns for session in self._running.values() for resolution in session.recent or ()
        )
        threshold = times[_FORGET_AT_ONCE - 1]
        left = _FORGET_AT_ONCE
        for session in self._running.values():
            while left and session.recent and session.recent[0].elapsed_ns <= threshold:
                session.forget_oldest()
                self.remembered_count -= 1
                left -= 1

    def record_error(self, session_id: object, error: CRAError, planner: Planner) -> None:
        """Record error.occurred: in the session if it runs, else in the runtime's own.

        An error that the trace has no room for, or cannot be stored, stays the caller's alone: the failure
        to record must not hide it. A resolver that drops counts it and tells of the gap.
        """
        try:
            session = self._to_tell(session_id)
            moment: Moment = self._recorder.now()
            # Of an error outside any session nobody knows whose words it quotes.
            agent_id = None if session is self._runtime else session.agent_id
            redaction = session_redaction(planner, agent_id, moment.wall_ns)
            texts = [("error.occurred", canonical_json(_payload_of(error, redaction)))]
            self._recorder.record_or_drop(
                session,
                moment,
                redacted_texts(texts, redaction, session.hash_algorithm),
                trace_id=session.trace_id,
            )
        except CRAError:
            return

    def _to_tell(self, session_id: object) -> Session:
        """Return the session if it runs, else the runtime's own; told of the clocks' steps first."""
        times = self._recorder.times()
        session = self._running.get(session_id) if isinstance(session_id, str) else None
        if session is not None:
            try:
                self.expiry.look(session, *times)
            except InvalidState:
                session = None
        if session is None and not self._recorder.tracer.is_full():
            self.expiry.tell_runtime(*times)
        return session or self.runtime_session()

    def runtime_session(self, *, beyond: bool = False) -> Session:
        """Return the session of what belongs to no other; it starts with the first such event.

        Args:
            beyond: start it even when the buffer is full, for an event that has room of its own.
        """
        if self._runtime is None:
            # Where errors are dropped, there must be a session to tell of it.
            beyond = beyond or self._recorder.tracer.drops
            goal = "events outside any session"
            algorithm = self._hash_algorithm
            self._runtime = self._new(RUNTIME_AGENT_ID, goal, self._planner(), algorithm, beyond=beyond)
        return self._runtime

    def tell_losses(self, *, beyond: bool = False) -> None:
        """Record the gaps that sessions owe: as many as there is room for, or all that run."""
        for session_id in list(self._recorder.tracer.lost):
            session = self._running.get(session_id, self._runtime)
            if session is None or session.session_id != session_id:
                continue
            if not beyond:
                try:
                    self._recorder.tracer.reserve(GAP_WEIGHT, 0)
                except BufferFull:
                    return
            self._recorder.record_gap(session, reserved=0 if beyond else GAP_WEIGHT, beyond=beyond)

    def end_runtime_session(self) -> None:
        """Record its end, if it ever started, after the steps of the clocks that it was not told yet."""
        self.expiry.tell_runtime(*self._recorder.times())
        if self._runtime is None:
            return
        session, self._runtime = self._runtime, None
        session.steps = self._recorder.timeline.steps
        self._running[session.session_id] = session
        self._end(session, "completed")


def _payload_of(error: CRAError, redaction: Redaction | None) -> dict[str, Json]:
    """Return the payload of error.occurred, without the names that lie in members which policies take out."""
    if "pointer" not in error.details:
        return {"code": error.code, "message": _told(error.message)}
    pointer = str(error.details["pointer"])
    shown = visible_pointer(pointer, redaction)
    message = error.message if shown == pointer else error.message.replace(pointer, shown)
    if redaction is not None and "member" in error.details:  # of which nobody knows where it stood
        message = message.replace(f"the member `{error.details['member']}`", "a member", 1)
    return {"code": error.code, "message": _told(message), "pointer": _told(shown)}


def _told(text: str) -> str:
    """Return a text of an error as the trace holds it: cut, as it may quote all that a caller gave.

    It may also quote what is no text.
    """
    return text[:MAX_ERROR_CHARS].encode("utf-8", "replace").decode()
