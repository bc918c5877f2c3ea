"""What resolve and execute answer (PROTOCOL 2.2, 2.7)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, TypeAlias

from ..errors import Json
from .atlas import RateLimit
from .ids import block_stem, uuid_text
from .timestamps import timestamp_text

CARP_VERSION: Final = "1.0"

REQUEST_ID_OFFSET: Final = 1
RESOLUTION_ID_OFFSET: Final = 2
"""Where a resolve's ids stand in its block; its trace_id is the first."""

_REQUEST_ID_END: Final = f"{REQUEST_ID_OFFSET:04x}"
_RESOLUTION_ID_END: Final = f"{RESOLUTION_ID_OFFSET:04x}"

DecisionType: TypeAlias = Literal["allow", "deny", "partial", "requires_approval"]
ExecuteStatus: TypeAlias = Literal["success", "error", "denied", "pending_approval"]


def compact_json(value: Json) -> str:
    """Return JSON text without white space, non-ASCII as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The whole resolution in one word; `expires_at` stands when a time window ends it early."""

    type: DecisionType
    reason: str | None = None
    approval_id: str | None = None
    expires_at: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the protocol's JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextBlock:
    """One piece of context for the agent."""

    block_id: str
    source: str
    content_type: str
    content: str
    priority: int
    token_estimate: int

    def to_json(self) -> str:
        """Return the protocol's JSON object as text."""
        return compact_json(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedAction:
    """One action that may be executed under the resolution."""

    action_id: str
    name: str
    description: str
    parameters_schema: Json
    returns_schema: Json
    risk_tier: str
    requires_confirmation: bool
    idempotent: bool
    rate_limit: RateLimit | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the protocol's JSON object; rate_limit only where the action has one."""
        members: dict[str, Json] = {
            "action_id": self.action_id,
            "name": self.name,
            "description": self.description,
            "parameters_schema": self.parameters_schema,
            "returns_schema": self.returns_schema,
            "risk_tier": self.risk_tier,
            "requires_confirmation": self.requires_confirmation,
            "idempotent": self.idempotent,
        }
        if self.rate_limit is not None:
            members["rate_limit"] = self.rate_limit.model_dump()
        return members


@dataclass(frozen=True, slots=True)
class DeniedAction:
    """One action that may not, why, and by which policy."""

    action_id: str
    reason: str
    policy_id: str

    def to_dict(self) -> dict[str, Json]:
        """Return the protocol's JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A limit that stands over the allowed actions."""

    constraint_id: str
    type: str
    parameters: dict[str, Json] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Json]:
        """Return the protocol's JSON object."""
        return {
            "constraint_id": self.constraint_id,
            "type": self.type,
            "parameters": dict(self.parameters),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was decided, shared by every resolution that one plan gives."""

    decision: Decision
    allowed_actions: tuple[AllowedAction, ...]
    denied_actions: tuple[DeniedAction, ...]
    constraints: tuple[Constraint, ...]
    ttl_seconds: int
    json_before_context: str
    """`"decision":{...},"context_blocks":`"""
    json_after_context: str
    """`,"allowed_actions":[...], ... ,"ttl_seconds":n`"""


@dataclass(frozen=True, slots=True)
class SelectedContext:
    """The context blocks of a resolution, with the texts that are the same each time they are selected.

    The JSON of each is shared and joined when it is asked for: remembered resolutions must not hold copies.
    """

    blocks: tuple[ContextBlock, ...]
    block_jsons: tuple[str, ...]
    events: tuple[tuple[str, str], ...]
    """Each its type and canonical payload: context.injected in the blocks' order, then context.redacted for
    the files that their packs' budgets cut."""


class Resolution:
    """The answer to one resolve; its outcome and context are shared with others and never change.

    Texts of ids and times are made when they are read.

    Args:
        given_request_id: the caller's; None for the one of the resolve's own block.
        wall_ns: when it was decided, by the wall clock.
        elapsed_ns: the same moment on the timeline of its runtime, by which it expires.
    """

    __slots__ = ("base_id", "elapsed_ns", "given_request_id", "outcome", "selected", "wall_ns")

    def __init__(
        self,
        outcome: Outcome,
        selected: SelectedContext,
        base_id: int,
        given_request_id: int | None,
        wall_ns: int,
        elapsed_ns: int,
    ) -> None:
        self.outcome = outcome
        self.selected = selected
        self.base_id = base_id
        self.given_request_id = given_request_id
        self.wall_ns = wall_ns
        self.elapsed_ns = elapsed_ns

    @property
    def trace_id(self) -> str:
        """The trace that the resolve's events share."""
        return f"{block_stem(self.base_id)}0000"

    @property
    def resolution_id(self) -> str:
        """What an execute names."""
        return f"{block_stem(self.base_id)}{_RESOLUTION_ID_END}"

    @property
    def request_id(self) -> str:
        """The caller's, or one made for it."""
        given = self.given_request_id
        return f"{block_stem(self.base_id)}{_REQUEST_ID_END}" if given is None else uuid_text(given)

    @property
    def timestamp(self) -> str:
        """When it was decided, `YYYY-MM-DDTHH:MM:SS.ffffffZ`."""
        return timestamp_text(self.wall_ns)

    @property
    def decision(self) -> Decision:
        """The decision in one word."""
        return self.outcome.decision

    @property
    def context_blocks(self) -> tuple[ContextBlock, ...]:
        """By priority, highest first, then atlas order."""
        return self.selected.blocks

    @property
    def allowed_actions(self) -> tuple[AllowedAction, ...]:
        """In manifest order."""
        return self.outcome.allowed_actions

    @property
    def denied_actions(self) -> tuple[DeniedAction, ...]:
        """In manifest order."""
        return self.outcome.denied_actions

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The limits that stand over the candidates."""
        return self.outcome.constraints

    @property
    def ttl_seconds(self) -> int:
        """How long an execute may name it; 0-86400."""
        return self.outcome.ttl_seconds

    def to_json(self) -> str:
        """Return the protocol's JSON object as text, joined from shared fragments."""
        outcome = self.outcome
        stem = block_stem(self.base_id)
        return (
            f'{{"carp_version":"{CARP_VERSION}","resolution_id":"{stem}{_RESOLUTION_ID_END}",'
            f'"request_id":"{self.request_id}","timestamp":"{timestamp_text(self.wall_ns)}"'
            f",{outcome.json_before_context}[{','.join(self.selected.block_jsons)}]"
            f"{outcome.json_after_context}"
            f',"trace_id":"{stem}0000"}}'
        )

    def to_dict(self) -> dict[str, Json]:
        """Return the protocol's JSON object."""
        members: dict[str, Json] = json.loads(self.to_json())
        return members

    def __repr__(self) -> str:
        return (
            f"<Resolution {self.resolution_id} {self.decision.type}: "
            f"{len(self.allowed_actions)} allowed, {len(self.denied_actions)} denied>"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteResponse:
    """The answer to one execute. A denial is such an answer, with `error` telling why.

    `result_findings`, each {pointer, code, message} and at most 32, tell where the result does not fit the
    action's returns_schema; the JSON has them only then.
    """

    execution_id: str
    request_id: str
    resolution_id: str
    timestamp: str
    status: ExecuteStatus
    trace_id: str
    result: Json = None
    error: dict[str, Json] | None = None
    result_findings: tuple[dict[str, Json], ...] = ()

    def to_dict(self) -> dict[str, Json]:
        """Return the protocol's JSON object."""
        told = {"result_findings": list(self.result_findings)} if self.result_findings else {}
        return {
            "carp_version": CARP_VERSION,
            "execution_id": self.execution_id,
            "request_id": self.request_id,
            "resolution_id": self.resolution_id,
            "timestamp": self.timestamp,
            "status": self.status,
            "result": self.result,
            "error": self.error,
            "trace_id": self.trace_id,
            **told,
        }

    def to_json(self) -> str:
        """Return the protocol's JSON object as text."""
        return compact_json(self.to_dict())
