"""A MINOOTS control plane as far as its API goes, with the faults of a real one. Time is the caller's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Fault = Callable[[str, str], "int | str | None"]
"""(method, path) to a status to answer instead; "lose" does the work and answers nothing; None: no fault."""


def timestamp_of(wall_ms: int) -> str:
    return datetime.fromtimestamp(wall_ms / 1_000, UTC).isoformat().replace("+00:00", "Z")


class FakeMinoots:
    """`handle` answers one request. Timers fire as `now_ms` passes their time, and stay in the list."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.timers: dict[str, dict[str, Any]] = {}
        self.fire_at_ms: dict[str, int] = {}
        self.fault: Fault = lambda method, path: None
        self.requests: list[tuple[str, str]] = []
        self.report_twice = False
        self._lock = threading.Lock()

    def handle(self, method: str, target: str, tenant: str | None, body: bytes) -> tuple[int, bytes]:
        """Return (status, body); status 0 where the answer is lost."""
        with self._lock:
            path = urlsplit(target).path
            self.requests.append((method, path))
            fault = self.fault(method, path)
            if isinstance(fault, int):
                return fault, b"{}"
            status, answer = self._answer(method, target, tenant, body)
            return (0, b"") if fault == "lose" else (status, json.dumps(answer).encode())

    def _answer(self, method: str, target: str, tenant: str | None, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        pieces = parts.path.strip("/").split("/")
        given = json.loads(body) if body else {}
        self._fire()
        if method == "POST" and pieces == ["timers"]:
            return self._create(given)
        if method == "GET" and pieces == ["timers"]:
            (wanted,) = parse_qs(parts.query)["tenantId"]
            listed = [one for one in self.timers.values() if one["tenantId"] == wanted]
            return 200, listed * 2 if self.report_twice else listed
        if method == "POST" and len(pieces) == 3 and pieces[2] == "cancel":
            return self._cancel(pieces[1], tenant, given)
        return 404, {"error": "not found"}

    def _create(self, given: dict[str, Any]) -> tuple[int, Any]:
        duration = given.get("duration")
        labels = given.get("labels", {})
        bad = not isinstance(duration, int) or isinstance(duration, bool) or duration < 1
        if bad or not given.get("tenantId") or not given.get("requestedBy"):
            return 400, {"error": "bad request"}
        if not all(isinstance(key, str) and isinstance(value, str) for key, value in labels.items()):
            return 400, {"error": "labels are strings"}
        timer_id = f"timer/{len(self.timers)}"
        self.fire_at_ms[timer_id] = self.now_ms() + duration
        self.timers[timer_id] = {
            "id": timer_id,
            "tenantId": given["tenantId"],
            "name": given.get("name", ""),
            "status": "scheduled",
            "durationMs": duration,
            "createdAt": timestamp_of(self.now_ms()),
            "fireAt": timestamp_of(self.now_ms() + duration),
            "requestedBy": given["requestedBy"],
            "labels": labels,
            "firedAt": None,
            "cancelledAt": None,
        }
        return 201, self.timers[timer_id]

    def _cancel(self, quoted_id: str, tenant: str | None, given: dict[str, Any]) -> tuple[int, Any]:
        timer = self.timers.get(quoted_id.replace("%2F", "/"))
        if timer is None:
            return 404, {"error": "no such timer"}
        if not tenant == given.get("tenantId") == timer["tenantId"]:
            return 400, {"error": "another tenant's"}
        if timer["status"] in ("scheduled", "armed"):
            timer["status"] = "cancelled"
        return 200, timer

    def _fire(self) -> None:
        for timer_id, timer in self.timers.items():
            if timer["status"] in ("scheduled", "armed") and self.fire_at_ms[timer_id] <= self.now_ms():
                timer["status"] = "fired"
                timer["firedAt"] = timestamp_of(self.now_ms())

    def waiting(self) -> list[str]:
        """Return the names of timers that are still to fire."""
        self._fire()
        return [one["name"] for one in self.timers.values() if one["status"] in ("scheduled", "armed")]


def serve(fake: FakeMinoots) -> ThreadingHTTPServer:
    """Serve a fake on a free port of this machine, on threads. Pages of any origin may ask."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, text = fake.handle(self.command, self.path, self.headers.get("x-tenant-id"), body)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.allow()
            self.send_header("content-length", str(len(text)))
            if 300 <= status < 400:
                self.send_header("location", "/timers?tenantId=other")
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_OPTIONS(self) -> None:
            self.send_response(204)
            self.allow()
            self.end_headers()

        def allow(self) -> None:
            self.send_header("access-control-allow-origin", "*")
            self.send_header("access-control-allow-headers", "content-type, x-tenant-id")

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
