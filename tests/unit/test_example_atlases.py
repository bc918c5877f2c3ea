"""The example atlases are what a newcomer copies: they must be right in every part that can be checked.

All checks but the last read the JSON alone, in plain Python, so that a mistake in the loader cannot hide
one in an atlas; the last holds the runtime to what the atlases promise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from cra_wasm import Resolver

FOLDER = Path(__file__).parents[2] / "examples" / "atlases"
NAMES = ("customer-support", "data-analytics", "browser-operator")
ATLASES: dict[str, dict[str, Any]] = {
    name: json.loads((FOLDER / f"{name}.atlas.json").read_text(encoding="utf-8")) for name in NAMES
}

TIERS = {"low", "medium", "high", "critical"}
POLICY_TYPES = {"allow", "deny", "rate_limit", "require_approval", "budget", "scope"}
CONDITION_KINDS = {"risk_tiers", "agents", "capabilities", "context_matches", "time_window"}
ATLAS_FIELDS = {
    "atlas_version", "atlas_id", "version", "name", "description", "license", "domains", "metadata",
    "capabilities", "policies", "context_blocks", "actions",
}  # fmt: skip
ACTION_FIELDS = {
    "action_id", "name", "description", "parameters_schema", "returns_schema", "risk_tier", "idempotent",
    "requires_confirmation", "timeout_seconds", "rate_limit", "examples",
}  # fmt: skip
SCHEMA_KEYWORDS = {
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "pattern",
    "items", "minItems", "maxItems", "uniqueItems", "properties", "required", "additionalProperties",
    "propertyNames", "minProperties", "maxProperties", "allOf", "anyOf", "oneOf", "not", "$ref", "$defs",
    "format", "description", "default",
}  # fmt: skip

each_atlas = pytest.mark.parametrize("atlas", [pytest.param(ATLASES[name], id=name) for name in NAMES])


def matches(pattern: str, text: str) -> bool:
    """Tell whether a glob matches: `*` is one or more characters (PROTOCOL 1)."""
    return re.fullmatch(".+".join(map(re.escape, pattern.split("*"))), text) is not None


def ids_of(atlas: dict[str, Any]) -> list[str]:
    return [action["action_id"] for action in atlas["actions"]]


def conditions_of(atlas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        item["conditions"] for item in atlas["policies"] + atlas["context_blocks"] if "conditions" in item
    ]


def schemas_of(atlas: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for action in atlas["actions"]:
        for field in ("parameters_schema", "returns_schema"):
            if field in action:
                yield f"{action['action_id']} {field}", action[field]


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas inside it."""
    yield schema
    for key in ("properties", "$defs"):
        for child in schema.get(key, {}).values():
            yield from subschemas(child)
    for key in ("allOf", "anyOf", "oneOf"):
        for child in schema.get(key, ()):
            yield from subschemas(child)
    for key in ("items", "not", "propertyNames", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from subschemas(schema[key])


@each_atlas
def test_no_atlas_or_action_has_a_field_that_the_protocol_does_not_know(atlas: dict[str, Any]) -> None:
    assert set(atlas) <= ATLAS_FIELDS
    for action in atlas["actions"]:
        assert set(action) <= ACTION_FIELDS, action["action_id"]


@each_atlas
def test_identifiers_have_the_forms_of_the_protocol(atlas: dict[str, Any]) -> None:
    assert atlas["atlas_version"] == "1.0"
    assert re.fullmatch(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9-]*)+", atlas["atlas_id"])
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", atlas["version"])
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+", name) for name in ids_of(atlas))
    for capability in atlas["capabilities"]:
        assert re.fullmatch(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)*", capability["capability_id"])


@each_atlas
def test_no_identifier_stands_twice(atlas: dict[str, Any]) -> None:
    for key, field in (
        ("actions", "action_id"),
        ("policies", "policy_id"),
        ("capabilities", "capability_id"),
        ("context_blocks", "context_id"),
    ):
        names = [item[field] for item in atlas[key]]
        assert len(names) == len(set(names)), key


def test_the_three_atlases_share_no_action_so_that_all_can_be_loaded_at_once() -> None:
    for one, other in combinations(ATLASES.values(), 2):
        assert one["atlas_id"] != other["atlas_id"]
        assert not set(ids_of(one)) & set(ids_of(other))


@each_atlas
def test_an_atlas_has_10_to_30_described_actions_of_every_risk_tier(atlas: dict[str, Any]) -> None:
    assert 10 <= len(atlas["actions"]) <= 30
    assert {action["risk_tier"] for action in atlas["actions"]} == TIERS
    for action in atlas["actions"]:
        assert action["description"].endswith("."), action["action_id"]
        assert 1 <= action.get("timeout_seconds", 30) <= 300


@each_atlas
def test_capabilities_name_actions_that_exist_and_together_cover_all(atlas: dict[str, Any]) -> None:
    covered = {name for capability in atlas["capabilities"] for name in capability["actions"]}
    assert covered == set(ids_of(atlas))


@each_atlas
def test_every_action_pattern_matches_an_action(atlas: dict[str, Any]) -> None:
    patterns = [pattern for block in atlas["context_blocks"] for pattern in block.get("inject_when", ())]
    for policy in atlas["policies"]:
        patterns += policy.get("actions", [])
        patterns += policy.get("parameters", {}).get("actions", [])
    for pattern in patterns:
        assert any(matches(pattern, name) for name in ids_of(atlas)), pattern


@each_atlas
def test_policies_and_conditions_name_capabilities_that_exist(atlas: dict[str, Any]) -> None:
    known = {capability["capability_id"] for capability in atlas["capabilities"]}
    for policy in atlas["policies"]:
        assert set(policy.get("parameters", {}).get("capabilities", ())) <= known, policy["policy_id"]
    for conditions in conditions_of(atlas):
        assert set(conditions.get("capabilities", ())) <= known
        assert set(conditions) <= CONDITION_KINDS


@each_atlas
def test_every_policy_type_appears(atlas: dict[str, Any]) -> None:
    assert {policy["type"] for policy in atlas["policies"]} == POLICY_TYPES


def test_every_kind_of_condition_appears_among_the_policies() -> None:
    policies = [policy for atlas in ATLASES.values() for policy in atlas["policies"]]
    assert {kind for policy in policies for kind in policy.get("conditions", ())} == CONDITION_KINDS


@each_atlas
def test_every_action_that_waits_for_approval_is_allowed_once_approved(atlas: dict[str, Any]) -> None:
    """Without a matching allow an approved call would still meet the default deny."""
    allows = [
        pattern for policy in atlas["policies"] if policy["type"] == "allow" for pattern in policy["actions"]
    ]
    for policy in atlas["policies"]:
        if policy["type"] != "require_approval":
            continue
        awaiting = [name for name in ids_of(atlas) if any(matches(p, name) for p in policy["actions"])]
        assert all(any(matches(p, name) for p in allows) for name in awaiting), policy["policy_id"]


@each_atlas
def test_every_cost_is_a_required_bounded_number_of_the_calls_it_counts(atlas: dict[str, Any]) -> None:
    """A call whose cost cannot be told is denied, so the schema must make every valid call tell it."""
    pointed = [p for p in atlas["policies"] if "cost_parameter" in p.get("parameters", {})]
    assert pointed and all("max_cost" in policy["parameters"] for policy in pointed)
    for policy in pointed:
        for action in atlas["actions"]:
            if not any(matches(pattern, action["action_id"]) for pattern in policy["actions"]):
                continue
            schema = action["parameters_schema"]
            for name in policy["parameters"]["cost_parameter"].removeprefix("/").split("/"):
                assert name in schema["required"], action["action_id"]
                schema = schema["properties"][name]
            assert schema["type"] in ("integer", "number")
            assert schema.get("minimum", schema.get("exclusiveMinimum")) >= 0
            assert "maximum" in schema


@each_atlas
def test_context_blocks_hold_text_and_keywords_are_single_words(atlas: dict[str, Any]) -> None:
    kinds = {block["content_type"] for block in atlas["context_blocks"]}
    assert kinds == {"text/markdown", "text/plain", "application/json"}
    for block in atlas["context_blocks"]:
        assert len(block["content"]) > 80, block["context_id"]
        assert 0 <= block["priority"] <= 1000
        assert all(re.fullmatch("[a-z]+", word) for word in block.get("keywords", ()))
        if block["content_type"] == "application/json":
            assert isinstance(json.loads(block["content"]), dict)


@each_atlas
def test_blocks_come_by_keyword_by_action_by_tier_by_condition_and_always(atlas: dict[str, Any]) -> None:
    triggers = ("keywords", "inject_when", "risk_tiers", "conditions")
    blocks = atlas["context_blocks"]
    for trigger in triggers:
        assert any(trigger in block for block in blocks), trigger
    assert any(not set(triggers) & set(block) for block in blocks)


@each_atlas
def test_schemas_use_the_supported_subset_and_refuse_unknown_parameters(atlas: dict[str, Any]) -> None:
    for place, schema in schemas_of(atlas):
        assert schema["type"] == "object" and schema["additionalProperties"] is False, place
        for part in subschemas(schema):
            assert set(part) <= SCHEMA_KEYWORDS, place
            if "properties" in part and "type" in part:
                assert part["additionalProperties"] is False, place
            if "$ref" in part:
                assert part["$ref"].removeprefix("#/$defs/") in schema["$defs"], place


@each_atlas
def test_patterns_have_no_unbounded_quantifier_and_a_bounded_subject(atlas: dict[str, Any]) -> None:
    """Bounded quantifiers alone cannot blow up; subjects over 1,024 characters are refused by the runtime."""
    for place, schema in schemas_of(atlas):
        for part in subschemas(schema):
            if "pattern" in part:
                assert not re.search(r"[*+](?![^\[]*\])|,\}", part["pattern"].replace("\\+", "")), place
                assert part.get("maxLength", 0) <= 1024, place


@each_atlas
def test_every_action_has_an_example_and_results_only_where_a_schema_says_what_they_are(
    atlas: dict[str, Any],
) -> None:
    for action in atlas["actions"]:
        assert action["examples"], action["action_id"]
        first = action["examples"][0]
        assert ("expected_result" in first) == ("returns_schema" in action), action["action_id"]


@pytest.mark.cpython_only(reason="jsonschema needs rpds-py, which has no WebAssembly wheel")
@each_atlas
def test_every_example_is_valid_by_an_independent_validator(atlas: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator

    for place, schema in schemas_of(atlas):
        Draft202012Validator.check_schema(schema)
        assert list(Draft202012Validator(schema).iter_errors({"no such parameter": 1})), place
    for action in atlas["actions"]:
        for example in action["examples"]:
            Draft202012Validator(action["parameters_schema"]).validate(example["parameters"])
            if "expected_result" in example:
                Draft202012Validator(action["returns_schema"]).validate(example["expected_result"])


@each_atlas
def test_example_goals_bring_blocks_that_exist_by_priority_and_cover_every_decision(
    atlas: dict[str, Any],
) -> None:
    goals = atlas["metadata"]["example_goals"]
    assert {"allow", "partial", "deny"} <= {goal["decision"] for goal in goals}
    priorities = {block["context_id"]: block["priority"] for block in atlas["context_blocks"]}
    for goal in goals:
        order = [priorities[name] for name in goal["context_blocks"]]
        assert order == sorted(order, reverse=True), goal["goal"]
    assert len({tuple(goal["context_blocks"]) for goal in goals}) >= 4


@each_atlas
def test_each_example_goal_brings_the_decision_and_the_blocks_it_names(atlas: dict[str, Any]) -> None:
    resolver = Resolver()
    for other in ATLASES.values():
        resolver.load_atlas(other)
    session_id = resolver.create_session("demo-agent", "try the example goals")
    for goal in atlas["metadata"]["example_goals"]:
        resolution = json.loads(
            resolver.resolve(
                session_id,
                goal["goal"],
                risk_tier=goal.get("risk_tier", "low"),
                required_capabilities=goal.get("required_capabilities", ()),
                atlas_ids=[atlas["atlas_id"]],
            ).to_json()
        )
        assert resolution["decision"]["type"] == goal["decision"], goal["goal"]
        assert [block["block_id"] for block in resolution["context_blocks"]] == goal["context_blocks"]
