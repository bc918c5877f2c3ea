"""The JSON Schemas of specs/schemas say what the models and the answers are, as far as a schema can."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cra_wasm import InvalidInput
from cra_wasm.conformance.answering import answer_case
from cra_wasm.conformance.case import AREAS
from cra_wasm.conformance.suite import SuiteCase, load_suite
from cra_wasm.model.atlas import Atlas
from cra_wasm.model.parse import parse_model
from cra_wasm.model.request import CARPRequest

pytestmark = pytest.mark.cpython_only(reason="jsonschema needs rpds-py, which has no wheel for Pyodide")

SPECS = Path(__file__).resolve().parents[2] / "specs"
NAMES = ("atlas", "request", "resolution", "execute-response", "event", "case")
MODELS: dict[str, tuple[type[Any], str]] = {
    "atlas": (Atlas, "invalid_atlas"),
    "request": (CARPRequest, "invalid_request"),
}
BEYOND_A_SCHEMA = {"value_error"}
"""Findings of what takes a calendar or several members; all others a schema must make too."""


def read(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SPECS / "schemas" / f"{name}.schema.json").read_text("utf-8"))
    return schema


def validator(name: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(read(name))


@pytest.fixture(scope="module")
def validators() -> dict[str, Any]:
    return {name: validator(name) for name in NAMES}


@pytest.fixture(scope="module")
def cases() -> list[SuiteCase]:
    return load_suite(SPECS / "conformance")


def first_fault(of: Any, document: Any) -> str | None:
    error = next(of.iter_errors(document), None)
    return None if error is None else f"{list(error.absolute_path)}: {error.message[:200]}"


def findings_of_the_model(name: str, document: Any) -> set[str]:
    """Return the codes of what the model finds; none means that it accepts the document."""
    model, code = MODELS[name]
    try:
        parse_model(model, json.dumps(document), code=code)
    except InvalidInput as error:
        return {one["code"] for one in error.details.get("findings", [{"code": error.code}])}
    return set()


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_a_schema_of_2020_12(name: str) -> None:
    schema = read(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    type(validator(name)).check_schema(schema)


def test_no_other_schema_lies_there() -> None:
    assert {path.name for path in (SPECS / "schemas").iterdir()} == {f"{name}.schema.json" for name in NAMES}


@pytest.mark.parametrize("area", [*AREAS, "golden"])
def test_the_cases_fit_their_schema(area: str, validators: dict[str, Any]) -> None:
    folder = SPECS / "conformance" / area
    paths = [*folder.glob("*.json"), *folder.glob("*/input.json")]
    assert paths
    for path in paths:
        fault = first_fault(validators["case"], json.loads(path.read_text(encoding="utf-8")))
        assert fault is None, (path.name, fault)


def test_a_misspelt_case_does_not_fit(validators: dict[str, Any]) -> None:
    path = SPECS / "conformance" / "canonical-json" / "values.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    file["cases"][0]["expect"] = file["cases"][0].pop("expected")
    assert not validators["case"].is_valid(file)


def test_documents_of_the_schema_area_are_judged_alike(
    cases: list[SuiteCase], validators: dict[str, Any]
) -> None:
    judged = 0
    for case in cases:
        if case.area != "schema" or "value" not in case.input or case.input["document"] not in NAMES:
            continue
        if "lenient" in case.input:
            continue  # other dialects are no part of the schema
        name, document = case.input["document"], case.input["value"]
        if case.id.endswith("line-feed"):
            continue  # Python's `$`, in jsonschema, matches before it; a schema's does not
        fits = first_fault(validators[name], document) is None
        if case.refused is None:
            assert fits, case.id
        elif name == "event" or findings_of_the_model(name, document) - BEYOND_A_SCHEMA:
            assert not fits, case.id
        judged += 1
    assert judged > 200


def test_what_is_answered_fits_its_schema(cases: list[SuiteCase], validators: dict[str, Any]) -> None:
    seen = {"resolution": 0, "execute-response": 0}
    for case in cases:
        if case.area not in ("execution", "approval", "golden"):
            continue
        answer = answer_case({"id": case.id, "area": case.area, "input": case.input})
        for outcome in answer.get("answer", {}).get("steps", ()):
            told = outcome.get("answer", {})
            if "would_execute" in told:
                continue  # of validate
            name = "resolution" if "decision" in told else "execute-response" if "status" in told else None
            if name is not None:
                assert first_fault(validators[name], told) is None, case.id
                seen[name] += 1
        for lines in answer.get("answer", {}).get("traces", {}).values():
            for line in lines:
                assert first_fault(validators["event"], json.loads(line)) is None, case.id
    assert min(seen.values()) > 100


def test_a_resolution_with_another_member_does_not_fit(validators: dict[str, Any]) -> None:
    answers = json.loads((SPECS / "conformance/golden/02-partial/answers.json").read_text(encoding="utf-8"))
    (resolution,) = (one["answer"] for one in answers if "decision" in one["answer"])
    assert validators["resolution"].is_valid(resolution)
    for change in ({"cache_hit": True}, {"ttl_seconds": -1}, {"trace_id": "x"}, {"decision": None}):
        assert not validators["resolution"].is_valid({**resolution, **change})
    del resolution["constraints"]
    assert not validators["resolution"].is_valid(resolution)


ODD = st.sampled_from(
    [
        *(None, True, False, 0, -1, 0.5, 10**9, [], {}, [None], ["a.b"], {"x": 1}, {"agents": ["a"]}),
        *("", " ", "x", "a.b", "*", "24:00", "09:00", "low", "é", "x" * 300),
    ]
).map(copy.deepcopy)


def places_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all members and items."""
    if not isinstance(value, dict | list):
        return []
    members = value.items() if isinstance(value, dict) else enumerate(value)
    return [place for key, one in members for place in ((*path, key), *places_of(one, (*path, key)))]


@st.composite
def changed(draw: st.DrawFn, documents: list[Any]) -> Any:
    """A valid document in which something was replaced, removed or added."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 2))):
        places = places_of(document)
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        parent = document
        for key in path:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove":
            del parent[last]
        elif change == "add" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["unknown", "type", "conditions", "actions", "reason"]))] = draw(ODD)
        else:
            parent[last] = draw(ODD)
    return document


VALID = {
    name: [
        case.input["value"]
        for case in load_suite(SPECS / "conformance", ["schema"])
        if case.refused is None and case.input["document"] == name and "value" in case.input
        # Nothing is found in a goal of 10,000 characters that is not in one of ten.
        if len(json.dumps(case.input["value"])) < 3000
    ]
    for name in MODELS
}


@pytest.mark.parametrize("name", sorted(MODELS))
@settings(settings.get_profile("medium"))
@given(data=st.data())
def test_the_schema_refuses_what_the_model_refuses_and_nothing_else(name: str, data: st.DataObject) -> None:
    document = data.draw(changed(VALID[name]))
    found = findings_of_the_model(name, document)
    fault = first_fault(VALIDATOR[name], document)
    if not found:
        assert fault is None
    elif found - BEYOND_A_SCHEMA:
        assert fault is not None, found


VALIDATOR = {name: validator(name) for name in MODELS}
