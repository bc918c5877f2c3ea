"""What a case file holds, area by area (specs/conformance/README.md says what each member means).

The models refuse unknown members, so that a misspelt expectation cannot pass unnoticed. `Input` is what an
implementation gets to see; what is expected stays with the runner.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from ..errors import Json
from ..model.atlas import Strict

AREAS: Final = (
    "schema",
    "canonical-json",
    "hash-chain",
    "policy",
    "context",
    "resolution",
    "execution",
    "approval",
)
"""The areas whose cases are single files, in the order in which they run."""

GOLDEN: Final = "golden"

CaseId: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)+$", max_length=100)
]
Clause: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+){1,2}$")]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=50)]
Moment: TypeAlias = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$",
    ),
]
Algorithm: TypeAlias = Literal["sha256", "blake3"]

DEFAULT_CLOCK: Final = "2024-12-28T12:00:00Z"
"""A Saturday."""


class Refusal(Strict):
    """An error that the protocol prescribes: its code, and where it is told the pointer of the culprit.

    `pointers` are those of all findings, in any order. `finding` is the code of the first.
    """

    code: str
    pointer: str | None = None
    pointers: tuple[str, ...] | None = None
    finding: str | None = None


class DocumentInput(Strict):
    """A document as a JSON value, as text, or as bytes in hex where text cannot hold it."""

    document: Literal["atlas", "request", "event"]
    value: Json = None
    text: str | None = None
    hex: str | None = None

    @model_validator(mode="after")
    def _is_given_once(self) -> DocumentInput:
        if len(self.model_fields_set & {"value", "text", "hex"}) != 1:
            raise ValueError("give one of `value`, `text` and `hex`")
        return self


class ParametersInput(Strict):
    """A value that is held to a JSON Schema, as execute holds parameters to an action's."""

    document: Literal["parameters"]
    json_schema: Annotated[Json, Field(alias="schema")]
    value: Json


class CanonicalInput(Strict):
    """JSON text whose canonical text is asked for."""

    json_text: Annotated[str, Field(alias="json")]


class EventInput(Strict):
    """An event's fields without its hash; `payload_json` is the canonical text of its payload."""

    event_id: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    session_id: str
    sequence: int
    timestamp: str
    event_type: str
    payload_json: str
    previous_event_hash: str


class HashInput(Strict):
    """One event to be hashed."""

    event: EventInput
    algorithm: Algorithm


class TraceInput(Strict):
    """A trace to be verified: lines without their line feeds, the whole text, or the bytes in hex."""

    lines: tuple[str, ...] | None = None
    text: str | None = None
    hex: str | None = None

    @model_validator(mode="after")
    def _is_given_once(self) -> TraceInput:
        if len(self.model_fields_set) != 1:
            raise ValueError("give one of `lines`, `text` and `hex`")
        return self


class Call(Strict):
    """A call that is made, and must succeed, before the question is asked."""

    action_id: str
    parameters: dict[str, Json] = Field(default_factory=dict)


class Agent(Strict):
    """Whose session it is."""

    agent_id: str = "agent-1"
    goal: str = "work"


class Question(Strict):
    """The arguments of one resolve; what is absent is as absent there."""

    goal: str = "work"
    risk_tier: str | None = None
    required_capabilities: tuple[str, ...] | None = None
    context_hints: tuple[str, ...] | None = None
    atlas_ids: tuple[str, ...] | None = None
    context: dict[str, Json] | None = None


class DecisionInput(Strict):
    """One resolve in a new session over these atlases, at this time."""

    clock: Moment = DEFAULT_CLOCK
    atlases: tuple[dict[str, Json], ...]
    session: Agent = Agent()
    calls_before: tuple[Call, ...] = ()
    resolve: Question = Question()


class _Step(Strict):
    """What every step may say: a name for its answer, and what is expected of it."""

    named: Annotated[Name | None, Field(alias="as")] = None
    expect: Json = None
    refused: Refusal | None = None


class LoadAtlas(_Step):
    """Load an atlas; answers its atlas_id and version."""

    do: Literal["load_atlas"]
    atlas: dict[str, Json]


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


class Request(_Step):
    """Hand in a whole CARPRequest; answers a resolution or an execute response."""

    do: Literal["request"]
    request: dict[str, Json]


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


class StepsInput(Strict):
    """Steps that are taken one after the other, from that time on, by one runtime."""

    clock: Moment = DEFAULT_CLOCK
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


Input: TypeAlias = (
    DocumentInput | ParametersInput | CanonicalInput | HashInput | TraceInput | DecisionInput | StepsInput
)


class Case(Strict):
    """One case. Where `refused` stands, the input must be refused with it; else the answer is `expected`.

    Steps carry what is expected of each.
    """

    id: CaseId
    clauses: Annotated[tuple[Clause, ...], Field(min_length=1)]
    description: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    requires: tuple[Literal["blake3"], ...] = ()
    input: Json
    expected: Json = None
    refused: Refusal | None = None


class _SchemaCase(Case):
    input: DocumentInput | ParametersInput


class _CanonicalCase(Case):
    input: CanonicalInput


class _ChainCase(Case):
    input: HashInput | TraceInput


class _DecisionCase(Case):
    input: DecisionInput


class _StepsCase(Case):
    input: StepsInput


class _File(Strict):
    about: Annotated[str, StringConstraints(min_length=1)]


class SchemaFile(_File):
    """Documents that are valid, and documents that are not."""

    area: Literal["schema"]
    cases: Annotated[tuple[_SchemaCase, ...], Field(min_length=1)]


class CanonicalFile(_File):
    """Canonical JSON."""

    area: Literal["canonical-json"]
    cases: Annotated[tuple[_CanonicalCase, ...], Field(min_length=1)]


class ChainFile(_File):
    """Hashes of events, and verdicts on traces."""

    area: Literal["hash-chain"]
    cases: Annotated[tuple[_ChainCase, ...], Field(min_length=1)]


class DecisionFile(_File):
    """Answers to one resolve."""

    area: Literal["policy", "context", "resolution"]
    cases: Annotated[tuple[_DecisionCase, ...], Field(min_length=1)]


class StepsFile(_File):
    """Whole conversations."""

    area: Literal["execution", "approval"]
    cases: Annotated[tuple[_StepsCase, ...], Field(min_length=1)]


CaseFile: TypeAlias = Annotated[
    SchemaFile | CanonicalFile | ChainFile | DecisionFile | StepsFile, Field(discriminator="area")
]


class GoldenInput(Strict):
    """A whole session that is compared byte for byte: `golden/NAME/input.json`.

    Its answers stand beside it in answers.json, its traces in `NAME.trace.jsonl` for each name of a session.
    """

    id: CaseId
    clauses: Annotated[tuple[Clause, ...], Field(min_length=1)]
    description: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    requires: tuple[Literal["blake3"], ...] = ()
    input: StepsInput
