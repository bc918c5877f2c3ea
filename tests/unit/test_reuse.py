"""`resolve(..., reuse=True)`: two events in place of many when the answer is the same (PROTOCOL 2.12).

That a hit is told exactly when the answer would be the same is held by test_three_ways.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from cra_wasm import InvalidInput
from cra_wasm.runtime import session as session_module


def ask(rig: Any, goal: str = "look around", **options: Any) -> Any:
    return rig.resolve(goal, reuse=True, **options)


def test_the_same_question_gets_the_same_resolution_and_two_events(rig: Any) -> None:
    # PROTOCOL 2.12.3, PROTOCOL 3.1.26
    first = ask(rig)
    assert rig.types()[-1] == "carp.resolution.completed"
    rig.clock.advance(5)
    received, cached = rig.new_events(lambda: ask(rig))
    assert ask(rig) is first
    assert (received.event_type, cached.event_type) == ("carp.request.received", "carp.resolution.cached")
    assert cached.payload == {
        "cache_hit": True,
        "request_id": received.payload["request_id"],
        "resolution_id": first.resolution_id,
    }
    assert received.payload == {
        "goal": "look around",
        "operation": "resolve",
        "request_id": cached.payload["request_id"],
        "risk_tier": "low",
    }
    assert received.payload["request_id"] != first.request_id
    assert {received.trace_id, cached.trace_id} == {first.trace_id}
    assert cached.parent_span_id == received.span_id
    assert received.parent_span_id == rig.events()[0].span_id
    assert rig.run("item.list", resolution_id=first.resolution_id).status == "success"
    assert rig.resolver.verify_chain(rig.session_id).valid
    assert rig.resolver.end_session(rig.session_id)["resolution_count"] == 1


def test_without_it_every_resolve_is_its_own_and_none_is_reused(rig: Any) -> None:
    # PROTOCOL 2.12.4
    plain = rig.resolve()
    assert ask(rig) is not plain
    assert rig.resolve(reuse=False) is not plain
    assert "carp.resolution.cached" not in rig.types()


@pytest.mark.parametrize(
    "other",
    [
        {"goal": "look around "},
        {"risk_tier": "medium"},
        {"context_hints": ["refund"]},
        {"context": {"region": "eu"}},
        {"required_capabilities": ["reading"]},
        {"atlas_ids": ["test.shop"]},
    ],
)
def test_another_question_is_another_resolution(rig: Any, other: dict[str, Any]) -> None:
    # PROTOCOL 2.12.1
    first = ask(rig)
    second = ask(rig, **other)
    assert second is not first
    assert ask(rig) is first
    assert ask(rig, **other) is second


def test_another_session_has_its_own(rig: Any) -> None:
    first = ask(rig)
    other = rig.resolver.create_session("agent-1", "keep the shop")
    assert rig.resolver.resolve(other, "look around", reuse=True) is not first


def test_it_is_resolved_anew_when_it_expired_or_was_pushed_out(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PROTOCOL 2.12.2
    first = ask(rig)
    rig.clock.advance(3599)
    assert ask(rig) is first
    rig.clock.advance(1)
    second = ask(rig)
    assert second is not first
    monkeypatch.setattr("cra_wasm.runtime.sessions.RESOLUTIONS_PER_SESSION", 2)
    for _ in range(2):
        rig.resolve("something else")
    assert ask(rig) is not second


def test_it_is_resolved_anew_when_a_limit_became_full_and_again_when_it_is_free(rig: Any) -> None:
    first = ask(rig)
    rig.run("item.count", resolution_id=first.resolution_id)
    full = ask(rig)
    assert {"item.count"} == {one.action_id for one in first.allowed_actions} - {
        one.action_id for one in full.allowed_actions
    }
    assert ask(rig) is full
    rig.clock.advance(10)
    free = ask(rig)
    assert free is not full and free.allowed_actions == first.allowed_actions


def test_a_limit_that_became_full_but_denies_nothing_of_it_does_not_end_the_reuse(
    new_rig: Any, shop: dict[str, Any]
) -> None:
    # `item.delete` is denied with or without the limit that it shares with `item.write`.
    shop["capabilities"].append({"capability_id": "deleting", "name": "D", "actions": ["item.delete"]})
    shop["policies"][3] |= {"actions": ["item.write", "item.delete"], "priority": -1}
    rig = new_rig()
    rig.resolver.load_atlas(shop)
    rig.resolver.register_executor("item.write", lambda parameters: None)
    first = ask(rig, required_capabilities=["deleting"])
    everything = rig.resolve()
    for _ in range(2):
        assert rig.run("item.write", resolution_id=everything.resolution_id).status == "success"
    assert rig.run("item.write").error["details"]["reason"] == "rate_limit_exceeded"
    assert ask(rig, required_capabilities=["deleting"]) is first


def test_a_reloaded_atlas_is_resolved_against_even_when_it_says_the_same(
    rig: Any, shop: dict[str, Any]
) -> None:
    first = ask(rig)
    rig.resolver.load_atlas(shop)
    second = ask(rig)
    assert second is not first
    assert ask(rig) is second


def test_a_window_that_ends_ends_the_reuse(new_rig: Any, shop: dict[str, Any]) -> None:
    shop["policies"][0]["conditions"] = {"time_window": {"start": "11:00", "end": "12:01"}}
    rig = new_rig()
    rig.resolver.load_atlas(shop)
    first = ask(rig)
    rig.clock.advance(59)
    assert ask(rig) is first
    rig.clock.advance(1)
    assert ask(rig).decision.type != first.decision.type


def test_an_answer_that_was_recorded_with_less_redacted_is_not_reused(
    new_rig: Any, shop: dict[str, Any]
) -> None:
    # PROTOCOL 2.12.1: what runs under a resolution is redacted as that was
    shop["policies"].append(
        {
            "policy_id": "privacy",
            "type": "deny",
            "actions": ["nothing.at.all"],
            "conditions": {"time_window": {"start": "12:01", "end": "13:00"}},
            "parameters": {"redact": ["/error_message"]},
        }
    )
    rig = new_rig()
    rig.resolver.load_atlas(shop)
    first = ask(rig)
    rig.clock.advance(60)
    second = ask(rig)
    assert second is not first and second.allowed_actions == first.allowed_actions
    assert ask(rig) is second


def test_a_session_keeps_64_and_the_latest_stay(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "REUSABLE_PER_SESSION", 2)
    one, two = ask(rig, "one"), ask(rig, "two")
    assert ask(rig, "one") is one
    three = ask(rig, "three")
    assert ask(rig, "two") is two and ask(rig, "three") is three
    assert ask(rig, "one") is not one


def test_what_was_dropped_is_not_reused_and_a_dropped_hit_is_counted(new_rig: Any) -> None:
    rig = new_rig(tracing="deferred", capacity=16, on_full="drop")
    first = ask(rig)
    while ask(rig) is first and not rig.resolver.buffer_stats().dropped:
        pass
    dropped = rig.resolver.buffer_stats().dropped
    assert dropped == 2
    assert ask(rig) is first
    assert rig.resolver.buffer_stats().dropped == 4
    lost = ask(rig, "another goal")
    assert ask(rig, "another goal") is not lost


@pytest.mark.parametrize("reuse", [None, 1, 0, "yes", []])
def test_reuse_is_true_or_false(rig: Any, reuse: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolve(reuse=reuse)
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_reuse", "/reuse")


def test_a_context_that_is_no_json_is_refused(rig: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(rig, context={"n": float("nan")})
    assert caught.value.code == "not_canonical"
