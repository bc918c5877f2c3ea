"""Each fact that an answer depends on, one test each: change it and the answer changes, change it back and
the first answer returns; and it is always what a resolver says that never saw the facts of before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import Resolver
from cra_wasm.testing import FakeClock, SequentialIds

from .building import action, at, block, manifest, policy

MORNING = at("2026-11-27T08:00:00+00:00")
OFFICE = {"time_window": {"start": "09:00", "end": "17:00"}}
DENY = policy("no-refund", "deny", actions=["order.refund"])
ALLOW = policy("all", "allow")
STOCK = manifest(atlas_id="com.example.stock", actions=[action("stock.read")], policies=[ALLOW])


def shop(
    *policies: dict[str, Any], blocks: tuple[dict[str, Any], ...] = (), **members: Any
) -> dict[str, Any]:
    """Return an atlas of two actions, allowed where no policy says otherwise."""
    return manifest(
        actions=[action("order.read"), action("order.refund", **members)],
        capabilities=[
            {"capability_id": "reading", "name": "Reading", "actions": ["order.read"]},
            {"capability_id": "paying", "name": "Paying", "actions": ["order.refund"]},
        ],
        policies=[*policies, ALLOW],
        context_blocks=list(blocks),
    )


class World:
    """A resolver with some atlases, at some time, and one session for each agent."""

    def __init__(self, *atlases: dict[str, Any], wall_ns: int = MORNING) -> None:
        self.clock = FakeClock(wall_ns)
        self.resolver = Resolver(clock=self.clock, ids=SequentialIds())
        self.sessions: dict[str, str] = {}
        for one in atlases:
            self.resolver.load_atlas(one)
        for name in ("order.read", "order.refund"):
            self.resolver.register_executor(name, lambda parameters: "done")

    def session(self, agent_id: str) -> str:
        if agent_id not in self.sessions:
            self.sessions[agent_id] = self.resolver.create_session(agent_id, "work")
        return self.sessions[agent_id]

    def answer(self, agent_id: str = "bot-1", goal: str = "look around", **facts: Any) -> dict[str, Any]:
        """Return a resolution without what is new in each: its ids and its time."""
        told = self.resolver.resolve(self.session(agent_id), goal, **facts).to_dict()
        return {
            name: value
            for name, value in told.items()
            if name not in ("resolution_id", "request_id", "timestamp", "trace_id")
        }

    def refund(self, agent_id: str = "bot-1") -> Any:
        session_id = self.session(agent_id)
        resolution_id = self.resolver.resolve(session_id, "refund").resolution_id
        return self.resolver.execute(session_id, resolution_id, "order.refund", {"amount": 1})


POLICED = shop(
    policy("by-tier", "deny", actions=["*.refund"], conditions={"risk_tiers": ["high"]}),
    policy("by-agent", "deny", actions=["*.refund"], conditions={"agents": ["intern-*"]}),
    policy("by-region", "deny", actions=["*.read"], conditions={"context_matches": {"region": "eu-*"}}),
    policy("by-two", "scope", parameters={"actions": ["*"]}, conditions={"context_matches": {"desk": "5"}}),
    blocks=(
        block("hinted", keywords=["rebate"]),
        block("of-tier", risk_tiers=["medium"]),
        block("of-region", conditions={"context_matches": {"region": "us"}}),
    ),
)
REGION = {"context": {"region": "us", "desk": "1"}}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({}, {"risk_tier": "high"}, id="risk_tier"),
        pytest.param({}, {"risk_tier": "medium"}, id="risk_tier_of_a_block"),
        pytest.param({}, {"required_capabilities": ["reading"]}, id="required_capabilities"),
        pytest.param(
            {"required_capabilities": ["paying"]},
            {"required_capabilities": ["reading"]},
            id="another_capability",
        ),
        pytest.param({}, {"context_hints": ["hinted"]}, id="context_hint_by_id"),
        pytest.param({}, {"context_hints": ["rebate"]}, id="context_hint_by_keyword"),
        pytest.param({}, {"goal": "a Rebate, please"}, id="keyword_in_the_goal"),
        pytest.param({}, {"atlas_ids": ["com.example.stock"]}, id="atlas_ids"),
        pytest.param({}, {"atlas_ids": []}, id="no_atlas_ids"),
        pytest.param(REGION, {"context": {"region": "eu-1", "desk": "1"}}, id="context_value"),
        pytest.param(REGION, {}, id="context_value_that_is_missing"),
        pytest.param(
            REGION, {"context": {"region": None, "desk": "1"}}, id="context_value_that_cannot_be_told"
        ),
        pytest.param(REGION, {"context": {"region": "us", "desk": 5}}, id="context_value_of_another_key"),
        pytest.param({}, {"agent_id": "intern-7"}, id="agent_glob"),
    ],
)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside_a_hint"])
def test_a_fact_of_the_request(first: dict[str, Any], second: dict[str, Any], alone: bool) -> None:
    if not alone:  # a request that says nothing but its tier has plans of its own
        hints = [["unheard of", *facts.get("context_hints", [])] for facts in (first, second)]
        first, second = {**first, "context_hints": hints[0]}, {**second, "context_hints": hints[1]}
    world = World(POLICED, STOCK)
    answers = [world.answer(**facts) for facts in (first, second, first, second)]
    assert answers[0] != answers[1]
    assert answers[2:] == answers[:2]
    assert answers[:2] == [World(POLICED, STOCK).answer(**facts) for facts in (first, second)]


def expect_answers_of_fresh_worlds(
    world: World, changes: list[tuple[Callable[[], Any], tuple[dict[str, Any], ...]]]
) -> None:
    """Make each change, compare with a new world that has just these atlases; the last is like the first."""
    answers = []
    for change, atlases in changes:
        change()
        answers.append(world.answer())
        assert answers[-1] == World(*atlases, wall_ns=world.clock.wall_ns()).answer()
    assert answers[0] != answers[1]
    assert answers[0] == answers[-1]


def test_an_atlas_loaded_and_unloaded() -> None:
    world = World(shop())
    load = world.resolver.load_atlas
    expect_answers_of_fresh_worlds(
        world,
        [
            (lambda: None, (shop(),)),
            (lambda: load(STOCK), (shop(), STOCK)),
            (lambda: world.resolver.unload_atlas("com.example.stock"), (shop(),)),
        ],
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(shop(DENY), id="a_policy_more"),
        pytest.param(shop(risk_tier="high"), id="an_action's_own_tier"),
        pytest.param(shop(description="pays back"), id="an_action's_text"),
        pytest.param(shop(blocks=(block("rules"),)), id="a_context_block_more"),
        pytest.param(
            shop(policy("few", "budget", parameters={"max_calls": 0})), id="a_limit_that_fits_no_call"
        ),
    ],
)
def test_an_atlas_loaded_again_with_another(other: dict[str, Any]) -> None:
    world = World(shop())
    load = world.resolver.load_atlas
    expect_answers_of_fresh_worlds(
        world,
        [
            (lambda: None, (shop(),)),
            (lambda: load(other), (other,)),
            (lambda: load(shop()), (shop(),)),
        ],
    )


@pytest.mark.parametrize("kind", ["allow", "deny", "scope", "require_approval"])
def test_a_window_passing_and_the_wall_clock_stepping_back(kind: str) -> None:
    parameters = {"actions": ["order.read"]} if kind == "scope" else {}
    windowed = policy("office", kind, actions=["*.refund"], conditions=OFFICE, parameters=parameters)
    atlas = shop(windowed) if kind != "allow" else {**shop(), "policies": [windowed]}
    world = World(atlas)

    def decided() -> tuple[str, list[str]]:
        told = world.answer()
        assert told == World(atlas, wall_ns=world.clock.wall_ns()).answer()
        return told["decision"]["type"], [one["action_id"] for one in told["allowed_actions"]]

    early = decided()
    world.clock.advance(3600)
    open_now = decided()
    assert open_now != early
    world.clock.advance(8 * 3600)
    assert decided() == early
    world.clock.step_wall(-8 * 3600)
    assert decided() == open_now
    world.clock.step_wall(-3600)
    assert decided() == early


def test_a_window_of_a_context_block_passing() -> None:
    atlas = shop(blocks=(block("hours", conditions=OFFICE),))
    world = World(atlas)
    seen = []
    for _ in range(3):
        told = world.answer()
        assert told == World(atlas, wall_ns=world.clock.wall_ns()).answer()
        seen.append([one["block_id"] for one in told["context_blocks"]])
        world.clock.advance(5 * 3600)
    assert seen == [[], ["hours"], []]


def test_a_window_in_a_zone_that_nobody_knows_is_looked_at_anew() -> None:
    lost = {"time_window": {"start": "09:00", "end": "17:00", "timezone": "Mars/Olympus"}}
    atlas = shop(policy("lost", "deny", actions=["*.refund"], conditions=lost))
    world = World(atlas)
    for _ in range(3):
        assert world.answer() == World(atlas, wall_ns=world.clock.wall_ns()).answer()
        world.clock.advance(25)


LIMITED = {
    "a_rate_limit": shop(policy("few", "rate_limit", parameters={"max_calls": 1, "window_seconds": 10})),
    "an_action's_own_limit": shop(rate_limit={"max_calls": 1, "window_seconds": 10}),
    "a_budget_of_calls": shop(policy("few", "budget", parameters={"max_calls": 1, "window_seconds": 10})),
    "a_budget_of_cost": shop(
        policy("few", "budget", parameters={"max_cost": 1, "cost": 1, "scope": "agent", "window_seconds": 10})
    ),
}


@pytest.mark.parametrize("name", LIMITED)
def test_a_limit_filled_and_refilled(name: str) -> None:
    world = World(LIMITED[name])
    first = world.answer()
    assert first == World(LIMITED[name]).answer()
    assert world.refund().status == "success"
    full = world.answer()
    assert "order.refund" in [one["action_id"] for one in full["denied_actions"]]
    assert world.answer("bot-2") == first  # another's calls are another's
    fresh = World(LIMITED[name])
    fresh.refund()
    assert full == fresh.answer()
    world.clock.advance(9.999)
    assert world.answer() == full
    world.clock.advance(0.001)
    assert world.answer() == first


def test_a_limit_made_tighter_and_wider_again() -> None:
    two, one = (shop(policy("few", "budget", parameters={"max_calls": calls})) for calls in (2, 1))
    world = World(two)
    room = world.answer()
    assert world.refund().status == "success"
    world.resolver.load_atlas(one)
    assert world.answer()["decision"]["reason"] == "budget_exceeded"
    world.resolver.load_atlas(two)
    assert world.answer() == room


@pytest.mark.parametrize(("scope", "others"), [("session", 0), ("agent", 1), ("atlas", 2)])
def test_a_budget_spent_by_session_agent_or_atlas(scope: str, others: int) -> None:
    """`others`: 1 when a second session of the agent finds it spent, 2 when another agent does too."""
    atlas = shop(policy("purse", "budget", parameters={"max_cost": 1, "cost": 1, "scope": scope}))
    world = World(atlas)
    first = world.answer()
    world.refund()
    spent = world.answer()
    assert spent != first
    second_session = world.resolver.create_session("bot-1", "work")
    world.sessions["bot-1"], old = second_session, world.sessions["bot-1"]
    assert world.answer() == (spent if others >= 1 else first)
    assert world.answer("bot-2") == (spent if others == 2 else first)
    world.sessions["bot-1"] = old
    world.resolver.unload_atlas("com.example.shop")
    world.resolver.load_atlas(atlas)
    assert world.answer() == first == World(atlas).answer()


def test_an_approval_granted_and_used_up() -> None:
    atlas = shop(policy("ask", "require_approval", actions=["*.refund"]))
    world = World(atlas)
    first = world.answer()
    asked = world.refund()
    assert asked.status == "pending_approval"
    world.resolver.grant_approval(asked.error["details"]["approval_id"], approver="ann")
    assert world.answer() == first  # a grant is for one call: what a resolve says is for all
    assert [world.refund().status for _ in range(2)] == ["success", "pending_approval"]
    assert world.answer() == first == World(atlas).answer()


def test_an_approval_granted_and_expired() -> None:
    world = World(shop(policy("ask", "require_approval", actions=["*.refund"])))
    asked = world.refund()
    approval_id = asked.error["details"]["approval_id"]
    world.resolver.grant_approval(approval_id, approver="ann", expires_in_seconds=10, uses=9)
    assert world.refund().status == "success"
    world.clock.advance(10)
    assert world.refund().status == "pending_approval"


def test_more_facts_than_plans_are_kept() -> None:
    capabilities = [
        {"capability_id": f"c{number}", "name": "C", "actions": ["order.read"]} for number in range(300)
    ]
    atlas = {**shop(DENY), "capabilities": capabilities}
    world = World(atlas)
    for _ in range(2):
        for number in range(0, 300, 7):
            told = world.answer(required_capabilities=[f"c{number}", f"c{(number + 1) % 300}"])
            assert told["decision"]["type"] == "allow"
        for number in range(300):
            world.answer(required_capabilities=[f"c{number}"])
    assert world.answer() == World(atlas).answer()
