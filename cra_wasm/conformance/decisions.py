"""Areas `policy`, `context` and `resolution`: what one resolve answers, looked at from three sides."""

from __future__ import annotations

from typing import Any, Final

from ..errors import InvalidState, Json
from ..model.resolution import Resolution
from ..model.timestamps import parse_timestamp_ns
from ..resolver import Resolver
from ..testing import FakeClock, SequentialIds
from .case import DecisionInput, Question
from .step import Resolve

_OPTIONAL: Final = ("risk_tier", "required_capabilities", "context_hints", "atlas_ids", "context")


def answer_policy(question: DecisionInput) -> Json:
    """Answer the decision, and each candidate's verdict with the policy that it is by."""
    resolver, session_id, resolution = _ask(question)
    verdicts = [
        {name: told[name] for name in ("action_id", "result", "policy_id", "reason")}
        for told in resolver.explain(session_id, resolution.resolution_id)
    ]
    return {"decision": resolution.decision.type, "verdicts": verdicts}


def answer_context(question: DecisionInput) -> Json:
    """Answer the context blocks in their order, without their contents."""
    _, _, resolution = _ask(question)
    names = ("block_id", "source", "priority", "token_estimate")
    return {"blocks": [{name: getattr(one, name) for name in names} for one in resolution.context_blocks]}


def answer_resolution(question: DecisionInput) -> Json:
    """Answer the whole resolution."""
    return _ask(question)[2].to_dict()


def arguments_of(asked: Question | Resolve) -> dict[str, Any]:
    """Return the optional arguments of a resolve that are given."""
    given = {name: getattr(asked, name) for name in _OPTIONAL}
    return {name: value for name, value in given.items() if value is not None}


def _ask(question: DecisionInput) -> tuple[Resolver, str, Resolution]:
    resolver = Resolver(clock=FakeClock(parse_timestamp_ns(question.clock)), ids=SequentialIds())
    for atlas in question.atlases:
        for action in resolver.load_atlas(atlas).actions:
            resolver.register_executor(action.action_id, lambda parameters: None)
    session_id = resolver.create_session(question.session.agent_id, question.session.goal)
    for call in question.calls_before:
        before = resolver.resolve(session_id, question.session.goal)
        answer = resolver.execute(session_id, before.resolution_id, call.action_id, call.parameters)
        if answer.status != "success":
            raise InvalidState("call_before_failed", f"`{call.action_id}` answered {answer.status}")
    asked = question.resolve
    return resolver, session_id, resolver.resolve(session_id, asked.goal, **arguments_of(asked))
