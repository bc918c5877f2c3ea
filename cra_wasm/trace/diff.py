"""Compares two traces by what they say, not by their bytes (PROTOCOL 3.13). Pure functions of events."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal, TypeAlias

from ..errors import Json
from ..model.event import TraceEvent
from .alignment import align
from .canonical import canonical_json
from .comparison import EventComparison
from .loading import TraceSource, load_trace
from .significance import IDS, KEY_MEMBERS, SIGNIFICANCES, Significance, of_event, of_member

Verdict: TypeAlias = Literal["identical", "semantically_equivalent", "compatible", "incompatible"]
DifferenceKind: TypeAlias = Literal["added", "removed", "changed", "moved"]

MAX_LISTED: Final = 1000
"""Differences that are listed of each side of DYNAMIC; all are counted."""

MAX_VALUE_CHARS: Final = 500
"""A longer value is told by its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDifference:
    """One difference. `pointer` leads into A as an array of events, `pointer_b` into B; None where there is
    no such place. `a` and `b` are what stands there, cut where it is long."""

    pointer: str | None
    pointer_b: str | None
    kind: DifferenceKind
    significance: Significance
    a: Json
    b: Json

    def to_dict(self) -> dict[str, Json]:
        """Return the fields as JSON; `pointer` is B's for what was added."""
        told = asdict(self)
        told["pointer"] = self.pointer if self.pointer is not None else self.pointer_b
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDiff:
    """How two traces compare.

    `counts` has the number of differences by significance, `differences` lists at most 1,000 dynamic ones and
    1,000 others, in the order of the events; `listed_all` says whether those are all.
    """

    verdict: Verdict
    events_a: int
    events_b: int
    events_aligned: int
    counts: dict[Significance, int]
    differences: tuple[TraceDifference, ...]
    listed_all: bool

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON that `cra-wasm diff --json` prints."""
        return {
            "verdict": self.verdict,
            "events_a": self.events_a,
            "events_b": self.events_b,
            "events_aligned": self.events_aligned,
            "counts": dict(self.counts),
            "differences": [one.to_dict() for one in self.differences],
            "listed_all": self.listed_all,
        }


def diff_traces(a: TraceSource, b: TraceSource) -> TraceDiff:
    """Compare two traces (PROTOCOL 3.13): each a path, the bytes of a file, or events.

    Verdict `identical`: the same bytes. `semantically_equivalent`: only what differs in each run (ids, times,
    hashes) or is of no weight; ids must be renamed consistently. `compatible`: one tells more, of a kind that
    decides nothing. Else `incompatible`. The verdict is the same the other way round.

    Neither has to verify: that is asked of `verify_file`. Time grows with the length of the traces, whatever
    they hold.

    Raises:
        NotFound, BackendFailure, InvalidInput: as `load_trace`.
    """
    one, other = load_trace(a, verify=False), load_trace(b, verify=False)
    tokens = [_token(event) for event in one], [_token(event) for event in other]
    # Always compared in the same direction, so that the other way round is its mirror.
    swapped = (len(other), tokens[1]) < (len(one), tokens[0])
    if swapped:
        one, other, tokens = other, one, (tokens[1], tokens[0])
    comparing = _Comparing(one, other)
    if one == other:
        comparing.take_as_same()
    else:
        comparing.compare(_matches(one, other, *tokens))
    return comparing.result(swapped=swapped)


def _token(event: TraceEvent) -> str:
    """Return what tells which event of another trace is the same one."""
    members = KEY_MEMBERS.get(event.event_type)
    if members is None:
        return event.event_type
    payload = event.payload
    return "\x1f".join([event.event_type, *(str(payload.get(name)) for name in members)])


def _matches(
    one: Sequence[TraceEvent],
    other: Sequence[TraceEvent],
    tokens: Sequence[str],
    other_tokens: Sequence[str],
) -> list[tuple[int, int]]:
    """Return which events belong together: those of one token, then those of one type between them."""
    numbers: dict[str, int] = {}
    pairs = align(
        [numbers.setdefault(token, len(numbers)) for token in tokens],
        [numbers.setdefault(token, len(numbers)) for token in other_tokens],
    )
    found = []
    place, other_place = 0, 0
    for index, other_index in [*pairs, (len(one), len(other))]:
        found += _same_types(one, range(place, index), other, range(other_place, other_index))
        found.append((index, other_index))
        place, other_place = index + 1, other_index + 1
    return found[:-1]


def _same_types(
    one: Sequence[TraceEvent], places: range, other: Sequence[TraceEvent], other_places: range
) -> list[tuple[int, int]]:
    """Pair events of one type in a gap, in order: what was changed is not both removed and added."""
    of_type: dict[str, list[int]] = {}
    for other_index in other_places:
        of_type.setdefault(other[other_index].event_type, []).append(other_index)
    found = []
    free_from = other_places.start
    for index in places:
        candidates = of_type.get(one[index].event_type, ())
        at = bisect_left(candidates, free_from)
        if at < len(candidates):
            found.append((index, candidates[at]))
            free_from = candidates[at] + 1
    return found


class _Comparing:
    """Collects the differences between two lists of events."""

    def __init__(self, one: Sequence[TraceEvent], other: Sequence[TraceEvent]) -> None:
        self._one = one
        self._other = other
        self._counts: dict[Significance, int] = dict.fromkeys(SIGNIFICANCES, 0)
        self._listed: list[tuple[int, TraceDifference]] = []
        self._listed_of = {True: 0, False: 0}
        self._aligned = 0

    def compare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Compare the events that belong together, then tell of the others."""
        comparison = EventComparison()
        removed: list[int] = []
        added: list[int] = []
        place, other_place = 0, 0
        for index, other_index in [*pairs, (len(self._one), len(self._other))]:
            removed += range(place, index)
            added += range(other_place, other_index)
            place, other_place = index + 1, other_index + 1
            if index == len(self._one):
                break
            self._aligned += 1
            # A number says where an event stands, which the alignment has told.
            shifted = self._one[index].sequence - index != self._other[other_index].sequence - other_index
            for found in comparison.compare(self._one[index], self._other[other_index], shifted=shifted):
                if self._is_listed(found.significance):
                    self._list(
                        index,
                        TraceDifference(
                            pointer=f"/{index}{found.pointer}",
                            pointer_b=f"/{other_index}{found.pointer}",
                            kind=found.kind,
                            significance=found.significance,
                            a=found.a,
                            b=found.b,
                        ),
                    )
        self._tell_others(removed, added)

    def take_as_same(self) -> None:
        """Spare the comparison of two traces that are the same events."""
        self._aligned = len(self._one)

    def _tell_others(self, removed: Sequence[int], added: Sequence[int]) -> None:
        """Tell of events that only one trace has, or both in different places."""
        there: dict[str, deque[int]] = {}
        for other_index in added:
            there.setdefault(_said(self._other[other_index]), deque()).append(other_index)
        for index in removed:
            event = self._one[index]
            same = there.get(_said(event))
            if same:
                # The same decision in another place is no other decision.
                significance = of_event(event.event_type)
                self._tell(
                    index, same.popleft(), "moved", "major" if significance == "critical" else significance
                )
            else:
                self._tell(index, None, "removed", of_event(event.event_type))
        for those in there.values():
            for other_index in those:
                self._tell(None, other_index, "added", of_event(self._other[other_index].event_type))

    def _tell(
        self, index: int | None, other_index: int | None, kind: DifferenceKind, significance: Significance
    ) -> None:
        if not self._is_listed(significance):
            return
        self._list(
            index if index is not None else other_index or 0,
            TraceDifference(
                pointer=None if index is None else f"/{index}",
                pointer_b=None if other_index is None else f"/{other_index}",
                kind=kind,
                significance=significance,
                a=None if index is None else _summary(self._one[index]),
                b=None if other_index is None else _summary(self._other[other_index]),
            ),
        )

    def _is_listed(self, significance: Significance) -> bool:
        """Count a difference and tell whether there is room to list it."""
        self._counts[significance] += 1
        dynamic = significance == "dynamic"
        self._listed_of[dynamic] += 1
        return self._listed_of[dynamic] <= MAX_LISTED

    def _list(self, index: int, difference: TraceDifference) -> None:
        self._listed.append((index, _cut(difference)))

    def result(self, *, swapped: bool) -> TraceDiff:
        """Return what was found; `swapped` when the first list was B."""
        self._listed.sort(key=lambda listed: listed[0])
        differences = [difference for _, difference in self._listed]
        counts = len(self._one), len(self._other)
        return TraceDiff(
            verdict=self._verdict(),
            events_a=counts[swapped],
            events_b=counts[not swapped],
            events_aligned=self._aligned,
            counts=self._counts,
            differences=tuple(map(_mirrored, differences) if swapped else differences),
            listed_all=sum(self._counts.values()) == len(differences),
        )

    def _verdict(self) -> Verdict:
        if self._counts["major"] or self._counts["critical"]:
            return "incompatible"
        if self._counts["notable"]:
            return "compatible"
        return "semantically_equivalent" if any(self._counts.values()) else "identical"


_MIRROR: Final[dict[DifferenceKind, DifferenceKind]] = {
    "added": "removed",
    "removed": "added",
    "changed": "changed",
    "moved": "moved",
}


def _mirrored(difference: TraceDifference) -> TraceDifference:
    return replace(
        difference,
        pointer=difference.pointer_b,
        pointer_b=difference.pointer,
        kind=_MIRROR[difference.kind],
        a=difference.b,
        b=difference.a,
    )


def _said(event: TraceEvent) -> str:
    """Return an event's type and what its payload says, without what differs in each run."""
    payload = event.payload
    lasting = {
        name: value
        for name, value in payload.items()
        if name not in IDS and of_member(event.event_type, name) != "dynamic"
    }
    return f"{event.event_type}\x1f{canonical_json(lasting)}"


def _summary(event: TraceEvent) -> Json:
    return {"event_type": event.event_type, "payload": event.payload}


def _cut(difference: TraceDifference) -> TraceDifference:
    return replace(difference, a=_short(difference.a), b=_short(difference.b))


def _short(value: Json) -> Json:
    """Return a value, or the beginning of its text where it is long."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else canonical_json(value)
    return value if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "…"
