"""PROTOCOL 3.9 written down slowly: which policies take what out of an event. No code of the product."""

from __future__ import annotations

import copy
import re
from typing import Any

from . import reference_evaluator as evaluator
from .reference_trace import Texts, canonical, sha256

MAY_GO: dict[str, list[str]] = {
    "session.started": ["goal"],
    "carp.request.received": ["goal", "context"],
    "action.failed": ["error_message"],
    "approval.granted": ["approver", "reason"],
    "approval.refused": ["approver", "reason"],
    "error.occurred": ["message", "pointer"],
}
OWN = re.compile(r"(session|carp|action|policy|context|approval|runtime|clock|trace|error)\.")
Removals = dict[str, bool]
"""Each pointer, and whether the mark tells the hash."""


def removals_of_request(atlases: list[dict[str, Any]], facts: dict[str, Any]) -> Removals:
    return union(atlases, lambda conditions: may_hold(conditions, facts))


def removals_of_session(atlases: list[dict[str, Any]], agent_id: str | None, wall_ns: int) -> Removals:
    if agent_id is None:
        return union(atlases, lambda conditions: True)
    facts = {"agent_id": agent_id, "risk_tier": "low", "context": {}, "wall_ns": wall_ns}
    return union(atlases, lambda conditions: may_hold(conditions, facts))


def union(atlases: list[dict[str, Any]], counts: Any) -> Removals:
    found: Removals = {}
    for atlas in atlases:
        for policy in atlas["policies"]:
            terms = policy.get("parameters", {})
            for pointer in terms.get("redact", []):
                if counts(policy.get("conditions", {})):
                    found[pointer] = found.get(pointer, True) and terms.get("redact_hash", False)
    plain = [pointer for pointer, is_hashed in found.items() if not is_hashed]
    return {
        pointer: is_hashed and not any(one.startswith(f"{pointer}/") for one in plain)
        for pointer, is_hashed in found.items()
    }


def may_hold(conditions: dict[str, Any], facts: dict[str, Any]) -> bool:
    """Whether they hold, or cannot be told, for some action of whatever tier and capabilities."""
    known = {name: one for name, one in conditions.items() if name not in ("capabilities", "risk_tiers")}
    lowest = evaluator.TIERS.index(facts["risk_tier"])
    tiers = conditions.get("risk_tiers")
    tier_fits = tiers is None or any(tier in tiers for tier in evaluator.TIERS[lowest:])
    return tier_fits and evaluator.conditions_hold(known, facts, "low", set()) is not False


def redacted(texts: Texts, removals: Removals) -> Texts:
    return [(event_type, payload_without(event_type, payload, removals)) for event_type, payload in texts]


def payload_without(event_type: str, payload: dict[str, Any], removals: Removals) -> dict[str, Any]:
    payload = copy.deepcopy(payload)
    gone = set(payload.get("redacted", [])) if OWN.match(event_type) else set()
    for pointer in sorted(removals, key=lambda one: one.split("/")):
        *outer, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        first = [*outer, last][0]
        if pointer in gone or (OWN.match(event_type) and first not in MAY_GO.get(event_type, [])):
            continue
        holder: Any = payload
        for part in outer:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and last in holder:
            digest = sha256(canonical(holder[last]))
            holder[last] = f"[redacted sha256:{digest}]" if removals[pointer] else "[redacted]"
            gone.add(pointer)
    return {**payload, "redacted": sorted(gone)} if gone else payload


def without_names(payload: dict[str, Any], removals: Removals) -> dict[str, Any]:
    """Return an error's payload whose pointer ends at a member that goes: names in it go with it (3.9.15)."""
    pointer = payload.get("pointer", "")
    start = "/payload" if pointer.startswith("/payload/") else ""
    outer = [start + one for one in removals if pointer.startswith(f"{start}{one}/")]
    if not outer:
        return payload
    shown = min(outer, key=len)
    return {**payload, "pointer": shown, "message": payload["message"].replace(pointer, shown)}
