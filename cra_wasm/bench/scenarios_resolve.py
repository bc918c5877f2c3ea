"""Resolving: the hot path in its sizes, cold, hashed at once, and through the bridge."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count as counting
from typing import Any

from ..errors import Json
from ..resolver import Resolver
from ..storage.memory import MemoryStorage
from .harness import Timed, measuring, timed_call
from .scenario import BROWSER_SIDE, Bench, Figures, Metric, Ratio, Scenario
from .subjects import AGENT, GOAL, Subject, new_atlas

_KEPT_EVENTS = 20_000
"""Immediate mode keeps all events in memory; above this the next batch gets a new session."""

_CALLS_AFTER_DRAIN = 20


def resolving(
    bench: Bench, *, actions: int, policies: int, max_size: int, batches: int, **options: Any
) -> Callable[[], Figures]:
    """Return the function that measures resolve in an atlas of that size; `options` are Resolver's."""
    subject = Subject(bench, new_atlas(actions, policies), **options)
    call = partial(subject.resolver.resolve, subject.session_id, GOAL)

    def settle() -> None:
        if subject.settle():
            # A drain leaves the processor's caches full of text, and comes oftener the more actions there
            # are; what is measured is the call, so both sizes come back to it first.
            for _ in range(_CALLS_AFTER_DRAIN):
                call()

    timed = timed_call(bench, call, settle, max_size)
    timed.batches = batches
    return measuring(timed, bench)


def _resolve_context(bench: Bench) -> Callable[[], Figures]:
    subject = Subject(bench, new_atlas(blocks=200))
    numbers = counting()

    def time(count: int) -> int:
        subject.settle()
        goals = [
            f"look into word{next(numbers) % 200}, case {next(numbers)}, and answer" for _ in range(count)
        ]
        session_id, resolve, timer = subject.session_id, subject.resolver.resolve, bench.timer
        start = timer()
        for goal in goals:
            resolve(session_id, goal)
        return timer() - start

    return measuring(Timed(time=time), bench)


def _first_resolve(bench: Bench, *, atlas: dict[str, Json]) -> Callable[[], Figures]:
    def time(count: int) -> int:
        spent = 0
        for _ in range(count):
            resolver = Resolver(tracing="deferred")
            session_id = resolver.create_session(AGENT, GOAL)
            resolver.load_atlas(atlas)
            start = bench.timer()
            resolver.resolve(session_id, GOAL)
            spent += bench.timer() - start
            resolver.close()
        return spent

    return measuring(Timed(time=time, size=1, batches=10, singles=False), bench)


def _immediate(bench: Bench) -> Callable[[], Figures]:
    storage = MemoryStorage()
    resolver = Resolver(storage=storage)
    bench.closing.callback(resolver.close)
    resolver.load_atlas(new_atlas())
    session_id = resolver.create_session(AGENT, GOAL)

    def call() -> None:
        resolver.resolve(session_id, GOAL)

    def settle() -> None:
        nonlocal session_id
        if storage.count() > _KEPT_EVENTS:
            resolver.end_session(session_id)
            storage.delete_session(session_id)
            session_id = resolver.create_session(AGENT, GOAL)

    return measuring(timed_call(bench, call, settle), bench)


def _bridge_resolve(bench: Bench) -> Callable[[], Figures]:
    from .. import bridge  # importable in Pyodide only

    javascript = bench.javascript
    if javascript is None:
        raise ValueError("bridge_resolve_5 is measured from JavaScript")
    subject = Subject(bench, new_atlas())
    bridge.attach(subject.resolver)

    def time(count: int) -> int:
        subject.settle()
        return round(javascript.time("bridge_resolve", count, subject.session_id, GOAL) * 1_000)

    return measuring(Timed(time=time), bench)


SCENARIOS = (
    Scenario(
        name="resolve_5",
        title="resolve, deferred, 5 actions",
        claim="5 actions, 5 policies of 5 types, the same goal each time; 7 events; one raw record is kept",
        metrics=(Metric(name="p50", unit="us", budget=10), Metric(name="p99", unit="us", budget=40)),
        prepare=partial(resolving, actions=5, policies=5, max_size=1_000, batches=100),
    ),
    Scenario(
        name="resolve_500",
        title="resolve, deferred, 500 actions",
        claim="500 actions, 100 policies of 5 types, the same goal each time; 502 events in one raw record",
        metrics=(Metric(name="p50", unit="us"), Metric(name="p99", unit="us")),
        ratio=Ratio(to="resolve_5", budget=1.2),
        prepare=partial(resolving, actions=500, policies=100, max_size=50, batches=30),
    ),
    Scenario(
        name="resolve_context_200",
        title="resolve, 200 context blocks",
        claim="5 actions, 200 blocks of 2 keywords each, a new goal each time that brings in one block",
        metrics=(Metric(name="p50", unit="us", budget=60), Metric(name="p99", unit="us")),
        prepare=_resolve_context,
    ),
    Scenario(
        name="first_resolve_5",
        title="first resolve, 5 actions",
        claim="a running session's first resolve after load_atlas, in a new resolver each time",
        metrics=(Metric(name="p50", unit="us", budget=1_000),),
        prepare=partial(_first_resolve, atlas=new_atlas()),
    ),
    Scenario(
        name="first_resolve_500",
        title="first resolve, 500 actions",
        claim="as first_resolve_5 with 500 actions and 100 policies",
        metrics=(Metric(name="p50", unit="us", budget=30_000),),
        prepare=partial(_first_resolve, atlas=new_atlas(500, 100)),
    ),
    Scenario(
        name="immediate_5",
        title="resolve, immediate, 5 actions",
        claim="5 actions; all 7 events are hashed and stored in memory before the call returns",
        metrics=(Metric(name="p50", unit="us", budget=127), Metric(name="p99", unit="us")),
        prepare=_immediate,
    ),
    Scenario(
        name="bridge_resolve_5",
        title="resolve, JS to JSON in JS",
        claim="resolve of cra_wasm.bridge called by JavaScript, 5 actions, until its JSON is a JS string",
        metrics=(Metric(name="p50", unit="us", budget=25), Metric(name="p99", unit="us")),
        prepare=_bridge_resolve,
        runtimes=BROWSER_SIDE,
        timed_in="javascript",
    ),
)
