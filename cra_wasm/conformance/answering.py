"""What this project answers to a case: one JSON line in, one JSON line out (specs/conformance/README.md).

It sees a case's id, area and input, never what is expected of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from ..errors import BackendFailure, CRAError, Json
from ..model.parse import parse_json
from .case import (
    CanonicalInput,
    DecisionInput,
    DiffInput,
    DocumentInput,
    HashInput,
    ParametersInput,
    ProfileInput,
    ReplayInput,
    StepsInput,
    TraceInput,
)
from .chains import answer_chain, answer_profile
from .comparisons import answer_diff, answer_replay
from .decisions import answer_context, answer_policy, answer_resolution
from .documents import answer_canonical, answer_document
from .refusing import refusal_of
from .steps import answer_golden, answer_steps

_DOCUMENT: Final[TypeAdapter[Any]] = TypeAdapter(DocumentInput | ParametersInput)
_CANONICAL: Final[TypeAdapter[Any]] = TypeAdapter(CanonicalInput)
_CHAIN: Final[TypeAdapter[Any]] = TypeAdapter(HashInput | TraceInput)
_DECISION: Final[TypeAdapter[Any]] = TypeAdapter(DecisionInput)
_STEPS: Final[TypeAdapter[Any]] = TypeAdapter(StepsInput)
_REPLAY: Final[TypeAdapter[Any]] = TypeAdapter(ReplayInput)
_DIFF: Final[TypeAdapter[Any]] = TypeAdapter(DiffInput)
_PROFILE: Final[TypeAdapter[Any]] = TypeAdapter(ProfileInput)

_AREAS: Final[dict[str, tuple[TypeAdapter[Any], Callable[[Any], Json]]]] = {
    "schema": (_DOCUMENT, answer_document),
    "canonical-json": (_CANONICAL, answer_canonical),
    "hash-chain": (_CHAIN, answer_chain),
    "policy": (_DECISION, answer_policy),
    "context": (_DECISION, answer_context),
    "resolution": (_DECISION, answer_resolution),
    "execution": (_STEPS, answer_steps),
    "approval": (_STEPS, answer_steps),
    "replay": (_REPLAY, answer_replay),
    "diff": (_DIFF, answer_diff),
    "profile": (_PROFILE, answer_profile),
    "golden": (_STEPS, answer_golden),
}


def answer_case(question: dict[str, Json]) -> dict[str, Json]:
    """Return {"id", "answer"}, {"id", "refused"} or {"id", "skipped"} for {"id", "area", "input"}.

    Raises:
        ValidationError, KeyError: it is no such question; that is the runner's fault, not an answer.
    """
    adapter, answer = _AREAS[question["area"]]
    asked = adapter.validate_json(json.dumps(question["input"]))
    try:
        return {"id": question["id"], "answer": answer(asked)}
    except BackendFailure as error:
        return {"id": question["id"], "skipped": error.message}
    except CRAError as error:
        return {"id": question["id"], "refused": refusal_of(error)}


def answer_lines(lines: Iterable[str | bytes]) -> Iterator[str]:
    """Yield the answer to each line, as a line; what is no question gets an answer that says so."""
    for line in lines:
        try:
            answer = answer_case(parse_json(line, code="invalid_case"))
        except CRAError as error:
            answer = {"id": None, "refused": refusal_of(error)}
        except (ValidationError, KeyError, TypeError):
            answer = {"id": None, "refused": {"code": "invalid_case"}}
        yield json.dumps(answer)
