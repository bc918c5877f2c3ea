"""Compares two events that belong together, member by member, and the names that they give to things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from ..errors import Json
from ..model.event import TraceEvent
from .significance import IDS, KNOWN_MEMBERS, Significance, of_absence, of_member

_NAMES: Final = (
    ("event_id", "event"),
    ("trace_id", "trace"),
    ("span_id", "span"),
    ("parent_span_id", "span"),
    ("session_id", "session"),
)
"""Fields of an event that name something, and the kind of what they name."""

_HASHES: Final = ("previous_event_hash", "event_hash")


class Found(NamedTuple):
    """A difference inside of two events: the pointer into either, and the values."""

    pointer: str
    kind: Literal["added", "removed", "changed"]
    significance: Significance
    a: Json
    b: Json


class _Place(NamedTuple):
    """Where a comparison is: the type of the event, the pointer, and what a difference there means."""

    event_type: str
    pointer: str
    significance: Significance


class EventComparison:
    """Compares pairs of events in the order of the traces; it remembers how names were changed.

    The same name must stand for the same thing all through: one that is renamed in two ways, or two that
    become one, is a major difference.
    """

    def __init__(self) -> None:
        self._renamed: dict[tuple[str, str], str] = {}
        self._renamed_back: dict[tuple[str, str], str] = {}

    def compare(self, one: TraceEvent, other: TraceEvent, *, shifted: bool) -> Iterator[Found]:
        """Yield the differences of two events of one type.

        Args:
            shifted: their numbers differ by more than the events that stand before only one of them.
        """
        if one.trace_version != other.trace_version:
            yield Found("/trace_version", "changed", "major", one.trace_version, other.trace_version)
        for field, kind in _NAMES:
            yield from self._compare_names(f"/{field}", kind, getattr(one, field), getattr(other, field))
        if shifted:
            yield Found("/sequence", "changed", "dynamic", one.sequence, other.sequence)
        if one.timestamp != other.timestamp:
            yield Found("/timestamp", "changed", "dynamic", one.timestamp, other.timestamp)
        # Also where they are equal: a name that is the same in both is taken.
        place = _Place(one.event_type, "/payload", "major")
        yield from self._compare_objects(one.payload, other.payload, place)
        for field in _HASHES:
            if getattr(one, field) != getattr(other, field):
                yield Found(f"/{field}", "changed", "dynamic", getattr(one, field), getattr(other, field))

    def _compare_names(self, pointer: str, kind: str, name: str | None, other: str | None) -> Iterator[Found]:
        if name is None or other is None:
            if name is not other:
                yield Found(pointer, "changed", "major", name, other)
            return
        known = self._renamed.setdefault((kind, name), other)
        known_back = self._renamed_back.setdefault((kind, other), name)
        if known != other or known_back != name:
            yield Found(pointer, "changed", "major", name, other)
        elif name != other:
            yield Found(pointer, "changed", "minor" if kind == "parameters" else "dynamic", name, other)

    def _compare_objects(
        self, one: dict[str, Json], other: dict[str, Json], place: _Place
    ) -> Iterator[Found]:
        names = one if one.keys() == other.keys() else sorted({*one, *other})  # canonical text is sorted
        for name in names:
            pointer = f"{place.pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in other or name not in one:
                known = place.pointer == "/payload" and name in KNOWN_MEMBERS
                kind: Literal["added", "removed"] = "added" if name in other else "removed"
                significance = of_absence(place.event_type, name, known=known)
                if place.pointer != "/payload":
                    significance = place.significance  # a member of something is a part of its value
                yield Found(pointer, kind, significance, one.get(name), other.get(name))
                continue
            inner = place.significance
            if place.pointer == "/payload" or of_member(place.event_type, name) == "dynamic":
                inner = of_member(place.event_type, name)
            yield from self._compare_values(
                one[name], other[name], _Place(place.event_type, pointer, inner), IDS.get(name)
            )

    def _compare_values(
        self, one: Json, other: Json, place: _Place, name_of: str | None = None
    ) -> Iterator[Found]:
        if name_of is not None and isinstance(one, str) and isinstance(other, str):
            yield from self._compare_names(place.pointer, name_of, one, other)
        elif isinstance(one, dict) and isinstance(other, dict):
            yield from self._compare_objects(one, other, place)
        elif isinstance(one, list) and isinstance(other, list):
            yield from self._compare_lists(one, other, place)
        elif one != other or isinstance(one, bool) != isinstance(other, bool):
            yield Found(place.pointer, "changed", place.significance, one, other)

    def _compare_lists(self, one: list[Json], other: list[Json], place: _Place) -> Iterator[Found]:
        for index in range(max(len(one), len(other))):
            inner = place._replace(pointer=f"{place.pointer}/{index}")
            if index >= len(other):
                yield Found(inner.pointer, "removed", place.significance, one[index], None)
            elif index >= len(one):
                yield Found(inner.pointer, "added", place.significance, None, other[index])
            else:
                yield from self._compare_values(one[index], other[index], inner)
