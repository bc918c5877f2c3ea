"""Recorded resolves, decided anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ..carp.decision import DEFAULT_DENY
from ..carp.plan import Plan
from ..errors import CRAError, Json
from ..runtime.session import Remembered
from ..trace.payloads import text_in, texts_in
from .calls import Call
from .comparing import Mismatch, compare_resolve
from .remembering import Replayed
from .world import Doubt

if TYPE_CHECKING:
    from .sessions import SessionReplay

_PLACEHOLDER: Final = "redacted"
_MEMBERS: Final = ("/atlas_ids", "/context_hints", "/required_capabilities", "/risk_tier")


class Question(NamedTuple):
    """What a recorded resolve asked, as `Resolver.resolve` takes it."""

    goal: str
    risk_tier: str
    required_capabilities: list[str]
    context_hints: list[str]
    atlas_ids: list[str] | None
    context: dict[str, Json] | None


class Resolves:
    """The resolves of one session."""

    def __init__(self, session: SessionReplay) -> None:
        self._session = session
        self._world = session.world
        self.count = 0
        self.recorded = 0
        """Resolves that the trace holds, decided here or not; session.ended counts them."""

    def replay(self, call: Call) -> None:
        """Decide a recorded resolve anew and compare."""
        session = self._session
        sequence = call.first.sequence
        self.recorded += call.find("carp.resolution.completed") is not None
        doubt = session.blocked or self._doubt(call)
        if session.replay_id is None:
            self._keep(call, Replayed(sequence=sequence, resolution_id=None, doubt=doubt))
            session.cannot_tell(sequence, doubt or ("no_start", "the session did not start"))
            return
        self.count += 1
        session.replayed += len(call.events)
        question = _question_of(call)
        try:
            self._world_has(question)
            resolution = self._world.rerun.resolve(session.replay_id, **question._asdict())
        except CRAError as error:
            self._refused(call, doubt, error)
            return
        remembered = self._world.rerun.remembered(session.replay_id, resolution.resolution_id)
        replayed = Replayed(sequence=sequence, resolution_id=resolution.resolution_id, doubt=doubt)
        if call.find("carp.resolution.cached") is not None:
            self._compare_reused(call, remembered, doubt)
            return
        if doubt is not None:
            session.cannot_tell(sequence, doubt)
        else:
            mismatches = compare_resolve(call, self._world.rerun.stored.latest)
            for mismatch in mismatches:
                self._explain(call, mismatch, remembered, replayed, mismatches)
        self._keep(call, replayed)

    def _keep(self, call: Call, replayed: Replayed) -> None:
        completed = call.find("carp.resolution.completed")
        name = None if completed is None else text_in(completed[1], "resolution_id")
        if name is not None:
            self._session.resolutions[name] = replayed

    def _world_has(self, question: Question) -> None:
        """Load what a request names and no session began with: it was loaded by then."""
        for atlas_id in question.atlas_ids or ():
            found = self._world.choose(atlas_id, None)
            if found is not None and atlas_id not in self._world.loaded:
                self._world.load([found])

    def _doubt(self, call: Call) -> Doubt | None:
        """Return why nothing of a resolve can be decided."""
        asked = texts_in(call.asked, "atlas_ids") if isinstance(call.asked.get("atlas_ids"), list) else None
        absent = [name for name in self._session.missing if asked is None or name in asked]
        if absent:
            return "atlas_missing", f"atlas `{absent[0]}` is not given here"
        for pointer in call.redacted:
            if pointer.startswith(_MEMBERS) or self._matters(pointer):
                return "redacted", f"`{pointer}` was taken out of the trace, and policies may ask for it"
        return None

    def _matters(self, pointer: str) -> bool:
        """Whether a part of the context that was taken out is one that policies look at."""
        if not pointer.startswith("/context/") and pointer != "/context":
            return False
        keys = self._world.rerun.context_keys()
        return bool(keys) if pointer == "/context" else _first_name(pointer[len("/context") :]) in keys

    def _refused(self, call: Call, doubt: Doubt | None, error: CRAError) -> None:
        session = self._session
        sequence = call.first.sequence
        doubt = doubt or self._world.atlases_in_doubt(call.wall_ns)
        self._keep(call, Replayed(sequence=sequence, resolution_id=None, doubt=doubt))
        if doubt is not None:
            session.cannot_tell(sequence, doubt)
            return
        session.differs(
            sequence,
            str(error.details.get("pointer", "")),
            "carp.resolution.completed",
            {"refused": error.code},
            kind="refused",
            why=error.message,
        )

    def _compare_reused(self, call: Call, fresh: Remembered, doubt: Doubt | None) -> None:
        """Compare the answer that was given again with the one that comes out now."""
        session = self._session
        assert session.replay_id is not None
        self._world.rerun.forget_latest_resolution(session.replay_id)
        found = call.find("carp.resolution.cached")
        assert found is not None
        event, payload = found
        named = session.resolutions.get(text_in(payload, "resolution_id") or "")
        if named is None or named.resolution_id is None:
            doubt = doubt or (None if named is None else named.doubt)
            if doubt is not None:
                session.cannot_tell(event.sequence, doubt)
            else:
                session.differs(
                    event.sequence,
                    "/payload/resolution_id",
                    payload.get("resolution_id"),
                    None,
                    kind="unknown_resolution",
                    why="the trace holds no such resolution before",
                )
            return
        try:
            old = self._world.rerun.remembered(session.replay_id, named.resolution_id)
            fits = (
                old.variant.verdicts == fresh.variant.verdicts
                and old.resolution.selected.block_jsons == fresh.resolution.selected.block_jsons
            )
        except CRAError:
            fits = False
        if fits and doubt is None:
            return
        doubt = (
            doubt or named.doubt or self._world.atlases_in_doubt(call.wall_ns) or self._world.time_in_doubt()
        )
        if doubt is not None:
            session.cannot_tell(event.sequence, doubt)
            return
        session.differs(
            event.sequence,
            "/payload/resolution_id",
            payload.get("resolution_id"),
            None,
            kind="reuse",
            why="it is over, or another answer comes out now",
        )

    def _explain(
        self,
        call: Call,
        mismatch: Mismatch,
        remembered: Remembered,
        replayed: Replayed,
        all_of_them: list[Mismatch],
    ) -> None:
        """Tell a mismatch as a difference, or as what cannot be decided."""
        doubt = self._world.atlases_in_doubt(call.wall_ns) or self._doubt_of_kind(
            call, mismatch, remembered, replayed
        )
        if doubt is not None:
            if mismatch.action_id is not None:
                replayed.doubtful[mismatch.action_id] = doubt
            self._session.cannot_tell(mismatch.sequence, doubt, mismatch.pointer)
            return
        if mismatch.action_id is not None:
            replayed.disputed.add(mismatch.action_id)
        self._session.differs(
            mismatch.sequence,
            mismatch.pointer,
            mismatch.expected,
            mismatch.actual,
            kind=mismatch.kind,
            why=_why(mismatch, remembered, all_of_them),
        )

    def _doubt_of_kind(
        self, call: Call, mismatch: Mismatch, remembered: Remembered, replayed: Replayed
    ) -> Doubt | None:
        unfinished = call.find("carp.resolution.completed") is None and self._session.cut_off(call)
        if unfinished and mismatch.expected is None:
            return "truncated", "the trace ends in the middle of this call"
        goal_matters = "/goal" in call.redacted and remembered.plan.selector.fixed is None
        if goal_matters and (
            mismatch.kind == "context" or mismatch.pointer == "/payload/context_block_count"
        ):
            return "redacted", "the goal was taken out of the trace, and context comes by its words"
        if mismatch.kind == "decision" and replayed.doubtful and not replayed.disputed:
            return next(iter(replayed.doubtful.values()))
        if mismatch.kind == "verdict" and mismatch.action_id is not None:
            return self._doubt_of_verdict(call, mismatch.action_id, remembered)
        return None

    def _doubt_of_verdict(self, call: Call, action_id: str, remembered: Remembered) -> Doubt | None:
        """Tell whether a limit decided, here or in the trace, whose state is not known for sure.

        A policy that comes before all limits decides whatever their state is.
        """
        plan = remembered.plan
        index = plan.candidate_index.get(action_id)
        if index is None:
            return None
        atlas_id = plan.candidates[index].atlas_id
        here = remembered.variant.verdicts[index].policy_id
        recorded = next(
            (
                text_in(payload, "policy_id")
                for event, payload in zip(call.events, call.payloads, strict=True)
                if event.event_type == "policy.evaluated" and payload.get("action_id") == action_id
            ),
            None,
        )
        if here == recorded or not all(
            name is not None and comes_with_limits(plan, atlas_id, name) for name in (here, recorded)
        ):
            return None
        return self._session.doubt_of_limits(
            plan.limits.get((atlas_id, recorded or "")), plan.limits.get((atlas_id, here)), call.wall_ns
        )


def comes_with_limits(plan: Plan, atlas_id: str, policy_id: str) -> bool:
    """Whether a verdict by that policy depends on which limits are full: it is one, or comes behind them."""
    if (atlas_id, policy_id) in plan.limits or policy_id == DEFAULT_DENY:
        return True
    policy = plan.policy(atlas_id, policy_id)
    return policy is not None and policy.type == "allow"


def _question_of(call: Call) -> Question:
    asked = call.asked
    context = asked.get("context")
    if isinstance(context, dict):
        out = {_first_name(pointer[len("/context") :]) for pointer in call.redacted if _in_context(pointer)}
        context = {name: value for name, value in context.items() if name not in out}
    return Question(
        goal=(None if "/goal" in call.redacted else text_in(asked, "goal")) or _PLACEHOLDER,
        risk_tier=text_in(asked, "risk_tier") or "low",
        required_capabilities=texts_in(asked, "required_capabilities"),
        context_hints=texts_in(asked, "context_hints"),
        atlas_ids=texts_in(asked, "atlas_ids") if isinstance(asked.get("atlas_ids"), list) else None,
        context=context if isinstance(context, dict) else None,
    )


def _in_context(pointer: str) -> bool:
    return pointer.startswith("/context/")


def _first_name(pointer: str) -> str:
    return pointer.split("/")[1].replace("~1", "/").replace("~0", "~") if "/" in pointer else ""


def _why(mismatch: Mismatch, remembered: Remembered, all_of_them: list[Mismatch]) -> str:
    """Tell a person where to look."""
    if mismatch.kind == "verdict":
        return _why_verdict(mismatch, remembered)
    if mismatch.kind == "decision":
        others = [one for one in all_of_them if one.kind in ("verdict", "context")]
        if others:
            return f"follows from {len(others)} other differences of this resolve"
        return "this does not follow from the events before it"
    if mismatch.kind == "context":
        return "the atlas here has other context for this request"
    if mismatch.kind == "order":
        return "the atlas here has another order"
    return "the call is not complete in the trace"


def _why_verdict(mismatch: Mismatch, remembered: Remembered) -> str:
    told: Mapping[str, Json] | None = next(
        (one for one in remembered.explain() if one["action_id"] == mismatch.action_id), None
    )
    if told is None:
        return f"the atlas here has no action `{mismatch.action_id}` among the candidates"
    kind = f" ({told['policy_type']})" if told["policy_type"] else ""
    because = f": {told['reason']}" if told["reason"] else ""
    return f"here policy `{told['policy_id']}`{kind} decides, {told['result']}{because}"
