"""The state that a trace leaves behind (PROTOCOL 3.12), as data; `rebuilding` makes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

from ..errors import Json

Outcome: TypeAlias = Literal["recorded", "waiting", "denied", "running", "executed", "failed"]
ApprovalState: TypeAlias = Literal["pending", "granted", "refused", "used", "expired"]


@dataclass(slots=True, kw_only=True)
class ResolutionState:
    """One resolve; `reused` counts how often it was given again."""

    sequence: int
    timestamp: str
    goal: str | None
    risk_tier: str | None
    resolution_id: str | None = None
    decision_type: str | None = None
    allowed: list[str] = field(default_factory=list)
    denied: dict[str, str | None] = field(default_factory=dict)
    """By action, the policy that denied it."""
    context_blocks: list[str] = field(default_factory=list)
    ttl_seconds: int | None = None
    reused: int = 0


@dataclass(slots=True, kw_only=True)
class ExecutionState:
    """One execute. `outcome` is waiting for a person, denied, running without an end, executed or failed;
    `recorded` when the trace ends before it says more."""

    sequence: int
    timestamp: str
    resolution_id: str | None
    action_id: str | None = None
    parameters_hash: str | None = None
    outcome: Outcome = "recorded"
    policy_id: str | None = None
    reason: str | None = None
    approval_id: str | None = None
    execution_id: str | None = None
    duration_ms: int | None = None
    result_hash: str | None = None
    error_code: str | None = None


@dataclass(slots=True, kw_only=True)
class ApprovalRecord:
    """One approval asked for; `used` counts the calls that ran by it, `expired` is as of the last event."""

    approval_id: str
    sequence: int
    action_id: str | None
    parameters_hash: str | None
    state: ApprovalState = "pending"
    approver: str | None = None
    reason: str | None = None
    expires_at: str | None = None
    uses: int | None = None
    used: int = 0


@dataclass(slots=True, kw_only=True)
class SessionState:
    """One session as its events tell it.

    `consumed` counts the approved calls by action, which is what limits count; which limits they took from,
    and what they cost, stands in the atlas and the parameters. `full_limits` counts the calls that each
    policy denied for want of room. `redacted` counts members that were taken out. `truncated`: there is no
    end.
    """

    session_id: str
    agent_id: str | None = None
    goal: str | None = None
    parent_session_id: str | None = None
    hash_algorithm: str | None = None
    atlas_versions: dict[str, str] = field(default_factory=dict)
    started_at: str | None = None
    ended_at: str | None = None
    end_reason: str | None = None
    duration_ms: int | None = None
    truncated: bool = True
    events: int = 0
    last_at: str = ""
    head: str = ""
    event_types: dict[str, int] = field(default_factory=dict)
    resolutions: list[ResolutionState] = field(default_factory=list)
    executions: list[ExecutionState] = field(default_factory=list)
    approvals: list[ApprovalRecord] = field(default_factory=list)
    consumed: dict[str, int] = field(default_factory=dict)
    full_limits: dict[str, int] = field(default_factory=dict)
    gaps: list[dict[str, Json]] = field(default_factory=list)
    """{sequence, cause, lost_count, lost_at_most} each."""
    errors: list[dict[str, Json]] = field(default_factory=list)
    """{sequence, code, message} each."""
    redacted: int = 0


@dataclass(slots=True, kw_only=True)
class TraceState:
    """The sessions of a trace in the order of their first events."""

    sessions: list[SessionState]

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON that `cra-wasm replay --state --json` prints."""
        return asdict(self)
