"""The runtime that decides a trace anew: a Resolver whose clock shows the times of the trace.

It resolves, asks limits and decides approvals by the same code that made the trace. Only an execute is taken
apart: it is judged by that code, and then what the trace says happened takes effect, so that one difference
does not become many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from ..carp.approvals import DEFAULT_EXPIRY_SECONDS, Approval
from ..carp.catalogue import CompiledAction
from ..carp.limits import Account, Limit
from ..carp.plan import Plan, Variant
from ..carp.schema import compile_schema
from ..errors import Json
from ..model.event import TraceEvent
from ..resolver import Resolver
from ..runtime.execution_checks import (
    Cleared,
    Denial,
    ExecuteRequest,
    ExecutionChecks,
    HashedCall,
    NeedsApproval,
)
from ..runtime.executors import Executor
from ..runtime.session import Remembered, Session
from ..storage.null import NullStorage
from ..testing import SequentialIds

_ANYTHING: Final = compile_schema(True)


class TraceClock:
    """A clock that stands at the time of the call that is replayed.

    A trace tells wall times. The monotonic hand goes as far as they do and stands where they step back, so
    that elapsed time (PROTOCOL 3.6) is never more than it was.
    """

    def __init__(self, wall_ns: int) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = 0

    def wall_ns(self) -> int:
        """The time of the trace."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """What has passed since the first call, as far as told."""
        return self._monotonic_ns

    def move_to(self, wall_ns: int) -> None:
        """Go to the time of the next call."""
        self._monotonic_ns += max(0, wall_ns - self._wall_ns)
        self._wall_ns = wall_ns


class LatestEvents(NullStorage):
    """Keeps what the latest call recorded, for as long as it takes to compare."""

    def __init__(self) -> None:
        super().__init__()
        self.latest: list[TraceEvent] = []

    def store_events(self, events: Sequence[TraceEvent]) -> None:
        """Keep these instead of those before."""
        super().store_events(events)
        self.latest = list(events)


class _AnyExecutor(Mapping[str, Executor]):
    """Has an executor for every action, which never runs: a call without one was never recorded."""

    _NOBODY: Final = Executor(lambda parameters: None, False, False)

    def __getitem__(self, action_id: str) -> Executor:
        return self._NOBODY

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An execute as a trace tells it; `parameters` only where somebody kept them."""

    resolution_id: str
    action_id: str
    parameters_hash: str
    parameters: dict[str, Json] | None


Judgement = Cleared | Denial | NeedsApproval


class Rerun(Resolver):
    """A Resolver in immediate mode that stores nothing but the latest call's events."""

    def __init__(self, wall_ns: int, ttl_seconds: int) -> None:
        self.trace_clock = TraceClock(wall_ns)
        self.stored = LatestEvents()
        super().__init__(
            storage=self.stored, clock=self.trace_clock, ids=SequentialIds(), ttl_seconds=ttl_seconds
        )
        self._judging = ExecutionChecks(self._ledger, self._approvals, _AnyExecutor(), self._is_loaded)

    def running(self, session_id: str) -> Session:
        """Return a running session."""
        return self._sessions.running(session_id)

    def remembered(self, session_id: str, resolution_id: str) -> Remembered:
        """Return a resolution that an execute may name now; raises as `Session.find`."""
        _, elapsed_ns = self._recorder.times()
        return self.running(session_id).find(resolution_id, elapsed_ns)

    def forget_latest_resolution(self, session_id: str) -> None:
        """Take back the latest resolve of a session, which was made to look at its answer."""
        session = self.running(session_id)
        if session.recent:
            session.recent.pop()
            self._sessions.remembered_count -= 1

    def context_keys(self) -> frozenset[str]:
        """Return the members of a request's context that the loaded atlases look at."""
        return frozenset(key for key, _ in self._planner.catalogue.context_globs)

    def judge(self, session_id: str, asked: Asked) -> Judgement:
        """Judge a call; nothing changes. Raises as `ExecutionChecks.judge`.

        Parameters that nobody kept are made up of what the limits ask for, at no cost, and held to no schema:
        the call was recorded, so they did fit.
        """
        session = self.running(session_id)
        moment = self._recorder.now()
        plan = session.find(asked.resolution_id, moment.elapsed_ns).plan
        index = plan.candidate_index.get(asked.action_id)
        if asked.parameters is not None or index is None:
            return self._judging.judge(session, _call_of(asked, asked.parameters or {}), moment)
        action = plan.candidates[index]
        schema, action.validator = action.validator, _ANYTHING
        try:
            made_up = _parameters_for(plan.limits_on(action))
            return self._judging.judge(session, _call_of(asked, made_up), moment)
        finally:
            action.validator = schema

    @staticmethod
    def plan_of(session: Session, resolution_id: str) -> Plan | None:
        """Return the plan of a resolution that the session remembers, also when it is over."""
        for resolution in session.recent or ():
            if resolution.resolution_id == resolution_id:
                return cast(Variant, resolution.outcome).plan
        return None

    def limits_on(self, plan: Plan, action_id: str) -> list[Limit]:
        """Return the limits that a call of an action takes from."""
        index = plan.candidate_index.get(action_id)
        return [] if index is None else plan.limits_on(plan.candidates[index])

    def account(self, session_id: str, limit: Limit) -> Account:
        """Return the account of a session's calls under a limit."""
        session = self.running(session_id)
        return limit.account(session.agent_id, session.session_id)

    def wait_ms(self, session_id: str, limit: Limit) -> int | None:
        """Return how long the limit stays full for a session's calls, None when it has room."""
        _, elapsed_ns = self._recorder.times()
        return self._ledger.retry_after_ms(limit, self.account(session_id, limit), elapsed_ns)

    def take(self, session_id: str, plan: Plan, asked: Asked, judgement: Judgement | None) -> None:
        """Let a call that the trace says was approved take from its limits and use its grant."""
        _, elapsed_ns = self._recorder.times()
        approval: Approval | None = None
        if isinstance(judgement, Cleared):
            costs = list(judgement.costs)
            approval = judgement.approval
        else:
            limits = self.limits_on(plan, asked.action_id)
            costs = [(limit, limit.cost_of(asked.parameters or {}) or 0.0) for limit in limits]
        for limit, cost in costs:
            self._ledger.take(limit, self.account(session_id, limit), elapsed_ns, cost)
        if approval is not None:
            self._approvals.use(approval)

    def ask(self, session_id: str, asked: Asked, approval_id: str, judgement: NeedsApproval) -> None:
        """Keep the request for approval that the trace tells of, under the id that it has there."""
        session = self.running(session_id)
        action: CompiledAction = judgement.action
        policy_id = judgement.verdict.policy_id
        policy = judgement.remembered.plan.policy(action.atlas_id, policy_id)
        terms = None if policy is None else policy.parameters
        self._approvals.keep(
            Approval(
                approval_id=approval_id,
                session_id=session_id,
                agent_id=session.agent_id,
                atlas_id=action.atlas_id,
                action_id=asked.action_id,
                parameters_hash=asked.parameters_hash,
                parameters_json="{}",
                policy_id=policy_id,
                default_expiry_seconds=(terms and terms.expires_in_seconds) or DEFAULT_EXPIRY_SECONDS,
                default_uses=(terms and terms.uses) or 1,
            ),
            self._recorder.times()[1],
        )


def _call_of(asked: Asked, parameters: dict[str, Json]) -> HashedCall:
    return HashedCall(
        request=ExecuteRequest(
            resolution_id=asked.resolution_id, action_id=asked.action_id, parameters=parameters
        ),
        parameters=parameters,
        parameters_json="{}",
        parameters_hash=asked.parameters_hash,
    )


def _parameters_for(limits: Iterable[Limit]) -> dict[str, Json]:
    """Return parameters that cost nothing under these limits."""
    made: dict[str, Json] = {}
    for limit in limits:
        if limit.cost_parameter:
            _put(made, limit.cost_parameter, 0)
    return made


def _put(made: dict[str, Json], pointer: str, value: Json) -> None:
    """Put a value where a JSON Pointer leads; indexes become names, which limits take as well."""
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in path:
        inner = made.get(part)
        if not isinstance(inner, dict):
            inner = made[part] = {}
        made = inner
    made[last] = value
