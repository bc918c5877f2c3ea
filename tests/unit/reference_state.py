"""What the reference resolver remembers. No code of the product."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .reference_limits import Taken, account_of
from .reference_redaction import Removals, redacted, removals_of_session, without_names
from .reference_resolution import Answer
from .reference_trace import Refused, Texts, Trace, canonical

UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Remembered:
    """A resolution; `lineages` tells whether one of its atlases was unloaded since."""

    answer: Answer
    trace_id: int
    ends_ns: int
    lineages: dict[str, object]
    removals: Removals


@dataclass
class Session:
    session_id: str
    agent_id: str
    goal: str
    trace_id: int
    started_ns: int
    root_span: int = 0
    steps_told: int = 0
    action_count: int = 0
    goal_is_redacted: bool = False
    parent: str | None = None
    children: list[str] = field(default_factory=list)
    reusable: dict[str, tuple[object, dict[str, Any], Remembered]] = field(default_factory=dict)
    """By what was asked: which atlases were loaded then, the resolution as JSON and as it is remembered."""
    resolutions: dict[str, Remembered] = field(default_factory=dict)
    request_ids: set[str] = field(default_factory=set)
    keyed: dict[str, tuple[str, str, dict[str, Any]]] = field(default_factory=dict)


@dataclass
class Approval:
    approval_id: str
    session_id: str
    agent_id: str
    atlas_id: str
    action_id: str
    parameters: dict[str, Any]
    parameters_hash: str
    policy_id: str
    default_expiry_seconds: int
    default_uses: int
    state: str = "pending"
    approver: str | None = None
    reason: str | None = None
    uses_left: int = 0
    expires_at: str | None = None
    expires_ns: int = 0

    def is_usable(self, elapsed_ns: int) -> bool:
        return self.state == "granted" and elapsed_ns < self.expires_ns

    def to_dict(self, elapsed_ns: int = 0) -> dict[str, Any]:
        shown = (
            "approval_id session_id agent_id action_id parameters_hash policy_id state approver reason "
            "uses_left expires_at"
        )
        told = {name: getattr(self, name) for name in shown.split()}
        if self.state == "granted" and elapsed_ns >= self.expires_ns:
            told["state"] = "expired"
        return {**told, "parameters_json": canonical(self.parameters)}


class State:
    """Clock, ids of the call, atlases, sessions, limits, approvals, executors and the trace."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.seen = self.agreed = clock.wall_ns(), clock.monotonic_ns()
        self.steps: list[tuple[int, int]] = []
        self.steps_told = 0
        self.elapsed_ns = 0
        self.blocks: list[int] = []
        self.told: str | None = None
        self.trace = Trace()
        self.atlases: dict[str, dict[str, Any]] = {}
        self.lineages: dict[str, object] = {}
        self.loaded: object = object()
        """Another one whenever an atlas was loaded or unloaded."""
        self.sessions: dict[str, Session] = {}
        self.ended: set[str] = set()
        self.own: Session | None = None
        self.start_own: Callable[[], Session] | None = None
        self.taken = Taken()
        self.approvals: list[Approval] = []
        self.executors: dict[str, Callable[..., Any]] = {}

    def look(self) -> tuple[int, int]:
        """Return (wall, elapsed): what passed since the last look on either clock, the larger (3.6)."""
        now = self.clock.wall_ns(), self.clock.monotonic_ns()
        self.elapsed_ns += max(now[0] - self.seen[0], now[1] - self.seen[1])
        self.seen = now
        wall, monotonic = now[0] - self.agreed[0], now[1] - self.agreed[1]
        if abs(wall - monotonic) >= 10**9:
            self.steps.append((wall, monotonic))
            self.agreed = now
        return now[0], self.elapsed_ns

    def tell_own(self) -> None:
        """Tell the runtime's own session of the steps that it does not know (3.14)."""
        if self.steps_told < len(self.steps):
            if self.own is None:
                assert self.start_own is not None
                self.own = self.start_own()
            self.record_steps(self.own, self.steps_told)
            self.steps_told = len(self.steps)

    def tell(self, session: Session) -> None:
        """Tell a session of the steps since it last did something, after the runtime's own."""
        if session.steps_told < len(self.steps):
            self.tell_own()
            self.record_steps(session, session.steps_told)
            session.steps_told = len(self.steps)

    def record_steps(self, session: Session, told: int) -> None:
        wall, monotonic = (sum(one[hand] for one in self.steps[told:]) for hand in (0, 1))
        payload = {
            "wall_ms": int(wall / 10**6),
            "monotonic_ms": int(monotonic / 10**6),
            "gap_ms": int((wall - monotonic) / 10**6),
            "steps": len(self.steps) - told,
            "suspensions": 0,
        }
        self.record(session, [("clock.step", payload)], session.trace_id)

    def record(self, session: Session, texts: Texts, trace_id: int | None = None) -> None:
        """Record events under the session's root span; those of no request are redacted."""
        wall_ns, _ = self.look()
        if trace_id is None:
            agent_id = None if session is self.own else session.agent_id
            removals = removals_of_session([*self.atlases.values()], agent_id, wall_ns)
            told = [
                (kind, without_names(payload, removals) if kind == "error.occurred" else payload)
                for kind, payload in texts
            ]
            texts = redacted(told, removals)
        base = self.blocks.pop(0)
        trace_id = session.trace_id if trace_id is None else trace_id
        self.trace.record(session.session_id, base, wall_ns, trace_id, session.root_span, texts)

    def running(self, session_id: str, pointer: str = "/requester/session_id") -> Session:
        if session_id in self.sessions:
            self.look()
            self.tell(self.sessions[session_id])
            return self.sessions[session_id]
        self.check_id(session_id, pointer)
        ended = session_id in self.ended
        raise Refused("session_ended" if ended else "session_not_found", pointer)

    def chosen(self, atlas_ids: list[str] | None) -> list[dict[str, Any]]:
        for index, name in enumerate(atlas_ids or []):
            if name not in self.atlases:
                raise Refused("atlas_not_found", f"/atlas_ids/{index}")
        return [one for name, one in self.atlases.items() if atlas_ids is None or name in atlas_ids]

    def find(self, session: Session, resolution_id: str) -> Remembered:
        """Return a resolution of the session that may still be acted on."""
        pointer = "/execution/resolution_id"
        self.check_id(resolution_id, pointer)
        if resolution_id not in session.resolutions:
            raise Refused("resolution_not_found", pointer)
        found = session.resolutions[resolution_id]
        _, elapsed_ns = self.look()
        if elapsed_ns >= found.ends_ns:
            raise Refused("resolution_expired", pointer)
        return found

    def wait_ms(
        self, session: Session, atlas: dict[str, Any], limit: dict[str, Any], cost: Any = None
    ) -> int | None:
        """Return how long the session must wait until the limit has room, None when it has."""
        account = account_of(atlas["atlas_id"], limit, session.agent_id, session.session_id)
        return self.taken.wait_ms(limit, account, self.elapsed_ns, cost)

    @staticmethod
    def check_id(text: str, pointer: str) -> None:
        if not UUID.fullmatch(text):
            raise Refused("invalid_id", pointer)

    @staticmethod
    def wall_ns_of(timestamp: str) -> int:
        return int(datetime.fromisoformat(timestamp).timestamp() * 1_000_000) * 1000


def copy_of(value: Any) -> Any:
    return json.loads(canonical(value))
