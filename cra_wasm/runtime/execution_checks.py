"""All checks of one execute, in the order of PROTOCOL 2.7. They change nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ..carp.approvals import Approval, Approvals
from ..carp.catalogue import CompiledAction
from ..carp.decision import REASON_BUDGET, REASON_RATE, Verdict
from ..carp.limits import Ledger, Limit
from ..carp.schema_run import SchemaError
from ..errors import InvalidInput, InvalidState, Json, NotFound
from ..hashing import new
from ..model.limits import MAX_PAYLOAD_CHARS
from ..trace.canonical import canonical_json
from .executors import Executor
from .recorder import Moment
from .session import IDEMPOTENCY_KEYS_PER_SESSION, KeyedCall, Remembered, Session, UnrecordedResolution

REASON_COST: Final = "invalid_cost"
_PARAMETERS: Final = "/execution/parameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteRequest:
    """What execute was asked. `request_id` is None when one is to be made."""

    resolution_id: str
    action_id: str
    parameters: dict[str, Json]
    idempotency_key: str | None = None
    goal: str | None = None
    request_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedCall:
    """A request with the canonical text of its parameters and that text's hash.

    `parameters` is that text parsed: what is judged is what is hashed and run, whatever the caller's own
    object does meanwhile.
    """

    request: ExecuteRequest
    parameters: dict[str, Json]
    parameters_json: str
    parameters_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """The call may not run; waiting `retry_after_ms` may help, NEVER (-1) when it will not."""

    remembered: Remembered
    verdict: Verdict
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsApproval:
    """The call may run once somebody grants it; `approval` when it was asked for already."""

    remembered: Remembered
    action: CompiledAction
    verdict: Verdict
    approval: Approval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """The call may run now: take `costs`, use `approval`, then run `executor`."""

    remembered: Remembered
    action: CompiledAction
    executor: Executor
    costs: tuple[tuple[Limit, float], ...]
    approval: Approval | None


class ExecutionChecks:
    """Judges calls against the limits, grants and executors of the runtime."""

    def __init__(
        self,
        ledger: Ledger,
        approvals: Approvals,
        executors: Mapping[str, Executor],
        is_loaded: Callable[[CompiledAction], bool],
    ) -> None:
        self._ledger = ledger
        self._approvals = approvals
        self._executors = executors
        self._is_loaded = is_loaded

    def judge(self, session: Session, call: HashedCall, moment: Moment) -> Denial | NeedsApproval | Cleared:
        """Check everything.

        Raises:
            InvalidInput: `invalid_parameters` or `invalid_id`, with the pointer of the culprit.
            NotFound: `resolution_not_found` or `action_not_found`.
            InvalidState: `resolution_expired`, `resolution_unrecorded`, `atlas_unloaded` or `no_executor`.
        """
        request = call.request
        remembered = self.find(session, request.resolution_id, moment)
        action, resolved = self.candidate(remembered, request.action_id)
        approval: Approval | None = None
        if resolved.awaits_approval:
            verdict = remembered.plan.verdict_on(action, approved=True)
            if not verdict.allowed:
                return Denial(remembered=remembered, verdict=verdict)
            check_parameters(action, call.parameters)
            costs = self._costs(session, remembered, action, call.parameters, moment)
            if isinstance(costs, Denial):
                return costs  # nobody is asked for what could not run
            asked = self._approvals.of_call(
                session.session_id, action.atlas_id, request.action_id, call.parameters_hash
            )
            if asked is None or not asked.is_usable(moment.elapsed_ns):
                waiting = asked if asked is not None and asked.state == "pending" else None
                return NeedsApproval(remembered=remembered, action=action, verdict=resolved, approval=waiting)
            approval = asked
        elif not resolved.allowed:
            return self._denial(session, remembered, action, resolved, moment)
        else:
            check_parameters(action, call.parameters)
            costs = self._costs(session, remembered, action, call.parameters, moment)
            if isinstance(costs, Denial):
                return costs
        executor = self.executor_of(request.action_id)
        return Cleared(
            remembered=remembered, action=action, executor=executor, costs=costs, approval=approval
        )

    def find(self, session: Session, resolution_id: str, moment: Moment) -> Remembered:
        """Return a resolution that the session may act on; raises as `judge`."""
        remembered = session.find(resolution_id, moment.elapsed_ns)
        if isinstance(remembered.resolution, UnrecordedResolution):
            raise InvalidState(
                "resolution_unrecorded",
                "resolve again: the trace had no room for this resolution, so nothing may run under it",
                pointer="/execution/resolution_id",
            )
        return remembered

    def executor_of(self, action_id: str) -> Executor:
        """Return what runs an action, or raise InvalidState `no_executor`."""
        executor = self._executors.get(action_id)
        if executor is None:
            raise InvalidState(
                "no_executor",
                f"nothing runs `{action_id}`: register an executor first",
                pointer="/execution/action_id",
            )
        return executor

    def candidate(self, remembered: Remembered, action_id: str) -> tuple[CompiledAction, Verdict]:
        """Return a candidate of the resolution and what was decided on it; raises as `judge`."""
        index = remembered.plan.candidate_index.get(action_id)
        if index is None:
            raise NotFound(
                "action_not_found",
                f"the resolution has no action `{action_id}`: take one of its allowed_actions",
                pointer="/execution/action_id",
            )
        action = remembered.plan.candidates[index]
        if not self._is_loaded(action):
            raise InvalidState(
                "atlas_unloaded",
                f"atlas `{action.atlas_id}` was unloaded: resolve again",
                pointer="/execution/resolution_id",
            )
        return action, remembered.variant.verdicts[index]

    def _denial(
        self,
        session: Session,
        remembered: Remembered,
        action: CompiledAction,
        verdict: Verdict,
        moment: Moment,
    ) -> Denial:
        """Return the resolution's own denial, with the wait if a limit was full."""
        for limit in remembered.plan.limits_on(action):
            if limit.policy_id == verdict.policy_id:
                account = limit.account(session.agent_id, session.session_id)
                wait_ms = self._ledger.retry_after_ms(limit, account, moment.elapsed_ns)
                return Denial(remembered=remembered, verdict=verdict, retry_after_ms=wait_ms or 0)
        return Denial(remembered=remembered, verdict=verdict)

    def _costs(
        self,
        session: Session,
        remembered: Remembered,
        action: CompiledAction,
        parameters: dict[str, Json],
        moment: Moment,
    ) -> Denial | tuple[tuple[Limit, float], ...]:
        """Return what the call takes from each of its limits, or the denial by the first that is full."""
        costs = []
        for limit in remembered.plan.limits_on(action):
            cost = limit.cost_of(parameters)
            if cost is None:
                verdict = Verdict(action.action.action_id, False, limit.policy_id, REASON_COST)
                return Denial(remembered=remembered, verdict=verdict)
            account = limit.account(session.agent_id, session.session_id)
            retry_after_ms = self._ledger.retry_after_ms(limit, account, moment.elapsed_ns, cost)
            if retry_after_ms is not None:
                reason = REASON_RATE if limit.is_rate else REASON_BUDGET
                verdict = Verdict(action.action.action_id, False, limit.policy_id, reason)
                return Denial(remembered=remembered, verdict=verdict, retry_after_ms=retry_after_ms)
            costs.append((limit, cost))
        return tuple(costs)


def hash_call(request: ExecuteRequest, algorithm: str) -> HashedCall:
    """Return the request with its parameters' canonical text and that text's hash.

    Raises:
        InvalidInput: `invalid_parameters` when they are no I-JSON object or longer than 1,000,000 characters.
    """
    if not isinstance(request.parameters, dict):
        raise InvalidInput("invalid_parameters", "parameters must be an object", pointer=_PARAMETERS)
    try:
        text = canonical_json(request.parameters)
    except InvalidInput as error:
        raise InvalidInput(
            "invalid_parameters", error.message, pointer=_PARAMETERS + error.details.get("pointer", "")
        ) from None
    if len(text) > MAX_PAYLOAD_CHARS:
        raise InvalidInput(
            "invalid_parameters", f"are longer than {MAX_PAYLOAD_CHARS} characters", pointer=_PARAMETERS
        )
    return HashedCall(
        request=request,
        parameters=json.loads(text),
        parameters_json=text,
        parameters_hash=hash_text(text, algorithm),
    )


def hash_text(text: str, algorithm: str) -> str:
    """Return the hash of a canonical text as 64 lower-case hex digits."""
    return new(algorithm, text.encode()).hexdigest()


def check_parameters(action: CompiledAction, parameters: dict[str, Json]) -> None:
    """Hold parameters to the action's schema.

    Raises:
        InvalidInput: `invalid_parameters`, the pointer of the first culprit, and all findings.
    """
    errors = action.validator.errors(parameters, pointer=_PARAMETERS)
    if not errors:
        return
    first = errors[0]
    more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
    raise InvalidInput(
        "invalid_parameters",
        f"`{first.pointer}` {first.message}{more}",
        pointer=first.pointer,
        findings=[finding_of(error) for error in errors],
    )


def finding_of(error: SchemaError) -> dict[str, Json]:
    """Return what a schema says against a value as a finding."""
    return {"pointer": error.pointer, "code": error.keyword, "message": error.message}


def answer_of_key(session: Session, call: HashedCall) -> KeyedCall | None:
    """Return the finished call that the idempotency key stands for; None for a new key or none.

    Raises:
        InvalidState: `idempotency_conflict`, `execution_in_progress`, `idempotency_window_full`.
    """
    key = call.request.idempotency_key
    if key is None:
        return None
    pointer = "/execution/idempotency_key"
    calls = session.keyed_calls or {}
    known = calls.get(key)
    if known is None:
        if len(calls) >= IDEMPOTENCY_KEYS_PER_SESSION:
            raise InvalidState(
                "idempotency_window_full",
                f"this session holds {len(calls)} keys: call without one or start a new session",
                pointer=pointer,
            )
        return None
    if (known.action_id, known.parameters_hash) != (call.request.action_id, call.parameters_hash):
        raise InvalidState(
            "idempotency_conflict",
            "this key stands for another action or other parameters: use a new key",
            pointer=pointer,
        )
    if known.response is None:
        raise InvalidState(
            "execution_in_progress", "the call with this key still runs: wait for it", pointer=pointer
        )
    return known
