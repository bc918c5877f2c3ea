"""Conditions of policies and context blocks, in three values: True, False, None for "cannot be told".

Who asks decides what None means: an allow needs True, everything that restricts acts on anything but False.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import Json
from ..model.atlas import RISK_TIERS, Conditions
from ..model.limits import MAX_CONTEXT_TEXT_CHARS
from .patterns import Matcher, compile_glob, compile_globs
from .time_window import Answer, window_answer

Truth: TypeAlias = bool | None


@dataclass(slots=True, kw_only=True)
class Facts:
    """What one request brings to the conditions.

    `holds_until_wall_ns` is lowered by each time window that was asked, so that a plan knows when it ends.
    `told` and `windows` keep what conditions said of these facts: a plan asks each of them once per action.
    """

    agent_id: str
    risk_tier: str
    context: Mapping[str, Json] = field(default_factory=dict)
    wall_ns: int
    holds_until_wall_ns: int | None = None
    told: dict[CompiledConditions, tuple[Truth, int | None]] = field(default_factory=dict)
    windows: dict[CompiledConditions, Answer] = field(default_factory=dict)


class CompiledConditions:
    """Conditions with their globs compiled once."""

    __slots__ = ("_agents", "_capabilities", "_conditions", "_context", "_tiers")

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._agents = compile_globs(conditions.agents)
        self._tiers = None if conditions.risk_tiers is None else frozenset(conditions.risk_tiers)
        self._capabilities = None if conditions.capabilities is None else frozenset(conditions.capabilities)
        self._context: dict[str, Matcher] = {
            key: compile_glob(pattern) for key, pattern in (conditions.context_matches or {}).items()
        }

    @property
    def agents(self) -> tuple[str, ...]:
        """The agent globs, for the facts that a plan's key holds."""
        return self._conditions.agents or ()

    @property
    def context_globs(self) -> tuple[tuple[str, str], ...]:
        """The context members that are looked at, each with a glob."""
        return tuple((self._conditions.context_matches or {}).items())

    def hold(self, facts: Facts, *, tier: str, capabilities: frozenset[str]) -> Truth:
        """Tell whether all conditions hold for an action of that effective tier and those capabilities."""
        if self._tiers is not None and tier not in self._tiers:
            return False
        if self._capabilities is not None and not self._capabilities & capabilities:
            return False
        told = facts.told.get(self)
        if told is None:
            told = facts.told[self] = self._ask(facts)
        truth, until = told
        if until is not None and (facts.holds_until_wall_ns is None or until < facts.holds_until_wall_ns):
            facts.holds_until_wall_ns = until
        return truth

    def may_hold_for_request(self, facts: Facts) -> bool:
        """Whether they could hold for something in a request, of whose actions nothing is known.

        An action's tier is its own or the request's, whichever is higher; its capabilities can be any.
        """
        if self._tiers is not None and self._tiers.isdisjoint(_tiers_from(facts.risk_tier)):
            return False
        return self._ask(facts)[0] is not False

    def window_ends_ns(self, facts: Facts) -> int | None:
        """Return up to when the answer of the time window holds; None without a window."""
        return self._window(facts)[1] if self.has_window else None

    @property
    def has_window(self) -> bool:
        """Whether what they say changes with time."""
        return self._conditions.time_window is not None

    def _ask(self, facts: Facts) -> tuple[Truth, int | None]:
        """Return what agent, context and window say, whatever the action; and until when, if it was asked."""
        if not self._agents(facts.agent_id):
            return False, None
        context = self._context_holds(facts)
        if context is False or not self.has_window:
            return context, None
        is_open, until = self._window(facts)
        if is_open is False:
            return False, until
        return (None if context is None or is_open is None else True), until

    def _context_holds(self, facts: Facts) -> Truth:
        told: Truth = True
        for key, matches in self._context.items():
            text = context_text(facts.context.get(key))
            if text is None:
                told = None
            elif not matches(text):
                return False
        return told

    def _window(self, facts: Facts) -> Answer:
        known = facts.windows.get(self)
        if known is None:
            window = self._conditions.time_window
            assert window is not None
            known = facts.windows[self] = window_answer(window, facts.wall_ns)
        return known


def _tiers_from(tier: str) -> tuple[str, ...]:
    return RISK_TIERS[RISK_TIERS.index(tier) :]


def context_text(value: Json) -> str | None:
    """Return the text that a context value is matched as; None for what cannot be matched.

    Strings as they are, numbers and booleans as JSON; absent, null, arrays, objects and text longer than
    MAX_CONTEXT_TEXT_CHARS cannot be matched: the context may hold a million characters, an atlas thousands
    of globs to search them for.
    """
    if isinstance(value, str):
        return value if len(value) <= MAX_CONTEXT_TEXT_CHARS else None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))  # 1.0 is the number 1, as the trace has it
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return None
