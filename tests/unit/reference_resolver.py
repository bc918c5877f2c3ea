"""A whole Resolver written down slowly from specs/PROTOCOL.md: plain loops over the manifests' dicts, nothing
compiled, nothing cached, no code of the product.

It is given the clock and, with each call, the blocks of ids that the product took in that call, and returns
what the product has to answer, as JSON. Messages are the product's own: `told` is the one that it gave.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from . import reference_trace as trace
from .reference_calls import Calls
from .reference_redaction import Removals, redacted, removals_of_request, removals_of_session
from .reference_resolution import Answer
from .reference_state import Approval, Remembered, Session, State
from .reference_trace import Refused

OWN_EVENTS = re.compile(r"(session|carp|action|policy|context|approval|runtime|clock|trace|error)\.")
UNTOLD = ("load_atlas", "unload_atlas", "approvals", "register_executor")
"""Calls whose refusal no trace tells."""


WOULD = dict.fromkeys(["status", "reason", "policy_id", "approval_id", "retry_after_ms"])


class WouldRun(BaseException):
    """An executor was about to run."""


def would_run(parameters: Any) -> None:
    raise WouldRun


class ReferenceResolver:
    """`call` does what the method of that name of a Resolver does."""

    def __init__(self, clock: Any, ttl_seconds: int = 3600) -> None:
        self.state = State(clock)
        self.ttl_seconds = ttl_seconds
        self.state.start_own = lambda: self.start("cra-runtime", "events outside any session")
        self.calls = Calls(self.state)

    def call(self, name: str, arguments: dict[str, Any], blocks: list[int], told: str | None) -> Any:
        """Return the answer.

        Raises:
            Refused: after it was recorded.
        """
        self.state.blocks = list(blocks)
        self.state.told = told
        try:
            return getattr(self, name)(**arguments)
        except Refused as refused:
            if name not in UNTOLD:
                session_id = arguments.get("session_id")
                if name == "resolve_request":
                    session_id = arguments["request"]["requester"]["session_id"]
                self.record_error(session_id, refused)
            raise

    def record_error(self, session_id: str | None, refused: Refused) -> None:
        payload = {"code": refused.code, "message": self.state.told}
        if refused.pointer is not None:
            payload["pointer"] = refused.pointer
        state = self.state
        session = state.sessions.get(session_id or "")
        state.look()
        # What the call took before it was refused went nowhere.
        step_of_own = state.steps_told < len(state.steps)
        starts = state.own is None and (session is None or step_of_own)
        step = session is not None and session.steps_told < len(state.steps)
        state.blocks = state.blocks[-(1 + starts + step_of_own + step) :]
        if session is None:
            state.tell_own()
            if state.own is None:
                state.own = self.start("cra-runtime", "events outside any session")
            session = state.own
        else:
            state.tell(session)
        state.record(session, [("error.occurred", payload)])

    # Atlases

    def load_atlas(self, source: dict[str, Any]) -> None:
        manifest = source
        state = self.state
        taken = {
            action["action_id"]
            for name, other in state.atlases.items()
            if name != manifest["atlas_id"]
            for action in other["actions"]
        }
        for index, action in enumerate(manifest["actions"]):
            if action["action_id"] in taken:
                raise Refused("duplicate_action", f"/actions/{index}/action_id")
        state.atlases[manifest["atlas_id"]] = manifest
        state.lineages.setdefault(manifest["atlas_id"], object())
        state.loaded = object()

    def unload_atlas(self, atlas_id: str) -> None:
        state = self.state
        if atlas_id not in state.atlases:
            raise Refused("atlas_not_found", "/atlas_id")
        del state.atlases[atlas_id], state.lineages[atlas_id]
        state.loaded = object()
        state.approvals = [one for one in state.approvals if one.atlas_id != atlas_id]
        state.taken.forget(atlas_id=atlas_id)

    # Sessions

    def start(self, agent_id: str, goal: str, parent: str | None = None) -> Session:
        state = self.state
        base = state.blocks.pop(0)
        wall_ns, elapsed_ns = state.look()
        session = Session(trace.id_text(base + trace.SESSION_ID), agent_id, goal, base, elapsed_ns)
        session.parent = parent
        session.steps_told = len(state.steps)
        payload = {
            "agent_id": agent_id,
            "goal": goal,
            "atlas_ids": list(state.atlases),
            "atlas_versions": {name: one["version"] for name, one in state.atlases.items()},
            **({} if parent is None else {"parent_session_id": parent}),
        }
        removals = removals_of_session([*state.atlases.values()], agent_id, wall_ns)
        texts = redacted([("session.started", payload)], removals)
        session.goal, session.goal_is_redacted = texts[0][1]["goal"], "redacted" in texts[0][1]
        session.root_span = state.trace.record(session.session_id, base, wall_ns, base, None, texts)
        return session

    def create_session(self, agent_id: str, goal: str, parent_session_id: str | None = None) -> str:
        check_text(agent_id, "invalid_agent_id", "/requester/agent_id")
        if agent_id == "cra-runtime":
            raise Refused("invalid_agent_id", "/requester/agent_id")
        check_text(goal, "invalid_goal", "/task/goal")
        if parent_session_id is not None:
            parent = self.state.running(parent_session_id, "/requester/parent_session_id")
        session = self.start(agent_id, goal, parent_session_id)
        self.state.sessions[session.session_id] = session
        if parent_session_id is not None:
            parent.children.append(session.session_id)
        return session.session_id

    def end_session(self, session_id: str, reason: str) -> dict[str, Any]:
        if reason not in ("completed", "timeout", "error", "cancelled", "interrupted"):
            raise Refused("invalid_reason", "/reason")
        family = [self.state.running(session_id)]
        for one in family:
            family += [self.state.sessions[child] for child in one.children if child in self.state.sessions]
        for one in reversed(family):
            payload = self.end(one, reason if one is family[0] else "cancelled")
            self.forget(one.session_id)
        return payload

    def forget(self, session_id: str) -> None:
        state = self.state
        del state.sessions[session_id]
        state.ended.add(session_id)
        state.approvals = [one for one in state.approvals if one.session_id != session_id]
        state.taken.forget(session_id=session_id)

    def end(self, session: Session, reason: str) -> dict[str, Any]:
        _, elapsed_ns = self.state.look()
        if session is not self.state.own:
            self.state.tell(session)
        payload = {
            "reason": reason,
            "duration_ms": (elapsed_ns - session.started_ns) // 1_000_000,
            "resolution_count": len(session.resolutions),
            "action_count": session.action_count,
        }
        self.state.record(session, [("session.ended", payload)])
        return payload

    def close(self) -> None:
        self.state.look()
        self.state.tell_own()
        if self.state.own is not None:
            self.end(self.state.own, "completed")

    # Resolve

    def resolve(
        self,
        session_id: str,
        goal: str,
        risk_tier: str = "low",
        required_capabilities: list[str] | None = None,
        context_hints: list[str] | None = None,
        atlas_ids: list[str] | None = None,
        context: dict[str, Any] | None = None,
        request_id: str | None = None,
        reuse: bool = False,
    ) -> dict[str, Any]:
        state = self.state
        session = state.running(session_id)
        check_text(goal, "invalid_goal", "/task/goal")
        if risk_tier not in ("low", "medium", "high", "critical"):
            raise Refused("invalid_risk_tier", "/task/risk_tier")
        check_names(required_capabilities, "required_capabilities", "/task/required_capabilities")
        check_names(context_hints, "context_hints", "/task/context_hints")
        check_names(atlas_ids, "atlas_ids", "/atlas_ids")
        trace.plain({"context": context or {}})
        chosen = state.chosen(atlas_ids)
        wall_ns, elapsed_ns = state.look()
        facts = {
            "agent_id": session.agent_id,
            "risk_tier": risk_tier,
            "context": context or {},
            "wall_ns": wall_ns,
        }
        removals = removals_of_request([*state.atlases.values()], facts)
        answer = Answer(
            chosen,
            facts,
            required_capabilities or [],
            context_hints or [],
            goal,
            lambda atlas, limit: state.wait_ms(session, atlas, limit) is not None,
        )
        base = state.blocks.pop(0)
        resolution_id = trace.id_text(base + trace.RESOLUTION_ID)
        request_id = request_id or trace.id_text(base + trace.REQUEST_ID)
        question = {
            "goal": goal,
            "risk_tier": risk_tier,
            **({} if atlas_ids is None else {"atlas_ids": atlas_ids}),
            **({"context": context} if context else {}),
            **({"context_hints": context_hints} if context_hints else {}),
            **({"required_capabilities": required_capabilities} if required_capabilities else {}),
        }
        if reuse:
            known = self.reusable(session, question, answer, removals, elapsed_ns)
            if known is not None:
                self.record_hit(session, question, known, base, wall_ns, removals)
                return known
        received = {"request_id": request_id, "operation": "resolve", **question}
        members = answer.to_dict()
        completed = {
            "resolution_id": resolution_id,
            "request_id": request_id,
            "decision_type": members["decision"]["type"],
            "allowed_count": len(members["allowed_actions"]),
            "denied_count": len(members["denied_actions"]),
            "context_block_count": len(members["context_blocks"]),
            "ttl_seconds": self.ttl_seconds,
        }
        texts = [
            *redacted([("carp.request.received", received)], removals),
            *answer.events(),
            ("carp.resolution.completed", completed),
        ]
        state.trace.record(session.session_id, base, wall_ns, base, session.root_span, texts)
        ends_ns = elapsed_ns + self.ttl_seconds * 10**9
        if answer.ends_wall_ns is not None:
            ends_ns = min(ends_ns, elapsed_ns + answer.ends_wall_ns - wall_ns)
        lineages = {atlas["atlas_id"]: state.lineages[atlas["atlas_id"]] for atlas in chosen}
        session.resolutions[resolution_id] = Remembered(answer, base, ends_ns, lineages, removals)
        resolution = {
            "carp_version": "1.0",
            "resolution_id": resolution_id,
            "request_id": request_id,
            "timestamp": trace.time_text(wall_ns),
            **members,
            "ttl_seconds": self.ttl_seconds,
            "trace_id": trace.id_text(base),
        }
        if reuse:
            remembered = session.resolutions[resolution_id]
            session.reusable[trace.canonical(question)] = (state.loaded, resolution, remembered)
        return resolution

    def reusable(
        self,
        session: Session,
        question: dict[str, Any],
        answer: Answer,
        removals: dict[str, bool],
        elapsed_ns: int,
    ) -> dict[str, Any] | None:
        """Return the resolution that the question had, if `answer` says the same (2.12)."""
        loaded, resolution, before = session.reusable.get(trace.canonical(question), (None, {}, None))
        if before is None or loaded is not self.state.loaded or elapsed_ns >= before.ends_ns:
            return None
        same = (before.answer.to_dict(), before.answer.events()) == (answer.to_dict(), answer.events())
        return resolution if same and removals == before.removals else None

    def record_hit(
        self,
        session: Session,
        question: dict[str, Any],
        known: dict[str, Any],
        base: int,
        wall_ns: int,
        removals: Removals,
    ) -> None:
        request_id = trace.id_text(base + trace.REQUEST_ID)
        trace_id = session.resolutions[known["resolution_id"]].trace_id
        hit = {"resolution_id": known["resolution_id"], "request_id": request_id, "cache_hit": True}
        texts = [
            *redacted(
                [
                    (
                        "carp.request.received",
                        {"request_id": request_id, "operation": "resolve", **question},
                    )
                ],
                removals,
            ),
            ("carp.resolution.cached", hit),
        ]
        self.state.trace.record(session.session_id, base, wall_ns, trace_id, session.root_span, texts)

    def resolve_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a whole CARPRequest whose form is right."""
        if request["operation"] == "validate":
            return self.validate_request(request)
        state = self.state
        session = state.running(request["requester"]["session_id"])
        wall_ns, _ = state.look()
        if request["requester"]["agent_id"] != session.agent_id:
            raise Refused("agent_mismatch", "/requester/agent_id")
        if request["requester"].get("parent_session_id", session.parent) != session.parent:
            raise Refused("parent_mismatch", "/requester/parent_session_id")
        if abs(wall_ns - state.wall_ns_of(request["timestamp"])) > 300 * 10**9:
            raise Refused("stale_timestamp", "/timestamp")
        if request["request_id"] in session.request_ids:
            raise Refused("duplicate_request_id", "/request_id")
        session.request_ids.add(request["request_id"])
        asked = {**request["task"], "session_id": session.session_id, "request_id": request["request_id"]}
        if request["operation"] == "execute":
            return self.calls.execute(
                session, **request["execution"], goal=asked["goal"], request_id=asked["request_id"]
            )
        return self.resolve(**asked, atlas_ids=request.get("atlas_ids"), context=request.get("context"))

    def validate_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do it in a copy of this world, where nothing runs, and tell how it went (2.10)."""
        wall_ns, _ = self.state.look()
        told: dict[str, Any] = {
            "carp_version": "1.0",
            "request_id": request["request_id"],
            "timestamp": trace.time_text(wall_ns),
            "valid": True,
            "findings": [],
            "decision": None,
            "would_execute": None,
        }
        world = copy.deepcopy(self)
        world.state.blocks = [1 << 100, 2 << 100]
        for one in (world.state, *world.state.sessions.values()):
            one.steps_told = len(world.state.steps)
        world.state.executors = dict.fromkeys(self.state.executors, would_run)
        executes = "execution" in request
        try:
            answer = world.resolve_request({**request, "operation": "execute" if executes else "resolve"})
        except Refused as refused:
            return {**told, "valid": False, "findings": [{"pointer": refused.pointer, "code": refused.code}]}
        except WouldRun:
            return {**told, "would_execute": {**WOULD, "status": "allowed"}}
        if not executes:
            return {**told, "decision": answer["decision"]}
        session = self.state.sessions[request["requester"]["session_id"]]
        if request["execution"].get("idempotency_key") in session.keyed:
            return {**told, "would_execute": {**WOULD, "status": "answered_before"}}
        would = {**WOULD, "status": answer["status"], "policy_id": answer["error"]["details"]["policy_id"]}
        if answer["status"] == "denied":
            details = answer["error"]["details"]
            would |= {"reason": details["reason"], "retry_after_ms": details.get("retry_after_ms")}
        else:
            asked = answer["error"]["details"]["approval_id"]
            known = asked in [one.approval_id for one in self.state.approvals]
            would |= {"reason": "requires_approval", "approval_id": asked if known else None}
        return {**told, "would_execute": would}

    def explain(self, session_id: str, resolution_id: str) -> list[dict[str, Any]]:
        state = self.state
        found = state.find(state.running(session_id), resolution_id)
        return found.answer.explanation()

    # Execute and approve

    def register_executor(self, action_id: str, function: Callable[..., Any]) -> None:
        self.state.executors[action_id] = function

    def execute(
        self,
        session_id: str,
        resolution_id: str,
        action_id: str,
        parameters: dict[str, Any],
        idempotency_key: str | None,
    ) -> dict[str, Any]:
        session = self.state.running(session_id)
        return self.calls.execute(session, resolution_id, action_id, parameters, idempotency_key)

    def approvals(self) -> list[dict[str, Any]]:
        _, elapsed_ns = self.state.look()
        return [one.to_dict(elapsed_ns) for one in self.state.approvals]

    def grant_approval(
        self, approval_id: str, approver: str, expires_in_seconds: int | None, uses: int | None
    ) -> dict[str, Any]:
        approval, told = self.pending(approval_id, approver)
        session = self.state.running(approval.session_id)
        wall_ns, elapsed_ns = self.state.look()
        lasts_ns = (expires_in_seconds or approval.default_expiry_seconds) * 10**9
        uses = uses or approval.default_uses
        expires_at = trace.time_text(wall_ns + lasts_ns)
        told = {**told, "expires_at": expires_at, "uses": uses}
        self.state.record(session, [("approval.granted", told)])
        approval.state, approval.approver, approval.reason = "granted", approver, ""
        approval.uses_left, approval.expires_at = uses, expires_at
        approval.expires_ns = elapsed_ns + lasts_ns
        return approval.to_dict()

    def refuse_approval(self, approval_id: str, approver: str) -> dict[str, Any]:
        approval, told = self.pending(approval_id, approver)
        self.state.record(self.state.running(approval.session_id), [("approval.refused", told)])
        approval.state, approval.approver, approval.reason = "refused", approver, ""
        return approval.to_dict()

    def pending(self, approval_id: str, approver: str) -> tuple[Approval, dict[str, Any]]:
        State.check_id(approval_id, "/approval_id")
        check_text(approver, "invalid_approver", "/approver")
        for approval in self.state.approvals:
            if approval.approval_id == approval_id:
                if approval.state != "pending":
                    raise Refused("approval_decided", "/approval_id")
                told = {
                    "approval_id": approval_id,
                    "action_id": approval.action_id,
                    "parameters_hash": approval.parameters_hash,
                    "approver": approver,
                    "reason": "",
                }
                return approval, told
        raise Refused("approval_not_found", "/approval_id")

    # Events of the host's own

    def emit(self, session_id: str, event_type: str, payload: dict[str, Any]) -> None:
        session = self.state.running(session_id)
        if OWN_EVENTS.match(event_type):
            raise Refused("reserved_event_type", "/event_type")
        if not re.fullmatch(r"[a-z]+(\.[a-z_]+)+", event_type):
            raise Refused("invalid_event_type", "/event_type")
        trace.plain(payload, "/payload")
        self.state.record(session, [(event_type, payload)])


def check_text(text: str, code: str, pointer: str) -> None:
    if not text or trace.HALF_PAIR.search(text):
        raise Refused(code, pointer)


def check_names(names: list[str] | None, field: str, pointer: str) -> None:
    for index, name in enumerate(names or []):
        check_text(name, f"invalid_{field}", f"{pointer}/{index}")
