"""The constraints of a resolution: the limits that stand over its candidates (PROTOCOL 2.5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..model.resolution import Constraint
from .catalogue import CompiledAction, CompiledAtlas
from .conditions import Facts
from .decision import CompiledPolicy, Verdict


def find_constraints(
    atlases: Iterable[CompiledAtlas],
    candidates: Sequence[CompiledAction],
    verdicts: Sequence[Verdict],
    facts: Facts,
) -> tuple[Constraint, ...]:
    """Return the actions' own rate limits in manifest order, then the policies that constrain any candidate,
    atlas by atlas, by priority.
    """
    found = [_own_limit(one) for one in candidates if one.subject.own_limit is not None]
    decided: dict[tuple[str, str], list[str]] = {}
    restricted: dict[CompiledPolicy, list[str]] = {}
    for one, verdict in zip(candidates, verdicts, strict=True):
        decided.setdefault((one.atlas_id, verdict.policy_id), []).append(verdict.action_id)
        for compiled in (*one.subject.governing.limiting, *one.subject.governing.forbidding):
            if compiled.policy.type != "deny" and compiled.restricts(one.subject, facts):
                restricted.setdefault(compiled, []).append(verdict.action_id)
    for atlas in atlases:
        for compiled in atlas.policies:
            if compiled.constraint is None:
                continue
            policy = compiled.policy
            if policy.type in ("require_approval", "allow"):
                actions = decided.get((atlas.atlas.atlas_id, policy.policy_id))
            else:
                actions = restricted.get(compiled)
            if actions:
                kind, parameters = compiled.constraint
                found.append(
                    Constraint(
                        constraint_id=policy.policy_id,
                        type=kind,
                        parameters={**parameters, "actions": list(actions)},
                    )
                )
    return tuple(found)


def _own_limit(one: CompiledAction) -> Constraint:
    limit, rate = one.subject.own_limit, one.action.rate_limit
    assert limit is not None and rate is not None
    return Constraint(
        constraint_id=limit.policy_id,
        type="rate_limit",
        parameters={
            "max_calls": rate.max_calls,
            "window_seconds": rate.window_seconds,
            "actions": [one.action.action_id],
        },
    )
