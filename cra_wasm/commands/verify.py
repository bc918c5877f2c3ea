"""`cra-wasm verify`: is a trace whole and unchanged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ..trace.verify import verify_file
from .output import print_json, shown
from .status import NO, YES

NAME = "verify"
HELP = "verify a trace; exit 1 if it is not valid"

_ERRORS: Final = {
    "bad_field": "the line is not, byte for byte, an event (a changed byte, CRLF, a torn or an empty line)",
    "duplicate_key": "a member stands twice in one object",
    "bad_genesis": "the file is empty, or does not begin with the first event of a session",
    "sequence_gap": "an event is missing before it, or it stands in the wrong place",
    "chain_broken": "it does not continue the event before it",
    "hash_mismatch": "its content is not what was hashed",
}
_WARNINGS: Final = {
    "truncated": "no session.ended: the session is still open, or its end was cut off",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("trace", type=Path, metavar="TRACE.jsonl")


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict; YES when the trace is valid."""
    result = verify_file(arguments.trace)
    if arguments.json:
        print_json(result.to_dict())
    elif result.valid:
        print(f"valid: {result.events} events, {result.algorithm} head {result.head}")
    else:
        where = f"event {result.error_at} (line {(result.error_at or 0) + 1})"
        why = shown(result.message or _ERRORS[result.error or ""])
        print(f"not valid: {result.error} at {where}: {why}")
    if not arguments.json:
        for warning in result.warnings:
            print(f"warning: {warning}: {_WARNINGS[warning]}")
    return YES if result.valid else NO
