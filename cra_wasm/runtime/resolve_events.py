"""The texts of the events of one resolve, in the order of PROTOCOL 3.3."""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import Final, TypeAlias, cast

from ..carp.plan import Variant
from ..carp.planner import ResolveOptions
from ..errors import InvalidInput, Json
from ..model.atlas import RISK_TIERS
from ..model.limits import MAX_GOAL_CHARS, MAX_PAYLOAD_CHARS
from ..model.resolution import Resolution
from ..trace.canonical import canonical_json
from ..trace.raw import EventTexts

RECEIVED: Final = "carp.request.received"

ReceivedParts: TypeAlias = tuple[str, str]
"""The canonical payload of carp.request.received without its goal and request_id: before, and after."""

ResolveArgument: TypeAlias = tuple[Resolution, str, ReceivedParts]
"""What expand_resolve needs: the resolution, the goal, the parts."""

_GOAL_ROOM: Final = 6 * MAX_GOAL_CHARS + 200
"""Most that the goal takes, each character of it escaped, and the request_id and operation beside it."""

PLAIN_PARTS: Final = {tier: ("{", f',"risk_tier":"{tier}"}}') for tier in RISK_TIERS}
"""The parts of a call without options."""


def received_parts(risk_tier: str, options: ResolveOptions) -> ReceivedParts:
    """Return the texts around goal and request_id. All that a replay needs stands in them.

    Raises:
        InvalidInput: `not_canonical` when the context is not I-JSON, `invalid_context` when it is longer than
            1,000,000 characters, less the room that the payload's other members may take.
    """
    before: dict[str, Json] = {}
    if options.atlas_ids is not None:
        before["atlas_ids"] = list(options.atlas_ids)
    if options.context:
        before["context"] = dict(options.context)
    if options.context_hints:
        before["context_hints"] = list(options.context_hints)
    after = PLAIN_PARTS[risk_tier][1]
    if options.required_capabilities:
        wanted = canonical_json(list(options.required_capabilities))
        after = f',"required_capabilities":{wanted}{after}'
    text = canonical_json(before)
    most = MAX_PAYLOAD_CHARS - len(after) - _GOAL_ROOM
    if len(text) > most:
        # Counted whole, since a verifier refuses the event when the whole of it is longer.
        raise InvalidInput(
            "invalid_context",
            f"is longer than the {most} characters that its event has room for",
            pointer="/context",
        )
    return (text[:-1] + "," if before else "{", after)


def received_text(goal: str, request_id: str, parts: ReceivedParts) -> str:
    """Return the canonical payload of carp.request.received."""
    before, after = parts
    return (
        f'{before}"goal":{encode_basestring(goal)},"operation":"resolve","request_id":"{request_id}"{after}'
    )


def expand_resolve(argument: ResolveArgument) -> EventTexts:
    """Return (event_type, canonical payload) of each event of one resolve."""
    resolution, goal, parts = argument
    variant = cast(Variant, resolution.outcome)
    request_id = resolution.request_id
    selected = resolution.selected
    completed, completed_on = variant.completed_before_ids
    return [
        (RECEIVED, received_text(goal, request_id, parts)),
        *variant.policy_events,
        *selected.events,
        (
            "carp.resolution.completed",
            f"{completed}{len(selected.blocks)}{completed_on}{request_id}"
            f'","resolution_id":"{resolution.resolution_id}","ttl_seconds":{resolution.ttl_seconds}}}',
        ),
    ]
