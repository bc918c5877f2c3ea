"""The validator and `jsonschema` agree on which instances are valid, for generated schemas of the subset."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cra_wasm.carp.schema import compile_schema
from cra_wasm.errors import InvalidInput

pytestmark = pytest.mark.cpython_only(reason="jsonschema needs rpds-py, which has no wasm wheel")

NAMES = st.sampled_from(["a", "b", "ab", "x/y"])
COUNTS = st.integers(0, 3)
# Halves and quarters are exact in binary, so jsonschema's float arithmetic has nothing to get wrong.
NUMBERS = st.one_of(st.integers(-4, 4), st.sampled_from([-1.5, 0.0, 0.25, 0.5, 1.0, 2.0]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text("ab", max_size=3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
PATTERNS = st.sampled_from(["^a", "b$", "^(a|b)+$", "a{2}", "", "ab?", "[^a]"])
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
REFERENCES = st.sampled_from(["#/$defs/a", "#/$defs/b", "#"])


def keywords(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    branches = st.lists(inner, min_size=1, max_size=3)
    return {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, max_size=4),
        "const": VALUES,
        "multipleOf": st.sampled_from([1, 2, 0.5, 0.25]),
        "pattern": PATTERNS,
        "uniqueItems": st.booleans(),
        "properties": st.dictionaries(NAMES, inner, max_size=2),
        # Not the empty pattern: jsonschema takes it for no pattern where it works out additionalProperties.
        "patternProperties": st.dictionaries(PATTERNS.filter(bool), inner, max_size=2),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "$ref": REFERENCES,
        **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], NUMBERS),
        **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], COUNTS),
        **dict.fromkeys(["minContains", "maxContains", "minProperties", "maxProperties"], COUNTS),
        **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], branches),
        **dict.fromkeys(["items", "contains", "additionalProperties", "propertyNames"], inner),
        **dict.fromkeys(["not", "if", "then", "else"], inner),
    }


def few_keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A schema with up to four keywords: with more, hardly any instance fits."""
    table = keywords(inner)
    chosen = st.lists(st.sampled_from(sorted(table)), max_size=4, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: table[name] for name in names}))


LEAVES = st.booleans() | few_keywords(st.booleans())
SCHEMAS = few_keywords(LEAVES | few_keywords(LEAVES))


@settings(max_examples=300)
@given(SCHEMAS, LEAVES, LEAVES, st.lists(VALUES, min_size=1, max_size=8))
def test_the_same_instances_are_valid(schema: dict[str, Any], a: Any, b: Any, instances: list[Any]) -> None:
    schema = {**schema, "$defs": {"a": a, "b": b}}
    try:
        validator = compile_schema(schema)
    except InvalidInput as refusal:
        # Every keyword is of the subset, so only a reference can be at fault.
        assert {finding["code"] for finding in refusal.details["findings"]} == {"ref_loop"}
        return
    oracle = Draft202012Validator(schema)
    for instance in instances:
        assert (validator.errors(instance) == []) is oracle.is_valid(instance), instance


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_json_is_compiled_or_refused_as_a_schema(document: Any) -> None:
    try:
        compile_schema(document).errors(document)
    except InvalidInput as refusal:
        assert refusal.code == "unsupported_schema"
