"""A recorded resolve beside the one that came out: where they differ, event by event. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import Json
from ..model.event import TraceEvent
from .calls import Call

Told: TypeAlias = tuple[str, dict[str, Json]]
"""An event's type and payload."""

Name: TypeAlias = tuple[str, str]
"""An event's type and the action or block that it is about."""

_OF_VERDICT: Final = ("policy_id", "result")
_OF_CONTEXT: Final = ("source", "token_count", "redaction_reason")
_OF_COMPLETED: Final = (
    "decision_type",
    "allowed_count",
    "denied_count",
    "context_block_count",
    "ttl_seconds",
)
_CONTEXT: Final = ("context.injected", "context.redacted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One difference between two resolves; `action_id` where it is about the verdict on one action."""

    sequence: int
    pointer: str
    expected: Json
    actual: Json
    kind: str
    action_id: str | None = None


def compare_resolve(call: Call, events: Sequence[TraceEvent]) -> list[Mismatch]:
    """Return where a recorded resolve and the events of its replay differ, ids and times apart."""
    recorded = list(zip(call.events, call.payloads, strict=True))[1:]
    came_out = [(event.event_type, event.payload) for event in events[1:]]
    found = _compare_named(
        [one for one in recorded if one[0].event_type == "policy.evaluated"],
        [one for one in came_out if one[0] == "policy.evaluated"],
        name="action_id",
        members=_OF_VERDICT,
        kind="verdict",
        behind=call.first.sequence,
    )
    found += _compare_named(
        [one for one in recorded if one[0].event_type in _CONTEXT],
        [one for one in came_out if one[0] in _CONTEXT],
        name="block_id",
        members=_OF_CONTEXT,
        kind="context",
        behind=call.first.sequence,
    )
    return found + _compare_completed(call, came_out)


def _compare_named(
    recorded: Sequence[tuple[TraceEvent, dict[str, Json]]],
    came_out: Sequence[Told],
    *,
    name: str,
    members: Sequence[str],
    kind: str,
    behind: int,
) -> list[Mismatch]:
    """Compare events that each name an action or a block, in any order, then their order."""
    here: dict[Name, list[dict[str, Json]]] = {}
    for event_type, payload in came_out:
        here.setdefault((event_type, str(payload.get(name))), []).append(payload)
    found: list[Mismatch] = []
    common: list[Name] = []
    for event, payload in recorded:
        key = (event.event_type, str(payload.get(name)))
        action_id = key[1] if kind == "verdict" else None
        if here.get(key):
            common.append(key)
            found += _compare_members(event, payload, here[key].pop(0), members, kind, action_id)
        else:
            found.append(_mismatch(event.sequence, "", payload, None, kind, action_id))
    for key, payloads in here.items():
        action_id = key[1] if kind == "verdict" else None
        found += [_mismatch(behind, "", None, payload, kind, action_id) for payload in payloads]
    order = _those_of(common, [(event_type, str(payload.get(name))) for event_type, payload in came_out])
    if order != common:
        names = [key[1] for key in common], [key[1] for key in order]
        found.append(_mismatch(behind, "", *names, "order", None))
    return found


def _those_of(wanted: Sequence[Name], names: Sequence[Name]) -> list[Name]:
    """Return the names that are among the wanted ones, each as often as there, in their own order."""
    left = Counter(wanted)
    found = []
    for one in names:
        if left[one] > 0:
            left[one] -= 1
            found.append(one)
    return found


def _compare_completed(call: Call, came_out: Sequence[Told]) -> list[Mismatch]:
    completed = call.find("carp.resolution.completed")
    here = next(
        (payload for event_type, payload in came_out if event_type == "carp.resolution.completed"), {}
    )
    if completed is None:
        return [_mismatch(call.first.sequence, "", None, here, "missing_event", None)]
    event, payload = completed
    return _compare_members(event, payload, here, _OF_COMPLETED, "decision", None)


def _compare_members(
    event: TraceEvent,
    payload: dict[str, Json],
    here: dict[str, Json],
    members: Sequence[str],
    kind: str,
    action_id: str | None,
) -> list[Mismatch]:
    return [
        _mismatch(event.sequence, f"/payload/{name}", payload.get(name), here.get(name), kind, action_id)
        for name in members
        if not same(payload.get(name), here.get(name))
    ]


def same(one: Json, other: Json) -> bool:
    """Whether two plain JSON values are equal; true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _mismatch(
    sequence: int, pointer: str, expected: Json, actual: Json, kind: str, action_id: str | None
) -> Mismatch:
    return Mismatch(
        sequence=sequence, pointer=pointer, expected=expected, actual=actual, kind=kind, action_id=action_id
    )
