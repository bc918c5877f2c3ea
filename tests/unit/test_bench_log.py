"""The benchmarks of the log: what they ask JavaScript for, and what they make of its answers."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from cra_wasm.bench import inside
from cra_wasm.bench.catalogue import FAMILIES
from cra_wasm.bench.scenario import BROWSER_SIDE, Effort, JavaScript

pytestmark = pytest.mark.cpython_only(reason="stands in for the bridge, which is the real one inside Pyodide")

TINY = Effort(batches=1, batch_us=1, singles=1, sessions=1, calls_in_a_row=1, events=20)


def values_of(
    name: str, spent_us: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, float], set[tuple[Any, ...]]]:
    """Run a benchmark with a JavaScript that takes so long, by the text it is given behind the session."""
    attached: list[Any] = []
    asked: set[tuple[Any, ...]] = set()

    async def time_async(loop: str, count: int, make: Any, session_id: str, *texts: str) -> float:
        (resolver,) = attached
        make(20)
        batch = resolver.drain_traces(1_000)
        assert [group.session_id for group in batch.groups] == [session_id]
        assert batch.count > 20, "the events of the session's start, and those that were asked for"
        resolver.ack(batch.batch_id)
        asked.add((loop, count, *texts))
        return spent_us[(*texts, "")[0]]

    monkeypatch.setitem(sys.modules, "cra_wasm.bridge", SimpleNamespace(attach=attached.append))
    javascript = JavaScript(calibrate=lambda: 1.0, time=lambda *_: 0.0, time_async=time_async)
    report = inside.run([name], runtime="chromium", effort=TINY, javascript=javascript)
    return {one["name"]: one["value"] for one in report["scenarios"][0]["metrics"]}, asked


@pytest.mark.parametrize(
    ("name", "loop"), [("log_emit", ("log", 20, "relaxed")), ("log_verify", ("log_verify", 20))]
)
def test_a_time_of_all_events_becomes_one_per_event(
    name: str, loop: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    values, asked = values_of(name, {"relaxed": 400.0, "": 400.0}, monkeypatch)
    assert values == {"per_event": 20.0}
    assert asked == {loop}


def test_strict_resolves_are_set_beside_relaxed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    values, asked = values_of("log_resolve", {"relaxed": 200.0, "strict": 220.0}, monkeypatch)
    assert values == {"per_event": 10.0, "strict": 11.0, "strict_to_relaxed": 1.1}
    assert asked == {("log", 20, "relaxed"), ("log", 20, "strict")}


def test_a_flush_is_told_by_its_median_and_its_99th_percentile(monkeypatch: pytest.MonkeyPatch) -> None:
    values, asked = values_of("log_flush", {"50": 9_000.0, "99": 30_000.0}, monkeypatch)
    assert values == {"p50": 9_000.0, "p99": 30_000.0}
    assert asked == {("log_flush", 1, "50"), ("log_flush", 1, "99")}


def test_a_resolve_makes_as_many_events_as_the_benchmark_counts_with(monkeypatch: pytest.MonkeyPatch) -> None:
    from cra_wasm.bench.scenario import Bench
    from cra_wasm.bench.scenarios_log import ACTIONS, EVENTS_PER_RESOLVE
    from cra_wasm.bench.subjects import GOAL, Subject, new_atlas

    subject = Subject(Bench(runtime="cpython", effort=TINY), new_atlas(ACTIONS))
    before = subject.resolver.buffer_stats().pushed
    subject.resolver.resolve(subject.session_id, GOAL)
    assert subject.resolver.buffer_stats().pushed - before == EVENTS_PER_RESOLVE


@pytest.mark.parametrize(
    ("name", "figures", "loop"),
    [
        ("log_page", {"longest_task": 9.5}, ("log_page", 20)),
        ("log_memory", {"trace_worker": 9.5}, ("log_memory", 1)),
    ],
)
def test_what_is_no_time_of_events_stays_as_the_page_tells_it(
    name: str, figures: dict[str, float], loop: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert values_of(name, {"": 9.5}, monkeypatch) == (figures, {loop})


def test_the_size_is_asked_of_records_and_browser_with_and_without_compression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, asked = values_of("log_size", {"records": 0.9, "estimate": 0.2}, monkeypatch)
    assert values == {
        "plain": 0.9,
        "compressed": 0.9,
        "plain_by_browser": 0.2,
        "compressed_by_browser": 0.2,
    }
    assert asked == {
        ("log_size", 20, by, kind) for by in ("records", "estimate") for kind in ("plain", "compressed")
    }


def test_the_log_is_measured_where_it_is_stored_by_a_worker() -> None:
    in_pages = {"log_page", "log_size", "log_memory"}
    for one in FAMILIES["log"]:
        assert one.runtimes == (("chromium",) if one.name in in_pages else BROWSER_SIDE), one.name
