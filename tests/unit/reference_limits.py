"""PROTOCOL 2.6's limits written down slowly: every call that was ever taken is kept and counted anew each
time. No code of the product."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from . import reference_evaluator as evaluator

NEVER = -1


def limits_of(
    manifest: dict[str, Any], action: dict[str, Any], facts: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the limits that a call of the action takes from: its own, rate limits, budgets."""
    found = []
    if "rate_limit" in action:
        own = {"policy_id": f"{action['action_id']}#rate_limit", "type": "rate_limit"}
        found.append({**own, "parameters": action["rate_limit"]})
    acting = evaluator.acting(manifest, action, facts)
    found += [one for one in acting if one["type"] == "rate_limit"]
    found += [one for one in acting if one["type"] == "budget"]
    return found


def cost_of(limit: dict[str, Any], parameters: dict[str, Any]) -> Decimal | None:
    """Return what a call costs, None when its parameters give no finite cost >= 0."""
    terms = limit["parameters"]
    if "cost_parameter" not in terms:
        return Decimal(str(terms.get("cost", 0)))
    value = parameters.get(terms["cost_parameter"][1:])
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return Decimal(str(value))


class Taken:
    """The calls of all accounts since the beginning."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[str, str, str, str], int, Decimal]] = []

    def take(self, account: tuple[str, str, str, str], elapsed_ns: int, cost: Decimal) -> None:
        self.calls.append((account, elapsed_ns, cost))

    def wait_ms(
        self,
        limit: dict[str, Any],
        account: tuple[str, str, str, str],
        elapsed_ns: int,
        cost: Decimal | None = None,
    ) -> int | None:
        """Return None when one more call fits, else the ms until it does.

        Without a cost it asks for the least that a call can cost; a purse that is empty to the last cent is
        full then, although a call for nothing would fit.
        """
        window = limit["parameters"].get("window_seconds")
        window_ns = None if window is None else round(window * 10**9)
        counted = [
            (time_ns, spent)
            for name, time_ns, spent in self.calls
            if name == account and (window_ns is None or time_ns > elapsed_ns - window_ns)
        ]
        if has_room(limit, counted, cost):
            return None
        for index, (time_ns, _) in enumerate(counted):
            if window_ns is not None and has_room(limit, counted[index + 1 :], cost):
                return max(1, math.ceil((time_ns + window_ns - elapsed_ns) / 1_000_000))
        return NEVER

    def forget(self, atlas_id: str | None = None, session_id: str | None = None) -> None:
        """Drop what an unloaded atlas or an ended session has taken."""
        self.calls = [
            one
            for one in self.calls
            if one[0][0] != atlas_id and (one[0][2] != "session" or one[0][3] != session_id)
        ]


def account_of(
    atlas_id: str, limit: dict[str, Any], agent_id: str, session_id: str
) -> tuple[str, str, str, str]:
    """Return whose calls are counted together: rate limits per agent, budgets per their scope."""
    scope = "agent" if limit["type"] == "rate_limit" else limit["parameters"].get("scope", "session")
    subject = {"agent": agent_id, "session": session_id, "atlas": ""}[scope]
    return atlas_id, limit["policy_id"], scope, subject


def has_room(limit: dict[str, Any], counted: list[tuple[int, Decimal]], cost: Decimal | None) -> bool:
    terms = limit["parameters"]
    if terms.get("max_calls") is not None and len(counted) >= terms["max_calls"]:
        return False
    if terms.get("max_cost") is None:
        return True
    most, spent = Decimal(str(terms["max_cost"])), sum((spent for _, spent in counted), Decimal(0))
    if cost is None and spent >= most > 0:
        return False
    return spent + (Decimal(str(terms.get("cost", 0))) if cost is None else cost) <= most
