"""One key, one run: what an idempotency key gives, refuses and forgets."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cra_wasm import InvalidInput, InvalidState
from cra_wasm.runtime import execution_checks

READ = {"item_id": "a"}


def counting(rig: Any, action_id: str, answer: Any = "ran") -> list[int]:
    ran: list[int] = []

    def executor(parameters: Any) -> Any:
        ran.append(1)
        if isinstance(answer, Exception):
            raise answer
        return answer

    rig.resolver.register_executor(action_id, executor)
    return ran


@pytest.mark.parametrize("answer", [{"list": [1]}, ValueError("no")], ids=["success", "error"])
def test_the_same_key_gives_the_first_answer_again_and_runs_nothing(rig: Any, answer: Any) -> None:
    ran = counting(rig, "item.read", answer)
    first = rig.run("item.read", READ, idempotency_key="k")
    expected = copy.deepcopy(first.to_dict())
    if first.result:
        first.result["list"].append("changed by the caller")
    resolution_id = rig.resolve().resolution_id
    before = rig.types()
    for _ in range(2):
        again = rig.run("item.read", READ, idempotency_key="k", resolution_id=resolution_id)
        assert again.to_dict() == expected
        if again.result:
            again.result.clear()
    assert ran == [1]
    assert rig.types() == before


@pytest.mark.parametrize(
    ("action_id", "parameters"), [("item.read", {"item_id": "b"}), ("item.list", READ), ("item.list", {})]
)
def test_the_same_key_for_another_call_is_a_conflict(rig: Any, action_id: str, parameters: Any) -> None:
    rig.run("item.read", READ, idempotency_key="k")
    with pytest.raises(InvalidState) as caught:
        rig.run(action_id, parameters, idempotency_key="k")
    assert caught.value.code == "idempotency_conflict"
    assert caught.value.details["pointer"] == "/execution/idempotency_key"


def test_parameters_that_are_the_same_json_are_the_same_call(rig: Any) -> None:
    ran = counting(rig, "item.read")
    rig.run("item.read", {"item_id": "a", "count": 1}, idempotency_key="k")
    assert rig.run("item.read", {"count": 1.0, "item_id": "a"}, idempotency_key="k").result == "ran"
    assert ran == [1]


def test_a_key_counts_in_its_own_session_only(rig: Any) -> None:
    ran = counting(rig, "item.read")
    rig.run("item.read", READ, idempotency_key="k")
    other = rig.resolver.create_session("agent-1", "other")
    resolution = rig.resolver.resolve(other, "g")
    rig.resolver.execute(other, resolution.resolution_id, "item.read", READ, idempotency_key="k")
    assert ran == [1, 1]


def test_the_call_of_a_key_that_still_runs_is_in_progress(rig: Any) -> None:
    def nest(parameters: Any) -> None:
        with pytest.raises(InvalidState) as caught:
            rig.run("item.read", READ, idempotency_key="k")
        assert caught.value.code == "execution_in_progress"

    rig.resolver.register_executor("item.read", nest)
    assert rig.run("item.read", READ, idempotency_key="k").status == "success"


def test_denied_and_pending_answers_are_not_remembered(rig: Any) -> None:
    for _ in range(2):
        assert rig.run("item.delete", idempotency_key="d").status == "denied"
    pending = rig.run("item.refund", {"amount": 1}, idempotency_key="p")
    assert pending.status == "pending_approval"
    rig.resolver.grant_approval(pending.error["details"]["approval_id"], approver="ann")
    ran = counting(rig, "item.refund")
    assert rig.run("item.refund", {"amount": 1}, idempotency_key="p").status == "success"
    assert rig.run("item.refund", {"amount": 1}, idempotency_key="p").status == "success"
    assert ran == [1]


def test_refused_calls_leave_their_key_free(rig: Any) -> None:
    with pytest.raises(InvalidInput):
        rig.run("item.read", {}, idempotency_key="k")
    assert rig.run("item.read", READ, idempotency_key="k").status == "success"


# PROTOCOL 0.3.12
def test_a_full_window_refuses_new_keys_and_knows_the_old_ones(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_checks, "IDEMPOTENCY_KEYS_PER_SESSION", 3)
    resolution_id = rig.resolve().resolution_id
    ran = counting(rig, "item.read")
    for key in ("a", "b", "c"):
        rig.run("item.read", READ, idempotency_key=key, resolution_id=resolution_id)
    with pytest.raises(InvalidState) as caught:
        rig.run("item.read", READ, idempotency_key="d", resolution_id=resolution_id)
    assert caught.value.code == "idempotency_window_full"
    assert rig.run("item.read", READ, idempotency_key="a", resolution_id=resolution_id).result == "ran"
    assert len(ran) == 3
    assert rig.run("item.read", READ, resolution_id=resolution_id).result == "ran"


@pytest.mark.parametrize("key", ["", "x" * 256, 1, True, ["k"], "\ud800"])
def test_a_key_of_another_form_is_refused(rig: Any, key: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.run("item.read", READ, idempotency_key=key)
    assert caught.value.code == "invalid_idempotency_key"
    assert caught.value.details["pointer"] == "/execution/idempotency_key"
