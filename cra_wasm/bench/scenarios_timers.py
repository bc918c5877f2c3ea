"""Timers: what one costs, what a hundred thousand sessions cost, how late they fire, what resolves pay."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from ..platform.drives import new_timers
from ..platform.event_loop import new_future
from ..resolver import Resolver
from ..testing import SequentialIds
from ..timing.config import HeartbeatConfig, SessionTTLConfig
from ..timing.manager import TimerManager
from .harness import measuring_in_turn, percentile, timed_call
from .scenario import BROWSER_SIDE, Bench, Figures, Metric, Ratio, Scenario
from .scenarios_resolve import resolving
from .subjects import AGENT, GOAL, Subject, new_atlas

_FAR_MS: Final = 3_600_000
_SPREAD_MS: Final = 7
_FIRINGS: Final = 200
_SESSIONS_PER_EFFORT: Final = 10
"""100,000 sessions when the effort is full."""


def _backend(bench: Bench, *, alone: bool) -> Callable[[], Figures]:
    """Schedule and cancel on the platform's backend, beside another timer or as the only one."""
    backend = new_timers()
    bench.closing.callback(backend.close)
    if not alone:
        backend.schedule_once("first", _FAR_MS - 1, "")

    def schedule() -> None:
        backend.schedule_once("timer", _FAR_MS, "")

    def schedule_and_cancel() -> None:
        backend.schedule_once("timer", _FAR_MS, "")
        backend.cancel("timer")

    return _in_pairs(bench, schedule, schedule_and_cancel)


def _manager(bench: Bench) -> Callable[[], Figures]:
    """The same for a named timer of the manager, beside another one."""
    backend = new_timers()
    bench.closing.callback(backend.close)
    manager = TimerManager(backend, bench.timer)
    manager.once("first", _FAR_MS - 1, _do_nothing)

    def schedule() -> None:
        manager.once("timer", _FAR_MS, _do_nothing)

    def schedule_and_cancel() -> None:
        manager.once("timer", _FAR_MS, _do_nothing)
        manager.cancel("timer")

    return _in_pairs(bench, schedule, schedule_and_cancel)


def _in_pairs(
    bench: Bench, schedule: Callable[[], None], schedule_and_cancel: Callable[[], None]
) -> Callable[[], Figures]:
    """Measure scheduling (each replaces the one before) and, in turn, scheduling with cancelling."""
    turns = measuring_in_turn(
        {"schedule": timed_call(bench, schedule), "both": timed_call(bench, schedule_and_cancel)}, bench
    )

    def run() -> Figures:
        figures = turns()
        return {"schedule": figures["schedule"], "cancel": max(0.0, figures["both"] - figures["schedule"])}

    return run


def _tracked(bench: Bench) -> Callable[[], Figures]:
    count = _SESSIONS_PER_EFFORT * bench.effort.sessions
    ttl = SessionTTLConfig(idle_warning_seconds=1_200)

    def bytes_per_session(session_ttl: SessionTTLConfig | None) -> tuple[float, int]:
        backend = new_timers()
        subject = Subject(bench, new_atlas(), ids=SequentialIds(), session_ttl=session_ttl, timers=backend)
        bench.closing.callback(backend.close)
        tracemalloc.start()
        try:
            before = _traced_bytes()
            sessions = []
            for _ in range(count):
                sessions.append(subject.resolver.create_session(AGENT, GOAL))
                subject.settle()
            subject.drain()
            grown = _traced_bytes() - before
        finally:
            tracemalloc.stop()
        timers = subject.resolver.statistics().clock.timers
        tracked = 0 if timers is None else timers.tracked
        subject.resolver.close()
        return grown / count, tracked

    def run() -> Figures:
        plain, _ = bytes_per_session(None)
        timed, tracked = bytes_per_session(ttl)
        return {"tracked": tracked, "session": round(max(0.0, timed - plain))}

    return run


def _traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _firing(bench: Bench) -> Callable[[], Awaitable[Figures]]:
    """Fire many timers, some milliseconds apart, and see how late each is."""
    backend = new_timers()
    bench.closing.callback(backend.close)

    async def run() -> Figures:
        done = new_future()
        due_ns: dict[str, int] = {}
        errors_ns: list[int] = []

        def note(timer_id: str, event: str) -> None:
            errors_ns.append(abs(bench.timer() - due_ns[timer_id]))
            if len(errors_ns) == _FIRINGS:
                done.set_result(None)

        backend.listen(note)
        for number in range(1, _FIRINGS + 1):
            due_ns[f"t{number}"] = bench.timer() + number * _SPREAD_MS * 1_000_000
            backend.schedule_once(f"t{number}", number * _SPREAD_MS, "")
        await done
        return {
            "p50": percentile(errors_ns, 50) / 1_000,
            "p99": percentile(errors_ns, 99) / 1_000,
        }

    return run


def _closing(bench: Bench) -> Callable[[], Figures]:
    """Close a resolver with timers and sessions: nothing of them may be left in the backend."""

    def run() -> Figures:
        backend = new_timers()
        resolver = Resolver(
            tracing="deferred",
            session_ttl=SessionTTLConfig(),
            heartbeat=HeartbeatConfig(),
            timers=backend,
        )
        for _ in range(100):
            resolver.create_session(AGENT, GOAL)
        start = bench.timer()
        resolver.close()
        spent = bench.timer() - start
        left = int(backend.exists("cra-timers"))
        backend.close()
        return {"close": spent / 1_000, "left": left}

    return run


def _do_nothing(late_ns: int) -> None:
    """What a timer of the benchmark does."""


_PAIR = (Metric(name="schedule", unit="us", budget=5), Metric(name="cancel", unit="us", budget=5))

SCENARIOS = (
    Scenario(
        name="timer_backend",
        title="a timer of the backend",
        claim="schedule_once and cancel on the platform's backend, while an earlier timer waits",
        metrics=_PAIR,
        prepare=partial(_backend, alone=False),
    ),
    Scenario(
        name="timer_alone",
        title="the only timer of the backend",
        claim="the same with no other timer: each sets and clears one of the platform's own",
        metrics=(Metric(name="schedule", unit="us"), Metric(name="cancel", unit="us")),
        prepare=partial(_backend, alone=True),
    ),
    Scenario(
        name="timer_manager",
        title="a timer of the manager",
        claim="once and cancel of a named timer of TimerManager, while an earlier one waits",
        metrics=_PAIR,
        prepare=_manager,
    ),
    Scenario(
        name="tracked_sessions",
        title="sessions that end by themselves",
        claim="traced bytes of each of 100,000 sessions (10,000 in a quick run) with idle warning, idle"
        " timeout and lifetime, beyond those of a session without; all on one timer of the backend",
        metrics=(Metric(name="tracked", unit=""), Metric(name="session", unit="B", budget=100)),
        prepare=_tracked,
        once=True,
    ),
    Scenario(
        name="timer_firing",
        title="how late timers fire",
        claim="200 timers, 7 ms apart: the distance of each firing from its deadline",
        metrics=(Metric(name="p50", unit="us"), Metric(name="p99", unit="us", budget=20_000)),
        prepare=_firing,
        runtimes=BROWSER_SIDE,
    ),
    Scenario(
        name="resolve_timed",
        title="resolve, 5 actions, with all timers on",
        claim="as resolve_5, in a session with idle timeout and lifetime, beside a heartbeat",
        metrics=(Metric(name="p50", unit="us", budget=10), Metric(name="p99", unit="us")),
        prepare=partial(
            resolving,
            actions=5,
            policies=5,
            max_size=1_000,
            batches=100,
            session_ttl=SessionTTLConfig(),
            heartbeat=HeartbeatConfig(interval_seconds=60),
        ),
        ratio=Ratio(to="resolve_5", budget=1.15),
    ),
    Scenario(
        name="timers_close",
        title="closing a runtime with timers",
        claim="close of a resolver with 100 tracked sessions and a heartbeat, and the timers left after it",
        metrics=(Metric(name="close", unit="us"), Metric(name="left", unit="", budget=0)),
        prepare=_closing,
    ),
)
