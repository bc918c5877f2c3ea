"""What lasts: many sessions, a million resolves in one, and the pace with draining."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import repeat
from statistics import median
from typing import Final

from ..runtime.sessions import RESOLUTIONS_IN_ALL
from ..testing import SequentialIds
from .scenario import Bench, Figures, Metric, Scenario
from .scenarios_trace import new_drain
from .subjects import AGENT, GOAL, Subject, new_atlas

_RESOLVES_PER_SESSION: Final = 6
"""60,000 in all: just below the runtime-wide cap, which a seventh round then crosses."""

_CHUNK: Final = 1_000
_WARM_UP_CHUNKS: Final = 30
"""WebAssembly that is new to V8 runs at half pace, and a slow start would hide a slow end."""


def _traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _sessions(bench: Bench) -> Callable[[], Figures]:
    # No PooledIds: their pool, fuller or emptier at the moment of counting, would blur the bytes.
    subject = Subject(bench, new_atlas(), ids=SequentialIds())
    count = bench.effort.sessions
    resolver = subject.resolver

    def start_sessions() -> list[str]:
        started = []
        for _ in range(count):
            started.append(resolver.create_session(AGENT, GOAL))
            subject.settle()
        subject.drain()
        return started

    def resolve_in(sessions: list[str]) -> None:
        for session_id in sessions:
            resolver.resolve(session_id, GOAL)
            subject.settle()
        subject.drain()

    def end(sessions: list[str]) -> int:
        for session_id in sessions:
            resolver.end_session(session_id)
            subject.settle()
        sessions.clear()
        subject.drain()
        return _traced_bytes()

    def run() -> Figures:
        resolve_in([subject.session_id])
        tracemalloc.start()
        try:
            before = _traced_bytes()
            sessions = start_sessions()
            live = _traced_bytes()
            for _ in repeat(None, _RESOLVES_PER_SESSION):
                resolve_in(sessions)
            remembering = _traced_bytes()
            resolve_in(sessions)
            remembered = resolver.statistics().resolutions_remembered
            # The first rounds leave what is bounded (the latest ended ids, grown tables); a third adds none.
            end(sessions)
            after_second = end(start_sessions())
            after_third = end(start_sessions())
        finally:
            tracemalloc.stop()
        return {
            "session": round((live - before) / count),
            "resolution": round((remembering - live) / (count * _RESOLVES_PER_SESSION)),
            "remembered": remembered,
            "ended": max(0, round((after_third - after_second) / count)),
        }

    return run


def _in_a_row(bench: Bench) -> Callable[[], Figures]:
    subject = Subject(bench, new_atlas())
    chunks = bench.effort.calls_in_a_row // _CHUNK
    tenth = max(1, chunks // 10)
    # Watched with tracemalloc in the middle, since that slows what is timed.
    watched = min(98, chunks // 2)
    call = partial(subject.resolver.resolve, subject.session_id, GOAL)

    def chunk() -> float:
        start = bench.timer()
        for _ in repeat(None, _CHUNK):
            call()
        spent = bench.timer() - start
        subject.drain()
        return spent / _CHUNK / 1_000

    def growth_bytes() -> int:
        tracemalloc.start()
        try:
            for _ in range(2):  # all that the session remembers is made anew, so that it counts twice
                chunk()
            before = _traced_bytes()
            for _ in range(watched):
                chunk()
            return _traced_bytes() - before
        finally:
            tracemalloc.stop()

    def run() -> Figures:
        rest = max(2, chunks - watched - 2)
        for _ in range(_WARM_UP_CHUNKS):
            chunk()
        times = [chunk() for _ in range(rest // 2)]
        growth = growth_bytes()
        times += [chunk() for _ in range(rest - rest // 2)]
        first, last = median(times[:tenth]), median(times[-tenth:])
        return {
            "first": first,
            "last": last,
            "last_to_first": last / first,
            "growth": max(0, round(growth / (watched * _CHUNK))),
        }

    return run


def _sustained(bench: Bench, *, actions: int, policies: int, per_drain: int) -> Callable[[], Figures]:
    subject = Subject(bench, new_atlas(actions, policies))
    drain = new_drain(subject, bench)
    call = partial(subject.resolver.resolve, subject.session_id, GOAL)
    rounds = min(30, bench.effort.batches)

    def run() -> Figures:
        while drain():
            pass
        size_bytes = 0
        start = bench.timer()
        for _ in range(rounds):
            for _ in repeat(None, per_drain):
                call()
            while taken := drain():
                size_bytes += taken
        spent = bench.timer() - start
        resolves = rounds * per_drain
        return {"per_second": resolves * 1e9 / spent, "trace": round(size_bytes / resolves)}

    return run


_PACE = (Metric(name="per_second", unit="/s"), Metric(name="trace", unit="B"))

SCENARIOS = (
    Scenario(
        name="sessions_10000",
        title="10,000 live sessions",
        claim="traced bytes per session, per remembered resolution (6 each, then a seventh that crosses the"
        " runtime-wide cap), and per session of a third 10,000 that were started and ended",
        metrics=(
            Metric(name="session", unit="B", budget=2_048),
            Metric(name="resolution", unit="B", budget=256),
            Metric(name="remembered", unit="", budget=RESOLUTIONS_IN_ALL),
            Metric(name="ended", unit="B", budget=0),
        ),
        prepare=_sessions,
        once=True,
    ),
    Scenario(
        name="million_resolves",
        title="1,000,000 resolves in one session",
        claim="drained as it goes, not timed; the first and the last tenth, and the bytes that each of 98,000"
        " resolves in the middle leaves behind",
        metrics=(
            Metric(name="first", unit="us"),
            Metric(name="last", unit="us"),
            Metric(name="last_to_first", unit="x", budget=1.2),
            Metric(name="growth", unit="B", budget=0),
        ),
        prepare=_in_a_row,
        once=True,
    ),
    Scenario(
        name="sustained_5",
        title="resolves with draining, 5 actions",
        claim="resolve, drain and acknowledge, 5 actions: 7 events each, 142 resolves a batch",
        metrics=_PACE,
        prepare=partial(_sustained, actions=5, policies=5, per_drain=142),
    ),
    Scenario(
        name="sustained_500",
        title="resolves with draining, 500 actions",
        claim="resolve, drain and acknowledge, 500 actions and 100 policies: 502 events each",
        metrics=_PACE,
        prepare=partial(_sustained, actions=500, policies=100, per_drain=2),
    ),
)
