"""Compares a trace that was just made with a golden one, hashes included (PROTOCOL 3.13).

With an injected clock and injected ids a run gives the same bytes each time, so any difference is one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Json
from .diff import TraceDiff, diff_traces
from .loading import TraceSource, load_trace


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenResult:
    """Whether a trace is the golden one. `first_line` is the 0-based line of the first difference; `diff` has
    the golden trace as A and tells what differs."""

    matches: bool
    first_line: int | None
    diff: TraceDiff

    def to_dict(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        return {"matches": self.matches, "first_line": self.first_line, "diff": self.diff.to_dict()}


def compare_golden(produced: TraceSource, golden: TraceSource, *, literal: bool = True) -> GoldenResult:
    """Compare a produced trace with a golden one.

    Args:
        literal: every byte counts, ids, times and hashes too. Without it only what `diff_traces` calls more
            than dynamic or minor, for implementations that make ids and times of their own.

    Raises:
        NotFound, BackendFailure, InvalidInput: as `load_trace`.
    """
    made, wanted = load_trace(produced, verify=False), load_trace(golden, verify=False)
    diff = diff_traces(wanted, made)
    if literal:
        first = next(
            (line for line, (one, other) in enumerate(zip(wanted, made, strict=False)) if one != other), None
        )
        if first is None and len(made) != len(wanted):
            first = min(len(made), len(wanted))
        return GoldenResult(matches=first is None, first_line=first, diff=diff)
    weighty = [one for one in diff.differences if one.significance not in ("dynamic", "minor")]
    place = weighty[0].pointer or weighty[0].pointer_b if weighty else None
    return GoldenResult(
        matches=diff.verdict in ("identical", "semantically_equivalent"),
        first_line=None if place is None else int(place.split("/")[1]),
        diff=diff,
    )
