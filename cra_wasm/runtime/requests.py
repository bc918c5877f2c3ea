"""Checks of a whole CARPRequest against its session (PROTOCOL 2.1), in the order in which they are made."""

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
        InvalidInput: `invalid_goal`, `agent_mismatch`, `parent_mismatch`, `stale_timestamp`,
            `duplicate_request_id`.
        InvalidState: `replay_window_full`.
    """
    check_goal(request.task.goal)
    check_agent(session, request)
    check_parent(session, request)
    made_ns = check_timestamp(request, wall_ns, skew_seconds)
    request_id = check_request_id(session, request, wall_ns)
    session.keep_request_id(request_id, made_ns + skew_seconds * _NS)
    return request_id


def check_agent(session: Session, request: CARPRequest) -> None:
    """Refuse a request of another agent: InvalidInput `agent_mismatch`."""
    if request.requester.agent_id != session.agent_id:
        raise InvalidInput(
            "agent_mismatch", "the session belongs to another agent", pointer="/requester/agent_id"
        )


def check_parent(session: Session, request: CARPRequest) -> None:
    """Refuse a request that names another parent than its session has: InvalidInput `parent_mismatch`."""
    named = request.requester.parent_session_id
    if named is not None and named != session.parent_session_id:
        raise InvalidInput(
            "parent_mismatch",
            "the session was not started under that one: name its parent, or none",
            pointer="/requester/parent_session_id",
        )


def check_timestamp(request: CARPRequest, wall_ns: int, skew_seconds: int) -> int:
    """Return when the request was made, in wall-clock ns, or raise InvalidInput `stale_timestamp`."""
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
    return made_ns


def check_request_id(session: Session, request: CARPRequest, wall_ns: int) -> int:
    """Return the request's id as an integer, or raise InvalidInput `duplicate_request_id`, InvalidState
    `replay_window_full`."""
    request_id = parse_uuid(request.request_id, pointer="/request_id")
    session.check_request_id(request_id, wall_ns)
    return request_id
