"""Finds the plan for a request, and keeps the plans of the loaded atlases (PROTOCOL 2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import Json
from .catalogue import Catalogue, CompiledAtlas
from .conditions import Facts, context_text
from .patterns import Matcher, compile_glob
from .plan import Plan
from .redaction import redactor_of

PLANS_KEPT: Final = 256
"""Then the oldest half goes. A plan is a function of its key: dropping one changes no answer."""

_AGENT_KINDS_KEPT: Final = 4096

Context: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOptions:
    """What a call may say besides goal and tier, checked. A call that says nothing has None in its place."""

    required_capabilities: tuple[str, ...] = ()
    context_hints: tuple[str, ...] = ()
    atlas_ids: tuple[str, ...] | None = None
    context: Context | None = None


NO_OPTIONS: Final = ResolveOptions()


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
            for hint in one.spoken_to
        )
        self.redactor = redactor_of(
            policy for compiled in catalogue.atlases.values() for policy in compiled.policies
        )
        self._agent_kinds: dict[tuple[bool, ...], int] = {}
        self._next_agent_kind = 0
        self.plans: dict[object, Plan] = {}
        """By (agent kind, tier) for calls without options, which the hot path looks up by itself; by all the
        facts for others."""

    def loading(self, *atlases: CompiledAtlas, order: Sequence[str] | None = None) -> Planner:
        """Return a planner that knows these atlases too; see `Catalogue.loading`."""
        return Planner(self.catalogue.loading(*atlases, order=order), self._ttl_seconds)

    def unloading(self, atlas_id: str) -> Planner:
        """Return a planner without that atlas; raises as `Catalogue.unloading`."""
        return Planner(self.catalogue.unloading(atlas_id), self._ttl_seconds)

    def agent_kind(self, agent_id: str) -> int:
        """Return a number for which of the agent globs an agent matches, all that policies see of it.

        Agents of one number get the same plans. Numbers are never used twice: when too many kinds have been
        seen they are forgotten, and agents seen later get plans of their own.
        """
        facts = tuple([matches(agent_id) for matches in self._agent_matchers])
        kind = self._agent_kinds.get(facts)
        if kind is None:
            if len(self._agent_kinds) >= _AGENT_KINDS_KEPT:
                self._agent_kinds.clear()
            kind = self._agent_kinds[facts] = self._next_agent_kind
            self._next_agent_kind += 1
        return kind

    def plan_for(
        self, agent_id: str, agent_kind: int, risk_tier: str, options: ResolveOptions | None, wall_ns: int
    ) -> Plan:
        """Return the plan for these facts, compiled now if it is new or its time windows have moved.

        Raises:
            NotFound: `atlas_not_found` or `capability_not_found`.
        """
        if options is None:
            options = NO_OPTIONS
            texts = self._context_texts({})
            hints: frozenset[str] = frozenset()
            key: object = (agent_kind, risk_tier)
        else:
            texts = self._context_texts(options.context or {})
            hints = self._known_hints.intersection(options.context_hints)  # others make no plan of their own
            wanted = frozenset(options.required_capabilities)
            chosen = None if options.atlas_ids is None else frozenset(options.atlas_ids)
            # Sets: neither the order of names nor saying one twice changes an answer or makes another plan.
            key = (agent_kind, risk_tier, self._seen(texts), wanted, hints, chosen)
        plan = self.plans.get(key)
        if plan is not None and plan.holds_at(wall_ns):
            return plan
        facts = Facts(agent_id=agent_id, risk_tier=risk_tier, context=texts, wall_ns=wall_ns)
        plan = Plan(
            self.catalogue.chosen(options.atlas_ids),
            facts,
            options.required_capabilities,
            hints,
            self._ttl_seconds,
        )
        if self.redactor is not None:
            plan.redact(*self.redactor.of_request(facts))
        self._keep(key, plan)
        return plan

    def _context_texts(self, given: Context) -> dict[str, str | None]:
        return {key: context_text(given.get(key)) for key, _ in self._context_matchers}

    def _seen(self, texts: Mapping[str, str | None]) -> tuple[bool | None, ...]:
        """Return what the globs say, not the values: an agent must not choose how many plans there are."""
        return tuple(
            [None if (text := texts[key]) is None else is_it(text) for key, is_it in self._context_matchers]
        )

    def _keep(self, key: object, plan: Plan) -> None:
        self.plans.pop(key, None)
        if len(self.plans) >= PLANS_KEPT:
            for old in list(self.plans)[: PLANS_KEPT // 2]:
                del self.plans[old]
        self.plans[key] = plan
