"""One resolve: what it answers, which events it leaves, and what it does not touch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import BackendFailure, BufferFull, MemoryStorage, Resolver
from cra_wasm.testing import FakeClock, SequentialIds

GOLDEN_ATLAS: dict[str, Any] = {
    "atlas_version": "1.0",
    "atlas_id": "test.golden",
    "version": "1.0.0",
    "name": "Golden",
    "description": "Read and write allowed, delete denied",
    "actions": [
        {"action_id": f"file.{name}", "name": name.title(), "description": f"{name} a file"}
        for name in ("read", "list", "write", "append", "delete")
    ],
    "policies": [
        {"policy_id": "allow-read", "type": "allow", "actions": ["file.read", "file.list"]},
        {"policy_id": "allow-write", "type": "allow", "actions": ["file.write", "file.append"]},
        {"policy_id": "deny-delete", "type": "deny", "actions": ["*.delete"]},
    ],
}

GOLDEN_HASHES = """
751adad70e1c1a6b2582237fd37827bb27d9cb02eeb60402b37505f9b5737819
e37fa3dd1c002037090264ca437a9b676d71696b4b368d54ba41a8667ae918d2
291aa8a64961eb1315f6aca320a75eda31bbdc8c1bc0bc85480e22affcb9161e
1a0a74775e0a81abf8c0c599342c15727e0ac55239194beeec36180207925ab0
858954e904ba56e71c2fb65194fd050e14948f17751b302c1ff887b4c26ef36a
3d0b1845f1196c8a64bbc32fe983d2e0e00466e75100aa2ad115ded839cf1c94
ac943c5c231c84134e9a2adba16f8a3713a1a5454e8b82c5f5b4108c61185b51
54c41755ca51f0ea42b1c96e320b53ec608c84a24757a5dd259d5258e2a0b138
37e4400c4d252f411090be83256cc1a886e064ad9b223b04c0391a137eaec9fa
""".split()


def test_the_golden_session_has_these_events_and_these_hashes() -> None:
    resolver = Resolver(clock=FakeClock(), ids=SequentialIds())
    resolver.load_atlas(GOLDEN_ATLAS)
    session_id = resolver.create_session("test-agent", "Test session")
    resolver.resolve(session_id, "read a file, naïvely 😀")
    resolver.end_session(session_id)
    events = resolver.get_trace(session_id)
    assert [(event.event_type, event.payload.get("result")) for event in events] == [
        ("session.started", None),
        ("carp.request.received", None),
        *[("policy.evaluated", "allow")] * 4,
        ("policy.evaluated", "deny"),
        ("carp.resolution.completed", None),
        ("session.ended", None),
    ]
    completed = events[-2].payload
    assert (completed["decision_type"], completed["allowed_count"], completed["denied_count"]) == (
        "partial",
        4,
        1,
    )
    assert [event.event_hash for event in events] == GOLDEN_HASHES


def test_a_resolve_leaves_its_events_in_the_order_of_the_protocol(rig: Any) -> None:
    resolution = rig.resolve("please refund me")
    started, *events = rig.events()
    assert [(event.event_type, event.payload) for event in events] == [
        (
            "carp.request.received",
            {
                "goal": "please refund me",
                "operation": "resolve",
                "request_id": resolution.request_id,
                "risk_tier": "low",
            },
        ),
        *[
            ("policy.evaluated", {"action_id": f"item.{name}", "policy_id": policy, "result": result})
            for name, policy, result in [
                ("read", "allow-most", "allow"),
                ("list", "allow-most", "allow"),
                ("write", "allow-most", "allow"),
                ("count", "allow-most", "allow"),
                ("pay", "allow-most", "allow"),
                ("refund", "ask-refund", "deny"),
                ("delete", "no-delete", "deny"),
                ("hidden", "default-deny", "deny"),
            ]
        ],
        ("context.injected", {"block_id": "refund-rules", "source": "test.shop", "token_count": 4}),
        ("context.injected", {"block_id": "house-rules", "source": "test.shop", "token_count": 2}),
        (
            "carp.resolution.completed",
            {
                "resolution_id": resolution.resolution_id,
                "request_id": resolution.request_id,
                "decision_type": "partial",
                "allowed_count": 5,
                "denied_count": 3,
                "context_block_count": 2,
                "ttl_seconds": 3600,
            },
        ),
    ]
    assert {event.trace_id for event in events} == {resolution.trace_id}
    assert {event.timestamp for event in events} == {resolution.timestamp}
    assert events[0].parent_span_id == started.span_id
    assert {event.parent_span_id for event in events[1:]} == {events[0].span_id}
    assert len({event.span_id for event in rig.events()}) == len(rig.events())
    assert len({event.event_id for event in rig.events()}) == len(rig.events())
    assert started.parent_span_id is None


def test_the_resolution_says_what_the_events_say(rig: Any) -> None:
    answer = rig.resolve("please refund me").to_dict()
    assert answer["decision"] == {
        "type": "partial",
        "reason": None,
        "approval_id": None,
        "expires_at": None,
    }
    assert [one["action_id"] for one in answer["allowed_actions"]] == [
        "item.read",
        "item.list",
        "item.write",
        "item.count",
        "item.pay",
    ]
    assert answer["denied_actions"] == [
        {"action_id": "item.refund", "reason": "requires_approval", "policy_id": "ask-refund"},
        {"action_id": "item.delete", "reason": "never", "policy_id": "no-delete"},
        {"action_id": "item.hidden", "reason": "no_matching_policy", "policy_id": "default-deny"},
    ]
    assert [one["block_id"] for one in answer["context_blocks"]] == ["refund-rules", "house-rules"]
    assert {one["type"] for one in answer["constraints"]} == {"rate_limit", "require_approval", "budget"}
    assert answer["ttl_seconds"] == 3600
    assert "rate_limit" in answer["allowed_actions"][3]
    assert "rate_limit" not in answer["allowed_actions"][0]


def test_everything_asked_for_stands_in_the_trace(rig: Any) -> None:
    rig.resolve(
        "g",
        risk_tier="high",
        required_capabilities=["reading"],
        context_hints=["refund-rules"],
        atlas_ids=["test.shop"],
        context={"region": "eu", "é": [1, 2.0, None]},
    )
    received = next(event for event in rig.events() if event.event_type == "carp.request.received")
    assert received.payload == {
        "goal": "g",
        "operation": "resolve",
        "request_id": received.payload["request_id"],
        "risk_tier": "high",
        "required_capabilities": ["reading"],
        "context_hints": ["refund-rules"],
        "atlas_ids": ["test.shop"],
        "context": {"region": "eu", "é": [1, 2, None]},
    }
    assert rig.resolver.verify_chain(rig.session_id).valid


@pytest.mark.parametrize("goal", ['"\\\x00\x1f\x7f\n', "\u2028\ue000\ud7ff", "😀é", "x" * 10_000, " "])
def test_any_goal_is_recorded_as_it_was_given(rig: Any, goal: str) -> None:
    rig.resolve(goal)
    received = next(event for event in rig.events() if event.event_type == "carp.request.received")
    assert received.payload["goal"] == goal
    assert rig.resolver.verify_chain(rig.session_id).valid


def test_required_capabilities_leave_only_their_actions(rig: Any) -> None:
    resolution = rig.resolve(required_capabilities=["reading"])
    assert resolution.decision.type == "allow"
    assert [one.action_id for one in resolution.allowed_actions] == ["item.read", "item.list"]
    assert resolution.denied_actions == ()


def test_resolving_consumes_no_limit(rig: Any) -> None:
    for _ in range(5):
        assert "item.write" in [one.action_id for one in rig.resolve().allowed_actions]
    for _ in range(2):
        assert rig.run("item.write").status == "success"


def test_a_full_limit_shows_in_the_next_resolution_and_leaves_with_its_window(rig: Any) -> None:
    assert rig.run("item.count").status == "success"
    denied = {one.action_id: one for one in rig.resolve().denied_actions}
    assert denied["item.count"].reason == "rate_limit_exceeded"
    assert denied["item.count"].policy_id == "item.count#rate_limit"
    rig.clock.advance(10)
    assert "item.count" in [one.action_id for one in rig.resolve().allowed_actions]


def test_a_caller_cannot_change_the_context_it_gave(rig: Any) -> None:
    context = {"list": [1]}
    rig.resolve(context=context)
    context["list"].append(2)
    received = next(event for event in rig.events() if event.event_type == "carp.request.received")
    assert received.payload["context"] == {"list": [1]}


def test_a_context_that_changes_before_the_drain_is_recorded_as_it_was(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred")
    context = {"list": [1]}
    rig.resolve(context=context)
    context["list"].append(2)
    assert b'"context":{"list":[1]}' in rig.resolver.drain_traces(1000).data


def test_no_atlas_means_denied_for_want_of_candidates() -> None:
    resolver = Resolver()
    session_id = resolver.create_session("agent", "goal")
    resolution = resolver.resolve(session_id, "anything")
    assert (resolution.decision.type, resolution.decision.reason) == ("deny", "no_candidates")
    assert [event.event_type for event in resolver.get_trace(session_id)][1:] == [
        "carp.request.received",
        "carp.resolution.completed",
    ]


def test_a_session_sees_an_atlas_that_was_loaded_after_it_started(shop: dict[str, Any]) -> None:
    resolver = Resolver()
    session_id = resolver.create_session("agent", "goal")
    assert resolver.resolve(session_id, "g").allowed_actions == ()
    resolver.load_atlas(shop)
    assert len(resolver.resolve(session_id, "g").allowed_actions) == 5
    resolver.unload_atlas("test.shop")
    resolution = resolver.resolve(session_id, "refund")
    assert (resolution.allowed_actions, resolution.denied_actions, resolution.context_blocks) == ((), (), ())


def test_an_atlas_can_be_loaded_as_text_bytes_dict_and_file(shop: dict[str, Any], tmp_path: Any) -> None:
    path = tmp_path / "shop.atlas.json"
    text = json.dumps(shop)
    path.write_text(text, encoding="utf-8")
    resolver = Resolver()
    for source in (text, text.encode(), shop, path):
        assert resolver.load_atlas(source).atlas_id == "test.shop"
        assert [atlas.version for atlas in resolver.atlases()] == ["1.2.3"]


def test_explain_names_the_policy_of_each_candidate(rig: Any) -> None:
    told = rig.resolver.explain(rig.session_id, rig.resolve().resolution_id)
    assert told[5] == {
        "action_id": "item.refund",
        "result": "deny",
        "policy_id": "ask-refund",
        "policy_name": None,
        "policy_type": "require_approval",
        "reason": "requires_approval",
    }
    assert [one["action_id"] for one in told][-1] == "item.hidden"
    assert told[-1]["policy_type"] is None


def test_a_whole_request_gives_the_resolution_that_the_everyday_call_gives(
    rig: Any, request_of: Callable[..., dict[str, Any]]
) -> None:
    request = request_of(rig, task={"goal": "refund", "risk_tier": "high"}, context={"a": 1})
    whole = rig.resolver.resolve_request(json.dumps(request))
    plain = rig.resolve("refund", risk_tier="high", context={"a": 1})
    assert whole.request_id == request["request_id"]
    differing = {"resolution_id", "request_id", "trace_id"}
    assert {name: value for name, value in whole.to_dict().items() if name not in differing} == {
        name: value for name, value in plain.to_dict().items() if name not in differing
    }
    received = [event for event in rig.events() if event.event_type == "carp.request.received"]
    assert received[0].payload == {**received[1].payload, "request_id": request["request_id"]}


# PROTOCOL 3.7.5
def test_a_full_buffer_refuses_and_changes_nothing(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred", capacity=16)
    first = rig.resolve()
    before = rig.resolver.statistics()
    with pytest.raises(BufferFull) as caught:
        rig.resolve()
    assert caught.value.code == "buffer_full"
    after = rig.resolver.statistics()
    assert after.resolutions_remembered == before.resolutions_remembered == 1
    assert after.buffer.pending == before.buffer.pending == 12
    batch = rig.resolver.drain_traces(100)
    rig.resolver.ack(batch.batch_id)
    rig.resolve()
    batch = rig.resolver.drain_traces(100)
    assert batch.groups[0].first_sequence == 12
    assert rig.resolver.explain(rig.session_id, first.resolution_id)


def test_a_resolve_that_could_not_be_stored_has_not_happened(new_rig: Callable[..., Any]) -> None:
    class Broken(MemoryStorage):
        broken = False

        def store_events(self, events: Any) -> None:
            if self.broken:
                raise BackendFailure("storage_failed", "disk full")
            super().store_events(events)

    storage = Broken()
    rig = new_rig(storage=storage)
    storage.broken = True
    with pytest.raises(BackendFailure):
        rig.resolve()
    assert rig.resolver.statistics().resolutions_remembered == 0
    storage.broken = False
    rig.resolve()
    assert [event.sequence for event in rig.events()] == list(range(len(rig.events())))
    assert rig.resolver.verify_chain(rig.session_id).valid
    assert rig.resolver.end_session(rig.session_id)["resolution_count"] == 1
