"""What each kind of step says (specs/conformance/README.md): a step's `do` names its kind."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from ..errors import Json
from ..model.atlas import Strict
from .terms import Name, Refusal


class _Step(Strict):
    """What every step may say: a name for its answer, and what is expected of it."""

    named: Annotated[Name | None, Field(alias="as")] = None
    expect: Json = None
    refused: Refusal | None = None


class LoadAtlas(_Step):
    """Load an atlas, or a package of these files; answers its atlas_id and version, and read leniently its
    warnings."""

    do: Literal["load_atlas"]
    atlas: dict[str, Json] | None = None
    files: dict[str, Json] | None = None
    lenient: bool = False

    @model_validator(mode="after")
    def _is_given_once(self) -> LoadAtlas:
        if (self.atlas is None) == (self.files is None):
            raise ValueError("give one of `atlas` and `files`")
        return self


class UnloadAtlas(_Step):
    """Unload an atlas; answers nothing."""

    do: Literal["unload_atlas"]
    atlas_id: str


class Failure(Strict):
    """How an executor fails: with a code of its own, or with whatever its language raises."""

    code: str | None = None
    message: str


class RegisterExecutor(_Step):
    """Let an action's calls take time, then return a value, or their parameters, or fail; answers nothing."""

    do: Literal["register_executor"]
    action_id: str
    returns: Json = None
    returns_parameters: bool = False
    fails: Failure | None = None
    takes_seconds: float = 0


class CreateSession(_Step):
    """Start a session; answers its session_id."""

    do: Literal["create_session"]
    agent_id: str
    goal: str
    hash_algorithm: str | None = None
    parent: str | None = None


class EndSession(_Step):
    """End a session; answers the payload of session.ended."""

    do: Literal["end_session"]
    session: str
    reason: str = "completed"


class Resolve(_Step):
    """Resolve a goal; answers the resolution."""

    do: Literal["resolve"]
    session: str
    goal: str
    risk_tier: str | None = None
    required_capabilities: tuple[str, ...] | None = None
    context_hints: tuple[str, ...] | None = None
    atlas_ids: tuple[str, ...] | None = None
    context: dict[str, Json] | None = None
    reuse: bool = False


class Request(_Step):
    """Hand in a whole CARPRequest; answers a resolution or an execute response."""

    do: Literal["request"]
    request: dict[str, Json]


class Validate(_Step):
    """Ask what a request of any operation would be answered; answers findings without messages."""

    do: Literal["validate"]
    request: Json


class Execute(_Step):
    """Run an action; answers the execute response."""

    do: Literal["execute"]
    session: str
    resolution: str
    action_id: str
    parameters: Json = Field(default_factory=dict)
    idempotency_key: str | None = None


class ListApprovals(_Step):
    """List a session's approvals; answers `{"approvals": [...]}`."""

    do: Literal["approvals"]
    session: str


class Grant(_Step):
    """Grant an approval; answers the approval."""

    do: Literal["grant"]
    approval: str
    approver: str
    reason: str = ""
    expires_in_seconds: Json = None
    uses: Json = None


class Refuse(_Step):
    """Refuse an approval; answers the approval."""

    do: Literal["refuse"]
    approval: str
    approver: str
    reason: str = ""


class Emit(_Step):
    """Record an event of the host's own; answers nothing."""

    do: Literal["emit"]
    session: str
    event_type: str
    payload: Json


class Events(_Step):
    """Read a session's events from a sequence on; answers `{"events": [{sequence, event_type, payload}]}`."""

    do: Literal["events"]
    session: str
    since: int = 0


class Verify(_Step):
    """Verify a session's trace; answers the verdict."""

    do: Literal["verify"]
    session: str


class Advance(_Step):
    """Let time pass on both clocks; answers nothing."""

    do: Literal["advance"]
    seconds: float


class StepWall(_Step):
    """Set the wall clock forward or back; answers nothing."""

    do: Literal["step_wall"]
    seconds: float


Step: TypeAlias = Annotated[
    LoadAtlas
    | UnloadAtlas
    | RegisterExecutor
    | CreateSession
    | EndSession
    | Resolve
    | Request
    | Validate
    | Execute
    | ListApprovals
    | Grant
    | Refuse
    | Emit
    | Events
    | Verify
    | Advance
    | StepWall,
    Field(discriminator="do"),
]
