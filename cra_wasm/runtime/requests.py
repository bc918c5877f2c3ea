"""Checks of a whole CARPRequest against its session (PROTOCOL 2.1)."""

from __future__ import annotations

from typing import Final

from ..errors import InvalidInput
from ..model.ids import parse_uuid
from ..model.request import CARPRequest
from ..model.timestamps import parse_timestamp_ns, timestamp_text
from .arguments import check_goal
from .session import Session

_NS: Final = 1_000_000_000


def check_request(session: Session, request: CARPRequest, wall_ns: int, skew_seconds: int) -> int:
    """Hold a request to its session and the time, remember its id, and return that as an integer.

    Raises:
        InvalidInput: `agent_mismatch`, `stale_timestamp`, `duplicate_request_id`, `not_supported` for
            operation validate.
        InvalidState: `replay_window_full`.
    """
    check_goal(request.task.goal)
    if request.requester.agent_id != session.agent_id:
        raise InvalidInput(
            "agent_mismatch", "the session belongs to another agent", pointer="/requester/agent_id"
        )
    if request.operation == "validate":
        raise InvalidInput("not_supported", "operation `validate` is not built yet", pointer="/operation")
    try:
        made_ns = parse_timestamp_ns(request.timestamp)
    except OverflowError:  # the year 1 or 9999, and beyond it in UTC
        made_ns = None
    if made_ns is None or abs(wall_ns - made_ns) > skew_seconds * _NS:
        raise InvalidInput(
            "stale_timestamp",
            f"more than {skew_seconds} s from now, `{timestamp_text(wall_ns)}`",
            pointer="/timestamp",
        )
    request_id = parse_uuid(request.request_id, pointer="/request_id")
    session.check_request_id(request_id, wall_ns)
    session.keep_request_id(request_id, made_ns + skew_seconds * _NS)
    return request_id
