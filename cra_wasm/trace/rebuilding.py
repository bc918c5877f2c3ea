"""Rebuilds the state that the sessions of a trace were in when it ends (PROTOCOL 3.12), from events alone.

Nothing is decided here and no atlas is needed; `replay` asks whether what stands here should have happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from ..errors import Json
from ..model.event import TraceEvent
from .chain import named_algorithm
from .payloads import text_in, texts_in, whole_number_in
from .state import ApprovalRecord, ExecutionState, ResolutionState, SessionState, TraceState

Payload: TypeAlias = dict[str, Json]

_LIMIT_REASONS: Final = ("rate_limit_exceeded", "budget_exceeded")


def rebuild_state(events: Iterable[TraceEvent]) -> TraceState:
    """Return the state that events leave behind (PROTOCOL 3.12).

    Args:
        events: of one session or of several, each session's in order. They are taken at their word: verify
            them first. Members of a wrong kind count as absent; event types that nobody knows are counted.
    """
    builders: dict[str, _SessionBuilder] = {}
    for event in events:
        builder = builders.get(event.session_id)
        if builder is None:
            builder = builders[event.session_id] = _SessionBuilder(event.session_id)
        builder.add(event)
    return TraceState(sessions=[builder.finished() for builder in builders.values()])


class _SessionBuilder:
    """Adds up the events of one session."""

    def __init__(self, session_id: str) -> None:
        self._state = SessionState(session_id=session_id)
        self._types: Counter[str] = Counter()
        self._resolving: ResolutionState | None = None
        self._executing: ExecutionState | None = None
        self._resolutions: dict[str, ResolutionState] = {}
        self._running: dict[str, ExecutionState] = {}
        """Approved calls without an end, by the span of the request, which is the parent of its end."""
        self._request_span = ""
        self._approvals: dict[str, ApprovalRecord] = {}
        self._newest_of_call: dict[tuple[str | None, str | None], ApprovalRecord] = {}
        self._steps: dict[str, Callable[[TraceEvent, Payload], None]] = {
            "session.started": self._started,
            "session.ended": self._ended,
            "carp.request.received": self._received,
            "policy.evaluated": self._evaluated,
            "context.injected": self._injected,
            "carp.resolution.completed": self._completed,
            "carp.resolution.cached": self._reused,
            "action.requested": self._requested,
            "action.approved": self._approved,
            "policy.violated": self._violated,
            "action.denied": self._denied,
            "action.executed": self._outcome,
            "action.failed": self._outcome,
            "approval.requested": self._asked,
            "approval.granted": self._decided,
            "approval.refused": self._decided,
            "trace.gap": self._gap,
            "error.occurred": self._error,
        }

    def add(self, event: TraceEvent) -> None:
        """Take the next event."""
        state = self._state
        self._types[event.event_type] += 1
        state.events += 1
        state.last_at = event.timestamp
        state.head = event.event_hash
        payload = event.payload
        state.redacted += len(texts_in(payload, "redacted"))
        step = self._steps.get(event.event_type)
        if step is not None:
            step(event, payload)

    def finished(self) -> SessionState:
        """Return the state after the last event; approvals that are over by then have expired."""
        state = self._state
        state.event_types = dict(sorted(self._types.items()))
        for approval in state.approvals:
            if approval.state == "granted" and (approval.expires_at or "~") <= state.last_at:
                approval.state = "expired"
        return state

    def _started(self, event: TraceEvent, payload: Payload) -> None:
        state = self._state
        state.agent_id = text_in(payload, "agent_id")
        state.goal = text_in(payload, "goal")
        state.parent_session_id = text_in(payload, "parent_session_id")
        state.hash_algorithm = named_algorithm(event.event_type, event.payload_json)
        state.started_at = event.timestamp
        versions = payload.get("atlas_versions")
        if isinstance(versions, dict):
            state.atlas_versions = {
                name: version for name, version in versions.items() if isinstance(version, str)
            }

    def _ended(self, event: TraceEvent, payload: Payload) -> None:
        state = self._state
        state.truncated = False
        state.ended_at = event.timestamp
        state.end_reason = text_in(payload, "reason")
        state.duration_ms = whole_number_in(payload, "duration_ms")

    def _received(self, event: TraceEvent, payload: Payload) -> None:
        self._resolving = self._executing = None
        self._request_span = event.span_id
        if payload.get("operation") == "execute":
            self._executing = ExecutionState(
                sequence=event.sequence,
                timestamp=event.timestamp,
                resolution_id=text_in(payload, "resolution_id"),
            )
            self._state.executions.append(self._executing)
            return
        self._resolving = ResolutionState(
            sequence=event.sequence,
            timestamp=event.timestamp,
            goal=text_in(payload, "goal"),
            risk_tier=text_in(payload, "risk_tier"),
        )

    # A resolve

    def _evaluated(self, event: TraceEvent, payload: Payload) -> None:
        action_id = text_in(payload, "action_id")
        if self._resolving is None or action_id is None:
            return
        if payload.get("result") == "allow":
            self._resolving.allowed.append(action_id)
        else:
            self._resolving.denied[action_id] = text_in(payload, "policy_id")

    def _injected(self, event: TraceEvent, payload: Payload) -> None:
        block_id = text_in(payload, "block_id")
        if self._resolving is not None and block_id is not None:
            self._resolving.context_blocks.append(block_id)

    def _completed(self, event: TraceEvent, payload: Payload) -> None:
        resolution = self._resolving
        if resolution is None:
            return
        resolution.resolution_id = text_in(payload, "resolution_id")
        resolution.decision_type = text_in(payload, "decision_type")
        resolution.ttl_seconds = whole_number_in(payload, "ttl_seconds")
        self._state.resolutions.append(resolution)
        if resolution.resolution_id is not None:
            self._resolutions[resolution.resolution_id] = resolution
        self._resolving = None

    def _reused(self, event: TraceEvent, payload: Payload) -> None:
        named = self._resolutions.get(text_in(payload, "resolution_id") or "")
        if named is not None:
            named.reused += 1
        self._resolving = None

    # An execute

    def _requested(self, event: TraceEvent, payload: Payload) -> None:
        if self._executing is not None:
            self._executing.action_id = text_in(payload, "action_id")
            self._executing.parameters_hash = text_in(payload, "parameters_hash")
            self._executing.outcome = "waiting"  # what the trace says no more of waits for a person

    def _approved(self, event: TraceEvent, payload: Payload) -> None:
        execution = self._executing
        if execution is None:
            return
        execution.outcome = "running"
        self._running[self._request_span] = execution
        if execution.action_id is not None:
            consumed = self._state.consumed
            consumed[execution.action_id] = consumed.get(execution.action_id, 0) + 1
        approval = self._newest_of_call.get((execution.action_id, execution.parameters_hash))
        if approval is None or approval.state != "granted" or (approval.expires_at or "~") <= event.timestamp:
            return
        approval.used += 1
        execution.approval_id = approval.approval_id
        if approval.uses is not None and approval.used >= approval.uses:
            approval.state = "used"

    def _violated(self, event: TraceEvent, payload: Payload) -> None:
        policy_id = text_in(payload, "policy_id")
        if policy_id is not None and payload.get("violation_type") in _LIMIT_REASONS:
            full = self._state.full_limits
            full[policy_id] = full.get(policy_id, 0) + 1

    def _denied(self, event: TraceEvent, payload: Payload) -> None:
        if self._executing is not None:
            self._executing.outcome = "denied"
            self._executing.policy_id = text_in(payload, "policy_id")
            self._executing.reason = text_in(payload, "reason")

    def _outcome(self, event: TraceEvent, payload: Payload) -> None:
        execution = self._running.pop(event.parent_span_id or "", None)
        if execution is None:
            return
        execution.outcome = "executed" if event.event_type == "action.executed" else "failed"
        execution.execution_id = text_in(payload, "execution_id")
        execution.duration_ms = whole_number_in(payload, "duration_ms")
        execution.result_hash = text_in(payload, "result_hash")
        execution.error_code = text_in(payload, "error_code")

    # Approvals

    def _asked(self, event: TraceEvent, payload: Payload) -> None:
        approval_id = text_in(payload, "approval_id")
        if approval_id is None:
            return
        approval = ApprovalRecord(
            approval_id=approval_id,
            sequence=event.sequence,
            action_id=text_in(payload, "action_id"),
            parameters_hash=text_in(payload, "parameters_hash"),
        )
        if self._executing is not None:
            self._executing.approval_id = approval_id
        before = self._newest_of_call.get((approval.action_id, approval.parameters_hash))
        if before is not None and before.state == "granted":
            before.state = "expired"  # nobody asks again while a grant can be used
        self._state.approvals.append(approval)
        self._approvals[approval_id] = approval
        self._newest_of_call[approval.action_id, approval.parameters_hash] = approval

    def _decided(self, event: TraceEvent, payload: Payload) -> None:
        approval = self._approvals.get(text_in(payload, "approval_id") or "")
        if approval is None:
            return
        approval.state = "granted" if event.event_type == "approval.granted" else "refused"
        approval.approver = text_in(payload, "approver")
        approval.reason = text_in(payload, "reason")
        approval.expires_at = text_in(payload, "expires_at")
        approval.uses = whole_number_in(payload, "uses")

    # What is told beside

    def _gap(self, event: TraceEvent, payload: Payload) -> None:
        told = {name: payload.get(name) for name in ("cause", "lost_count", "lost_at_most")}
        self._state.gaps.append({"sequence": event.sequence, **told})

    def _error(self, event: TraceEvent, payload: Payload) -> None:
        told = {name: payload.get(name) for name in ("code", "message")}
        self._state.errors.append({"sequence": event.sequence, **told})
