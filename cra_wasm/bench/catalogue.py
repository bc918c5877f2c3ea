"""All benchmarks by family. A new family is one module with SCENARIOS, and one line here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import InvalidInput
from . import (
    scenarios_endurance,
    scenarios_hash,
    scenarios_log,
    scenarios_resolve,
    scenarios_steps,
    scenarios_timers,
    scenarios_trace,
)
from .scenario import Scenario

FAMILIES: Final[dict[str, tuple[Scenario, ...]]] = {
    "resolve": scenarios_resolve.SCENARIOS,
    "steps": scenarios_steps.SCENARIOS,
    "trace": scenarios_trace.SCENARIOS,
    "timers": scenarios_timers.SCENARIOS,
    "hash": scenarios_hash.SCENARIOS,
    "log": scenarios_log.SCENARIOS,
    "endurance": scenarios_endurance.SCENARIOS,
}


def select(names: Sequence[str], runtime: str) -> list[Scenario]:
    """Return the scenarios of these names or families, all if there are none, in the catalogue's order.

    What a ratio needs comes along.

    Raises:
        InvalidInput: `unknown_benchmark`, also for one that this runtime cannot measure.
    """
    known = {one.name: one for family in FAMILIES.values() for one in family if runtime in one.runtimes}
    wanted: set[str] = set()
    for name in names or known:
        found = [one.name for one in FAMILIES.get(name, ()) if one.name in known]
        found += [name] if name in known else []
        if not found:
            raise InvalidInput(
                "unknown_benchmark",
                f"no benchmark `{name}` for {runtime}; there are the families {', '.join(FAMILIES)},"
                f" and {', '.join(known)}",
                pointer="/names",
            )
        wanted.update(found)
    wanted |= {ratio.to for name in wanted if (ratio := known[name].ratio)}
    return [one for one in known.values() if one.name in wanted]
