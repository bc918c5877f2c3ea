"""Each keyword of the JSON Schema subset, by tables of instances that fit and that do not."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any

import pytest

from cra_wasm.carp.schema import SchemaError, Validator, compile_schema

REJECTED: list[tuple[Any, list[Any]]] = [
    (False, [None, 0, "", [], {}]),
    ({"type": "null"}, [0, False, ""]),
    ({"type": "boolean"}, [0, 1, "true", None]),
    ({"type": "integer"}, [True, False, 1.5, "1"]),
    ({"type": "number"}, [True, "1", None]),
    ({"type": "string"}, [1, None, ["a"]]),
    ({"type": "array"}, [{}, "[]"]),
    ({"type": "object"}, [[], "{}"]),
    ({"type": ["string", "null"]}, [0, False, []]),
    ({"enum": [1, "a", None, [1], {"a": 0}]}, [True, "b", False, [True], {"a": False}, [1, 1]]),
    ({"enum": []}, [None, 0]),
    ({"const": 1}, [True, "1", 1.5, [1]]),
    ({"const": False}, [0, None]),
    ({"const": {"a": [1]}}, [{"a": [True]}, {"a": [1], "b": 1}]),
    ({"const": 2**53}, [2**53 + 1]),
    ({"minimum": 5}, [4, 4.999, -1]),
    ({"maximum": 5}, [6, 5.001]),
    ({"exclusiveMinimum": 5}, [5, 5.0]),
    ({"exclusiveMaximum": 5}, [5, 6]),
    ({"multipleOf": 2}, [3, 1.5]),
    ({"multipleOf": 2.0}, [3, 3.0, 1.5]),
    ({"multipleOf": 0.01}, [0.075, 1.001]),
    ({"multipleOf": 0.123456789}, [1e308]),
    ({"minLength": 2}, ["", "a", "\U0001f600"]),
    ({"maxLength": 2}, ["abc"]),
    ({"maxLength": 2.0}, ["abc"]),
    ({"pattern": "^a+$"}, ["", "ab", "a\n"]),
    ({"items": {"type": "string"}}, [["a", 1]]),
    ({"items": False}, [[1]]),
    ({"prefixItems": [{"type": "string"}, True]}, [[1]]),
    ({"prefixItems": [True], "items": {"type": "string"}}, [[1, 2]]),
    ({"prefixItems": [True], "items": False}, [[1, 2]]),
    ({"minItems": 1}, [[]]),
    ({"maxItems": 1}, [[1, 2]]),
    ({"uniqueItems": True}, [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [[1], [1.0]], [-0.0, 0]]),
    ({"contains": {"const": 1}}, [[], [2], [True]]),
    ({"contains": {"const": 1}, "minContains": 2}, [[1], [1, 2]]),
    ({"contains": {"const": 1}, "maxContains": 1}, [[1, 1], []]),
    ({"contains": {"const": 1}, "minContains": 0, "maxContains": 1}, [[1, 1]]),
    ({"properties": {"a": {"type": "string"}}}, [{"a": 1}]),
    ({"properties": {"a": False}}, [{"a": 1}]),
    ({"required": ["a", "b"]}, [{}, {"a": 1}]),
    ({"additionalProperties": False, "properties": {"a": True}}, [{"b": 1}]),
    ({"additionalProperties": {"type": "string"}, "properties": {"a": True}}, [{"a": 1, "b": 1}]),
    ({"patternProperties": {"^x": {"type": "string"}}}, [{"x1": 1}]),
    ({"patternProperties": {"^x": True}, "additionalProperties": False}, [{"y": 1}]),
    ({"propertyNames": {"maxLength": 2}}, [{"abc": 1}]),
    ({"minProperties": 1}, [{}]),
    ({"maxProperties": 1}, [{"a": 1, "b": 2}]),
    ({"dependentRequired": {"a": ["b", "c"]}}, [{"a": 1}, {"a": 1, "b": 1}]),
    ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, [0, 4]),
    ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, [4]),
    ({"oneOf": [{"minimum": 2}, {"maximum": 4}]}, [3]),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, [3]),
    ({"not": {"type": "string"}}, ["a"]),
    ({"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"minimum": 5}}, ["a", 4]),
    ({"$ref": "#/$defs/a%25~1~0b", "$defs": {"a%/~b": {"type": "string"}}}, [1]),
    ({"$ref": "#/$defs/a", "minLength": 2, "$defs": {"a": {"type": "string"}}}, ["a", 1]),
    ({"properties": {"next": {"$ref": "#"}}, "required": ["value"]}, [{"value": 1, "next": {}}]),
]

ACCEPTED: list[tuple[Any, list[Any]]] = [
    (True, [None, 0, "", [], {}]),
    ({}, [None, True, 1e300, "x", [[]], {"a": {}}]),
    ({"type": "integer"}, [0, -1, 1.0, 1e300, 10**30]),
    ({"type": "number"}, [0, 1.5]),
    ({"type": ["string", "null"]}, ["", None]),
    ({"enum": [1, "a", None, [1], {"a": 0}]}, [1.0, "a", None, [1.0], {"a": 0.0}]),
    ({"const": 1}, [1, 1.0]),
    ({"const": 0}, [-0.0]),
    ({"minimum": 5}, [5, 5.0, "4", True, None]),
    ({"exclusiveMaximum": 5}, [4.999999]),
    ({"multipleOf": 0.01}, [0.07, 1.1, 19.99, 4.35, 0]),
    ({"multipleOf": 1e-8}, [12391239123]),
    ({"multipleOf": 2.0}, [4, 4.0, -2.0]),
    ({"multipleOf": 1e16}, [3e16, 1e300]),
    ({"multipleOf": 1e22}, [1e23]),
    ({"maxLength": 2**53 - 1}, ["a"]),
    ({"minLength": 1, "maxLength": 1}, ["\U0001f600", 7]),
    ({"pattern": "a"}, ["bab", 5]),
    ({"items": {"type": "string"}}, [[], ["a"], "abc", {"0": 1}]),
    ({"prefixItems": [{"type": "string"}]}, [[], ["a"], ["a", 1]]),
    ({"prefixItems": [True, True], "items": {"type": "string"}}, [[1], [1, 2], [1, 2, "a"]]),
    ({"prefixItems": [True, True], "items": False}, [[], [1], [1, 2]]),
    ({"uniqueItems": True}, [[1, True], [0, False], ["1", 1], [[1], [True]], [None, "None"], ["", []]]),
    ({"uniqueItems": True}, [[{"a": 1}, {"a": True}], ["[0x1]", [1]], [["a,b"], ["a", "b"]]]),
    ({"uniqueItems": False}, [[1, 1]]),
    ({"contains": {"const": 1}, "minContains": 0}, [[], [2]]),
    ({"contains": {"const": 1}}, [[1], [2, 1, 1]]),
    ({"contains": {"const": 1}, "maxContains": 2}, [[1], [1, 1]]),
    ({"minContains": 5}, [[]]),
    ({"properties": {"a": {"type": "string"}}}, [{}, {"a": "x", "b": 1}, []]),
    ({"required": ["a"]}, [{"a": None}, [], "x"]),
    ({"patternProperties": {"^x": True}, "additionalProperties": False}, [{"x1": 1}]),
    ({"patternProperties": {"^x": {"type": "string"}}}, [{"x1": "a", "y": 1}]),
    ({"dependentRequired": {"a": ["b"]}}, [{}, {"b": 1}, {"a": 1, "b": 2}]),
    ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, ["a", 5]),
    ({"oneOf": [{"minimum": 2}, {"maximum": 4}]}, [1, 5]),
    ({"not": {"type": "string"}}, [1]),
    ({"if": {"type": "string"}, "then": {"minLength": 2}}, ["ab", 1]),
    ({"then": False, "else": False}, [1]),
    ({"if": False}, [1]),
    ({"properties": {"next": {"$ref": "#"}}, "required": ["value"]}, [{"value": 1, "next": {"value": 2}}]),
    ({"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {}}}, [1]),
    ({"properties": {"$ref": {"type": "string"}, "enum": True}}, [{"$ref": "a", "enum": 1}]),
    ({"type": ["null", "boolean", "integer", "number", "string", "array", "object"]}, [None, 1, []]),
    ({"$schema": "https://json-schema.org/draft/2020-12/schema#"}, [1]),
    (
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://example.com/s",
            "$comment": "c",
            "title": "t",
            "description": "d",
            "default": 1,
            "examples": [1],
            "format": "email",
            "deprecated": True,
            "readOnly": True,
            "writeOnly": True,
        },
        ["not an address"],
    ),
]  # fmt: skip


def cases(table: list[tuple[Any, list[Any]]]) -> list[tuple[Any, Any]]:
    return [(schema, instance) for schema, instances in table for instance in instances]


@pytest.mark.parametrize(("schema", "instance"), cases(REJECTED), ids=repr)
def test_an_instance_that_breaks_the_keyword_is_an_error(schema: Any, instance: Any) -> None:
    assert compile_schema(schema).errors(instance)


@pytest.mark.parametrize(("schema", "instance"), cases(ACCEPTED), ids=repr)
def test_an_instance_that_fits_has_no_errors(schema: Any, instance: Any) -> None:
    assert compile_schema(schema).errors(instance) == []


def places(validator: Validator, instance: Any, **arguments: Any) -> list[tuple[str, str, str]]:
    found = validator.errors(instance, **arguments)
    assert all(isinstance(error.message, str) for error in found)
    return [(error.pointer, error.keyword, error.schema_pointer) for error in found]


def test_all_errors_are_found_at_once_with_both_pointers() -> None:
    schema = {
        "properties": {"a/b": {"type": "string"}, "list": {"items": {"minimum": 3}}},
        "required": ["gone"],
        "additionalProperties": False,
    }
    validator = compile_schema(schema, pointer="/actions/0/parameters_schema")
    instance = {"a/b": 1, "list": [5, 2], "x~y": 0}
    base = "/actions/0/parameters_schema"
    assert places(validator, instance, pointer="/execution/parameters") == [
        ("/execution/parameters/a~1b", "type", base + "/properties/a~1b/type"),
        ("/execution/parameters/list/1", "minimum", base + "/properties/list/items/minimum"),
        ("/execution/parameters/gone", "required", base + "/required"),
        ("/execution/parameters/x~0y", "additionalProperties", base + "/additionalProperties"),
    ]


TOLD: list[tuple[Any, Any, list[tuple[str, str]]]] = [
    ({"type": "string"}, 1, [("", "type")]),
    ({"enum": [1]}, 2, [("", "enum")]),
    ({"const": "a"}, "b", [("", "const")]),
    ({"minimum": 2, "exclusiveMinimum": 2}, 1, [("", "minimum"), ("", "exclusiveMinimum")]),
    ({"maximum": 2, "exclusiveMaximum": 2}, 3, [("", "maximum"), ("", "exclusiveMaximum")]),
    ({"multipleOf": 2}, 3, [("", "multipleOf")]),
    ({"minLength": 2, "pattern": "b"}, "a", [("", "minLength"), ("", "pattern")]),
    ({"maxLength": 2}, "abc", [("", "maxLength")]),
    ({"minItems": 2}, [1], [("", "minItems")]),
    ({"maxItems": 1}, [1, 2], [("", "maxItems")]),
    ({"prefixItems": [True, True], "items": False}, [1, 2, 3, 4], [("/2", "items")]),
    ({"uniqueItems": True}, [1, 2, 1, 2], [("/2", "uniqueItems"), ("/3", "uniqueItems")]),
    ({"contains": {"const": 1}}, [2], [("", "contains")]),
    ({"contains": {"const": 1}, "maxContains": 1}, [1, 1], [("", "maxContains")]),
    ({"minProperties": 1}, {}, [("", "minProperties")]),
    ({"maxProperties": 1}, {"a": 1, "b": 2}, [("", "maxProperties")]),
    ({"required": ["a", "b/c"]}, {}, [("/a", "required"), ("/b~1c", "required")]),
    ({"additionalProperties": False}, {"b": 1}, [("/b", "additionalProperties")]),
    ({"dependentRequired": {"a": ["b", "c"]}}, {"a": 1, "c": 1}, [("/b", "dependentRequired")]),
    ({"anyOf": [False]}, 1, [("", "anyOf")]),
    ({"oneOf": [True, True]}, 1, [("", "oneOf")]),
    ({"not": {}}, 1, [("", "not")]),
]


@pytest.mark.parametrize(("schema", "instance", "expected"), TOLD, ids=repr)
def test_an_error_names_its_keyword_and_both_places(
    schema: Any, instance: Any, expected: list[tuple[str, str]]
) -> None:
    validator = compile_schema({"properties": {"x": {"items": schema}}}, pointer="/s")
    assert places(validator, {"x": [instance]}, pointer="/p") == [
        (f"/p/x/0{below}", keyword, f"/s/properties/x/items/{keyword}") for below, keyword in expected
    ]


@pytest.mark.parametrize(
    ("schema", "instance", "below", "branch"),
    [
        ({"properties": {"a": False}}, {"a": 1}, "/a", "/properties/a"),
        ({"patternProperties": {"^a/b": False}}, {"a/b": 1}, "/a~1b", "/patternProperties/^a~1b"),
        ({"additionalProperties": {"not": True}}, {"a": 1}, "/a", "/additionalProperties/not"),
        ({"propertyNames": False}, {"a": 1}, "/a", "/propertyNames"),
        ({"prefixItems": [True, False, {}]}, [1, 2, 3], "/1", "/prefixItems/1"),
        ({"allOf": [True, False]}, 1, "", "/allOf/1"),
        ({"if": True, "then": False}, 1, "", "/then"),
        ({"if": False, "else": False}, 1, "", "/else"),
        ({"allOf": [{"if": True, "then": {"allOf": [False]}}]}, 1, "", "/allOf/0/then/allOf/0"),
    ],
    ids=repr,
)
def test_an_error_of_a_subschema_is_told_at_the_subschema(
    schema: Any, instance: Any, below: str, branch: str
) -> None:
    validator = compile_schema({"items": schema}, pointer="/s")
    place = "/s/items" + branch
    keyword = "not" if branch.endswith("/not") else "false"
    assert places(validator, [instance], pointer="/p") == [("/p/0" + below, keyword, place)]


def test_an_error_behind_a_reference_points_to_the_definition() -> None:
    validator = compile_schema({"$ref": "#/$defs/a", "$defs": {"a": {"minimum": 1}}})
    assert places(validator, 0) == [("", "minimum", "/$defs/a/minimum")]
    validator = compile_schema({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"minimum": 1}}})
    assert places(validator, [1, 0]) == [("/1", "minimum", "/$defs/a/minimum")]


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"anyOf": [{"minimum": 5}, {"required": ["a", "b"]}, False]}, "anyOf"),
        ({"oneOf": [{"minimum": 5}, {"type": "string"}]}, "oneOf"),
        ({"not": {"maximum": 3}}, "not"),
    ],
)
def test_branches_that_were_tried_leave_no_errors_of_their_own(schema: Any, keyword: str) -> None:
    instance: Any = {} if keyword == "anyOf" else 1
    schema = schema if keyword != "anyOf" else {"anyOf": [{"type": "string"}, *schema["anyOf"][1:]]}
    assert places(compile_schema(schema), instance) == [("", keyword, f"/{keyword}")]


def test_the_search_ends_at_the_limit() -> None:
    validator = compile_schema({"items": {"type": "string"}})
    assert len(validator.errors([1] * 50)) == 32
    assert [error.pointer for error in validator.errors([1] * 50, limit=2)] == ["/0", "/1"]
    assert len(validator.errors([1] * 50, limit=0)) == 1


def test_messages_do_not_show_the_instances_values() -> None:
    schema = {"enum": ["a"], "const": "b", "pattern": "^x$", "maxLength": 1, "type": "integer", "not": {}}
    errors = compile_schema(schema).errors("secret")
    assert len(errors) == 6
    assert not any("secret" in error.message for error in errors)


def test_an_error_is_a_frozen_value() -> None:
    error = SchemaError(pointer="", keyword="type", message="m", schema_pointer="/type")
    with pytest.raises(dataclasses.FrozenInstanceError):
        error.pointer = "/x"  # type: ignore[misc]
    assert not hasattr(error, "__dict__")


def test_instances_of_subclasses_are_checked_as_what_they_are() -> None:
    class Text(str):
        pass

    validator = compile_schema({"additionalProperties": {"type": "string", "maxLength": 2}})
    assert validator.errors(OrderedDict(a=Text("ab"))) == []
    assert places(validator, OrderedDict(a=Text("abc"))) == [
        ("/a", "maxLength", "/additionalProperties/maxLength")
    ]
