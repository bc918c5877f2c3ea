"""Full limits at a resolve: the caller's own, of the atlases that it asks, as loaded now (PROTOCOL 2.6)."""

from __future__ import annotations

from typing import Any

import pytest

from cra_wasm import Resolver
from cra_wasm.testing import FakeClock, SequentialIds

from .building import action, manifest, policy

SHOP, STOCK = "com.example.shop", "com.example.stock"


def atlas(atlas_id: str, action_id: str, **parameters: Any) -> dict[str, Any]:
    """An atlas with one action, allowed within a budget."""
    purse = policy("purse", "budget", parameters=parameters)
    return manifest(atlas_id=atlas_id, actions=[action(action_id)], policies=[policy("all", "allow"), purse])


def resolver_with(*atlases: dict[str, Any]) -> Resolver:
    resolver = Resolver(clock=FakeClock(), ids=SequentialIds())
    for one in atlases:
        resolver.load_atlas(one)
        for each in one["actions"]:
            resolver.register_executor(each["action_id"], lambda parameters: None)
    return resolver


def call(resolver: Resolver, session_id: str, action_id: str) -> str:
    resolution = resolver.resolve(session_id, "goal")
    return resolver.execute(session_id, resolution.resolution_id, action_id, {}).status


def denied(resolver: Resolver, session_id: str, **options: Any) -> dict[str, str]:
    answer = resolver.resolve(session_id, "goal", **options)
    return {one.action_id: one.reason for one in answer.denied_actions}


@pytest.mark.parametrize(
    ("scope", "same_agent", "other_agent"),
    [
        ("session", {}, {}),
        ("agent", {"a.b": "budget_exceeded"}, {}),
        ("atlas", *[{"a.b": "budget_exceeded"}] * 2),
    ],
)
def test_a_spent_budget_denies_to_those_whose_calls_it_counts(
    scope: str, same_agent: dict[str, str], other_agent: dict[str, str]
) -> None:
    resolver = resolver_with(atlas(SHOP, "a.b", max_calls=1, scope=scope))
    spender = resolver.create_session("bot", "goal")
    assert call(resolver, spender, "a.b") == "success"
    assert denied(resolver, spender) == {"a.b": "budget_exceeded"}
    assert denied(resolver, resolver.create_session("bot", "goal")) == same_agent
    assert denied(resolver, resolver.create_session("other", "goal")) == other_agent


def test_a_full_limit_of_an_atlas_that_is_not_asked_changes_nothing() -> None:
    resolver = resolver_with(
        atlas(SHOP, "a.b", max_calls=1, scope="agent"), atlas(STOCK, "c.d", max_calls=1, scope="session")
    )
    session_id = resolver.create_session("bot", "goal")
    assert call(resolver, session_id, "a.b") == "success"
    assert denied(resolver, session_id, atlas_ids=[STOCK]) == {}
    assert call(resolver, session_id, "c.d") == "success"
    # The agent's account, of the atlas that is not asked, comes before the session's.
    assert denied(resolver, session_id, atlas_ids=[STOCK]) == {"c.d": "budget_exceeded"}
    assert denied(resolver, session_id) == {"a.b": "budget_exceeded", "c.d": "budget_exceeded"}


def test_what_was_counted_by_another_scope_before_a_reload_denies_nothing() -> None:
    resolver = resolver_with(atlas(SHOP, "a.b", max_calls=1, scope="session"))
    session_id = resolver.create_session("bot", "goal")
    assert call(resolver, session_id, "a.b") == "success"
    resolver.load_atlas(atlas(SHOP, "a.b", max_calls=1, scope="agent"))
    assert denied(resolver, session_id) == {}
    assert call(resolver, session_id, "a.b") == "success"
    assert denied(resolver, session_id) == {"a.b": "budget_exceeded"}


def test_a_limit_whose_conditions_are_false_counts_nothing_and_denies_nothing() -> None:
    one = atlas(SHOP, "a.b", max_calls=1, scope="atlas")
    one["policies"][1]["conditions"] = {"agents": ["human"]}
    resolver = resolver_with(one)
    bot, human = resolver.create_session("bot", "goal"), resolver.create_session("human", "goal")
    assert [call(resolver, bot, "a.b") for _ in range(2)] == ["success", "success"]
    assert [call(resolver, human, "a.b") for _ in range(2)] == ["success", "denied"]
    assert call(resolver, bot, "a.b") == "success"
