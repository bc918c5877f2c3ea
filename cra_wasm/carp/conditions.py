"""Conditions of policies and context blocks, in three values: True, False, None for "cannot be told".

Who asks decides what None means: an allow needs True, everything that restricts acts on anything but False.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import Json
from ..model.atlas import Conditions
from .patterns import Matcher, compile_glob, compile_globs
from .time_window import window_answer

Truth: TypeAlias = bool | None


@dataclass(slots=True, kw_only=True)
class Facts:
    """What one request brings to the conditions.

    `holds_until_wall_ns` is lowered by each time window that was asked, so that a plan knows when it ends.
    """

    agent_id: str
    risk_tier: str
    context: Mapping[str, Json] = field(default_factory=dict)
    wall_ns: int
    holds_until_wall_ns: int | None = None


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
        if not self._agents(facts.agent_id):
            return False
        context = self._context_holds(facts)
        if context is False:
            return False
        window = self._window_holds(facts)
        if window is False:
            return False
        return None if context is None or window is None else True

    def _context_holds(self, facts: Facts) -> Truth:
        told: Truth = True
        for key, matches in self._context.items():
            text = context_text(facts.context.get(key))
            if text is None:
                told = None
            elif not matches(text):
                return False
        return told

    def window_ends_ns(self, wall_ns: int) -> int | None:
        """Return up to when the answer of the time window holds; None without a window."""
        window = self._conditions.time_window
        return None if window is None else window_answer(window, wall_ns)[1]

    def _window_holds(self, facts: Facts) -> Truth:
        window = self._conditions.time_window
        if window is None:
            return True
        is_open, until = window_answer(window, facts.wall_ns)
        if facts.holds_until_wall_ns is None or until < facts.holds_until_wall_ns:
            facts.holds_until_wall_ns = until
        return is_open


def context_text(value: Json) -> str | None:
    """Return the text that a context value is matched as; None for what cannot be matched.

    Strings as they are, numbers and booleans as JSON; absent, null, arrays and objects cannot be matched.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))  # 1.0 is the number 1, as the trace has it
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return None
