"""The cases of a folder, read and checked before any of them runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from ..errors import CRAError, InvalidInput, Json, NotFound
from ..model.parse import findings_error, findings_of, parse_json
from .case import AREAS, GOLDEN, CaseFile, GoldenInput
from .terms import Refusal

_FILE: Final[TypeAdapter[Any]] = TypeAdapter(CaseFile)
_GOLDEN: Final[TypeAdapter[Any]] = TypeAdapter(GoldenInput)
_TRACE: Final = ".trace.jsonl"
_OF_THE_RUNNER: Final = ("expect", "refused")
"""Members of a step that an implementation does not get to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExpectation:
    """What one step is expected to answer, under the name that later steps and expectations know it by."""

    do: str
    named: str | None
    expect: Json
    refused: Refusal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFiles:
    """What a golden session must answer to the byte: each step's outcome, each trace's lines."""

    steps: Json
    traces: dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteCase:
    """One case: `input` is what is asked, the rest is the runner's."""

    id: str
    area: str
    clauses: tuple[str, ...]
    description: str
    requires: tuple[str, ...]
    input: Json
    expected: Json = None
    refused: Refusal | None = None
    steps: tuple[StepExpectation, ...] = ()
    golden: GoldenFiles | None = None


def load_suite(folder: Path, areas: Sequence[str] = ()) -> list[SuiteCase]:
    """Return all cases of a folder, or of some areas of it, in the order in which they run.

    Raises:
        NotFound: `cases_not_found`: no such folder, or nothing in an area.
        InvalidInput: `invalid_case` with the file, the pointer and all findings.
    """
    if not os.path.isdir(folder):  # False too for a name too long
        raise NotFound(
            "cases_not_found",
            f"no folder `{folder}`: the cases are no part of the installed package; run in a checkout, or"
            " give its specs/conformance with --cases",
        )
    found = []
    for area in areas or (*AREAS, GOLDEN):
        of_area = list(_golden_cases(folder / area) if area == GOLDEN else _file_cases(folder / area, area))
        if not of_area:
            raise NotFound("cases_not_found", f"no cases in `{folder / area}`")
        found += of_area
    _check_ids(found)
    return found


def _file_cases(folder: Path, area: str) -> Iterator[SuiteCase]:
    for path in sorted(folder.glob("*.json")):
        raw, file = _read(path, _FILE)
        if file.area != area:
            raise _bad(path, "/area", f"is `{file.area}`, but the file stands in `{area}`")
        for one, case in zip(raw["cases"], file.cases, strict=True):
            steps = getattr(case.input, "steps", None)
            if steps is None and ("expected" in one) == (case.refused is not None):
                raise _bad(path, f"/cases/{case.id}", "give either `expected` or `refused`")
            yield SuiteCase(
                id=case.id,
                area=area,
                clauses=case.clauses,
                description=case.description,
                requires=case.requires,
                input=_without_expectations(one["input"]),
                expected=case.expected,
                refused=case.refused,
                steps=_expectations(one["input"], steps),
            )


def _golden_cases(folder: Path) -> Iterator[SuiteCase]:
    for path in sorted(folder.glob("*/input.json")):
        raw, case = _read(path, _GOLDEN)
        traces = {
            one.name.removesuffix(_TRACE): _lines(one) for one in sorted(path.parent.glob(f"*{_TRACE}"))
        }
        answers = path.parent / "answers.json"
        try:
            steps = parse_json(answers.read_bytes(), code="invalid_case")
        except OSError:
            raise _bad(answers, "", "cannot be read") from None
        yield SuiteCase(
            id=case.id,
            area=GOLDEN,
            clauses=case.clauses,
            description=case.description,
            requires=case.requires,
            input=raw["input"],
            golden=GoldenFiles(steps=steps, traces=traces),
        )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise _bad(path, "", f"cannot be read: {error}") from None


def _read(path: Path, adapter: TypeAdapter[Any]) -> tuple[Json, Any]:
    try:
        raw = parse_json(path.read_bytes(), code="invalid_case")
        return raw, adapter.validate_json(json.dumps(raw))
    except ValidationError as error:
        refused: CRAError = findings_error("invalid_case", findings_of(error))
    except CRAError as error:
        refused = error
    except OSError as error:
        raise _bad(path, "", f"cannot be read: {error.strerror}") from None
    refused.details["file"] = str(path)
    raise refused


def _expectations(raw: Json, steps: Any) -> tuple[StepExpectation, ...]:
    return (
        tuple(
            StepExpectation(do=step.do, named=step.named, expect=one.get("expect", {}), refused=step.refused)
            for one, step in zip(raw["steps"], steps or (), strict=True)
        )
        if steps
        else ()
    )


def _without_expectations(raw: Json) -> Json:
    if "steps" not in raw:
        return raw
    steps = [{name: step[name] for name in step if name not in _OF_THE_RUNNER} for step in raw["steps"]]
    return {**raw, "steps": steps}


def _check_ids(cases: Sequence[SuiteCase]) -> None:
    seen: set[str] = set()
    for one in cases:
        if not one.id.startswith(f"{one.area}."):
            raise InvalidInput("invalid_case", f"the id `{one.id}` does not begin with `{one.area}.`")
        if one.id in seen:
            raise InvalidInput("invalid_case", f"the id `{one.id}` stands twice")
        seen.add(one.id)


def _bad(path: Path, pointer: str, message: str) -> InvalidInput:
    return InvalidInput("invalid_case", f"`{pointer}` {message}", pointer=pointer, file=str(path))
