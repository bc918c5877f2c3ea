"""What PROTOCOL 1.7, 1.8 and 2.3-2.5 say of one action, written down slowly over plain JSON: no code of the
product, no compiled form, no cache. `manifest` is an atlas as a dict."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

TIERS = ["low", "medium", "high", "critical"]
MINUTE_NS = 60 * 10**9
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def glob_matches(pattern: str, text: str) -> bool:
    return (
        re.fullmatch(".+".join(re.escape(piece) for piece in pattern.split("*")), text, re.DOTALL) is not None
    )


def any_matches(patterns: list[str], text: str) -> bool:
    return any(glob_matches(pattern, text) for pattern in patterns)


def capabilities_of(manifest: dict[str, Any], action_id: str) -> set[str]:
    return {one["capability_id"] for one in manifest["capabilities"] if action_id in one["actions"]}


def window_is_open(window: dict[str, Any], wall_ns: int) -> bool | None:
    try:
        zone = ZoneInfo(window.get("timezone", "UTC"))
    except ZoneInfoNotFoundError:
        return None
    now = datetime.fromtimestamp(wall_ns // 10**9, zone).replace(tzinfo=None)
    for day in (now.date(), now.date() - timedelta(days=1)):
        start = datetime.fromisoformat(f"{day}T{window['start']}")
        end = datetime.fromisoformat(f"{day}T{window['end']}")
        if end <= start:
            end += timedelta(days=1)
        if start <= now < end and DAYS[day.weekday()] in window.get("days", DAYS):
            return True
    return False


def window_answer_ends(window: dict[str, Any], wall_ns: int) -> int:
    """Return when the local clock next passes the window's start or end, or the zone changes its offset.

    What cannot be told is asked again with the next minute. Looks at each quarter of an hour: no test has a
    window or a zone that changes between two of them.
    """
    try:
        zone = ZoneInfo(window.get("timezone", "UTC"))
    except ZoneInfoNotFoundError:
        return (wall_ns // MINUTE_NS + 1) * MINUTE_NS
    offset = datetime.fromtimestamp(wall_ns // 10**9, zone).utcoffset()
    quarter = 15 * 60
    seconds = wall_ns // 10**9 // quarter * quarter
    while True:
        seconds += quarter
        local = datetime.fromtimestamp(seconds, zone)
        if f"{local:%H:%M}" in (window["start"], window["end"]) or local.utcoffset() != offset:
            return seconds * 10**9


def value_text(value: str | int | float) -> str:
    """Return a context value as a glob sees it: strings as they are, the rest as canonical JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def conditions_hold(
    conditions: dict[str, Any], facts: dict[str, Any], tier: str, capabilities: set[str]
) -> bool | None:
    """Return the three-valued and of all that are present."""
    parts: list[bool | None] = []
    if "risk_tiers" in conditions:
        parts.append(tier in conditions["risk_tiers"])
    if "agents" in conditions:
        parts.append(any_matches(conditions["agents"], facts["agent_id"]))
    if "capabilities" in conditions:
        parts.append(bool(capabilities & set(conditions["capabilities"])))
    for key, pattern in conditions.get("context_matches", {}).items():
        value = facts["context"].get(key)
        told = isinstance(value, str | int | float) and len(value_text(value)) <= 1024
        parts.append(glob_matches(pattern, value_text(value)) if told else None)
    if "time_window" in conditions:
        parts.append(window_is_open(conditions["time_window"], facts["wall_ns"]))
    if False in parts:
        return False
    return None if None in parts else True


def acting(manifest: dict[str, Any], action: dict[str, Any], facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the policies that act on an action, higher priority first, then in manifest order."""
    capabilities = capabilities_of(manifest, action["action_id"])
    tier = TIERS[max(TIERS.index(action.get("risk_tier", "low")), TIERS.index(facts["risk_tier"]))]

    def applies(policy: dict[str, Any]) -> bool:
        if "actions" in policy and not any_matches(policy["actions"], action["action_id"]):
            return False
        holds = conditions_hold(policy.get("conditions", {}), facts, tier, capabilities)
        return holds is True or (holds is None and policy["type"] != "allow")

    return [one for one in by_priority(manifest["policies"]) if applies(one)]


def by_priority(policies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the higher priority first, else manifest order."""
    ranks = sorted({one.get("priority", 0) for one in policies}, reverse=True)
    return [one for rank in ranks for one in policies if one.get("priority", 0) == rank]


def is_listed(scope: dict[str, Any], action_id: str, capabilities: set[str]) -> bool:
    parameters = scope["parameters"]
    named = any_matches(parameters.get("actions", []), action_id)
    return named or bool(capabilities & set(parameters.get("capabilities", [])))


def verdict(
    manifest: dict[str, Any], action: dict[str, Any], facts: dict[str, Any], full: set[str]
) -> tuple[str, str | None]:
    """Return (policy_id, reason), reason None when allowed. `full` holds the ids of exhausted limits."""
    action_id = action["action_id"]
    capabilities = capabilities_of(manifest, action_id)
    own = f"{action_id}#rate_limit"
    by_step: dict[int, list[tuple[str, str | None]]] = {step: [] for step in range(1, 7)}
    if "rate_limit" in action and own in full:
        by_step[3].append((own, "rate_limit_exceeded"))
    for one in acting(manifest, action, facts):
        name, kind = one["policy_id"], one["type"]
        hits: dict[str, tuple[bool, int, str | None]] = {
            "deny": (True, 1, one.get("parameters", {}).get("reason", "denied_by_policy")),
            "scope": (kind == "scope" and not is_listed(one, action_id, capabilities), 1, "out_of_scope"),
            "require_approval": (True, 2, "requires_approval"),
            "rate_limit": (name in full, 3, "rate_limit_exceeded"),
            "budget": (name in full, 4, "budget_exceeded"),
            "allow": (True, 5, None),
        }
        hit, step, reason = hits[kind]
        if hit:
            by_step[step].append((name, reason))
    by_step[6].append(("default-deny", "no_matching_policy"))
    return next(found[0] for _, found in sorted(by_step.items()) if found)


def candidates(manifest: dict[str, Any], required_capabilities: list[str]) -> list[dict[str, Any]]:
    return [
        one
        for one in manifest["actions"]
        if not required_capabilities
        or capabilities_of(manifest, one["action_id"]) & set(required_capabilities)
    ]


def decision(verdicts: list[tuple[str, str | None]], awaiting: set[str]) -> str:
    """Sum up. `awaiting` holds the ids of the require_approval policies."""
    allowed = [reason is None for _, reason in verdicts]
    if allowed and all(allowed):
        return "allow"
    if any(allowed):
        return "partial"
    return "requires_approval" if any(name in awaiting for name, _ in verdicts) else "deny"
