"""What a call costs does not grow with what is loaded, counted in operations: no clock can blur it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import Resolver
from cra_wasm.testing import FakeClock, SequentialIds

from .building import action, block, manifest, policy
from .counting import count_operations

LOOPS: dict[str, Callable[[int], Any]] = {
    "for": lambda size: [None for _ in range(size) if _],
    "while": lambda size: next(number for number in range(size + 1) if number >= size),
    "a generator": lambda size: any(number < 0 for number in range(size)),
    "a function that C calls": lambda size: list(map(lambda number: number, range(size))),
    "recursion": lambda size: count_down(size),
}


def count_down(number: int) -> int:
    return 0 if number == 0 else count_down(number - 1)


@pytest.mark.parametrize("name", LOOPS)
def test_the_counter_sees_a_loop(name: str) -> None:
    loop = LOOPS[name]
    few, many = (count_operations(lambda size=size: loop(size)) for size in (5, 505))
    assert many >= few + 500
    assert count_operations(lambda: loop(505)) == many


def atlas(
    atlas_id: str = "com.example.shop", *, actions: int = 5, policies: int = 1, blocks: int = 0
) -> dict[str, Any]:
    """Return an atlas whose policies are of all types; none of them forbids anything."""
    prefix = atlas_id.removeprefix("com.example.")
    kinds = [
        ("allow", {}),
        ("deny", {"reason": "no"}),
        ("rate_limit", {"max_calls": 1000, "window_seconds": 60}),
        ("budget", {"max_calls": 1000}),
        ("require_approval", {}),
    ]
    made = [policy("all", "allow")]
    for number in range(policies - 1):
        kind, parameters = kinds[number % len(kinds)]
        restricts = kind in ("deny", "require_approval")
        chosen = {"actions": ["*.none"]} if restricts else {}
        made.append(policy(f"p{number}", kind, parameters=parameters, priority=number, **chosen))
    return manifest(
        atlas_id=atlas_id,
        actions=[action(f"{prefix}.act{number}") for number in range(actions)],
        policies=made,
        context_blocks=[
            block(f"b{number}", keywords=[f"word{number}", f"matter {number}"]) for number in range(blocks)
        ],
    )


SMALL = atlas()
LARGE = atlas(actions=500, policies=100, blocks=200)


class Counted:
    """A resolver with one session, whose calls are counted."""

    def __init__(self, *atlases: dict[str, Any], tracing: Any = "deferred") -> None:
        self.resolver = Resolver(clock=FakeClock(), ids=SequentialIds(), tracing=tracing)
        for one in atlases:
            self.resolver.load_atlas(one)
        self.session_id = self.resolver.create_session("bot", "work")

    def resolve(self, goal: str = "look around", **facts: Any) -> Any:
        return self.resolver.resolve(self.session_id, goal, **facts)

    def cost_of_resolve(self, goal: str = "look around", **facts: Any) -> int:
        return count_operations(lambda: self.resolve(goal, **facts))

    def warm_cost(self, **facts: Any) -> int:
        """Return what a resolve costs that the runtime has answered before.

        So often before that each push wakes the consumer, which is a call more.
        """
        for _ in range(80):
            self.resolve(**facts)
        return self.cost_of_resolve(**facts)


FACTS: dict[str, dict[str, Any]] = {
    "nothing else said": {},
    "a tier": {"risk_tier": "high"},
    "a hint": {"context_hints": ["word1"]},
    "an atlas": {"atlas_ids": ["com.example.shop"]},
    "a context": {"context": {"region": "eu"}},
}


@pytest.mark.parametrize("name", FACTS)
def test_a_warm_resolve_loops_over_no_actions_policies_or_blocks(name: str) -> None:
    small, large = Counted(atlas(blocks=2)), Counted(LARGE)
    cost = small.warm_cost(**FACTS[name])
    assert cost > 50
    assert large.warm_cost(**FACTS[name]) == cost


def test_a_warm_resolve_loops_over_no_atlases() -> None:
    others = [atlas(f"com.example.other{number}", policies=20, blocks=5) for number in range(20)]
    assert Counted(atlas(blocks=2), *others).warm_cost() == Counted(atlas(blocks=2)).warm_cost()


def test_a_warm_resolve_loops_over_nothing_that_earlier_ones_left() -> None:
    counted = Counted(SMALL)
    cost = counted.warm_cost()
    for number in range(500):
        counted.resolve(f"goal {number}")
        counted.resolver.create_session("bot", "work")
    assert counted.cost_of_resolve() == cost


def test_a_warm_resolve_loops_over_no_limits_that_calls_were_taken_from() -> None:
    costs = []
    for policies in (5, 100):
        counted = Counted(atlas(policies=policies))
        counted.resolver.register_executor("shop.act0", lambda parameters: None)
        resolution_id = counted.resolve().resolution_id
        for _ in range(5):
            answer = counted.resolver.execute(counted.session_id, resolution_id, "shop.act0", {})
            assert answer.status == "success"
        costs.append(counted.warm_cost())
    assert costs[0] == costs[1]


@pytest.mark.parametrize("caller", ["bot", "another"])
def test_while_a_limit_is_full_a_resolve_loops_over_no_others(caller: str) -> None:
    once = {"max_calls": 1, "window_seconds": 60}
    costs = []
    for limits in (2, 100):
        made = atlas()
        made["policies"].append(policy("once", "rate_limit", actions=["shop.act0"], parameters=once))
        for number in range(limits):
            made["policies"].append(
                policy(f"more{number}", "rate_limit", actions=["shop.act1"], parameters=once, priority=1)
            )
        counted = Counted(made)
        counted.resolver.register_executor("shop.act0", lambda parameters: None)
        resolution_id = counted.resolve().resolution_id
        counted.resolver.execute(counted.session_id, resolution_id, "shop.act0", {})
        assert "shop.act0" in {one.action_id for one in counted.resolve().denied_actions}
        if caller == "another":
            counted.session_id = counted.resolver.create_session(caller, "work")
            assert not counted.resolve().denied_actions
        costs.append(counted.warm_cost())
    assert costs[0] == costs[1]


def test_immediate_mode_pays_for_its_events_and_the_counter_sees_them() -> None:
    few, many = (Counted(one, tracing="immediate").warm_cost() for one in (SMALL, LARGE))
    assert many - few >= 495


def test_an_event_costs_the_same_to_drain_however_many_atlases_are_loaded() -> None:
    costs = []
    for others in (0, 20):
        loaded = [atlas(f"com.example.other{number}", policies=10) for number in range(others)]
        counted = Counted(SMALL, *loaded)
        counted.resolver.ack(counted.resolver.drain_traces(1000).batch_id)
        counted.resolve(atlas_ids=["com.example.shop"])
        batches = []
        costs.append(
            count_operations(lambda made=batches, one=counted: made.append(one.resolver.drain_traces(1000)))
        )
        assert batches[0].count == 7
    assert costs[0] == costs[1]


def test_draining_costs_the_same_for_each_event_of_a_resolve() -> None:
    def cost_of(actions: int) -> int:
        counted = Counted(atlas(actions=actions))
        counted.resolver.ack(counted.resolver.drain_traces(1000).batch_id)
        counted.resolve()
        return count_operations(lambda: counted.resolver.drain_traces(1000))

    few, more, many = (cost_of(actions) for actions in (100, 200, 300))
    assert 0 < many - more <= 1.05 * (more - few)


def new_goal_cost(blocks: int, goal: str) -> int:
    counted = Counted(atlas(blocks=blocks))
    counted.resolve("something else")
    return counted.cost_of_resolve(goal)


@pytest.mark.parametrize("goal", ["nothing of it", "word1", "word0 and then word1", "matter", "see matter 1"])
def test_a_new_goal_is_not_compared_with_each_keyword_of_each_block(goal: str) -> None:
    assert new_goal_cost(200, goal) == new_goal_cost(3, goal)


def test_a_new_goal_costs_at_most_a_few_operations_for_each_of_its_words() -> None:
    few, many = (new_goal_cost(200, " ".join(f"other{n}" for n in range(words))) for words in (10, 110))
    assert 0 <= many - few <= 100 * 50
