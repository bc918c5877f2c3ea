"""Rate limits and budgets: what was taken, and whether there is room (PROTOCOL 2.6).

execute takes, resolve only asks. Times are elapsed nanoseconds of the runtime's timeline.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from ..errors import Json
from ..model.atlas import Action, Policy, PolicyParameters

NEVER: Final = -1
"""retry_after_ms of a budget without a window: it does not refill."""

_NS_PER_SECOND: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_SWEEP_EVERY: Final = 1024
_NOTHING: Final = Decimal(0)
_INDEX: Final = re.compile("0|[1-9][0-9]{0,8}")

Account: TypeAlias = tuple[str, str, str]
"""atlas_id, policy_id, and the subject: whose calls are counted together."""


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
        return self.atlas_id, self.policy_id, subjects_of(agent_id, session_id)[self.scope]

    def cost_of(self, parameters: dict[str, Json]) -> float | None:
        """Return what a call costs; None when its parameters give no finite cost >= 0."""
        if self.cost_parameter is None:
            return 0.0 if self.cost is None else self.cost
        value = _at_pointer(parameters, self.cost_parameter)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            cost = float(value)
        except OverflowError:
            return None
        return cost if math.isfinite(cost) and cost >= 0 else None


def subjects_of(agent_id: str, session_id: str) -> dict[str, str]:
    """Return, by scope, whose calls a caller's are counted with."""
    return {"agent": f"agent:{agent_id}", "session": f"session:{session_id}", "atlas": "atlas:"}


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
    return None if seconds is None else round(seconds * _NS_PER_SECOND)


def _at_pointer(value: Json, pointer: str) -> Json:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and _INDEX.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _decimal(cost: float | None) -> Decimal:
    return _NOTHING if not cost else Decimal(repr(cost))


def _has_room(limit: Limit, calls: int, spent: Decimal, cost: float | None) -> bool:
    if limit.max_calls is not None and calls >= limit.max_calls:
        return False
    if limit.max_cost is None:
        return True
    most = _decimal(limit.max_cost)
    if cost is None and spent >= most > 0:
        return False
    return spent + _decimal(limit.cost if cost is None else cost) <= most


def _wait_ms(limit: Limit, taken: _Taken | None, elapsed_ns: int, cost: float | None) -> int | None:
    calls, spent = (0, _NOTHING) if taken is None else (taken.calls, taken.cost)
    if _has_room(limit, calls, spent, cost):
        return None
    if limit.window_ns is None or taken is None:
        return NEVER
    for time_ns, left in taken.entries:
        calls -= 1
        spent -= left
        if _has_room(limit, calls, spent, cost):
            return max(1, -(-(time_ns + limit.window_ns - elapsed_ns) // _NS_PER_MS))
    return NEVER


class _Taken:
    """The calls of one account that still count, with their costs as the decimals that they were written as:
    three times 0.1 is 0.3, which floats deny."""

    __slots__ = ("calls", "cost", "entries")

    def __init__(self) -> None:
        self.calls = 0
        self.cost = _NOTHING
        self.entries: deque[tuple[int, Decimal]] = deque()

    def forget_before(self, time_ns: int) -> None:
        """Drop what left the window."""
        while self.entries and self.entries[0][0] <= time_ns:
            self.calls -= 1
            self.cost -= self.entries.popleft()[1]


class Ledger:
    """What every account has taken.

    `full` holds the accounts that may be full; while it is empty no limit can bite, so that resolve asks
    nothing else. Only `retry_at_resolve` takes one out: a resolve is judged by the limits that are loaded
    now, an execute by those of its resolution, which may have been looser. Accounts are also found by their
    subject, so that neither a caller nor an ended session pays for the number of limits or of other callers.
    """

    def __init__(self) -> None:
        self._taken: dict[Account, _Taken] = {}
        self._windows: dict[Account, int | None] = {}
        self._of_subject: dict[str, set[Account]] = {}
        self.full: set[Account] = set()
        self._full_of_subject: dict[str, set[Account]] = {}
        self._takes = 0
        self._replaced: set[str] = set()
        """Atlases that were loaded again: a call may be taken under a limit of before."""

    def retry_at_resolve(self, limit: Limit, account: Account, elapsed_ns: int) -> int | None:
        """Answer as `retry_after_ms` for a limit that is loaded now, and keep `full` small."""
        wait_ms = self.retry_after_ms(limit, account, elapsed_ns)
        if wait_ms is None:
            self._mark_free(account)
        return wait_ms

    def retry_after_ms(
        self, limit: Limit, account: Account, elapsed_ns: int, cost: float | None = None
    ) -> int | None:
        """Return None when one more call fits, else the ms until it may; NEVER if waiting does not help.

        Args:
            cost: of the call asked about; None asks for the least that the limit knows of, which is what
                `full` is about.
        """
        taken = self._look(limit, account, elapsed_ns)
        wait_ms = _wait_ms(limit, taken, elapsed_ns, cost)
        if cost is None and wait_ms is not None and taken is not None:
            self._mark_full(account)  # that not even a first call fits is known to the plan
        return wait_ms

    def full_of(self, agent_id: str, session_id: str) -> list[Account]:
        """Return those of `full` that a caller's calls count in."""
        subjects = subjects_of(agent_id, session_id).values()
        return [account for subject in subjects for account in self._full_of_subject.get(subject, ())]

    def take(self, limit: Limit, account: Account, elapsed_ns: int, cost: float) -> None:
        """Count one call. Whether it fits was asked before; there is no refund."""
        taken = self._taken.setdefault(account, _Taken())
        self._of_subject.setdefault(account[2], set()).add(account)
        self._windows[account] = limit.window_ns
        taken.calls += 1
        taken.cost += _decimal(cost)
        if limit.window_ns is not None:
            taken.entries.append((elapsed_ns, _decimal(cost)))
        self._takes += 1
        if self._takes % _SWEEP_EVERY == 0:
            self._sweep(elapsed_ns)
        if limit.atlas_id in self._replaced:
            self._mark_full(account)
        else:
            self.retry_after_ms(limit, account, elapsed_ns)

    def forget_session(self, session_id: str) -> None:
        """Drop the accounts of an ended session."""
        self._drop(self._of_subject.get(f"session:{session_id}", ()))

    def look_again_at(self, atlas_id: str) -> None:
        """Count an atlas's accounts as full until a resolve looks at them: its limits may be tighter now."""
        self._replaced.add(atlas_id)
        for account in self._taken:
            if account[0] == atlas_id:
                self._mark_full(account)

    def forget_atlas(self, atlas_id: str) -> None:
        """Drop the accounts of an atlas that was unloaded."""
        self._replaced.discard(atlas_id)
        self._drop([account for account in self._taken if account[0] == atlas_id])

    def _look(self, limit: Limit, account: Account, elapsed_ns: int) -> _Taken | None:
        taken = self._taken.get(account)
        if taken is None or limit.window_ns is None:
            return taken
        if self._windows[account] is None:
            # An atlas loaded anew gave the budget a window; when the calls before were made was not kept.
            self._drop([account])
            return None
        taken.forget_before(elapsed_ns - limit.window_ns)
        return taken

    def _sweep(self, elapsed_ns: int) -> None:
        """Drop the accounts whose whole window has passed."""
        past = []
        for account, taken in self._taken.items():
            window_ns = self._windows[account]
            if window_ns is None:
                continue
            if not taken.entries or taken.entries[-1][0] + window_ns <= elapsed_ns:
                past.append(account)
        self._drop(past)

    def _drop(self, accounts: Iterable[Account]) -> None:
        for account in tuple(accounts):
            del self._taken[account]
            del self._windows[account]
            _remove(self._of_subject, account)
            self._mark_free(account)

    def _mark_full(self, account: Account) -> None:
        self.full.add(account)
        self._full_of_subject.setdefault(account[2], set()).add(account)

    def _mark_free(self, account: Account) -> None:
        if account in self.full:
            self.full.discard(account)
            _remove(self._full_of_subject, account)


def _remove(by_subject: dict[str, set[Account]], account: Account) -> None:
    those = by_subject[account[2]]
    those.discard(account)
    if not those:
        del by_subject[account[2]]
