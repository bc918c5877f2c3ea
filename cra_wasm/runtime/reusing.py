"""Resolving again what was just resolved: two events in place of one for each action (PROTOCOL 2.12)."""

from __future__ import annotations

from typing import cast

from ..carp.plan import Variant
from ..carp.planner import Planner, ResolveOptions
from ..carp.redaction import Redaction
from ..hashing import new
from ..model.ids import uuid_text
from ..model.resolution import REQUEST_ID_OFFSET, Resolution
from ..trace.canonical import canonical_json
from ..trace.raw import EventTexts
from .recorder import Recorder
from .redacting import redacted_texts
from .resolve_events import PLAIN_PARTS, RECEIVED, ReceivedParts, received_parts, received_text
from .resolving import Resolving
from .session import Remembered, Session, UnrecordedResolution


class Reusing:
    """Resolves for calls that take an earlier answer, for a resolver that holds its lock around each."""

    def __init__(self, recorder: Recorder, resolving: Resolving) -> None:
        self._recorder = recorder
        self._resolving = resolving

    def resolve(
        self,
        planner: Planner,
        session: Session,
        goal: str,
        risk_tier: str,
        options: ResolveOptions | None,
    ) -> Resolution:
        """Return the session's latest resolution for the same question if it would come out the same, else a
        new one; raises as `Resolving.resolve`.
        """
        parts = PLAIN_PARTS[risk_tier] if options is None else received_parts(risk_tier, options)
        question = _question(goal, parts)
        known = session.reusable_answer(question, planner)
        if known is not None:
            same = self._same_outcome(planner, session, goal, risk_tier, options, known)
            if same is not None:
                self._record_hit(session, goal, parts, known, same.plan.redaction)
                return known
        resolution = self._resolving.resolve(planner, session, goal, risk_tier, options)
        if not isinstance(resolution, UnrecordedResolution):
            session.keep_reusable(question, resolution)
        return resolution

    def _same_outcome(
        self,
        planner: Planner,
        session: Session,
        goal: str,
        risk_tier: str,
        options: ResolveOptions | None,
        known: Resolution,
    ) -> Variant | None:
        """Return what would be decided now, None when that is not what was decided before, or would be
        recorded otherwise: what is executed under a resolution is redacted as it was.
        """
        wall_ns, elapsed_ns = self._recorder.times()
        # INVARIANT: what a session remembers was made by Resolving, whose outcomes are Variants.
        before = cast(Variant, known.outcome)
        if Remembered(known, before).is_over(elapsed_ns):
            return None
        variant, selected = self._resolving.outcome(
            planner, session, goal, risk_tier, options, wall_ns, elapsed_ns
        )
        same = (variant is before or variant.says_the_same_as(before)) and (
            selected is known.selected
            or (selected.block_jsons, selected.events) == (known.selected.block_jsons, known.selected.events)
        )
        return variant if same and variant.plan.redaction == before.plan.redaction else None

    def _record_hit(
        self,
        session: Session,
        goal: str,
        parts: ReceivedParts,
        known: Resolution,
        redaction: Redaction | None,
    ) -> None:
        moment = self._recorder.now()
        request_id = uuid_text(moment.base_id + REQUEST_ID_OFFSET)
        hit = {"cache_hit": True, "request_id": request_id, "resolution_id": known.resolution_id}
        texts: EventTexts = [
            (RECEIVED, received_text(goal, request_id, parts)),
            ("carp.resolution.cached", canonical_json(hit)),
        ]
        texts = redacted_texts(texts, redaction, session.hash_algorithm)
        self._recorder.record_or_drop(session, moment, texts, trace_id=known.base_id)


def _question(goal: str, parts: ReceivedParts) -> bytes:
    """Return a digest of all that was asked: a session must not hold goals and contexts for this."""
    return new("sha256", "\x1f".join((*parts, goal)).encode()).digest()
