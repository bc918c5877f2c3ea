"""The texts of the events of one resolve, in the order of PROTOCOL 3.3."""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Final, TypeAlias

from ..carp.plan import Variant
from ..errors import InvalidInput, Json
from ..model.atlas import RISK_TIERS
from ..model.limits import MAX_PAYLOAD_CHARS
from ..model.resolution import Resolution
from ..trace.canonical import canonical_json
from ..trace.raw import EventTexts

ReceivedParts: TypeAlias = tuple[str, str]
"""The canonical payload of carp.request.received without its goal and request_id: before, and after."""

ResolveArgument: TypeAlias = tuple[Resolution, Variant, str, ReceivedParts]

_PLAIN_PARTS: Final = {tier: ("{", f',"risk_tier":"{tier}"}}') for tier in RISK_TIERS}


def received_parts(
    risk_tier: str,
    required_capabilities: tuple[str, ...],
    context_hints: tuple[str, ...],
    atlas_ids: tuple[str, ...] | None,
    context: Mapping[str, Json] | None,
) -> ReceivedParts:
    """Return the texts around goal and request_id. All that a replay needs stands in them.

    Raises:
        InvalidInput: `not_canonical` when the context is not I-JSON, `invalid_context` when it is longer than
            1,000,000 characters.
    """
    before: dict[str, Json] = {}
    if atlas_ids is not None:
        before["atlas_ids"] = list(atlas_ids)
    if context:
        before["context"] = dict(context)
    if context_hints:
        before["context_hints"] = list(context_hints)
    plain = _PLAIN_PARTS[risk_tier]
    if not before and not required_capabilities:
        return plain
    after = plain[1]
    if required_capabilities:
        wanted = canonical_json(list(required_capabilities))
        after = f',"required_capabilities":{wanted}{after}'
    text = canonical_json(before)
    if len(text) > MAX_PAYLOAD_CHARS:
        raise InvalidInput(
            "invalid_context", f"is longer than {MAX_PAYLOAD_CHARS} characters", pointer="/context"
        )
    return (text[:-1] + "," if before else "{", after)


def count_events(resolution: Resolution, variant: Variant) -> int:
    """Return how many events the resolve gives."""
    return 2 + len(variant.policy_payloads) + len(resolution.selected.payloads)


def expand_resolve(argument: ResolveArgument) -> EventTexts:
    """Return (event_type, canonical payload) of each event of one resolve."""
    resolution, variant, goal, (before, after) = argument
    request_id = resolution.request_id
    selected = resolution.selected
    completed, completed_on = variant.completed_before_ids
    return [
        (
            "carp.request.received",
            f'{before}"goal":{encode_basestring(goal)},"operation":"resolve",'
            f'"request_id":"{request_id}"{after}',
        ),
        *[("policy.evaluated", payload) for payload in variant.policy_payloads],
        *[("context.injected", payload) for payload in selected.payloads],
        (
            "carp.resolution.completed",
            f"{completed}{len(selected.payloads)}{completed_on}{request_id}"
            f'","resolution_id":"{resolution.resolution_id}","ttl_seconds":{resolution.ttl_seconds}}}',
        ),
    ]
