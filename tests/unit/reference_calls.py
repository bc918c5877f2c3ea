"""PROTOCOL 2.6 and 2.7 written down slowly: one execute, check by check in the order that stands there. No
code of the product."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from . import reference_trace as trace
from .reference_limits import account_of, cost_of, limits_of
from .reference_redaction import redacted
from .reference_resolution import all_blocks
from .reference_state import Approval, Remembered, Session, State, copy_of
from .reference_trace import Refused, Texts

PARAMETERS = "/execution/parameters"


class Denied(Exception):
    """The answer is a denial by that policy."""

    def __init__(self, policy_id: str, reason: str, retry_after_ms: int | None = None) -> None:
        super().__init__(reason)
        self.policy_id = policy_id
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class Asked:
    """One execute on its way."""

    def __init__(self, session: Session, resolution_id: str, action_id: str, parameters: Any) -> None:
        self.session = session
        self.resolution_id = resolution_id
        self.action_id = action_id
        try:
            self.parameters = copy_of(parameters)
        except Refused as refused:
            raise Refused("invalid_parameters", PARAMETERS + (refused.pointer or "")) from None
        self.parameters_hash = trace.sha256(trace.canonical(parameters))

    def is_of(self, approval: Approval, atlas_id: str) -> bool:
        call = (approval.session_id, approval.atlas_id, approval.action_id, approval.parameters_hash)
        return call == (self.session.session_id, atlas_id, self.action_id, self.parameters_hash)


class Calls:
    """The executes of a resolver."""

    def __init__(self, state: State) -> None:
        self.state = state

    def execute(
        self,
        session: Session,
        resolution_id: str,
        action_id: str,
        parameters: dict[str, Any],
        idempotency_key: str | None = None,
        goal: str | None = None,
        request_id: str | None = None,
    ) -> dict[str, Any]:
        asked = Asked(session, resolution_id, action_id, parameters)
        if idempotency_key is not None and idempotency_key in session.keyed:
            kept_action, kept_hash, answer = session.keyed[idempotency_key]
            if (kept_action, kept_hash) != (action_id, asked.parameters_hash):
                raise Refused("idempotency_conflict", "/execution/idempotency_key")
            return answer
        found = self.state.find(session, resolution_id)
        atlas, action = self.candidate(found, action_id)
        wall_ns, elapsed_ns = self.state.look()
        base = self.state.blocks[0]
        response = {
            "carp_version": "1.0",
            "execution_id": trace.id_text(base + trace.EXECUTION_ID),
            "request_id": request_id or trace.id_text(base + trace.REQUEST_ID),
            "resolution_id": resolution_id,
            "timestamp": trace.time_text(wall_ns),
            "result": None,
            "error": None,
            "trace_id": trace.id_text(found.trace_id),
        }
        received = {
            "request_id": response["request_id"],
            "operation": "execute",
            "goal": session.goal if goal is None else goal,
            "resolution_id": resolution_id,
        }
        if goal is None and session.goal_is_redacted:
            received["redacted"] = ["/goal"]
        opening: Texts = [
            *redacted([("carp.request.received", received)], found.removals),
            *self.stale(found),
            (
                "action.requested",
                {
                    "action_id": action_id,
                    "parameters_hash": asked.parameters_hash,
                    "resolution_id": resolution_id,
                },
            ),
        ]
        try:
            costs, approval, policy_id = self.judge(found, atlas, action, asked)
        except Denied as denied:
            return {**response, "status": "denied", "error": self.deny(asked, found, opening, denied)}
        if policy_id is not None and (approval is None or not approval.is_usable(elapsed_ns)):
            error = self.ask(found, atlas, asked, approval, policy_id, opening)
            return {**response, "status": "pending_approval", "error": error}
        if action_id not in self.state.executors:
            raise Refused("no_executor", "/execution/action_id")
        opening.append(("action.approved", {"action_id": action_id, "resolution_id": resolution_id}))
        first_span = self.state.trace.record(
            session.session_id,
            self.state.blocks.pop(0),
            wall_ns,
            found.trace_id,
            session.root_span,
            opening,
        )
        for limit, cost in costs:
            account = account_of(atlas["atlas_id"], limit, session.agent_id, session.session_id)
            self.state.taken.take(account, elapsed_ns, cost)
        if approval is not None:
            approval.uses_left -= 1
            approval.state = "granted" if approval.uses_left else "used"
        session.action_count += 1
        ended = self.run(asked, found, action, first_span, elapsed_ns, response["execution_id"])
        answer = {**response, **ended}
        if idempotency_key is not None:
            session.keyed[idempotency_key] = (action_id, asked.parameters_hash, answer)
        return answer

    def stale(self, found: Remembered) -> Texts:
        """Return context.stale of each block that its atlas has no more, or with another content."""
        texts: Texts = []
        for atlas, block in found.answer.blocks:
            now = self.state.atlases.get(atlas["atlas_id"])
            same = [one for one in all_blocks(now) if one["context_id"] == block["context_id"]]
            told = {"block_id": block["context_id"], "source": atlas["atlas_id"]}
            if not same:
                texts.append(("context.stale", {**told, "reason": "removed"}))
            elif shown_of(same[0]) != shown_of(block):
                texts.append(("context.stale", {**told, "reason": "changed"}))
        return texts

    def candidate(self, found: Remembered, action_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        for atlas, action in found.answer.candidates:
            if action["action_id"] == action_id:
                if self.state.lineages.get(atlas["atlas_id"]) is not found.lineages[atlas["atlas_id"]]:
                    raise Refused("atlas_unloaded", "/execution/resolution_id")
                return atlas, action
        raise Refused("action_not_found", "/execution/action_id")

    def judge(
        self, found: Remembered, atlas: dict[str, Any], action: dict[str, Any], asked: Asked
    ) -> tuple[list[tuple[dict[str, Any], Decimal]], Approval | None, str | None]:
        """Return the costs, the newest approval of this call, and the policy that wants one, if any."""
        answer = found.answer
        policy_id, reason = answer.verdict_on(asked.action_id)
        limits = limits_of(atlas, action, answer.facts)
        awaits = answer.awaits_approval(atlas, (policy_id, reason))
        if awaits:
            without = [one for one in atlas["policies"] if one["type"] != "require_approval"]
            other = answer.verdict_without(atlas, action, without)
            if other[1] is not None:
                raise Denied(other[0], other[1])
        elif reason is not None:
            for limit in limits:
                if limit["policy_id"] == policy_id:
                    raise Denied(policy_id, reason, self.state.wait_ms(asked.session, atlas, limit) or 0)
            raise Denied(policy_id, reason)
        check_schema(action, asked.parameters)
        costs = []
        for limit in limits:
            cost = cost_of(limit, asked.parameters)
            if cost is None:
                raise Denied(limit["policy_id"], "invalid_cost")
            wait_ms = self.state.wait_ms(asked.session, atlas, limit, cost)
            if wait_ms is not None:
                rate = limit["type"] == "rate_limit"
                told = "rate_limit_exceeded" if rate else "budget_exceeded"
                raise Denied(limit["policy_id"], told, wait_ms)
            costs.append((limit, cost))
        if not awaits:
            return costs, None, None
        of_call = [one for one in self.state.approvals if asked.is_of(one, atlas["atlas_id"])]
        return costs, of_call[-1] if of_call else None, policy_id

    def deny(self, asked: Asked, found: Remembered, opening: Texts, denied: Denied) -> dict[str, Any]:
        details: dict[str, Any] = {"action_id": asked.action_id}
        if denied.retry_after_ms is not None:
            details["retry_after_ms"] = denied.retry_after_ms
        named = {"policy_id": denied.policy_id, "reason": denied.reason}
        violated = {"policy_id": denied.policy_id, "violation_type": denied.reason, "details": details}
        told = {"action_id": asked.action_id, **named}
        texts = [*opening, ("policy.violated", violated), ("action.denied", told)]
        self.state.record(asked.session, texts, found.trace_id)
        return {"code": "action_denied", "details": {**details, **named, "pointer": "/execution/action_id"}}

    def ask(
        self,
        found: Remembered,
        atlas: dict[str, Any],
        asked: Asked,
        before: Approval | None,
        policy_id: str,
        opening: Texts,
    ) -> dict[str, Any]:
        """Ask for an approval, unless this very call waits for one."""
        approval = before
        if approval is None or approval.state != "pending":
            if before is not None and before.state == "granted":
                before.state = "expired"
            (policy,) = (one for one in atlas["policies"] if one["policy_id"] == policy_id)
            terms = policy.get("parameters", {})
            approval = Approval(
                approval_id=trace.id_text(self.state.blocks[0] + trace.APPROVAL_ID),
                session_id=asked.session.session_id,
                agent_id=asked.session.agent_id,
                atlas_id=atlas["atlas_id"],
                action_id=asked.action_id,
                parameters=asked.parameters,
                parameters_hash=asked.parameters_hash,
                policy_id=policy_id,
                default_expiry_seconds=terms.get("expires_in_seconds", 3600),
                default_uses=terms.get("uses", 1),
            )
            self.state.approvals.append(approval)
            told = {
                "approval_id": approval.approval_id,
                "action_id": asked.action_id,
                "parameters_hash": asked.parameters_hash,
            }
            opening.append(("approval.requested", told))
        self.state.record(asked.session, opening, found.trace_id)
        details = {"approval_id": approval.approval_id, "policy_id": policy_id}
        return {"code": "approval_required", "details": {**details, "pointer": "/execution/action_id"}}

    def run(
        self,
        asked: Asked,
        found: Remembered,
        action: dict[str, Any],
        first_span: int,
        begun_ns: int,
        execution_id: str,
    ) -> dict[str, Any]:
        """Run the executor, record how it ended, and return what the response says of it."""
        failed: tuple[str, str] | None = None
        result = None
        try:
            result = self.state.executors[asked.action_id](copy_of(asked.parameters))
            text = trace.canonical(result)
        except Refused:
            failed = ("invalid_result", self.state.told or "")
        except Exception as error:
            code = getattr(error, "code", None)
            failed = (code, getattr(error, "message", "")) if code else ("executor_error", describe(error))
        wall_ns, elapsed_ns = self.state.look()
        payload = {
            "action_id": asked.action_id,
            "execution_id": execution_id,
            "duration_ms": (elapsed_ns - begun_ns) // 1_000_000,
        }
        answer: dict[str, Any] = {"timestamp": trace.time_text(wall_ns)}
        if failed is None:
            missing = missing_of(action, result)
            told = {"result_valid": False, "result_findings_count": len(missing)} if missing else {}
            event = ("action.executed", {**payload, "result_hash": trace.sha256(text), **told})
            answer |= {"status": "success", "result": copy_of(result)}
            if missing:
                answer["result_findings"] = [
                    {"pointer": f"/result/{name}", "code": "required"} for name in missing
                ]
        else:
            code, message = failed
            event = ("action.failed", {**payload, "error_code": code, "error_message": message})
            answer |= {"status": "error", "error": {"code": code, "message": message, "details": {}}}
        self.state.trace.record(
            asked.session.session_id,
            self.state.blocks.pop(0),
            wall_ns,
            found.trace_id,
            first_span,
            redacted([event], found.removals),
        )
        return answer


def describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def shown_of(block: dict[str, Any]) -> tuple[str, str]:
    return block.get("content_type", "text/markdown"), block["content"]


def missing_of(action: dict[str, Any], result: Any) -> list[str]:
    """Return what the one kind of returns_schema that the tests have wants and the result has not."""
    schema = action.get("returns_schema")
    wanted = schema["required"] if isinstance(schema, dict) else []
    return [name for name in wanted if name not in result]


def check_schema(action: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Hold parameters to the one kind of schema that the tests' atlases have: some required numbers >= 0."""
    for name in (action.get("parameters_schema") or {}).get("required", []):
        value = parameters.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise Refused("invalid_parameters", f"{PARAMETERS}/{name}")
