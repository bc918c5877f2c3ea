"""The verdict on one action: a pure function of policies and facts (PROTOCOL 2.4, first hit wins)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Final

from ..errors import Json
from ..model.atlas import RISK_TIERS, Policy
from .conditions import CompiledConditions, Facts, Truth
from .limits import Limit, limit_of_policy
from .patterns import select_matching

DEFAULT_DENY: Final = "default-deny"

REASON_DEFAULT: Final = "no_matching_policy"
REASON_DENIED: Final = "denied_by_policy"
REASON_OUT_OF_SCOPE: Final = "out_of_scope"
REASON_APPROVAL: Final = "requires_approval"
REASON_RATE: Final = "rate_limit_exceeded"
REASON_BUDGET: Final = "budget_exceeded"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about one action, by which policy, and why (None when allowed).

    `awaits_approval` says that an approval is what stands in the way first; the reason cannot, as a deny
    policy's is free text.
    """

    action_id: str
    allowed: bool
    policy_id: str
    reason: str | None = None
    awaits_approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What of an action the policies look at, and those that select it."""

    action_id: str
    risk_tier: str
    capabilities: frozenset[str]
    own_limit: Limit | None = None
    governing: Governing


class CompiledPolicy:
    """A policy with its globs matched against the actions of its atlas, once.

    Args:
        action_ids: all actions of the atlas; a policy governs no others.
    """

    __slots__ = ("_covered", "_scope_capabilities", "conditions", "constraint", "limit", "policy", "selected")

    def __init__(self, atlas_id: str, policy: Policy, action_ids: frozenset[str]) -> None:
        self.policy = policy
        self.conditions = CompiledConditions(policy.conditions) if policy.conditions else None
        self.limit = limit_of_policy(atlas_id, policy) if policy.type in ("rate_limit", "budget") else None
        self.constraint = _constraint_of(policy)
        self.selected = select_matching(policy.actions, action_ids)
        self._covered = select_matching(policy.parameters.actions or (), action_ids)
        self._scope_capabilities = frozenset(policy.parameters.capabilities or ())

    def applies(self, subject: Subject, facts: Facts) -> Truth:
        """Tell whether the conditions hold for an action that the policy selects."""
        if self.conditions is None:
            return True
        tier = higher_tier(subject.risk_tier, facts.risk_tier)
        return self.conditions.hold(facts, tier=tier, capabilities=subject.capabilities)

    def restricts(self, subject: Subject, facts: Facts) -> bool:
        """Whether a restricting policy acts: also when its conditions cannot be told (fail closed)."""
        return self.conditions is None or self.applies(subject, facts) is not False

    def covers(self, subject: Subject) -> bool:
        """Whether a scope policy lists the action, by glob or by capability."""
        return subject.action_id in self._covered or bool(self._scope_capabilities & subject.capabilities)


def _constraint_of(policy: Policy) -> tuple[str, dict[str, Json]] | None:
    """Return the type and the parameters of the constraint that it makes; None for one that makes none.

    Made at load: the first resolve calls nothing of pydantic, whose first call alone takes 7 ms in Pyodide.
    """
    window = policy.conditions.time_window if policy.conditions else None
    if policy.type == "allow" and window is not None:
        return "time_window", window.model_dump(mode="json", exclude_none=True)
    if policy.type in ("allow", "deny"):
        return None
    parameters = policy.parameters.model_dump(
        mode="json", exclude_none=True, exclude={"redact", "redact_hash"}
    )
    return policy.type, {"allowed": parameters} if policy.type == "scope" else parameters


class Governing:
    """The policies that select one action, by the step of the verdict that asks them, each step by priority.

    Many actions share one: see `governing_of`.
    """

    __slots__ = ("allowing", "approving", "forbidding", "limiting", "windowed")

    def __init__(self, policies: Sequence[CompiledPolicy]) -> None:
        def of(*kinds: str) -> tuple[CompiledPolicy, ...]:
            return tuple(one for one in policies if one.policy.type in kinds)

        self.forbidding = of("deny", "scope")
        self.approving = of("require_approval")
        self.limiting = (*of("rate_limit"), *of("budget"))
        self.allowing = of("allow")
        self.windowed = tuple(one for one in policies if one.conditions and one.conditions.has_window)


_TIERS: Final = {tier: index for index, tier in enumerate(RISK_TIERS)}


def higher_tier(one: str, other: str) -> str:
    """Return the higher of two risk tiers, so that an agent cannot lower an action's own."""
    return one if _TIERS[one] >= _TIERS[other] else other


def by_priority(policies: Iterable[CompiledPolicy]) -> tuple[CompiledPolicy, ...]:
    """Return policies with the higher priority first, else in manifest order."""
    return tuple(sorted(policies, key=lambda compiled: -compiled.policy.priority))


def governing_of(policies: Iterable[CompiledPolicy], action_ids: Iterable[str]) -> dict[str, Governing]:
    """Return what governs each action, for policies in the order of `by_priority`."""
    selecting: dict[str, list[CompiledPolicy]] = {action_id: [] for action_id in action_ids}
    for compiled in policies:
        for action_id in compiled.selected:
            selecting[action_id].append(compiled)
    shared: dict[tuple[CompiledPolicy, ...], Governing] = {}
    found = {}
    for action_id, those in selecting.items():
        key = tuple(those)
        found[action_id] = shared.get(key) or shared.setdefault(key, Governing(key))
    return found


def decide(subject: Subject, facts: Facts, exhausted: Set[str], *, approved: bool = False) -> Verdict:
    """Return the verdict on an action.

    Args:
        exhausted: ids of its atlas's rate limits and budgets that have no room for this caller.
        approved: whether an approval for this very call is at hand, which skips that step.
    """
    return (
        _forbidden(subject, facts)
        or (None if approved else _awaiting(subject, facts))
        or (_over_limit(subject, facts, exhausted) if exhausted else None)
        or _allowed(subject, facts)
        or Verdict(subject.action_id, False, DEFAULT_DENY, REASON_DEFAULT)
    )


def _forbidden(subject: Subject, facts: Facts) -> Verdict | None:
    for compiled in subject.governing.forbidding:
        policy = compiled.policy
        if policy.type == "deny":
            if compiled.restricts(subject, facts):
                reason = policy.parameters.reason or REASON_DENIED
                return Verdict(subject.action_id, False, policy.policy_id, reason)
        elif not compiled.covers(subject) and compiled.restricts(subject, facts):
            return Verdict(subject.action_id, False, policy.policy_id, REASON_OUT_OF_SCOPE)
    return None


def _awaiting(subject: Subject, facts: Facts) -> Verdict | None:
    for compiled in subject.governing.approving:
        if compiled.restricts(subject, facts):
            return Verdict(
                subject.action_id, False, compiled.policy.policy_id, REASON_APPROVAL, awaits_approval=True
            )
    return None


def _over_limit(subject: Subject, facts: Facts, exhausted: Set[str]) -> Verdict | None:
    if subject.own_limit is not None and subject.own_limit.policy_id in exhausted:
        return Verdict(subject.action_id, False, subject.own_limit.policy_id, REASON_RATE)
    for compiled in subject.governing.limiting:
        policy = compiled.policy
        if policy.policy_id in exhausted and compiled.restricts(subject, facts):
            reason = REASON_RATE if policy.type == "rate_limit" else REASON_BUDGET
            return Verdict(subject.action_id, False, policy.policy_id, reason)
    return None


def _allowed(subject: Subject, facts: Facts) -> Verdict | None:
    for compiled in subject.governing.allowing:
        if compiled.applies(subject, facts) is True:
            return Verdict(subject.action_id, True, compiled.policy.policy_id)
    return None
