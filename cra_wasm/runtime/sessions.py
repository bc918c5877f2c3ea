"""All running sessions: their start and end, what they remember together, and where errors are told."""

from __future__ import annotations

import json
from collections import deque
from typing import Final

from ..carp.planner import Planner
from ..errors import BufferFull, CRAError, InvalidState, Json, NotFound
from ..hashing import DEFAULT_ALGORITHM
from ..model.ids import parse_uuid, uuid_text
from ..model.redaction import REDACTED
from ..model.resolution import Resolution
from ..trace.canonical import canonical_json
from ..trace.raw import FIRST_EVENT_OFFSET, RawEvent, as_given, own_text_weight
from .arguments import RUNTIME_AGENT_ID
from .recorder import GAP_WEIGHT, Moment, Recorder
from .redacting import redacted_texts, session_redaction
from .session import RESOLUTIONS_PER_SESSION, Session

RESOLUTIONS_IN_ALL: Final = 65_536
_FORGET_AT_ONCE: Final = RESOLUTIONS_IN_ALL // 16
ENDED_SESSIONS_KNOWN: Final = 1024
_NS_PER_MS: Final = 1_000_000
MAX_ERROR_CHARS: Final = 1000
"""Of an error's message and of its pointer, in error.occurred."""


class Sessions:
    """The sessions of one resolver, which holds its lock around each method.

    `hash_algorithm` is the hash of sessions that ask for none, and of the runtime's own.
    """

    def __init__(self, recorder: Recorder, hash_algorithm: str = DEFAULT_ALGORITHM) -> None:
        self._recorder = recorder
        self._hash_algorithm = hash_algorithm
        self._running: dict[str, Session] = {}
        self._ended: deque[str] = deque(maxlen=ENDED_SESSIONS_KNOWN)
        self._runtime: Session | None = None
        self.remembered_count = 0

    def __len__(self) -> int:
        return len(self._running)

    def ids(self) -> list[str]:
        """Return the ids of the running sessions, oldest first."""
        return list(self._running)

    def start(self, agent_id: str, goal: str, planner: Planner, hash_algorithm: str | None = None) -> Session:
        """Record session.started and return the session."""
        session = self._new(agent_id, goal, planner, hash_algorithm or self._hash_algorithm)
        self._running[session.session_id] = session
        return session

    def _new(
        self, agent_id: str, goal: str, planner: Planner, hash_algorithm: str, *, beyond: bool = False
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
        )

    def running(self, session_id: str) -> Session:
        """Return a running session.

        Raises:
            InvalidInput: `invalid_id`.
            NotFound: `session_not_found`.
            InvalidState: `session_ended`, for the latest 1,024 that ended here.
        """
        session = self._running.get(session_id) if type(session_id) is str else None
        if session is not None:
            while session.owed:
                session.owed[0]()
                del session.owed[0]
            return session
        parse_uuid(session_id, pointer="/requester/session_id")
        if session_id in self._ended:
            raise InvalidState(
                "session_ended",
                f"session `{session_id}` has ended: create another",
                pointer="/requester/session_id",
            )
        raise NotFound(
            "session_not_found", f"no session `{session_id}` here", pointer="/requester/session_id"
        )

    def end(self, session_id: str, reason: str) -> dict[str, Json]:
        """Record session.ended, which always has room, and drop the session.

        Raises:
            NotFound, InvalidState: as `running`; `execution_in_progress` while a call of it runs.
        """
        session = self.running(session_id)
        if session.calls_running:
            raise InvalidState(
                "execution_in_progress",
                f"{session.calls_running} executors of this session still run: wait for them",
                pointer="/requester/session_id",
            )
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
        session = self._running.get(session_id) if isinstance(session_id, str) else None
        payload: dict[str, Json] = {"code": error.code, "message": _told(error.message)}
        if "pointer" in error.details:
            payload["pointer"] = _told(str(error.details["pointer"]))
        try:
            if session is None:
                session = self._runtime_session(planner)
            moment: Moment = self._recorder.now()
            # Of an error outside any session nobody knows whose words it quotes.
            agent_id = None if session is self._runtime else session.agent_id
            redaction = session_redaction(planner, agent_id, moment.wall_ns)
            texts = [("error.occurred", canonical_json(payload))]
            self._recorder.record_or_drop(
                session,
                moment,
                redacted_texts(texts, redaction, session.hash_algorithm),
                trace_id=session.trace_id,
            )
        except CRAError:
            return

    def _runtime_session(self, planner: Planner) -> Session:
        """Return the session of what belongs to no other; it starts with the first such event."""
        if self._runtime is None:
            # Where errors are dropped, there must be a session to tell of it.
            beyond = self._recorder.tracer.drops
            goal = "events outside any session"
            self._runtime = self._new(RUNTIME_AGENT_ID, goal, planner, self._hash_algorithm, beyond=beyond)
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
        """Record its end, if it ever started."""
        if self._runtime is None:
            return
        session, self._runtime = self._runtime, None
        self._running[session.session_id] = session
        self.end(session.session_id, "completed")


def _told(text: str) -> str:
    """Return a text of an error as the trace holds it: cut, as it may quote all that a caller gave.

    It may also quote what is no text.
    """
    return text[:MAX_ERROR_CHARS].encode("utf-8", "replace").decode()
