"""Reports as text for people: the table of one runtime, and the page over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..errors import Json
from .judge import shown

_HELD: Final = {True: "held", False: "MISSED", None: ""}
_HEAD: Final = ("benchmark", "figure", "median", "runs from-to", "budget", "", "baseline")
_NAMES: Final = {"cpython": "CPython", "node": "Pyodide in Node", "chromium": "Pyodide in Chromium"}


def rows(report: Mapping[str, Json]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each metric."""
    for scenario in report["scenarios"]:
        name = scenario["title"]
        for metric in scenario["metrics"]:
            unit, runs, against = metric["unit"], metric["runs"], metric.get("against")
            yield (
                name,
                metric["name"].replace("_", " "),
                metric["text"],
                f"{shown(min(runs), unit)} - {shown(max(runs), unit)}" if len(runs) > 1 else "",
                metric["budget_text"],
                _HELD[metric["held"]],
                f"{against['verdict']} ({shown(against['expected'], unit)})" if against else "",
            )
            name = ""


def table_text(report: Mapping[str, Json]) -> str:
    """Return the report for a terminal."""
    cells = [_HEAD, *rows(report)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join(
        [f"{_NAMES[report['runtime']]}: {'; '.join(about(report))}", "", *lines, *_warnings(report)]
    )


def about(report: Mapping[str, Json]) -> list[str]:
    """Return what is to be known about a report: versions, machine, load, timer, calibration."""
    machine = report["machine"]
    loads = " to ".join(
        f"{one:.2f}" for one in (machine["load_before"], machine["load_after"]) if one is not None
    )
    return [
        ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        f"{machine['cpu']}, {machine['cores']} cores, {machine['os']}",
        *([f"load average {loads}"] if loads else []),
        f"timer steps of {report['timer_resolution_us']:g} us",
        f"calibration {report['calibration_us']:g} us",
        report["measured_at"],
    ]


def _warnings(report: Mapping[str, Json]) -> Iterator[str]:
    if report["unsteady"]:
        yield ""
        yield (
            f"warning: unsteady: the machine changed its pace by more than 15 % during"
            f" {', '.join(report['unsteady'])}; measure again when it is idle"
        )
    for one in report.get("not_measured", ()):
        yield ""
        yield f"not measured: {one['name']}: {one['message']}"
    if report["quick"]:
        yield ""
        yield "quick: few calls; the figures are hints"


def page_text(runtimes: Mapping[str, Json]) -> str:
    """Return the Markdown page over the reports of all runtimes."""
    parts = [
        "# Benchmarks",
        "",
        "Written by `./build.sh bench`. Each figure is the median of its runs, p50 from batches of calls, p99"
        " from single calls; nothing is subtracted. Budgets count in WebAssembly. The calibration is a fixed"
        " workload in pure Python, timed before and after each benchmark: by it machines and moments can be"
        " compared.",
        "",
        "![Time per call of each benchmark in each runtime, with its budget](benchmarks.svg)",
    ]
    for name, report in runtimes.items():
        parts += ["", f"## {_NAMES[name]}", "", *(f"- {_cell(one)}" for one in about(report)), ""]
        head = [one or "held" for one in _HEAD]
        parts += [
            _line(head),
            _line(["---"] * len(head)),
            *map(_line, rows(report)),
            *map(_cell, _warnings(report)),
        ]
    claims = {one["title"]: one["claim"] for report in runtimes.values() for one in report["scenarios"]}
    parts += [
        "",
        "## What is measured",
        "",
        *(f"- **{_cell(name)}**: {_cell(claim)}." for name, claim in claims.items()),
    ]
    return "\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Keep text from being Markdown's: a machine's name is data, and may hold anything."""
    return "".join(f"\\{char}" if char in "\\|*_`<>[]" else char for char in text.replace("\n", " "))
