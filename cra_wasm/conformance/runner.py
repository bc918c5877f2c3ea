"""Runs the cases and reports: who was asked, what passed, and which level that makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ..errors import Json
from ..model.timestamps import timestamp_text
from ..ports import Clock
from .case import GOLDEN
from .judging import find_fault, is_skipped
from .program import NoAnswer
from .suite import SuiteCase

Ask: TypeAlias = Callable[[dict[str, Json]], Json]
"""Takes {"id", "area", "input"}, returns the answer, or raises NoAnswer."""

LEVELS: Final = {
    "Atlas-Core": ("schema",),
    "CARP-Core": ("policy", "context", "resolution", "execution", "approval"),
    "TRACE-Core": ("canonical-json", "hash-chain", "replay", "diff", "profile", GOLDEN),
}
"""The areas of which no case may fail. All levels together are CRA-Minimal."""

ALL_LEVELS: Final = "CRA-Minimal"
NO_LEVEL: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one case."""

    case: SuiteCase
    status: Literal["passed", "failed", "skipped"]
    duration_ms: float
    error: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the report's JSON object; `error` and `details` only where there is something to tell."""
        told: dict[str, Json] = {
            "test_id": self.case.id,
            "status": self.status,
            "duration_ms": round(self.duration_ms, 3),
        }
        if self.error is not None:
            told["error"] = self.error
            told["details"] = {"clauses": list(self.case.clauses), "description": self.case.description}
        return told


def run_case(case: SuiteCase, ask: Ask) -> Result:
    """Ask one case and judge the answer."""
    started = time.perf_counter()
    status: Literal["passed", "failed", "skipped"] = "failed"
    try:
        answer = ask({"id": case.id, "area": case.area, "input": case.input})
    except NoAnswer as none:
        error: str | None = str(none)
    else:
        error = None if is_skipped(case, answer) else find_fault(case, answer)
        if error is None:
            status = "skipped" if is_skipped(case, answer) else "passed"
    duration_ms = (time.perf_counter() - started) * 1000
    return Result(case=case, status=status, duration_ms=duration_ms, error=error)


def run_suite(
    cases: Iterable[SuiteCase], ask: Ask, *, implementation: str, version: str, clock: Clock
) -> dict[str, Json]:
    """Run all cases and return the report (specs/conformance/README.md)."""
    begun = timestamp_text(clock.wall_ns())
    started = time.perf_counter()
    results = [run_case(one, ask) for one in cases]
    counts = {status: _count(results, status) for status in ("passed", "failed", "skipped")}
    return {
        "implementation": implementation,
        "version": version,
        "conformance_level": level_of(results),
        "test_run": {
            "timestamp": begun,
            "duration_ms": round((time.perf_counter() - started) * 1000, 3),
            "total": len(results),
            **counts,
        },
        "results": [one.to_dict() for one in results],
    }


def level_of(results: Sequence[Result]) -> str:
    """Return the levels that were reached, joined by commas: all their areas ran, and no case failed."""
    ran = {one.case.area for one in results if one.status == "passed"}
    failed = {one.case.area for one in results if one.status == "failed"}
    reached = [name for name, areas in LEVELS.items() if ran.issuperset(areas) and failed.isdisjoint(areas)]
    if len(reached) == len(LEVELS):
        return ALL_LEVELS
    return ", ".join(reached) or NO_LEVEL


def _count(results: Sequence[Result], status: str) -> int:
    return sum(one.status == status for one in results)
