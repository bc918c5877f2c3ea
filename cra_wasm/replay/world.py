"""What the sessions of a replay share: the runtime, the atlases, the findings, and what is in doubt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from ..carp.limits import Account, Limit
from ..errors import CRAError, InvalidState, Json
from ..runtime.loading import AtlasSource, read_one
from .report import Findings
from .rerun import Rerun

CLOCKS_APART_MS: Final = 1000
"""The two clocks of a runtime may run apart by this much before it tells of a step (PROTOCOL 3.6)."""

Doubt: TypeAlias = tuple[str, str]
"""The kind of an `undecidable` and why."""


@dataclass(frozen=True, slots=True)
class GivenAtlas:
    """An atlas that may be replayed against."""

    atlas_id: str
    version: str
    source: AtlasSource


def read_atlases(sources: Iterable[AtlasSource]) -> list[GivenAtlas]:
    """Check atlases, in the order of loading, and tell their ids and versions.

    Raises:
        CRAError: as `Resolver.load_atlas`; `details["file"]` names the file where it was one.
    """
    found = []
    for source in sources:
        try:
            # Each by itself: two that share an action may both be given, for sessions that began with either.
            atlas = read_one(source, strict=True).atlas
        except CRAError as error:
            if isinstance(source, Path):
                error.details["file"] = str(source)
            raise
        found.append(GivenAtlas(atlas.atlas_id, atlas.version, source))
    return found


@dataclass(slots=True, kw_only=True)
class World:
    """One runtime for all sessions of a replay.

    `complete` says that no other session shared limits with these. `clock_stepped` says that the trace shows
    a clock that was set back, `changes` between which times atlases were loaded or unloaded, `crowded` at
    which times several sessions made calls, so that their order cannot be told.
    """

    rerun: Rerun
    given: Sequence[GivenAtlas]
    findings: Findings
    parameters: Mapping[str, dict[str, Json]]
    complete: bool
    clock_stepped: bool
    changes: Sequence[tuple[int, int]]
    crowded: frozenset[int]
    loaded: dict[str, GivenAtlas] = field(default_factory=dict)
    unknown_costs: set[Account] = field(default_factory=set)
    """Accounts of which calls took an amount that the trace does not tell."""

    def choose(self, atlas_id: str, version: str | None) -> GivenAtlas | None:
        """Return the given atlas of that version, else the last one of that id."""
        those = [one for one in self.given if one.atlas_id == atlas_id]
        exact = [one for one in those if one.version == version]
        found = exact or those
        return found[-1] if found else None

    def see_atlases(self, wanted: Sequence[GivenAtlas]) -> None:
        """Load and unload until these are loaded, in their order, as the runtime did before a session."""
        names = [one.atlas_id for one in wanted]
        gone = [name for name in reversed(self.loaded) if name not in names]
        required = [name for name in gone if not self._unload_unless_required(name)]
        staying = [name for name in self.loaded if name in names]
        common = 0
        for name, other in zip(staying, names, strict=False):
            if name != other:
                break
            common += 1
        for late in reversed(staying[common:]):
            self._unload(late)
        self.load(wanted)
        for name in required:  # by what was loaded in another version meanwhile
            self._unload(name)

    def load(self, wanted: Sequence[GivenAtlas]) -> None:
        """Load atlases that are not loaded in this version, together: they may need each other."""
        new = [one for one in wanted if self.loaded.get(one.atlas_id) is not one]
        self.rerun.load_atlases([one.source for one in new])
        self.loaded |= {one.atlas_id: one for one in new}

    def _unload_unless_required(self, atlas_id: str) -> bool:
        try:
            self._unload(atlas_id)
        except InvalidState:
            return False
        return True

    def _unload(self, atlas_id: str) -> None:
        self.rerun.unload_atlas(atlas_id)
        del self.loaded[atlas_id]

    def atlases_in_doubt(self, wall_ns: int) -> Doubt | None:
        """Tell whether atlases may have been changed at that time."""
        if any(since < wall_ns < until for since, until in self.changes):
            return (
                "atlases_changed",
                "atlases were loaded or unloaded about then; the traces tell between which two starts of "
                "sessions, not when",
            )
        return None

    def limit_in_doubt(self, limit: Limit, account: Account, wall_ns: int) -> Doubt | None:
        """Tell why a limit that was full in the trace may have been full, though it has room here."""
        doubt = self._amount_in_doubt(limit, account, wall_ns)
        if doubt is None and limit.scope != "session" and not self.complete:
            return (
                "other_sessions",
                f"`{limit.policy_id}` counts the calls of other sessions too: give all traces of that "
                "runtime and say that they are complete",
            )
        return doubt

    def room_in_doubt(
        self, limit: Limit, account: Account, wall_ns: int, wait_ms: int | None
    ) -> Doubt | None:
        """Tell why a limit that had room in the trace may have had it, though it is full here."""
        doubt = self._amount_in_doubt(limit, account, wall_ns)
        if doubt is None and wait_ms is not None and 0 <= wait_ms <= CLOCKS_APART_MS:
            return (
                "clock",
                f"`{limit.policy_id}` gets room {wait_ms} ms later: the runtime's own clock may have been "
                "there",
            )
        return doubt

    def _amount_in_doubt(self, limit: Limit, account: Account, wall_ns: int) -> Doubt | None:
        if account in self.unknown_costs:
            return (
                "cost_parameter",
                f"`{limit.policy_id}` counts what calls cost, which stands in their parameters: the trace "
                "has only their hash",
            )
        if limit.scope != "session" and wall_ns in self.crowded:
            return (
                "simultaneous",
                f"several sessions made calls at the same time, and which took from `{limit.policy_id}` "
                "first cannot be told",
            )
        return self.time_in_doubt() if limit.window_ns is not None else None

    def time_in_doubt(self) -> Doubt | None:
        """Tell whether elapsed time is known by the trace's wall clock alone, which was set back."""
        if not self.clock_stepped:
            return None
        return "clock", "the wall clock was set back, so how much time passed cannot be told"
