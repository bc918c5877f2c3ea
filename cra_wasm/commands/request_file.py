"""A CARPRequest in a file, for `cra-wasm resolve --request`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..errors import CRAError, InvalidInput, Json
from ..model.parse import parse_json, parse_model, read_bounded
from ..model.request import CARPRequest
from ..resolver import Resolver

ANY_AGE_SECONDS: Final = 1_000_000_000_000
"""A file is no message that could be replayed: it may be older than one."""


def read_request(path: Path) -> tuple[CARPRequest, dict[str, Json]]:
    """Return the request of a file, as a model and as its JSON object.

    Raises:
        NotFound: `file_not_found`.
        InvalidInput: `invalid_request` with all findings, and for operation execute: a resolution belongs to
            a running session, which a file cannot name.
    """
    content = read_bounded(path)
    try:
        parsed = parse_model(CARPRequest, content, code="invalid_request")
        if parsed.operation == "execute":
            raise InvalidInput(
                "invalid_request",
                "a file can name no resolution of a running session: use operation resolve or validate",
                pointer="/operation",
            )
    except CRAError as error:
        error.details["file"] = str(path)
        raise
    given: dict[str, Json] = parse_json(content, code="invalid_request")
    return parsed, given


def session_for(resolver: Resolver, parsed: CARPRequest, given: dict[str, Json]) -> str:
    """Start a session for the request's agent and goal, and let the request name it.

    It stands for the session that the file names, which no resolver of this process knows; its parent, if it
    names one, likewise falls away.
    """
    session_id = resolver.create_session(parsed.requester.agent_id, parsed.task.goal)
    given["requester"] = {"agent_id": parsed.requester.agent_id, "session_id": session_id}
    return session_id
