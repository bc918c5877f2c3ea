"""What a trace of Chromium tells of collections, and how its figures come into the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from cra_wasm.bench.catalogue import select
from cra_wasm.bench.pauses import longest_collections_us, run_traced
from cra_wasm.errors import CRAError

MARKS = [{"name": "log_page begin", "ph": "I", "ts": 100}, {"name": "log_page end", "ph": "I", "ts": 200}]


def thread(tid: int, name: str) -> dict[str, Any]:
    return {"name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": {"name": name}}


def collection(tid: int, ts: int, dur: int, name: str = "MinorGC", ph: str = "X") -> dict[str, Any]:
    return {"name": name, "ph": ph, "pid": 1, "tid": tid, "ts": ts, "dur": dur, "tdur": dur // 5}


def trace_of(*events: dict[str, Any]) -> bytes:
    threads = [thread(1, "CrRendererMain"), thread(2, "DedicatedWorker thread")]
    return json.dumps({"traceEvents": [*threads, *events]}).encode()


@pytest.mark.parametrize(
    "events",
    [
        MARKS,
        [*MARKS, collection(2, 150, 5, name="V8.GCScavenger")],
        [*MARKS, collection(2, 150, 5, ph="B")],
        [collection(2, 150, 5)],
        [MARKS[0], collection(2, 150, 5)],
    ],
)
def test_a_trace_that_tells_nothing_is_no_figure(events: list[dict[str, Any]]) -> None:
    with pytest.raises(CRAError) as raised:
        longest_collections_us(trace_of(*events), "log_page")
    assert raised.value.code == "bench_failed"


def test_only_collections_of_workers_between_the_marks_count() -> None:
    others = [collection(1, 150, 900), collection(2, 99, 800), collection(2, 201, 700)]
    mine = [collection(2, 120, 5), collection(2, 160, 7, name="MajorGC")]
    assert longest_collections_us(trace_of(*MARKS, *others, *mine), "log_page") == {
        "collection": 7.0,
        "collection_cpu": 1.0,
    }
    assert longest_collections_us(trace_of(*MARKS, *others), "log_page") == {
        "collection": 0.0,
        "collection_cpu": 0.0,
    }


def test_each_run_has_its_marks() -> None:
    later = [{**one, "ts": one["ts"] + 1_000} for one in MARKS]
    events = [*MARKS, *later, collection(2, 600, 50), collection(2, 1_150, 9)]
    assert longest_collections_us(trace_of(*events), "log_page")["collection"] == 9.0


class FakeBrowser:
    def __init__(self, trace: bytes) -> None:
        self.trace = trace
        self.said: list[str] = []

    def start_tracing(self, *, page: Any, categories: Sequence[str]) -> None:
        self.said.append("start")

    def stop_tracing(self) -> bytes:
        self.said.append("stop")
        return self.trace


def run(names: list[str], error: bool = False) -> tuple[dict[str, Any], list[str]]:
    browser = FakeBrowser(trace_of(*MARKS, collection(2, 150, 30_000)))

    def ask(asked: Sequence[str]) -> dict[str, Any]:
        browser.said.append(" ".join(asked))
        if error:
            return {"error": {"code": "invalid_arguments"}}
        return {
            "scenarios": [{"name": one, "metrics": []} for one in asked],
            "unsteady": [],
            "not_measured": [],
        }

    return run_traced(browser, None, ask, select(names, "chromium")), browser.said


def test_what_needs_no_trace_is_asked_without_one() -> None:
    report, said = run(["emit"])
    assert (said, [one["name"] for one in report["scenarios"]]) == (["emit"], ["emit"])


def test_what_needs_a_trace_runs_alone_in_one_behind_the_others() -> None:
    report, said = run(["log_page", "emit"])
    assert said == ["emit", "start", "log_page", "stop"]
    emit, log_page = report["scenarios"]
    assert (emit["metrics"], [one["name"] for one in log_page["metrics"]]) == (
        [],
        ["collection", "collection_cpu"],
    )
    assert [(one["value"], one["held"]) for one in log_page["metrics"]] == [
        (30_000.0, False),
        (6_000.0, None),
    ]
    assert run(["log_page"])[1] == ["start", "log_page", "stop"]


def test_an_error_is_handed_on() -> None:
    for names in (["emit"], ["emit", "log_page"], ["log_page"]):
        report, said = run(names, error=True)
        assert report == {"error": {"code": "invalid_arguments"}}
        assert said.count("start") == said.count("stop")
