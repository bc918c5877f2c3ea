"""What operation validate answers (PROTOCOL 2.10)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from ..errors import Json
from .resolution import CARP_VERSION, Decision, compact_json

WouldStatus: TypeAlias = Literal["allowed", "pending_approval", "denied", "answered_before"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to refuse the request: the JSON Pointer of the culprit in it, a code, words for people."""

    pointer: str
    code: str
    message: str

    def to_dict(self) -> dict[str, Json]:
        """Return the protocol's JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldExecute:
    """What an execute would be answered. `answered_before`: its idempotency key stands for an answer.

    `reason` and `policy_id` tell who denies or wants an approval; `approval_id` is the one that the call
    waits for already; `retry_after_ms` is -1 when waiting for a full limit does not help.
    """

    status: WouldStatus
    reason: str | None = None
    policy_id: str | None = None
    approval_id: str | None = None
    retry_after_ms: int | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the protocol's JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateResponse:
    """The answer to operation validate. A request that would be denied is valid: a denial is an answer.

    Args:
        request_id: None when the request has none that can be read.
        findings: at most 100, in the order of the checks: the first is what the request would be refused for.
        findings_total: how many there were.
        decision: what a resolve would decide; None with findings, or when an execute was asked about.
        would_execute: what an execute would be answered; None with findings, or without `execution`.
    """

    request_id: str | None
    timestamp: str
    findings: tuple[Finding, ...] = ()
    findings_total: int = 0
    decision: Decision | None = None
    would_execute: WouldExecute | None = None

    @property
    def valid(self) -> bool:
        """Whether the request would be answered, be it with a denial."""
        return not self.findings

    def to_dict(self) -> dict[str, Json]:
        """Return the protocol's JSON object."""
        return {
            "carp_version": CARP_VERSION,
            "request_id": self.request_id,
            "timestamp": self.timestamp,
            "valid": self.valid,
            "findings": [finding.to_dict() for finding in self.findings],
            "findings_total": self.findings_total,
            "decision": None if self.decision is None else self.decision.to_dict(),
            "would_execute": None if self.would_execute is None else self.would_execute.to_dict(),
        }

    def to_json(self) -> str:
        """Return the protocol's JSON object as text."""
        return compact_json(self.to_dict())
