"""Whatever comes in wrong: a CRAError with a stable code and the culprit's pointer, and nothing half done."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import BufferFull, CRAError, InvalidInput, InvalidState, NotFound, Resolver

ABSENT = object()


def changed(request: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return the request with the member at `path` set, or removed when the value is ABSENT."""
    *parents, last = path.split(".")
    target = request
    for name in parents:
        target = target.setdefault(name, {})
    if value is ABSENT:
        del target[last]
    else:
        target[last] = value
    return request


def refused(rig: Any, call: Callable[[], Any]) -> CRAError:
    """Return the CRAError of a call that must raise one and leave the session's state as it was."""
    before = rig.resolver.statistics()
    with pytest.raises(CRAError) as caught:
        call()
    assert rig.resolver.statistics() == before
    json.dumps(caught.value.to_dict())
    return caught.value


@pytest.mark.parametrize(
    ("arguments", "code", "pointer"),
    [
        ({"goal": ""}, "invalid_goal", "/task/goal"),
        ({"goal": "x" * 10_001}, "invalid_goal", "/task/goal"),
        ({"goal": None}, "invalid_goal", "/task/goal"),
        ({"goal": ["g"]}, "invalid_goal", "/task/goal"),
        ({"goal": b"g"}, "invalid_goal", "/task/goal"),
        ({"goal": "a\ud800"}, "invalid_goal", "/task/goal"),
        ({"risk_tier": "LOW"}, "invalid_risk_tier", "/task/risk_tier"),
        ({"risk_tier": None}, "invalid_risk_tier", "/task/risk_tier"),
        ({"risk_tier": ["low"]}, "invalid_risk_tier", "/task/risk_tier"),
        (
            {"required_capabilities": "reading"},
            "invalid_required_capabilities",
            "/task/required_capabilities",
        ),
        ({"required_capabilities": None}, "invalid_required_capabilities", "/task/required_capabilities"),
        (
            {"required_capabilities": ["reading", 1]},
            "invalid_required_capabilities",
            "/task/required_capabilities/1",
        ),
        (
            {"required_capabilities": ["a"] * 101},
            "invalid_required_capabilities",
            "/task/required_capabilities",
        ),
        ({"required_capabilities": ["nope"]}, "capability_not_found", "/task/required_capabilities/0"),
        ({"context_hints": {"a"}}, "invalid_context_hints", "/task/context_hints"),
        ({"context_hints": ["ok", ""]}, "invalid_context_hints", "/task/context_hints/1"),
        ({"context_hints": ["\udc00"]}, "invalid_context_hints", "/task/context_hints/0"),
        ({"context_hints": ["x" * 256]}, "invalid_context_hints", "/task/context_hints/0"),
        ({"atlas_ids": "test.shop"}, "invalid_atlas_ids", "/atlas_ids"),
        ({"atlas_ids": [None]}, "invalid_atlas_ids", "/atlas_ids/0"),
        ({"atlas_ids": ["test.shop", "test.other"]}, "atlas_not_found", "/atlas_ids/1"),
        ({"context": []}, "invalid_context", "/context"),
        ({"context": "a"}, "invalid_context", "/context"),
        ({"context": {"a": [float("nan")]}}, "not_canonical", "/context/a/0"),
        ({"context": {1: "a"}}, "not_canonical", "/context"),
        ({"context": {"a": "x" * 1_000_001}}, "invalid_context", "/context"),
    ],
)
def test_a_wrong_argument_of_resolve_is_named_by_its_pointer(
    rig: Any, arguments: Any, code: str, pointer: str
) -> None:
    error = refused(rig, lambda: rig.resolver.resolve(rig.session_id, **{"goal": "g", **arguments}))
    assert (error.code, error.details["pointer"]) == (code, pointer)
    assert rig.types() == ["session.started", "error.occurred"]
    assert rig.events()[-1].payload["pointer"] == pointer
    rig.resolve()
    assert rig.resolver.verify_chain(rig.session_id).valid


@pytest.mark.parametrize(
    ("agent_id", "goal", "code", "pointer"),
    [
        ("", "g", "invalid_agent_id", "/requester/agent_id"),
        ("x" * 256, "g", "invalid_agent_id", "/requester/agent_id"),
        (None, "g", "invalid_agent_id", "/requester/agent_id"),
        ("\ud800", "g", "invalid_agent_id", "/requester/agent_id"),
        ("a", "", "invalid_goal", "/task/goal"),
        ("a", "x" * 10_001, "invalid_goal", "/task/goal"),
        ("a", 5, "invalid_goal", "/task/goal"),
    ],
)
def test_a_session_needs_an_agent_and_a_goal(
    rig: Any, agent_id: Any, goal: Any, code: str, pointer: str
) -> None:
    error = refused(rig, lambda: rig.resolver.create_session(agent_id, goal))
    assert (error.code, error.details["pointer"]) == (code, pointer)
    assert rig.runtime_errors()[0]["code"] == code


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        ("carp_version", "2.0", "/carp_version"),
        ("carp_version", ABSENT, "/carp_version"),
        ("request_id", "x", "/request_id"),
        ("request_id", 1, "/request_id"),
        ("request_id", "01940D23-3A00-7000-8000-000000000001", "/request_id"),
        ("timestamp", "yesterday", "/timestamp"),
        ("timestamp", "2024-12-28T12:00:00", "/timestamp"),
        ("timestamp", "2024-12-28 12:00:00Z", "/timestamp"),
        ("timestamp", 1735387200, "/timestamp"),
        ("operation", "delete", "/operation"),
        ("requester.agent_id", "", "/requester/agent_id"),
        ("requester.session_id", "x", "/requester/session_id"),
        ("requester.extra", 1, "/requester/extra"),
        ("task.goal", "", "/task/goal"),
        ("task.goal", "x" * 10_001, "/task/goal"),
        ("task.risk_tier", "none", "/task/risk_tier"),
        ("task.required_capabilities", ["A b"], "/task/required_capabilities/0"),
        ("task.context_hints", "hint", "/task/context_hints"),
        ("atlas_ids", ["nodots"], "/atlas_ids/0"),
        ("context", [], "/context"),
        ("unknown", 1, "/unknown"),
        ("a/b~c", 1, "/a~1b~0c"),
        ("execution", {}, "/execution/resolution_id"),
        ("operation", "execute", ""),
    ],
)
def test_a_wrong_member_of_a_request_is_named_by_its_pointer(
    rig: Any, request_of: Callable[..., Any], path: str, value: Any, pointer: str
) -> None:
    request = changed(request_of(rig), path, value)
    for source in (request, json.dumps(request), json.dumps(request).encode()):
        error = refused(rig, lambda source=source: rig.resolver.resolve_request(source))  # type: ignore[misc]
        assert (error.code, error.details["pointer"]) == ("invalid_request", pointer)
    assert [one["pointer"] for one in rig.runtime_errors()] == [pointer] * 3
    assert rig.types() == ["session.started"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "1",
        '"a"',
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "{}{}",
        "[" * 100_000,
        '{"a":' * 70 + "1" + "}" * 70,
        b"\xff\xfe",
        '{"carp_version": "1.0"',
        "\ufeff{}",
        '{"\\ud800": 1}',
        None,
        5,
        [],
    ],
    ids=range(18),
)
def test_text_that_is_no_request_is_refused(rig: Any, text: Any) -> None:
    error = refused(rig, lambda: rig.resolver.resolve_request(text))
    assert error.code == "invalid_request"
    assert isinstance(error.details["pointer"], str)
    assert rig.runtime_errors()[0]["code"] == "invalid_request"


@pytest.mark.parametrize("seconds", [-300.001, 300.001, -86_400, 1e9])
def test_a_request_from_another_time_is_stale(
    rig: Any, request_of: Callable[..., Any], seconds: float
) -> None:
    request = request_of(rig)
    rig.clock.step_wall(seconds)
    error = refused(rig, lambda: rig.resolver.resolve_request(request))
    assert (error.code, error.details["pointer"]) == ("stale_timestamp", "/timestamp")


@pytest.mark.parametrize("timestamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_at_the_edge_of_the_calendar_is_stale(
    rig: Any, request_of: Callable[..., Any], timestamp: str
) -> None:
    request = request_of(rig, timestamp=timestamp)
    assert refused(rig, lambda: rig.resolver.resolve_request(request)).code == "stale_timestamp"


@pytest.mark.parametrize(
    "timestamp",
    [
        "2024-12-28T12:05:00Z",
        "2024-12-28T11:55:00.000Z",
        "2024-12-28T17:30:00+05:30",
        "2024-12-28t12:00:00-00:00",
    ],
)
def test_a_time_of_any_zone_within_five_minutes_is_fresh(
    rig: Any, request_of: Callable[..., Any], timestamp: str
) -> None:
    assert rig.resolver.resolve_request(request_of(rig, timestamp=timestamp)).decision.type == "partial"


def test_a_request_of_another_agent_or_session_is_refused(rig: Any, request_of: Callable[..., Any]) -> None:
    other = request_of(rig, requester={"agent_id": "agent-2", "session_id": rig.session_id})
    assert refused(rig, lambda: rig.resolver.resolve_request(other)).code == "agent_mismatch"
    unknown = "01940d23-3a00-7000-8000-0000ffff0001"
    other = request_of(rig, requester={"agent_id": "agent-1", "session_id": unknown})
    assert refused(rig, lambda: rig.resolver.resolve_request(other)).code == "session_not_found"
    rig.resolver.end_session(rig.session_id)
    assert refused(rig, lambda: rig.resolver.resolve_request(request_of(rig))).code == "session_ended"


def test_a_request_id_counts_once_in_its_session(rig: Any, request_of: Callable[..., Any]) -> None:
    request = request_of(rig)
    rig.resolver.resolve_request(request)
    error = refused(rig, lambda: rig.resolver.resolve_request(request))
    assert (error.code, error.details["pointer"]) == ("duplicate_request_id", "/request_id")
    request["requester"]["session_id"] = rig.resolver.create_session("agent-1", "other")
    rig.resolver.resolve_request(request)


# PROTOCOL 0.3.11, 2.1.6
def test_the_replay_window_is_bounded_and_empties_with_time(
    rig: Any, request_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cra_wasm.runtime import session

    assert session.REQUEST_IDS_PER_SESSION == 8192
    monkeypatch.setattr(session, "REQUEST_IDS_PER_SESSION", 3)
    first = request_of(rig)
    for request in (first, request_of(rig), request_of(rig)):
        rig.resolver.resolve_request(request)
    late = request_of(rig, timestamp="2024-12-28T12:05:00Z")
    assert refused(rig, lambda: rig.resolver.resolve_request(late)).code == "replay_window_full"
    rig.clock.advance(300)
    assert refused(rig, lambda: rig.resolver.resolve_request(late)).code == "replay_window_full"
    assert refused(rig, lambda: rig.resolver.resolve_request(first)).code == "duplicate_request_id"
    rig.clock.advance(0.001)
    rig.resolver.resolve_request(late)
    assert refused(rig, lambda: rig.resolver.resolve_request(first)).code == "stale_timestamp"


def test_a_request_refused_for_want_of_room_can_be_sent_again(
    new_rig: Callable[..., Any], request_of: Callable[..., Any]
) -> None:
    rig = new_rig(tracing="deferred", capacity=16)
    rig.resolver.register_executor("item.list", lambda parameters: "ran")
    resolution = rig.resolver.resolve_request(request_of(rig))
    execution = {"resolution_id": resolution.resolution_id, "action_id": "item.list", "parameters": {}}
    for request in (
        request_of(rig),
        request_of(rig, operation="execute", execution=execution),
    ):
        with pytest.raises(BufferFull):
            while True:
                rig.resolver.emit(rig.session_id, "app.fill", {})
        with pytest.raises(BufferFull):
            rig.resolver.resolve_request(request)
        rig.resolver.ack(rig.resolver.drain_traces(99).batch_id)
        assert rig.resolver.resolve_request(request).request_id == request["request_id"]
        with pytest.raises(InvalidInput) as caught:
            rig.resolver.resolve_request(request)
        assert caught.value.code == "duplicate_request_id"


def test_an_execute_may_come_as_a_whole_request(rig: Any, request_of: Callable[..., Any]) -> None:
    resolution = rig.resolver.resolve_request(request_of(rig))
    request = request_of(
        rig,
        operation="execute",
        execution={
            "resolution_id": resolution.resolution_id,
            "action_id": "item.read",
            "parameters": {"item_id": "a"},
        },
    )
    answer = rig.resolver.resolve_request(json.dumps(request))
    assert (answer.status, answer.request_id) == ("success", request["request_id"])
    received = [event for event in rig.events() if event.event_type == "carp.request.received"][-1]
    assert received.payload["goal"] == "look around"
    assert received.payload["request_id"] == request["request_id"]


@pytest.mark.parametrize(
    ("source", "pointer"),
    [
        ("{", ""),
        ("null", ""),
        (None, ""),
        ({"atlas_version": "1.0"}, "/atlas_id"),
        ('{"atlas_version": "1.0", "atlas_version": "1.0"}', ""),
        (b"\xff", ""),
        ({"self": {1, 2}}, ""),
    ],
)
def test_a_broken_atlas_is_refused_and_changes_nothing(rig: Any, source: Any, pointer: str) -> None:
    error = refused(rig, lambda: rig.resolver.load_atlas(source))
    assert (error.code, error.details["pointer"]) == ("invalid_atlas", pointer)


def test_an_atlas_that_contradicts_another_is_refused_and_changes_nothing(
    rig: Any, shop: dict[str, Any], tmp_path: Any
) -> None:
    shop["atlas_id"] = "test.other"
    error = refused(rig, lambda: rig.resolver.load_atlas(shop))
    assert (error.code, error.details["pointer"]) == ("duplicate_action", "/actions/0/action_id")
    assert isinstance(refused(rig, lambda: rig.resolver.load_atlas(tmp_path / "none.json")), NotFound)
    assert refused(rig, lambda: rig.resolver.load_atlas(tmp_path)).code == "invalid_atlas"


@pytest.mark.parametrize(
    ("atlas_id", "code"),
    [
        ("test.none", "atlas_not_found"),
        ("", "invalid_atlas_ids"),
        (None, "invalid_atlas_ids"),
        ([], "invalid_atlas_ids"),
    ],
)
def test_an_atlas_that_is_not_loaded_cannot_be_unloaded(rig: Any, atlas_id: Any, code: str) -> None:
    assert refused(rig, lambda: rig.resolver.unload_atlas(atlas_id)).code == code


def test_more_context_blocks_than_one_call_can_record_are_refused(shop: dict[str, Any]) -> None:
    resolver = Resolver()
    shop["context_blocks"] = [
        {"context_id": f"b{number}", "name": "b", "content": ""} for number in range(10_000)
    ]
    for number in range(4):
        resolver.load_atlas(
            {**shop, "atlas_id": f"test.n{number}", "actions": [], "capabilities": [], "policies": []}
        )
    session_id = resolver.create_session("a", "g")
    with pytest.raises(InvalidInput) as caught:
        resolver.resolve(session_id, "g")
    assert caught.value.code == "too_many_actions"
    resolution = resolver.resolve(session_id, "g", atlas_ids=["test.n0", "test.n3"])
    assert len(resolution.context_blocks) == 20_000
    assert resolver.verify_chain(session_id).valid


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=5), inner),
    max_leaves=8,
)


@given(JSON, JSON, JSON)
def test_no_argument_makes_anything_but_a_cra_error(one: Any, two: Any, three: Any) -> None:
    resolver = Resolver()
    session_id = resolver.create_session("agent", "goal")
    calls: list[Callable[[], Any]] = [
        lambda: resolver.create_session(one, two),
        lambda: resolver.resolve(session_id, one, risk_tier=two, context=three),
        lambda: resolver.resolve(
            session_id, "g", required_capabilities=one, atlas_ids=two, context_hints=three
        ),
        lambda: resolver.resolve_request(one),
        lambda: resolver.execute(session_id, one, two, three, idempotency_key=one),
        lambda: resolver.emit(session_id, one, two),
        lambda: resolver.emit(session_id, "app.x", {"v": three}),
        lambda: resolver.grant_approval(one, approver=two, reason=three),
        lambda: resolver.explain(session_id, one),
        lambda: resolver.load_atlas(one),
        lambda: resolver.unload_atlas(one),
        lambda: resolver.end_session(one, two),
    ]
    for call in calls:
        try:
            call()
        except CRAError as error:
            json.dumps(error.to_dict())
    assert resolver.verify_chain(session_id).valid
    with pytest.raises(InvalidState):
        resolver.end_session(session_id)
        resolver.end_session(session_id)
