"""A small shop to govern, and a resolver on a clock that stands still."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cra_wasm import Resolution, Resolver, TraceEvent
from cra_wasm.testing import FakeClock, SequentialIds

SHOP: dict[str, Any] = {
    "atlas_version": "1.0",
    "atlas_id": "test.shop",
    "version": "1.2.3",
    "name": "Shop",
    "description": "One action for each way in which a policy can decide",
    "capabilities": [{"capability_id": "reading", "name": "Reading", "actions": ["item.read", "item.list"]}],
    "context_blocks": [
        {"context_id": "house-rules", "name": "Rules", "content": "Be kind.", "priority": 10},
        {
            "context_id": "refund-rules",
            "name": "Refunds",
            "content": "Within 30 days.",
            "priority": 500,
            "keywords": ["refund"],
        },
    ],
    "actions": [
        {
            "action_id": "item.read",
            "name": "Read",
            "description": "Read an item",
            "idempotent": True,
            "timeout_seconds": 1,
            "parameters_schema": {
                "type": "object",
                "properties": {
                    "item_id": {"type": "string"},
                    "count": {"type": "integer", "minimum": 1},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["item_id"],
                "additionalProperties": False,
            },
        },
        {"action_id": "item.list", "name": "List", "description": "List items"},
        {"action_id": "item.write", "name": "Write", "description": "Write an item"},
        {
            "action_id": "item.count",
            "name": "Count",
            "description": "Count items",
            "rate_limit": {"max_calls": 1, "window_seconds": 10},
        },
        {
            "action_id": "item.pay",
            "name": "Pay",
            "description": "Pay",
            "parameters_schema": {"type": "object", "properties": {"amount": {}}},
        },
        {
            "action_id": "item.refund",
            "name": "Refund",
            "description": "Refund",
            "risk_tier": "high",
            "parameters_schema": {
                "type": "object",
                "properties": {"amount": {"type": "number", "minimum": 0}},
                "required": ["amount"],
            },
        },
        {"action_id": "item.delete", "name": "Delete", "description": "Delete an item"},
        {"action_id": "item.hidden", "name": "Hidden", "description": "No policy names it"},
    ],
    "policies": [
        {
            "policy_id": "allow-most",
            "type": "allow",
            "actions": [
                "item.read",
                "item.list",
                "item.write",
                "item.count",
                "item.pay",
                "item.refund",
                "item.delete",
            ],
        },
        {
            "policy_id": "no-delete",
            "type": "deny",
            "actions": ["*.delete"],
            "parameters": {"reason": "never"},
        },
        {"policy_id": "ask-refund", "type": "require_approval", "actions": ["item.refund"]},
        {
            "policy_id": "two-writes",
            "type": "rate_limit",
            "actions": ["item.write"],
            "parameters": {"max_calls": 2, "window_seconds": 60},
        },
        {
            "policy_id": "purse",
            "type": "budget",
            "actions": ["item.pay"],
            "parameters": {"max_cost": 100, "cost_parameter": "/amount", "scope": "session"},
        },
    ],
}


class Rig:
    """A resolver with the shop and one session, and shorthands for what tests ask again and again."""

    def __init__(self, **options: Any) -> None:
        self.clock = options.pop("clock", None) or FakeClock()
        self.resolver = Resolver(clock=self.clock, ids=SequentialIds(), **options)
        self.resolver.load_atlas(copy.deepcopy(SHOP))
        self.session_id = self.resolver.create_session("agent-1", "keep the shop")

    def resolve(self, goal: str = "look around", **options: Any) -> Resolution:
        return self.resolver.resolve(self.session_id, goal, **options)

    def run(self, action_id: str, parameters: Any = None, **options: Any) -> Any:
        """Execute under a fresh resolution."""
        resolution_id = options.pop("resolution_id", None) or self.resolve().resolution_id
        return self.resolver.execute(
            self.session_id, resolution_id, action_id, {} if parameters is None else parameters, **options
        )

    def events(self, session_id: str | None = None) -> list[TraceEvent]:
        return self.resolver.get_trace(session_id or self.session_id)

    def types(self) -> list[str]:
        return [event.event_type for event in self.events()]

    def new_events(self, call: Callable[[], Any]) -> list[TraceEvent]:
        """Return the events that a call adds to the session."""
        before = len(self.events())
        call()
        return self.events()[before:]

    def runtime_errors(self) -> list[dict[str, Any]]:
        """Return the payloads of what was told to the runtime's own session."""
        storage = self.resolver._storage
        assert storage is not None
        starts = storage.get_events(event_type="session.started")
        own = [one.session_id for one in starts if one.payload["agent_id"] == "cra-runtime"]
        errors = storage.get_events(event_type="error.occurred")
        return [event.payload for event in errors if event.session_id in own]


@pytest.fixture(scope="session")
def shop_text() -> str:
    """The shop's atlas as JSON text, for tests that hypothesis runs many times."""
    return json.dumps(SHOP)


@pytest.fixture
def shop() -> dict[str, Any]:
    """The shop's atlas, a copy of the test's own."""
    return copy.deepcopy(SHOP)


@pytest.fixture
def new_rig() -> Iterator[Callable[..., Rig]]:
    """A function that makes a Rig with options of Resolver; all are closed in the end."""
    made: list[Rig] = []

    def make(**options: Any) -> Rig:
        made.append(Rig(**options))
        return made[-1]

    yield make
    for rig in made:
        rig.resolver.close()


@pytest.fixture
def rig(new_rig: Callable[..., Rig]) -> Rig:
    """An immediate one with executors that answer {"done": true} for every action of the shop."""
    made = new_rig()
    for action in SHOP["actions"]:
        made.resolver.register_executor(action["action_id"], lambda parameters: {"done": True})
    return made


@pytest.fixture
def request_of() -> Callable[..., dict[str, Any]]:
    """A function that makes a CARPRequest for a rig, as a dict; keyword arguments replace its members."""
    numbers = iter(range(1, 1_000_000))

    def make(rig: Rig, **members: Any) -> dict[str, Any]:
        request = {
            "carp_version": "1.0",
            "request_id": f"01234567-89ab-7def-8123-{next(numbers):012x}",
            "timestamp": "2024-12-28T12:00:00Z",
            "operation": "resolve",
            "requester": {"agent_id": "agent-1", "session_id": rig.session_id},
            "task": {"goal": "look around"},
        }
        return json.loads(json.dumps({**request, **members}))

    return make
