"""Measure which branches of decision, trace and atlas the unit tests take, and hold each part to a floor.

    branch_coverage.py [pytest's arguments]

Measured on the checkout, with few examples of the long property tests and without the tests of other parts:
what only a rare example reaches is not counted as tested.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from settings import CACHE, ROOT

FLOOR_PERCENT: Final = 95
PARTS: Final = ("carp", "trace", "atlas")
ELSEWHERE: Final = (
    "*_against_*", "bench_*", "blake3*", "bounded_work", "buffer_weight", "cli", "fuzz_*", "schema_limits",
    "serve", "storage_f*", "threads", "three_ways",
)  # fmt: skip
"""Unit tests that take long and whose subject is another, or that search for what nobody has thought of."""

DATA: Final = CACHE / "coverage"
COVERAGE: Final = [sys.executable, "-m", "coverage"]


def measure(arguments: Sequence[str]) -> int:
    """Run the tests; return pytest's exit code."""
    ignored = [f"--ignore-glob=tests/unit/test_{name}.py" for name in ELSEWHERE]
    pytest = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--examples=20",
        "tests/unit",
        *ignored,
        *arguments,
    ]
    run = [*COVERAGE, "run", f"--data-file={DATA}", "--branch", *pytest]
    return subprocess.run(run, cwd=ROOT).returncode


def branches_of() -> dict[str, tuple[int, int]]:
    """Return how many branches of each part there are, and how many were taken."""
    report = CACHE / "branches.json"
    subprocess.run([*COVERAGE, "json", f"--data-file={DATA}", "-q", "-o", str(report)], cwd=ROOT, check=True)
    found = {part: (0, 0) for part in PARTS}
    for name, file in json.loads(report.read_text())["files"].items():
        part = Path(name).parts[1]
        if part in found:
            summary = file["summary"]
            known, taken = found[part]
            found[part] = known + summary["num_branches"], taken + summary["covered_branches"]
    return found


def main(arguments: Sequence[str]) -> int:
    CACHE.mkdir(exist_ok=True)
    failed = measure(arguments) != 0
    if failed:
        print("the tests failed: their coverage says nothing")
    low = 0
    for part, (known, taken) in branches_of().items():
        percent = 100 * taken / known if known else 0.0
        low += percent < FLOOR_PERCENT
        print(
            f"  cra_wasm/{part:<6} {taken} of {known} branches, {percent:.1f} % (at least {FLOOR_PERCENT} %)"
        )
    print(f"{len(PARTS) - low} checks passed, {low + failed} failed")
    return 1 if failed or low else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
