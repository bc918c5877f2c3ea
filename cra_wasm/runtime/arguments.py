"""Checks of plain arguments, for the calls that carry no whole CARPRequest. Pointers are those of one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from ..carp.planner import NO_OPTIONS, ResolveOptions
from ..errors import InvalidInput, Json
from ..model.atlas import RISK_TIERS
from ..model.ids import parse_uuid
from ..model.limits import (
    MAX_AGENT_ID_CHARS,
    MAX_GOAL_CHARS,
    MAX_HINTS,
    MAX_PAYLOAD_CHARS,
    MAX_REQUIRED_CAPABILITIES,
)
from ..trace.canonical import canonical_json

RUNTIME_AGENT_ID: Final = "cra-runtime"
"""Who the session of the events outside any session belongs to."""

_EVENT_TYPE: Final = re.compile(r"[a-z]+(\.[a-z_]+)+")
_RESERVED: Final = (
    "session.",
    "carp.",
    "action.",
    "policy.",
    "context.",
    "approval.",
    "runtime.",
    "clock.",
    "trace.",
    "error.",
)
_MAX_EVENT_TYPE_CHARS: Final = 100
_MAX_NAME_CHARS: Final = 255


def check_text(text: object, *, code: str, pointer: str, max_chars: int) -> str:
    """Return `text` if it is a string of 1 to `max_chars` characters that UTF-8 can write.

    Raises:
        InvalidInput: with that code and pointer.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= max_chars:
        raise InvalidInput(code, f"give text of 1 to {max_chars} characters", pointer=pointer)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidInput(
                code, "holds half a surrogate pair, which is no text", pointer=pointer
            ) from None
    return text


def check_goal(goal: object) -> str:
    """Return the goal, or raise InvalidInput `invalid_goal`."""
    return check_text(goal, code="invalid_goal", pointer="/task/goal", max_chars=MAX_GOAL_CHARS)


def check_agent_id(agent_id: object) -> str:
    """Return the agent's id, or raise InvalidInput `invalid_agent_id`; the runtime's own is not to be had."""
    if agent_id == RUNTIME_AGENT_ID:
        raise InvalidInput(
            "invalid_agent_id", f"`{RUNTIME_AGENT_ID}` is the runtime itself", pointer="/requester/agent_id"
        )
    return check_text(
        agent_id, code="invalid_agent_id", pointer="/requester/agent_id", max_chars=MAX_AGENT_ID_CHARS
    )


def check_tier(risk_tier: object) -> str:
    """Return the tier, or raise InvalidInput `invalid_risk_tier`."""
    if not isinstance(risk_tier, str) or risk_tier not in RISK_TIERS:
        raise InvalidInput(
            "invalid_risk_tier", f"use one of {', '.join(RISK_TIERS)}", pointer="/task/risk_tier"
        )
    return risk_tier


def check_capabilities(names: object) -> tuple[str, ...]:
    """Return the wanted capabilities, or raise InvalidInput `invalid_required_capabilities`."""
    return _names(names, "required_capabilities", "/task/required_capabilities", MAX_REQUIRED_CAPABILITIES)


def check_hints(hints: object) -> tuple[str, ...]:
    """Return the context hints, or raise InvalidInput `invalid_context_hints`."""
    return _names(hints, "context_hints", "/task/context_hints", MAX_HINTS)


def check_atlas_ids(atlas_ids: object) -> tuple[str, ...] | None:
    """Return the chosen atlases, None for all, or raise InvalidInput `invalid_atlas_ids`."""
    return None if atlas_ids is None else _names(atlas_ids, "atlas_ids", "/atlas_ids", MAX_HINTS)


def check_context(context: object) -> dict[str, Json] | None:
    """Return the request's context, or raise InvalidInput `invalid_context`.

    What it holds is checked when its canonical text is made.
    """
    if context is None:
        return None
    if not isinstance(context, Mapping):
        raise InvalidInput("invalid_context", "give an object", pointer="/context")
    return dict(context)


def check_skew(skew_seconds: object) -> int:
    """Return how far a request's time may be from now, or raise InvalidInput `invalid_skew`."""
    if isinstance(skew_seconds, bool) or not isinstance(skew_seconds, int) or skew_seconds < 0:
        raise InvalidInput("invalid_skew", "give whole seconds, 0 or more", pointer="/skew_seconds")
    return skew_seconds


def check_reuse(reuse: object) -> None:
    """Refuse what is neither true nor false: InvalidInput `invalid_reuse`."""
    if not isinstance(reuse, bool):
        raise InvalidInput("invalid_reuse", "give true or false", pointer="/reuse")


def check_options(
    required_capabilities: object, context_hints: object, atlas_ids: object, context: object
) -> ResolveOptions | None:
    """Return the options of a resolve, None when they say nothing, or raise as the checks of each."""
    options = ResolveOptions(
        required_capabilities=check_capabilities(required_capabilities),
        context_hints=check_hints(context_hints),
        atlas_ids=check_atlas_ids(atlas_ids),
        context=check_context(context) or None,
    )
    return None if options == NO_OPTIONS else options


def check_session_ids(session_ids: object) -> None:
    """Hold a list of sessions to its form, or raise InvalidInput `invalid_id`."""
    if isinstance(session_ids, str) or not isinstance(session_ids, Sequence):
        raise InvalidInput("invalid_id", "give a list of session ids", pointer="/session_ids")
    for index, session_id in enumerate(session_ids):
        parse_uuid(session_id, pointer=f"/session_ids/{index}")


def check_execution(action_id: object, idempotency_key: object) -> None:
    """Hold an execute's names to their form, or raise InvalidInput `invalid_action_id`,
    `invalid_idempotency_key`.
    """
    check_text(action_id, code="invalid_action_id", pointer="/execution/action_id", max_chars=_MAX_NAME_CHARS)
    if idempotency_key is not None:
        check_text(
            idempotency_key,
            code="invalid_idempotency_key",
            pointer="/execution/idempotency_key",
            max_chars=_MAX_NAME_CHARS,
        )


def check_event(event_type: object, payload: object) -> tuple[str, str]:
    """Return a custom event's type and the canonical text of its payload, frozen now.

    Raises:
        InvalidInput: `invalid_event_type`, `reserved_event_type`, `invalid_payload`, `not_canonical`.
    """
    if type(event_type) is not str:
        raise _no_event_type()
    _check_event_type(event_type)
    if not isinstance(payload, dict):
        raise InvalidInput("invalid_payload", "give an object", pointer="/payload")
    try:
        text = canonical_json(payload)
    except InvalidInput as error:
        pointer = "/payload" + error.details["pointer"]
        raise InvalidInput(error.code, error.message, pointer=pointer) from None
    if len(text) > MAX_PAYLOAD_CHARS:
        raise InvalidInput(
            "invalid_payload", f"is longer than {MAX_PAYLOAD_CHARS} characters", pointer="/payload"
        )
    return event_type, text


@lru_cache(maxsize=256)
def _check_event_type(event_type: str) -> None:
    """Hold a type to its form. A host has few: the latest that passed are not looked at again."""
    if len(event_type) > _MAX_EVENT_TYPE_CHARS or _EVENT_TYPE.fullmatch(event_type) is None:
        raise _no_event_type()
    if event_type.startswith(_RESERVED):
        raise InvalidInput(
            "reserved_event_type",
            f"`{event_type}` is the runtime's own: use another word",
            pointer="/event_type",
        )


def _no_event_type() -> InvalidInput:
    return InvalidInput(
        "invalid_event_type", "use lower-case words joined by dots: `myapp.clicked`", pointer="/event_type"
    )


def _names(names: object, field: str, pointer: str, limit: int) -> tuple[str, ...]:
    code = f"invalid_{field}"
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) > limit:
        raise InvalidInput(code, f"give a list of at most {limit} strings", pointer=pointer)
    return tuple(
        check_text(name, code=code, pointer=f"{pointer}/{index}", max_chars=_MAX_NAME_CHARS)
        for index, name in enumerate(names)
    )
