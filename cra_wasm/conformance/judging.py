"""Is an answer what its case expects? The runner asks this, never the implementation."""

from __future__ import annotations

from typing import Final, get_args

from ..errors import Json
from .matching import difference, shown
from .references import NoSuchAnswer, with_answers
from .suite import GoldenFiles, StepExpectation, SuiteCase
from .terms import Extension, Refusal

_OUTCOMES: Final = {"answer", "refused", "skipped"}
EXTENSIONS: Final = frozenset(get_args(Extension))
"""What an implementation may leave out: cases that require it may be skipped, all others not."""


def is_skipped(case: SuiteCase, answer: Json) -> bool:
    """Whether the implementation leaves the case out, and may."""
    return bool(EXTENSIONS.intersection(case.requires)) and isinstance(answer, dict) and "skipped" in answer


def find_fault(case: SuiteCase, answer: Json) -> str | None:
    """Return what is wrong with an answer; None when the case is passed."""
    if not isinstance(answer, dict) or len(_OUTCOMES & answer.keys()) != 1:
        return "the answer has not one of `answer`, `refused` and `skipped`"
    if answer.get("id") != case.id:
        return f"the answer is not to `{case.id}`"
    if "skipped" in answer:
        return f"only a case that requires {' or '.join(sorted(EXTENSIONS))} may be skipped"
    if case.refused is not None:
        return _refusal_fault(case.refused, answer)
    if "refused" in answer:
        return f"refused with {shown(answer['refused'])}"
    if case.golden is not None:
        return _golden_fault(case.golden, answer["answer"])
    if case.steps:
        return _steps_fault(case.steps, answer["answer"])
    return difference(case.expected, answer["answer"])


def _refusal_fault(expected: Refusal, outcome: dict[str, Json]) -> str | None:
    told = outcome.get("refused")
    if not isinstance(told, dict):
        return f"it was not refused, expected {expected.code}"
    wanted: dict[str, Json] = {"code": expected.code}
    if expected.pointer is not None:
        wanted["pointer"] = expected.pointer
    fault = difference(wanted, told, whole=False)
    of_findings = (expected.pointers, expected.finding, expected.file)
    if fault is None and any(one is not None for one in of_findings):
        return _findings_fault(expected, told.get("findings"))
    return fault


def _findings_fault(expected: Refusal, findings: Json) -> str | None:
    if not isinstance(findings, list) or not all(isinstance(one, dict) for one in findings) or not findings:
        return "it tells no findings"
    if expected.finding is not None and findings[0].get("code") != expected.finding:
        return f"the first finding's code is {findings[0].get('code')!r}, expected {expected.finding!r}"
    if expected.file is not None and findings[0].get("file") != expected.file:
        return f"the first finding is in {findings[0].get('file')!r}, expected {expected.file!r}"
    if expected.pointers is not None:
        return difference(sorted(expected.pointers), sorted(str(one.get("pointer")) for one in findings))
    return None


def _steps_fault(steps: tuple[StepExpectation, ...], answer: Json) -> str | None:
    outcomes = answer.get("steps") if isinstance(answer, dict) else None
    if not isinstance(outcomes, list):
        return "the answer has no list `steps`"
    known: dict[str, Json] = {}
    for number, (step, outcome) in enumerate(zip(steps, outcomes, strict=False)):
        fault = _step_fault(step, outcome, known)
        if fault is not None:
            return f"step {number} ({step.do}): {fault}"
    return difference(len(steps), len(outcomes), pointer="/steps (their number)")


def _step_fault(step: StepExpectation, outcome: Json, known: dict[str, Json]) -> str | None:
    if not isinstance(outcome, dict):
        return "its outcome is no object"
    if step.refused is not None:
        return _refusal_fault(step.refused, outcome)
    if "answer" not in outcome:
        return f"expected an answer, got {shown(outcome)}"
    try:
        expected = with_answers(step.expect, known)
    except NoSuchAnswer as missing:
        return str(missing)
    if step.named is not None:
        known[step.named] = outcome["answer"]
    return difference(expected, outcome["answer"], whole=False)


def _golden_fault(golden: GoldenFiles, answer: Json) -> str | None:
    if not isinstance(answer, dict):
        return "the answer is no object"
    return difference(golden.steps, answer.get("steps"), pointer="/steps") or difference(
        golden.traces, answer.get("traces"), pointer="/traces"
    )
