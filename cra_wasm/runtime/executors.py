"""The functions that run allowed actions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from ..errors import CRAError, InvalidInput, InvalidState, Json
from ..platform.event_loop import TimeIsUp, with_timeout

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Executor:
    """A registered function: takes the parameters, and with `with_call` the names of the call too."""

    function: Callable[..., Any]
    is_async: bool
    with_call: bool

    def call(self, parameters: dict[str, Json], names: dict[str, Json]) -> Any:
        """Call the function."""
        return self.function(parameters, names) if self.with_call else self.function(parameters)


class ExecutionFailed(Exception):
    """What the executor did wrong, as the trace may tell it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def new_executor(function: object, *, with_call: bool) -> Executor:
    """Return an executor for a function.

    Raises:
        InvalidInput: `invalid_executor` for what cannot be called.
    """
    if not callable(function):
        raise InvalidInput("invalid_executor", "give a function", pointer="/executor")
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - a callable object may have an async __call__
    )
    return Executor(function, is_async, with_call)


def refuse_async(executor: Executor) -> None:
    """Refuse an executor that must be awaited.

    Raises:
        InvalidState: `async_executor`.
    """
    if executor.is_async:
        raise InvalidState(
            "async_executor", "this executor is async: use execute_async", pointer="/execution/action_id"
        )


def run(executor: Executor, parameters: dict[str, Json], names: dict[str, Json]) -> Json:
    """Run a sync executor to its end. A sync function cannot be interrupted: timeout_seconds is not applied.

    Raises:
        ExecutionFailed: whatever it raised.
    """
    try:
        result = executor.call(parameters, names)
        is_awaitable = inspect.isawaitable(result)
    except Exception as error:
        raise _failure(error) from error
    if is_awaitable:
        if inspect.iscoroutine(result):
            result.close()
        raise ExecutionFailed("async_executor", "the executor returned an awaitable: use execute_async")
    return result


async def run_async(
    executor: Executor, parameters: dict[str, Json], names: dict[str, Json], timeout_seconds: int
) -> Json:
    """Run an executor of either kind; an awaitable is waited for, at most `timeout_seconds`.

    Raises:
        ExecutionFailed: whatever it raised, or `timeout`.
    """
    try:
        result = executor.call(parameters, names)
        if inspect.isawaitable(result):
            awaitable: Awaitable[Json] = result
            result = await with_timeout(awaitable, timeout_seconds)
    except TimeIsUp:
        raise ExecutionFailed("timeout", f"no result within {timeout_seconds} s") from None
    except Exception as error:
        raise _failure(error) from error
    return result


def _failure(error: Exception) -> ExecutionFailed:
    """Keep the exception's type and message, nothing of its internals."""
    if isinstance(error, CRAError) and isinstance(error.code, str) and _CODE.fullmatch(error.code):
        return ExecutionFailed(error.code, str(error.message))
    try:
        told = str(error)
    except Exception:
        told = "its message cannot be read"
    return ExecutionFailed("executor_error", f"{type(error).__name__}: {told}")
