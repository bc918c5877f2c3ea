"""The hot path: one resolve.

Plainer than the rest of the code on purpose: it looks a plan up, checks the few dynamic facts, and appends
one raw record. No loop over actions, no JSON, no hash, no pydantic, and few calls: each costs 0.2 us in
WebAssembly. `cra-wasm bench resolve_5` measures it, docs/PERFORMANCE.md says where each microsecond goes.
"""

from __future__ import annotations

from typing import Final

from ..carp.limits import Ledger
from ..carp.plan import Variant
from ..carp.planner import Planner, ResolveOptions
from ..errors import BufferFull, InvalidInput
from ..model.resolution import Resolution, SelectedContext
from ..trace.raw import LIGHT_CHARS, MAX_EVENTS_PER_RECORD, RawEvent, text_weight
from .recorder import Recorder
from .redacting import redact_resolve
from .resolve_events import PLAIN_PARTS, expand_resolve, received_parts
from .session import Session, UnrecordedResolution
from .sessions import Sessions

MAX_RESOLVE_EVENTS: Final = MAX_EVENTS_PER_RECORD - 4
"""An execute has at most four events besides one for each context block of its resolution."""


def check_event_count(count: int) -> None:
    """Refuse a resolve of too many events: InvalidInput `too_many_actions`."""
    if count > MAX_RESOLVE_EVENTS:
        raise InvalidInput(
            "too_many_actions",
            f"{count} events are more than one call may have: name fewer atlases",
            pointer="/atlas_ids",
        )


class Resolving:
    """Resolves for all sessions of a resolver, which holds its lock around each call."""

    def __init__(self, recorder: Recorder, sessions: Sessions, ledger: Ledger) -> None:
        self._recorder = recorder
        self._tracer = recorder.tracer
        self._timeline = recorder.timeline
        self._ids = recorder.ids
        self._sessions = sessions
        self._expiry = sessions.expiry
        self._ledger = ledger

    def outcome(
        self,
        planner: Planner,
        session: Session,
        goal: str,
        risk_tier: str,
        options: ResolveOptions | None,
        wall_ns: int,
        elapsed_ns: int,
    ) -> tuple[Variant, SelectedContext]:
        """Return what `resolve`, where this is written out once more for speed, would decide at that time.

        Raises:
            NotFound, InvalidInput: as `resolve`.
        """
        agent_id = session.agent_id
        plan = planner.plan_for(agent_id, planner.agent_kind(agent_id), risk_tier, options, wall_ns)
        variant = plan.variant_now(self._ledger, agent_id, session.session_id, elapsed_ns)
        selected = plan.selector.select(goal)
        check_event_count(len(variant.policy_events) + len(selected.events) + 2)
        return variant, selected

    def resolve(
        self,
        planner: Planner,
        session: Session,
        goal: str,
        risk_tier: str,
        options: ResolveOptions | None = None,
        request_id: int | None = None,
    ) -> Resolution:
        """Decide for checked arguments, record it, and remember the resolution.

        Raises:
            InvalidInput: `not_canonical`, `invalid_context`, `invalid_payload` for what has no place in an
                event; `too_many_actions` with too many context blocks.
            NotFound: `atlas_not_found` or `capability_not_found`.
            InvalidState: `session_ended`: its time is over.
            BufferFull, BackendFailure: nothing was recorded, numbered or remembered. A resolver that drops
                remembers an UnrecordedResolution instead of raising BufferFull.
        """
        wall_ns, elapsed_ns = self._timeline.read()
        if elapsed_ns >= session.check_at_ns:
            self._expiry.look(session, wall_ns, elapsed_ns)
        if session.planner is not planner:
            session.see_atlases(planner)
        if options is None:
            parts = PLAIN_PARTS[risk_tier]
            plan = planner.plans.get((session.agent_kind, risk_tier))
        else:
            parts = received_parts(risk_tier, options)
            plan = None
        if plan is None or (plan.valid_until_ns is not None and not plan.holds_at(wall_ns)):
            plan = planner.plan_for(session.agent_id, session.agent_kind, risk_tier, options, wall_ns)
        if self._ledger.full and plan.limits:
            variant = plan.variant_now(self._ledger, session.agent_id, session.session_id, elapsed_ns)
        else:
            variant = plan.usual
        selected = plan.selector.fixed or plan.selector.select(goal)
        count = len(variant.policy_events) + len(selected.events) + 2
        if count > MAX_RESOLVE_EVENTS:
            check_event_count(count)
        base_id = self._ids.reserve(wall_ns)
        resolution = Resolution(variant, selected, base_id, request_id, wall_ns, elapsed_ns)
        raw = RawEvent(
            session.session_id,
            session.next_sequence,
            count,
            wall_ns,
            base_id,
            base_id,
            session.root_span_id,
            expand_resolve,
            (resolution, goal, parts),
            0 if options is None and len(goal) < LIGHT_CHARS else text_weight(goal, *parts),
            session.hash_algorithm,
        )
        if plan.redaction is not None:
            redact_resolve(raw, plan.redaction, session.hash_algorithm)
        try:
            self._tracer.record(raw)
            session.next_sequence += count
        except BufferFull as refusal:
            if not self._recorder.push_or_drop(session, raw, refusal):
                resolution = UnrecordedResolution(variant, selected, base_id, request_id, wall_ns, elapsed_ns)
        session.resolution_count += 1
        session.last_active_ns = elapsed_ns
        self._sessions.remember(session, resolution)
        return resolution
