"""`cra-wasm atlas check`: are atlases right, by themselves and together."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import CRAError, Json
from ..model.atlas import Atlas
from ..runtime.loading import ReadAtlas, judge_together, read_one
from .output import NO, YES, print_json, shown

NAME = "atlas"
HELP = "work on atlases: `atlas check`, exit 1 if one is not valid"

_COUNTED = ("actions", "policies", "capabilities", "context_blocks", "context_packs")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    sub_commands = parser.add_subparsers(metavar="SUBCOMMAND", required=True)
    check = sub_commands.add_parser("check", help="tell all that is wrong with atlases")
    check.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="JSON file, package folder or zip")
    check.add_argument("--lenient", action="store_true", help="read other dialects, with warnings")
    # Suppressed, so that one that stands before `check` is not forgotten.
    check.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print a JSON object for each PATH"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a report on each atlas; YES when all are valid.

    Atlases that need each other are judged together; one that is not given is a warning.
    """
    read: list[tuple[Path, ReadAtlas | CRAError]] = [
        (path, _read(path, strict=not arguments.lenient)) for path in arguments.paths
    ]
    sound = [one for _, one in read if isinstance(one, ReadAtlas)]
    judged = iter(judge_together(sound))
    reports = [
        _report(path, one, *next(judged)) if isinstance(one, ReadAtlas) else _refusal(path, one)
        for path, one in read
    ]
    for report in reports:
        if arguments.json:
            print_json(report)
        else:
            _print(report)
    return YES if all(report["valid"] for report in reports) else NO


def _read(path: Path, *, strict: bool) -> ReadAtlas | CRAError:
    try:
        return read_one(path, strict=strict)
    except CRAError as error:
        if error.code != "invalid_atlas":
            error.details["file"] = str(path)
            raise
        return error


def _report(path: Path, one: ReadAtlas, findings: list[Json], warnings: list[Json]) -> dict[str, Json]:
    return {
        "path": str(path),
        "valid": not findings,
        "atlas_id": one.atlas.atlas_id,
        "version": one.atlas.version,
        "findings": findings,
        "findings_total": len(findings),
        "warnings": [*one.loaded.warnings, *warnings],
        "counts": _counts(one.atlas),
    }


def _refusal(path: Path, error: CRAError) -> dict[str, Json]:
    told = {"pointer": "", "code": error.code, "message": error.message}
    findings = error.details.get("findings", [told])
    return {
        "path": str(path),
        "valid": False,
        "atlas_id": None,
        "version": None,
        "findings": findings,
        "findings_total": error.details.get("findings_total", 1),
        "warnings": [],
        "counts": None,
    }


def _counts(atlas: Atlas) -> dict[str, int]:
    return {name: len(getattr(atlas, name)) for name in _COUNTED}


def _print(report: dict[str, Json]) -> None:
    path = shown(report["path"])
    if report["valid"]:
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report["counts"].items())
        print(f"{path}: valid: {report['atlas_id']} {report['version']}: {counts}")
    else:
        print(f"{path}: not valid: {report['findings_total']} findings")
    for kind, found in (("", report["findings"]), ("warning: ", report["warnings"])):
        for finding in found:
            where = f"{finding.get('file', '')}{finding['pointer']}" or "the document"
            print(f"  {kind}{shown(where)}: {shown(finding['message'])} ({finding['code']})")
    more = report["findings_total"] - len(report["findings"])
    if more:
        print(f"  and {more} more")
