"""A session's events as the calls that made them (PROTOCOL 3.3): what was asked, and what was recorded of it.

Payloads may be anyone's, also in a chain that verifies: a member of the wrong kind counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from ..errors import Json
from ..model.event import TraceEvent
from ..trace.loading import wall_ns_of
from ..trace.payloads import texts_in

Kind: TypeAlias = Literal["start", "resolve", "execute", "decide", "outcome", "end", "other"]

_OF_RESOLVE: Final = frozenset(
    {
        "policy.evaluated",
        "context.injected",
        "context.redacted",
        "carp.resolution.completed",
        "carp.resolution.cached",
    }
)
_OF_EXECUTE: Final = frozenset(
    {
        "action.requested",
        "action.approved",
        "action.denied",
        "policy.violated",
        "approval.requested",
        "context.stale",
    }
)
_ALONE: Final[dict[str, Kind]] = {
    "session.started": "start",
    "session.ended": "end",
    "approval.granted": "decide",
    "approval.refused": "decide",
    "action.executed": "outcome",
    "action.failed": "outcome",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The events of one call, in order; an outcome is a call of its own, since others may stand before it.

    `payloads` are those of the events; `redacted` holds the pointers that the first one says were taken out.
    """

    kind: Kind
    events: tuple[TraceEvent, ...]
    payloads: tuple[dict[str, Json], ...]
    wall_ns: int
    redacted: frozenset[str] = field(default_factory=frozenset)

    @property
    def first(self) -> TraceEvent:
        """The event that names the call."""
        return self.events[0]

    @property
    def asked(self) -> dict[str, Json]:
        """The first event's payload."""
        return self.payloads[0]

    def find(self, *event_types: str) -> tuple[TraceEvent, dict[str, Json]] | None:
        """Return the first event of one of these types with its payload."""
        for event, payload in zip(self.events, self.payloads, strict=True):
            if event.event_type in event_types:
                return event, payload
        return None


def calls_of(events: Sequence[TraceEvent]) -> Iterator[Call]:
    """Yield the calls of one session."""
    index = 0
    while index < len(events):
        first = events[index]
        end = index + 1
        kind = _ALONE.get(first.event_type, "other")
        if first.event_type == "carp.request.received":
            kind = "execute" if first.payload.get("operation") == "execute" else "resolve"
            together = _OF_EXECUTE if kind == "execute" else _OF_RESOLVE
            while end < len(events) and events[end].event_type in together:
                end += 1
        those = tuple(events[index:end])
        payloads = tuple(event.payload for event in those)
        yield Call(
            kind=kind,
            events=those,
            payloads=payloads,
            wall_ns=wall_ns_of(first),
            redacted=frozenset(texts_in(payloads[0], "redacted")),
        )
        index = end
