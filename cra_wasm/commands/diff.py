"""`cra-wasm diff`: do two traces say the same."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ..errors import Json
from ..trace.canonical import canonical_json
from ..trace.diff import TraceDifference, diff_traces
from ..trace.significance import SIGNIFICANCES
from .output import NO, YES, print_json, shown

NAME = "diff"
HELP = "compare two traces by what they say; exit 1 if they are incompatible"

_SHOWN: Final = 40
_VALUE_CHARS: Final = 60


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("a", type=Path, metavar="A.jsonl")
    parser.add_argument("b", type=Path, metavar="B.jsonl")


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict and what differs; YES unless the traces are incompatible."""
    diff = diff_traces(arguments.a, arguments.b)
    if arguments.json:
        print_json(diff.to_dict())
        return NO if diff.verdict == "incompatible" else YES
    print(
        f"{diff.verdict}: {diff.events_a} and {diff.events_b} events, {diff.events_aligned} of them aligned"
    )
    told = [f"{diff.counts[name]} {name}" for name in reversed(SIGNIFICANCES) if diff.counts[name]]
    if told:
        print(f"differences: {', '.join(told)}")
    weighty = [one for one in diff.differences if one.significance != "dynamic"]
    for one in weighty[:_SHOWN]:
        print(f"  {one.significance:<8}  {one.kind:<7}  {_told(one)}")
    if len(weighty) > _SHOWN:
        print("  ... and more: --json tells up to 1,000")
    return NO if diff.verdict == "incompatible" else YES


def _told(one: TraceDifference) -> str:
    pointer = one.pointer if one.pointer is not None else one.pointer_b
    return f"{shown(pointer or '')}: {_short(one.a)} | {_short(one.b)}"


def _short(value: Json) -> str:
    text = "-" if value is None else shown(canonical_json(value))
    return text if len(text) <= _VALUE_CHARS else text[:_VALUE_CHARS] + "..."
