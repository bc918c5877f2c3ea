"""The durable log from end to end: made in Python, hashed and stored by the trace worker, read and verified.

JavaScript holds the clock. Budgets are times per event: 55,000 events per second are 18.2 us.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from ..resolver import Resolver
from .scenario import BROWSER_SIDE, FULL, QUICK, Bench, Figures, Metric, Scenario
from .scenarios_trace import SMALL
from .subjects import AGENT, GOAL, Subject, new_atlas

STORE: Final = "stored (Chromium: IndexedDB, Node: memory)"
SINGLES_PER_FLUSH: Final = 10
"""A flush takes a thousand times what a single call does: 100 of them, 20 with --quick."""

ACTIONS: Final = 5
EVENTS_PER_RESOLVE: Final = ACTIONS + 2
"""carp.request.received, a policy.evaluated for each action, carp.resolution.completed."""

Make = Callable[[int], None]
"""Makes so many events of one session, or a few more, one by one."""

Timing = tuple[str, int, Callable[[Resolver, str], Make], tuple[str, ...], float]
"""The loop's name in bench-loops.ts, its count, what makes events, the loop's text, and what to divide by."""


def emitting(resolver: Resolver, session_id: str) -> Make:
    """Return what emits custom events."""

    def make(events: int) -> None:
        for _ in range(events):
            resolver.emit(session_id, "form.changed", SMALL)

    return make


def _resolving(resolver: Resolver, session_id: str) -> Make:
    def make(events: int) -> None:
        for _ in range(0, events, EVENTS_PER_RESOLVE):
            resolver.resolve(session_id, GOAL)

    return make


def _timed(
    bench: Bench, timings: Callable[[Bench], dict[str, Timing]], ratio: Sequence[str] = ()
) -> Callable[[], Awaitable[Figures]]:
    """Return a run that times each loop in a session of its own, and adds a ratio of two of them."""
    from .. import bridge  # importable in Pyodide only

    javascript = bench.javascript
    if javascript is None:
        raise ValueError("the log is measured from JavaScript")
    subject = Subject(bench, new_atlas(ACTIONS))
    bridge.attach(subject.resolver)

    async def one(timing: Timing) -> float:
        loop, count, making, texts, divisor = timing
        session_id = subject.resolver.create_session(AGENT, GOAL)
        make = making(subject.resolver, session_id)
        spent_us = await javascript.time_async(loop, count, make, session_id, *texts)
        subject.resolver.end_session(session_id)
        subject.drain()  # its last event: the next store has not the others
        return spent_us / divisor

    async def run() -> Figures:
        figures = {name: await one(timing) for name, timing in timings(bench).items()}
        if not ratio:
            return figures
        name, over, under = ratio
        return {**figures, name: figures[over] / figures[under]}

    subject.drain()
    return run


def _emit(bench: Bench) -> dict[str, Timing]:
    count = bench.effort.events
    return {"per_event": ("log", count, emitting, ("relaxed",), count)}


def _resolve(bench: Bench) -> dict[str, Timing]:
    count = bench.effort.events
    return {
        name: ("log", count, _resolving, (durability,), count)
        for name, durability in (("per_event", "relaxed"), ("strict", "strict"))
    }


def _flush(bench: Bench) -> dict[str, Timing]:
    count = max(1, bench.effort.singles // SINGLES_PER_FLUSH)
    return {f"p{percent}": ("log_flush", count, emitting, (percent,), 1) for percent in ("50", "99")}


def _verify(bench: Bench) -> dict[str, Timing]:
    count = bench.effort.events
    return {"per_event": ("log_verify", count, emitting, (), count)}


def _page(bench: Bench) -> dict[str, Timing]:
    return {"longest_task": ("log_page", bench.effort.events, emitting, (), 1)}


def _size(bench: Bench) -> dict[str, Timing]:
    count = bench.effort.events
    return {
        name: ("log_size", count, emitting, (by, kind), 1)
        for name, by, kind in (
            ("plain", "records", "plain"),
            ("compressed", "records", "compressed"),
            ("plain_by_browser", "estimate", "plain"),
            ("compressed_by_browser", "estimate", "compressed"),
        )
    }


def _memory(bench: Bench) -> dict[str, Timing]:
    return {"trace_worker": ("log_memory", bench.effort.calls_in_a_row, emitting, (), 1)}


SCENARIOS = (
    Scenario(
        name="log_emit",
        title="log of custom events, per event",
        claim=f"{FULL.events:,} (quick: {QUICK.events:,}) custom events of one session, of 3 members each,"
        f" emitted one by one in Python, drained as they come, hashed with SHA-256 and {STORE}",
        metrics=(Metric(name="per_event", unit="us", budget=18.2),),
        prepare=partial(_timed, timings=_emit),
        runtimes=BROWSER_SIDE,
        timed_in="javascript",
    ),
    Scenario(
        name="log_resolve",
        title="log of resolves, per event",
        claim=f"as log_emit, of the {EVENTS_PER_RESOLVE} events of each resolve over {ACTIONS} actions;"
        " `strict` asks for strict durability every 2,000 events",
        metrics=(
            Metric(name="per_event", unit="us", budget=11.1),
            Metric(name="strict", unit="us"),
            Metric(name="strict_to_relaxed", unit="x", budget=1.1, budget_runtimes=("chromium",)),
        ),
        prepare=partial(_timed, timings=_resolve, ratio=("strict_to_relaxed", "strict", "per_event")),
        runtimes=BROWSER_SIDE,
        timed_in="javascript",
    ),
    Scenario(
        name="log_flush",
        title="flush() of 500 pending events",
        claim=f"{FULL.singles // SINGLES_PER_FLUSH} (quick: {QUICK.singles // SINGLES_PER_FLUSH}) flushes of"
        " 500 custom events each, until each resolved",
        metrics=(Metric(name="p50", unit="us", budget=15_000), Metric(name="p99", unit="us", budget=60_000)),
        prepare=partial(_timed, timings=_flush),
        runtimes=BROWSER_SIDE,
        timed_in="javascript",
    ),
    Scenario(
        name="log_verify",
        title="read back and verify, per event",
        claim=f"{FULL.events:,} (quick: {QUICK.events:,}) stored events, read back and verified with"
        " every check of PROTOCOL 3.4 by the trace worker",
        metrics=(Metric(name="per_event", unit="us", budget=15),),
        prepare=partial(_timed, timings=_verify),
        runtimes=BROWSER_SIDE,
        timed_in="javascript",
    ),
    Scenario(
        name="log_page",
        title="pauses while the log is written",
        claim=f"as log_emit, {FULL.events:,} (quick: {QUICK.events:,}) events with Python in its worker: the"
        " longest that one of the messages that another worker sends the page each millisecond waited there;"
        " and the longest garbage collection in a worker's thread meanwhile",
        metrics=(Metric(name="longest_task", unit="us", budget=10_000),),
        traced=(
            Metric(name="collection", unit="us", budget=20_000),
            Metric(name="collection_cpu", unit="us"),
        ),
        prepare=partial(_timed, timings=_page),
        runtimes=("chromium",),
        timed_in="javascript",
    ),
    Scenario(
        name="log_size",
        title="bytes on disk, to those of the JSONL",
        claim=f"{FULL.events:,} (quick: {QUICK.events:,}) custom events of one session in IndexedDB, as they"
        " are written, and with `compress` once it has gone over them: the bytes of the records, and by how"
        " much the browser's estimate grew",
        metrics=(
            Metric(name="plain", unit="x", budget=1.1),
            Metric(name="compressed", unit="x", budget=0.4),
            Metric(name="plain_by_browser", unit="x"),
            Metric(name="compressed_by_browser", unit="x"),
        ),
        prepare=partial(_timed, timings=_size),
        once=True,
        runtimes=("chromium",),
        timed_in="javascript",
    ),
    Scenario(
        name="log_memory",
        title="memory of the trace worker",
        claim=f"after {FULL.calls_in_a_row:,} (quick: {QUICK.calls_in_a_row:,}) events of one session were"
        " stored, as the browser measures the worker behind a garbage collection",
        metrics=(Metric(name="trace_worker", unit="B", budget=60_000_000),),
        prepare=partial(_timed, timings=_memory),
        once=True,
        runtimes=("chromium",),
        timed_in="javascript",
    ),
)
