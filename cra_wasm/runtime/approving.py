"""Granting and refusing, recorded before it counts (PROTOCOL 2.6)."""

from __future__ import annotations

from typing import Final

from ..carp.approvals import Approval, Approvals, check_decision
from ..carp.planner import Planner
from ..errors import Json
from ..model.ids import parse_uuid
from ..model.timestamps import timestamp_text
from ..trace.canonical import canonical_json
from .arguments import check_text
from .recorder import Recorder
from .redacting import redacted_texts, session_redaction
from .sessions import Sessions

_NS: Final = 1_000_000_000


class Approving:
    """Decides the approvals of a resolver, which holds its lock around each call."""

    def __init__(self, recorder: Recorder, sessions: Sessions, approvals: Approvals) -> None:
        self._recorder = recorder
        self._sessions = sessions
        self._approvals = approvals

    def decide(
        self,
        approval_id: str,
        *,
        planner: Planner,
        granted: bool,
        approver: str,
        reason: str,
        expires_in_seconds: int | None,
        uses: int | None,
    ) -> Approval:
        """Record the decision, then let it count. `planner` says what of it is redacted.

        Raises:
            InvalidInput: `invalid_id`, and as `check_decision`.
            NotFound: `approval_not_found`.
            InvalidState: `approval_decided`.
            BufferFull, BackendFailure: it was not recorded, so nothing was decided.
        """
        parse_uuid(approval_id, pointer="/approval_id")
        check_decision(approver, reason, expires_in_seconds, uses)
        check_text(approver, code="invalid_approver", pointer="/approver", max_chars=255)
        if reason:
            check_text(reason, code="invalid_reason", pointer="/reason", max_chars=500)
        approval = self._approvals.find_pending(approval_id)
        session = self._sessions.running(approval.session_id)
        moment = self._recorder.now()
        payload: dict[str, Json] = {
            "action_id": approval.action_id,
            "approval_id": approval.approval_id,
            "approver": approver,
            "parameters_hash": approval.parameters_hash,
            "reason": reason,
        }
        lasts_ns = (expires_in_seconds or approval.default_expiry_seconds) * _NS
        expires_at = timestamp_text(moment.wall_ns + lasts_ns)
        uses_left = uses or approval.default_uses
        if granted:
            payload |= {"expires_at": expires_at, "uses": uses_left}
        event_type = "approval.granted" if granted else "approval.refused"
        redaction = session_redaction(planner, session.agent_id, moment.wall_ns)
        texts = redacted_texts([(event_type, canonical_json(payload))], redaction, session.hash_algorithm)
        self._recorder.record(session, moment, texts, trace_id=session.trace_id)
        approval.approver = approver
        approval.reason = reason
        approval.state = "granted" if granted else "refused"
        if granted:
            approval.uses_left = uses_left
            approval.expires_at = expires_at
            approval.expires_elapsed_ns = moment.elapsed_ns + lasts_ns
        return approval
