"""Numbers the events of each session and hands their records to the tracer."""

from __future__ import annotations

from dataclasses import dataclass

from ..ports import IdSource
from ..timing.timeline import Timeline
from ..trace.raw import EventTexts, RawEvent, as_given
from ..trace.tracer import Tracer
from .session import Session


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
        )
        self.tracer.record(raw, reserved=reserved, beyond=beyond)
        session.next_sequence += len(texts)
        session.last_active_ns = moment.elapsed_ns
        return raw
