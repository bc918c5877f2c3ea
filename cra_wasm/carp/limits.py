"""Rate limits and budgets: what was taken, and whether there is room (PROTOCOL 2.6).

execute takes, resolve only asks. Times are elapsed nanoseconds of the runtime's timeline.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import Json
from ..model.atlas import Action, Policy, PolicyParameters

NEVER: Final = -1
"""retry_after_ms of a budget without a window: it does not refill."""

_NS_PER_SECOND: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_SWEEP_EVERY: Final = 1024

Account: TypeAlias = tuple[str, str, str]
"""atlas_id, policy_id, and whose calls are counted together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One rate limit or budget, compiled from a policy or from an action's own rate_limit."""

    atlas_id: str
    policy_id: str
    is_rate: bool
    max_calls: int | None
    max_cost: float | None
    window_ns: int | None
    scope: str
    cost: float | None
    cost_parameter: str | None

    @property
    def never_fits(self) -> bool:
        """Whether not even the first call fits."""
        return self.max_calls == 0 or (self.max_cost is not None and (self.cost or 0.0) > self.max_cost)

    def account(self, agent_id: str, session_id: str) -> Account:
        """Return the account of a caller: rate limits count per agent, budgets per their scope."""
        subject = {"agent": agent_id, "session": session_id, "atlas": ""}[self.scope]
        return self.atlas_id, self.policy_id, f"{self.scope}:{subject}"

    def cost_of(self, parameters: dict[str, Json]) -> float | None:
        """Return what a call costs; None when its parameters give no finite cost >= 0."""
        if self.cost_parameter is None:
            return 0.0 if self.cost is None else self.cost
        value = _at_pointer(parameters, self.cost_parameter)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if math.isfinite(value) and value >= 0 else None


def limit_of_policy(atlas_id: str, policy: Policy) -> Limit:
    """Return the limit of a rate_limit or budget policy."""
    parameters: PolicyParameters = policy.parameters
    scope = "agent" if policy.type == "rate_limit" else parameters.scope or "session"
    return Limit(
        atlas_id=atlas_id,
        policy_id=policy.policy_id,
        is_rate=policy.type == "rate_limit",
        max_calls=parameters.max_calls,
        max_cost=parameters.max_cost,
        window_ns=_window_ns(parameters.window_seconds),
        scope=scope,
        cost=parameters.cost,
        cost_parameter=parameters.cost_parameter,
    )


def limit_of_action(atlas_id: str, action: Action) -> Limit | None:
    """Return an action's own rate limit, the policy `<action_id>#rate_limit`."""
    if action.rate_limit is None:
        return None
    return Limit(
        atlas_id=atlas_id,
        policy_id=f"{action.action_id}#rate_limit",
        is_rate=True,
        max_calls=action.rate_limit.max_calls,
        max_cost=None,
        window_ns=_window_ns(action.rate_limit.window_seconds),
        scope="agent",
        cost=None,
        cost_parameter=None,
    )


def _window_ns(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * _NS_PER_SECOND)


def _at_pointer(value: Json, pointer: str) -> Json:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and len(key) < 10 and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


class _Taken:
    """The calls of one account that still count."""

    __slots__ = ("calls", "cost", "entries")

    def __init__(self) -> None:
        self.calls = 0
        self.cost = 0.0
        self.entries: deque[tuple[int, float]] = deque()

    def forget_before(self, time_ns: int) -> None:
        """Drop what left the window."""
        if not self.entries or self.entries[0][0] > time_ns:
            return
        while self.entries and self.entries[0][0] <= time_ns:
            self.calls -= 1
            self.entries.popleft()
        self.cost = math.fsum(cost for _, cost in self.entries)


class Ledger:
    """What every account has taken.

    `full` holds the accounts that were full when they were last looked at; while it is empty no limit can
    bite, so that resolve asks nothing else.
    """

    def __init__(self) -> None:
        self._taken: dict[Account, _Taken] = {}
        self._windows: dict[Account, int | None] = {}
        self.full: set[Account] = set()
        self._takes = 0

    def retry_after_ms(
        self, limit: Limit, account: Account, elapsed_ns: int, cost: float | None = None
    ) -> int | None:
        """Return None when one more call fits, else the ms until it may; NEVER if waiting does not help.

        Args:
            cost: of the call asked about; None asks for the least that the limit knows of.
        """
        taken = self._look(limit, account, elapsed_ns)
        calls = taken.calls if taken else 0
        spent = taken.cost if taken else 0.0
        wanted = (limit.cost or 0.0) if cost is None else cost
        over_calls = limit.max_calls is not None and calls >= limit.max_calls
        over_cost = limit.max_cost is not None and (
            spent + wanted > limit.max_cost or (cost is None and spent >= limit.max_cost > 0)
        )
        if not over_calls and not over_cost:
            self.full.discard(account)
            return None
        if cost is None or wanted == (limit.cost or 0.0):
            self.full.add(account)
        return self._wait_ms(limit, taken, elapsed_ns, over_calls, wanted if over_cost else None)

    def _wait_ms(
        self, limit: Limit, taken: _Taken | None, elapsed_ns: int, over_calls: bool, wanted: float | None
    ) -> int:
        if limit.window_ns is None or taken is None or not taken.entries:
            return NEVER
        calls, spent = taken.calls, taken.cost
        for time_ns, cost in taken.entries:
            calls -= 1
            spent -= cost
            calls_fit = not over_calls or (limit.max_calls is not None and calls < limit.max_calls)
            cost_fits = wanted is None or (limit.max_cost is not None and spent + wanted <= limit.max_cost)
            if calls_fit and cost_fits:
                left_ns = time_ns + limit.window_ns - elapsed_ns
                return max(1, -(-left_ns // _NS_PER_MS))
        return NEVER

    def take(self, limit: Limit, account: Account, elapsed_ns: int, cost: float) -> None:
        """Count one call. Whether it fits was asked before; there is no refund."""
        taken = self._taken.setdefault(account, _Taken())
        self._windows[account] = limit.window_ns
        taken.calls += 1
        taken.cost += cost
        if limit.window_ns is not None:
            taken.entries.append((elapsed_ns, cost))
        self._takes += 1
        if self._takes % _SWEEP_EVERY == 0:
            self._sweep(elapsed_ns)
        self.retry_after_ms(limit, account, elapsed_ns)

    def forget_session(self, session_id: str) -> None:
        """Drop the accounts of an ended session."""
        self._drop([account for account in self._taken if account[2] == f"session:{session_id}"])

    def forget_atlas(self, atlas_id: str) -> None:
        """Drop the accounts of an atlas that was unloaded."""
        self._drop([account for account in self._taken if account[0] == atlas_id])

    def _look(self, limit: Limit, account: Account, elapsed_ns: int) -> _Taken | None:
        taken = self._taken.get(account)
        if taken is not None and limit.window_ns is not None:
            taken.forget_before(elapsed_ns - limit.window_ns)
        return taken

    def _sweep(self, elapsed_ns: int) -> None:
        """Drop the accounts whose whole window has passed."""
        past = []
        for account, taken in self._taken.items():
            window_ns = self._windows[account]
            if window_ns is not None and taken.entries and taken.entries[-1][0] + window_ns <= elapsed_ns:
                past.append(account)
        self._drop(past)

    def _drop(self, accounts: list[Account]) -> None:
        for account in accounts:
            del self._taken[account]
            del self._windows[account]
            self.full.discard(account)
