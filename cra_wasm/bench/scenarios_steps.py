"""Where the microseconds of a resolve go: each of its steps alone, on a running resolver.

The steps are the lines of runtime/resolving.py and of `Resolver.resolve` before it. Each figure holds one
call from a loop, which `step_call` measures by itself; docs/PERFORMANCE.md adds them up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..model.resolution import Resolution
from ..runtime.resolve_events import PLAIN_PARTS, expand_resolve
from ..trace.raw import RawEvent
from .harness import measuring, timed_call
from .scenario import Bench, Figures, Metric, Scenario
from .subjects import GOAL, Subject, new_atlas

_STEPS = ("call", "lock", "session", "clocks", "ids", "plan", "resolution", "record", "push", "remember")


class _Steps:
    """The steps as functions without arguments, on the parts of one resolver."""

    def __init__(self, subject: Subject) -> None:
        resolver = subject.resolver
        self.settle = subject.settle
        self._lock = resolver._lock
        self._recorder = recorder = resolver._recorder
        self._sessions = resolver._sessions
        self._session = self._sessions.running(subject.session_id)
        self._resolution = resolver.resolve(subject.session_id, GOAL)
        self._wall_ns, self._elapsed_ns = recorder.timeline.read()
        self._base_id = recorder.ids.reserve(self._wall_ns)
        self.clocks = recorder.timeline.read
        self.ids = partial(recorder.ids.reserve, self._wall_ns)
        self.session = partial(self._sessions.settled, subject.session_id)
        self.plan = partial(resolver._planner.plans.get, (self._session.agent_kind, "low"))
        self.push = partial(recorder.tracer.record, self.record())
        self.remember = partial(self._sessions.remember, self._session, self._resolution)

    def call(self) -> None:
        """Nothing: what the loop itself costs, which stands in each of the others."""

    def lock(self) -> None:
        with self._lock:
            pass

    def resolution(self) -> Resolution:
        made = self._resolution
        return Resolution(made.outcome, made.selected, self._base_id, None, self._wall_ns, self._elapsed_ns)

    def record(self) -> RawEvent:
        session = self._session
        return RawEvent(
            session.session_id,
            session.next_sequence,
            7,
            self._wall_ns,
            self._base_id,
            self._base_id,
            session.root_span_id,
            expand_resolve,
            (self._resolution, GOAL, PLAIN_PARTS["low"]),
        )


def _resolve_steps(bench: Bench) -> Callable[[], Figures]:
    subject = Subject(bench, new_atlas())
    steps = _Steps(subject)
    runs: dict[str, Callable[[], Figures]] = {}
    for name in _STEPS:
        timed = timed_call(bench, getattr(steps, name), steps.settle)
        timed.singles = False
        runs[name] = measuring(timed, bench)
    whole = timed_call(bench, partial(subject.resolver.resolve, subject.session_id, GOAL), steps.settle)
    whole.singles = False
    runs["resolve"] = measuring(whole, bench)
    return lambda: {name: run()["p50"] for name, run in runs.items()}


SCENARIOS = (
    Scenario(
        name="resolve_steps",
        title="steps of a resolve",
        claim="each step of a resolve of 5 actions alone; `call` is the loop's own cost and stands in each",
        metrics=tuple(Metric(name=name, unit="us") for name in (*_STEPS, "resolve")),
        prepare=_resolve_steps,
    ),
)
