"""No schema and no instance makes the validator recurse without bound or run for long."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from cra_wasm.carp.schema import MAX_FINDINGS, MAX_SUBSCHEMAS, SchemaError, compile_schema
from cra_wasm.carp.schema_links import MAX_LOOPS, MAX_REFERENCE_DEPTH
from cra_wasm.carp.schema_pattern import MAX_SUBJECT_CHARS
from cra_wasm.carp.schema_run import MAX_APPLICATIONS_DEPTH, MAX_INSTANCE_DEPTH
from cra_wasm.errors import InvalidInput


def nested(depth: int, key: str | None = None) -> Any:
    value: Any = {} if key else []
    for _ in range(depth - 1):
        value = {key: value} if key else [value]
    return value


def refusal(schema: Any) -> dict[str, Any]:
    with pytest.raises(InvalidInput) as refused:
        compile_schema(schema)
    return refused.value.details


def chain(length: int) -> dict[str, Any]:
    links: dict[str, Any] = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(length - 1)}
    return {"$defs": links | {f"d{length - 1}": {}}}


# PROTOCOL 2.9.6
def test_an_instance_nested_too_deep_is_one_error() -> None:
    validator = compile_schema({})
    assert validator.errors(nested(MAX_INSTANCE_DEPTH)) == []
    for depth in (MAX_INSTANCE_DEPTH + 1, 5_000):
        (error,) = validator.errors(nested(depth), pointer="/p")
        assert (error.keyword, error.pointer) == ("limits", "/p" + "/0" * MAX_INSTANCE_DEPTH)


def test_an_instance_that_holds_itself_is_one_error() -> None:
    loop: list[Any] = []
    loop += [loop, loop]
    (error,) = compile_schema({"enum": [1]}).errors(loop)
    assert error.keyword == "limits"


def test_a_recursive_schema_follows_the_deepest_instance() -> None:
    schema = {
        "$ref": "#/$defs/n",
        "$defs": {"n": {"allOf": [{"additionalProperties": {"$ref": "#/$defs/n"}}]}},
    }
    assert compile_schema(schema).errors(nested(MAX_INSTANCE_DEPTH, "a")) == []


def test_too_many_subschemas_in_each_other_are_one_error() -> None:
    inner: Any = {"additionalProperties": {"$ref": "#"}}
    for _ in range(8):
        inner = {"allOf": [inner]}
    (error,) = compile_schema(inner).errors(nested(MAX_INSTANCE_DEPTH, "a"))
    assert error.keyword == "limits"


def test_nested_branches_follow_the_deepest_instance() -> None:
    schema = {"anyOf": [{"oneOf": [{"additionalProperties": {"$ref": "#"}, "maxProperties": 1}]}]}
    instance = nested(MAX_INSTANCE_DEPTH - 1, "a")
    depth = MAX_APPLICATIONS_DEPTH // 4
    assert compile_schema(schema).errors(nested(depth, "a")) == []
    assert [error.keyword for error in compile_schema(schema).errors(instance)] == ["limits"]


def test_what_stands_beside_the_deepest_subschemas_does_not_count_for_their_depth() -> None:
    # Four subschemas a level, and three for the value inside: 191 for 47 levels.
    validator = compile_schema({"allOf": [{"allOf": [{"additionalProperties": {"$ref": "#"}}]}]})
    fits: Any = {"a": 0}
    for _ in range(MAX_APPLICATIONS_DEPTH // 4 - 2):
        fits = {"a": 0, "b": {"a": 0, "b": 0}, "c": fits, "d": 0}
    assert validator.errors(fits) == []
    (error,) = validator.errors({"a": 0, "b": {"a": 0}, "c": fits})
    assert error.keyword == "limits"


@pytest.mark.parametrize("frames_left", [1, 60])
def test_a_caller_deep_in_the_stack_gets_an_error(frames_left: int) -> None:
    # With some frames left, a text that could not be judged is found first, and told behind it.
    schema = {"properties": {"a": {"pattern": "y"}}, "additionalProperties": {"$ref": "#"}}
    validator = compile_schema(schema, pointer="/s")
    instance = {"a": "x" * (MAX_SUBJECT_CHARS + 1), "b": nested(MAX_INSTANCE_DEPTH - 1, "b")}

    def descend() -> list[SchemaError] | int:
        """Go down to the end of the stack, come up again, and validate where so many frames are left."""
        try:
            found = descend()
        except RecursionError:
            return 0 if frames_left > 1 else validator.errors(instance, pointer="/p")
        if found == frames_left:
            return validator.errors(instance, pointer="/p")
        return found + 1 if isinstance(found, int) else found

    errors = descend()
    assert isinstance(errors, list)
    (error,) = errors
    assert (error.keyword, error.pointer, error.schema_pointer) == ("limits", "/p", "/s")
    assert isinstance(error.message, str)
    assert [error.keyword for error in validator.errors(instance)] == ["pattern"]


def test_a_limit_comes_before_what_could_not_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    validator = compile_schema({"properties": {"a": {"pattern": "y"}, "b": {"items": {}}}})
    monkeypatch.setattr("cra_wasm.carp.schema_run.MAX_UNITS", 10)
    (error,) = validator.errors({"a": "x" * (MAX_SUBJECT_CHARS + 1), "b": [1] * 10})
    assert (error.keyword, error.pointer, error.schema_pointer) == ("limits", "/b/7", "/properties/b/items")
    assert isinstance(error.message, str)


# PROTOCOL 2.9.6
def test_a_schema_nested_too_deep_is_refused() -> None:
    schema: Any = {}
    for _ in range(5_000):
        schema = {"not": schema}
    details = refusal(schema)
    assert details["findings"][0]["code"] == "limits"
    assert details["pointer"] == "/not" * MAX_INSTANCE_DEPTH


def test_a_chain_of_references_has_a_longest_length() -> None:
    compile_schema(chain(MAX_REFERENCE_DEPTH))
    assert refusal(chain(MAX_REFERENCE_DEPTH + 1))["findings"][0]["code"] == "limits"
    assert refusal(chain(9_000))["findings"][0]["code"] == "limits"


def test_long_chains_of_subschemas_are_freed_without_recursion() -> None:
    links: dict[str, Any] = {
        f"d{n}": {"properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(MAX_SUBSCHEMAS // 3)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": links | {f"d{len(links)}": False}}
    deepest: Any = True
    for _ in range(MAX_INSTANCE_DEPTH - 1):
        deepest = {"not": deepest}
    for each in (schema, deepest):
        validator = compile_schema(each)
        assert bool(validator.errors({"a": {"a": {}}})) is (each is deepest)
        del validator
        gc.collect()


def test_a_schema_has_a_largest_number_of_subschemas() -> None:
    compile_schema({"properties": {str(n): {} for n in range(MAX_SUBSCHEMAS - 1)}})
    details = refusal({"properties": {str(n): {} for n in range(50_000)}})
    assert [(each["pointer"], each["code"]) for each in details["findings"]] == [
        (f"/properties/{MAX_SUBSCHEMAS - 1}", "limits")
    ]


def test_a_refusal_carries_a_bounded_number_of_findings() -> None:
    details = refusal({f"x{n}": 1 for n in range(1_000)})
    assert (len(details["findings"]), details["findings_total"]) == (MAX_FINDINGS, 1_000)


def test_the_search_for_loops_ends_after_a_bounded_number() -> None:
    details = refusal({"$defs": {f"d{n}": {"$ref": f"#/$defs/d{n}"} for n in range(1_000)}})
    assert details["findings_total"] == MAX_LOOPS


def test_references_that_double_the_work_end_in_an_error() -> None:
    doubled: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}
    validator = compile_schema({"$ref": "#/$defs/d0", "$defs": doubled | {"d30": {}}})
    (error,) = validator.errors(1)
    assert error.keyword == "limits"
    assert [
        found.keyword
        for found in compile_schema({"not": doubled["d0"], "$defs": doubled | {"d30": {}}}).errors(1)
    ] == ["limits"]


def test_patterns_share_the_limit_of_work() -> None:
    validator = compile_schema({"items": {"pattern": "foo.*bar"}})
    errors = validator.errors(["foo" * 341] * 200, limit=1_000)
    assert [error.keyword for error in errors[:2]] == ["limits", "pattern"]
    assert validator.errors(["a fool at the bar"] * 200) == []


@pytest.mark.parametrize(
    "schema",
    [{"pattern": "a"}, {"not": {"pattern": "b"}}, {"anyOf": [{"pattern": "b"}, True]}],
    ids=repr,
)
def test_a_text_too_long_for_a_pattern_is_an_error_even_inside_not(schema: Any) -> None:
    validator = compile_schema(schema)
    assert validator.errors("a" * MAX_SUBJECT_CHARS) == []
    assert validator.errors("a" * (MAX_SUBJECT_CHARS + 1))[0].keyword == "pattern"


def test_a_property_name_too_long_for_a_pattern_is_an_error() -> None:
    validator = compile_schema({"patternProperties": {"a": True}, "additionalProperties": True})
    assert validator.errors({"a" * MAX_SUBJECT_CHARS: 1}) == []
    (error,) = validator.errors({"a" * (MAX_SUBJECT_CHARS + 1): 1, "a" * (MAX_SUBJECT_CHARS + 2): 1})
    assert (error.pointer, error.keyword) == ("", "patternProperties")


@pytest.mark.parametrize(
    ("instance", "pointer"),
    [
        (float("nan"), ""),
        ([1, float("inf")], "/1"),
        (b"", ""),
        (1j, ""),
        ([{1, 2}], "/0"),
        ({"a": {"b": (1,)}}, "/a/b"),
        ({"a": {1: 2}}, "/a"),
    ],
    ids=repr,
)
def test_a_value_that_json_does_not_have_is_an_error(instance: Any, pointer: str) -> None:
    (error,) = compile_schema(True, pointer="/s").errors(instance)
    assert (error.keyword, error.pointer, error.schema_pointer) == ("json", pointer, "/s")


def test_an_instance_holds_as_many_values_as_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cra_wasm.carp.schema_run.MAX_VALUES", 5)
    validator = compile_schema(True)
    assert validator.errors([1, {"a": [2, 3]}]) == []
    (error,) = validator.errors([1, {"a": [2, 3, 4]}], pointer="/p")
    assert (error.keyword, error.pointer) == ("limits", "/p/1/a")


def test_numbers_of_any_size_are_compared_exactly() -> None:
    assert compile_schema({"multipleOf": 1e-300}).errors([1e308, 10**400]) == []
    assert compile_schema({"multipleOf": 3}).errors(10**400)
    assert compile_schema({"maximum": 1e308}).errors(10**400)
    assert compile_schema({"uniqueItems": True}).errors([10**400, 10**400])


def test_a_large_array_of_distinct_numbers_is_unique() -> None:
    # Multiples of 2^61 - 1 share one hash in Python.
    assert compile_schema({"uniqueItems": True}).errors([n * (2**61 - 1) for n in range(20_000)]) == []


def test_a_limit_is_told_where_it_was_met_in_the_instance_and_in_the_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told(items: dict[str, Any], text: str) -> list[tuple[str, str, str]]:
        errors = compile_schema({"properties": {"a": {"items": items}}}).errors(
            {"a": [1, text]}, pointer="/p"
        )
        return [(error.pointer, error.keyword, error.schema_pointer) for error in errors]

    too_long = "x" * (MAX_SUBJECT_CHARS + 1)
    place = "/properties/a/items"
    assert told({"pattern": "y"}, too_long) == [("/p/a/1", "pattern", f"{place}/pattern")]
    inner = told({"anyOf": [{"pattern": "y"}, {}]}, too_long)
    assert inner == [("/p/a/1", "pattern", f"{place}/anyOf/0/pattern")]
    monkeypatch.setattr("cra_wasm.carp.schema_run.MAX_UNITS", 10)
    assert told({"pattern": "a+b"}, "ab" * 400) == [("/p/a/1", "limits", f"{place}/pattern")]


TOO_LONG = "x" * (MAX_SUBJECT_CHARS + 1)


@pytest.mark.parametrize(
    ("schema", "instance", "place"),
    [
        ({"not": {"pattern": "y"}}, TOO_LONG, "/not/pattern"),
        ({"oneOf": [{"pattern": "y"}, {}]}, TOO_LONG, "/oneOf/0/pattern"),
        ({"if": {"pattern": "y"}}, TOO_LONG, "/if/pattern"),
        ({"if": False, "else": {"pattern": "y"}}, TOO_LONG, "/else/pattern"),
        ({"allOf": [{"pattern": "y"}]}, TOO_LONG, "/allOf/0/pattern"),
        ({"patternProperties": {"y": {}}}, {TOO_LONG: 1}, "/patternProperties"),
    ],
    ids=["not", "oneOf", "if", "else", "allOf", "patternProperties"],
)
def test_a_text_too_long_for_a_pattern_is_told_where_it_stands(
    schema: Any, instance: Any, place: str
) -> None:
    # `not` and `oneOf` may find something beside it: what could not be judged comes first.
    error, *_ = compile_schema({"items": schema}).errors([1, instance], pointer="/p")
    assert (error.pointer, error.schema_pointer) == ("/p/1", "/items" + place)
    assert error.keyword == place.rpartition("/")[2]
    assert isinstance(error.message, str)


def test_an_item_too_long_for_a_pattern_is_told_by_contains_at_its_place() -> None:
    (error,) = compile_schema({"contains": {"pattern": "x"}}).errors(["x", TOO_LONG])
    assert (error.pointer, error.schema_pointer) == ("/1", "/contains/pattern")


def test_members_behind_a_name_too_long_for_a_pattern_are_checked() -> None:
    validator = compile_schema({"patternProperties": {"^x": {"type": "string"}}})
    found = [(error.pointer, error.keyword) for error in validator.errors({TOO_LONG: "a", "x1": 1})]
    assert found == [("", "patternProperties"), ("/x1", "type")]


def test_a_name_as_long_as_a_pattern_may_see_is_no_additional_property() -> None:
    validator = compile_schema({"patternProperties": {"x": {}}, "additionalProperties": False})
    assert validator.errors({"x" * MAX_SUBJECT_CHARS: 1}) == []


LONG_NAME = {"ab" * 400: 1}
NAMES = [f"n{number}" for number in range(33)]


@pytest.mark.parametrize(
    ("schema", "instance", "units", "where"),
    [
        ({}, 1, 1, ""),
        ({"title": "t", "description": "d", "$comment": "c", "format": "f"}, 1, 2, ""),
        (dict.fromkeys(["title", "description", "$comment"], ""), 1, 1, ""),
        ({"const": ["x" * 46]}, ["y" * 46], 1 + 3, "/const"),
        ({"enum": [["x" * 46]]}, {"y" * 44: 1}, 1 + 3, "/enum"),
        ({"const": ["x" * 59]}, ["y" * 59], 1 + 3, "/const"),
        ({"const": ["x" * 56, ""]}, ["y" * 56, ""], 1 + 3, "/const"),
        ({"const": {"x" * 55: 1}}, {"y" * 55: 1}, 1 + 3, "/const"),
        ({"const": {"x" * 47: 1, "z": 1}}, {"y" * 47: 1, "z": 1}, 1 + 3, "/const"),
        ({"uniqueItems": True}, [1, 2, 3], 1 + 3, "/uniqueItems"),
        ({"uniqueItems": True}, ["x" * 62], 1 + 1 + 4, "/uniqueItems"),
        ({"properties": dict.fromkeys(NAMES[:8], True)}, {}, 1 + 2, ""),
        ({"properties": dict.fromkeys(NAMES[:7], True)}, {}, 1 + 1, ""),
        ({"required": NAMES}, dict.fromkeys(NAMES, 1), 1 + 2, ""),
        ({"dependentRequired": {"a": NAMES[:17], "b": NAMES[17:]}}, {}, 1 + 2, ""),
    ],
    ids=repr,
)
def test_the_work_of_a_subschema_is_counted(
    schema: Any, instance: Any, units: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    validator = compile_schema({"properties": {"x": schema}})

    def told(allowed: int) -> list[tuple[str, str, str]]:
        monkeypatch.setattr("cra_wasm.carp.schema_run.MAX_UNITS", allowed)
        errors = validator.errors({"x": instance}, pointer="/p")
        return [(error.pointer, error.keyword, error.schema_pointer) for error in errors]

    assert "limits" not in [keyword for _, keyword, _ in told(1 + units)]
    assert told(units) == [("/p/x", "limits", "/properties/x" + where)]


def test_what_a_failed_branch_cost_is_missed_by_the_next_subschema(monkeypatch: pytest.MonkeyPatch) -> None:
    validator = compile_schema({"anyOf": [False, False, True]})
    for units, keywords in ((1 + 2 * 9 + 1, []), (1 + 2 * 9, ["limits"])):
        monkeypatch.setattr("cra_wasm.carp.schema_run.MAX_UNITS", units)
        assert [error.keyword for error in validator.errors(1)] == keywords


@pytest.mark.parametrize("keyword", ["patternProperties", "additionalProperties"])
def test_a_search_in_names_that_takes_too_long_is_told_at_its_keyword(
    keyword: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema: dict[str, Any] = {"patternProperties": {"a+b": {}}}
    schema = schema if keyword in schema else {keyword: False, **schema}
    validator = compile_schema({"items": schema})
    monkeypatch.setattr("cra_wasm.carp.schema_run.MAX_UNITS", 10)
    (error,) = validator.errors([{}, LONG_NAME])
    assert (error.pointer, error.keyword, error.schema_pointer) == ("/1", "limits", f"/items/{keyword}")


@pytest.mark.parametrize("items", [{}, True])
def test_each_value_that_a_subschema_looks_at_is_one_step(
    items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    validator = compile_schema({"properties": {"a": {"items": items}}})
    for units, keywords in ((5, []), (4, ["limits"])):
        monkeypatch.setattr("cra_wasm.carp.schema_run.MAX_UNITS", units)
        assert [error.keyword for error in validator.errors({"a": [1, 2, 3]})] == keywords
