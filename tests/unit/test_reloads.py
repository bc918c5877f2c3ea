"""What an atlas loaded again means for calls that were resolved before, and for those that come after."""

from __future__ import annotations

from typing import Any

from cra_wasm import Resolver
from cra_wasm.testing import FakeClock, SequentialIds

from .building import action, manifest, policy

ALLOW = policy("all", "allow")


def new_resolver() -> Resolver:
    resolver = Resolver(clock=FakeClock(), ids=SequentialIds())
    resolver.register_executor("order.read", lambda parameters: "done")
    return resolver


def shop(*policies: dict[str, Any], actions: tuple[str, ...] = ("order.read",), **members: Any) -> Any:
    return manifest(actions=[action(name) for name in actions], policies=[ALLOW, *policies], **members)


def test_a_call_under_an_older_looser_limit_fills_the_tighter_one() -> None:
    resolver = new_resolver()
    session_id = resolver.create_session("bot", "read")
    limits = {
        calls: policy("few", "rate_limit", parameters={"max_calls": calls, "window_seconds": 10})
        for calls in (1, 9)
    }
    resolver.load_atlas(shop(limits[9]))
    before = resolver.resolve(session_id, "read")
    resolver.load_atlas(shop(limits[1]))
    assert resolver.execute(session_id, before.resolution_id, "order.read", {}).status == "success"
    after = resolver.resolve(session_id, "read")
    assert [one.reason for one in after.denied_actions] == ["rate_limit_exceeded"]


def test_a_denial_under_an_older_looser_limit_leaves_the_tighter_one_full() -> None:
    resolver = new_resolver()
    session_id = resolver.create_session("bot", "read")
    limits = {calls: policy("few", "budget", parameters={"max_calls": calls}) for calls in (1, 2)}
    resolver.load_atlas(shop(limits[1]))
    first = resolver.resolve(session_id, "read").resolution_id
    assert resolver.execute(session_id, first, "order.read", {}).status == "success"
    resolver.load_atlas(shop(limits[2]))
    again = resolver.resolve(session_id, "read").resolution_id
    resolver.load_atlas(shop(limits[1]))
    denied = resolver.resolve(session_id, "read")
    assert denied.decision.type == "deny"
    assert resolver.execute(session_id, again, "order.read", {}).status == "success"
    assert resolver.execute(session_id, denied.resolution_id, "order.read", {}).status == "denied"
    assert resolver.resolve(session_id, "read").decision.type == "deny"


def ask_and_grant(resolver: Resolver, session_id: str) -> None:
    resolution_id = resolver.resolve(session_id, "read").resolution_id
    answer = resolver.execute(session_id, resolution_id, "order.read", {})
    assert answer.error is not None
    resolver.grant_approval(answer.error["details"]["approval_id"], approver="ann")


def test_a_grant_of_one_atlas_opens_no_action_of_another() -> None:
    resolver = new_resolver()
    session_id = resolver.create_session("bot", "read")
    ask = policy("ask", "require_approval")
    resolver.load_atlas(shop(ask))
    ask_and_grant(resolver, session_id)
    resolver.load_atlas(shop(ask, actions=("order.list",)))
    resolver.load_atlas(shop(ask, atlas_id="com.example.other"))
    resolution_id = resolver.resolve(session_id, "read").resolution_id
    assert resolver.execute(session_id, resolution_id, "order.read", {}).status == "pending_approval"


def test_unloading_takes_the_approvals_of_actions_that_a_reload_dropped() -> None:
    resolver = new_resolver()
    session_id = resolver.create_session("bot", "read")
    resolver.load_atlas(shop(policy("ask", "require_approval")))
    ask_and_grant(resolver, session_id)
    resolver.load_atlas(shop(actions=("order.list",)))
    assert len(resolver.approvals()) == 1
    resolver.unload_atlas("com.example.shop")
    assert resolver.approvals() == []
