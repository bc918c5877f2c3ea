"""A Plan: all that resolve answers for one set of facts, compiled once (PROTOCOL 2.3-2.8).

What a plan depends on is its key: the atlases, the tier, the wanted capabilities, the hints, which agent
globs match, the context values that policies look at. What changes besides is small and checked per call:
the time up to which its windows hold, and which limits are full, for which it keeps variants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import Json, NotFound
from ..model.atlas import Policy
from ..model.resolution import (
    Constraint,
    Decision,
    DecisionType,
    DeniedAction,
    Outcome,
    compact_json,
)
from ..model.timestamps import timestamp_text
from .catalogue import CompiledAction, CompiledAtlas
from .conditions import Facts
from .context import ContextSelector
from .decision import REASON_APPROVAL, CompiledPolicy, Verdict, decide
from .limits import Account, Ledger, Limit

_VARIANTS_KEPT: Final = 64

FullLimits = frozenset[tuple[str, str]]
"""(atlas_id, policy_id) of the limits that have no room for the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A plan's answer while a given set of limits is full."""

    outcome: Outcome
    verdicts: tuple[Verdict, ...]
    policy_payloads: tuple[str, ...]
    """Canonical payloads of the policy.evaluated events, in manifest order."""
    completed_before_ids: tuple[str, str]
    """Of the resolution.completed payload: up to context_block_count's value, and on to request_id's."""
    expires_wall_ns: int | None
    """When the first of the time windows that bear on it ends; `decision.expires_at` is its text."""


class Plan:
    """The compiled answer for one key. `valid_until_ns` is None when no time window was asked."""

    __slots__ = (
        "_atlases",
        "_never_fit",
        "_variants",
        "candidate_index",
        "candidates",
        "facts",
        "limits",
        "selector",
        "ttl_seconds",
        "valid_until_ns",
    )

    def __init__(
        self,
        atlases: Sequence[CompiledAtlas],
        facts: Facts,
        required_capabilities: Sequence[str],
        hints: frozenset[str],
        ttl_seconds: int,
    ) -> None:
        self._atlases = {compiled.atlas.atlas_id: compiled for compiled in atlases}
        self.facts = facts
        self.candidates = _candidates(atlases, required_capabilities)
        self.selector = ContextSelector(
            [block for compiled in atlases for block in compiled.blocks],
            facts,
            frozenset(name for compiled in self.candidates for name in compiled.subject.capabilities),
            [compiled.action.action_id for compiled in self.candidates],
            hints,
        )
        self._ask_all_windows()
        touched = {compiled.atlas_id for compiled in self.candidates}
        self.limits = tuple(
            limit for name, compiled in self._atlases.items() if name in touched for limit in compiled.limits
        )
        self._never_fit: FullLimits = frozenset(
            (limit.atlas_id, limit.policy_id) for limit in self.limits if limit.never_fits
        )
        self.ttl_seconds = ttl_seconds
        self.candidate_index = {
            compiled.action.action_id: index for index, compiled in enumerate(self.candidates)
        }
        self._variants: dict[FullLimits, Variant] = {}
        self.valid_until_ns = min(
            (
                until
                for compiled in atlases
                for conditions in compiled.conditions()
                if (until := conditions.window_ends_ns(facts.wall_ns)) is not None
            ),
            default=None,
        )

    def _ask_all_windows(self) -> None:
        """Ask each window that bears on a candidate, so that a resolution ends with the first of them.

        A verdict stops at the first policy that hits. What an execute asks later, once an approval is there
        or for the limits that a call takes from, has to be as fresh as that verdict.
        """
        for compiled in self.candidates:
            for policy in self._atlases[compiled.atlas_id].windowed_policies:
                policy.applies(compiled.subject, self.facts)

    def usual_variant(self) -> Variant:
        """Return the answer while no account is full."""
        return self.variant(self._never_fit)

    def variant_now(self, ledger: Ledger, agent_id: str, session_id: str, elapsed_ns: int) -> Variant:
        """Return the answer under the limits that are full for this caller now."""
        full = set(self._never_fit)
        for limit in self.limits:
            account: Account = limit.account(agent_id, session_id)
            if account in ledger.full and ledger.retry_after_ms(limit, account, elapsed_ns) is not None:
                full.add((limit.atlas_id, limit.policy_id))
        return self.variant(frozenset(full))

    def variant(self, full: FullLimits) -> Variant:
        """Return the answer while exactly these limits are full."""
        known = self._variants.get(full)
        if known is None:
            if len(self._variants) >= _VARIANTS_KEPT:
                self._variants.clear()
            known = self._variants[full] = self._compile(full)
        return known

    def verdict_on(self, compiled: CompiledAction, full: FullLimits, *, approved: bool) -> Verdict:
        """Return the verdict on one action while these limits are full, with or without an approval."""
        exhausted = {policy_id for atlas_id, policy_id in full if atlas_id == compiled.atlas_id}
        policies = self._atlases[compiled.atlas_id].policies
        return decide(compiled.subject, policies, self.facts, exhausted, approved=approved)

    def limits_on(self, compiled: CompiledAction) -> list[Limit]:
        """Return the rate limits that a call takes from, then the budgets: the order of the verdict."""
        found = [compiled.subject.own_limit] if compiled.subject.own_limit else []
        for policy in self._atlases[compiled.atlas_id].policies:
            if policy.limit is not None and policy.restricts(compiled.subject, self.facts):
                found.append(policy.limit)
        found.sort(key=lambda limit: not limit.is_rate)
        return found

    def policy(self, atlas_id: str, policy_id: str) -> Policy | None:
        """Return a policy of one of the plan's atlases; None for those that the runtime makes up."""
        for compiled in self._atlases[atlas_id].policies:
            if compiled.policy.policy_id == policy_id:
                return compiled.policy
        return None

    def _compile(self, full: FullLimits) -> Variant:
        verdicts = tuple(self.verdict_on(compiled, full, approved=False) for compiled in self.candidates)
        allowed = [one for one, verdict in zip(self.candidates, verdicts, strict=True) if verdict.allowed]
        denied = tuple(
            DeniedAction(action_id=verdict.action_id, reason=verdict.reason, policy_id=verdict.policy_id)
            for verdict in verdicts
            if verdict.reason is not None
        )
        until = self.facts.holds_until_wall_ns
        expires_at = None if until is None else timestamp_text(until)
        kind, reason = _decision_of(verdicts)
        decision = Decision(type=kind, reason=reason, expires_at=expires_at)
        constraints = tuple(self._constraints(verdicts))
        outcome = Outcome(
            decision=decision,
            allowed_actions=tuple(one.part for one in allowed),
            denied_actions=denied,
            constraints=constraints,
            ttl_seconds=self.ttl_seconds,
            json_before_context=f'"decision":{compact_json(decision.to_dict())},"context_blocks":',
            json_after_context=(
                f',"allowed_actions":[{",".join(one.json for one in allowed)}]'
                f',"denied_actions":{compact_json([one.to_dict() for one in denied])}'
                f',"constraints":{compact_json([one.to_dict() for one in constraints])}'
                f',"ttl_seconds":{self.ttl_seconds}'
            ),
        )
        return Variant(
            outcome=outcome,
            verdicts=verdicts,
            policy_payloads=tuple(_evaluated_payload(verdict) for verdict in verdicts),
            expires_wall_ns=until,
            completed_before_ids=(
                f'{{"allowed_count":{len(allowed)},"context_block_count":',
                f',"decision_type":"{decision.type}","denied_count":{len(denied)},"request_id":"',
            ),
        )

    def _constraints(self, verdicts: Sequence[Verdict]) -> list[Constraint]:
        found: list[Constraint] = []
        for limit_owner in self.candidates:
            own = limit_owner.action.rate_limit
            if own is not None and limit_owner.subject.own_limit is not None:
                found.append(
                    Constraint(
                        constraint_id=limit_owner.subject.own_limit.policy_id,
                        type="rate_limit",
                        parameters={**own.model_dump(), "actions": [limit_owner.action.action_id]},
                    )
                )
        for atlas_id, atlas in self._atlases.items():
            subjects = [one for one in self.candidates if one.atlas_id == atlas_id]
            for compiled in atlas.policies:
                found.extend(self._constraint(compiled, subjects, verdicts))
        return found

    def _constraint(
        self, compiled: CompiledPolicy, candidates: Sequence[CompiledAction], verdicts: Sequence[Verdict]
    ) -> list[Constraint]:
        policy = compiled.policy
        window = policy.conditions.time_window if policy.conditions else None
        if policy.type == "deny" or (policy.type == "allow" and window is None):
            return []
        if policy.type in ("require_approval", "allow"):
            actions = [one.action_id for one in verdicts if one.policy_id == policy.policy_id]
            known = {one.action.action_id for one in candidates}
            actions = [action_id for action_id in actions if action_id in known]
        else:
            actions = [
                one.action.action_id for one in candidates if compiled.restricts(one.subject, self.facts)
            ]
        if not actions:
            return []
        parameters: dict[str, Json] = policy.parameters.model_dump(mode="json", exclude_none=True)
        if policy.type == "scope":
            parameters = {"allowed": parameters}
        if policy.type == "allow" and window is not None:
            parameters = window.model_dump(mode="json", exclude_none=True)
        kind = "time_window" if policy.type == "allow" else policy.type
        return [
            Constraint(
                constraint_id=policy.policy_id, type=kind, parameters={**parameters, "actions": actions}
            )
        ]


def _candidates(
    atlases: Sequence[CompiledAtlas], required_capabilities: Sequence[str]
) -> tuple[CompiledAction, ...]:
    wanted: set[str] | None = None
    for index, name in enumerate(required_capabilities):
        holders = [compiled for compiled in atlases if name in compiled.capabilities]
        if not holders:
            raise NotFound(
                "capability_not_found",
                f"no chosen atlas has the capability `{name}`",
                pointer=f"/task/required_capabilities/{index}",
            )
        wanted = (wanted or set()).union(*(compiled.capabilities[name] for compiled in holders))
    return tuple(
        compiled
        for atlas in atlases
        for compiled in atlas.actions
        if wanted is None or compiled.action.action_id in wanted
    )


def _decision_of(verdicts: Sequence[Verdict]) -> tuple[DecisionType, str | None]:
    if not verdicts:
        return "deny", "no_candidates"
    allowed = sum(verdict.allowed for verdict in verdicts)
    if allowed == len(verdicts):
        return "allow", None
    if allowed:
        return "partial", None
    if any(verdict.awaits_approval for verdict in verdicts):
        return "requires_approval", REASON_APPROVAL
    reasons = {verdict.reason for verdict in verdicts}
    return "deny", reasons.pop() if len(reasons) == 1 else "no_action_allowed"


def _evaluated_payload(verdict: Verdict) -> str:
    return compact_json(
        {
            "action_id": verdict.action_id,
            "policy_id": verdict.policy_id,
            "result": "allow" if verdict.allowed else "deny",
        }
    )
