"""`cra-wasm resolve`: one goal against atlases."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import CRAError
from ..model.atlas import RISK_TIERS
from ..resolver import Resolver
from .output import print_json, shown, write_text
from .status import NO, YES

NAME = "resolve"
HELP = "resolve a goal against atlases; exit 1 if all is denied"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("atlases", nargs="+", type=Path, metavar="ATLAS", help="JSON file of an atlas")
    parser.add_argument("--goal", required=True, help="what the agent wants to do")
    parser.add_argument("--agent", default="cli", metavar="ID", help="agent id (default: cli)")
    parser.add_argument("--risk", default="low", choices=RISK_TIERS, help="risk tier (default: low)")
    parser.add_argument(
        "--capability", action="append", default=[], metavar="ID", help="only this capability's actions"
    )
    parser.add_argument("--trace", type=Path, metavar="OUT.jsonl", help="write the session's trace here")


def run(arguments: argparse.Namespace) -> int:
    """Print the decision; YES when any action is allowed."""
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
        write_text(arguments.trace, "".join(lines))
    if arguments.json:
        print_json(resolution.to_dict())
    else:
        print(f"{resolution.decision.type}: {len(resolution.allowed_actions)} of {len(told)} actions allowed")
        width = max((len(one["action_id"]) for one in told), default=0)
        for one in told:
            why = f"  {shown(one['reason'])}" if one["reason"] else ""
            print(f"  {one['result']:<5}  {one['action_id']:<{width}}  by {one['policy_id']}{why}")
        for block in resolution.context_blocks:
            print(f"  know   {block.block_id}")
    return YES if resolution.allowed_actions else NO
