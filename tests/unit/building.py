"""Atlases and plans for the tests of the core, made from as few words as a test needs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cra_wasm.atlas.loader import load_atlas
from cra_wasm.carp.catalogue import Catalogue, CompiledAtlas
from cra_wasm.carp.plan import Plan
from cra_wasm.carp.planner import Planner, ResolveOptions
from cra_wasm.model.atlas import Atlas

TTL_SECONDS = 3600


def accept_schema(_schema: object, _pointer: str) -> None:
    """Stands where the loader takes its check of JSON Schemas, for tests of the rest."""


def manifest(**members: Any) -> dict[str, Any]:
    """Return a manifest that loads, with some members of the test's own."""
    return {
        "atlas_version": "1.0",
        "atlas_id": "com.example.shop",
        "version": "1.0.0",
        "name": "Shop",
        "description": "For tests",
        **members,
    }


def action(action_id: str, **members: Any) -> dict[str, Any]:
    return {"action_id": action_id, "name": action_id, "description": "", **members}


def policy(policy_id: str, kind: str, **members: Any) -> dict[str, Any]:
    return {"policy_id": policy_id, "type": kind, **members}


def block(context_id: str, **members: Any) -> dict[str, Any]:
    return {"context_id": context_id, "name": context_id, "content": f"about {context_id}", **members}


def load(**members: Any) -> Atlas:
    return load_atlas(manifest(**members), check_schema=accept_schema)


def planner_of(*manifests: dict[str, Any]) -> Planner:
    atlases = [load_atlas(one, check_schema=accept_schema) for one in manifests]
    return Planner(Catalogue(CompiledAtlas(one) for one in atlases), TTL_SECONDS)


def plan_with(planner: Planner, agent_id: str = "agent-1", wall_ns: int = 0, **facts: Any) -> Plan:
    """Ask a planner as a resolve does, with what a resolve assumes when it is not told."""
    risk_tier = facts.pop("risk_tier", "low")
    options = ResolveOptions(**facts) if facts else None
    return planner.plan_for(agent_id, planner.agent_kind(agent_id), risk_tier, options, wall_ns)


def answers(plan: Plan) -> dict[str, tuple[str, str | None]]:
    """Return who decided each candidate, and the reason (None when allowed)."""
    return {verdict.action_id: (verdict.policy_id, verdict.reason) for verdict in plan.usual.verdicts}


def at(text: str) -> int:
    """Return the wall-clock ns of an ISO time with a zone."""
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000
