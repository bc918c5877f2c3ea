"""What a case file holds, area by area (specs/conformance/README.md says what each member means).

The models refuse unknown members, so that a misspelt expectation cannot pass unnoticed. A case's `input`
is what an implementation gets to see; what is expected stays with the runner.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from ..errors import Json
from ..model.atlas import Strict
from .step import Step
from .terms import DEFAULT_CLOCK, Algorithm, Extension, Moment, Refusal

AREAS: Final = (
    "schema",
    "canonical-json",
    "hash-chain",
    "policy",
    "context",
    "resolution",
    "execution",
    "approval",
    "replay",
    "diff",
    "profile",
)
"""The areas whose cases are single files, in the order in which they run."""

GOLDEN: Final = "golden"

CaseId: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)+$", max_length=100)
]
Clause: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+){1,2}$")]


class DocumentInput(Strict):
    """A document as a JSON value, as text, or as bytes in hex where text cannot hold it; an atlas also as the
    files of a package. Only an atlas can be read leniently.
    """

    document: Literal["atlas", "request", "event"]
    value: Json = None
    text: str | None = None
    hex: str | None = None
    files: dict[str, Json] | None = None
    lenient: bool = False

    @model_validator(mode="after")
    def _is_given_once(self) -> DocumentInput:
        if len(self.model_fields_set & {"value", "text", "hex", "files"}) != 1:
            raise ValueError("give one of `value`, `text`, `hex` and `files`")
        if self.document != "atlas" and (self.lenient or self.files is not None):
            raise ValueError("only an atlas has `files`, or is read leniently")
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


class ProfileInput(TraceInput):
    """A trace to be verified by the recipe of a profile, or by the one that fits."""

    profile: str

    @model_validator(mode="after")
    def _is_given_once(self) -> ProfileInput:
        if len(self.model_fields_set - {"profile"}) != 1:
            raise ValueError("give one of `lines`, `text` and `hex`")
        return self


Lines: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1)]
"""A trace's lines without their line feeds."""


class ReplayInput(Strict):
    """Traces of one runtime to be decided anew over these atlases."""

    traces: Annotated[tuple[Lines, ...], Field(min_length=1)]
    atlases: tuple[dict[str, Json], ...]
    need_not_verify: bool = False
    complete: bool = False
    parameters: tuple[dict[str, Json], ...] = ()


class DiffInput(Strict):
    """Two traces to be compared."""

    a: Lines
    b: Lines


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


class StepsInput(Strict):
    """Steps that are taken one after the other, from that time on, by one runtime."""

    clock: Moment = DEFAULT_CLOCK
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class Case(Strict):
    """One case. Where `refused` stands, the input must be refused with it; else the answer is `expected`.

    Steps carry what is expected of each.
    """

    id: CaseId
    clauses: Annotated[tuple[Clause, ...], Field(min_length=1)]
    description: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    requires: tuple[Extension, ...] = ()
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


class _ReplayCase(Case):
    input: ReplayInput


class _DiffCase(Case):
    input: DiffInput


class _ProfileCase(Case):
    input: ProfileInput


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


class ReplayFile(_File):
    """Traces that are decided anew."""

    area: Literal["replay"]
    cases: Annotated[tuple[_ReplayCase, ...], Field(min_length=1)]


class DiffFile(_File):
    """Pairs of traces that are compared."""

    area: Literal["diff"]
    cases: Annotated[tuple[_DiffCase, ...], Field(min_length=1)]


class ProfileFile(_File):
    """Traces of other writers."""

    area: Literal["profile"]
    cases: Annotated[tuple[_ProfileCase, ...], Field(min_length=1)]


CaseFile: TypeAlias = Annotated[
    SchemaFile | CanonicalFile | ChainFile | DecisionFile | StepsFile | ReplayFile | DiffFile | ProfileFile,
    Field(discriminator="area"),
]


class GoldenInput(Strict):
    """A whole session that is compared byte for byte: `golden/NAME/input.json`.

    Its answers stand beside it in answers.json, its traces in `NAME.trace.jsonl` for each name of a session.
    """

    id: CaseId
    clauses: Annotated[tuple[Clause, ...], Field(min_length=1)]
    description: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    requires: tuple[Extension, ...] = ()
    input: StepsInput
