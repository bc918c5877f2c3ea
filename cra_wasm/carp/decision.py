"""The verdict on one action: a pure function of policies and facts (PROTOCOL 2.4, first hit wins)."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Final

from ..model.atlas import RISK_TIERS, Policy
from .conditions import CompiledConditions, Facts, Truth
from .limits import Limit, limit_of_policy
from .patterns import Matcher, compile_globs

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
    """What of an action the policies look at."""

    action_id: str
    risk_tier: str
    capabilities: frozenset[str]
    own_limit: Limit | None = None


class CompiledPolicy:
    """A policy with its globs compiled once."""

    __slots__ = ("_in_scope", "_scope_capabilities", "_selects", "conditions", "limit", "policy")

    def __init__(self, atlas_id: str, policy: Policy) -> None:
        self.policy = policy
        self.conditions = CompiledConditions(policy.conditions) if policy.conditions else None
        self.limit = limit_of_policy(atlas_id, policy) if policy.type in ("rate_limit", "budget") else None
        self._selects: Matcher = compile_globs(policy.actions)
        self._in_scope = compile_globs(policy.parameters.actions or ())
        self._scope_capabilities = frozenset(policy.parameters.capabilities or ())

    def applies(self, subject: Subject, facts: Facts) -> Truth:
        """Tell whether the policy is about that action, under these facts."""
        if not self._selects(subject.action_id):
            return False
        if self.conditions is None:
            return True
        tier = higher_tier(subject.risk_tier, facts.risk_tier)
        return self.conditions.hold(facts, tier=tier, capabilities=subject.capabilities)

    def restricts(self, subject: Subject, facts: Facts) -> bool:
        """Whether a restricting policy acts: also when its conditions cannot be told (fail closed)."""
        return self.applies(subject, facts) is not False

    def covers(self, subject: Subject) -> bool:
        """Whether a scope policy lists the action, by glob or by capability."""
        return self._in_scope(subject.action_id) or bool(self._scope_capabilities & subject.capabilities)


def higher_tier(one: str, other: str) -> str:
    """Return the higher of two risk tiers, so that an agent cannot lower an action's own."""
    return max(one, other, key=RISK_TIERS.index)


def by_priority(policies: Iterable[CompiledPolicy]) -> tuple[CompiledPolicy, ...]:
    """Return policies with the higher priority first, else in manifest order."""
    return tuple(sorted(policies, key=lambda compiled: -compiled.policy.priority))


def decide(
    subject: Subject,
    policies: tuple[CompiledPolicy, ...],
    facts: Facts,
    exhausted: Set[str],
    *,
    approved: bool = False,
) -> Verdict:
    """Return the verdict on an action.

    Args:
        policies: those of the action's own atlas, in the order of `by_priority`.
        exhausted: ids of the rate limits and budgets that have no room for this caller.
        approved: whether an approval for this very call is at hand, which skips that step.
    """
    return (
        _forbidden(subject, policies, facts)
        or (None if approved else _awaiting(subject, policies, facts))
        or _over_limit(subject, policies, facts, exhausted)
        or _allowed(subject, policies, facts)
        or Verdict(subject.action_id, False, DEFAULT_DENY, REASON_DEFAULT)
    )


def _forbidden(subject: Subject, policies: tuple[CompiledPolicy, ...], facts: Facts) -> Verdict | None:
    for compiled in policies:
        policy = compiled.policy
        if policy.type == "deny" and compiled.restricts(subject, facts):
            return Verdict(
                subject.action_id, False, policy.policy_id, policy.parameters.reason or REASON_DENIED
            )
        if policy.type == "scope" and not compiled.covers(subject) and compiled.restricts(subject, facts):
            return Verdict(subject.action_id, False, policy.policy_id, REASON_OUT_OF_SCOPE)
    return None


def _awaiting(subject: Subject, policies: tuple[CompiledPolicy, ...], facts: Facts) -> Verdict | None:
    for compiled in policies:
        if compiled.policy.type == "require_approval" and compiled.restricts(subject, facts):
            return Verdict(
                subject.action_id, False, compiled.policy.policy_id, REASON_APPROVAL, awaits_approval=True
            )
    return None


def _over_limit(
    subject: Subject, policies: tuple[CompiledPolicy, ...], facts: Facts, exhausted: Set[str]
) -> Verdict | None:
    if not exhausted:
        return None
    if subject.own_limit is not None and subject.own_limit.policy_id in exhausted:
        return Verdict(subject.action_id, False, subject.own_limit.policy_id, REASON_RATE)
    for kind, reason in (("rate_limit", REASON_RATE), ("budget", REASON_BUDGET)):
        for compiled in policies:
            policy = compiled.policy
            if policy.type == kind and policy.policy_id in exhausted and compiled.restricts(subject, facts):
                return Verdict(subject.action_id, False, policy.policy_id, reason)
    return None


def _allowed(subject: Subject, policies: tuple[CompiledPolicy, ...], facts: Facts) -> Verdict | None:
    for compiled in policies:
        if compiled.policy.type == "allow" and compiled.applies(subject, facts) is True:
            return Verdict(subject.action_id, True, compiled.policy.policy_id)
    return None
