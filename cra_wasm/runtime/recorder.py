"""Numbers the events of each session and hands their records to the tracer.

With `on_full="drop"` it also tells of what was dropped: a trace.gap before anything newer of the session
(PROTOCOL 3.7). The hot path (resolving.py) goes past all this to the tracer and comes here only when that
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..errors import BufferFull
from ..ports import IdSource
from ..timing.timeline import Timeline
from ..trace.canonical import canonical_json
from ..trace.raw import EventTexts, RawEvent, as_given, own_text_weight
from ..trace.tracer import Tracer
from .session import Session

GAP_WEIGHT: Final = 1


@dataclass(slots=True)
class Moment:
    """One read of the clocks and one block of ids; all events of a record carry them (PROTOCOL 3.3).

    Never changed; not frozen because making a frozen one takes three times as long.
    """

    wall_ns: int
    elapsed_ns: int
    base_id: int


class Recorder:
    """Makes records. A session's numbers move on only when the tracer took the record."""

    def __init__(self, tracer: Tracer, timeline: Timeline, ids: IdSource) -> None:
        self.tracer = tracer
        self.timeline = timeline
        self.ids = ids

    def now(self) -> Moment:
        """Read the clocks and reserve a block of ids."""
        wall_ns, elapsed_ns = self.timeline.read()
        return Moment(wall_ns, elapsed_ns, self.ids.reserve(wall_ns))

    def at(self, wall_ns: int, elapsed_ns: int) -> Moment:
        """Reserve a block of ids for a read of the clocks that was made already."""
        return Moment(wall_ns, elapsed_ns, self.ids.reserve(wall_ns))

    def times(self) -> tuple[int, int]:
        """Return (wall_ns, elapsed_ns) for a check that records nothing."""
        return self.timeline.read()

    def record(
        self,
        session: Session,
        moment: Moment,
        texts: EventTexts,
        *,
        trace_id: int,
        parent_span_id: int | None = None,
        reserved: int = 0,
        beyond: bool = False,
    ) -> RawEvent:
        """Record events that belong together, under `parent_span_id` or else the session's root span.

        Args:
            reserved, beyond: as `TraceRingBuffer.push`.

        Raises:
            BufferFull, BackendFailure: nothing was recorded and no number was used.
        """
        raw = RawEvent(
            session.session_id,
            session.next_sequence,
            len(texts),
            moment.wall_ns,
            moment.base_id,
            trace_id,
            session.root_span_id if parent_span_id is None else parent_span_id,
            as_given,
            texts,
            own_text_weight(texts),
            session.hash_algorithm,
        )
        self._push(session, raw, reserved=reserved, beyond=beyond)
        session.last_active_ns = moment.elapsed_ns
        return raw

    def record_or_drop(
        self, session: Session, moment: Moment, texts: EventTexts, *, trace_id: int
    ) -> RawEvent | None:
        """As `record`, but None when there was no room and the resolver drops: then the loss was counted."""
        try:
            return self.record(session, moment, texts, trace_id=trace_id)
        except BufferFull:
            if not self.tracer.drops:
                raise
            self.tracer.drop(session.session_id, len(texts))
            return None

    def push_or_drop(self, session: Session, raw: RawEvent, refusal: BufferFull) -> bool:
        """Record what the tracer just refused behind its session's gap; False when it was dropped instead.

        Raises:
            BufferFull: the refusal, unless the resolver drops.
        """
        if not self.tracer.drops:
            raise refusal
        if session.session_id in self.tracer.lost:
            try:
                self._push(session, raw)
            except BufferFull:
                pass
            else:
                return True
        self.tracer.drop(session.session_id, raw.count)
        return False

    def record_gap(self, session: Session, *, reserved: int = 0, beyond: bool = False) -> None:
        """Tell how many events of the session were dropped since the last time.

        Args:
            reserved: GAP_WEIGHT, unless `beyond`: this must not fail of being full.
        """
        wall_ns, _ = self.timeline.read()
        lost = self.tracer.lost.pop(session.session_id)
        payload = {"cause": "buffer_full", "lost_at_most": lost, "lost_count": lost}
        raw = RawEvent(
            session.session_id,
            session.next_sequence,
            1,
            wall_ns,
            self.ids.reserve(wall_ns),
            session.trace_id,
            session.root_span_id,
            as_given,
            [("trace.gap", canonical_json(payload))],
            algorithm=session.hash_algorithm,
        )
        try:
            self.tracer.record(raw, reserved=reserved, beyond=beyond)
        except BaseException:
            self.tracer.lost[session.session_id] = lost
            raise
        session.next_sequence += 1

    def _push(self, session: Session, raw: RawEvent, *, reserved: int = 0, beyond: bool = False) -> None:
        """Hand a record over and move its session's numbers on; behind the session's gap if one is owed."""
        if self.tracer.lost and session.session_id in self.tracer.lost:
            if reserved or beyond:
                self.record_gap(session, beyond=True)  # what follows has its place, so it must not fail
            else:
                self.tracer.reserve(GAP_WEIGHT + raw.weight, raw.count)  # both or none
                reserved = raw.weight
                self.record_gap(session, reserved=GAP_WEIGHT)
            raw.first_sequence = session.next_sequence
        self.tracer.record(raw, reserved=reserved, beyond=beyond)
        session.next_sequence += raw.count
