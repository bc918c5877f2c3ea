"""What a MINOOTS timer server is to be asked next, and what its answers mean. No input or output here.

The server keeps timers durably, but it has no repeating ones and calls nobody back that is not reachable. So
this keeps a table of what should be there, says which request to make next, and takes the answers in: repeats
are armed anew, one GET for all of a tenant's timers finds what has fired, and each arming has a name of its
own (a label on the server), so that a firing counts once, however often it is reported and retried.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from ..errors import Json
from .timer_table import NS_PER_MS, check_timer, wait_ms

LABEL_OWNER: Final = "cra_owner"
LABEL_TIMER: Final = "cra_timer"
LABEL_EVENT: Final = "cra_event"
LABEL_INTERVAL: Final = "cra_interval_ms"
LABEL_ARMING: Final = "cra_arming"

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_FIRST_BACK_OFF_MS: Final = 100
_MOST_ARMINGS_KNOWN: Final = 4_096
_WAITING: Final = ("scheduled", "armed")
_TIME_CAME: Final = ("fired", "failed")
"""A timer whose actions failed has fired all the same: its time came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. `about` tells `take` what it was for."""

    method: str
    path: str
    body: dict[str, Json] | None
    about: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The server's answer; status 0 where none came: no connection, a time-out, a body that is too long."""

    status: int
    body: bytes = b""


NO_ANSWER: Final = Answer(status=0)


@dataclass(slots=True, eq=False, kw_only=True)
class _Armed:
    timer_id: str
    event: str
    interval_ms: int
    arming: str
    due_ns: int
    server_ids: set[str] = field(default_factory=set)


class MinootsPlan:
    """The timers of one owner on one server, in nanoseconds of the caller's clocks.

    Args:
        owner: names this runtime among the tenant's timers; one that starts again under the same name finds
            its timers.
        poll_ms: at most so long between two looks while something is overdue.
        replay_ms: what fired so long before the start, while nobody listened, is still told, at least once.
        new_arming: makes a name that was never used before.
    """

    def __init__(
        self,
        tenant_id: str,
        requested_by: str,
        owner: str,
        *,
        poll_ms: int,
        replay_ms: int,
        new_arming: Callable[[], str],
    ) -> None:
        self._tenant_id = tenant_id
        self._requested_by = requested_by
        self._owner = owner
        self._poll_ms = poll_ms
        self._replay_ms = replay_ms
        self._new_arming = new_arming
        self._timers: dict[str, _Armed] = {}
        self._by_arming: dict[str, _Armed] = {}
        self._to_create: deque[str] = deque()
        self._to_cancel: deque[str] = deque()
        self._known_over: deque[str] = deque(maxlen=_MOST_ARMINGS_KNOWN)
        self._started = self._listed = False
        self._retry_ms = 0
        self._wait_until_ns = 0
        self._look_after_ns = 0
        self._look_ms = _FIRST_BACK_OFF_MS
        self.failures = 0
        self.last_failure: str | None = None

    # What the backend is asked

    def schedule(self, timer_id: str, delay_ms: int, event: str, now_ns: int, *, repeating: bool) -> None:
        """Take a timer in; raises as `check_timer`."""
        check_timer(timer_id, delay_ms, event, least_ms=1 if repeating else 0)
        self.cancel(timer_id)
        self._arm(timer_id, event, delay_ms if repeating else 0, now_ns + delay_ms * NS_PER_MS)
        self._look_ms = _FIRST_BACK_OFF_MS

    def cancel(self, timer_id: str) -> bool:
        """Forget a timer, here at once and on the server with the next requests."""
        armed = self._timers.pop(timer_id, None)
        if armed is None:
            return False
        self._finish(armed)
        return True

    def exists(self, timer_id: str) -> bool:
        """Whether a timer is still to fire."""
        return timer_id in self._timers

    def remaining_ms(self, timer_id: str, now_ns: int) -> int | None:
        """Return the milliseconds until a timer should fire; None for none."""
        armed = self._timers.get(timer_id)
        return None if armed is None else wait_ms(armed.due_ns, now_ns)

    def has_requests(self) -> bool:
        """Whether something is still to be told to the server."""
        return bool(self._to_create or self._to_cancel)

    def forget(self) -> None:
        """Forget all timers here; those on the server stay."""
        self._timers.clear()
        self._by_arming.clear()
        self._to_create.clear()
        self._to_cancel.clear()

    # What to do next

    def next_request(self, now_ns: int) -> Request | None:
        """Return the request to make now; None when there is nothing to do yet: see `wait_ms`."""
        if now_ns < self._wait_until_ns:
            return None
        if not self._listed:
            return self._list()
        if self._to_cancel:
            server_id = self._to_cancel[0]
            body = {"tenantId": self._tenant_id, "requestedBy": self._requested_by, "reason": "cancelled"}
            path = f"/timers/{quote(server_id, safe='')}/cancel"
            return Request(method="POST", path=path, body=body, about=("cancel", server_id))
        while self._to_create:
            armed = self._by_arming.get(self._to_create[0])
            if armed is not None:
                return self._create(armed, now_ns)
            self._to_create.popleft()
        due_ns = self._next_look_ns()
        return self._list() if due_ns is not None and due_ns <= now_ns else None

    def wait_ms(self, now_ns: int) -> int | None:
        """Return how long `next_request` will have nothing; None until somebody schedules or cancels."""
        at_ns = self._next_look_ns()
        if self.has_requests() or not self._listed:
            at_ns = now_ns
        return None if at_ns is None else wait_ms(max(at_ns, self._wait_until_ns), now_ns)

    def take(self, request: Request, answer: Answer, now_ns: int, wall_ms: int) -> list[tuple[str, str]]:
        """Take an answer in and return (timer_id, event) of what has fired."""
        kind, name = request.about
        refused = 400 <= answer.status < 500
        if not 200 <= answer.status < 300 and not (refused and kind != "list"):
            self._fail(f"http_{answer.status}" if answer.status else "no_answer", now_ns)
            if kind == "create" and not answer.status:
                self._listed = False  # it may well have arrived: look before it is made again
            return []
        self._retry_ms = 0
        if kind == "list":
            return self._take_list(answer.body, now_ns, wall_ms)
        if kind == "cancel":
            if refused and answer.status != 404:
                self._note(f"http_{answer.status}")
            if self._to_cancel and self._to_cancel[0] == name:
                self._to_cancel.popleft()
        else:
            self._take_created(name, answer, refused, now_ns)
        return []

    # Requests

    def _list(self) -> Request:
        path = f"/timers?tenantId={quote(self._tenant_id, safe='')}"
        return Request(method="GET", path=path, body=None, about=("list", ""))

    def _create(self, armed: _Armed, now_ns: int) -> Request:
        labels = {
            LABEL_OWNER: self._owner,
            LABEL_TIMER: armed.timer_id,
            LABEL_EVENT: armed.event,
            LABEL_INTERVAL: str(armed.interval_ms),
            LABEL_ARMING: armed.arming,
        }
        body = {
            "tenantId": self._tenant_id,
            "requestedBy": self._requested_by,
            "name": armed.timer_id,
            "duration": max(1, wait_ms(armed.due_ns, now_ns)),
            "labels": labels,
        }
        return Request(method="POST", path="/timers", body=body, about=("create", armed.arming))

    # Answers

    def _take_created(self, arming: str, answer: Answer, refused: bool, now_ns: int) -> None:
        if self._to_create and self._to_create[0] == arming:
            self._to_create.popleft()
        armed = self._by_arming.get(arming)
        if refused:
            self._note(f"http_{answer.status}")
            if armed is not None:
                self._timers.pop(armed.timer_id, None)
                self._finish(armed)
            return
        made = _parse(answer.body)
        server_id = made.get("id") if isinstance(made, dict) else None
        if not isinstance(server_id, str) or not server_id:
            self._fail("bad_answer", now_ns)
            self._listed = False
        elif armed is None:
            self._to_cancel.append(server_id)  # it was cancelled while it was being made
        else:
            armed.server_ids.add(server_id)

    def _take_list(self, body: bytes, now_ns: int, wall_ms: int) -> list[tuple[str, str]]:
        listed = _parse(body)
        if not isinstance(listed, list):
            self._fail("bad_answer", now_ns)
            return []
        first = not self._started
        self._started = self._listed = True
        fired = []
        seen: set[str] = set()
        for timer in listed:
            if isinstance(timer, dict) and _is_own(timer, self._owner):
                seen.add(timer["labels"][LABEL_ARMING])
                fired += self._take_timer(timer, first, now_ns, wall_ms)
        # What was asked for and is not there, neither made nor lost on the way, is asked for again.
        for arming in self._by_arming:
            if arming not in seen and arming not in self._to_create:
                self._to_create.append(arming)
        self._to_create = deque(one for one in self._to_create if one not in seen)
        self._look_ms = _FIRST_BACK_OFF_MS if fired else min(self._poll_ms, 2 * self._look_ms)
        self._look_after_ns = now_ns + self._look_ms * NS_PER_MS
        return fired

    def _take_timer(
        self, timer: dict[str, Any], first: bool, now_ns: int, wall_ms: int
    ) -> list[tuple[str, str]]:
        """Take in one timer of this owner; returns what it fired, at most once for each arming."""
        arming, server_id, status = timer["labels"][LABEL_ARMING], timer["id"], timer.get("status")
        if arming in self._known_over:
            if status in _WAITING and server_id not in self._to_cancel:
                self._to_cancel.append(server_id)
            return []
        armed = self._by_arming.get(arming)
        if armed is None:
            armed = self._adopt(timer, first, now_ns, wall_ms)
            if armed is None:
                return []
        armed.server_ids.add(server_id)
        if status in _TIME_CAME:
            return self._fire(armed, now_ns)
        if status == "cancelled":  # by somebody else, on the server
            self._timers.pop(armed.timer_id, None)
            self._finish(armed, already=server_id)
        return []

    def _adopt(self, timer: dict[str, Any], first: bool, now_ns: int, wall_ms: int) -> _Armed | None:
        """Take over a timer that an earlier run of this owner left on the server; None leaves it alone."""
        labels = timer["labels"]
        timer_id, status = labels[LABEL_TIMER], timer.get("status")
        at_ms = _milliseconds_of(timer.get("fireAt"))
        if not first or at_ms is None or status not in (*_WAITING, *_TIME_CAME):
            return None
        if timer_id in self._timers:  # scheduled anew before this list came
            if status in _WAITING:
                self._to_cancel.append(timer["id"])
            return None
        if status in _TIME_CAME and at_ms < wall_ms - self._replay_ms:
            return None
        interval = labels.get(LABEL_INTERVAL, "0")
        armed = _Armed(
            timer_id=timer_id,
            event=labels[LABEL_EVENT],
            interval_ms=int(interval) if interval.isdecimal() and len(interval) < 12 else 0,
            arming=labels[LABEL_ARMING],
            due_ns=now_ns + (at_ms - wall_ms) * NS_PER_MS,
        )
        self._timers[timer_id] = self._by_arming[armed.arming] = armed
        return armed

    def _fire(self, armed: _Armed, now_ns: int) -> list[tuple[str, str]]:
        del self._timers[armed.timer_id]
        self._finish(armed, fired=True)
        if armed.interval_ms:
            interval_ns = armed.interval_ms * NS_PER_MS
            missed = max(0, now_ns - armed.due_ns) // interval_ns
            due_ns = armed.due_ns + (missed + 1) * interval_ns
            self._arm(armed.timer_id, armed.event, armed.interval_ms, due_ns)
        return [(armed.timer_id, armed.event)]

    # The table

    def _arm(self, timer_id: str, event: str, interval_ms: int, due_ns: int) -> None:
        armed = _Armed(
            timer_id=timer_id,
            event=event,
            interval_ms=interval_ms,
            arming=self._new_arming(),
            due_ns=due_ns,
        )
        self._timers[timer_id] = self._by_arming[armed.arming] = armed
        self._to_create.append(armed.arming)

    def _finish(self, armed: _Armed, *, fired: bool = False, already: str = "") -> None:
        del self._by_arming[armed.arming]
        self._known_over.append(armed.arming)
        if not fired:
            self._to_cancel.extend(sorted(armed.server_ids - {already}))

    def _next_look_ns(self) -> int | None:
        if not self._timers:
            return None
        return max(min(armed.due_ns for armed in self._timers.values()), self._look_after_ns)

    def _note(self, what: str) -> None:
        self.failures += 1
        self.last_failure = what

    def _fail(self, what: str, now_ns: int) -> None:
        """Count a failure and wait longer and longer before the next request."""
        self._note(what)
        self._retry_ms = min(self._poll_ms, max(_FIRST_BACK_OFF_MS, 2 * self._retry_ms))
        self._wait_until_ns = now_ns + self._retry_ms * NS_PER_MS


def _is_own(timer: dict[str, Any], owner: str) -> bool:
    """Whether a listed timer is this owner's and has what is needed of it. Others' are left alone."""
    labels = timer.get("labels")
    if not isinstance(labels, dict) or labels.get(LABEL_OWNER) != owner:
        return False
    needed = (labels.get(LABEL_TIMER), labels.get(LABEL_EVENT), labels.get(LABEL_ARMING), timer.get("id"))
    return all(isinstance(one, str) for one in needed) and isinstance(labels.get(LABEL_INTERVAL, "0"), str)


def _parse(body: bytes) -> Json:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _milliseconds_of(timestamp: Any) -> int | None:
    """Return an RFC 3339 time as milliseconds since 1970; None for what is none."""
    try:
        parsed = datetime.fromisoformat(timestamp)
    except (TypeError, ValueError):
        return None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return int(parsed.timestamp() * 1_000)
