"""What may be taken out of an event's payload, and the mark that stays (PROTOCOL 3.9)."""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_REDACTIONS: Final = 100
"""Pointers of one policy."""

REDACTED: Final = "redacted"
"""The payload's member that lists the pointers of what was taken out."""

REDACTABLE: Final[dict[str, frozenset[str]]] = {
    "session.started": frozenset({"goal"}),
    "carp.request.received": frozenset({"goal", "context"}),
    "action.failed": frozenset({"error_message"}),
    "approval.granted": frozenset({"approver", "reason"}),
    "approval.refused": frozenset({"approver", "reason"}),
    "error.occurred": frozenset({"message", "pointer"}),
}
"""The members of the runtime's own events that hold what callers, approvers and executors said. The rest is
names of the atlas, numbers, hashes and words of the protocol, which verification and replay need."""

_NEEDED: Final = """
    action_count action_id active_sessions agent_id allowed_count approval_id atlas_ids atlas_versions
    block_id buffer cache_hit cause code context_block_count context_hints decision_type denied_count details
    drift_ms duration_ms ends_in_ms error_code execution_id expires_at gap_ms hash_algorithm idle_ms
    lost_at_most lost_count missed monotonic_ms operation parameters_hash parent_session_id policy_id pressure
    redacted redaction_reason request_id required_capabilities resolution_count resolution_id result
    result_findings_count result_hash result_valid risk_tier source steps suspensions token_count ttl_seconds
    uptime_ms uses violation_type wall_ms
"""
UNREDACTABLE: Final = frozenset(_NEEDED.split())
"""First members of pointers that no policy may have, in events of a host's own neither: whoever writes one
expects of it what it would not do."""


class Removal(NamedTuple):
    """One member to take out: its pointer, that as keys, and whether the mark tells the original's hash."""

    pointer: str
    path: tuple[str, ...]
    hashed: bool


def path_of(pointer: str) -> tuple[str, ...]:
    """Return the keys of a JSON Pointer (RFC 6901)."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
