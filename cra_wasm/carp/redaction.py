"""Which members a request's policies take out of its events, compiled with its plan (PROTOCOL 3.9).

A policy takes out unless it is certain that it does not apply: of a request, only agent, context, time and
the least tier are known. All loaded atlases count, whichever the request names, so that an agent cannot
choose what is said of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from ..model.atlas import Policy
from ..model.redaction import Removal, path_of
from .conditions import Facts
from .decision import CompiledPolicy

Redaction: TypeAlias = tuple[Removal, ...]
"""What to take out, outer members before those inside them; never empty."""


class Redactor:
    """Policies that redact: the conditions of each, if it has any, and what it takes out."""

    __slots__ = ("_policies",)

    def __init__(self, policies: Iterable[CompiledPolicy]) -> None:
        self._policies = [(one.conditions, _removals(one.policy)) for one in policies]

    def of_request(self, facts: Facts) -> tuple[Redaction | None, int | None]:
        """Return what is taken out of a request's events, and up to when that holds (None: for ever)."""
        # Facts of its own: what is asked here must not make the decision end earlier.
        own = Facts(
            agent_id=facts.agent_id, risk_tier=facts.risk_tier, context=facts.context, wall_ns=facts.wall_ns
        )
        ends = [
            until
            for conditions, _ in self._policies
            if conditions is not None and (until := conditions.window_ends_ns(own)) is not None
        ]
        return self._union(own), min(ends, default=None)

    def of_session(self, agent_id: str | None, wall_ns: int) -> Redaction | None:
        """Return what is taken out of events of no request; without an agent, all that any policy names.

        It takes time in proportion to the policies that redact.
        """
        if agent_id is None:
            return _merged(removals for _, removals in self._policies)
        return self._union(Facts(agent_id=agent_id, risk_tier="low", wall_ns=wall_ns))

    def _union(self, facts: Facts) -> Redaction | None:
        return _merged(
            removals
            for conditions, removals in self._policies
            if conditions is None or conditions.may_hold_for_request(facts)
        )


def redactor_of(policies: Iterable[CompiledPolicy]) -> Redactor | None:
    """Return what asks those of the policies that redact; None where none does."""
    redacting = [one for one in policies if one.policy.parameters.redact]
    return Redactor(redacting) if redacting else None


def _removals(policy: Policy) -> tuple[Removal, ...]:
    hashed = bool(policy.parameters.redact_hash)
    return tuple(Removal(one, path_of(one), hashed) for one in policy.parameters.redact or ())


def _merged(found: Iterable[tuple[Removal, ...]]) -> Redaction | None:
    """Return each pointer once; it tells the hash only if all policies let it that name the member, or one in
    it: the hash of the whole would let the part be guessed.
    """
    merged: dict[str, Removal] = {}
    unhashed: set[tuple[str, ...]] = set()
    for removals in found:
        for one in removals:
            merged[one.pointer] = one
            if not one.hashed:
                unhashed.update(one.path[:length] for length in range(1, len(one.path) + 1))
    told = [one._replace(hashed=one.path not in unhashed) for one in merged.values()]
    return tuple(sorted(told, key=lambda one: one.path)) or None
