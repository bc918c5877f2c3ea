"""How much a difference between two traces matters (PROTOCOL 3.13), by event type and member."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Significance: TypeAlias = Literal["dynamic", "minor", "notable", "major", "critical"]
"""dynamic: differs in each run. minor: no decision follows from it. notable: more is told, nothing else.
major: other facts. critical: another decision."""

SIGNIFICANCES: Final[tuple[Significance, ...]] = ("dynamic", "minor", "notable", "major", "critical")

IDS: Final = {
    "request_id": "request",
    "resolution_id": "resolution",
    "execution_id": "execution",
    "approval_id": "approval",
    "session_id": "session",
    "parent_session_id": "session",
    "parameters_hash": "parameters",
}
"""Members that name something, and the kind of what they name: such names must be renamed consistently."""

_DYNAMIC: Final = frozenset(
    {
        "duration_ms",
        "expires_at",
        "retry_after_ms",
        "timestamp",
        "uptime_ms",
        "wall_ms",
        "monotonic_ms",
        "gap_ms",
    }
)
_MINOR: Final = frozenset(
    {"message", "error_message", "result_hash", "parameters_hash", "hash_algorithm", "pointer"}
)
_CRITICAL: Final = frozenset(
    {
        "action_id",
        "allowed_count",
        "decision_type",
        "denied_count",
        "operation",
        "policy_id",
        "result",
        "uses",
        "violation_type",
    }
)
_NOTABLE: Final = frozenset({"atlas_versions"})

_PROTOCOL: Final = ("session.", "carp.", "action.", "policy.", "context.", "approval.", "trace.", "error.")
_OF_THE_RUNTIME: Final = ("runtime.", "clock.", "session.idle")
"""What a runtime tells of itself: other figures in each run."""

_DECIDING: Final = ("session.started", "carp.", "action.", "policy.", "approval.")


def of_event(event_type: str) -> Significance:
    """Return what it means that only one trace has an event of that type.

    Events of a host's own, and what a runtime tells of itself, decide nothing: notable.
    """
    if event_type.startswith(_OF_THE_RUNTIME):
        return "notable"
    if event_type.startswith(_DECIDING):
        return "critical"
    return "major" if event_type.startswith(_PROTOCOL) else "notable"


def of_member(event_type: str, name: str) -> Significance:
    """Return what it means that a member of a payload has another value."""
    if name in _DYNAMIC or event_type.startswith(_OF_THE_RUNTIME):
        return "dynamic"
    if name in _MINOR:
        return "minor"
    if name in IDS:
        return "dynamic"
    if name in _NOTABLE:
        return "notable"
    if not event_type.startswith(_PROTOCOL):
        return "major"
    deciding = name in _CRITICAL or (name == "reason" and event_type == "action.denied")
    return "critical" if deciding else "major"


def of_absence(event_type: str, name: str, *, known: bool) -> Significance:
    """Return what it means that only one payload has a member; `known` ones carry what they mean."""
    found = of_member(event_type, name)
    if known and SIGNIFICANCES.index(found) > SIGNIFICANCES.index("notable"):
        return found
    return "notable"


KNOWN_MEMBERS: Final = frozenset(
    {
        *IDS,
        *_DYNAMIC,
        *_MINOR,
        *_CRITICAL,
        *_NOTABLE,
        "agent_id",
        "approver",
        "atlas_ids",
        "block_id",
        "cache_hit",
        "cause",
        "code",
        "context",
        "context_block_count",
        "context_hints",
        "details",
        "error_code",
        "goal",
        "lost_at_most",
        "lost_count",
        "reason",
        "redacted",
        "redaction_reason",
        "required_capabilities",
        "result_findings_count",
        "result_valid",
        "resolution_count",
        "action_count",
        "risk_tier",
        "source",
        "token_count",
        "ttl_seconds",
    }
)
"""Members that the table of PROTOCOL 3.1 gives a meaning: one that is missing says something."""

KEY_MEMBERS: Final = {
    "carp.request.received": ("operation",),
    "policy.evaluated": ("action_id",),
    "policy.violated": ("policy_id",),
    "context.injected": ("block_id",),
    "context.redacted": ("block_id",),
    "context.stale": ("block_id",),
    "action.requested": ("action_id",),
    "action.approved": ("action_id",),
    "action.denied": ("action_id",),
    "action.executed": ("action_id",),
    "action.failed": ("action_id",),
    "approval.requested": ("action_id",),
    "approval.granted": ("action_id",),
    "approval.refused": ("action_id",),
    "error.occurred": ("code",),
}
"""What of a payload tells which event of another trace is the same one."""
