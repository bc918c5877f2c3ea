"""The benchmarks of the hashes, on hashes whose time a test decides, and where BLAKE3 is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cra_wasm import hashing
from cra_wasm.bench import inside, scenarios_hash
from cra_wasm.bench.catalogue import FAMILIES
from cra_wasm.bench.harness import Timed, measuring_in_turn
from cra_wasm.bench.scenario import Bench, Effort, Figures, JavaScript, Metric, Ratio, Scenario
from cra_wasm.errors import BackendFailure, CRAError
from cra_wasm.storage.memory import MemoryStorage

TINY = Effort(batches=3, batch_us=10, warm_up_ms=1, singles=5, sessions=3, calls_in_a_row=2_000, events=20)
HASHES = {one.name: one for one in FAMILIES["hash"]}


def figures_of(name: str, bench: Bench) -> Figures:
    with bench.closing:
        figures = HASHES[name].prepare(bench)()
    assert isinstance(figures, dict)
    return figures


class Pace:
    """A timer that stands still but for the hashes: the cost of one is nanoseconds by its algorithm."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **costs_ns: int) -> None:
        self.now_ns = 0
        self.factor = 1
        self.hashed: list[tuple[str, int]] = []
        self.costs_ns = costs_ns
        monkeypatch.setattr(scenarios_hash, "constructor_of", self.constructor_of)

    def constructor_of(self, name: str) -> Callable[[bytes], Any]:
        def new_hash(data: bytes) -> Any:
            return SimpleNamespace(hexdigest=lambda: self.hash(name, len(data)))

        return new_hash

    def hash(self, name: str, size_bytes: int) -> str:
        self.hashed.append((name, size_bytes))
        self.now_ns += self.costs_ns[name] * self.factor
        return "00"

    def bench(self) -> Bench:
        return Bench(runtime="node", effort=TINY, timer=lambda: self.now_ns)


@pytest.mark.parametrize(("name", "size_bytes"), [("hash_700", 700), ("hash_1mib", 1_048_576)])
def test_both_hashes_are_timed_on_the_same_bytes(
    name: str, size_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(monkeypatch, sha256=4_000_000, blake3=1_000_000)
    assert figures_of(name, pace.bench()) == {"sha256": 4_000.0, "blake3": 1_000.0, "blake3_to_sha256": 0.25}
    assert set(pace.hashed) == {("sha256", size_bytes), ("blake3", size_bytes)}


def test_a_machine_that_slows_down_favours_neither() -> None:
    now_ns, taken = 0, []

    def timed(name: str) -> Timed:
        def time(count: int) -> int:
            taken.append(name)
            return count * (1_000 if len(taken) <= 4 else 9_000)

        return Timed(time=time, size=10)

    effort = Effort(batches=6, batch_us=10, singles=1, sessions=1, calls_in_a_row=1, events=1)
    bench = Bench(runtime="node", effort=effort, timer=lambda: now_ns)
    figures = measuring_in_turn({"one": timed("one"), "other": timed("other")}, bench)()
    assert taken == ["one", "other"] * 6
    assert figures == {"one": 9.0, "other": 9.0}


def test_the_fewest_batches_of_any_hold_for_all() -> None:
    taken: list[str] = []

    def timed(name: str, batches: int | None) -> Timed:
        return Timed(time=lambda _: taken.append(name) or 1_000, size=1, batches=batches)  # type: ignore[func-returns-value]

    bench = Bench(runtime="node", effort=TINY)
    assert measuring_in_turn({"one": timed("one", 2), "other": timed("other", None)}, bench)() == {
        "one": 1.0,
        "other": 1.0,
    }
    assert taken == ["one", "other"] * 2


def test_what_is_chained_is_stored_with_the_hash_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    storages: list[MemoryStorage] = []

    def new_storage() -> MemoryStorage:
        storages.append(MemoryStorage())
        return storages[-1]

    monkeypatch.setattr(scenarios_hash, "MemoryStorage", new_storage)
    figures = figures_of("chain", Bench(runtime="cpython", effort=TINY))
    assert figures["blake3_to_sha256"] == figures["blake3"] / figures["sha256"]
    assert {storage.count() for storage in storages} == {701}
    named = [storage.get_events(last=701)[0].payload_json for storage in storages]
    assert ["sha256" in named[0], "blake3" in named[1], len(named)] == [True, True, 6]


@pytest.mark.cpython_only(reason="stands in for the bridge, which is the real one inside Pyodide")
def test_the_log_is_timed_by_javascript_in_a_session_of_each_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    attached: list[Any] = []
    asked: list[tuple[Any, ...]] = []
    spent_us = {"sha256": 4_000.0, "blake3": 1_000.0}

    async def time_async(loop: str, count: int, make: Any, session_id: str, durability: str) -> float:
        (resolver,) = attached
        make(2)
        batch = resolver.drain_traces(1_000)
        (group,) = batch.groups
        assert (group.session_id, batch.count) == (session_id, 3)
        resolver.ack(batch.batch_id)
        asked.append((loop, count, durability, group.algorithm))
        return spent_us[group.algorithm]

    monkeypatch.setitem(sys.modules, "cra_wasm.bridge", SimpleNamespace(attach=attached.append))
    report = inside.run(
        ["log_hash"],
        runtime="node",
        effort=TINY,
        javascript=JavaScript(calibrate=lambda: 1.0, time=lambda *_: 0.0, time_async=time_async),
    )
    values = {one["name"]: one["value"] for one in report["scenarios"][0]["metrics"]}
    assert values == {"sha256": 5_000.0, "blake3": 20_000.0, "blake3_to_sha256": 0.25}
    assert asked == [("log", 20, "relaxed", "sha256"), ("log", 20, "relaxed", "blake3")] * 5


def test_one_that_waits_where_nothing_can_be_waited_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never:
        def __await__(self) -> Any:
            yield

    waiting = Scenario(
        name="x",
        title="x",
        claim="x",
        metrics=(Metric(name="p50", unit="us"),),
        prepare=lambda _: Never,  # type: ignore[arg-type, return-value]
    )
    monkeypatch.setattr(inside, "select", lambda _names, _runtime: [waiting])
    with pytest.raises(RuntimeError):
        inside.run()


# Where BLAKE3 is missing


@pytest.fixture
def without_blake3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(hashing._constructors, "blake3", raising=False)
    monkeypatch.setitem(sys.modules, "blake3", None)


def test_without_blake3_what_needs_it_is_not_measured_and_the_rest_is(without_blake3: None) -> None:
    report = inside.run(["hash", "canonical"], effort=TINY)
    assert [one["name"] for one in report["scenarios"]] == ["canonical"]
    missing = report["not_measured"]
    assert [one["name"] for one in missing] == ["hash_700", "hash_1mib", "chain"]
    assert {one["code"] for one in missing} == {"hash_unavailable"}
    assert all("BLAKE3" in one["message"] for one in missing)


def test_a_report_without_any_figure_still_tells_the_machine_s_pace(without_blake3: None) -> None:
    report = inside.run(["hash"], effort=TINY)
    assert (report["scenarios"], report["unsteady"], len(report["not_measured"])) == ([], [], 3)
    assert report["calibration_us"] > 0


def scenario(name: str, error: CRAError | None, ratio: Ratio | None = None) -> Scenario:
    def prepare(_: Bench) -> Callable[[], Figures]:
        if error is not None:
            raise error
        return {"p50": 1.0}.copy

    metrics = (Metric(name="p50", unit="us"),)
    return Scenario(name=name, title=name, claim="", metrics=metrics, prepare=prepare, ratio=ratio)


def test_a_ratio_to_what_was_not_measured_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = scenario("missing", BackendFailure("hash_unavailable", "not here"))
    other = scenario("other", None, Ratio(to="missing", budget=1))
    monkeypatch.setattr(inside, "select", lambda _names, _runtime: [missing, other])
    report = inside.run(effort=TINY)
    assert [one["name"] for one in report["scenarios"][0]["metrics"]] == ["p50"]
    assert report["not_measured"] == [{"name": "missing", "code": "hash_unavailable", "message": "not here"}]


def test_any_other_failure_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = scenario("broken", BackendFailure("storage_failed", "broken"))
    monkeypatch.setattr(inside, "select", lambda _names, _runtime: [broken])
    with pytest.raises(BackendFailure) as caught:
        inside.run(effort=TINY)
    assert caught.value.code == "storage_failed"
