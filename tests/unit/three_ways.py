"""Leads one life three times: the slow reference, a Resolver in immediate mode, and one in deferred mode.
After each step all three must have answered the same; in the end their traces must be the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

from cra_wasm import CRAError, MemoryStorage, Resolver
from cra_wasm.testing import FakeClock, SequentialIds
from cra_wasm.trace.chain_writer import ChainWriter

from . import reference_trace as trace
from .packages import as_zip
from .reference_resolver import ReferenceResolver
from .reference_trace import Refused

NOBODY = ["01940d23-3a00-7000-8000-0000ffff0001", "no id"]
"""What a confused caller names: an id that was never given, and what is none."""


def work(clock: FakeClock, parameters: Any) -> Any:
    clock.advance(0.25)
    return {"done": parameters}


def break_down(clock: FakeClock, parameters: Any) -> Any:
    clock.step_wall(-30.0)
    raise ValueError("broken")


def fail(clock: FakeClock, parameters: Any) -> Any:
    raise CRAError("out_of_stock", "none left")


def answer_nonsense(clock: FakeClock, parameters: Any) -> Any:
    return float("nan")


EXECUTORS: dict[str, Callable[[FakeClock, Any], Any]] = {
    "order.read": work,
    "order.refund": work,
    "user.read": break_down,
    "stock.read": work,
    "stock.user.count": fail,
    "no.such": answer_nonsense,
}
"""user.order.delete has none."""


class RecordedIds(SequentialIds):
    """Remembers which blocks it gave out, for who has to use the same ones."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[int] = []

    def reserve(self, wall_ns: int) -> int:
        self.taken.append(super().reserve(wall_ns))
        return self.taken[-1]


def package_of(atlas: dict[str, Any]) -> bytes:
    """Return a generated atlas as a zip."""
    manifest = {name: value for name, value in atlas.items() if name != "files"}
    return as_zip({"atlas.json": manifest, **atlas["files"]})


class Way:
    """A Resolver on a clock and ids of its own. Answers are JSON texts, refusals the error as a dict."""

    def __init__(self, starts_at: int, **options: Any) -> None:
        self.clock = FakeClock(starts_at)
        self.ids = RecordedIds()
        self.resolver = Resolver(clock=self.clock, ids=self.ids, **options)
        for action_id, function in EXECUTORS.items():
            self.resolver.register_executor(action_id, self.bound(function))

    def bound(self, function: Callable[[FakeClock, Any], Any]) -> Callable[[Any], Any]:
        return lambda parameters: function(self.clock, parameters)

    def call(self, name: str, arguments: dict[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
        if "files" in arguments.get("source", {}):
            arguments = {"source": package_of(arguments["source"])}
        try:
            answer = getattr(self.resolver, name)(**arguments)
        except CRAError as error:
            return None, error.to_dict()
        if name in ("load_atlas", "emit"):
            answer = None
        return answer.to_json() if hasattr(answer, "to_json") else json.dumps(answer), None


class Drainer:
    """Takes batches out of a resolver and stores them, in the order of random moves."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.storage = MemoryStorage()
        self.writer = ChainWriter(self.storage)
        self.stored: list[int] = []

    def move(self, name: str, number: int) -> None:
        getattr(self, name)(number)

    def drain(self, max_events: int) -> None:
        batch = self.resolver.drain_traces(max_events)
        assert batch.count <= max_events
        if batch.count:
            self.writer.write_batch(batch)
            self.stored.append(batch.batch_id)

    def ack(self, number: int) -> None:
        if self.stored:
            assert self.resolver.ack(self.stored.pop(number % len(self.stored)))

    def redeliver(self, _: int) -> None:
        """As after a lost answer: what came before comes again, to a writer that remembers nothing."""
        self.writer = ChainWriter(self.storage)
        for batch in self.resolver.redeliver():
            self.writer.write_batch(batch)

    def rest(self) -> None:
        while self.resolver.buffer_stats().pending or self.stored:
            self.ack(0)
            self.drain(17)


class Flusher:
    """Lets a resolver's own processor store; it does so in the background too."""

    def __init__(self, resolver: Resolver, storage: MemoryStorage) -> None:
        self.resolver = resolver
        self.storage = storage

    def move(self, name: str, _: int) -> None:
        if name == "drain":
            self.resolver.flush_traces()

    def rest(self) -> None:
        """Closing stored it all."""


class ThreeWays:
    """`step` does one thing in all three; `end` compares what they recorded.

    Which session, resolution or approval a step names is a number: 0 the newest, 1 the one before, and so on;
    a negative one is NOBODY.
    """

    def __init__(self, life: dict[str, Any], *, own_processor: bool) -> None:
        self.manifests = life["atlases"]
        starts_at = life["starts_at"]
        self.immediate = Way(starts_at)
        storage = MemoryStorage() if own_processor else None
        # Nobody drains during a sync call, so that one could not wait until it is stored.
        durable_before = "high" if own_processor else "none"
        self.deferred = Way(starts_at, tracing="deferred", storage=storage, durable_before=durable_before)
        self.keeper = (
            Drainer(self.deferred.resolver) if storage is None else Flusher(self.deferred.resolver, storage)
        )
        self.moves: Iterator[list[tuple[str, int]]] = cycle(life["drains"])
        clock = FakeClock(starts_at)
        self.reference = ReferenceResolver(clock)
        for action_id, function in EXECUTORS.items():
            self.reference.register_executor(action_id, lambda given, run=function: run(clock, given))
        self.clocks = [self.immediate.clock, self.deferred.clock, clock]
        self.sessions: list[str] = []
        self.resolutions: list[str] = []
        self.session_of: dict[str, str] = {}
        self.candidates_of: dict[str, list[str]] = {}
        self.last_execute: dict[str, Any] | None = None
        self.last_answer: dict[str, Any] | None = None

    def step(self, name: str, *arguments: Any) -> None:
        getattr(self, name)(*arguments)
        for move in next(self.moves):
            self.keeper.move(*move)

    def call(self, name: str, **arguments: Any) -> Any:
        """Do it in all three ways and return the answer as JSON, None when it was refused."""
        before = len(self.immediate.ids.taken)
        text, refusal = self.immediate.call(name, arguments)
        expect_same(f"{name}, deferred and immediate", self.deferred.call(name, arguments), (text, refusal))
        blocks = self.immediate.ids.taken[before:]
        if arguments.get("request", {}).get("operation") == "validate" or name == "validate_request":
            assert blocks == []
        if refusal is not None:
            self.expect_refusal(name, arguments, blocks, refusal)
            return None
        assert text is not None
        answer = json.loads(text)
        said = dict(answer) if isinstance(answer, dict) else answer
        message = without_message(said)
        expect_same(name, said, self.reference.call(name, arguments, blocks, message))
        return answer

    def expect_refusal(
        self, name: str, arguments: dict[str, Any], blocks: list[int], refusal: dict[str, Any]
    ) -> None:
        try:
            answer = self.reference.call(name, arguments, blocks, refusal["message"])
        except Refused as refused:
            found = refusal["code"], refusal["details"].get("pointer")
            expect_same(f"{name} is refused", found, (refused.code, refused.pointer))
        else:
            raise AssertionError(f"{name} was refused with {refusal}, the reference answers {answer}")

    def end_of_life(self) -> dict[str, bytes]:
        """Compare the traces and return them: the lines of each session."""
        self.call("approvals")
        before = len(self.immediate.ids.taken)
        self.immediate.resolver.close()
        self.reference.state.blocks = self.immediate.ids.taken[before:]
        self.reference.close()
        self.deferred.resolver.close()
        self.keeper.rest()
        stored = self.immediate.resolver._storage
        assert stored is not None
        recorded = lines_of(stored)
        assert lines_of(self.keeper.storage) == recorded
        for session_id, lines in self.reference.state.trace.lines().items():
            expect_same("trace", recorded[session_id].decode(), lines.decode())
        assert len(recorded) == len(self.reference.state.trace.events)
        return recorded

    # The steps

    def pause(self) -> None:
        """Do nothing: what a step shrinks to."""

    def load(self, number: int) -> None:
        self.call("load_atlas", source=self.manifests[number])

    def unload(self, atlas_id: str) -> None:
        self.call("unload_atlas", atlas_id=atlas_id)

    def create(self, agent_id: str, parent: int | None = None) -> None:
        nested = {} if parent is None else {"parent_session_id": pick(self.sessions, parent)}
        session_id = self.call("create_session", agent_id=agent_id, goal="the session's goal", **nested)
        if session_id is not None:
            self.sessions.append(session_id)

    def resolve(self, session: int, goal: str, tier: str, facts: dict[str, Any]) -> None:
        session_id = pick(self.sessions, session)
        self.keep(session_id, self.call("resolve", session_id=session_id, goal=goal, risk_tier=tier, **facts))

    def ask_twice(
        self,
        session: int,
        goal: str,
        tier: str,
        facts: dict[str, Any],
        between: tuple[Any, ...] | None,
    ) -> None:
        """Resolve the same twice, taking an earlier answer where there is one."""
        asked = (session, goal, tier, {**facts, "reuse": True})
        self.resolve(*asked)
        if between is not None:
            self.step(*between)
        self.resolve(*asked)

    def family(self, session: int, agent_id: str, reason: str) -> None:
        """Start a session under one, another under that, and end the first."""
        self.create(agent_id, session)
        self.create("human", 0)
        self.end(session + 2 if session >= 0 else session, reason)

    def foresee(self, number: int) -> None:
        """Ask what the last execute would be answered as a whole request, and make it once more."""
        if self.last_execute is None:
            return
        request = self.new_request(-1, "resolve", 0, {}, 0, number)
        named = {name: an_id(self.last_execute[name]) for name in ("session_id", "resolution_id")}
        known = self.reference.state.sessions.get(named["session_id"])
        agent_id = "bot-1" if known is None else known.agent_id
        request["requester"] = {"agent_id": agent_id, "session_id": named["session_id"]}
        request["operation"] = "validate"
        try:
            trace.canonical(self.last_execute["parameters"])
        except Refused:
            return  # no JSON text, so no request has it
        request["execution"] = {
            "resolution_id": named["resolution_id"],
            "action_id": self.last_execute["action_id"],
            "parameters": self.last_execute["parameters"],
        }
        if self.last_execute["idempotency_key"] is not None:
            request["execution"]["idempotency_key"] = self.last_execute["idempotency_key"]
        self.call("validate_request", request=request)
        self.again()

    def run(
        self,
        session: int,
        action: int,
        parameters: dict[str, Any],
        between: tuple[Any, ...] | None,
        granted: bool | None,
    ) -> None:
        """Execute under a resolution of its own, and once more if somebody has decided on it."""
        self.resolve(session, "run it", "low", {})
        if between is not None:
            self.step(*between)
        self.execute(None, 0, action, parameters, None)
        asked = self.last_answer or {}
        if asked.get("status") == "pending_approval" and granted is not None:
            self.decide(0, granted, "ann", None)
            self.again()

    def execute(
        self,
        session: int | None,
        resolution: int,
        action: int,
        parameters: dict[str, Any],
        key: str | None,
    ) -> None:
        named = self.named(session, resolution)
        self.last_execute = {
            **named,
            "action_id": self.candidate(named["resolution_id"], action),
            "parameters": parameters,
            "idempotency_key": key,
        }
        self.again()

    def again(self) -> None:
        """Repeat the last execute, as after a grant or for a limit that is full."""
        if self.last_execute is not None:
            self.last_answer = self.call("execute", **self.last_execute)

    def named(self, session: int | None, resolution: int) -> dict[str, str]:
        """Return the ids of a resolution and of a session, None its own."""
        resolution_id = pick(self.resolutions, resolution)
        own = self.session_of.get(resolution_id, pick(self.sessions, 0))
        session_id = own if session is None else pick(self.sessions, session)
        return {"session_id": session_id, "resolution_id": resolution_id}

    def request(
        self, session: int, operation: str, action: int, facts: dict[str, Any], seconds: int, number: int
    ) -> None:
        """Send a whole CARPRequest that is `seconds` old; two of one number are a replay."""
        request = self.new_request(session, operation, action, facts, seconds, number)
        answer = self.call("resolve_request", request=request)
        if operation == "resolve":
            self.keep(request["requester"]["session_id"], answer)

    def validate(
        self, session: int, operation: str, action: int, facts: dict[str, Any], seconds: int, number: int
    ) -> None:
        """Ask what such a request would be answered."""
        request = self.new_request(session, operation, action, facts, seconds, number)
        self.call("validate_request", request=request)

    def new_request(
        self, session: int, operation: str, action: int, facts: dict[str, Any], seconds: int, number: int
    ) -> dict[str, Any]:
        session_id = an_id(pick(self.sessions, session))
        known = self.reference.state.sessions.get(session_id)
        agent_id = "bot-1" if known is None or number == 9 else known.agent_id
        task = {name: facts[name] for name in ("required_capabilities", "context_hints") if name in facts}
        made_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=self.clocks[0].wall_ns() // 1000, seconds=seconds
        )
        request: dict[str, Any] = {
            "carp_version": "1.0",
            "request_id": f"01234567-89ab-7def-8123-{number:012x}",
            "timestamp": made_at.isoformat(),
            "operation": operation,
            "requester": {
                "agent_id": agent_id,
                "session_id": session_id,
                **({"parent_session_id": NOBODY[0]} if number == 8 else {}),
                **({"parent_session_id": known.parent} if number < 3 and known and known.parent else {}),
            },
            "task": {"goal": "asked in full", "risk_tier": "medium", **task},
            **{name: facts[name] for name in ("atlas_ids", "context") if name in facts},
        }
        if operation == "execute" or (operation == "validate" and number % 2):
            resolution_id = an_id(pick(self.resolutions, number))
            request["execution"] = {
                "resolution_id": resolution_id,
                "action_id": self.candidate(resolution_id, action),
                "parameters": {"amount": 1},
                **({} if number % 3 else {"idempotency_key": "k"}),
            }
        return request

    def candidate(self, resolution_id: str, number: int) -> str:
        names = self.candidates_of.get(resolution_id)
        return names[number % len(names)] if names and number >= 0 else "no.such"

    def explain(self, session: int | None, resolution: int) -> None:
        self.call("explain", **self.named(session, resolution))

    def decide(self, number: int, granted: bool, approver: str, terms: int | None) -> None:
        asked = [one["approval_id"] for one in self.call("approvals")]
        if not asked and number >= 0:
            return
        chosen = {"approval_id": pick(asked, number), "approver": approver}
        if granted:
            self.call("grant_approval", **chosen, expires_in_seconds=terms, uses=terms)
        else:
            self.call("refuse_approval", **chosen)

    def emit(self, session: int, event_type: str, payload: dict[str, Any]) -> None:
        self.call("emit", session_id=pick(self.sessions, session), event_type=event_type, payload=payload)

    def end(self, session: int, reason: str) -> None:
        session_id = pick(self.sessions, session)
        if self.call("end_session", session_id=session_id, reason=reason) is not None:
            for ended in [one for one in self.sessions if one in self.reference.state.ended]:
                self.sessions.remove(ended)
                self.sessions.insert(0, ended)

    def advance(self, seconds: float) -> None:
        for clock in self.clocks:
            clock.advance(seconds)

    def step_wall(self, seconds: float) -> None:
        for clock in self.clocks:
            clock.step_wall(seconds)

    def keep(self, session_id: str, resolution: dict[str, Any] | None) -> None:
        if resolution is not None:
            name = resolution["resolution_id"]
            self.resolutions.append(name)
            self.session_of[name] = session_id
            actions = [*resolution["allowed_actions"], *resolution["denied_actions"]]
            self.candidates_of[name] = [one["action_id"] for one in actions]


def pick(names: list[str], number: int) -> str:
    return names[-1 - number % len(names)] if names and number >= 0 else NOBODY[number % 2 - 1]


def an_id(name: str) -> str:
    """Return a name that a request's form allows."""
    return NOBODY[0] if name == NOBODY[1] else name


def expect_same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise AssertionError(f"{what}\n  product:   {found}\n  reference: {expected}")


def without_message(answer: Any) -> str | None:
    """Take the product's own words out of an answer, and return an error's message.

    Of a validation's findings the first stays: it is what the request would be refused for.
    """
    if isinstance(answer, dict):
        answer.pop("findings_total", None)
        if "findings" in answer:
            answer["findings"] = answer["findings"][:1]
        for finding in [*answer.get("findings", ()), *answer.get("result_findings", ())]:
            assert finding.pop("message")
    error = answer.get("error") if isinstance(answer, dict) else None
    if error is None:
        return None
    message: str = error["message"]
    assert message
    if error["code"] in ("action_denied", "approval_required"):
        answer["error"] = {name: value for name, value in error.items() if name != "message"}
    return message


def lines_of(storage: Any) -> dict[str, bytes]:
    return {session_id: b"".join(storage.iter_lines(session_id)) for session_id in storage.sessions()}
