"""MINOOTS requests by fetch, on JavaScript's event loop. Importable in Pyodide only."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from js import AbortSignal, Object, fetch
from pyodide.ffi import JsException, to_js

from .js_timers import JsAlarm
from .minoots_plan import MAX_ANSWER_BYTES, NO_ANSWER, Answer, Request

if TYPE_CHECKING:
    from .minoots import MinootsTimerBackend


class FetchDriver:
    """Makes requests with fetch in a task of its own. Its waits are JavaScript timers that are cleared."""

    def __init__(self, backend: MinootsTimerBackend, base_url: str, headers: dict[str, str]) -> None:
        self._backend = backend
        self._base_url = base_url
        self._headers = headers
        self._woken = asyncio.Event()
        self._stopping = False
        self._alarm = JsAlarm(self._woken.set)
        self._task = asyncio.ensure_future(self._run())

    def wake(self) -> None:
        """Ask for a look now."""
        self._woken.set()

    def close(self) -> None:
        """Make what requests are left, then end; nothing is waited for here."""
        self._stopping = True
        self._woken.set()

    async def _run(self) -> None:
        try:
            while not self._stopping or self._backend.has_requests():
                request = self._backend.next_request()
                if request is not None:
                    self._backend.take(request, await self._send(request))
                    continue
                if self._stopping:
                    return
                wait_ms = self._backend.wait_ms()
                self._woken.clear()
                if wait_ms is not None:
                    self._alarm.set(min(wait_ms, 3_600_000))
                await self._woken.wait()
                self._alarm.clear()
        finally:
            self._alarm.close()

    async def _send(self, request: Request) -> Answer:
        options: dict[str, Any] = {
            "method": request.method,
            "headers": self._headers,
            "redirect": "error",
            "credentials": "omit",
        }
        if request.body is not None:
            options["body"] = json.dumps(request.body)
        given = to_js(options, dict_converter=Object.fromEntries)
        given.signal = AbortSignal.timeout(self._backend.request_ms)
        try:
            response = await fetch(self._base_url + request.path, given)
            text = await response.text()
        except JsException:
            return NO_ANSWER
        body = text.encode()
        return NO_ANSWER if len(body) > MAX_ANSWER_BYTES else Answer(status=response.status, body=body)
