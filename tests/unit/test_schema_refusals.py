"""Schemas outside the subset are refused when they are compiled, with the pointer of each culprit."""

from __future__ import annotations

from typing import Any

import pytest

from cra_wasm.carp.schema import compile_schema
from cra_wasm.errors import InvalidInput


def findings(schema: Any, pointer: str = "") -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as refusal:
        compile_schema(schema, pointer=pointer)
    error = refusal.value
    assert error.code == "unsupported_schema"
    assert error.details["pointer"] == error.details["findings"][0]["pointer"]
    assert error.details["findings_total"] >= len(error.details["findings"])
    assert all(isinstance(finding["message"], str) for finding in error.details["findings"])
    return [(finding["pointer"], finding["code"]) for finding in error.details["findings"]]


UNSUPPORTED = [
    "unevaluatedProperties", "unevaluatedItems", "dependentSchemas", "dependencies", "definitions", "$anchor",
    "$dynamicRef", "$dynamicAnchor", "$vocabulary", "$recursiveRef", "additionalItems", "contentMediaType",
    "contentEncoding", "contentSchema", "divisibleBy", "nullable", "Type", "",
]  # fmt: skip


@pytest.mark.parametrize("keyword", UNSUPPORTED)
def test_a_keyword_outside_the_subset_refuses_the_schema(keyword: str) -> None:
    assert findings({"type": "object", keyword: True}) == [(f"/{keyword}", "unsupported_keyword")]


MALFORMED: list[tuple[str, list[Any]]] = [
    ("type", ["text", [], ["string", "string"], ["string", 1], None, 1, {}]),
    ("enum", [1, "a", {}, None]),
    *((bound, ["1", None, True, [1]]) for bound in ("minimum", "maximum")),
    *((bound, ["1", None, False]) for bound in ("exclusiveMinimum", "exclusiveMaximum")),
    ("multipleOf", [0, -1, "2", True, None]),
    *(
        (count, [-1, 1.5, "1", True, None, 2**53])
        for count in ("minLength", "maxLength", "minItems", "maxItems")
    ),
    *((count, [-1, 1.5, True]) for count in ("minProperties", "maxProperties", "minContains", "maxContains")),
    ("pattern", [1, None, ["a"]]),
    ("uniqueItems", [1, "true", None]),
    *((branches, [[], {}, True, None]) for branches in ("allOf", "anyOf", "oneOf", "prefixItems")),
    *((schemas, [[], True, None, "a"]) for schemas in ("properties", "patternProperties", "$defs")),
    ("required", ["a", [1], ["a", "a"], None, True]),
    ("dependentRequired", [[], None]),
    ("$ref", [1, None, {}]),
    ("$schema", ["http://json-schema.org/draft-07/schema#", 1]),
    ("$id", [1]),
    *((text, [1, None]) for text in ("title", "description", "format", "$comment")),
    *((flag, ["yes", 0]) for flag in ("deprecated", "readOnly", "writeOnly")),
    ("examples", [1, {}]),
]


@pytest.mark.parametrize(
    ("keyword", "value"), [(keyword, value) for keyword, values in MALFORMED for value in values], ids=repr
)
def test_a_malformed_value_of_a_keyword_refuses_the_schema(keyword: str, value: Any) -> None:
    assert findings({keyword: value}) == [(f"/{keyword}", "malformed_keyword")]


@pytest.mark.parametrize(
    "keyword",
    ["items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"],
)
def test_a_place_for_a_schema_takes_only_an_object_or_a_boolean(keyword: str) -> None:
    for value in (1, "string", None, [True]):
        assert findings({keyword: value}) == [(f"/{keyword}", "malformed_schema")]


@pytest.mark.parametrize("schema", [None, 1, "string", [], [True]], ids=repr)
def test_a_schema_is_an_object_or_a_boolean(schema: Any) -> None:
    assert findings(schema, "/here") == [("/here", "malformed_schema")]


def test_all_findings_come_at_once_in_the_order_of_the_schema() -> None:
    schema = {
        "properties": {"a/b": {"type": "text"}, "c": {"items": {"anyOf": [{"maxLength": -1}, {"x": 1}]}}},
        "patternProperties": {"(a+)+": {"minimum": "1"}, "[": True},
        "dependentRequired": {"k": "v"},
        "additionalProperties": False,
        "if": {"bad": 1},
        "then": {"worse": 1},
        "$defs": {"d": {"$ref": "#/$defs/none"}},
    }
    assert findings(schema, "/s") == [
        ("/s/properties/a~1b/type", "malformed_keyword"),
        ("/s/properties/c/items/anyOf/0/maxLength", "malformed_keyword"),
        ("/s/properties/c/items/anyOf/1/x", "unsupported_keyword"),
        ("/s/patternProperties/(a+)+", "unsafe_pattern"),
        ("/s/patternProperties/(a+)+/minimum", "malformed_keyword"),
        ("/s/patternProperties/[", "unsupported_pattern"),
        ("/s/dependentRequired/k", "malformed_keyword"),
        ("/s/if/bad", "unsupported_keyword"),
        ("/s/then/worse", "unsupported_keyword"),
        ("/s/$defs/d/$ref", "unresolved_ref"),
    ]


@pytest.mark.parametrize(
    "target",
    [
        "#/$defs/none",
        "#/$defs",
        "#/type",
        "#anchor",
        "other.json",
        "https://example.com/s#/$defs/a",
        "",
        "/$defs/a",
    ],
)
def test_a_reference_leads_to_a_subschema_of_the_same_schema(target: str) -> None:
    schema = {"type": "object", "$defs": {"a": {}}, "properties": {"p": {"$ref": target}}}
    assert findings(schema) == [("/properties/p/$ref", "unresolved_ref")]


@pytest.mark.parametrize(
    ("schema", "culprit"),
    [
        ({"$ref": "#"}, "/$ref"),
        ({"allOf": [{"$ref": "#"}]}, "/allOf/0/$ref"),
        ({"anyOf": [True, {"not": {"$ref": "#"}}]}, "/anyOf/1/not/$ref"),
        ({"if": {"$ref": "#"}}, "/if/$ref"),
        ({"if": True, "else": {"oneOf": [{"$ref": "#"}]}}, "/else/oneOf/0/$ref"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "/$defs/a/$ref"),
        ({"properties": {"p": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}},
         "/$defs/a/allOf/0/$ref"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_loop_of_references_without_a_step_into_the_value_is_refused(schema: Any, culprit: str) -> None:
    assert findings(schema) == [(culprit, "ref_loop")]


def test_a_malformed_neighbour_is_reported_once() -> None:
    assert findings({"contains": {}, "minContains": "1"}) == [("/minContains", "malformed_keyword")]
    assert findings({"items": {}, "prefixItems": 1}) == [("/prefixItems", "malformed_keyword")]
    schema = {"additionalProperties": False, "properties": 1, "patternProperties": {"(": True}}
    assert findings(schema) == [
        ("/properties", "malformed_keyword"),
        ("/patternProperties/(", "unsupported_pattern"),
    ]


def test_an_id_below_the_root_is_refused() -> None:
    assert findings({"$id": "a", "items": {"$id": "b"}}) == [("/items/$id", "unsupported_keyword")]


@pytest.mark.parametrize(
    ("schema", "culprit"),
    [
        ({"const": float("nan")}, "/const"),
        ({"enum": [1, (2,)]}, "/enum/1"),
        ({"properties": {1: {}}}, "/properties"),
    ],
    ids=repr,
)
def test_a_schema_that_is_not_json_is_refused(schema: Any, culprit: str) -> None:
    assert findings(schema) == [(culprit, "malformed_schema")]
