"""A CARP request with each of its fields wrong in turn."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from cra_wasm.errors import InvalidInput
from cra_wasm.model.parse import parse_model
from cra_wasm.model.request import CARPRequest

ID = "01234567-89ab-7def-8123-456789abcdef"
REQUEST: dict[str, Any] = {
    "carp_version": "1.0",
    "request_id": ID,
    "timestamp": "2026-11-24T12:00:00Z",
    "operation": "execute",
    "requester": {"agent_id": "bot", "session_id": ID},
    "task": {
        "goal": "refund order 7",
        "risk_tier": "high",
        "context_hints": ["refunds"],
        "required_capabilities": ["orders"],
    },
    "atlas_ids": ["com.example.shop"],
    "context": {"region": "eu"},
    "execution": {
        "resolution_id": ID,
        "action_id": "order.refund",
        "parameters": {"amount": 5},
        "idempotency_key": "k",
    },
}
ABSENT = object()


def changed(pointer: str, value: object) -> dict[str, Any]:
    request = copy.deepcopy(REQUEST)
    *path, last = pointer.split("/")[1:]
    place: Any = request
    for key in path:
        place = place[int(key) if isinstance(place, list) else key]
    if value is ABSENT:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return request


def read(source: Any) -> CARPRequest:
    return parse_model(CARPRequest, source, code="invalid_request")


def refused(source: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(source)
    assert caught.value.code == "invalid_request"
    return caught.value


REQUIRED = [
    *(f"/{name}" for name in ("carp_version", "request_id", "timestamp", "operation", "requester", "task")),
    "/requester/agent_id",
    "/requester/session_id",
    "/task/goal",
    *(f"/execution/{name}" for name in ("resolution_id", "action_id", "parameters")),
]
OPTIONAL = [
    "/task/risk_tier",
    "/task/context_hints",
    "/task/required_capabilities",
    "/atlas_ids",
    "/context",
    "/execution/idempotency_key",
]


@pytest.mark.parametrize("pointer", REQUIRED)
@pytest.mark.parametrize("value", [ABSENT, None, 1, True, [1], ""], ids=repr)
def test_a_required_field_that_is_absent_or_of_another_kind_is_named(pointer: str, value: object) -> None:
    assert refused(changed(pointer, value)).details["pointer"] == pointer


WRONG_KINDS = [
    (pointer, value)
    for pointer in OPTIONAL
    for value in (1, True, {"a": 1}, "x y", "")
    if (pointer, value) not in [("/context", {"a": 1}), ("/execution/idempotency_key", "x y")]
]


@pytest.mark.parametrize(("pointer", "value"), WRONG_KINDS)
def test_an_optional_field_of_another_kind_is_named(pointer: str, value: object) -> None:
    assert refused(changed(pointer, value)).details["pointer"] == pointer


@pytest.mark.parametrize("pointer", OPTIONAL)
def test_an_optional_field_may_be_absent(pointer: str) -> None:
    read(changed(pointer, ABSENT))


@pytest.mark.parametrize("place", ["", "/requester", "/task", "/execution"])
def test_an_unknown_field_is_named(place: str) -> None:
    pointer = f"{place}/trust_me"
    error = refused(changed(pointer, 1))
    assert error.details["pointer"] == pointer
    assert error.details["findings"][0]["code"] == "extra_forbidden"


def test_a_parent_session_may_be_named() -> None:
    assert read(REQUEST).requester.parent_session_id is None
    assert read(changed("/requester/parent_session_id", ID)).requester.parent_session_id == ID


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/carp_version", "1.1"),
        ("/request_id", ID.upper()),
        ("/request_id", ID + "\n"),
        ("/request_id", ID.replace("-", "")),
        ("/operation", "Execute"),
        ("/operation", "delete"),
        ("/requester/agent_id", "x" * 256),
        ("/requester/session_id", "s"),
        ("/requester/parent_session_id", "s"),
        ("/task/goal", "x" * 10_001),
        ("/task/risk_tier", "Low"),
        ("/task/context_hints", ["x"] * 101),
        ("/task/context_hints/0", 5),
        ("/task/required_capabilities", ["x"] * 101),
        ("/task/required_capabilities/0", "Orders"),
        ("/atlas_ids/0", "shop"),
        ("/atlas_ids/0", None),
        ("/execution/resolution_id", "r"),
        ("/execution/action_id", "x" * 256),
        ("/execution/idempotency_key", "x" * 256),
    ],
)
def test_a_value_outside_its_limits_is_named(pointer: str, value: object) -> None:
    assert refused(changed(pointer, value)).details["pointer"] == pointer


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/requester/agent_id", "x" * 255),
        ("/task/goal", "x" * 10_000),
        ("/task/goal", "\U0001f600" * 10_000),
        ("/task/context_hints", ["x"] * 100),
        ("/execution/idempotency_key", "x" * 255),
        ("/atlas_ids", []),
    ],
)
def test_a_value_at_its_limits_is_read(pointer: str, value: object) -> None:
    read(changed(pointer, value))


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T12:00:00",
        "2026-11-24",
        "2026-11-24 12:00:00Z",
        "2026-11-24T12:00Z",
        "2026-11-24T12:00:00,5Z",
        "2026-11-24T12:00:00.Z",
        "2026-11-24T12:00:00+01",
        "2026-11-24T12:00:00+0100",
        "2026-11-24T12:00:00+01:00:30",
        "2026-11-24T12:00:00+24:00",
        "2026-11-24T24:00:00Z",
        "2026-11-24T12:00:60Z",
        "2026-02-30T12:00:00Z",
        "2026-W48-2T12:00:00Z",
        "20261124T120000.000Z",
        "2026-11-24T12:00:00Z\n",
        "\u0662026-11-24T12:00:00Z",
        "2026-11-24T12:00:00." + "0" * 100 + "Z",
    ],
)
def test_a_timestamp_that_is_not_rfc_3339_with_a_zone_is_refused(text: str) -> None:
    assert refused(changed("/timestamp", text)).details["pointer"] == "/timestamp"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T12:00:00Z",
        "2026-11-24T12:00:00.1Z",
        "2026-11-24T12:00:00.123456789Z",
        "2026-11-24T12:00:00-03:30",
        "2026-11-24T12:00:00-00:00",
        "0001-01-01T00:00:00+23:59",
    ],
)
def test_a_timestamp_in_rfc_3339_is_read(text: str) -> None:
    assert read(changed("/timestamp", text)).timestamp == text


def test_execution_stands_with_execute_and_not_with_resolve() -> None:
    assert refused(changed("/execution", ABSENT)).details["pointer"] == ""
    assert refused(changed("/operation", "resolve")).details["pointer"] == ""
    read({**changed("/operation", "resolve"), "execution": None})


def test_all_findings_come_at_once() -> None:
    request = changed("/task/goal", "")
    request["requester"] = {}
    request["extra"] = 1
    details = refused(request).details
    assert {one["pointer"] for one in details["findings"]} == {
        "/task/goal",
        "/requester/agent_id",
        "/requester/session_id",
        "/extra",
    }
    assert details["findings_total"] == 4


def test_many_findings_are_cut_and_counted() -> None:
    details = refused({**REQUEST, **{f"x{n}": n for n in range(250)}}).details
    assert (len(details["findings"]), details["findings_total"]) == (100, 250)


def test_text_and_dict_read_the_same() -> None:
    assert read(REQUEST) == read(json.dumps(REQUEST)) == read(json.dumps(REQUEST).encode())
