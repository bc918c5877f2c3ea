"""Every keyword of the JSON Schema subset by its name; what is not here refuses a schema (PROTOCOL 2)."""

from __future__ import annotations

import operator
from typing import Final

from ..errors import Json
from .schema_combinators import check_all_of, check_any_of, check_if, check_not, check_one_of
from .schema_containers import (
    check_additional_properties,
    check_contains,
    check_contains_count,
    check_dependent_required,
    check_items,
    check_pattern_properties,
    check_prefix_items,
    check_properties,
    check_property_names,
    check_required,
    check_unique_items,
)
from .schema_keywords import (
    Keyword,
    Site,
    bound_check,
    check_const,
    check_enum,
    check_multiple_of,
    check_pattern,
    check_type,
    length_check,
    malformed,
)

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def _read_reference(site: Site, value: Json) -> None:
    if isinstance(value, str):
        site.refer(value)
    else:
        malformed(site, "a string such as `#/$defs/name`")


def _read_definitions(site: Site, value: Json) -> None:
    if not isinstance(value, dict):
        return malformed(site, "an object of schemas")
    for name, schema in value.items():
        site.subschema(schema, name)


def _read_branch(site: Site, value: Json) -> None:
    """Compile then or else, which have no effect without if."""
    site.subschema(value)


def _read_dialect(site: Site, value: Json) -> None:
    if not isinstance(value, str) or value.removesuffix("#") != DIALECT:
        malformed(site, f"`{DIALECT}`, the only dialect that is supported")


def _read_identity(site: Site, value: Json) -> None:
    if not isinstance(value, str):
        malformed(site, "a string")
    elif not site.is_root:
        # Below the root it would change what every $ref inside it means.
        site.refuse("unsupported_keyword", "`$id` is supported at the root only, where it has no effect")


def _read_text(site: Site, value: Json) -> None:
    if not isinstance(value, str):
        malformed(site, "a string")


def _read_flag(site: Site, value: Json) -> None:
    if not isinstance(value, bool):
        malformed(site, "true or false")


def _read_array(site: Site, value: Json) -> None:
    if not isinstance(value, list):
        malformed(site, "an array")


def _read_anything(site: Site, value: Json) -> None:
    """An annotation that may hold any value."""


KEYWORDS: Final[dict[str, Keyword]] = {
    "type": check_type,
    "enum": check_enum,
    "const": check_const,
    "minimum": bound_check("minimum", operator.ge, "at least"),
    "maximum": bound_check("maximum", operator.le, "at most"),
    "exclusiveMinimum": bound_check("exclusiveMinimum", operator.gt, "above"),
    "exclusiveMaximum": bound_check("exclusiveMaximum", operator.lt, "below"),
    "multipleOf": check_multiple_of,
    "minLength": length_check("minLength", "string", operator.ge, "at least", "characters"),
    "maxLength": length_check("maxLength", "string", operator.le, "at most", "characters"),
    "pattern": check_pattern,
    "items": check_items,
    "prefixItems": check_prefix_items,
    "minItems": length_check("minItems", "array", operator.ge, "at least", "items"),
    "maxItems": length_check("maxItems", "array", operator.le, "at most", "items"),
    "uniqueItems": check_unique_items,
    "contains": check_contains,
    "minContains": check_contains_count,
    "maxContains": check_contains_count,
    "properties": check_properties,
    "required": check_required,
    "additionalProperties": check_additional_properties,
    "patternProperties": check_pattern_properties,
    "propertyNames": check_property_names,
    "minProperties": length_check("minProperties", "object", operator.ge, "at least", "properties"),
    "maxProperties": length_check("maxProperties", "object", operator.le, "at most", "properties"),
    "dependentRequired": check_dependent_required,
    "allOf": check_all_of,
    "anyOf": check_any_of,
    "oneOf": check_one_of,
    "not": check_not,
    "if": check_if,
    "then": _read_branch,
    "else": _read_branch,
    "$ref": _read_reference,
    "$defs": _read_definitions,
    "$schema": _read_dialect,
    "$id": _read_identity,
    "$comment": _read_text,
    "title": _read_text,
    "description": _read_text,
    "format": _read_text,
    "default": _read_anything,
    "examples": _read_array,
    "deprecated": _read_flag,
    "readOnly": _read_flag,
    "writeOnly": _read_flag,
}
