"""The way of one execute: judge, record, run, record (PROTOCOL 2.7).

`begin` either answers or returns a Running; its caller runs the executor, waiting or not, and hands the
result to `finish` or `fail`. A call that raises has changed nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Final

from ..carp.approvals import DEFAULT_EXPIRY_SECONDS, Approval, Approvals
from ..carp.catalogue import CompiledAtlas
from ..carp.decision import higher_tier
from ..carp.limits import Ledger
from ..carp.schema import Validator
from ..carp.staleness import stale_blocks
from ..errors import InvalidInput, Json
from ..model.ids import uuid_text
from ..model.limits import MAX_PAYLOAD_CHARS
from ..model.redaction import REDACTED
from ..model.resolution import REQUEST_ID_OFFSET, ExecuteResponse, ExecuteStatus
from ..model.timestamps import timestamp_text
from ..trace.canonical import canonical_json
from ..trace.raw import own_text_weight
from .durability import Durability
from .execution_checks import (
    Cleared,
    Denial,
    ExecuteRequest,
    ExecutionChecks,
    HashedCall,
    NeedsApproval,
    answer_of_key,
    finding_of,
    hash_call,
    hash_text,
)
from .executors import Executor
from .recorder import Moment, Recorder
from .redacting import redacted_texts
from .session import KeyedCall, Remembered, Session

MAX_ERROR_MESSAGE_CHARS: Final = 500
OUTCOME_WEIGHT: Final = 4
"""One event and 3 KiB: a message of MAX_ERROR_MESSAGE_CHARS, each of them escaped. One that weighs more still
(escaped, and a character outside ASCII in it) goes beyond."""

_EXECUTION_ID_OFFSET: Final = 2
_APPROVAL_ID_OFFSET: Final = 3
_NS_PER_MS: Final = 1_000_000

Texts = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A call that was recorded as approved and whose limits were taken. Its end must be told."""

    session: Session
    call: HashedCall
    remembered: Remembered
    moment: Moment
    executor: Executor
    timeout_seconds: int
    request_span_id: int
    risk_tier: str
    returns: Validator | None

    def parameters(self) -> dict[str, Json]:
        """Return the parameters that were hashed, as a dict of the executor's own."""
        given: dict[str, Json] = json.loads(self.call.parameters_json)
        return given

    def names(self) -> dict[str, Json]:
        """Return what an executor may want to know of its call besides the parameters."""
        return {
            "session_id": self.session.session_id,
            "agent_id": self.session.agent_id,
            "resolution_id": self.call.request.resolution_id,
            "execution_id": uuid_text(self.moment.base_id + _EXECUTION_ID_OFFSET),
            "action_id": self.call.request.action_id,
        }


class Execution:
    """Runs the calls of all sessions of a resolver, which holds its lock around each method."""

    def __init__(
        self,
        recorder: Recorder,
        checks: ExecutionChecks,
        ledger: Ledger,
        approvals: Approvals,
        durability: Durability,
        loaded: Callable[[], Mapping[str, CompiledAtlas]],
    ) -> None:
        self._recorder = recorder
        self._checks = checks
        self._ledger = ledger
        self._approvals = approvals
        self._durability = durability
        self._loaded = loaded

    def begin(
        self, session: Session, request: ExecuteRequest, *, may_wait: bool
    ) -> ExecuteResponse | Running:
        """Answer at once, or record the approved call, take its limits and return it to be run.

        Args:
            may_wait: whether the caller can wait until the approval is stored.

        Raises:
            InvalidInput, NotFound, InvalidState: as `ExecutionChecks.judge` and `answer_of_key`;
                `not_durable` for a call that would have to wait.
            BufferFull: there is no room for all events of the call; nothing was taken.
        """
        call = hash_call(request, session.hash_algorithm)
        known = answer_of_key(session, call)
        if known is not None and known.response is not None:
            return deepcopy(known.response)
        moment = self._recorder.now()
        found = self._checks.judge(session, call, moment)
        if isinstance(found, Denial):
            return self._deny(session, call, moment, found)
        if isinstance(found, NeedsApproval):
            return self._ask(session, call, moment, found)
        risk_tier = higher_tier(found.action.action.risk_tier, found.remembered.plan.facts.risk_tier)
        self._durability.check_can_store(risk_tier, may_wait=may_wait)
        return self._approve(session, call, moment, found, risk_tier)

    def finish(self, running: Running, result: Json) -> ExecuteResponse:
        """Record what the executor returned; what is no I-JSON value counts as a failure.

        What does not fit the action's returns_schema is told, not refused: it has happened (PROTOCOL 2.13).
        """
        try:
            text = canonical_json(result)
            if len(text) > MAX_PAYLOAD_CHARS:
                raise InvalidInput("invalid_result", f"longer than {MAX_PAYLOAD_CHARS} characters")
        except InvalidInput as error:
            return self.fail(running, "invalid_result", f"the executor's result: {error.message}")
        except Exception as error:  # an object of the executor's own may raise anything when it is read
            return self.fail(running, "invalid_result", f"the executor's result: {type(error).__name__}")
        value = json.loads(text)
        errors = [] if running.returns is None else running.returns.errors(value, pointer="/result")
        moment = self._recorder.now()
        payload = {
            "action_id": running.call.request.action_id,
            "duration_ms": self._duration_ms(running, moment),
            "execution_id": running.names()["execution_id"],
            "result_hash": hash_text(text, running.session.hash_algorithm),
        }
        if errors:
            payload |= {"result_valid": False, "result_findings_count": len(errors)}
        findings = tuple(map(finding_of, errors))
        answer = self._answer_and_keep(running, moment, "success", result=value, findings=findings)
        self._end(running, moment, "action.executed", payload)
        return answer

    def fail(self, running: Running, code: str, message: str) -> ExecuteResponse:
        """Record that the executor failed: a code and a short message, nothing else of the exception."""
        moment = self._recorder.now()
        message = message.encode("utf-8", "replace").decode()[:MAX_ERROR_MESSAGE_CHARS]
        payload = {
            "action_id": running.call.request.action_id,
            "duration_ms": self._duration_ms(running, moment),
            "error_code": code,
            "error_message": message,
            "execution_id": running.names()["execution_id"],
        }
        error = {"code": code, "message": message, "details": {}}
        answer = self._answer_and_keep(running, moment, "error", error=error)
        self._end(running, moment, "action.failed", payload)
        return answer

    def give_up(self, running: Running, code: str, message: str) -> ExecuteResponse:
        """As `fail`, for a call whose executor never started: its idempotency key may be used again."""
        response = self.fail(running, code, message)
        key = running.call.request.idempotency_key
        if key is not None and running.session.keyed_calls is not None:
            del running.session.keyed_calls[key]
        return response

    def _approve(
        self, session: Session, call: HashedCall, moment: Moment, found: Cleared, risk_tier: str
    ) -> Running:
        request = call.request
        texts = self._opening(session, call, moment, found.remembered)
        texts.append(
            _text("action.approved", {"action_id": request.action_id, "resolution_id": request.resolution_id})
        )
        weight = len(texts) + own_text_weight(texts)
        self._recorder.tracer.reserve(weight + OUTCOME_WEIGHT, len(texts) + 1)
        try:
            raw = self._recorder.record(
                session,
                moment,
                texts,
                trace_id=found.remembered.resolution.base_id,
                reserved=weight,
            )
        except BaseException:
            self._recorder.tracer.release(weight + OUTCOME_WEIGHT)
            raise
        for limit, cost in found.costs:
            account = limit.account(session.agent_id, session.session_id)
            self._ledger.take(limit, account, moment.elapsed_ns, cost)
        if found.approval is not None:
            self._approvals.use(found.approval)
        if request.idempotency_key is not None:
            if session.keyed_calls is None:
                session.keyed_calls = {}
            session.keyed_calls[request.idempotency_key] = KeyedCall(
                request.action_id, call.parameters_hash, None
            )
        session.action_count += 1
        session.calls_running += 1
        return Running(
            session=session,
            call=call,
            remembered=found.remembered,
            moment=moment,
            executor=found.executor,
            timeout_seconds=found.action.action.timeout_seconds,
            request_span_id=raw.first_span_id,
            risk_tier=risk_tier,
            returns=found.action.returns,
        )

    def _deny(self, session: Session, call: HashedCall, moment: Moment, found: Denial) -> ExecuteResponse:
        action_id = call.request.action_id
        verdict = found.verdict
        details: dict[str, Json] = {"action_id": action_id}
        if found.retry_after_ms is not None:
            details["retry_after_ms"] = found.retry_after_ms
        violated = {"policy_id": verdict.policy_id, "violation_type": verdict.reason, "details": details}
        denied = {"action_id": action_id, "reason": verdict.reason, "policy_id": verdict.policy_id}
        texts = self._opening(session, call, moment, found.remembered)
        texts += [_text("policy.violated", violated), _text("action.denied", denied)]
        self._recorder.record(session, moment, texts, trace_id=found.remembered.resolution.base_id)
        error = {
            "code": "action_denied",
            "message": f"action `{action_id}` is denied: {verdict.reason} (policy `{verdict.policy_id}`)",
            "details": {
                **details,
                "reason": verdict.reason,
                "policy_id": verdict.policy_id,
                "pointer": "/execution/action_id",
            },
        }
        return _answer(call, found.remembered, moment, moment, "denied", error=error)

    def _ask(
        self, session: Session, call: HashedCall, moment: Moment, found: NeedsApproval
    ) -> ExecuteResponse:
        approval = found.approval
        texts = self._opening(session, call, moment, found.remembered)
        if approval is None:
            self._approvals.check_room(session.session_id, moment.elapsed_ns)
            approval = self._new_approval(session, call, moment, found)
            asked = {
                "action_id": approval.action_id,
                "approval_id": approval.approval_id,
                "parameters_hash": approval.parameters_hash,
            }
            texts.append(_text("approval.requested", asked))
        self._recorder.record(session, moment, texts, trace_id=found.remembered.resolution.base_id)
        self._approvals.keep(approval, moment.elapsed_ns)
        error = {
            "code": "approval_required",
            "message": f"action `{approval.action_id}` waits for approval `{approval.approval_id}`",
            "details": {
                "approval_id": approval.approval_id,
                "policy_id": found.verdict.policy_id,
                "pointer": "/execution/action_id",
            },
        }
        return _answer(call, found.remembered, moment, moment, "pending_approval", error=error)

    def _new_approval(
        self, session: Session, call: HashedCall, moment: Moment, found: NeedsApproval
    ) -> Approval:
        policy = found.remembered.plan.policy(found.action.atlas_id, found.verdict.policy_id)
        parameters = None if policy is None else policy.parameters
        return Approval(
            approval_id=uuid_text(moment.base_id + _APPROVAL_ID_OFFSET),
            session_id=session.session_id,
            agent_id=session.agent_id,
            atlas_id=found.action.atlas_id,
            action_id=call.request.action_id,
            parameters_hash=call.parameters_hash,
            parameters_json=call.parameters_json,
            policy_id=found.verdict.policy_id,
            default_expiry_seconds=(parameters and parameters.expires_in_seconds) or DEFAULT_EXPIRY_SECONDS,
            default_uses=(parameters and parameters.uses) or 1,
        )

    def _opening(self, session: Session, call: HashedCall, moment: Moment, remembered: Remembered) -> Texts:
        """Return the events that each recorded execute begins with: what was asked, which of the context that
        it was decided with is stale, which action it is."""
        request = call.request
        received: dict[str, Json] = {
            "goal": session.goal if request.goal is None else request.goal,
            "operation": "execute",
            "request_id": uuid_text(_request_id(call, moment)),
            "resolution_id": request.resolution_id,
        }
        if request.goal is None and session.goal_is_redacted:
            received[REDACTED] = ["/goal"]
        requested = {
            "action_id": request.action_id,
            "parameters_hash": call.parameters_hash,
            "resolution_id": request.resolution_id,
        }
        told = redacted_texts(
            [_text("carp.request.received", received)], remembered.plan.redaction, session.hash_algorithm
        )
        blocks = remembered.resolution.context_blocks
        stale = stale_blocks(blocks, remembered.plan.atlases, self._loaded()) if blocks else ()
        return [
            *told,
            *(_text("context.stale", one._asdict()) for one in stale),
            _text("action.requested", requested),
        ]

    def _end(self, running: Running, moment: Moment, event_type: str, payload: dict[str, Json]) -> None:
        running.session.calls_running -= 1
        redaction, algorithm = running.remembered.plan.redaction, running.session.hash_algorithm
        record = partial(
            self._recorder.record,
            running.session,
            moment,
            redacted_texts([_text(event_type, payload)], redaction, algorithm),
            trace_id=running.remembered.resolution.base_id,
            parent_span_id=running.request_span_id,
            reserved=OUTCOME_WEIGHT,
            beyond=True,
        )
        try:
            record()
        except BaseException:
            running.session.owed.append(record)  # it did run: nothing newer is recorded before its outcome
            raise

    def _answer_and_keep(
        self,
        running: Running,
        moment: Moment,
        status: ExecuteStatus,
        *,
        result: Json = None,
        error: dict[str, Json] | None = None,
        findings: tuple[dict[str, Json], ...] = (),
    ) -> ExecuteResponse:
        response = _answer(
            running.call,
            running.remembered,
            running.moment,
            moment,
            status,
            result=result,
            error=error,
            findings=findings,
        )
        key = running.call.request.idempotency_key
        if key is not None and running.session.keyed_calls is not None:
            running.session.keyed_calls[key] = KeyedCall(
                running.call.request.action_id, running.call.parameters_hash, deepcopy(response)
            )
        return response

    @staticmethod
    def _duration_ms(running: Running, moment: Moment) -> int:
        return (moment.elapsed_ns - running.moment.elapsed_ns) // _NS_PER_MS


def _text(event_type: str, payload: dict[str, Json]) -> tuple[str, str]:
    return event_type, canonical_json(payload)


def _request_id(call: HashedCall, moment: Moment) -> int:
    given = call.request.request_id
    return moment.base_id + REQUEST_ID_OFFSET if given is None else given


def _answer(
    call: HashedCall,
    remembered: Remembered,
    begun: Moment,
    now: Moment,
    status: ExecuteStatus,
    *,
    result: Json = None,
    error: dict[str, Json] | None = None,
    findings: tuple[dict[str, Json], ...] = (),
) -> ExecuteResponse:
    return ExecuteResponse(
        execution_id=uuid_text(begun.base_id + _EXECUTION_ID_OFFSET),
        request_id=uuid_text(_request_id(call, begun)),
        resolution_id=call.request.resolution_id,
        timestamp=timestamp_text(now.wall_ns),
        status=status,
        trace_id=remembered.resolution.trace_id,
        result=result,
        error=error,
        result_findings=findings,
    )
