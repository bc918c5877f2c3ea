"""Areas `replay` and `diff`: what comes out of a trace when it is decided anew, and how two traces compare.

Only what PROTOCOL 3.11 and 3.13 fix is answered: no text for people, and differences in a fixed order.
"""

from __future__ import annotations

from typing import Final

from ..errors import Json
from ..replay.replay import replay_trace
from ..trace.diff import diff_traces
from .case import DiffInput, ReplayInput

_COUNTS: Final = (
    *("identical", "sessions", "events", "resolutions", "executes", "approvals"),
    *("outcomes_taken", "parameters_taken", "differences_total", "undecidable_total"),
)
_DIFFERENCE: Final = ("session_id", "sequence", "pointer", "expected", "actual", "kind")
_UNDECIDABLE: Final = ("session_id", "sequence", "pointer", "kind", "count")


def answer_replay(question: ReplayInput) -> Json:
    """Answer what differs, what cannot be told, and how much was decided.

    Raises:
        CRAError: as `replay_trace`.
    """
    found = replay_trace(
        [_bytes_of(lines) for lines in question.traces],
        question.atlases,
        verify=not question.need_not_verify,
        complete=question.complete,
        parameters=question.parameters,
    ).to_dict()
    return {
        **_parts(found, _COUNTS),
        "differences": _in_order([_parts(one, _DIFFERENCE) for one in found["differences"]]),
        "undecidable": _in_order([_parts(one, _UNDECIDABLE) for one in found["undecidable"]]),
    }


def answer_diff(question: DiffInput) -> Json:
    """Answer the verdict, how many differences there are, and those that are not dynamic."""
    found = diff_traces(_bytes_of(question.a), _bytes_of(question.b)).to_dict()
    told = [one for one in found["differences"] if one["significance"] != "dynamic"]
    told.sort(key=lambda one: (_place_of(one["pointer"]), one["pointer_b"] or ""))
    return {
        **{name: found[name] for name in ("verdict", "events_a", "events_b", "counts")},
        "differences": told,
    }


def _bytes_of(lines: tuple[str, ...]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _parts(found: dict[str, Json], names: tuple[str, ...]) -> dict[str, Json]:
    return {name: found[name] for name in names}


def _in_order(found: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Sort by session, event, pointer and kind: several sessions are replayed as their times fell."""
    return sorted(found, key=lambda one: (one["session_id"], one["sequence"], one["pointer"], one["kind"]))


def _place_of(pointer: str) -> tuple[int, str]:
    """Return the index of the event that a pointer leads into, and the rest."""
    index, _, rest = pointer[1:].partition("/")
    return int(index), rest
