"""The command line `cra-wasm`. Exit status: 0 yes, 1 no, 2 could not."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import __version__
from .bench.command import add_arguments, run_command, text_of
from .errors import CRAError, Json
from .model.atlas import RISK_TIERS
from .resolver import Resolver
from .serve import serve_directory
from .trace.verify import VerifyResult, verify_file

YES, NO, COULD_NOT = 0, 1, 2

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an id that a terminal cannot show is no failure
    try:
        status: int = arguments.run(arguments)
        return status
    except CRAError as error:
        if arguments.json:
            _print_json({"error": error.to_dict()})
        else:
            _print_error(error)
        return COULD_NOT
    except KeyboardInterrupt:
        return COULD_NOT
    except OSError as error:  # the reader of our output went away; Python's own exit status would say "no"
        print(f"cra-wasm: {error.strerror or type(error).__name__}", file=sys.stderr)
        return COULD_NOT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cra-wasm", description="Decide what an AI agent may do, and verify the record of it."
    )
    parser.add_argument("--version", action="version", version=f"cra-wasm {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    resolve = commands.add_parser("resolve", help="resolve a goal against atlases; exit 1 if all is denied")
    resolve.add_argument("atlases", nargs="+", type=Path, metavar="ATLAS", help="JSON file of an atlas")
    resolve.add_argument("--goal", required=True, help="what the agent wants to do")
    resolve.add_argument("--agent", default="cli", metavar="ID", help="agent id (default: cli)")
    resolve.add_argument("--risk", default="low", choices=RISK_TIERS, help="risk tier (default: low)")
    resolve.add_argument(
        "--capability", action="append", default=[], metavar="ID", help="only this capability's actions"
    )
    resolve.add_argument("--trace", type=Path, metavar="OUT.jsonl", help="write the session's trace here")
    resolve.set_defaults(run=_resolve)

    verify = commands.add_parser("verify", help="verify a trace; exit 1 if it is not valid")
    verify.add_argument("trace", type=Path, metavar="TRACE.jsonl")
    verify.set_defaults(run=_verify)

    serve = commands.add_parser("serve", help="serve the built site on this machine")
    serve.add_argument("--dir", type=Path, default=Path("dist/site"), help="folder (default: dist/site)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, default=8420, help="port, 0 for any free one (default: 8420)")
    serve.add_argument(
        "--isolated",
        action="store_true",
        help="cross-origin isolate the pages, for finer timers in bench.html",
    )
    serve.set_defaults(run=_serve)

    bench = commands.add_parser("bench", help="measure against the budgets; exit 1 if one is missed")
    add_arguments(bench)
    bench.set_defaults(run=_bench)

    for command in (resolve, verify, serve, bench):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _resolve(arguments: argparse.Namespace) -> int:
    resolver = Resolver()
    for path in arguments.atlases:
        try:
            resolver.load_atlas(path)
        except CRAError as error:
            error.details["file"] = str(path)
            raise
    session_id = resolver.create_session(arguments.agent, arguments.goal)
    resolution = resolver.resolve(
        session_id,
        arguments.goal,
        risk_tier=arguments.risk,
        required_capabilities=arguments.capability,
    )
    told = resolver.explain(session_id, resolution.resolution_id)
    resolver.end_session(session_id)
    if arguments.trace is not None:
        lines = [f"{event.to_json()}\n" for event in resolver.get_trace(session_id)]
        _write_trace(arguments.trace, "".join(lines))
    if arguments.json:
        _print_json(resolution.to_dict())
    else:
        print(f"{resolution.decision.type}: {len(resolution.allowed_actions)} of {len(told)} actions allowed")
        width = max((len(one["action_id"]) for one in told), default=0)
        for one in told:
            why = f"  {_shown(one['reason'])}" if one["reason"] else ""
            print(f"  {one['result']:<5}  {one['action_id']:<{width}}  by {one['policy_id']}{why}")
        for block in resolution.context_blocks:
            print(f"  know   {block.block_id}")
    return YES if resolution.allowed_actions else NO


def _write_trace(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CRAError("cannot_write", f"cannot write `{path}`: {error.strerror}") from None


def _verify(arguments: argparse.Namespace) -> int:
    result: VerifyResult = verify_file(arguments.trace)
    if arguments.json:
        _print_json(result.to_dict())
    elif result.valid:
        print(f"valid: {result.events} events, {result.algorithm} head {result.head}")
    else:
        where = f"event {result.error_at} (line {(result.error_at or 0) + 1})"
        why = _shown(result.message or _ERRORS[result.error or ""])
        print(f"not valid: {result.error} at {where}: {why}")
    if not arguments.json:
        for warning in result.warnings:
            print(f"warning: {warning}: {_WARNINGS[warning]}")
    return YES if result.valid else NO


def _serve(arguments: argparse.Namespace) -> int:
    with serve_directory(
        arguments.dir, arguments.host, arguments.port, isolated=arguments.isolated
    ) as server:
        address = f"http://{arguments.host}:{server.server_port}/"
        if arguments.json:
            _print_json({"url": address})
        else:
            print(f"serving {arguments.dir} at {address} (Ctrl-C ends it)")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # the way to end it
            return YES
    return YES


def _bench(arguments: argparse.Namespace) -> int:
    report, held = run_command(arguments)
    if arguments.json:
        _print_json(report)
    else:
        print(text_of(report))
    return COULD_NOT if held is None else YES if held else NO


def _print_error(error: CRAError) -> None:
    """Tell an error on stderr: the file if there is one, what is wrong, and all other findings."""
    file = error.details.get("file")
    findings = error.details.get("findings", [])
    print(f"cra-wasm: {_shown(f'{file}: ' if file else '')}{_shown(str(error))}", file=sys.stderr)
    for finding in findings[1:]:
        print(
            f"  {_shown(finding['pointer'] or 'the document')}: {_shown(finding['message'])}", file=sys.stderr
        )
    if error.code == "cannot_listen":
        print("  choose another port with --port NUMBER", file=sys.stderr)


def _shown(text: str) -> str:
    """Return foreign text without what a terminal would obey."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _print_json(value: Json) -> None:
    print(json.dumps(value))  # ASCII only, which every terminal and pipe can carry


if __name__ == "__main__":
    sys.exit(main())
