"""Recorded executes, judged anew; then what the trace says of them takes effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ..carp.limits import NEVER
from ..carp.plan import Plan
from ..errors import CRAError, Json
from ..model.event import TraceEvent
from ..runtime.execution_checks import Cleared, Denial, NeedsApproval
from ..trace.payloads import text_in, whole_number_in
from .calls import Call
from .remembering import Replayed
from .rerun import Asked, Judgement
from .world import CLOCKS_APART_MS, Doubt

if TYPE_CHECKING:
    from .sessions import SessionReplay

_APPROVED: Final = "approved"
_DENIED: Final = "denied"
_ASKS: Final = "asks"
_WAITS: Final = "waits"
_REFUSED: Final = "refused"


class Outcome(NamedTuple):
    """What became of an execute: the same words for the trace and for what came out here."""

    verdict: str
    policy_id: str | None = None
    reason: str | None = None

    def to_json(self) -> Json:
        """Return the members that say something."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Executes:
    """The executes of one session, and the approvals that they asked for."""

    def __init__(self, session: SessionReplay) -> None:
        self._session = session
        self._world = session.world
        self.count = 0
        self.approved = 0
        """Calls that the trace says were approved, decided here or not; session.ended counts them."""
        self.outcomes_taken = 0
        self.parameters_taken = 0
        self.losses = False
        self.other_approvals: set[str] = set()
        """Approvals that the trace asks for and that nobody asks for here."""
        self.doubtful_approvals: dict[str, Doubt] = {}
        self._open: dict[str, tuple[str, str]] = {}
        """By each span of an approved call without an outcome: its request's event id and its action."""

    def replay(self, call: Call) -> None:
        """Judge a recorded execute anew and compare."""
        session = self._session
        stale = call.find("context.stale")
        if stale is not None:
            told = (
                "an atlas was loaded anew or unloaded in the middle of the session; the trace has no version"
            )
            session.cannot_tell_any(stale[0], ("atlases_changed", told))
        recorded, event = _recorded_outcome(call)
        asked = self._asked(call)
        if recorded.verdict == _APPROVED:
            self.approved += 1
            self._open |= {one.span_id: (call.first.event_id, asked.action_id) for one in call.events}
        replayed = session.resolutions.get(asked.resolution_id)
        doubt = session.blocked or (None if replayed is None else replayed.doubt)
        if session.replay_id is None or doubt is not None:
            session.cannot_tell(event.sequence, doubt or ("no_start", "the session did not start"))
            self._note_approval(call, doubt)
            return
        self.count += 1
        session.replayed += len(call.events)
        if replayed is None or replayed.resolution_id is None:
            self._without_resolution(call, asked, replayed)
            return
        here = Asked(
            resolution_id=replayed.resolution_id,
            action_id=asked.action_id,
            parameters_hash=asked.parameters_hash,
            parameters=self._world.parameters.get(asked.parameters_hash),
        )
        self.parameters_taken += here.parameters is None
        judgement, came_out, plan = self._judge(here)
        if not _agree(recorded, came_out):
            self._explain(call, event, (recorded, came_out), (judgement, plan), replayed, here)
        elif isinstance(judgement, Denial):
            self._compare_wait(call, judgement)
        self._take_effect(call, recorded, here, judgement, plan)

    def take_outcome(self, call: Call) -> None:
        """Take what an executor did from the trace; some approved call must be its."""
        event = call.first
        parent = self._open.get(event.parent_span_id or "")
        if parent is None:
            self._session.differs(
                event.sequence,
                "/parent_span_id",
                event.event_type,
                None,
                kind="unexpected_event",
                why="no approved call stands open before it",
            )
            return
        name, action_id = parent
        self._open = {span: one for span, one in self._open.items() if one[0] != name}
        self.outcomes_taken += 1
        if call.asked.get("action_id") != action_id:
            self._session.differs(
                event.sequence,
                "/payload/action_id",
                call.asked.get("action_id"),
                action_id,
                kind="unexpected_event",
                why="the call that it ends is of another action",
            )

    def expect_none_open(self, sequence: int, reason: str) -> None:
        """Tell of approved calls that have no outcome though the session ended, unless it was interrupted."""
        if reason == "interrupted" or self.losses:
            return
        for action_id in dict(self._open.values()).values():
            self._session.differs(
                sequence,
                "",
                "action.executed or action.failed",
                None,
                kind="missing_event",
                why=f"a call of `{action_id}` was approved and has no end",
            )

    def _asked(self, call: Call) -> Asked:
        requested = call.find("action.requested")
        payload = {} if requested is None else requested[1]
        return Asked(
            resolution_id=text_in(call.asked, "resolution_id") or text_in(payload, "resolution_id") or "",
            action_id=text_in(payload, "action_id") or "",
            parameters_hash=text_in(payload, "parameters_hash") or "",
            parameters=None,
        )

    def _judge(self, here: Asked) -> tuple[Judgement | None, Outcome, Plan | None]:
        session_id = self._session.replay_id
        assert session_id is not None
        try:
            judgement = self._world.rerun.judge(session_id, here)
        except CRAError as error:
            return None, Outcome(_REFUSED, None, error.code), None
        plan = judgement.remembered.plan
        if isinstance(judgement, Cleared):
            return judgement, Outcome(_APPROVED), plan
        if isinstance(judgement, Denial):
            return judgement, Outcome(_DENIED, judgement.verdict.policy_id, judgement.verdict.reason), plan
        verdict = _ASKS if judgement.approval is None else _WAITS
        return judgement, Outcome(verdict, judgement.verdict.policy_id), plan

    def _without_resolution(self, call: Call, asked: Asked, replayed: Replayed | None) -> None:
        recorded, event = _recorded_outcome(call)
        self._note_approval(call, None)
        if replayed is None and self.losses:
            self._session.cannot_tell(event.sequence, ("trace_gap", "its resolution is not in the trace"))
        elif replayed is None:
            self._session.differs(
                event.sequence,
                "/payload/resolution_id",
                recorded.to_json(),
                None,
                kind="unknown_resolution",
                why="the trace holds no such resolution before",
            )
        else:
            self._session.differs(
                event.sequence,
                "",
                recorded.to_json(),
                None,
                kind="consequence",
                why=f"here no resolution came out at sequence {replayed.sequence}",
            )

    def _explain(
        self,
        call: Call,
        event: TraceEvent,
        outcomes: tuple[Outcome, Outcome],
        found: tuple[Judgement | None, Plan | None],
        replayed: Replayed,
        here: Asked,
    ) -> None:
        """Tell that another outcome came out as a difference, or as what cannot be decided."""
        recorded, came_out = outcomes
        doubt = (
            replayed.doubt_about(here.action_id)
            or self._world.atlases_in_doubt(call.wall_ns)
            or self._doubt_of_outcome(call, outcomes, found, here)
        )
        if doubt is not None:
            self._session.cannot_tell(event.sequence, doubt)
            self._note_approval(call, doubt)
            return
        follows = here.action_id in replayed.disputed
        why = f"follows from the verdict at the resolve of sequence {replayed.sequence}"
        self._session.differs(
            event.sequence,
            "",
            recorded.to_json(),
            came_out.to_json(),
            kind="consequence" if follows else "verdict",
            why=why if follows else _why(came_out),
        )

    def _doubt_of_outcome(
        self,
        call: Call,
        outcomes: tuple[Outcome, Outcome],
        found: tuple[Judgement | None, Plan | None],
        here: Asked,
    ) -> Doubt | None:
        recorded, came_out = outcomes
        judgement, plan = found
        if recorded.verdict == _WAITS and self._session.cut_off(call):
            return "truncated", "the trace ends in the middle of this call"
        if recorded.verdict != _DENIED and came_out.verdict in (_ASKS, _WAITS, _APPROVED):
            return self._world.time_in_doubt()  # whether a grant was over
        if came_out.verdict == _REFUSED:
            return self._world.time_in_doubt() if came_out.reason == "resolution_expired" else None
        if plan is None:
            return None
        limits = {limit.policy_id: limit for limit in self._world.rerun.limits_on(plan, here.action_id)}
        in_trace = limits.get(recorded.policy_id or "") if recorded.verdict == _DENIED else None
        is_here = limits.get(came_out.policy_id or "") if isinstance(judgement, Denial) else None
        if is_here is None and isinstance(judgement, Denial):
            return None  # by a policy that comes before all limits
        if in_trace is not None and recorded.reason == "invalid_cost" and here.parameters is None:
            return (
                "cost_parameter",
                "what the call costs stands in its parameters: the trace has only their hash",
            )
        cost_unknown = in_trace is not None and in_trace.cost_parameter and here.parameters is None
        if cost_unknown and recorded.reason == "budget_exceeded":
            return "cost_parameter", "whether the cost fitted cannot be told: it stands in the parameters"
        return self._session.doubt_of_limits(in_trace, is_here, call.wall_ns)

    def _compare_wait(self, call: Call, judgement: Denial) -> None:
        """Compare how long the caller was told to wait; a time, so it may differ as times do."""
        violated = call.find("policy.violated")
        if violated is None or not isinstance(violated[1].get("details"), dict):
            return
        told = whole_number_in(violated[1]["details"], "retry_after_ms")
        here = judgement.retry_after_ms
        if told is None and here is None:
            return
        if told is not None and here is not None and NEVER not in (told, here):
            if abs(told - here) <= CLOCKS_APART_MS:
                return  # a time, and as exact as the trace's times are
        elif told == here:
            return
        doubt = self._world.time_in_doubt() or self._session.doubt_of_account(judgement, call.wall_ns)
        pointer = "/payload/details/retry_after_ms"
        if doubt is not None:
            self._session.cannot_tell(violated[0].sequence, doubt, pointer)
            return
        self._session.differs(
            violated[0].sequence,
            pointer,
            told,
            here,
            kind="retry_after",
            why="the limit gets room at another time here",
        )

    def _take_effect(
        self, call: Call, recorded: Outcome, here: Asked, judgement: Judgement | None, plan: Plan | None
    ) -> None:
        session = self._session
        assert session.replay_id is not None
        if recorded.verdict == _APPROVED:
            if plan is None:
                plan = self._plan_of(here)
            if plan is not None:
                self._world.rerun.take(session.replay_id, plan, here, judgement)
                self._note_unknown_costs(call, here, plan)
        elif recorded.verdict == _ASKS:
            asked = call.find("approval.requested")
            approval_id = None if asked is None else text_in(asked[1], "approval_id")
            if approval_id is not None and isinstance(judgement, NeedsApproval):
                self._world.rerun.ask(session.replay_id, here, approval_id, judgement)
            else:
                self._note_approval(call, None)

    def _plan_of(self, here: Asked) -> Plan | None:
        """Return the plan of a resolution that may be over here, though the call ran in the trace."""
        session = self._world.rerun.running(self._session.replay_id or "")
        return self._world.rerun.plan_of(session, here.resolution_id)

    def _note_approval(self, call: Call, doubt: Doubt | None) -> None:
        """Remember that nobody asked here for the approval that this call asked for."""
        asked = call.find("approval.requested")
        approval_id = None if asked is None else text_in(asked[1], "approval_id")
        if approval_id is None:
            return
        if doubt is None:
            self.other_approvals.add(approval_id)
        else:
            self.doubtful_approvals[approval_id] = doubt

    def _note_unknown_costs(self, call: Call, here: Asked, plan: Plan) -> None:
        if here.parameters is not None:
            return
        session_id = self._session.replay_id
        assert session_id is not None
        for limit in self._world.rerun.limits_on(plan, here.action_id):
            if limit.cost_parameter is None:
                continue
            self._world.unknown_costs.add(self._world.rerun.account(session_id, limit))
            self._session.cannot_tell(
                call.first.sequence,
                (
                    "cost_parameter",
                    f"`{limit.policy_id}` counts `{limit.cost_parameter}` of the parameters, of which the "
                    "trace has only the hash: give the parameters",
                ),
            )


def _recorded_outcome(call: Call) -> tuple[Outcome, TraceEvent]:
    """Return what the trace says became of an execute, and the event that says so."""
    approved = call.find("action.approved")
    if approved is not None:
        return Outcome(_APPROVED), approved[0]
    denied = call.find("action.denied")
    if denied is not None:
        event, payload = denied
        return Outcome(_DENIED, text_in(payload, "policy_id"), text_in(payload, "reason")), event
    asked = call.find("approval.requested")
    if asked is not None:
        return Outcome(_ASKS), asked[0]
    return Outcome(_WAITS), call.events[-1]


def _agree(recorded: Outcome, came_out: Outcome) -> bool:
    """Whether two outcomes are one; for whose sake a person was asked stands in no event."""
    if recorded.verdict == _DENIED:
        return recorded == came_out
    return recorded.verdict == came_out.verdict


def _why(came_out: Outcome) -> str:
    if came_out.verdict == _APPROVED:
        return "here nothing stands against the call"
    if came_out.verdict == _REFUSED:
        return f"here the call is refused: {came_out.reason}"
    if came_out.verdict == _DENIED:
        return f"here policy `{came_out.policy_id}` denies it: {came_out.reason}"
    if came_out.verdict == _ASKS:
        return f"here policy `{came_out.policy_id}` has a person asked first"
    return "here the call still waits for the approval that was asked for before"
