"""Waiting for executors: timeouts, cancelled awaits, and what a sync call does not wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cra_wasm import InvalidState

READ = {"item_id": "a"}


async def call(rig: Any, **options: Any) -> Any:
    return await rig.resolver.execute_async(
        rig.session_id, rig.resolve().resolution_id, "item.read", READ, **options
    )


def run(coroutine: Any) -> Any:
    """Run a coroutine to its end on a loop of its own, where there is none yet."""
    return asyncio.run(coroutine)


pytestmark = pytest.mark.cpython_only(reason="asyncio.run cannot wait inside Pyodide's running event loop")


def test_an_async_executor_is_awaited(rig: Any) -> None:
    async def read(parameters: Any) -> Any:
        await asyncio.sleep(0)
        return parameters["item_id"]

    rig.resolver.register_executor("item.read", read)
    assert run(call(rig)).result == "a"
    assert rig.types()[-4:] == [
        "carp.request.received",
        "action.requested",
        "action.approved",
        "action.executed",
    ]


def test_a_sync_executor_and_one_that_returns_an_awaitable_serve_too(rig: Any) -> None:
    assert run(call(rig)).result == {"done": True}

    async def later() -> str:
        return "later"

    rig.resolver.register_executor("item.read", lambda parameters: later())
    assert run(call(rig)).result == "later"


def test_the_sync_call_refuses_an_async_executor_before_anything_is_recorded(rig: Any) -> None:
    class Callable:
        async def __call__(self, parameters: Any) -> None:
            pytest.fail("it ran")

    async def read(parameters: Any) -> None:
        pytest.fail("it ran")

    for executor in (read, Callable()):
        rig.resolver.register_executor("item.read", executor)
        resolution_id = rig.resolve().resolution_id
        before = rig.types()
        with pytest.raises(InvalidState) as caught:
            rig.run("item.read", READ, resolution_id=resolution_id)
        assert caught.value.code == "async_executor"
        assert rig.types() == [*before, "error.occurred"]


def test_a_coroutine_returned_to_the_sync_call_is_closed_and_a_failure(rig: Any) -> None:
    made: list[Any] = []

    async def later() -> None:
        pytest.fail("it ran")

    def read(parameters: Any) -> Any:
        made.append(later())
        return made[0]

    rig.resolver.register_executor("item.read", read)
    answer = rig.run("item.read", READ)
    assert (answer.status, answer.error["code"]) == ("error", "async_executor")
    with pytest.raises(RuntimeError, match=r"already awaited|reuse"):
        made[0].send(None)


def test_an_executor_over_its_time_is_cancelled_and_recorded_as_timeout(
    rig: Any, shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # PROTOCOL 2.7.19
    cancelled: list[bool] = []

    async def hang(parameters: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    asked: list[float] = []
    at_once = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda seconds: asked.append(seconds) or at_once(0))
    rig.resolver.register_executor("item.read", hang)
    answer = run(call(rig))
    assert asked == [1]
    assert cancelled == [True]
    assert (answer.status, answer.error["code"]) == ("error", "timeout")
    assert rig.events()[-1].event_type == "action.failed"
    assert rig.events()[-1].payload["error_code"] == "timeout"
    rig.resolver.end_session(rig.session_id)


def test_a_timeout_error_of_the_executors_own_is_no_timeout_of_the_action(rig: Any) -> None:
    async def read(parameters: Any) -> None:
        raise TimeoutError("the database")

    rig.resolver.register_executor("item.read", read)
    answer = run(call(rig))
    assert answer.error["code"] == "executor_error"
    assert answer.error["message"] == "TimeoutError: the database"


def test_a_cancelled_await_is_recorded_as_such_and_goes_on(rig: Any) -> None:
    async def scenario() -> None:
        started = asyncio.Event()

        async def hang(parameters: Any) -> None:
            started.set()
            await asyncio.Event().wait()

        rig.resolver.register_executor("item.read", hang)
        task = asyncio.ensure_future(call(rig, idempotency_key="k"))
        await started.wait()
        with pytest.raises(InvalidState) as caught:
            await call(rig, idempotency_key="k")
        assert caught.value.code == "execution_in_progress"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        again = await call(rig, idempotency_key="k")
        assert (again.status, again.error["code"]) == ("error", "cancelled")

    run(scenario())
    failed = [event for event in rig.events() if event.event_type == "action.failed"]
    assert [event.payload["error_code"] for event in failed] == ["cancelled"]
    rig.resolver.end_session(rig.session_id)
    assert rig.resolver.verify_chain(rig.session_id).warnings == ()


def test_calls_that_wait_at_the_same_time_do_not_mix(rig: Any) -> None:
    async def scenario() -> list[Any]:
        async def read(parameters: Any) -> Any:
            await asyncio.sleep(0)
            return parameters["item_id"]

        rig.resolver.register_executor("item.read", read)
        resolution_id = rig.resolve().resolution_id
        calls = [
            rig.resolver.execute_async(rig.session_id, resolution_id, "item.read", {"item_id": str(number)})
            for number in range(20)
        ]
        return await asyncio.gather(*calls)

    answers = run(scenario())
    assert [answer.result for answer in answers] == [str(number) for number in range(20)]
    spans = {event.span_id: event for event in rig.events()}
    executed = [event for event in rig.events() if event.event_type == "action.executed"]
    for event, answer in zip(
        sorted(executed, key=lambda one: one.payload["execution_id"]), answers, strict=True
    ):
        request = spans[event.parent_span_id]
        assert request.payload["request_id"] == answer.request_id
        assert event.payload["execution_id"] == answer.execution_id
    assert rig.resolver.verify_chain(rig.session_id).valid


def test_an_executor_that_outlives_the_resolver_is_still_recorded(new_rig: Any) -> None:
    from cra_wasm import MemoryStorage

    storage = MemoryStorage()
    rig = new_rig(tracing="deferred", storage=storage)

    async def read(parameters: Any) -> str:
        rig.resolver.close()
        return "late"

    rig.resolver.register_executor("item.read", read)
    assert run(call(rig)).result == "late"
    assert storage.get_events(rig.session_id)[-1].event_type == "action.executed"
