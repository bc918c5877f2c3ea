"""The harness of the benchmarks on a timer that a test decides. No figure is asserted anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cra_wasm.bench import inside
from cra_wasm.bench.catalogue import FAMILIES, select
from cra_wasm.bench.harness import (
    Timed,
    calibrate,
    is_unsteady,
    measuring,
    percentile,
    timed_call,
    timer_resolution_us,
)
from cra_wasm.bench.scenario import RUNTIMES, Bench, Effort, Figures, JavaScript, Metric, Ratio, Scenario
from cra_wasm.errors import InvalidInput

TINY = Effort(batches=3, batch_us=10, warm_up_ms=1, singles=5, sessions=3, calls_in_a_row=2_000, events=10)


class FakeTimer:
    """Stands still but for `step_ns` each time it is read, and for what a call is said to take."""

    def __init__(self, step_ns: int = 0) -> None:
        self.now_ns = 0
        self.step_ns = step_ns

    def __call__(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns

    def spend(self, time_ns: int) -> None:
        self.now_ns += time_ns


def bench_on(timer: FakeTimer, effort: Effort = TINY) -> Bench:
    return Bench(runtime="node", effort=effort, timer=timer)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (98.5, 99), (99, 99), (100, 100)]
)
def test_a_percentile_is_the_nearest_rank(percent: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7], 99) == 7


def test_the_p50_is_the_median_over_batches_and_what_settles_is_not_timed() -> None:
    timer = FakeTimer()
    costs = iter([5_000] * 20 + [1_000] * 20 + [3_000] * 20)
    timed = timed_call(bench_on(timer), lambda: timer.spend(next(costs)), lambda: timer.spend(9_000_000))
    timed.size, timed.singles = 20, False
    assert measuring(timed, bench_on(timer))() == {"p50": 3.0}


def test_the_p99_comes_from_single_calls() -> None:
    timer = FakeTimer()
    effort = Effort(batches=1, batch_us=1, singles=100, sessions=1, calls_in_a_row=1, events=1)
    asked: list[int] = []

    def time(count: int) -> int:
        asked.append(count)
        return 1_000 * len(asked) if count == 1 else 10_000

    timed = Timed(time=time, size=10)
    figures = measuring(timed, bench_on(timer, effort))()
    assert asked == [10] + [1] * 100
    assert figures == {"p50": 1.0, "p99": 100.0}  # the singles took 2 to 101 us


def test_a_batch_grows_until_it_takes_long_enough_and_one_hiccup_does_not_end_it() -> None:
    times = iter([99_000_000])

    def time(count: int) -> int:
        return next(times, 1_000 * count)

    effort = replace(TINY, batch_us=100, warm_up_ms=300)
    assert Timed(time=time).fit(effort) == 128
    assert Timed(time=time, max_size=50).fit(effort) == 50
    assert Timed(time=time, size=7).fit(effort) == 7

    seen: list[int] = []

    def slow_at_first(count: int) -> int:
        seen.append(count)
        return 99_000_000 if len(seen) < 4 else 1_000 * count

    assert Timed(time=slow_at_first).fit(effort) == 128


def test_the_calibration_is_the_median_of_its_turns() -> None:
    assert calibrate(FakeTimer(step_ns=4_000)) == 4.0


@pytest.mark.parametrize(
    ("before", "after", "unsteady"),
    [(100, 100, False), (100, 114.9, False), (114.9, 100, False), (100, 116, True), (116, 100, True)],
)
def test_more_than_15_percent_between_two_calibrations_is_unsteady(
    before: float, after: float, unsteady: bool
) -> None:
    assert is_unsteady(before, after) is unsteady


def test_the_timer_s_resolution_is_its_smallest_step() -> None:
    reads = iter(range(10_000))
    assert timer_resolution_us(lambda: next(reads) // 4 * 5_000) == 5.0


# Whole runs, with scenarios of the test's own


def scenario(name: str, figures: Callable[[], Figures], **members: Any) -> Scenario:
    members.setdefault("metrics", (Metric(name="p50", unit="us", budget=10),))
    return Scenario(name=name, title=f"The {name}", claim="nothing", prepare=lambda _: figures, **members)


@pytest.fixture
def run_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run scenarios in place of the catalogue's."""

    def run(*scenarios: Scenario, **options: Any) -> dict[str, Any]:
        monkeypatch.setattr(inside, "select", lambda _names, _runtime: list(scenarios))
        options.setdefault("runtime", "node")
        options.setdefault("timer", FakeTimer(step_ns=1_000))
        return inside.run((), **options)

    return run


def test_a_report_has_the_median_of_all_runs_and_each_of_them(run_with: Any) -> None:
    values = iter([9.0, 1.0, 3.0, 20.0, 4.0])
    report = run_with(scenario("one", lambda: {"p50": next(values)}))
    (metric,) = report["scenarios"][0]["metrics"]
    assert metric == {
        "name": "p50",
        "unit": "us",
        "value": 4.0,
        "text": "4 us",
        "runs": [9.0, 1.0, 3.0, 20.0, 4.0],
        "budget": 10,
        "budget_text": "<= 10 us",
        "held": True,
    }


def test_the_report_s_shape(run_with: Any) -> None:
    report = run_with(scenario("one", lambda: {"p50": 1.0}), versions={"node": "20"})
    assert report.keys() == {
        "runtime",
        "versions",
        "quick",
        "timer_resolution_us",
        "calibration_us",
        "unsteady",
        "scenarios",
        "not_measured",
    }
    assert report["not_measured"] == []
    assert report["versions"].keys() == {"cra-wasm", "python", "node"}
    assert report["timer_resolution_us"] == 1.0
    (only,) = report["scenarios"]
    assert only.keys() == {"name", "title", "claim", "runs", "calibration_us", "unsteady", "metrics"}
    assert only["calibration_us"] == {"in": "python", "before": 1.0, "after": 1.0}


def test_one_run_is_enough_where_the_scenario_says_so(run_with: Any) -> None:
    report = run_with(scenario("one", lambda: {"p50": 1.0}, once=True), runs=9)
    assert (report["scenarios"][0]["runs"], len(report["scenarios"][0]["metrics"][0]["runs"])) == (1, 1)


@pytest.mark.parametrize(
    ("runtime", "value", "held"),
    [("node", 10.0, True), ("chromium", 10.1, False), ("cpython", 99.0, None), ("cpython", 1.0, None)],
)
def test_a_budget_counts_in_its_runtimes_only(
    run_with: Any, runtime: str, value: float, held: bool | None
) -> None:
    report = run_with(scenario("one", lambda: {"p50": value}), runtime=runtime)
    assert report["scenarios"][0]["metrics"][0]["held"] is held


@pytest.mark.parametrize(("value", "held"), [(12.0, True), (12.1, False)])
def test_a_ratio_is_a_row_of_its_own_with_a_budget_of_its_own(
    run_with: Any, value: float, held: bool
) -> None:
    report = run_with(
        scenario("small", lambda: {"p50": 10.0}),
        scenario(
            "large",
            lambda: {"p50": value},
            metrics=(Metric(name="p50", unit="us"),),
            ratio=Ratio(to="small", budget=1.2),
        ),
    )
    row = report["scenarios"][1]["metrics"][1]
    assert (row["name"], row["unit"], row["value"], row["held"]) == ("to small", "x", value / 10, held)


def test_a_machine_that_changes_its_pace_is_told(run_with: Any) -> None:
    timer = FakeTimer(step_ns=1_000)

    def slow_down() -> Figures:
        timer.step_ns = 2_000
        return {"p50": 1.0}

    report = run_with(scenario("steady", lambda: {"p50": 1.0}), scenario("slow", slow_down), timer=timer)
    assert report["unsteady"] == ["slow"]
    assert [one["unsteady"] for one in report["scenarios"]] == [False, True]


def test_what_javascript_times_is_calibrated_in_javascript(run_with: Any) -> None:
    async def time_async(*_: object) -> float:
        return 1.0

    javascript = JavaScript(calibrate=lambda: 42.0, time=lambda *_: 1.0, time_async=time_async)
    report = run_with(scenario("script", lambda: {"p50": 1.0}, timed_in="javascript"), javascript=javascript)
    assert report["scenarios"][0]["calibration_us"] == {"in": "javascript", "before": 42.0, "after": 42.0}


def test_what_a_scenario_opened_is_closed_also_when_it_fails(run_with: Any) -> None:
    closed: list[str] = []

    def prepare(bench: Bench) -> Callable[[], Figures]:
        bench.closing.callback(closed.append, "closed")
        return {}.copy

    failing = Scenario(
        name="x", title="x", claim="x", metrics=(Metric(name="p50", unit="us"),), prepare=prepare
    )
    with pytest.raises(KeyError):
        run_with(failing)
    assert closed == ["closed"]


# The catalogue


@pytest.mark.parametrize("runs", [4, 0, -1, 101, True, "5", 5.0, None])
def test_fewer_than_5_runs_or_what_is_no_number_is_refused(runs: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        inside.run(runs=runs)
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_arguments", "/runs")


@pytest.mark.parametrize("name", ["nonsense", "", "Resolve_5", "resolve_5 ", "p50"])
def test_a_name_that_is_no_benchmark_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        inside.run(["resolve_5", name])
    assert caught.value.code == "unknown_benchmark"


def test_a_benchmark_of_another_runtime_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        select(["bridge_resolve_5"], "cpython")
    assert caught.value.code == "unknown_benchmark"
    assert [one.name for one in select(["bridge_resolve_5"], "node")] == ["bridge_resolve_5"]


def test_what_a_ratio_needs_comes_along_and_nothing_twice() -> None:
    assert [one.name for one in select(["resolve_500"], "node")] == ["resolve_5", "resolve_500"]
    names = [one.name for one in select(["resolve_5", "resolve", "resolve_5"], "node")]
    assert names == [one.name for one in FAMILIES["resolve"]]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_no_name_means_all_that_the_runtime_can_measure(runtime: str) -> None:
    every = [one for family in FAMILIES.values() for one in family]
    assert [one.name for one in select((), runtime)] == [one.name for one in every if runtime in one.runtimes]
    assert len({one.name for one in every}) == len({one.title for one in every}) == len(every)
    assert not {one.name for one in every} & FAMILIES.keys()


def test_the_budgets_are_those_that_were_promised() -> None:
    budgets = {
        f"{one.name} {metric.name}": metric.budget
        for family in FAMILIES.values()
        for one in family
        for metric in one.metrics
        if metric.budget is not None
    }
    assert budgets == {
        "resolve_5 p50": 10,
        "resolve_5 p99": 40,
        "resolve_context_200 p50": 60,
        "first_resolve_5 p50": 1_000,
        "first_resolve_500 p50": 30_000,
        "immediate_5 p50": 127,
        "bridge_resolve_5 p50": 25,
        "emit p50": 12,
        "drain p50": 3,
        "timer_backend schedule": 5,
        "timer_backend cancel": 5,
        "timer_manager schedule": 5,
        "timer_manager cancel": 5,
        "tracked_sessions session": 100,
        "timer_firing p99": 20_000,
        "resolve_timed p50": 10,
        "timers_close left": 0,
        "hash_700 blake3_to_sha256": 0.7,
        "hash_1mib blake3_to_sha256": 0.5,
        "log_emit per_event": 18.2,
        "log_resolve per_event": 11.1,
        "log_resolve strict_to_relaxed": 1.1,
        "log_flush p50": 15_000,
        "log_flush p99": 60_000,
        "log_verify per_event": 15,
        "log_page longest_task": 10_000,
        "log_size plain": 1.1,
        "log_size compressed": 0.4,
        "log_memory trace_worker": 60_000_000,
        "sessions_10000 session": 2_048,
        "sessions_10000 resolution": 256,
        "sessions_10000 remembered": 65_536,
        "sessions_10000 ended": 0,
        "million_resolves last_to_first": 1.2,
        "million_resolves growth": 0,
    }


@pytest.mark.cpython_only(reason="tests/pyodide measures inside Pyodide, with JavaScript's part")
@pytest.mark.parametrize("name", [one.name for one in select((), "cpython")])
def test_each_scenario_gives_the_figures_that_it_names(name: str) -> None:
    (scenario,) = (one for one in select([name], "cpython") if one.name == name)
    bench = Bench(runtime="cpython", effort=TINY)
    with bench.closing:
        figures = scenario.prepare(bench)()
    assert {one.name for one in scenario.metrics} <= figures.keys()
    assert all(value >= 0 for value in figures.values())
