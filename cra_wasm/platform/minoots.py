"""Timers of a MINOOTS server, over its HTTP API: they outlive this process. Off unless a host makes one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener
from urllib.request import Request as UrlRequest
from uuid import uuid4

from ..errors import BackendFailure, InvalidInput, InvalidState
from .detect import IN_PYODIDE
from .minoots_plan import MAX_ANSWER_BYTES, NO_ANSWER, Answer, MinootsPlan, Request
from .timer_listener import TimerListener

DEFAULT_POLL_MS: Final = 1_000
DEFAULT_REPLAY_MS: Final = 3_600_000
DEFAULT_REQUEST_MS: Final = 10_000
_CLOSING_SECONDS: Final = 2.0
_NS_PER_MS: Final = 1_000_000


class MinootsTimerBackend:
    """`ports.TimerBackend` on a MINOOTS server.

    The server says when a timer has fired; it is asked for all timers of the tenant at once, from the
    earliest deadline on, less and less often while nothing comes, every `poll_ms` at least. So firings are
    late by up to `poll_ms`, and by as long as the server cannot be reached. A firing is told once, however
    often the server reports it. A runtime that starts again under the same `owner` finds its timers by their
    labels; what fired while nobody listened is told then, at least once.

    The listener is called on a thread of this object; in Pyodide, where it asks by fetch, on the event loop.

    Args:
        base_url: http or https, without credentials.
        tenant_id, requested_by: what the server knows this runtime as.
        owner: 1-100 characters; two runtimes of one tenant must not share one.
        poll_ms: 1 to 60,000.
        replay_ms: how old a firing may be to be told at the start.
        request_ms: how long a request may take, 1 to 60,000.
        new_arming: for tests.

    Raises:
        InvalidInput: `invalid_minoots` with the pointer of the culprit.
    """

    name = "minoots"

    def __init__(
        self,
        base_url: str,
        *,
        tenant_id: str,
        requested_by: str,
        owner: str = "cra-wasm",
        poll_ms: int = DEFAULT_POLL_MS,
        replay_ms: int = DEFAULT_REPLAY_MS,
        request_ms: int = DEFAULT_REQUEST_MS,
        new_arming: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._base_url = _checked_url(base_url)
        for name, text in (("tenant_id", tenant_id), ("requested_by", requested_by), ("owner", owner)):
            if not isinstance(text, str) or not 1 <= len(text) <= 100 or not text.isprintable():
                raise InvalidInput("invalid_minoots", "give 1 to 100 characters", pointer=f"/{name}")
        for name, number, least, most in (
            ("poll_ms", poll_ms, 1, 60_000),
            ("request_ms", request_ms, 1, 60_000),
            ("replay_ms", replay_ms, 0, 31_622_400_000),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
                raise InvalidInput(
                    "invalid_minoots", f"give {least} to {most} milliseconds", pointer=f"/{name}"
                )
        self._headers = {"content-type": "application/json", "x-tenant-id": tenant_id}
        self._plan = MinootsPlan(
            tenant_id, requested_by, owner, poll_ms=poll_ms, replay_ms=replay_ms, new_arming=new_arming
        )
        self.request_ms = request_ms
        self._listener = TimerListener()
        self._lock = threading.Lock()
        self._closed = False
        self._driver: _Driver | None = None

    @property
    def failures(self) -> int:
        """How often the server or the listener failed."""
        return self._plan.failures + self._listener.failures

    @property
    def last_failure(self) -> str | None:
        """The last of these: `no_answer`, `http_500`, `bad_answer`, or what the listener raised."""
        return self._plan.last_failure or self._listener.last_failure

    def listen(self, on_event: Callable[[str, str], None]) -> None:
        """Call `on_event(timer_id, event)` for each firing, and look for timers of an earlier run."""
        self._listener.listen(on_event)
        self._wake()

    def schedule_once(self, timer_id: str, delay_ms: int, event: str) -> None:
        """Fire once; see `ports.TimerBackend`. Returns before the server knows."""
        self._schedule(timer_id, delay_ms, event, repeating=False)

    def schedule_repeating(self, timer_id: str, interval_ms: int, event: str) -> None:
        """Fire again and again: each firing is armed on the server by itself."""
        self._schedule(timer_id, interval_ms, event, repeating=True)

    def cancel(self, timer_id: str) -> bool:
        """Remove a timer; it fires no more here, and the server is told."""
        with self._lock:
            cancelled = self._plan.cancel(timer_id)
        if cancelled:
            self._wake()
        return cancelled

    def exists(self, timer_id: str) -> bool:
        """Whether it is still to fire."""
        with self._lock:
            return self._plan.exists(timer_id)

    def time_remaining_ms(self, timer_id: str) -> int | None:
        """Milliseconds until it is due, rounded up; None when there is no such timer."""
        with self._lock:
            return self._plan.remaining_ms(timer_id, time.monotonic_ns())

    def close(self) -> None:
        """Tell the server what it was not told yet, for 2 s at most, and stop. Again: nothing.

        Timers stay on the server: a runtime of the same owner finds them.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._driver is not None:
            self._driver.close()
        with self._lock:
            self._plan.forget()

    # What a driver asks

    def next_request(self) -> Request | None:
        """Return the request to make now, if there is one."""
        with self._lock:
            return self._plan.next_request(time.monotonic_ns())

    def wait_ms(self) -> int | None:
        """Return how long there will be none; None until it is woken."""
        with self._lock:
            return self._plan.wait_ms(time.monotonic_ns())

    def has_requests(self) -> bool:
        """Whether the server is still to be told of something."""
        with self._lock:
            return self._plan.has_requests()

    def take(self, request: Request, answer: Answer) -> None:
        """Take an answer in and tell the listener what has fired."""
        with self._lock:
            fired = self._plan.take(request, answer, time.monotonic_ns(), time.time_ns() // _NS_PER_MS)
        for timer_id, event in fired:
            if not self._closed:
                self._listener.tell(timer_id, event)

    def _schedule(self, timer_id: str, delay_ms: int, event: str, *, repeating: bool) -> None:
        with self._lock:
            if self._closed:
                raise InvalidState("timers_closed", "this timer backend was closed: make another")
            self._plan.schedule(timer_id, delay_ms, event, time.monotonic_ns(), repeating=repeating)
        self._wake()

    def _wake(self) -> None:
        if self._closed:
            return
        if self._driver is None:
            self._driver = _new_driver(self, self._base_url, self._headers)
        self._driver.wake()


class _Driver(Protocol):
    """Makes the backend's requests, one at a time."""

    def wake(self) -> None: ...
    def close(self) -> None: ...


class ThreadDriver:
    """Makes requests with urllib on a daemon thread."""

    def __init__(self, backend: MinootsTimerBackend, base_url: str, headers: dict[str, str]) -> None:
        self._backend = backend
        self._base_url = base_url
        self._headers = headers
        self._woken = threading.Event()
        self._stopping = False
        self._opener = build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._run, name="cra-minoots", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise BackendFailure("no_threads", "this interpreter starts no threads") from error

    def wake(self) -> None:
        """Ask for a look now."""
        self._woken.set()

    def close(self) -> None:
        """Make what requests are left, for a moment, then end."""
        self._stopping = True
        self._woken.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_CLOSING_SECONDS)

    def _run(self) -> None:
        until: float | None = None
        while True:
            if self._stopping:
                until = until or time.monotonic() + _CLOSING_SECONDS
                if not self._backend.has_requests() or time.monotonic() > until:
                    return
            request = self._backend.next_request()
            if request is not None:
                self._backend.take(request, self._send(request))
                continue
            wait_ms = self._backend.wait_ms()
            self._woken.wait(None if wait_ms is None else min(wait_ms, 3_600_000) / 1_000)
            self._woken.clear()

    def _send(self, request: Request) -> Answer:
        body = None if request.body is None else json.dumps(request.body).encode()
        made = UrlRequest(
            self._base_url + request.path, data=body, headers=self._headers, method=request.method
        )
        try:
            with self._opener.open(made, timeout=self._backend.request_ms / 1_000) as response:
                text = response.read(MAX_ANSWER_BYTES + 1)
                return (
                    NO_ANSWER if len(text) > MAX_ANSWER_BYTES else Answer(status=response.status, body=text)
                )
        except HTTPError as error:
            with error:
                return Answer(status=error.code)
        except (URLError, OSError, ValueError):
            return NO_ANSWER
        except Exception:  # http.client raises what is none of these for an answer that is no HTTP
            return NO_ANSWER


class _NoRedirect(HTTPRedirectHandler):
    """A redirect is an answer that is none: what the tenant asks goes to the server that was named."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _new_driver(backend: MinootsTimerBackend, base_url: str, headers: dict[str, str]) -> _Driver:
    if IN_PYODIDE:
        from .js_minoots import FetchDriver

        return FetchDriver(backend, base_url, headers)
    return ThreadDriver(backend, base_url, headers)


def _checked_url(base_url: object) -> str:
    pointer = "/base_url"
    if not isinstance(base_url, str):
        raise InvalidInput("invalid_minoots", "give an address", pointer=pointer)
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and parts.hostname and not parts.query + parts.fragment
        usable = usable and parts.username is None and parts.password is None and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not base_url.isascii() or any(char.isspace() for char in base_url):
        raise InvalidInput(
            "invalid_minoots", "give an http or https address without credentials", pointer=pointer
        )
    return base_url.rstrip("/")
