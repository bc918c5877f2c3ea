"""A Plan: all that resolve answers for one set of facts, compiled once (PROTOCOL 2.3-2.8).

What a plan depends on is its key: the atlases, the tier, the wanted capabilities, the hints, which agent
globs match, the context values that policies look at. What changes besides is small and checked per call:
the time up to which its windows hold, and which limits are full, for which it keeps variants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import NotFound
from ..model.atlas import Policy
from ..model.resolution import (
    Decision,
    DecisionType,
    DeniedAction,
    Outcome,
    compact_json,
)
from ..model.timestamps import timestamp_text
from .catalogue import CompiledAction, CompiledAtlas
from .conditions import Facts
from .constraints import find_constraints
from .context import ContextSelector
from .decision import REASON_APPROVAL, Verdict, decide
from .limits import Ledger, Limit
from .redaction import Redaction

_VARIANTS_KEPT: Final = 64
_NONE: Final[frozenset[str]] = frozenset()

FullLimits = frozenset[tuple[str, str]]
"""(atlas_id, policy_id) of the limits that have no room for the caller."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variant(Outcome):
    """A plan's answer while a given set of limits is full; what Resolutions share and their reasons."""

    plan: Plan
    verdicts: tuple[Verdict, ...]
    policy_events: tuple[tuple[str, str], ...]
    """The policy.evaluated events in manifest order, each its type and canonical payload."""
    completed_before_ids: tuple[str, str]
    """Of the resolution.completed payload: up to context_block_count's value, and on to request_id's."""
    expires_wall_ns: int | None
    """When the first of the time windows that bear on it ends; `decision.expires_at` is its text."""

    def says_the_same_as(self, other: Variant) -> bool:
        """Whether both decide the same on the same actions, by the same policies and until the same time."""
        return (
            self.verdicts == other.verdicts
            and self.decision == other.decision
            and self.constraints == other.constraints
        )


class Plan:
    """The compiled answer for one key.

    It holds for wall times from `valid_from_ns` to before `valid_until_ns`, which is None without time
    windows: then it holds for ever. `usual` is the answer while no account is full. `redaction` is what is
    taken out of its requests' events.
    """

    __slots__ = (
        "_atlases",
        "_never_fit",
        "_variants",
        "candidate_index",
        "candidates",
        "facts",
        "limits",
        "redaction",
        "selector",
        "ttl_seconds",
        "usual",
        "valid_from_ns",
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
            frozenset(required_capabilities),
        )
        self._ask_all_windows()
        touched = {compiled.atlas_id for compiled in self.candidates}
        self.limits: dict[tuple[str, str], Limit] = {
            (limit.atlas_id, limit.policy_id): limit
            for name, compiled in self._atlases.items()
            if name in touched
            for limit in compiled.limits
        }
        self._never_fit: FullLimits = frozenset(
            name for name, limit in self.limits.items() if limit.never_fits
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
                for conditions in compiled.windowed_conditions
                if (until := conditions.window_ends_ns(facts)) is not None
            ),
            default=None,
        )
        self.valid_from_ns = facts.wall_ns
        self.redaction: Redaction | None = None
        self.usual = self.variant(self._never_fit)

    def redact(self, redaction: Redaction | None, until_ns: int | None) -> None:
        """Have what its policies take out of events taken out; no longer than that holds is the plan kept."""
        self.redaction = redaction
        ends = [one for one in (self.valid_until_ns, until_ns) if one is not None]
        self.valid_until_ns = min(ends, default=None)

    def _ask_all_windows(self) -> None:
        """Ask each window that bears on a candidate, so that a resolution ends with the first of them.

        A verdict stops at the first policy that hits. What an execute asks later, once an approval is there
        or for the limits that a call takes from, has to be as fresh as that verdict.
        """
        for compiled in self.candidates:
            for policy in compiled.subject.governing.windowed:
                policy.applies(compiled.subject, self.facts)

    @property
    def atlases(self) -> Mapping[str, CompiledAtlas]:
        """The chosen atlases by id, as they were."""
        return self._atlases

    def holds_at(self, wall_ns: int) -> bool:
        """Whether its time windows are still what they were."""
        until = self.valid_until_ns
        return until is None or self.valid_from_ns <= wall_ns < until

    def variant_now(self, ledger: Ledger, agent_id: str, session_id: str, elapsed_ns: int) -> Variant:
        """Return the answer under the limits that are full for this caller now."""
        full = set(self._never_fit)
        for account in ledger.full_of(agent_id, session_id):
            limit = self.limits.get(account[:2])
            # An atlas loaded anew may count the same limit by another scope: then this account is a dead one.
            if limit is None or limit.account(agent_id, session_id) != account:
                continue
            if ledger.retry_at_resolve(limit, account, elapsed_ns) is not None:
                full.add(account[:2])
        return self.variant(frozenset(full))

    def variant(self, full: FullLimits) -> Variant:
        """Return the answer while exactly these limits are full."""
        known = self._variants.get(full)
        if known is None:
            if len(self._variants) >= _VARIANTS_KEPT:
                self._variants.clear()
            known = self._variants[full] = self._compile(full)
        return known

    def verdict_on(self, compiled: CompiledAction, *, approved: bool) -> Verdict:
        """Return the verdict on one action while no limit is full, with or without an approval."""
        return decide(compiled.subject, self.facts, frozenset(), approved=approved)

    def limits_on(self, compiled: CompiledAction) -> list[Limit]:
        """Return the rate limits that a call takes from, then the budgets: the order of the verdict."""
        subject = compiled.subject
        found = [subject.own_limit] if subject.own_limit else []
        for policy in subject.governing.limiting:
            if policy.limit is not None and policy.restricts(subject, self.facts):
                found.append(policy.limit)
        return found

    def policy(self, atlas_id: str, policy_id: str) -> Policy | None:
        """Return a policy of one of the plan's atlases; None for those that the runtime makes up."""
        return self._atlases[atlas_id].policies_by_id.get(policy_id)

    def _compile(self, full: FullLimits) -> Variant:
        exhausted: dict[str, set[str]] = {}
        for atlas_id, policy_id in full:
            exhausted.setdefault(atlas_id, set()).add(policy_id)
        verdicts = tuple(
            decide(one.subject, self.facts, exhausted.get(one.atlas_id, _NONE)) for one in self.candidates
        )
        allowed: list[CompiledAction] = []
        denied: list[DeniedAction] = []
        denied_json: list[str] = []
        events: list[tuple[str, str]] = []
        for one, verdict in zip(self.candidates, verdicts, strict=True):
            policy_json = compact_json(verdict.policy_id)
            result = "allow" if verdict.allowed else "deny"
            payload = f'{{"action_id":{one.id_json},"policy_id":{policy_json},"result":"{result}"}}'
            events.append(("policy.evaluated", payload))
            if verdict.reason is None:
                allowed.append(one)
                continue
            denied.append(DeniedAction(verdict.action_id, verdict.reason, verdict.policy_id))
            denied_json.append(
                f'{{"action_id":{one.id_json},"reason":{compact_json(verdict.reason)},'
                f'"policy_id":{policy_json}}}'
            )
        until = self.facts.holds_until_wall_ns
        expires_at = None if until is None else timestamp_text(until)
        kind, reason = _decision_of(verdicts)
        decision = Decision(type=kind, reason=reason, expires_at=expires_at)
        constraints = find_constraints(self._atlases.values(), self.candidates, verdicts, self.facts)
        return Variant(
            plan=self,
            decision=decision,
            allowed_actions=tuple(one.part for one in allowed),
            denied_actions=tuple(denied),
            constraints=constraints,
            ttl_seconds=self.ttl_seconds,
            json_before_context=f'"decision":{compact_json(decision.to_dict())},"context_blocks":',
            json_after_context=(
                f',"allowed_actions":[{",".join([one.json for one in allowed])}]'
                f',"denied_actions":[{",".join(denied_json)}]'
                f',"constraints":{compact_json([one.to_dict() for one in constraints])}'
                f',"ttl_seconds":{self.ttl_seconds}'
            ),
            verdicts=verdicts,
            policy_events=tuple(events),
            expires_wall_ns=until,
            completed_before_ids=(
                f'{{"allowed_count":{len(allowed)},"context_block_count":',
                f',"decision_type":"{decision.type}","denied_count":{len(denied)},"request_id":"',
            ),
        )


def unknown_capabilities(
    atlases: Sequence[CompiledAtlas], required_capabilities: Sequence[str]
) -> Iterator[NotFound]:
    """Yield a `capability_not_found` for each name that none of the atlases has."""
    for index, name in enumerate(required_capabilities):
        if not any(name in compiled.capabilities for compiled in atlases):
            yield NotFound(
                "capability_not_found",
                f"no chosen atlas has the capability `{name}`",
                pointer=f"/task/required_capabilities/{index}",
            )


def _candidates(
    atlases: Sequence[CompiledAtlas], required_capabilities: Sequence[str]
) -> tuple[CompiledAction, ...]:
    for error in unknown_capabilities(atlases, required_capabilities):
        raise error
    wanted: set[str] | None = None
    for name in required_capabilities:
        holders = [compiled for compiled in atlases if name in compiled.capabilities]
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
