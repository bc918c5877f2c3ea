"""What only a trace of Chromium tells: the pauses of garbage collection in workers, while a benchmark ran."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from ..errors import CRAError, Json
from .judge import judge
from .scenario import Figures, Scenario

CATEGORIES: Final = ("v8", "blink.user_timing")
_COLLECTIONS: Final = ("MinorGC", "MajorGC")
_WORKER: Final = "DedicatedWorker thread"

Report = dict[str, Json]


class Browser(Protocol):
    """What Playwright's browser does of it."""

    def start_tracing(self, *, page: Any, categories: Sequence[str]) -> None: ...

    def stop_tracing(self) -> bytes: ...


def longest_collections_us(trace: bytes, mark: str) -> Figures:
    """Return the longest collection in a worker's thread between the marks `<mark> begin` and `<mark> end`.

    `collection` is by the wall, `collection_cpu` by what the thread itself worked: a busy machine adds to the
    first only.

    Raises:
        CRAError: `bench_failed` when the trace has no such marks or, from its start on, no collection: that
            tells of another browser, and not of a program without garbage.
    """
    events: list[Mapping[str, Any]] = json.loads(trace)["traceEvents"]
    workers = {
        (one["pid"], one["tid"])
        for one in events
        if one.get("name") == "thread_name" and one["args"].get("name") == _WORKER
    }
    begins, ends = (
        sorted(one["ts"] for one in events if one.get("name") == f"{mark} {side}")
        for side in ("begin", "end")
    )
    collections = [one for one in events if one.get("name") in _COLLECTIONS and one.get("ph") == "X"]
    if not begins or len(begins) != len(ends) or not collections:
        raise CRAError(
            "bench_failed", f"Chromium's trace does not tell the collections of {mark}: use another one"
        )
    spans = list(zip(begins, ends, strict=True))
    mine = [
        one
        for one in collections
        if (one["pid"], one["tid"]) in workers and any(begin <= one["ts"] <= end for begin, end in spans)
    ]
    return {
        "collection": max((float(one["dur"]) for one in mine), default=0.0),
        "collection_cpu": max((float(one.get("tdur", 0)) for one in mine), default=0.0),
    }


def run_traced(
    browser: Browser, page: object, ask: Callable[[Sequence[str]], Report], chosen: Sequence[Scenario]
) -> Report:
    """Return the report of `chosen` by asking once, and once more with a trace for those that need one."""
    traced = {one.name: one for one in chosen if one.traced}
    others = [one.name for one in chosen if not one.traced]
    report = ask(others) if others or not traced else None
    if not traced or (report is not None and "error" in report):
        return report or {}
    browser.start_tracing(page=page, categories=CATEGORIES)
    try:
        second = ask(list(traced))
    finally:
        trace = browser.stop_tracing()
    for result in second.get("scenarios", ()):
        longest_us = longest_collections_us(trace, result["name"])
        for metric in traced[result["name"]].traced:
            result["metrics"].append(judge(metric, [longest_us[metric.name]], "chromium"))
    if report is None or "error" in second:
        return second
    for part in ("scenarios", "unsteady", "not_measured"):
        report[part] += second[part]
    return report
