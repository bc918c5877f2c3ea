"""A result that does not fit its returns_schema is told, not refused (PROTOCOL 2.13)."""

from __future__ import annotations

from typing import Any

import pytest

from cra_wasm import InvalidInput

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "integer", "minimum": 0}, "secret": {"enum": ["a"]}},
    "required": ["total"],
}


@pytest.fixture
def returning(rig: Any, shop: dict[str, Any]) -> Any:
    """A function that runs item.list, which has SCHEMA for its results, with an executor that returns one."""
    shop["actions"][1]["returns_schema"] = SCHEMA
    rig.resolver.load_atlas(shop)

    def run(result: Any, **options: Any) -> Any:
        rig.resolver.register_executor("item.list", lambda parameters: result)
        return rig.run("item.list", **options)

    return run


def test_a_result_that_fits_has_nothing_to_tell(rig: Any, returning: Any) -> None:
    answer = returning({"total": 1})
    assert (answer.status, answer.result_findings) == ("success", ())
    assert "result_findings" not in answer.to_dict()
    assert set(rig.events()[-1].payload) == {"action_id", "duration_ms", "execution_id", "result_hash"}


def test_one_that_does_not_is_a_success_with_findings_and_the_trace_counts_them(
    rig: Any, returning: Any
) -> None:
    # PROTOCOL 2.13.2, PROTOCOL 3.1.17
    answer = returning({"total": -1, "secret": "the customer's own words"})
    assert (answer.status, answer.error, answer.result["total"]) == ("success", None, -1)
    told = answer.to_dict()["result_findings"]
    assert [(one["pointer"], one["code"]) for one in told] == [
        ("/result/total", "minimum"),
        ("/result/secret", "enum"),
    ]
    executed = rig.events()[-1]
    assert executed.event_type == "action.executed"
    assert (executed.payload["result_valid"], executed.payload["result_findings_count"]) == (False, 2)
    assert "own words" not in executed.payload_json and "own words" not in str(told)


def test_the_answer_of_a_key_keeps_its_findings(returning: Any) -> None:
    first = returning([], idempotency_key="k")
    assert [one["code"] for one in first.result_findings] == ["type"]
    assert returning({"total": 1}, idempotency_key="k").to_dict() == first.to_dict()


def test_the_findings_are_bounded(rig: Any, shop: dict[str, Any]) -> None:
    # PROTOCOL 2.13.3
    shop["actions"][1]["returns_schema"] = {"type": "array", "items": {"type": "string"}}
    rig.resolver.load_atlas(shop)
    rig.resolver.register_executor("item.list", lambda parameters: list(range(1000)))
    assert len(rig.run("item.list").result_findings) == 32
    assert rig.events()[-1].payload["result_findings_count"] == 32


@pytest.mark.parametrize(("schema", "codes"), [(True, []), (False, ["false"]), (None, []), ({}, [])])
def test_schemas_that_are_no_object_with_keywords(
    rig: Any, shop: dict[str, Any], schema: Any, codes: list[str]
) -> None:
    shop["actions"][1]["returns_schema"] = schema
    rig.resolver.load_atlas(shop)
    assert [one["code"] for one in rig.run("item.list").result_findings] == codes


def test_an_unusable_returns_schema_refuses_the_atlas(rig: Any, shop: dict[str, Any]) -> None:
    # PROTOCOL 2.13.1
    shop["actions"][1]["returns_schema"] = {"unheardOf": 1}
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.load_atlas(shop)
    assert caught.value.details["pointer"] == "/actions/1/returns_schema/unheardOf"
