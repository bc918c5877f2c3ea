"""One session of a replay: each of its calls is decided anew, compared, and then taken as recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..carp.limits import Limit
from ..errors import CRAError, Json
from ..model.event import TraceEvent
from ..model.timestamps import parse_timestamp_ns
from ..resolver import END_REASONS
from ..runtime.arguments import RUNTIME_AGENT_ID
from ..runtime.execution_checks import Denial
from ..trace.payloads import text_in, texts_in, whole_number_in
from .calls import Call, Kind
from .comparing import same
from .executes import Executes
from .remembering import Replayed
from .report import Difference, Undecidable
from .resolves import Resolves
from .world import Doubt, GivenAtlas, World

_NS: Final = 1_000_000_000
_PLACEHOLDER: Final = "redacted"
_OWN: Final = ("session.", "carp.", "action.", "policy.", "context.", "approval.", "trace.")
_TOLD_ELSEWHERE: Final = ("runtime.", "clock.", "session.idle")
_NO_DECISION: Final = {
    "foreign_event": "an event of the host's own: nothing was decided in it",
    "runtime_event": "the runtime tells of itself: nothing was decided in it",
    "refused_call": "a call that was refused: what it asked is not recorded, and it changed nothing",
}


class SessionReplay:
    """Replays the calls of one session in a world that it shares with others."""

    def __init__(self, world: World, session_id: str, last_sequence: int) -> None:
        self.world = world
        self.recorded_id = session_id
        self.last_sequence = last_sequence
        self.replay_id: str | None = None
        """The session's id in the rerun; None while nothing of it can be decided."""
        self.blocked: Doubt | None = ("no_start", "the trace does not begin with session.started")
        self.missing: tuple[str, ...] = ()
        self.resolutions: dict[str, Replayed] = {}
        self.replayed = 0
        self.approvals = 0
        self.losses = False
        self.is_runtime = False
        self.resolves = Resolves(self)
        self.executes = Executes(self)
        self._steps: dict[Kind, Callable[[Call], None]] = {
            "start": self._start,
            "resolve": self.resolves.replay,
            "execute": self.executes.replay,
            "outcome": self.executes.take_outcome,
            "decide": self._decide,
            "end": self._end,
            "other": self._other,
        }

    def replay(self, call: Call) -> None:
        """Replay one call."""
        self._steps[call.kind](call)

    # What others say of findings

    def differs(
        self, sequence: int, pointer: str, expected: Json, actual: Json, *, kind: str, why: str
    ) -> None:
        """Note a difference in this session."""
        self.world.findings.differs(
            Difference(
                session_id=self.recorded_id,
                sequence=sequence,
                pointer=pointer,
                expected=expected,
                actual=actual,
                kind=kind,
                why=why,
            )
        )

    def cannot_tell(self, sequence: int, doubt: Doubt, pointer: str = "") -> None:
        """Note that something in this session cannot be decided."""
        self.world.findings.cannot_tell(self._entry(sequence, doubt, pointer))

    def cannot_tell_any(self, event: TraceEvent, doubt: Doubt) -> None:
        """Note it once for all events of this type."""
        self.world.findings.cannot_tell_any(self._entry(event.sequence, doubt, ""), event.event_type)

    def _entry(self, sequence: int, doubt: Doubt, pointer: str) -> Undecidable:
        return Undecidable(
            session_id=self.recorded_id, sequence=sequence, pointer=pointer, kind=doubt[0], why=doubt[1]
        )

    def doubt_of_limits(self, in_trace: Limit | None, here: Limit | None, wall_ns: int) -> Doubt | None:
        """Return why two verdicts may differ: a limit denied in the trace, or one denies here.

        Args:
            in_trace, here: None where no limit decided.
        """
        assert self.replay_id is not None
        rerun = self.world.rerun
        doubt: Doubt | None = None
        if in_trace is not None:
            account = rerun.account(self.replay_id, in_trace)
            doubt = ("trace_gap", "calls may have been lost") if self.executes.losses else None
            doubt = doubt or self.world.limit_in_doubt(in_trace, account, wall_ns)
        if doubt is None and here is not None:
            account = rerun.account(self.replay_id, here)
            wait_ms = rerun.wait_ms(self.replay_id, here)
            doubt = self.world.room_in_doubt(here, account, wall_ns, wait_ms)
        return doubt

    def doubt_of_account(self, denial: Denial, wall_ns: int) -> Doubt | None:
        """Return why the state of the limit that denies a call may not be known."""
        limits = denial.remembered.plan.limits.values()
        found = [one for one in limits if one.policy_id == denial.verdict.policy_id]
        return self.doubt_of_limits(found[0], None, wall_ns) if found else None

    def cut_off(self, call: Call) -> bool:
        """Whether the trace ends with this call, so that some of its events may be missing."""
        return call.events[-1].sequence == self.last_sequence

    # Start and end

    def _start(self, call: Call) -> None:
        if self.replay_id is not None or call.first.sequence != 0:
            self.differs(
                call.first.sequence,
                "",
                None,
                "session.started",
                kind="unexpected_event",
                why="a session starts once",
            )
            return
        agent_id = text_in(call.asked, "agent_id")
        if agent_id == RUNTIME_AGENT_ID:
            self.is_runtime = True
            self.blocked = ("runtime_session", "the runtime's own session decides nothing")
            return
        wanted = self._wanted_atlases(call)
        if agent_id is None or "/agent_id" in call.redacted:
            self.blocked = ("redacted", "who the agent is was not recorded, and policies may ask for it")
            self.cannot_tell(call.first.sequence, self.blocked, "/payload/agent_id")
            return
        goal = text_in(call.asked, "goal") or _PLACEHOLDER
        try:
            self.world.see_atlases(wanted)
            self.replay_id = self.world.rerun.create_session(agent_id, goal)
        except CRAError as error:
            self.blocked = ("no_start", f"no session can start so here: {error}")
            self.cannot_tell(call.first.sequence, self.blocked)
            return
        self.blocked = None
        self.replayed += 1

    def _wanted_atlases(self, call: Call) -> list[GivenAtlas]:
        """Return the given atlases that the session began with, and tell of others and absent ones."""
        versions = call.asked.get("atlas_versions")
        versions = versions if isinstance(versions, dict) else {}
        sequence = call.first.sequence
        if not isinstance(call.asked.get("atlas_ids"), list):
            self.cannot_tell(
                sequence, ("atlas_version", "the trace does not name its atlases"), "/payload/atlas_ids"
            )
            return list({one.atlas_id: one for one in self.world.given}.values())
        wanted, missing = [], []
        for atlas_id in texts_in(call.asked, "atlas_ids"):
            version = text_in(versions, atlas_id)
            found = self.world.choose(atlas_id, version)
            if found is None:
                missing.append(atlas_id)
                told = f"atlas `{atlas_id}` was loaded and is not given here"
                self.cannot_tell(sequence, ("atlas_missing", told), "/payload/atlas_ids")
                continue
            wanted.append(found)
            if found.version != version:
                told = (
                    f"atlas `{atlas_id}` is {found.version} here, and was {version or 'of no told version'}"
                )
                self.cannot_tell(sequence, ("atlas_version", told), "/payload/atlas_versions")
        self.missing = tuple(missing)
        return wanted

    def _end(self, call: Call) -> None:
        if self.replay_id is None:
            return
        sequence = call.first.sequence
        reason = text_in(call.asked, "reason") or ""
        self.executes.expect_none_open(sequence, reason)
        counts = {"action_count": self.executes.approved, "resolution_count": self.resolves.recorded}
        for name, count in counts.items():
            told = whole_number_in(call.asked, name)
            if told is None or told == count:
                continue
            if self.losses if name == "resolution_count" else self.executes.losses:
                self.cannot_tell(sequence, ("trace_gap", "what was lost counts too"), f"/payload/{name}")
                continue
            self.differs(
                sequence,
                f"/payload/{name}",
                told,
                count,
                kind="count",
                why="so many of them stand in the trace",
            )
        self.world.rerun.end_session(self.replay_id, reason if reason in END_REASONS else "completed")
        self.replay_id = None
        self.blocked = ("after_end", "the session has ended")
        self.replayed += 1

    # Approvals

    def _decide(self, call: Call) -> None:
        event, payload = call.first, call.asked
        approval_id = text_in(payload, "approval_id")
        if self.replay_id is None or approval_id is None:
            self.cannot_tell(event.sequence, self.blocked or ("malformed", "it names no approval"))
            return
        self.approvals += 1
        self.replayed += 1
        self.world.rerun.stored.latest = []
        approver = text_in(payload, "approver")
        if approver is None or "/approver" in call.redacted:
            approver = _PLACEHOLDER
        try:
            if event.event_type == "approval.refused":
                self.world.rerun.refuse_approval(approval_id, approver=approver)
            else:
                self.world.rerun.grant_approval(
                    approval_id,
                    approver=approver,
                    expires_in_seconds=self._lasts_seconds(call),
                    uses=whole_number_in(payload, "uses"),
                )
        except CRAError as error:
            self._explain_refusal(event, approval_id, error)
            return
        here = self.world.rerun.stored.latest[0].payload
        for name in ("action_id", "parameters_hash", "expires_at", "uses"):
            if not same(payload.get(name), here.get(name)):
                self.differs(
                    event.sequence,
                    f"/payload/{name}",
                    payload.get(name),
                    here.get(name),
                    kind="approval",
                    why="the call that was asked about, and the terms, are others",
                )

    def _explain_refusal(self, event: TraceEvent, approval_id: str, error: CRAError) -> None:
        doubt = self.executes.doubtful_approvals.get(approval_id)
        if doubt is not None:
            self.cannot_tell(event.sequence, doubt)
            return
        follows = approval_id in self.executes.other_approvals
        self.differs(
            event.sequence,
            "/payload/approval_id",
            event.event_type,
            {"refused": error.code},
            kind="consequence" if follows else "approval",
            why="here nobody was asked for this call" if follows else str(error.message),
        )

    @staticmethod
    def _lasts_seconds(call: Call) -> int | None:
        """Return for how long a grant holds, as its approver said or its policy says."""
        until = text_in(call.asked, "expires_at")
        if until is None:
            return None
        try:
            return (parse_timestamp_ns(until) - call.wall_ns + _NS // 2) // _NS
        except (ValueError, OverflowError):
            return None

    # The rest

    def _other(self, call: Call) -> None:
        event = call.first
        kind = event.event_type
        if kind == "trace.gap":
            self._gap(call)
        elif kind == "error.occurred":
            self._no_decision(event, "refused_call")
        elif kind.startswith(_TOLD_ELSEWHERE):
            self._no_decision(event, "runtime_event")
        elif kind.startswith(_OWN):
            self.cannot_tell_any(
                event, ("unknown_event", f"`{kind}` does not stand in this place of a trace, or is not known")
            )
        else:
            self._no_decision(event, "foreign_event")

    def _no_decision(self, event: TraceEvent, kind: str) -> None:
        self.cannot_tell_any(event, (kind, _NO_DECISION[kind]))

    def _gap(self, call: Call) -> None:
        self.losses = True
        cause = text_in(call.asked, "cause")
        told = "events of the session were lost: resolves, a host's own events or errors"
        if cause != "buffer_full":
            self.executes.losses = True
            cause = (cause or "no cause told")[:40]
            told = f"events of the session were lost (`{cause}`), maybe of executes too"
        self.cannot_tell(call.first.sequence, ("trace_gap", told))
