"""The hot path: one resolve.

Plainer than the rest of the code on purpose: it looks a plan up, checks the few dynamic facts, and appends
one raw record. No loop over actions, no JSON, no hash, no pydantic. `cra-wasm bench` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..carp.limits import Ledger
from ..carp.planner import Planner
from ..errors import InvalidInput, Json
from ..model.resolution import REQUEST_ID_OFFSET, Resolution
from ..trace.raw import MAX_EVENTS_PER_RECORD, RawEvent
from .recorder import Recorder
from .resolve_events import count_events, expand_resolve, received_parts
from .session import Remembered, Session
from .sessions import Sessions

_NS: Final = 1_000_000_000


class Resolving:
    """Resolves for all sessions of a resolver, which holds its lock around each call."""

    def __init__(self, recorder: Recorder, sessions: Sessions, ledger: Ledger, ttl_seconds: int) -> None:
        self._recorder = recorder
        self._sessions = sessions
        self._ledger = ledger
        self._ttl_ns = ttl_seconds * _NS

    def resolve(
        self,
        planner: Planner,
        session: Session,
        goal: str,
        risk_tier: str,
        required_capabilities: tuple[str, ...] = (),
        context_hints: tuple[str, ...] = (),
        atlas_ids: tuple[str, ...] | None = None,
        context: Mapping[str, Json] | None = None,
        request_id: int | None = None,
    ) -> Resolution:
        """Decide for checked arguments, record it, and remember the resolution.

        Raises:
            InvalidInput: `not_canonical`, `invalid_context`; `too_many_actions` with too many context blocks.
            NotFound: `atlas_not_found` or `capability_not_found`.
            BufferFull, BackendFailure: nothing was recorded, numbered or remembered.
        """
        moment = self._recorder.now()
        parts = received_parts(risk_tier, required_capabilities, context_hints, atlas_ids, context)
        plan = planner.plan_for(
            session.agent_id,
            session.facts_under(planner),
            moment.wall_ns,
            risk_tier=risk_tier,
            required_capabilities=required_capabilities,
            context_hints=context_hints,
            atlas_ids=atlas_ids,
            context=context,
        )
        if self._ledger.full and plan.limits:
            variant = plan.variant_now(self._ledger, session.agent_id, session.session_id, moment.elapsed_ns)
        else:
            variant = plan.usual_variant()
        base_id = moment.base_id
        resolution = Resolution(
            variant.outcome,
            plan.selector.select(goal),
            base_id,
            base_id + REQUEST_ID_OFFSET if request_id is None else request_id,
            moment.wall_ns,
        )
        count = count_events(resolution, variant)
        if count > MAX_EVENTS_PER_RECORD:
            raise InvalidInput(
                "too_many_actions",
                f"{count} events are more than one call may have: name fewer atlases",
                pointer="/atlas_ids",
            )
        self._recorder.tracer.record(
            RawEvent(
                session.session_id,
                session.next_sequence,
                count,
                moment.wall_ns,
                base_id,
                base_id,
                session.root_span_id,
                expand_resolve,
                (resolution, variant, goal, parts),
            )
        )
        session.next_sequence += count
        session.resolution_count += 1
        session.last_active_ns = moment.elapsed_ns
        until = variant.expires_wall_ns
        self._sessions.remember(
            session,
            Remembered(
                resolution,
                plan,
                variant,
                moment.elapsed_ns + self._ttl_ns,
                # In elapsed time: a wall clock that steps back must not prolong it.
                None if until is None else moment.elapsed_ns + until - moment.wall_ns,
            ),
        )
        return resolution
