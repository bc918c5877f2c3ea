"""`cra-wasm conformance`: run the cases of specs/conformance, against this implementation or any other."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from .. import __version__
from ..conformance.answering import answer_case, answer_lines
from ..conformance.case import AREAS, GOLDEN
from ..conformance.program import DEFAULT_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS, Program
from ..conformance.runner import run_suite
from ..conformance.suite import load_suite
from ..errors import Json
from ..platform.clock import SystemClock
from .output import NO, YES, print_json, shown

NAME = "conformance"
HELP = "run the conformance cases; exit 1 if one fails"

_OWN_NAME: Final = "cra-wasm"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--cases",
        type=Path,
        default=Path("specs/conformance"),
        metavar="DIR",
        help="folder of the cases (default: specs/conformance)",
    )
    parser.add_argument(
        "--area",
        action="append",
        default=[],
        choices=(*AREAS, GOLDEN),
        help="only this area's cases; may be given more than once",
    )
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        "--implementation",
        metavar="CMD",
        help="ask this program: a JSON line on its stdin per case, a JSON line back on its stdout",
    )
    asked.add_argument(
        "--answer",
        action="store_true",
        help="be such a program: answer the cases on stdin until it ends",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"for one answer of a program: more than 0, at most {MAX_TIMEOUT_SECONDS:g}"
        f" (default: {DEFAULT_TIMEOUT_SECONDS:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run and print the report; YES when no case failed."""
    if arguments.answer:
        for line in answer_lines(sys.stdin.buffer if sys.stdin else ()):
            print(line, flush=True)
        return YES
    cases = load_suite(arguments.cases, arguments.area)
    clock = SystemClock()
    if arguments.implementation is None:
        report = run_suite(cases, answer_case, implementation=_OWN_NAME, version=__version__, clock=clock)
    else:
        with Program(arguments.implementation, arguments.timeout) as program:
            report = run_suite(
                cases, program.ask, implementation=arguments.implementation, version="", clock=clock
            )
    if arguments.json:
        print_json(report)
    else:
        print(text_of(report))
    return NO if report["test_run"]["failed"] else YES


def text_of(report: dict[str, Json]) -> str:
    """Return what a terminal shows of a report: each failed case, each area's counts, the level."""
    lines = []
    areas: dict[str, dict[str, int]] = {}
    for one in report["results"]:
        counts = areas.setdefault(one["test_id"].split(".")[0], {"passed": 0, "failed": 0, "skipped": 0})
        counts[one["status"]] += 1
        if one["status"] == "failed":
            clauses = ", ".join(one["details"]["clauses"])
            lines.append(f"FAILED {one['test_id']} ({clauses}): {shown(one['error'])}")
    for area, counts in areas.items():
        told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
        lines.append(f"  {area:<15} {told}")
    counts = report["test_run"]
    lines.append(
        f"{counts['passed']} of {counts['total']} passed, {counts['failed']} failed,"
        f" {counts['skipped']} skipped; level: {report['conformance_level']}"
    )
    return "\n".join(lines)
