"""Approvals: asked for by execute, decided by a named person, bound to one call's exact parameters
(PROTOCOL 2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ..errors import InvalidInput, InvalidState, Json, NotFound

APPROVALS_PER_SESSION: Final = 1024
"""Most undecided or unused approvals of one session; then `approvals_full` until some are decided."""

DEFAULT_EXPIRY_SECONDS: Final = 3600
_NS: Final = 1_000_000_000

State: TypeAlias = Literal["pending", "granted", "refused", "used", "expired"]


@dataclass(slots=True, kw_only=True)
class Approval:
    """One request for approval and what became of it. Times are elapsed ns of the runtime's timeline."""

    approval_id: str
    session_id: str
    agent_id: str
    atlas_id: str
    action_id: str
    parameters_hash: str
    parameters_json: str
    policy_id: str
    default_expiry_seconds: int
    default_uses: int
    state: State = "pending"
    approver: str | None = None
    reason: str | None = None
    uses_left: int = 0
    expires_elapsed_ns: int = 0
    expires_at: str | None = None

    def is_usable(self, elapsed_ns: int) -> bool:
        """Whether a call may use it now."""
        return self.state == "granted" and self.uses_left > 0 and elapsed_ns < self.expires_elapsed_ns

    def to_dict(self, elapsed_ns: int = 0) -> dict[str, Json]:
        """Return what an approver needs to see at that time; `parameters_json` is the canonical text of the
        call's."""
        is_over = self.state == "granted" and elapsed_ns >= self.expires_elapsed_ns
        return {
            "approval_id": self.approval_id,
            "session_id": self.session_id,
            "agent_id": self.agent_id,
            "action_id": self.action_id,
            "parameters_hash": self.parameters_hash,
            "parameters_json": self.parameters_json,
            "policy_id": self.policy_id,
            "state": "expired" if is_over else self.state,
            "approver": self.approver,
            "reason": self.reason,
            "uses_left": self.uses_left,
            "expires_at": self.expires_at,
        }


class Approvals:
    """All approvals of the running sessions."""

    def __init__(self) -> None:
        self._by_id: dict[str, Approval] = {}
        self._by_call: dict[tuple[str, str, str, str], Approval] = {}
        self._per_session: dict[str, list[str]] = {}

    def of_call(
        self, session_id: str, atlas_id: str, action_id: str, parameters_hash: str
    ) -> Approval | None:
        """Return the newest request for exactly this call, whatever its state.

        Another atlas may have an action of that id once this one was loaded again without it.
        """
        return self._by_call.get((session_id, atlas_id, action_id, parameters_hash))

    def check_room(self, session_id: str, elapsed_ns: int) -> None:
        """Refuse a request too many, before anything is recorded.

        Raises:
            InvalidState: `approvals_full`.
        """
        if len(self._per_session.get(session_id, ())) < APPROVALS_PER_SESSION:
            return
        open_ones = self._open_ones(session_id, elapsed_ns)
        if len(open_ones) >= APPROVALS_PER_SESSION:
            raise InvalidState(
                "approvals_full",
                f"{len(open_ones)} approvals of this session wait: decide some of them first",
            )

    def _open_ones(self, session_id: str, elapsed_ns: int) -> dict[str, None]:
        """Return those of a session that wait or can be used."""
        return {
            name: None
            for name in self._per_session.get(session_id, ())
            if self._by_id[name].state == "pending" or self._by_id[name].is_usable(elapsed_ns)
        }

    def _make_room(self, session_id: str, elapsed_ns: int) -> None:
        """Forget those that are over, once there are too many."""
        known = self._per_session.get(session_id, [])
        if len(known) < APPROVALS_PER_SESSION:
            return
        kept = self._open_ones(session_id, elapsed_ns)
        for name in known:
            if name not in kept:
                self._forget(name)
        self._per_session[session_id] = list(kept)

    def keep(self, approval: Approval, elapsed_ns: int) -> None:
        """Take a request in, once; `check_room` came first."""
        if approval.approval_id in self._by_id:
            return
        self._make_room(approval.session_id, elapsed_ns)
        before = self._by_call.get(_call_of(approval))
        if before is not None and before.state == "granted":
            # Nobody asks again while a grant can be used, so this one is over.
            before.state = "expired"
        self._by_id[approval.approval_id] = approval
        self._by_call[_call_of(approval)] = approval
        self._per_session.setdefault(approval.session_id, []).append(approval.approval_id)

    def find_pending(self, approval_id: str) -> Approval:
        """Return an undecided request.

        Raises:
            NotFound: `approval_not_found`.
            InvalidState: `approval_decided`.
        """
        approval = self._by_id.get(approval_id)
        if approval is None:
            raise NotFound("approval_not_found", f"no approval `{approval_id[:64]}`", pointer="/approval_id")
        if approval.state != "pending":
            raise InvalidState("approval_decided", f"it is already {approval.state}", pointer="/approval_id")
        return approval

    def list(self, session_id: str | None = None) -> list[Approval]:
        """Return the approvals of one session or of all, oldest first."""
        return [one for one in self._by_id.values() if session_id is None or one.session_id == session_id]

    def use(self, approval: Approval) -> None:
        """Count one use."""
        approval.uses_left -= 1
        if approval.uses_left <= 0:
            approval.state = "used"

    def forget_session(self, session_id: str) -> None:
        """Drop what an ended session asked for."""
        for name in self._per_session.pop(session_id, []):
            self._forget(name)

    def forget_atlas(self, atlas_id: str) -> None:
        """Drop what was asked under an atlas that was unloaded, whatever it was replaced by meanwhile."""
        for name in [name for name, one in self._by_id.items() if one.atlas_id == atlas_id]:
            self._per_session[self._by_id[name].session_id].remove(name)
            self._forget(name)

    def _forget(self, approval_id: str) -> None:
        approval = self._by_id.pop(approval_id)
        call = _call_of(approval)
        if self._by_call.get(call) is approval:
            del self._by_call[call]


def _call_of(approval: Approval) -> tuple[str, str, str, str]:
    return approval.session_id, approval.atlas_id, approval.action_id, approval.parameters_hash


def check_decision(approver: object, reason: object, expires_in_seconds: object, uses: object) -> None:
    """Hold a decision's arguments to their limits.

    Raises:
        InvalidInput: `invalid_approver`, `invalid_reason`, `invalid_expiry`, `invalid_uses`.
    """
    if not isinstance(approver, str) or not 1 <= len(approver) <= 255 or not approver.strip():
        raise InvalidInput(
            "invalid_approver", "name the approver in 1 to 255 characters", pointer="/approver"
        )
    if not isinstance(reason, str) or len(reason) > 500:
        raise InvalidInput("invalid_reason", "give at most 500 characters", pointer="/reason")
    _check_whole(expires_in_seconds, 604_800, "invalid_expiry", "/expires_in_seconds")
    _check_whole(uses, 1000, "invalid_uses", "/uses")


def _check_whole(number: object, most: int, code: str, pointer: str) -> None:
    if number is None:
        return
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise InvalidInput(code, f"give a whole number from 1 to {most}", pointer=pointer)
