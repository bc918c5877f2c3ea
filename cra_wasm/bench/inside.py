"""Runs benchmarks in this very process: CPython's, or the one inside Pyodide that web/src/bench.ts calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from functools import wraps
from statistics import median
from time import perf_counter_ns
from typing import Any, ParamSpec, TypeVar

from .. import __version__
from ..errors import BackendFailure, CRAError, InvalidInput, Json
from ..model.resolution import compact_json
from .catalogue import select
from .harness import calibrate, is_unsteady, timer_resolution_us
from .judge import judge, judge_ratios
from .scenario import FULL, MAX_RUNS, MIN_RUNS, QUICK, Bench, Effort, Figures, JavaScript, Scenario

Tell = Callable[[str], object]
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def check_runs(runs: object) -> int:
    """Return how often each benchmark runs.

    Raises:
        InvalidInput: `invalid_arguments` unless it is 5 to 100: the median of fewer says little.
    """
    if isinstance(runs, bool) or not isinstance(runs, int) or not MIN_RUNS <= runs <= MAX_RUNS:
        raise InvalidInput("invalid_arguments", f"give {MIN_RUNS} to {MAX_RUNS} runs", pointer="/runs")
    return runs


async def run_async(
    names: Sequence[str] = (),
    *,
    runtime: str = "cpython",
    runs: int = MIN_RUNS,
    quick: bool = False,
    versions: Mapping[str, str] | None = None,
    javascript: JavaScript | None = None,
    timer: Callable[[], int] = perf_counter_ns,
    effort: Effort | None = None,
    tell: Tell = lambda _: None,
) -> dict[str, Json]:
    """Measure and return the report of one runtime, without the machine, which only the command line sees.

    What needs a hash that is not installed is not measured: it stands in `not_measured` with the remedy.

    Args:
        names: scenarios or families; () means all.
        runtime: cpython, node or chromium: which scenarios there are, and whether their budgets count.
        versions: what else is part of the runtime, such as {"node": "v20.19.0"}.
        effort: for tests; otherwise `quick` chooses.
        tell: gets a line before each scenario.

    Raises:
        InvalidInput: `unknown_benchmark`, `invalid_arguments`.
    """
    check_runs(runs)
    scenarios = select(names, runtime)
    effort = effort or (QUICK if quick else FULL)
    results: list[Json] = []
    not_measured: list[Json] = []
    for number, scenario in enumerate(scenarios, 1):
        tell(f"{number} of {len(scenarios)}: {scenario.name}")
        with ExitStack() as closing:
            bench = Bench(runtime=runtime, effort=effort, timer=timer, javascript=javascript, closing=closing)
            try:
                results.append(await _run_scenario(scenario, bench, runs))
            except BackendFailure as error:
                if error.code != "hash_unavailable":
                    raise
                not_measured.append({"name": scenario.name, "code": error.code, "message": error.message})
    missing = [one["name"] for one in not_measured]
    judge_ratios(results, [one for one in scenarios if one.name not in missing], runtime)
    return {
        "runtime": runtime,
        "versions": {
            "cra-wasm": __version__,
            "python": "{}.{}.{}".format(*sys.version_info),
            **(versions or {}),
        },
        "quick": quick,
        "timer_resolution_us": _rounded(timer_resolution_us(timer)),
        "calibration_us": _rounded(
            median([one["calibration_us"]["before"] for one in results] or [calibrate(timer)])
        ),
        "unsteady": [one["name"] for one in results if one["unsteady"]],
        "scenarios": results,
        "not_measured": not_measured,
    }


def _at_once(work: Callable[_Arguments, Coroutine[object, None, _Result]]) -> Callable[_Arguments, _Result]:
    """Make a function of a coroutine's that has nothing to wait for."""

    @wraps(work)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        coroutine = work(*args, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as done:
            result: _Result = done.value
            return result
        coroutine.close()
        raise RuntimeError("a benchmark waits for JavaScript: use run_async")

    return call


run = _at_once(run_async)
"""`run_async` where no scenario waits: in CPython none does."""


async def _run_scenario(scenario: Scenario, bench: Bench, runs: int) -> dict[str, Json]:
    one_run = scenario.prepare(bench)
    before = _calibrate(scenario, bench)
    figures: list[Figures] = []
    for _ in range(1 if scenario.once else runs):
        made = one_run()
        figures.append(made if isinstance(made, Mapping) else await made)
    after = _calibrate(scenario, bench)
    return {
        "name": scenario.name,
        "title": scenario.title,
        "claim": scenario.claim,
        "runs": len(figures),
        "calibration_us": {
            "in": scenario.timed_in,
            "before": _rounded(before),
            "after": _rounded(after),
        },
        "unsteady": is_unsteady(before, after),
        "metrics": [
            judge(metric, [_rounded(one[metric.name]) for one in figures], bench.runtime)
            for metric in scenario.metrics
        ],
    }


def _calibrate(scenario: Scenario, bench: Bench) -> float:
    if scenario.timed_in == "javascript" and bench.javascript is not None:
        return bench.javascript.calibrate()
    return calibrate(bench.timer)


def _rounded(value: float) -> float:
    """Keep a nanosecond of a microsecond: more is noise."""
    return round(value, 3)


async def run_for_javascript(
    options_json: str, calibrate_us: Any, time_us: Any, time_async_us: Any, tell: Any
) -> str:
    """Run for a caller in JavaScript, and return the report's JSON, or {"error"} in its place.

    Args:
        options_json: {"names", "runtime", "runs", "quick", "versions"}.
        calibrate_us, time_us, time_async_us: the functions of `scenario.JavaScript`.
        tell: gets the line before each scenario.
    """
    try:
        given = json.loads(options_json)
        return compact_json(
            await run_async(
                given["names"],
                runtime=given["runtime"],
                runs=given["runs"],
                quick=given["quick"],
                versions=given["versions"],
                javascript=JavaScript(calibrate=calibrate_us, time=time_us, time_async=time_async_us),
                tell=tell,
            )
        )
    except CRAError as error:
        return compact_json({"error": error.to_dict()})
