"""Operation validate: every check of a request, what would be decided, and no effect (PROTOCOL 2.10).

INVARIANT: the first finding is the error with which the request would be refused now, and without findings
it would be answered as told. So the checks come in the order of the calls that count.
"""

from __future__ import annotations

from functools import partial

from ..carp.approvals import Approvals
from ..carp.catalogue import CompiledAtlas
from ..carp.plan import unknown_capabilities
from ..carp.planner import Planner, ResolveOptions
from ..errors import Json
from ..model.parse import parse_model
from ..model.request import CARPRequest, Execution
from ..model.resolution import Decision
from ..model.timestamps import timestamp_text
from ..model.validation import ValidateResponse, WouldExecute
from . import arguments
from .execution_checks import (
    Cleared,
    Denial,
    ExecuteRequest,
    ExecutionChecks,
    HashedCall,
    NeedsApproval,
    answer_of_key,
    hash_call,
)
from .findings import Findings
from .recorder import Moment, Recorder
from .requests import check_agent, check_parent, check_request_id, check_timestamp
from .resolve_events import received_parts
from .resolving import Resolving
from .session import Session
from .sessions import Sessions


class Validating:
    """Validates for a resolver, which holds its lock around each call.

    Nothing that an answer depends on is changed. What only makes answers fast may be: plans are kept, and the
    marks of limits that may be full.
    """

    def __init__(
        self,
        recorder: Recorder,
        sessions: Sessions,
        resolving: Resolving,
        approvals: Approvals,
        checks: ExecutionChecks,
        skew_seconds: int,
    ) -> None:
        self._recorder = recorder
        self._sessions = sessions
        self._resolving = resolving
        self._approvals = approvals
        self._checks = checks
        self._skew_seconds = skew_seconds

    def validate(self, planner: Planner, source: str | bytes | dict[str, Json]) -> ValidateResponse:
        """Validate a request of any operation, read or not yet."""
        findings = Findings()
        parsed = findings.of(lambda: parse_model(CARPRequest, source, code="invalid_request"))
        if parsed is None:
            wall_ns, _ = self._recorder.times()
            return _answer(None, wall_ns, findings, None, None)
        return self.validate_parsed(planner, parsed)

    def validate_parsed(self, planner: Planner, request: CARPRequest) -> ValidateResponse:
        """Validate a request whose form is right: its execution if it has one, else what it resolves."""
        findings = Findings()
        wall_ns, elapsed_ns = self._recorder.times()
        moment = Moment(wall_ns, elapsed_ns, 0)
        session = self._check_request(request, wall_ns, elapsed_ns, findings)
        decision: Decision | None = None
        would_execute: WouldExecute | None = None
        if request.execution is not None:
            would_execute = self._try_execute(session, request.execution, moment, findings)
        else:
            decision = self._try_resolve(planner, session, request, moment, findings)
        return _answer(request.request_id, wall_ns, findings, decision, would_execute)

    def _check_request(
        self, request: CARPRequest, wall_ns: int, elapsed_ns: int, findings: Findings
    ) -> Session | None:
        find, expiry = self._sessions.find, self._sessions.expiry
        session = findings.of(lambda: expiry.refuse_over(find(request.requester.session_id), elapsed_ns))
        findings.of(lambda: arguments.check_goal(request.task.goal))
        if session is not None:
            findings.of(lambda: check_agent(session, request))
            findings.of(lambda: check_parent(session, request))
        findings.of(lambda: check_timestamp(request, wall_ns, self._skew_seconds))
        if session is not None:
            findings.of(lambda: check_request_id(session, request, wall_ns))
        return session

    # Resolve

    def _try_resolve(
        self,
        planner: Planner,
        session: Session | None,
        request: CARPRequest,
        moment: Moment,
        findings: Findings,
    ) -> Decision | None:
        task = request.task
        checked = findings.of(
            lambda: (
                arguments.check_options(
                    task.required_capabilities, task.context_hints, request.atlas_ids, request.context
                ),
            )
        )
        if checked is None:
            return None
        (options,) = checked
        if options is not None:
            findings.of(lambda: received_parts(task.risk_tier, options))
        atlases = _chosen(planner, request.atlas_ids, findings)
        if atlases is not None:
            for error in unknown_capabilities(atlases, task.required_capabilities):
                findings.add(error)
        if session is None or findings.total:
            return None
        return findings.of(lambda: self._decide(planner, session, request, options, moment))

    def _decide(
        self,
        planner: Planner,
        session: Session,
        request: CARPRequest,
        options: ResolveOptions | None,
        moment: Moment,
    ) -> Decision:
        task = request.task
        variant, _ = self._resolving.outcome(
            planner, session, task.goal, task.risk_tier, options, moment.wall_ns, moment.elapsed_ns
        )
        return variant.decision

    # Execute

    def _try_execute(
        self, session: Session | None, execution: Execution, moment: Moment, findings: Findings
    ) -> WouldExecute | None:
        request = ExecuteRequest(
            resolution_id=execution.resolution_id,
            action_id=execution.action_id,
            parameters=execution.parameters,
            idempotency_key=execution.idempotency_key,
        )
        findings.of(lambda: arguments.check_execution(request.action_id, request.idempotency_key))
        algorithm = "sha256" if session is None else session.hash_algorithm
        call = findings.of(lambda: hash_call(request, algorithm))
        if session is None:
            return None
        if call is not None:
            known = findings.of(lambda: (answer_of_key(session, call),))
            if known is not None and known[0] is not None:
                return WouldExecute(status="answered_before")
        return self._judge(session, request, call, moment, findings)

    def _judge(
        self,
        session: Session,
        request: ExecuteRequest,
        call: HashedCall | None,
        moment: Moment,
        findings: Findings,
    ) -> WouldExecute | None:
        checks = self._checks
        remembered = findings.of(lambda: checks.find(session, request.resolution_id, moment))
        if remembered is None:
            return None
        candidate = findings.of(lambda: checks.candidate(remembered, request.action_id))
        if candidate is None or call is None:
            return None
        found = findings.of(lambda: checks.judge(session, call, moment))
        if found is not None:
            return self._would(session, found, moment, findings)
        _, verdict = candidate
        if verdict.allowed and all(finding.code != "no_executor" for finding in findings.kept):
            findings.of(lambda: checks.executor_of(request.action_id))  # not hidden by the parameters
        return None

    def _would(
        self,
        session: Session,
        found: Denial | NeedsApproval | Cleared,
        moment: Moment,
        findings: Findings,
    ) -> WouldExecute | None:
        if isinstance(found, Denial):
            return WouldExecute(
                status="denied",
                reason=found.verdict.reason,
                policy_id=found.verdict.policy_id,
                retry_after_ms=found.retry_after_ms,
            )
        if isinstance(found, Cleared):
            return WouldExecute(status="allowed")
        if found.approval is None:
            findings.of(lambda: self._approvals.check_room(session.session_id, moment.elapsed_ns))
        return WouldExecute(
            status="pending_approval",
            reason=found.verdict.reason,
            policy_id=found.verdict.policy_id,
            approval_id=None if found.approval is None else found.approval.approval_id,
        )


def _chosen(
    planner: Planner, atlas_ids: tuple[str, ...] | None, findings: Findings
) -> tuple[CompiledAtlas, ...] | None:
    """Return the chosen atlases; None when one is not loaded: each of these is a finding."""
    before = findings.total
    for index, atlas_id in enumerate(atlas_ids or ()):
        findings.of(partial(planner.catalogue.named, atlas_id, pointer=f"/atlas_ids/{index}"))
    return planner.catalogue.chosen(atlas_ids) if findings.total == before else None


def _answer(
    request_id: str | None,
    wall_ns: int,
    findings: Findings,
    decision: Decision | None,
    would_execute: WouldExecute | None,
) -> ValidateResponse:
    refused = findings.total > 0
    return ValidateResponse(
        request_id=request_id,
        timestamp=timestamp_text(wall_ns),
        findings=tuple(findings.kept),
        findings_total=findings.total,
        decision=None if refused else decision,
        would_execute=None if refused else would_execute,
    )
