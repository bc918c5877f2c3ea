"""Areas `execution` and `approval`, and the golden sessions: steps that one runtime takes in order.

Each kind of step is a function of its own; `TAKE` lists them. A string that begins with `$` stands for a
member of an earlier answer: `$NAME/pointer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..errors import CRAError, Json
from ..model.timestamps import parse_timestamp_ns
from ..resolver import Resolver
from ..testing import FakeClock, SequentialIds
from . import step as kinds
from .case import StepsInput
from .chains import verdict_on
from .decisions import arguments_of
from .documents import zip_of
from .references import NoSuchAnswer, with_answers
from .refusing import findings_told, refusal_of


class Runtime:
    """One resolver on a clock that the steps move, with what they have named so far."""

    def __init__(self, wall_ns: int) -> None:
        self.clock = FakeClock(wall_ns)
        self.resolver = Resolver(clock=self.clock, ids=SequentialIds())
        self.answers: dict[str, Json] = {}
        self.sessions: dict[str, str] = {}
        """The session ids by the name of the step that created them."""

    def take(self, step: Any) -> dict[str, Json]:
        """Take one step and return {"answer": ...} or {"refused": ...}.

        Raises:
            NoSuchAnswer: it refers to what no earlier step answered.
        """
        given = {name: value for name, value in step if name not in ("named", "expect", "refused")}
        given = {name: with_answers(value, self.answers) for name, value in given.items()}
        try:
            answer = _TAKE[step.do](self, step.model_copy(update=given))
        except CRAError as error:
            return {"refused": refusal_of(error)}
        if step.named is not None:
            self.answers[step.named] = answer
            if step.do == "create_session":
                self.sessions[step.named] = answer["session_id"]
        return {"answer": answer}

    def traces(self) -> dict[str, list[str]]:
        """Return the lines of each named session's trace."""
        return {name: self.lines(session_id) for name, session_id in self.sessions.items()}

    def lines(self, session_id: str) -> list[str]:
        """Return the lines of a session's trace, without their line feeds."""
        return [event.to_json() for event in self.resolver.get_trace(session_id)]


def answer_steps(question: StepsInput) -> Json:
    """Answer what each step answered; the last is the one whose reference led nowhere, if any did."""
    return {"steps": _run(question)[0]}


def answer_golden(question: StepsInput) -> Json:
    """Answer the steps and the traces of all named sessions."""
    steps, runtime = _run(question)
    return {"steps": steps, "traces": runtime.traces()}


def _run(question: StepsInput) -> tuple[list[Json], Runtime]:
    runtime = Runtime(parse_timestamp_ns(question.clock))
    outcomes: list[Json] = []
    for step in question.steps:
        try:
            outcomes.append(runtime.take(step))
        except NoSuchAnswer as missing:
            outcomes.append({"unanswered": str(missing)})
            break
    return outcomes, runtime


def _load_atlas(runtime: Runtime, step: kinds.LoadAtlas) -> Json:
    source = step.atlas if step.files is None else zip_of(step.files)
    assert source is not None  # the model says so
    atlas = runtime.resolver.load_atlas(source, strict=not step.lenient)
    told: dict[str, Json] = {"atlas_id": atlas.atlas_id, "version": atlas.version}
    if step.lenient:
        told["warnings"] = findings_told(runtime.resolver.atlas_warnings(atlas.atlas_id))
    return told


def _unload_atlas(runtime: Runtime, step: kinds.UnloadAtlas) -> Json:
    runtime.resolver.unload_atlas(step.atlas_id)
    return {}


def _register_executor(runtime: Runtime, step: kinds.RegisterExecutor) -> Json:
    def run(parameters: dict[str, Json]) -> Json:
        runtime.clock.advance(step.takes_seconds)
        if step.fails is not None and step.fails.code is not None:
            raise CRAError(step.fails.code, step.fails.message)
        if step.fails is not None:
            raise RuntimeError(step.fails.message)
        return parameters if step.returns_parameters else step.returns

    runtime.resolver.register_executor(step.action_id, run)
    return {}


def _create_session(runtime: Runtime, step: kinds.CreateSession) -> Json:
    session_id = runtime.resolver.create_session(
        step.agent_id, step.goal, hash_algorithm=step.hash_algorithm, parent_session_id=step.parent
    )
    return {"session_id": session_id}


def _end_session(runtime: Runtime, step: kinds.EndSession) -> Json:
    return runtime.resolver.end_session(step.session, step.reason)


def _resolve(runtime: Runtime, step: kinds.Resolve) -> Json:
    return runtime.resolver.resolve(step.session, step.goal, **arguments_of(step), reuse=step.reuse).to_dict()


def _request(runtime: Runtime, step: kinds.Request) -> Json:
    return runtime.resolver.resolve_request(step.request).to_dict()


def _validate(runtime: Runtime, step: kinds.Validate) -> Json:
    told = runtime.resolver.validate_request(step.request).to_dict()
    return {**told, "findings": findings_told(told["findings"])}


def _execute(runtime: Runtime, step: kinds.Execute) -> Json:
    return runtime.resolver.execute(
        step.session, step.resolution, step.action_id, step.parameters, idempotency_key=step.idempotency_key
    ).to_dict()


def _approvals(runtime: Runtime, step: kinds.ListApprovals) -> Json:
    return {"approvals": runtime.resolver.approvals(step.session)}


def _grant(runtime: Runtime, step: kinds.Grant) -> Json:
    return runtime.resolver.grant_approval(
        step.approval,
        approver=step.approver,
        reason=step.reason,
        expires_in_seconds=step.expires_in_seconds,
        uses=step.uses,
    )


def _refuse(runtime: Runtime, step: kinds.Refuse) -> Json:
    return runtime.resolver.refuse_approval(step.approval, approver=step.approver, reason=step.reason)


def _emit(runtime: Runtime, step: kinds.Emit) -> Json:
    runtime.resolver.emit(step.session, step.event_type, step.payload)
    return {}


def _events(runtime: Runtime, step: kinds.Events) -> Json:
    events = runtime.resolver.get_trace(step.session)[step.since :]
    return {
        "events": [
            {"sequence": one.sequence, "event_type": one.event_type, "payload": one.payload} for one in events
        ]
    }


def _verify(runtime: Runtime, step: kinds.Verify) -> Json:
    return verdict_on("".join(f"{line}\n" for line in runtime.lines(step.session)).encode())


def _advance(runtime: Runtime, step: kinds.Advance) -> Json:
    runtime.clock.advance(step.seconds)
    return {}


def _step_wall(runtime: Runtime, step: kinds.StepWall) -> Json:
    runtime.clock.step_wall(step.seconds)
    return {}


_TAKE: Final[dict[str, Callable[[Runtime, Any], Any]]] = {
    "load_atlas": _load_atlas,
    "unload_atlas": _unload_atlas,
    "register_executor": _register_executor,
    "create_session": _create_session,
    "end_session": _end_session,
    "resolve": _resolve,
    "request": _request,
    "validate": _validate,
    "execute": _execute,
    "approvals": _approvals,
    "grant": _grant,
    "refuse": _refuse,
    "emit": _emit,
    "events": _events,
    "verify": _verify,
    "advance": _advance,
    "step_wall": _step_wall,
}
