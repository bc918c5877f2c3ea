"""One execute: every check, the events of every outcome, and what is taken or not."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import (
    BackendFailure,
    BufferFull,
    InvalidInput,
    InvalidState,
    MemoryStorage,
    NotFound,
    Resolver,
)
from cra_wasm.runtime.execution import OUTCOME_WEIGHT

READ = {"item_id": "a"}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def told(events: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(event.event_type, event.payload) for event in events]


def refusal(rig: Any, error: type[Exception], call: Callable[[], Any]) -> Any:
    """Return the error of a call that must raise, having left error.occurred and nothing else."""
    caught: list[Any] = []

    def run() -> None:
        with pytest.raises(error) as info:
            call()
        caught.append(info.value)

    (event,) = rig.new_events(run)
    assert event.event_type == "error.occurred"
    expected = {"code": caught[0].code, "message": caught[0].message}
    if "pointer" in caught[0].details:
        expected["pointer"] = caught[0].details["pointer"]
    assert event.payload == expected
    return caught[0]


def test_an_allowed_call_leaves_these_events_and_gives_this_answer(rig: Any) -> None:
    rig.resolver.register_executor("item.read", lambda parameters: {"item": parameters["item_id"]})
    resolution = rig.resolve()
    rig.clock.advance(2)
    answers: list[Any] = []
    events = rig.new_events(
        lambda: answers.append(rig.run("item.read", READ, resolution_id=resolution.resolution_id))
    )
    answer = answers[0].to_dict()
    assert answer == {
        "carp_version": "1.0",
        "execution_id": answer["execution_id"],
        "request_id": answer["request_id"],
        "resolution_id": resolution.resolution_id,
        "timestamp": "2024-12-28T12:00:02.000000Z",
        "status": "success",
        "result": {"item": "a"},
        "error": None,
        "trace_id": resolution.trace_id,
    }
    hashed = sha256('{"item_id":"a"}')
    assert told(events) == [
        (
            "carp.request.received",
            {
                "goal": "keep the shop",
                "operation": "execute",
                "request_id": answer["request_id"],
                "resolution_id": resolution.resolution_id,
            },
        ),
        (
            "action.requested",
            {
                "action_id": "item.read",
                "parameters_hash": hashed,
                "resolution_id": resolution.resolution_id,
            },
        ),
        ("action.approved", {"action_id": "item.read", "resolution_id": resolution.resolution_id}),
        (
            "action.executed",
            {
                "action_id": "item.read",
                "execution_id": answer["execution_id"],
                "duration_ms": 0,
                "result_hash": sha256('{"item":"a"}'),
            },
        ),
    ]
    assert {event.trace_id for event in events} == {resolution.trace_id}
    assert events[0].parent_span_id == rig.events()[0].span_id
    assert {event.parent_span_id for event in events[1:]} == {events[0].span_id}
    assert rig.resolver.verify_chain(rig.session_id).valid


def test_a_denied_call_is_an_answer_and_runs_nothing(rig: Any) -> None:
    rig.resolver.register_executor("item.delete", lambda parameters: pytest.fail("it ran"))
    answers: list[Any] = []
    resolution = rig.resolve()
    events = rig.new_events(
        lambda: answers.append(rig.run("item.delete", resolution_id=resolution.resolution_id))
    )
    assert answers[0].status == "denied"
    assert answers[0].result is None
    assert answers[0].error["code"] == "action_denied"
    assert answers[0].error["details"] == {
        "action_id": "item.delete",
        "reason": "never",
        "policy_id": "no-delete",
        "pointer": "/execution/action_id",
    }
    assert [event.event_type for event in events] == [
        "carp.request.received",
        "action.requested",
        "policy.violated",
        "action.denied",
    ]
    assert told(events)[2:] == [
        (
            "policy.violated",
            {
                "policy_id": "no-delete",
                "violation_type": "never",
                "details": {"action_id": "item.delete"},
            },
        ),
        ("action.denied", {"action_id": "item.delete", "reason": "never", "policy_id": "no-delete"}),
    ]


def test_an_action_that_no_policy_names_is_denied(rig: Any) -> None:
    answer = rig.run("item.hidden")
    assert (answer.status, answer.error["details"]["policy_id"]) == ("denied", "default-deny")


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        (None, "/execution/parameters"),
        ([], "/execution/parameters"),
        ("{}", "/execution/parameters"),
        ({}, "/execution/parameters/item_id"),
        ({"item_id": 1}, "/execution/parameters/item_id"),
        ({"item_id": "a", "count": 0}, "/execution/parameters/count"),
        ({"item_id": "a", "count": float("nan")}, "/execution/parameters/count"),
        ({"item_id": "a", "count": 2**60}, "/execution/parameters/count"),
        ({"item_id": "a", "tags": ["x", 1]}, "/execution/parameters/tags/1"),
        ({"item_id": "a", "other": 1}, "/execution/parameters/other"),
        ({"item_id": "\ud800"}, "/execution/parameters/item_id"),
        ({"item_id": {1, 2}}, "/execution/parameters/item_id"),
        ({"item_id": "x" * 1_000_001}, "/execution/parameters"),
    ],
)
def test_parameters_that_fail_their_schema_are_refused_by_pointer(
    rig: Any, parameters: Any, pointer: str
) -> None:
    resolution = rig.resolve()
    rig.resolver.register_executor("item.read", lambda given: pytest.fail("it ran"))
    error = refusal(
        rig,
        InvalidInput,
        lambda: rig.resolver.execute(rig.session_id, resolution.resolution_id, "item.read", parameters),
    )
    assert (error.code, error.details["pointer"]) == ("invalid_parameters", pointer)


@pytest.mark.parametrize(
    ("resolution_id", "action_id", "error", "code"),
    [
        ("nonsense", "item.read", InvalidInput, "invalid_id"),
        (None, "item.read", InvalidInput, "invalid_id"),
        ("01940D23-3A00-7000-8000-000000010002", "item.read", InvalidInput, "invalid_id"),
        ("01940d23-3a00-7000-8000-00000fff0002", "item.read", NotFound, "resolution_not_found"),
        ("this", "item.unknown", NotFound, "action_not_found"),
        ("this", "", InvalidInput, "invalid_action_id"),
        ("this", None, InvalidInput, "invalid_action_id"),
        ("this", ["item.read"], InvalidInput, "invalid_action_id"),
        ("this", "a" * 256, InvalidInput, "invalid_action_id"),
        ("this", "\ud800", InvalidInput, "invalid_action_id"),
    ],
)
def test_a_wrong_name_is_refused(
    rig: Any, resolution_id: Any, action_id: Any, error: type[Exception], code: str
) -> None:
    own = rig.resolve().resolution_id
    name = own if resolution_id == "this" else resolution_id
    raised = refusal(rig, error, lambda: rig.resolver.execute(rig.session_id, name, action_id, READ))
    assert raised.code == code
    assert raised.details["pointer"].startswith("/execution/")


def test_an_action_without_an_executor_is_refused(new_rig: Callable[..., Any]) -> None:
    rig = new_rig()
    resolution = rig.resolve()
    call = lambda: rig.run("item.list", resolution_id=resolution.resolution_id)  # noqa: E731
    assert refusal(rig, InvalidState, call).code == "no_executor"
    rig.resolver.register_executor("item.list", lambda parameters: 1)
    assert call().result == 1
    assert rig.resolver.unregister_executor("item.list") is True
    assert rig.resolver.unregister_executor("item.list") is False
    assert refusal(rig, InvalidState, call).code == "no_executor"


def test_a_resolution_keeps_the_atlas_that_it_saw_until_that_one_is_unloaded(
    rig: Any, shop: dict[str, Any]
) -> None:
    resolution = rig.resolve()
    call = lambda: rig.run("item.list", resolution_id=resolution.resolution_id)  # noqa: E731
    rig.resolver.unload_atlas("test.shop")
    assert refusal(rig, InvalidState, call).code == "atlas_unloaded"
    rig.resolver.load_atlas(shop)
    assert refusal(rig, InvalidState, call).code == "atlas_unloaded"
    assert rig.run("item.list").status == "success"
    resolution = rig.resolve()
    shop["policies"] = []
    rig.resolver.load_atlas(shop)
    assert call().status == "success"
    assert rig.resolve().allowed_actions == ()
    rig.resolver.unload_atlas("test.shop")
    assert refusal(rig, InvalidState, call).code == "atlas_unloaded"


def test_a_rate_limit_is_taken_by_execute_and_says_when_to_come_again(rig: Any) -> None:
    resolution_id = rig.resolve().resolution_id
    for _ in range(2):
        assert rig.run("item.write", resolution_id=resolution_id).status == "success"
        rig.clock.advance(5)
    answer = rig.run("item.write", resolution_id=resolution_id)
    assert answer.status == "denied"
    assert answer.error["details"]["reason"] == "rate_limit_exceeded"
    assert answer.error["details"]["policy_id"] == "two-writes"
    assert answer.error["details"]["retry_after_ms"] == 50_000
    violated = rig.events()[-2]
    assert violated.payload["details"] == {"action_id": "item.write", "retry_after_ms": 50_000}
    rig.clock.advance(49.999)
    assert rig.run("item.write", resolution_id=resolution_id).status == "denied"
    rig.clock.advance(0.001)
    assert rig.run("item.write", resolution_id=resolution_id).status == "success"


def test_a_rate_limit_counts_an_agents_calls_over_its_sessions(rig: Any) -> None:
    for _ in range(2):
        rig.run("item.write")
    other = rig.resolver.create_session("agent-1", "again")
    denied = {one.action_id for one in rig.resolver.resolve(other, "write").denied_actions}
    assert "item.write" in denied
    stranger = rig.resolver.create_session("agent-2", "mine")
    assert "item.write" in [one.action_id for one in rig.resolver.resolve(stranger, "w").allowed_actions]


def test_a_refused_call_takes_no_limit(rig: Any) -> None:
    resolution_id = rig.resolve().resolution_id
    executor = rig.resolver._executors["item.write"]
    rig.resolver.unregister_executor("item.write")
    for _ in range(3):
        with pytest.raises(InvalidState):
            rig.run("item.write", resolution_id=resolution_id)
    rig.resolver.register_executor("item.write", executor.function)
    for status in ("success", "success", "denied"):
        assert rig.run("item.write", resolution_id=resolution_id).status == status


def test_a_failed_call_has_taken_its_limit(rig: Any) -> None:
    rig.resolver.register_executor("item.count", lambda parameters: 1 / 0)
    resolution_id = rig.resolve().resolution_id
    assert rig.run("item.count", resolution_id=resolution_id).status == "error"
    assert rig.run("item.count", resolution_id=resolution_id).status == "denied"


@pytest.mark.parametrize("amount", [None, "5", True, -1, [5], -0.01])
def test_a_cost_that_is_no_finite_number_from_0_is_denied(rig: Any, amount: Any) -> None:
    answer = rig.run("item.pay", {"amount": amount})
    assert (answer.status, answer.error["details"]["reason"]) == ("denied", "invalid_cost")
    assert rig.run("item.pay", {}).status == "denied"
    assert rig.run("item.pay", {"amount": 100}).status == "success"


def test_a_budget_without_a_window_does_not_refill(rig: Any) -> None:
    resolution_id = rig.resolve().resolution_id
    assert rig.run("item.pay", {"amount": 60}, resolution_id=resolution_id).status == "success"
    answer = rig.run("item.pay", {"amount": 40.01}, resolution_id=resolution_id)
    assert answer.error["details"]["reason"] == "budget_exceeded"
    assert answer.error["details"]["retry_after_ms"] == -1
    assert rig.run("item.pay", {"amount": 40}, resolution_id=resolution_id).status == "success"


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("nope"), "executor_error", "ValueError: nope"),
        (TimeoutError("socket"), "executor_error", "TimeoutError: socket"),
        (InvalidInput("bad_thing", "told so", secret=1), "bad_thing", "told so"),
        (InvalidInput("\ud800 x", "told so"), "executor_error", "InvalidInput: \ud800 x: told so"),
        (Unreadable(), "executor_error", "Unreadable: its message cannot be read"),
        (ValueError("\ud800"), "executor_error", "ValueError: ?"),
        (ValueError("x" * 600), "executor_error", ("ValueError: " + "x" * 600)[:500]),
    ],
)
@pytest.mark.parametrize(
    "mode",
    ["sync", pytest.param("async", marks=pytest.mark.cpython_only(reason="asyncio.run cannot wait there"))],
)
def test_an_executor_that_raises_gives_an_error_and_action_failed(
    rig: Any, error: Exception, code: str, message: str, mode: str
) -> None:
    def fail(parameters: Any) -> None:
        rig.clock.advance(1.5)
        raise error

    rig.resolver.register_executor("item.read", fail)
    resolution = rig.resolve()
    if mode == "sync":
        answer = rig.run("item.read", READ, resolution_id=resolution.resolution_id)
    else:
        answer = asyncio.run(
            rig.resolver.execute_async(rig.session_id, resolution.resolution_id, "item.read", READ)
        )
    message = message.replace("\ud800", "?")
    assert (answer.status, answer.result) == ("error", None)
    assert answer.error == {"code": code, "message": message, "details": {}}
    last = rig.events()[-1]
    assert last.event_type == "action.failed"
    assert last.payload == {
        "action_id": "item.read",
        "execution_id": answer.execution_id,
        "duration_ms": 1500,
        "error_code": code,
        "error_message": message,
    }
    rig.resolver.end_session(rig.session_id)
    assert rig.resolver.verify_chain(rig.session_id).warnings == ()


class Sly(dict):  # type: ignore[type-arg]
    def __getitem__(self, key: Any) -> Any:
        raise RuntimeError("not for you")


@pytest.mark.parametrize(
    "result", [float("nan"), 2**60, "\ud800", {1: 2}, b"x", object(), "x" * 1_000_001, Sly(a=1)]
)
def test_a_result_that_is_no_i_json_is_a_failure(rig: Any, result: Any) -> None:
    rig.resolver.register_executor("item.read", lambda parameters: result)
    answer = rig.run("item.read", READ)
    assert (answer.status, answer.error["code"]) == ("error", "invalid_result")
    assert rig.events()[-1].payload["error_code"] == "invalid_result"
    rig.resolver.end_session(rig.session_id)


def test_an_executor_gets_a_copy_and_so_does_the_caller(rig: Any) -> None:
    kept: list[Any] = []

    def take(parameters: Any) -> Any:
        kept.append(parameters)
        parameters["tags"].append("mutated")
        return parameters

    rig.resolver.register_executor("item.read", take)
    given = {"item_id": "a", "tags": ["x"]}
    answer = rig.run("item.read", given)
    assert given == {"item_id": "a", "tags": ["x"]}
    kept[0]["tags"].append("later")
    assert answer.result == {"item_id": "a", "tags": ["x", "mutated"]}
    requested = next(event for event in rig.events() if event.event_type == "action.requested")
    assert requested.payload["parameters_hash"] == sha256('{"item_id":"a","tags":["x"]}')


def test_what_is_judged_is_what_is_hashed_and_run(rig: Any) -> None:
    class TwoFaced(dict):  # type: ignore[type-arg]
        """Shows one amount to whom subscripts, as the canonical text does, and another to whom asks get."""

        def get(self, key: Any, default: Any = None) -> Any:
            return 1

    seen: list[Any] = []
    rig.resolver.register_executor("item.pay", seen.append)
    answer = rig.run("item.pay", TwoFaced(amount=1000))
    assert answer.error["details"]["reason"] == "budget_exceeded"
    assert seen == []


def test_an_executor_with_call_learns_the_names_of_its_call(rig: Any) -> None:
    seen: list[Any] = []
    rig.resolver.register_executor("item.read", lambda parameters, call: seen.append(call), with_call=True)
    resolution = rig.resolve()
    answer = rig.run("item.read", READ, resolution_id=resolution.resolution_id)
    assert seen == [
        {
            "session_id": rig.session_id,
            "agent_id": "agent-1",
            "resolution_id": resolution.resolution_id,
            "execution_id": answer.execution_id,
            "action_id": "item.read",
        }
    ]


@pytest.mark.parametrize("function", [None, 1, "print"])
def test_only_what_can_be_called_is_an_executor(rig: Any, function: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.register_executor("item.read", function)
    assert caught.value.code == "invalid_executor"


@pytest.mark.parametrize("action_id", [None, 1, "", ["a"], "\ud800", "a" * 256])
def test_an_executor_is_registered_for_an_action_id(rig: Any, action_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.register_executor(action_id, print)
    assert caught.value.code == "invalid_action_id"


def test_a_call_during_a_call_is_possible_but_the_session_cannot_end(rig: Any) -> None:
    def nest(parameters: Any) -> Any:
        with pytest.raises(InvalidState) as caught:
            rig.resolver.end_session(rig.session_id)
        assert caught.value.code == "execution_in_progress"
        return rig.run("item.list").status

    rig.resolver.register_executor("item.read", nest)
    assert rig.run("item.read", READ).result == "success"
    assert rig.resolver.end_session(rig.session_id)["action_count"] == 2


def test_an_interrupt_of_the_executor_is_recorded_and_goes_on(rig: Any) -> None:
    def interrupt(parameters: Any) -> None:
        raise KeyboardInterrupt

    rig.resolver.register_executor("item.read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        rig.run("item.read", READ)
    assert rig.events()[-1].payload["error_code"] == "cancelled"
    assert rig.resolver.end_session(rig.session_id)["action_count"] == 1


# PROTOCOL 3.7.5, 3.7.6
@pytest.mark.parametrize("free", range(3 + OUTCOME_WEIGHT))
def test_without_room_for_all_its_events_nothing_runs_and_nothing_is_taken(
    new_rig: Callable[..., Any], free: int
) -> None:
    rig = new_rig(tracing="deferred", capacity=19)
    rig.resolver.register_executor("item.count", lambda parameters: pytest.fail("it ran"))
    resolution_id = rig.resolve().resolution_id
    for _ in range(7 - free):
        rig.resolver.emit(rig.session_id, "app.fill", {})
    before = rig.resolver.buffer_stats()
    assert before.capacity - before.pending_weight == free
    with pytest.raises(BufferFull):
        rig.run("item.count", resolution_id=resolution_id, idempotency_key="k")
    after = rig.resolver.buffer_stats()
    assert (after.pending, after.reserved_weight) == (before.pending, 0)
    rig.resolver.ack(rig.resolver.drain_traces(99).batch_id)
    rig.resolver.register_executor("item.count", lambda parameters: "ran")
    answer = rig.run("item.count", resolution_id=resolution_id, idempotency_key="k")
    assert answer.result == "ran"
    batch = rig.resolver.drain_traces(99)
    assert (batch.groups[0].first_sequence, batch.count) == (19 - free, 4)
    assert rig.resolver.buffer_stats().reserved_weight == 0


# PROTOCOL 3.7.6
def test_the_end_of_a_call_has_room_however_full_the_buffer_got_meanwhile(
    new_rig: Callable[..., Any],
) -> None:
    rig = new_rig(tracing="deferred", capacity=64)

    def fill(parameters: Any) -> str:
        assert rig.resolver.buffer_stats().reserved_weight == OUTCOME_WEIGHT
        with pytest.raises(BufferFull):
            while True:
                rig.resolver.emit(rig.session_id, "app.fill", {})
        return "done"

    rig.resolver.register_executor("item.list", fill)
    assert rig.run("item.list").result == "done"
    stats = rig.resolver.buffer_stats()
    assert (stats.pending, stats.reserved_weight) == (64 - OUTCOME_WEIGHT + 1, 0)
    rig.resolver.end_session(rig.session_id)
    assert rig.resolver.buffer_stats().pending == 64 - OUTCOME_WEIGHT + 2


@pytest.mark.parametrize("message", ["\0" * 600, "😀" + "\0" * 600, "😀" * 600])
def test_the_worst_error_message_is_recorded_in_a_full_buffer(
    new_rig: Callable[..., Any], message: str
) -> None:
    rig = new_rig(tracing="deferred", capacity=64)

    def fill_and_fail(parameters: Any) -> str:
        with pytest.raises(BufferFull):
            while True:
                rig.resolver.emit(rig.session_id, "app.fill", {})
        raise ValueError(message)

    rig.resolver.register_executor("item.list", fill_and_fail)
    assert rig.run("item.list").status == "error"
    stats = rig.resolver.buffer_stats()
    assert stats.reserved_weight == 0
    assert stats.pending_weight <= stats.capacity + 13
    assert b'"error_code":"executor_error"' in rig.resolver.drain_traces(99).data


def test_a_call_that_cannot_be_recorded_does_not_run(shop: dict[str, Any]) -> None:
    class Broken(MemoryStorage):
        broken = False

        def store_events(self, events: Any) -> None:
            if self.broken:
                raise OSError("disk full")
            super().store_events(events)

    storage = Broken()
    resolver = Resolver(storage=storage)
    resolver.load_atlas(shop)
    resolver.register_executor("item.count", lambda parameters: pytest.fail("it ran"))
    session_id = resolver.create_session("agent", "goal")
    resolution_id = resolver.resolve(session_id, "g").resolution_id
    storage.broken = True
    with pytest.raises(BackendFailure):
        resolver.execute(session_id, resolution_id, "item.count", {})
    storage.broken = False
    resolver.register_executor("item.count", lambda parameters: "ran")
    assert resolver.execute(session_id, resolution_id, "item.count", {}).result == "ran"
    assert resolver.verify_chain(session_id).valid
