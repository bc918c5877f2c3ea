"""A CARP request (PROTOCOL 2.1)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator

from ..errors import Json
from .atlas import AtlasId, CapabilityId, Strict, Tier
from .limits import MAX_AGENT_ID_CHARS, MAX_GOAL_CHARS, MAX_HINTS, MAX_REQUIRED_CAPABILITIES

_MAX_TIMESTAMP_CHARS: Final = 64

# RFC 3339, of which datetime reads a superset that grows with Python's version (week dates, 24:00, `+01`).
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def _has_zone(text: str) -> str:
    """Refuse a timestamp that is not RFC 3339 with a zone. No second is a 60th."""
    if len(text) > _MAX_TIMESTAMP_CHARS or not _RFC_3339.fullmatch(text):
        raise ValueError("must be an RFC 3339 date and time with a zone")
    datetime.fromisoformat(text.upper())
    return text


Uuid = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
]


class Requester(Strict):
    """Who asks."""

    agent_id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_AGENT_ID_CHARS)]
    session_id: Uuid
    parent_session_id: Uuid | None = None


class Task(Strict):
    """What for."""

    goal: Annotated[str, StringConstraints(min_length=1, max_length=MAX_GOAL_CHARS)]
    risk_tier: Tier = "low"
    context_hints: Annotated[tuple[str, ...], Field(max_length=MAX_HINTS)] = ()
    required_capabilities: Annotated[
        tuple[CapabilityId, ...], Field(max_length=MAX_REQUIRED_CAPABILITIES)
    ] = ()


class Execution(Strict):
    """Which action of which resolution to run."""

    resolution_id: Uuid
    action_id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    parameters: dict[str, Json]
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None


class CARPRequest(Strict):
    """A whole request; `execution` stands with execute, may stand with validate, and never with resolve."""

    carp_version: Literal["1.0"]
    request_id: Uuid
    timestamp: Annotated[
        str,
        AfterValidator(_has_zone),
        WithJsonSchema({"type": "string", "format": "date-time", "maxLength": _MAX_TIMESTAMP_CHARS}),
    ]
    operation: Literal["resolve", "execute", "validate"]
    requester: Requester
    task: Task
    atlas_ids: tuple[AtlasId, ...] | None = None
    context: dict[str, Json] | None = None
    execution: Execution | None = None

    @model_validator(mode="after")
    def _execution_stands_with_execute(self) -> CARPRequest:
        if self.operation == "execute" and self.execution is None:
            raise ValueError("operation `execute` needs `execution`")
        if self.operation == "resolve" and self.execution is not None:
            raise ValueError("operation `resolve` has no `execution`")
        return self
