"""`cra-wasm verify`: is a trace whole and unchanged, by the recipe of its writer."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

from ..errors import BackendFailure, InvalidInput, NotFound
from ..platform.ed25519 import is_signed
from ..trace.checkpoint import VerifierKey, parse_entries, parse_vkey
from ..trace.checkpoint_verify import SignedVerdict, Witnessed, parse_witnessed, verify_signed
from ..trace.reader import BadLine, read_event
from ..trace.verify import ANY_PROFILE, OWN_PROFILE, PROFILES, trace_lines, verify_file
from ..witness.ask import ask_witness, is_address
from .output import NO, YES, print_json, shown

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
    "unwitnessed": "the witness knows nothing of this session",
    "checkpoints_unchecked": "to check those beside it: pip install 'cra-wasm[signed]'",
}
_STRENGTHS: Final = {
    "chain": "nothing in it was changed; an end that was cut off, or another writer, would not show",
    "signed": "signed by the key that came with the checkpoints, which proves nothing of whose it is",
    "signed-pinned": "signed by a key that you gave",
    "witnessed": "compared with what a witness was told",
}

_TRACE, _CHECKPOINTS = ".trace.jsonl", ".checkpoints.jsonl"

MAX_SIDE_FILE_BYTES: Final = 16 * 1024 * 1024
"""Of a file of checkpoints, and of what a witness told."""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("trace", type=Path, metavar="TRACE.jsonl")
    parser.add_argument(
        "--profile",
        choices=(ANY_PROFILE, *PROFILES),
        default=OWN_PROFILE,
        help="the recipe of its writer; auto finds out (default: jcs, cra-wasm's own and the strictest)",
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="FILE",
        help=f"signed checkpoints (default: those beside it, NAME{_CHECKPOINTS}, if any)",
    )
    parser.add_argument(
        "--public-key",
        action="append",
        default=[],
        metavar="KEY",
        help="one of these signed each checkpoint: name+id+base64, or a file with it; may be repeated",
    )
    parser.add_argument(
        "--witness",
        action="append",
        default=[],
        metavar="URL|FILE",
        help="http(s) address of a witness, or a file of what it told; all of it must hold; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict; YES when the trace is valid."""
    verdict = _verdict(arguments)
    if arguments.json:
        print_json(verdict.to_dict())
    else:
        _print_verdict(verdict, arguments.profile)
    return YES if verdict.result.valid else NO


def _verdict(arguments: argparse.Namespace) -> SignedVerdict:
    trace: Path = arguments.trace
    asked = arguments.checkpoints is not None or arguments.public_key or arguments.witness
    if arguments.profile != OWN_PROFILE:
        if asked:
            raise InvalidInput(
                "invalid_arguments", f"checkpoints are of traces of profile {OWN_PROFILE}", pointer="/profile"
            )
        return SignedVerdict(result=verify_file(trace, arguments.profile))
    found: Path | None = arguments.checkpoints
    if found is None and trace.name.endswith(_TRACE):
        beside = trace.with_name(trace.name.removesuffix(_TRACE) + _CHECKPOINTS)
        found = beside if os.path.isfile(beside) else None  # False too where that name is too long
    if found is None and not asked:
        return SignedVerdict(result=verify_file(trace, OWN_PROFILE))
    try:
        return _signed_verdict(arguments, found)
    except BackendFailure as error:
        if error.code != "signed_unavailable" or asked:
            raise
    result = verify_file(trace, OWN_PROFILE)
    if result.valid:
        result = replace(result, warnings=(*result.warnings, "checkpoints_unchecked"))
    return SignedVerdict(result=result)


def _signed_verdict(arguments: argparse.Namespace, checkpoints: Path | None) -> SignedVerdict:
    pinned = [key_of(given) for given in arguments.public_key]
    entries = [] if checkpoints is None else parse_entries(_text(checkpoints))
    with trace_lines(arguments.trace) as lines:
        first = next(lines, b"")
        witnessed = [told for source in arguments.witness for told in _witnessed(source, first)]
        return verify_signed(
            chain([first] if first else [], lines),
            entries,
            is_signed=is_signed,
            pinned=pinned,
            witnessed=witnessed if arguments.witness else None,
        )


def _witnessed(source: str, first: bytes) -> list[Witnessed]:
    """Return what a file tells, or a witness of the session of this line."""
    if not is_address(source):
        return parse_witnessed(_text(Path(source)))
    try:
        session_id = read_event(first).session_id
    except BadLine:
        return []  # the verification names it
    return parse_witnessed(ask_witness(source, session_id))


def key_of(given: str) -> VerifierKey:
    """Read a public key's text, or the file that has it.

    Raises:
        CRAError: `checkpoint_malformed`, `checkpoints_not_found`, `checkpoints_unreadable`.
    """
    return parse_vkey(given if "+" in given else _text(Path(given)).strip())


def _text(path: Path) -> str:
    try:
        with path.open("rb") as source:
            data = source.read(MAX_SIDE_FILE_BYTES + 1)
    except FileNotFoundError:
        raise NotFound("checkpoints_not_found", f"no file `{path}`: give the path of the right one") from None
    except OSError as error:
        raise BackendFailure("checkpoints_unreadable", f"cannot read `{path}`: {error.strerror}") from None
    if len(data) > MAX_SIDE_FILE_BYTES:
        raise InvalidInput("checkpoint_malformed", f"`{path}` has more than {MAX_SIDE_FILE_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidInput("checkpoint_malformed", f"`{path}` is no UTF-8 text: give another") from None


def _print_verdict(verdict: SignedVerdict, asked: str) -> None:
    result = verdict.result
    by = "" if asked == OWN_PROFILE else f" by profile {result.profile}"
    if result.valid:
        print(f"valid{by}: {result.events} events, {result.algorithm} head {result.head}")
        if asked == OWN_PROFILE:
            held = f"{verdict.checkpoints} checkpoints, {verdict.covered} of {result.events} events covered"
            print(f"strength: {verdict.strength} ({held}): {_STRENGTHS[verdict.strength]}")
    elif result.error_at is None:
        print(f"not valid: {result.error}: {shown(result.message or '')}")
    else:
        if asked == ANY_PROFILE:
            by = f" by any profile, the nearest is {result.profile}"
        where = f"event {result.error_at} (line {result.error_at + 1})"
        known = _ERRORS if result.profile == OWN_PROFILE else _FOREIGN_ERRORS
        why = shown(result.message or known[result.error or ""])
        print(f"not valid{by}: {result.error} at {where}: {why}")
    for warning in result.warnings:
        print(f"warning: {warning}: {_WARNINGS[warning]}")
