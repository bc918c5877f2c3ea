"""`cra-wasm replay`: would these atlases decide the same again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ..errors import InvalidInput, Json, NotFound
from ..model.parse import error_of_line, parse_line
from ..replay.replay import replay_trace
from ..replay.report import Difference, ReplayResult, Undecidable
from ..trace.loading import checked_lines, load_trace
from ..trace.reader import read_lines
from ..trace.rebuilding import rebuild_state
from ..trace.state import SessionState
from .output import COULD_NOT, NO, YES, print_json, shown

NAME = "replay"
HELP = "decide a trace anew from its atlases; exit 1 if something differs, 2 if something cannot be told"

_CODE: Final = "invalid_parameters"
_SHOWN: Final = 20
_VALUE_CHARS: Final = 60


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "traces", nargs="+", type=Path, metavar="TRACE.jsonl", help="of sessions of one runtime"
    )
    parser.add_argument(
        "--atlas",
        dest="atlases",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="PATH",
        help="the atlases, in the order of loading; several versions of one may be given",
    )
    parser.add_argument(
        "--complete",
        action="store_true",
        help="these are all sessions of the runtime: no other took from shared limits",
    )
    parser.add_argument(
        "--parameters",
        type=Path,
        metavar="FILE.jsonl",
        help="what executes were called with, an object a line, where it was kept",
    )
    parser.add_argument(
        "--unverified", action="store_true", help="read traces that do not verify, and foreign ones"
    )
    parser.add_argument(
        "--state", action="store_true", help="print what state the trace leaves behind, and replay nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what came out; YES when all of it is as recorded."""
    verify = not arguments.unverified
    if arguments.state:
        return _print_state(arguments, verify)
    if not arguments.atlases:
        raise InvalidInput(
            "invalid_arguments", "give the atlases with --atlas, or ask for --state", pointer="/atlas"
        )
    result = replay_trace(
        arguments.traces,
        arguments.atlases,
        verify=verify,
        complete=arguments.complete,
        parameters=_read_parameters(arguments.parameters),
    )
    if arguments.json:
        print_json(result.to_dict())
    else:
        _print_result(result)
    if result.differences_total:
        return NO
    return YES if result.identical else COULD_NOT


def _read_parameters(path: Path | None) -> list[dict[str, Json]]:
    if path is None:
        return []
    found: list[dict[str, Json]] = []
    try:
        with path.open("rb") as file:
            lines = checked_lines(read_lines(file), code=_CODE, too_large=_CODE)
    except InvalidInput as error:
        error.details["file"] = str(path)
        raise
    except OSError as error:
        raise NotFound("file_not_found", f"cannot read `{str(path)[:300]}`: {error}") from None
    for line in lines:
        try:
            found.append(parse_line(line, code=_CODE))
        except InvalidInput as error:
            error.details["file"] = str(path)
            raise error_of_line(error, len(found)) from None
    return found


def _print_result(result: ReplayResult) -> None:
    what = (
        f"{result.resolutions} resolutions, {result.executes} executes and {result.approvals} approvals of "
        f"{result.sessions} sessions"
    )
    if result.identical:
        print(f"identical: {what} came out as recorded")
    elif result.differences_total:
        print(f"differs: {result.differences_total} differences in {what}")
    else:
        print(f"cannot tell: nothing differs in {what}, but not all of it can be decided")
    for difference in result.differences[:_SHOWN]:
        print(f"  differs      {_told_difference(difference)}")
    _print_rest(result.differences_total)
    for entry in result.undecidable[:_SHOWN]:
        print(f"  cannot tell  {_told_undecidable(entry)}")
    _print_rest(result.undecidable_total)


def _print_rest(total: int) -> None:
    if total > _SHOWN:
        print(f"  ... and {total - _SHOWN} more: --json tells up to 1,000")


def _told_difference(one: Difference) -> str:
    values = f"{_short(one.expected)} recorded, {_short(one.actual)} here"
    return f"event {one.sequence} {shown(one.pointer)} ({one.kind}): {values}; {shown(one.why)}"


def _told_undecidable(one: Undecidable) -> str:
    times = f" x {one.count}" if one.count > 1 else ""
    return f"event {one.sequence} ({one.kind}{times}): {shown(one.why)}"


def _short(value: Json) -> str:
    text = shown(value if isinstance(value, str) else str(value))
    return text if len(text) <= _VALUE_CHARS else text[:_VALUE_CHARS] + "..."


def _print_state(arguments: argparse.Namespace, verify: bool) -> int:
    events = [event for path in arguments.traces for event in load_trace(path, verify=verify)]
    state = rebuild_state(events)
    if arguments.json:
        print_json(state.to_dict())
    else:
        for session in state.sessions:
            _print_session(session)
    return YES


def _print_session(session: SessionState) -> None:
    agent = shown(session.agent_id or "unknown")
    end = shown(f"ended: {session.end_reason}") if not session.truncated else "no end"
    print(f"session {shown(session.session_id)} of {agent}, {session.events} events, {end}")
    for resolution in session.resolutions[-_SHOWN:]:
        counts = f"{len(resolution.allowed)} allowed, {len(resolution.denied)} denied"
        goal = _short(resolution.goal or "")
        print(f"  {resolution.sequence:>6}  {shown(resolution.decision_type or '?')}: {counts}  {goal}")
    for execution in session.executions[-_SHOWN:]:
        why = shown(f"  {execution.reason}" if execution.reason else "")
        print(f"  {execution.sequence:>6}  {execution.outcome}  {shown(execution.action_id or '?')}{why}")
    for approval in session.approvals[-_SHOWN:]:
        who = shown(f" by {approval.approver}" if approval.approver else "")
        print(f"  {approval.sequence:>6}  approval {approval.state}{who}  {shown(approval.action_id or '?')}")
    for gap in session.gaps[-_SHOWN:]:
        print(f"  {gap['sequence']:>6}  gap: {shown(str(gap['lost_count']))} events lost")
