"""canonical_json writes what RFC 8785 says and refuses what has no canonical text (PROTOCOL 3.3)."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.errors import InvalidInput
from cra_wasm.model.limits import MAX_JSON_DEPTH
from cra_wasm.trace.canonical import MAX_SAFE_INTEGER, canonical_json

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
SHORT_FLOATS = st.builds(
    lambda digits, power: float(f"{digits}e{power}"), st.integers(-999, 999), st.integers(-12, 24)
)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=6),
    max_leaves=30,
)


class Shouted(str):
    """Its str() is not the text that it holds, as with an Enum that mixes str in."""

    def __str__(self) -> str:
        return "RED!"


class Level(enum.IntEnum):
    HIGH = 3


class Ratio(float):
    pass


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def reference(value: Any) -> str | None:
    """The rfc8785 package's text; None where it, or the rule about integer literals, refuses."""
    try:
        text = rfc8785.dumps(value).decode()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        return None
    literal = text.removeprefix("-")
    return None if literal.isdigit() and int(literal) > MAX_SAFE_INTEGER else text


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        pytest.param({"a": {"b": [0, math.nan]}}, "/a/b/1", id="NaN"),
        pytest.param({"a": math.inf}, "/a", id="infinity"),
        pytest.param(-math.inf, "", id="minus infinity"),
        pytest.param({"a": 2**53}, "/a", id="an integer beyond 2^53-1"),
        pytest.param([-(2**53)], "/0", id="an integer below -(2^53-1)"),
        pytest.param({"a": 2.0**53}, "/a", id="a float written as an integer beyond 2^53-1"),
        pytest.param({"a": -999999999999999900000.0}, "/a", id="the largest float without an exponent"),
        pytest.param({"a/b~c": "\ud800"}, "/a~1b~0c", id="a lone high surrogate"),
        pytest.param({"a": "x\udfff"}, "/a", id="a lone low surrogate"),
        pytest.param({"a": {"\ud800": 1}}, "/a", id="a lone surrogate in a key"),
        pytest.param({"a": {1: 2}}, "/a", id="a key that is a number"),
        pytest.param({None: 2}, "", id="a key that is None"),
        pytest.param({"a": {1: 2, "b": 3}}, "/a", id="keys of two types"),
        pytest.param({"a": {b"b": 2}}, "/a", id="a key of bytes"),
        pytest.param({"a": b"bytes"}, "/a", id="bytes"),
        pytest.param({"a": {1, 2}}, "/a", id="a set"),
        pytest.param([1, object()], "/1", id="an object"),
        pytest.param(nested(MAX_JSON_DEPTH + 1), "/0" * MAX_JSON_DEPTH, id="one level too many"),
        pytest.param(
            {"a": nested(MAX_JSON_DEPTH)}, "/a" + "/0" * (MAX_JSON_DEPTH - 1), id="too deep in dict"
        ),
    ],
)
def test_a_value_without_canonical_text_is_refused_with_its_pointer(value: Any, pointer: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        canonical_json(value)
    assert caught.value.code == "not_canonical"
    assert caught.value.details["pointer"] == pointer
    json.dumps(caught.value.to_dict(), ensure_ascii=False).encode()


def test_a_cycle_is_refused() -> None:
    cycle: dict[str, Any] = {}
    cycle["again"] = [cycle]
    with pytest.raises(InvalidInput) as caught:
        canonical_json(cycle)
    assert caught.value.code == "not_canonical"


@pytest.mark.parametrize(
    "wrap", [lambda inner: (inner,), lambda inner: OrderedDict(a=inner)], ids=["tuple", "dict"]
)
def test_a_subclass_counts_as_one_level(wrap: Callable[[Any], Any]) -> None:
    value: Any = 0
    for _ in range(MAX_JSON_DEPTH):
        value = wrap(value)
    assert canonical_json(value).count("0") == 1
    with pytest.raises(InvalidInput):
        canonical_json(wrap(value))


def test_the_deepest_allowed_nesting_is_written() -> None:
    assert canonical_json(nested(MAX_JSON_DEPTH)) == "[" * MAX_JSON_DEPTH + "0" + "]" * MAX_JSON_DEPTH


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (-1.25e-6, "-0.00000125"),
        (1.5e-300, "1.5e-300"),
        (5e-324, "5e-324"),
        (1e21, "1e+21"),
        (-1.7976931348623157e308, "-1.7976931348623157e+308"),
        (9007199254740991.0, "9007199254740991"),
        (4.35, "4.35"),
        (333333333.33333329, "333333333.3333333"),
        (MAX_SAFE_INTEGER, "9007199254740991"),
        (-MAX_SAFE_INTEGER, "-9007199254740991"),
        ('\x00\x1f\x7f\b\t\n\f\r"\\/', '"\\u0000\\u001f\x7f\\b\\t\\n\\f\\r\\"\\\\/"'),
        ("\u20ac\u2028\U0001f600", '"\u20ac\u2028\U0001f600"'),
        ((1, [None, True, False]), "[1,[null,true,false]]"),
        ({}, "{}"),
        ([], "[]"),
        (OrderedDict(b=1, a=Shouted("red")), '{"a":"red","b":1}'),
        ([Level.HIGH, Ratio(2.5)], "[3,2.5]"),
    ],
)
def test_a_value_is_written_as_rfc_8785_says(value: Any, text: str) -> None:
    assert canonical_json(value) == text


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    # U+1F600 begins with the unit D83D, so it stands before U+FB33 although its code point is larger.
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    text = canonical_json(dict.fromkeys(keys, 0))
    assert list(json.loads(text)) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@given(JSON_VALUES)
def test_the_text_equals_that_of_the_reference_package_or_both_refuse(value: Any) -> None:
    try:
        text = canonical_json(value)
    except InvalidInput:
        # The reference takes floats that are written as an integer beyond 2^53-1; this project does not.
        expected = None if holds_unsafe_float(value) else reference(value)
        assert expected is None
    else:
        assert text == reference(value)


def holds_unsafe_float(value: Any) -> bool:
    if isinstance(value, float):
        return MAX_SAFE_INTEGER < abs(value) < 1e21
    if isinstance(value, dict):
        return any(holds_unsafe_float(item) for item in value.values())
    return isinstance(value, list) and any(holds_unsafe_float(item) for item in value)


@given(st.lists(st.floats() | SHORT_FLOATS, min_size=1, max_size=10))
def test_a_float_is_written_as_the_reference_package_does_or_refused(values: list[float]) -> None:
    for value in values:
        try:
            text: str | None = canonical_json(value)
        except InvalidInput:
            text = None
        assert text == reference(value)


@given(JSON_VALUES)
def test_canonical_text_read_and_written_again_is_the_same_text(value: Any) -> None:
    try:
        text = canonical_json(value)
    except InvalidInput:
        return
    assert canonical_json(json.loads(text)) == text
