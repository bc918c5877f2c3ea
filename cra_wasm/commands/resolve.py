"""`cra-wasm resolve`: one goal, or one whole request, against atlases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from ..errors import CRAError, InvalidInput, Json
from ..model.atlas import RISK_TIERS
from ..model.resolution import Resolution
from ..model.validation import ValidateResponse
from ..resolver import Resolver
from .output import NO, YES, print_json, shown, write_text
from .request_file import ANY_AGE_SECONDS, read_request, session_for

NAME = "resolve"
HELP = "resolve a goal or a request against atlases; exit 1 if all is denied"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "atlases", nargs="+", type=Path, metavar="ATLAS", help="JSON file, folder or zip of an atlas"
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--goal", help="what the agent wants to do")
    asked.add_argument(
        "--request",
        type=Path,
        metavar="FILE",
        help="a whole CARPRequest, resolve or validate; it may be of any age, and gets a session of its own",
    )
    parser.add_argument("--agent", metavar="ID", help="agent id (default: cli)")
    parser.add_argument("--risk", choices=RISK_TIERS, help="risk tier (default: low)")
    parser.add_argument("--capability", action="append", metavar="ID", help="only this capability's actions")
    parser.add_argument("--trace", type=Path, metavar="OUT.jsonl", help="write the session's trace here")


def run(arguments: argparse.Namespace) -> int:
    """Print the decision; YES when any action is allowed, or when a request to validate is valid."""
    resolver = Resolver(skew_seconds=ANY_AGE_SECONDS)
    try:
        resolver.load_atlases(arguments.atlases)
    except CRAError as error:
        _name_file(error, arguments.atlases)
        raise
    ask = _ask_goal if arguments.request is None else _ask_request
    session_id, answer = ask(resolver, arguments)
    told = resolver.explain(session_id, answer.resolution_id) if isinstance(answer, Resolution) else []
    resolver.end_session(session_id)
    if arguments.trace is not None:
        lines = [f"{event.to_json()}\n" for event in resolver.get_trace(session_id)]
        write_text(arguments.trace, "".join(lines))
    if arguments.json:
        print_json(answer.to_dict())
    elif isinstance(answer, Resolution):
        _print_resolution(answer, told)
    else:
        _print_validation(answer)
    yes = answer.allowed_actions if isinstance(answer, Resolution) else answer.valid
    return YES if yes else NO


def _ask_goal(resolver: Resolver, arguments: argparse.Namespace) -> tuple[str, Resolution]:
    session_id = resolver.create_session(
        "cli" if arguments.agent is None else arguments.agent, arguments.goal
    )
    resolution = resolver.resolve(
        session_id,
        arguments.goal,
        risk_tier=arguments.risk or "low",
        required_capabilities=arguments.capability or [],
    )
    return session_id, resolution


def _ask_request(
    resolver: Resolver, arguments: argparse.Namespace
) -> tuple[str, Resolution | ValidateResponse]:
    for name in ("agent", "risk", "capability"):
        if getattr(arguments, name) is not None:
            raise InvalidInput(
                "invalid_arguments", f"the request's file says that: leave out --{name}", pointer=f"/{name}"
            )
    parsed, given = read_request(arguments.request)
    session_id = session_for(resolver, parsed, given)
    # INVARIANT: read_request lets no execute through.
    answer = cast(Resolution | ValidateResponse, resolver.resolve_request(given))
    return session_id, answer


def _print_resolution(resolution: Resolution, told: list[dict[str, Json]]) -> None:
    print(f"{resolution.decision.type}: {len(resolution.allowed_actions)} of {len(told)} actions allowed")
    width = max((len(one["action_id"]) for one in told), default=0)
    for one in told:
        why = f"  {shown(one['reason'])}" if one["reason"] else ""
        print(f"  {one['result']:<5}  {one['action_id']:<{width}}  by {one['policy_id']}{why}")
    for block in resolution.context_blocks:
        print(f"  know   {block.block_id}")


def _print_validation(answer: ValidateResponse) -> None:
    if answer.decision is not None:
        print(f"valid: would decide {answer.decision.type}")
    else:
        print(f"not valid: {answer.findings_total} findings")
    for finding in answer.findings:
        print(f"  {finding.code}  {shown(finding.pointer or 'the document')}: {shown(finding.message)}")


def _name_file(error: CRAError, paths: list[Path]) -> None:
    """Say which of the files an error is about."""
    findings = error.details.get("findings") or [{}]
    source = error.details.get("source", findings[0].get("source"))
    if source is not None:
        error.details["file"] = str(paths[source])
