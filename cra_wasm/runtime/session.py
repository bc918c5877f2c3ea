"""A running session: who, its place in the trace, and the resolutions it may still act on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from ..carp.plan import Plan, Variant
from ..carp.planner import Planner
from ..errors import InvalidInput, InvalidState, Json, NotFound
from ..model.ids import parse_uuid
from ..model.resolution import RESOLUTION_ID_OFFSET, ExecuteResponse, Resolution
from ..timing.timeline import NO_STEPS

RESOLUTIONS_PER_SESSION: Final = 1024
REQUEST_IDS_PER_SESSION: Final = 8192
IDEMPOTENCY_KEYS_PER_SESSION: Final = 1024
REUSABLE_PER_SESSION: Final = 64
NEVER_NS: Final = 1 << 62
"""An elapsed time that does not come: 146 years."""

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Remembered:
    """A resolution that an execute may name, with the plan and the verdicts behind it."""

    resolution: Resolution
    variant: Variant

    @property
    def plan(self) -> Plan:
        """The plan that decided it."""
        return self.variant.plan

    def is_over(self, elapsed_ns: int) -> bool:
        """Whether its time has passed: its ttl's, or that of a time window that bears on it.

        In elapsed time: a wall clock that steps back must not prolong it.
        """
        age_ns = elapsed_ns - self.resolution.elapsed_ns
        until = self.variant.expires_wall_ns
        return age_ns >= self.resolution.ttl_seconds * _NS or (
            until is not None and age_ns >= until - self.resolution.wall_ns
        )

    def explain(self) -> list[dict[str, Json]]:
        """Return which policy decided each candidate, in manifest order."""
        told = []
        for compiled, verdict in zip(self.plan.candidates, self.variant.verdicts, strict=True):
            policy = self.plan.policy(compiled.atlas_id, verdict.policy_id)
            told.append(
                {
                    "action_id": verdict.action_id,
                    "result": "allow" if verdict.allowed else "deny",
                    "policy_id": verdict.policy_id,
                    "policy_name": policy.name if policy else None,
                    "policy_type": policy.type if policy else None,
                    "reason": verdict.reason,
                }
            )
        return told


class UnrecordedResolution(Resolution):
    """One whose events were dropped: it may be explained, but nothing may be executed under it. A class of
    its own, so that the usual one costs the hot path nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class KeyedCall:
    """What an idempotency key stands for; no response while the call runs."""

    action_id: str
    parameters_hash: str
    response: ExecuteResponse | None


class Session:
    """The state of one session. Its resolver numbers its events."""

    __slots__ = (
        "action_count",
        "agent_id",
        "agent_kind",
        "calls_running",
        "check_at_ns",
        "children",
        "ends_ns",
        "forgotten_before_id",
        "goal",
        "goal_is_redacted",
        "hash_algorithm",
        "keyed_calls",
        "last_active_ns",
        "next_sequence",
        "owed",
        "parent_session_id",
        "planner",
        "recent",
        "request_ids",
        "resolution_count",
        "reusable",
        "root_span_id",
        "session_id",
        "started_elapsed_ns",
        "steps",
        "trace_id",
        "warned_ns",
    )

    def __init__(
        self,
        *,
        session_id: str,
        agent_id: str,
        goal: str,
        trace_id: int,
        root_span_id: int,
        elapsed_ns: int,
        planner: Planner,
        hash_algorithm: str,
        goal_is_redacted: bool = False,
        parent_session_id: str | None = None,
    ) -> None:
        self.session_id = session_id
        self.parent_session_id = parent_session_id
        self.children: dict[str, Session] | None = None
        """The running sessions that were started under this one, oldest first."""
        self.agent_id = agent_id
        self.goal = goal
        self.goal_is_redacted = goal_is_redacted
        """Then `goal` is the mark that session.started has: the original is kept nowhere."""
        self.trace_id = trace_id
        self.root_span_id = root_span_id
        self.started_elapsed_ns = elapsed_ns
        self.last_active_ns = elapsed_ns
        self.ends_ns = NEVER_NS
        """When its lifetime is over."""
        self.check_at_ns = NEVER_NS
        """From then on SessionExpiry is asked before each call: it may be too early, never too late."""
        self.steps = NO_STEPS
        """What it was told of the clocks."""
        self.warned_ns = -1
        """The last activity that it was warned after."""
        self.next_sequence = 1
        self.owed: list[Callable[[], object]] = []
        """Outcomes of calls that the storage refused: recorded before anything newer."""
        self.resolution_count = 0
        self.action_count = 0
        self.calls_running = 0
        self.hash_algorithm = hash_algorithm
        self.planner = planner
        self.agent_kind = planner.agent_kind(agent_id)
        self.recent: deque[Resolution] | None = None
        self.forgotten_before_id = 0
        self.request_ids: dict[int, int] | None = None
        self.keyed_calls: dict[str, KeyedCall] | None = None
        self.reusable: dict[bytes, Resolution] | None = None
        """The latest resolutions that may be answered again, by a digest of what was asked."""

    def family(self) -> list[Session]:
        """Return this session and all that run under it, each behind its parent."""
        family = [self]
        for one in family:
            family.extend((one.children or {}).values())
        return family

    def see_atlases(self, planner: Planner) -> None:
        """Ask the agent's kind anew: the atlases have changed."""
        self.agent_kind = planner.agent_kind(self.agent_id)
        self.planner = planner
        self.reusable = None

    def reusable_answer(self, question: bytes, planner: Planner) -> Resolution | None:
        """Return the resolution kept for a question, unless atlases changed or it was pushed out since."""
        if self.reusable is None or self.planner is not planner:
            return None
        known = self.reusable.get(question)
        return known if known is not None and any(one is known for one in self.recent or ()) else None

    def keep_reusable(self, question: bytes, resolution: Resolution) -> None:
        """Keep a resolution for the next call with the same question; of too many the oldest goes."""
        if self.reusable is None:
            self.reusable = {}
        self.reusable.pop(question, None)
        if len(self.reusable) >= REUSABLE_PER_SESSION:
            del self.reusable[next(iter(self.reusable))]
        self.reusable[question] = resolution

    def forget_oldest(self) -> None:
        """Drop the oldest kept resolution; an execute that names it learns that it expired."""
        if self.recent:
            # Ids of one millisecond are in no order, so an older resolution may have the larger id.
            forgotten_id = self.recent.popleft().base_id
            self.forgotten_before_id = max(self.forgotten_before_id, forgotten_id + 1)

    def find(self, resolution_id: str, elapsed_ns: int) -> Remembered:
        """Return a resolution of this session that may still be acted on.

        Raises:
            InvalidInput: `invalid_id`.
            NotFound: `resolution_not_found`: not of this session.
            InvalidState: `resolution_expired`: its time is over, or 1,024 newer ones pushed it out.
        """
        pointer = "/execution/resolution_id"
        base_id = parse_uuid(resolution_id, pointer=pointer) - RESOLUTION_ID_OFFSET
        for resolution in reversed(self.recent or ()):
            if resolution.base_id == base_id:
                break
        else:
            if 0 <= base_id < self.forgotten_before_id:
                raise InvalidState("resolution_expired", "resolve again: it is too old", pointer=pointer)
            raise NotFound(
                "resolution_not_found", f"no resolution `{resolution_id}` in this session", pointer=pointer
            )
        # INVARIANT: what a session remembers was made by Resolving, whose outcomes are Variants.
        remembered = Remembered(resolution, cast(Variant, resolution.outcome))
        if remembered.is_over(elapsed_ns):
            raise InvalidState("resolution_expired", "resolve again: its time is over", pointer=pointer)
        return remembered

    def check_request_id(self, request_id: int, wall_ns: int) -> None:
        """Refuse a request id that this session has seen.

        Raises:
            InvalidInput: `duplicate_request_id`.
            InvalidState: `replay_window_full`: 8,192 of them are still fresh.
        """
        seen = self.request_ids
        if seen is None:
            return
        if request_id in seen:
            raise InvalidInput(
                "duplicate_request_id", "this request was made before: use a new id", pointer="/request_id"
            )
        if len(seen) >= REQUEST_IDS_PER_SESSION:
            for name in [name for name, until in seen.items() if until < wall_ns]:
                del seen[name]
            if len(seen) >= REQUEST_IDS_PER_SESSION:
                raise InvalidState("replay_window_full", "too many requests at once: wait, then retry")

    def keep_request_id(self, request_id: int, until_wall_ns: int) -> None:
        """Remember a request id for as long as its request could be sent again."""
        if self.request_ids is None:
            self.request_ids = {}
        self.request_ids[request_id] = until_wall_ns

    def forget_request_id(self, request_id: int) -> None:
        """Let a request come again: it was refused before anything of it was recorded."""
        if self.request_ids is not None:
            self.request_ids.pop(request_id, None)
