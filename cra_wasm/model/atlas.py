"""An atlas: the actions, capabilities, policies and context of one domain (PROTOCOL 1).

The models are strict (no coercion), frozen, and refuse unknown fields. They check what one field can tell;
`atlas.loader` checks what takes several.
"""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from ..errors import Json
from .redaction import MAX_REDACTIONS
from .versions import parse_range

MAX_LIST: Final = 10_000
"""Most entries of any list in an atlas."""

MAX_DEPENDENCIES: Final = 100

_SEMVER: Final = (
    r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$"
)


RISK_TIERS: Final = ("low", "medium", "high", "critical")
"""How much harm an action or a task can do, least first; the higher of the two counts."""

Tier: TypeAlias = Literal["low", "medium", "high", "critical"]
Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
PolicyType: TypeAlias = Literal["allow", "deny", "rate_limit", "require_approval", "budget", "scope"]


def _visible(text: str) -> str:
    """Refuse text without a visible character."""
    if not text.strip():
        raise ValueError("must hold a visible character")
    return text


def _readable_range(text: str) -> str:
    """Refuse text that is no version range."""
    parse_range(text)
    return text


def _whole_as_int(number: float) -> float:
    """Keep `10` as it was written, not as `10.0`."""
    return int(number) if number.is_integer() else number


AtlasId: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(\.[a-z][a-z0-9-]*)+$", max_length=255)
]
ActionId: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+$", max_length=255)
]
CapabilityId: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)*$", max_length=255)
]
SemVer: TypeAlias = Annotated[str, StringConstraints(pattern=_SEMVER, max_length=255)]
VersionRange: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=255), AfterValidator(_readable_range)
]
ContextFile: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^context(/[A-Za-z0-9_][A-Za-z0-9._-]*)+\.(md|txt|json)$", max_length=255),
]
"""A path in a package. No segment begins with a dot, so none leads out of `context/`."""

Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_visible)]
Text: TypeAlias = Annotated[str, StringConstraints(max_length=1000)]
Identifier: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:#-]*$", max_length=255)
]
Glob: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Keyword: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_visible)]
JsonPointer: TypeAlias = Annotated[str, StringConstraints(pattern=r"^(/([^~/]|~0|~1)*)*$", max_length=255)]
Priority: TypeAlias = Annotated[int, Field(ge=0, le=1000)]
PositiveFinite: TypeAlias = Annotated[
    float, Field(gt=0, le=1e9, allow_inf_nan=False), AfterValidator(_whole_as_int)
]
Cost: TypeAlias = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False), AfterValidator(_whole_as_int)]


Listed = TypeVar("Listed")
Many: TypeAlias = Annotated[tuple[Listed, ...], Field(max_length=MAX_LIST)]


class Strict(BaseModel):
    """Shared configuration: nothing coerced, nothing unknown, nothing changed after it was made."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def _time_of_day(text: object) -> object:
    """Read `HH:MM`; 24:00 is written 00:00."""
    if not isinstance(text, str) or not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError("must be `HH:MM` between 00:00 and 23:59")
    return time(int(text[:2]), int(text[3:]))


TimeOfDay: TypeAlias = Annotated[
    time,
    BeforeValidator(_time_of_day),
    PlainSerializer(lambda moment: f"{moment:%H:%M}", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}),
]


class TimeWindow(Strict):
    """Hours of the day in which a policy holds; a window whose end is before its start crosses midnight.

    `days` names the days on which the window starts; absent means all. Equal start and end is a whole day.
    """

    start: TimeOfDay
    end: TimeOfDay
    timezone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "UTC"
    days: Many[Day] | None = None


class Conditions(Strict):
    """All that are present must hold (PROTOCOL 1.7)."""

    risk_tiers: Many[Tier] | None = None
    agents: Many[Glob] | None = None
    capabilities: Many[CapabilityId] | None = None
    context_matches: dict[str, Glob] | None = None
    time_window: TimeWindow | None = None


class RateLimit(Strict):
    """At most `max_calls` in any `window_seconds`."""

    max_calls: Annotated[int, Field(ge=0, le=1_000_000)]
    window_seconds: PositiveFinite


class Example(Strict):
    """A call that a reader can copy."""

    name: Name
    parameters: dict[str, Json]
    expected_result: Json = None


class Action(Strict):
    """One thing an agent can do."""

    action_id: ActionId
    name: Name
    description: Text
    parameters_schema: Json = None
    returns_schema: Json = None
    risk_tier: Tier = "low"
    idempotent: bool = False
    requires_confirmation: bool = False
    executor: Annotated[str, StringConstraints(max_length=255)] | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 30
    rate_limit: RateLimit | None = None
    examples: Many[Example] = ()


class Capability(Strict):
    """A named set of actions and context packs."""

    capability_id: CapabilityId
    name: Name
    description: Text = ""
    actions: Many[ActionId] = ()
    context_packs: Many[Identifier] = ()


class ContextBlock(Strict):
    """Text that an agent should know, with the triggers that bring it in; without any it always comes."""

    context_id: Identifier
    name: Name
    content: Annotated[str, StringConstraints(max_length=100_000)]
    content_type: Literal["text/markdown", "text/plain", "application/json"] = "text/markdown"
    priority: Priority = 100
    keywords: Many[Keyword] = ()
    risk_tiers: Many[Tier] = ()
    inject_when: Many[Glob] = ()
    conditions: Conditions | None = None


class ContextPack(Strict):
    """Files of a package that an agent should know together; whole files are cut to fit `max_tokens`."""

    pack_id: Identifier
    name: Name
    files: Annotated[Many[ContextFile], Field(min_length=1)]
    priority: Priority = 100
    conditions: Conditions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None


class PolicyParameters(Strict):
    """The parameters of all policy types; `Policy` checks which belong to which type.

    `redact` points at members that are taken out of events' payloads, whatever the type (PROTOCOL 3.9);
    `redact_hash` leaves the hash of each in its place.

    `cost` is what each call costs; `cost_parameter` points into the call's parameters instead. A budget's
    `scope` says whose calls are counted together.
    """

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None
    max_calls: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    window_seconds: PositiveFinite | None = None
    max_cost: Cost | None = None
    cost: Cost | None = None
    cost_parameter: JsonPointer | None = None
    scope: Literal["session", "agent", "atlas"] | None = None
    actions: Many[Glob] | None = None
    capabilities: Many[CapabilityId] | None = None
    expires_in_seconds: Annotated[int, Field(ge=1, le=604_800)] | None = None
    uses: Annotated[int, Field(ge=1, le=1000)] | None = None
    redact: Annotated[tuple[JsonPointer, ...], Field(max_length=MAX_REDACTIONS)] | None = None
    redact_hash: bool | None = None


OF_ANY_TYPE: Final = frozenset({"redact", "redact_hash"})
PARAMETERS_OF: Final[dict[str, frozenset[str]]] = {
    "allow": frozenset({"reason"}),
    "deny": frozenset({"reason"}),
    "rate_limit": frozenset({"reason", "max_calls", "window_seconds"}),
    "require_approval": frozenset({"reason", "expires_in_seconds", "uses"}),
    "budget": frozenset(
        {"reason", "max_calls", "max_cost", "cost", "cost_parameter", "scope", "window_seconds"}
    ),
    "scope": frozenset({"reason", "actions", "capabilities"}),
}
"""Which parameters a policy of each type may have (PROTOCOL 1.6)."""


class Policy(Strict):
    """A rule over the actions of its own atlas."""

    policy_id: Identifier
    type: PolicyType
    name: Name | None = None
    description: Text = ""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    conditions: Conditions | None = None
    actions: Many[Glob] | None = None
    parameters: PolicyParameters = PolicyParameters()

    @model_validator(mode="after")
    def _parameters_fit_the_type(self) -> Policy:
        given = self.parameters.model_fields_set
        foreign = sorted(given - PARAMETERS_OF[self.type] - OF_ANY_TYPE)
        if foreign:
            raise ValueError(f"a {self.type} policy has no parameter `{foreign[0]}`")
        # A null sets no limit: it is as good as absent where one is needed.
        given = {name for name in given if getattr(self.parameters, name) is not None}
        if "redact_hash" in given and "redact" not in given:
            raise ValueError("`redact_hash` says how to redact: it needs `redact`")
        if self.type == "rate_limit" and not {"max_calls", "window_seconds"} <= given:
            raise ValueError("a rate_limit policy needs `max_calls` and `window_seconds`")
        if self.type == "budget":
            self._check_budget(given)
        if self.type == "scope" and not given & {"actions", "capabilities"}:
            raise ValueError("a scope policy needs `actions` or `capabilities` in its parameters")
        return self

    def _check_budget(self, given: set[str]) -> None:
        if not given & {"max_calls", "max_cost"}:
            raise ValueError("a budget policy needs `max_calls` or `max_cost`")
        if {"cost", "cost_parameter"} <= given:
            raise ValueError("a budget policy has `cost` or `cost_parameter`, not both")
        if "max_cost" in given and not given & {"cost", "cost_parameter"}:
            raise ValueError("a budget policy with `max_cost` needs `cost` or `cost_parameter`")


class Atlas(Strict):
    """A whole manifest."""

    atlas_version: Literal["1.0"]
    atlas_id: AtlasId
    version: SemVer
    name: Name
    description: Text
    authors: Many[Json] = ()
    license: Annotated[str, StringConstraints(max_length=255)] | None = None
    homepage: Annotated[str, StringConstraints(max_length=2000)] | None = None
    repository: Annotated[str, StringConstraints(max_length=2000)] | None = None
    domains: Many[str] = ()
    dependencies: Annotated[dict[AtlasId, VersionRange], Field(max_length=MAX_DEPENDENCIES)] = {}
    capabilities: Many[Capability] = ()
    context_packs: Many[ContextPack] = ()
    context_blocks: Many[ContextBlock] = ()
    policies: Many[Policy] = ()
    actions: Many[Action] = ()
    adapters: dict[str, Json] = {}
    metadata: dict[str, Json] = {}
