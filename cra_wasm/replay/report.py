"""What a replay found (PROTOCOL 3.11): differences, and what a trace cannot tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from ..errors import Json

MAX_LISTED: Final = 1000
"""Differences, and entries of `undecidable`, that a result lists; all are counted."""

HARMLESS: Final = frozenset({"foreign_event", "refused_call", "runtime_event"})
"""Kinds of `undecidable` that hold no decision: a trace with them can be identical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that came out otherwise.

    `sequence` is the recorded event's, `pointer` leads into it; `expected` stands in the trace, `actual` came
    out. `why` is for people and may change.
    """

    session_id: str
    sequence: int
    pointer: str
    expected: Json
    actual: Json
    kind: str
    why: str

    def to_dict(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecidable:
    """Something that the trace and the atlases do not suffice to decide; `count` events are of this kind
    where one stands for many."""

    session_id: str
    sequence: int
    pointer: str
    kind: str
    why: str
    count: int = 1

    def to_dict(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """The outcome of a replay.

    `replayed` counts the events of calls that were decided anew, `resolutions` and `executes` those
    calls; `outcomes_taken` counts what executors did, and `parameters_taken` the calls whose parameters were
    known by their hash only and so are taken to fit their schema. `identical` says that nothing differs and
    nothing but HARMLESS kinds was undecidable.
    """

    identical: bool
    sessions: int
    events: int
    replayed: int
    resolutions: int
    executes: int
    approvals: int
    outcomes_taken: int
    parameters_taken: int
    differences: tuple[Difference, ...]
    differences_total: int
    undecidable: tuple[Undecidable, ...]
    undecidable_total: int

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON that `cra-wasm replay --json` prints."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "differences": [one.to_dict() for one in self.differences],
            "undecidable": [one.to_dict() for one in self.undecidable],
        }


_PLAIN: Final = (
    "identical",
    "sessions",
    "events",
    "replayed",
    "resolutions",
    "executes",
    "approvals",
    "outcomes_taken",
    "parameters_taken",
    "differences_total",
    "undecidable_total",
)


class Findings:
    """Collects differences and undecidable things, a bounded number of each, and counts all."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.differences_total = 0
        self._undecidable: list[Undecidable] = []
        self.undecidable_total = 0
        self._grouped: dict[tuple[str, str, str], Undecidable] = {}
        self.decided = True
        """Nothing but HARMLESS kinds was undecidable so far."""

    def differs(self, difference: Difference) -> None:
        """Note a difference."""
        self.differences_total += 1
        if len(self.differences) < MAX_LISTED:
            self.differences.append(difference)

    def cannot_tell(self, entry: Undecidable) -> None:
        """Note what cannot be decided."""
        self.decided = self.decided and entry.kind in HARMLESS
        self.undecidable_total += 1
        if len(self._undecidable) < MAX_LISTED:
            self._undecidable.append(entry)

    def cannot_tell_any(self, entry: Undecidable, name: str) -> None:
        """Note what cannot be decided, once for all events that share session, kind and `name`."""
        key = (entry.session_id, entry.kind, name)
        known = self._grouped.get(key)
        if known is None:
            self.decided = self.decided and entry.kind in HARMLESS
            self.undecidable_total += 1
            if len(self._grouped) < MAX_LISTED:
                self._grouped[key] = entry
            return
        self._grouped[key] = Undecidable(
            session_id=known.session_id,
            sequence=known.sequence,
            pointer=known.pointer,
            kind=known.kind,
            why=known.why,
            count=known.count + 1,
        )

    @property
    def undecidable(self) -> list[Undecidable]:
        """All entries that are listed, by session's order of mention, then sequence."""
        return [*self._undecidable, *self._grouped.values()][:MAX_LISTED]
