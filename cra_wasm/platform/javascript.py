"""Values and promises across the border to JavaScript. Importable in Pyodide only.

Only strings, numbers and JavaScript's own objects cross, so that no Python proxy is left for JavaScript to
destroy; a test counts them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import js
from pyodide.ffi import JsException, create_once_callable, to_js

from ..errors import BackendFailure, InvalidInput

_running: set[asyncio.Task[None]] = set()
"""Tasks that settle promises; the event loop itself keeps only weak references."""


def promise(work: Coroutine[Any, Any, str]) -> Any:
    """Return a JS Promise of the text that a coroutine returns."""

    def begin(resolve: Any, reject: Any) -> None:
        task = asyncio.ensure_future(_settle(work, resolve, reject))
        _running.add(task)
        task.add_done_callback(_running.discard)

    return js.Promise.new(create_once_callable(begin))


async def _settle(work: Coroutine[Any, Any, str], resolve: Any, reject: Any) -> None:
    try:
        resolve(await work)
    except BaseException as error:
        reject(js.Error.new(f"{type(error).__name__}: {error}"))
        raise


def object_with_bytes(header_json: str, data: bytes) -> Any:
    """Return a plain JS object: the header's members, and `bytes`, a Uint8Array with a buffer of its own."""
    value = js.JSON.parse(header_json)
    value.bytes = to_js(memoryview(data))
    return value


def object_of(text: str) -> Any:
    """Return the JS value of a JSON text."""
    return js.JSON.parse(text)


def bytes_of(buffer: Any, max_bytes: int) -> bytes:
    """Return a copy of the bytes of a JS Uint8Array or ArrayBuffer.

    Raises:
        InvalidInput: `invalid_arguments` when it is none, or has more than `max_bytes`.
    """
    size = getattr(buffer, "byteLength", None)
    if not isinstance(size, int) or not hasattr(buffer, "to_bytes"):
        raise InvalidInput("invalid_arguments", "give text, a Uint8Array or an ArrayBuffer", pointer="")
    if size > max_bytes:
        raise InvalidInput("invalid_arguments", f"is larger than {max_bytes} bytes", pointer="")
    data: bytes = buffer.to_bytes()
    return data


def array_of(values: list[Any]) -> Any:
    """Return a JS array of JS values."""
    array = js.Array.new()
    for value in values:
        array.push(value)
    return array


async def call_function(function: Any, *texts: str) -> str:
    """Call a JS function with strings and wait for its answer if it is a promise.

    Raises:
        BackendFailure: `executor_error` with JavaScript's message; `invalid_result` unless it gave a string.
    """
    try:
        result = function(*texts)
        if hasattr(result, "then"):
            result = await result
    except JsException as error:
        raise BackendFailure("executor_error", str(error)) from None
    if not isinstance(result, str):
        raise BackendFailure("invalid_result", "the function must give JSON text")
    return result
