"""Atlases and resolvers to measure: of a given size, and always the same."""

from __future__ import annotations

from typing import Any, Final

from ..errors import Json
from ..resolver import Resolver
from .scenario import Bench

GOAL: Final = "find out why order 1234 has not arrived, and tell the customer"
AGENT: Final = "bench-agent"
VERBS: Final = ("read", "list", "write", "pay", "delete")
EVENTS_PER_DRAIN: Final = 1_000
"""As the trace worker drains."""

_NARROWING: Final[tuple[tuple[str, str, dict[str, Json]], ...]] = (
    ("deny", "delete", {"reason": "never delete"}),
    ("require_approval", "pay", {}),
    ("rate_limit", "write", {"max_calls": 100, "window_seconds": 60}),
    ("budget", "list", {"max_calls": 1_000, "scope": "session"}),
)


def new_atlas(actions: int = 5, policies: int = 5, blocks: int = 0) -> dict[str, Json]:
    """Return a manifest. One policy allows all; the others narrow it, of four types in turn.

    Each context block has two keywords of its own, `word<n>` and `matter <n>`.
    """
    groups = max(1, actions // len(VERBS))
    rules: list[Json] = [{"policy_id": "allow-all", "type": "allow", "actions": ["*"]}]
    for number in range(policies - 1):
        kind, verb, parameters = _NARROWING[number % len(_NARROWING)]
        rules.append(
            {
                "policy_id": f"{kind.replace('_', '-')}-{number}",
                "type": kind,
                "actions": [f"group{number % groups}.{verb}"],
                "parameters": parameters,
            }
        )
    return {
        "atlas_version": "1.0",
        "atlas_id": "bench.atlas",
        "version": "1.0.0",
        "name": "Benchmark",
        "description": f"{actions} actions, {policies} policies, {blocks} context blocks",
        "actions": [
            {
                "action_id": f"group{number // len(VERBS)}.{VERBS[number % len(VERBS)]}",
                "name": f"Action {number}",
                "description": "",
            }
            for number in range(actions)
        ],
        "policies": rules,
        "context_blocks": [
            {
                "context_id": f"block-{number}",
                "name": f"Block {number}",
                "content": "Know this before you act.",
                "keywords": [f"word{number}", f"matter {number}"],
            }
            for number in range(blocks)
        ],
    }


class Subject:
    """A deferred resolver with one atlas and one running session; closed with the scenario."""

    def __init__(self, bench: Bench, atlas: dict[str, Json], **options: Any) -> None:
        self.resolver = Resolver(tracing="deferred", **options)
        bench.closing.callback(self.resolver.close)
        self.resolver.load_atlas(atlas)
        self.session_id = self.resolver.create_session(AGENT, GOAL)

    def settle(self) -> bool:
        """Make room before the buffer is half full, so that no measured call is refused; whether it did."""
        full = self.resolver.buffer_pressure() > 0.4
        if full:
            self.drain()
        return full

    def drain(self) -> int:
        """Take all events out and return the bytes of their lines."""
        size_bytes = 0
        while True:
            batch = self.resolver.drain_traces(EVENTS_PER_DRAIN)
            if not batch.count:
                return size_bytes
            size_bytes += len(batch.data)
            self.resolver.ack(batch.batch_id)
