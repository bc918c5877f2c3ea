"""Finds the plan for a request, and keeps the plans of the loaded atlases (PROTOCOL 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import Json
from .catalogue import Catalogue, CompiledAtlas
from .conditions import Facts, context_text
from .patterns import Matcher, compile_glob
from .plan import Plan

PLANS_KEPT: Final = 256
"""Then the oldest half goes. A plan is a function of its key: dropping one changes no answer."""

AgentFacts = tuple[bool, ...]
"""Which of the catalogue's agent globs an agent matches."""


class Planner:
    """The catalogue of the moment and its plans. Swapped whole when an atlas is loaded or unloaded."""

    def __init__(self, catalogue: Catalogue, ttl_seconds: int) -> None:
        self.catalogue = catalogue
        self._ttl_seconds = ttl_seconds
        self._agent_matchers: tuple[Matcher, ...] = tuple(map(compile_glob, catalogue.agent_globs))
        self._context_matchers: tuple[tuple[str, Matcher], ...] = tuple(
            (key, compile_glob(pattern)) for key, pattern in catalogue.context_globs
        )
        self._known_hints = frozenset(
            hint
            for compiled in catalogue.atlases.values()
            for one in compiled.blocks
            for hint in (one.block.context_id, *one.block.keywords)
        )
        self._plans: dict[object, Plan] = {}

    def loading(self, atlas: CompiledAtlas) -> Planner:
        """Return a planner that knows that atlas too; raises as `Catalogue.loading`."""
        return Planner(self.catalogue.loading(atlas), self._ttl_seconds)

    def unloading(self, atlas_id: str) -> Planner:
        """Return a planner without that atlas; raises as `Catalogue.unloading`."""
        return Planner(self.catalogue.unloading(atlas_id), self._ttl_seconds)

    def agent_facts(self, agent_id: str) -> AgentFacts:
        """Return what the policies see of an agent: the part of a plan's key that is fixed per session."""
        return tuple([matches(agent_id) for matches in self._agent_matchers])

    def plan_for(
        self,
        agent_id: str,
        agent_facts: AgentFacts,
        wall_ns: int,
        *,
        risk_tier: str,
        required_capabilities: tuple[str, ...],
        context_hints: tuple[str, ...],
        atlas_ids: tuple[str, ...] | None,
        context: Mapping[str, Json] | None,
    ) -> Plan:
        """Return the plan for these facts, compiled now if it is new or its time windows have moved.

        Raises:
            NotFound: `atlas_not_found` or `capability_not_found`.
        """
        texts: dict[str, str | None] = {}
        seen: tuple[bool | None, ...] = ()
        if self._context_matchers:
            given = context or {}
            texts = {key: context_text(given.get(key)) for key, _ in self._context_matchers}
            # What the globs say, not the values: an agent must not choose how many plans there are.
            seen = tuple(
                [
                    None if (text := texts[key]) is None else is_it(text)
                    for key, is_it in self._context_matchers
                ]
            )
        hints = self._known_hints.intersection(context_hints)  # what no block knows makes no plan of its own
        key = (risk_tier, agent_facts, seen, required_capabilities, hints, atlas_ids)
        plan = self._plans.get(key)
        if plan is not None and (plan.valid_until_ns is None or wall_ns < plan.valid_until_ns):
            if wall_ns >= plan.facts.wall_ns or plan.valid_until_ns is None:
                return plan
        facts = Facts(
            agent_id=agent_id,
            risk_tier=risk_tier,
            context=texts,
            wall_ns=wall_ns,
        )
        plan = Plan(
            self.catalogue.chosen(atlas_ids),
            facts,
            required_capabilities,
            hints,
            self._ttl_seconds,
        )
        self._keep(key, plan)
        return plan

    def _keep(self, key: object, plan: Plan) -> None:
        self._plans.pop(key, None)
        if len(self._plans) >= PLANS_KEPT:
            for old in list(self._plans)[: PLANS_KEPT // 2]:
                del self._plans[old]
        self._plans[key] = plan
