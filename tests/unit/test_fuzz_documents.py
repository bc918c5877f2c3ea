"""Fuzzing: whatever stands in place of an atlas, a request or a schema, only CRAErrors come out, and soon.

`--examples=N --hypothesis-seed=$RANDOM` looks further; docs/TESTING.md has atheris for the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cra_wasm import CRAError, Resolution, Resolver
from cra_wasm.carp.schema import Validator, compile_schema
from cra_wasm.model.atlas import Atlas
from cra_wasm.testing import FakeClock, SequentialIds

from .breaking import ANY_JSON, broken, broken_bytes, small_shop, tell

ATLASES = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[2] / "examples" / "atlases").glob("*.json"))
]
SCHEMAS = [
    action["parameters_schema"]
    for atlas in ATLASES
    for action in atlas["actions"]
    if "parameters_schema" in action
]
SCHEMAS += [
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/node"}, "v": {"multipleOf": 0.1}},
            }
        },
        "anyOf": [{"$ref": "#/$defs/node"}, {"type": "array", "uniqueItems": True, "contains": {"const": 1}}],
        "if": {"minProperties": 1},
        "then": {"patternProperties": {"^[a-z]{1,9}$": True}, "propertyNames": {"maxLength": 9}},
        "else": {"not": {"enum": [1, "a", None]}},
    }
]
REQUEST: dict[str, Any] = {
    "carp_version": "1.0",
    "request_id": "01234567-89ab-7def-8123-000000000001",
    "timestamp": "2024-12-28T12:00:00Z",
    "operation": "execute",
    "requester": {"agent_id": "bot", "session_id": "?"},
    "task": {
        "goal": "refund order 1234",
        "risk_tier": "low",
        "required_capabilities": [],
        "context_hints": ["refund"],
    },
    "atlas_ids": ["com.example.shop"],
    "context": {"region": "eu", "nested": [1, {"a": 2.5}]},
    "execution": {
        "resolution_id": "?",
        "action_id": "order.read",
        "parameters": {"a": 1},
        "idempotency_key": "k",
    },
}


def new_resolver() -> Resolver:
    return Resolver(clock=FakeClock(), ids=SequentialIds())


AS_SENT = st.sampled_from(
    [lambda document: document, json.dumps, lambda document: json.dumps(document).encode()]
)
"""The forms in which a document can be given: itself, its text, its bytes."""


def live_with(resolver: Resolver, atlas: Atlas) -> None:
    """Do with a loaded atlas what a session does: nothing that it says may end in another error."""
    session_id = resolver.create_session("bot", "goal")
    resolution = tell(lambda: resolver.resolve(session_id, "refund order 1234", context={"region": "eu"}))
    assert isinstance(resolution, Resolution)
    json.loads(resolution.to_json())
    tell(lambda: resolver.explain(session_id, resolution.resolution_id))
    for action in atlas.actions[:3]:
        resolver.register_executor(action.action_id, lambda parameters: parameters)
        for parameters in ({}, {"order_id": "1234", "amount": 5}):
            tell(
                lambda action_id=action.action_id, parameters=parameters: resolver.execute(  # type: ignore[misc]
                    session_id, resolution.resolution_id, action_id, parameters
                )
            )
    assert resolver.verify_chain(session_id).valid


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(broken(st.sampled_from(ATLASES)), AS_SENT)
def test_a_broken_atlas_is_refused_or_can_be_lived_with(document: Any, as_sent: Callable[[Any], Any]) -> None:
    resolver = new_resolver()
    atlas = tell(lambda: resolver.load_atlas(as_sent(document)))
    if isinstance(atlas, CRAError):
        assert atlas.code == "invalid_atlas"
        assert resolver.atlases() == []
    else:
        live_with(resolver, atlas)


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(broken_bytes(st.sampled_from([json.dumps(atlas).encode() for atlas in ATLASES])))
def test_broken_bytes_are_no_atlas_or_one(data: bytes) -> None:
    resolver = new_resolver()
    atlas = tell(lambda: resolver.load_atlas(data))
    if not isinstance(atlas, CRAError):
        live_with(resolver, atlas)


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(st.data())
def test_a_broken_request_is_refused_or_answered(data: st.DataObject) -> None:
    resolver = new_resolver()
    resolver.load_atlas(small_shop())
    session_id = resolver.create_session("bot", "goal")
    resolution_id = resolver.resolve(session_id, "look").resolution_id
    request = json.loads(json.dumps(REQUEST))
    request["requester"]["session_id"] = session_id
    request["execution"]["resolution_id"] = resolution_id
    if data.draw(st.booleans(), "resolve"):
        request["operation"] = "resolve"
        del request["execution"]
    document = data.draw(broken(st.just(request)))
    source = data.draw(AS_SENT)(document)
    answer = tell(lambda: resolver.resolve_request(source))
    if not isinstance(answer, CRAError):
        json.loads(answer.to_json())
    raw = data.draw(broken_bytes(st.just(json.dumps(request).encode())))
    tell(lambda: resolver.resolve_request(raw))
    assert resolver.verify_chain(session_id).valid


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(broken(st.sampled_from(SCHEMAS)), st.lists(ANY_JSON, max_size=4))
def test_a_broken_schema_is_refused_or_judges_any_instance(schema: Any, instances: list[Any]) -> None:
    validator = tell(lambda: compile_schema(schema, pointer="/s"))
    if isinstance(validator, CRAError):
        assert validator.code == "unsupported_schema"
        assert all(one["pointer"].startswith("/s") for one in validator.details["findings"])
        return
    assert isinstance(validator, Validator)
    for instance in [*instances, schema]:
        for error in tell(lambda instance=instance: validator.errors(instance)):  # type: ignore[misc]
            assert error.schema_pointer.startswith("/s")
