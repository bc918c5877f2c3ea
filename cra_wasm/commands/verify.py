"""`cra-wasm verify`: is a trace whole and unchanged, by the recipe of its writer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ..trace.verdict import VerifyResult
from ..trace.verify import ANY_PROFILE, OWN_PROFILE, PROFILES, verify_file
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
_FOREIGN_ERRORS: Final = {
    **_ERRORS,
    "bad_field": "the line is no JSON object with the fields that this profile hashes",
}
_WARNINGS: Final = {
    "truncated": "no session.ended: the session is still open, or its end was cut off",
    "unprotected_boundaries": (
        "the hash of this profile protects neither keys nor the boundaries of fields: other events could have"
        " the same hashes"
    ),
    "unhashed_members": "events have members that the hash of this profile does not cover",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("trace", type=Path, metavar="TRACE.jsonl")
    parser.add_argument(
        "--profile",
        choices=(ANY_PROFILE, *PROFILES),
        default=OWN_PROFILE,
        help="the recipe of its writer; auto finds out (default: jcs, cra-wasm's own and the strictest)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict; YES when the trace is valid."""
    result = verify_file(arguments.trace, arguments.profile)
    if arguments.json:
        print_json(result.to_dict())
    else:
        _print_verdict(result, arguments.profile)
    return YES if result.valid else NO


def _print_verdict(result: VerifyResult, asked: str) -> None:
    by = "" if asked == OWN_PROFILE else f" by profile {result.profile}"
    if result.valid:
        print(f"valid{by}: {result.events} events, {result.algorithm} head {result.head}")
    else:
        if asked == ANY_PROFILE:
            by = f" by any profile, the nearest is {result.profile}"
        where = f"event {result.error_at} (line {(result.error_at or 0) + 1})"
        known = _ERRORS if result.profile == OWN_PROFILE else _FOREIGN_ERRORS
        why = shown(result.message or known[result.error or ""])
        print(f"not valid{by}: {result.error} at {where}: {why}")
    for warning in result.warnings:
        print(f"warning: {warning}: {_WARNINGS[warning]}")
