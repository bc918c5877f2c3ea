"""The texts of the events of one resolve, in the order of PROTOCOL 3.3."""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import Final, TypeAlias, cast

from ..carp.plan import Variant
from ..carp.planner import ResolveOptions
from ..errors import InvalidInput, Json
from ..model.atlas import RISK_TIERS
from ..model.limits import MAX_PAYLOAD_CHARS
from ..model.resolution import Resolution
from ..trace.canonical import canonical_json
from ..trace.raw import EventTexts

ReceivedParts: TypeAlias = tuple[str, str]
"""The canonical payload of carp.request.received without its goal and request_id: before, and after."""

ResolveArgument: TypeAlias = tuple[Resolution, str, ReceivedParts]
"""What expand_resolve needs: the resolution, the goal, the parts."""

PLAIN_PARTS: Final = {tier: ("{", f',"risk_tier":"{tier}"}}') for tier in RISK_TIERS}
"""The parts of a call without options."""


def received_parts(risk_tier: str, options: ResolveOptions) -> ReceivedParts:
    """Return the texts around goal and request_id. All that a replay needs stands in them.

    Raises:
        InvalidInput: `not_canonical` when the context is not I-JSON, `invalid_context` when it is longer than
            1,000,000 characters.
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
    if len(text) > MAX_PAYLOAD_CHARS:
        raise InvalidInput(
            "invalid_context", f"is longer than {MAX_PAYLOAD_CHARS} characters", pointer="/context"
        )
    return (text[:-1] + "," if before else "{", after)


def expand_resolve(argument: ResolveArgument) -> EventTexts:
    """Return (event_type, canonical payload) of each event of one resolve."""
    resolution, goal, (before, after) = argument
    variant = cast(Variant, resolution.outcome)
    request_id = resolution.request_id
    injected = resolution.selected.events
    completed, completed_on = variant.completed_before_ids
    return [
        (
            "carp.request.received",
            f'{before}"goal":{encode_basestring(goal)},"operation":"resolve",'
            f'"request_id":"{request_id}"{after}',
        ),
        *variant.policy_events,
        *injected,
        (
            "carp.resolution.completed",
            f"{completed}{len(injected)}{completed_on}{request_id}"
            f'","resolution_id":"{resolution.resolution_id}","ttl_seconds":{resolution.ttl_seconds}}}',
        ),
    ]
