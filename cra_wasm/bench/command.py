"""`cra-wasm bench`: its arguments, and what it writes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from ..errors import CRAError, InvalidInput, Json
from .catalogue import FAMILIES
from .inside import check_runs
from .judge import compare, missed, read_baseline
from .plot import plot_svg
from .report import page_text, table_text
from .runtimes import measure
from .scenario import MIN_RUNS, RUNTIMES

RESULTS, BASELINE, PAGE, PLOT = "results.json", "baseline.json", "README.md", "benchmarks.svg"

_HELP: Final = (
    "measure against the budgets; exit 1 if one is missed or a figure regressed, 2 if something could not be"
    " measured. NAME is a benchmark or a"
    f" family ({', '.join(FAMILIES)}); none means all"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the sub-command its arguments."""
    parser.description = _HELP
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmark or family (default: all)")
    parser.add_argument("--runtime", choices=RUNTIMES, default="cpython", help="where (default: cpython)")
    parser.add_argument(
        "--runs", type=int, default=MIN_RUNS, metavar="N", help=f"runs, at least {MIN_RUNS} (the default)"
    )
    parser.add_argument("--quick", action="store_true", help="few calls: the figures are hints")
    parser.add_argument(
        "--site", type=Path, default=Path("dist/site"), metavar="DIR", help="built site (default: dist/site)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"write {PAGE}, {PLOT} and {RESULTS} there, and {BASELINE} for a runtime that it lacks",
    )
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="compare with an earlier --out")


def run_command(arguments: argparse.Namespace) -> tuple[dict[str, Json], bool | None]:
    """Measure as the arguments say; return the report, and whether all budgets hold and nothing regressed.

    The latter is None where something could not be measured.

    Raises:
        InvalidInput: `unknown_benchmark`, `invalid_arguments`, `invalid_baseline`.
        CRAError: `bench_unavailable`, `bench_failed`, `cannot_write`.
    """
    check_runs(arguments.runs)
    out: Path | None = arguments.out
    for name in ("out", "baseline"):
        if arguments.quick and getattr(arguments, name) is not None:
            raise InvalidInput(
                "invalid_arguments", f"figures of --quick are hints: leave --{name} out", pointer="/quick"
            )
    if out is not None:
        _make_folder(out)
    baseline = None if arguments.baseline is None else read_baseline(arguments.baseline)
    kept = {} if out is None else _kept(out / RESULTS)
    report = measure(
        arguments.runtime,
        arguments.names,
        runs=arguments.runs,
        quick=arguments.quick,
        site=arguments.site,
        tell=_tell,
    )
    if baseline is not None:
        compare(report, baseline)
    if out is not None:
        _write(out, _merged(kept, report))
    return report, None if report["not_measured"] else not missed(report)


def text_of(report: dict[str, Json]) -> str:
    """Return what a terminal shows of a report."""
    failed = missed(report)
    judged = any(one["budget"] is not None for each in report["scenarios"] for one in each["metrics"])
    verdict = "nothing missed" if judged else "no budgets here: they count in Node and Chromium"
    if failed:
        verdict = f"missed or regressed: {', '.join(failed)}"
    if report["not_measured"]:
        verdict = f"not everything was measured; {verdict}"
    return f"{table_text(report)}\n\n{verdict}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _kept(path: Path) -> dict[str, Json]:
    return read_baseline(path) if path.exists() else {}


def _merged(kept: dict[str, Json], report: dict[str, Json]) -> dict[str, Json]:
    """Put a report beside those of the other runtimes; of its own runtime, only what was measured is renewed.

    Figures of another machine or other versions are dropped: they would stand under the wrong heading.
    """
    old = kept.get(report["runtime"])
    renewed = {one["name"]: one for one in report["scenarios"]}
    if old is not None and _subject(old) == _subject(report):
        names = [one["name"] for one in old["scenarios"]] + list(renewed)
        known = {one["name"]: one for one in old["scenarios"]} | renewed
        order = [one.name for family in FAMILIES.values() for one in family]
        scenarios = [known[name] for name in order if name in names]
        unsteady = [one["name"] for one in scenarios if one["unsteady"]]
        untold = [*old.get("not_measured", ()), *report["not_measured"]]
        missing = {one["name"]: one for one in untold if one["name"] not in known}
        report = {
            **report,
            "scenarios": scenarios,
            "unsteady": unsteady,
            "not_measured": list(missing.values()),
        }
    return {**kept, report["runtime"]: report}


def _subject(report: dict[str, Json]) -> Json:
    machine = report["machine"]
    return [report["versions"], [machine[name] for name in ("cpu", "cores", "os")]]


def _make_folder(folder: Path) -> None:
    """Make it before minutes are spent on figures that could not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CRAError("cannot_write", f"cannot make the folder `{folder}`: {error.strerror}") from None


def _write(folder: Path, runtimes: dict[str, Json]) -> None:
    ordered: dict[str, Json] = {name: runtimes[name] for name in RUNTIMES if name in runtimes}
    baseline = ordered | _kept(folder / BASELINE)
    files = {
        RESULTS: json.dumps({"runtimes": ordered}, indent=1) + "\n",
        BASELINE: json.dumps({"runtimes": baseline}, indent=1) + "\n",
        PAGE: page_text(ordered),
        PLOT: plot_svg(ordered),
    }
    try:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CRAError("cannot_write", f"cannot write into `{folder}`: {error.strerror}") from None
