"""A resolution of the trace and what became of it here."""

from __future__ import annotations

from dataclasses import dataclass, field

from .world import Doubt


@dataclass(slots=True, kw_only=True)
class Replayed:
    """The resolution that came out for a recorded one.

    `resolution_id` is its id in the rerun, None when none came out. `disputed` holds the actions whose
    verdict was another, `doubtful` those whose verdict could not be decided, and `doubt` stands when none
    could.
    """

    sequence: int
    resolution_id: str | None
    disputed: set[str] = field(default_factory=set)
    doubtful: dict[str, Doubt] = field(default_factory=dict)
    doubt: Doubt | None = None

    def doubt_about(self, action_id: str) -> Doubt | None:
        """Return why the verdict on an action could not be decided, if so."""
        return self.doubt or self.doubtful.get(action_id)
