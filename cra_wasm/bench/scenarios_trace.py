"""The trace: emitting, draining, canonical text, verifying."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from typing import Final

import rfc8785

from ..errors import Json
from ..model.event import GENESIS_HASH, TraceEvent
from ..platform.detect import IN_PYODIDE
from ..trace.canonical import canonical_json
from ..trace.chain import event_hash
from ..trace.verify import verify_lines
from .harness import Timed, measuring, timed_call
from .scenario import Bench, Figures, Metric, Scenario
from .subjects import EVENTS_PER_DRAIN, GOAL, Subject, new_atlas

SESSION: Final = "01a20896-5fbb-702e-a97c-f91cc4970016"
SMALL: Final[dict[str, Json]] = {"field": "address", "length": 24, "valid": True}
_PAYLOADS: Final[dict[str, Json]] = {
    "members_3": {"action_id": "ticket.read", "result": "allow", "policy_id": "allow-reading"},
    "members_7": {
        "resolution_id": "01a20896-5fbd-76bb-a6ca-9ff91d4b320b",
        "request_id": "01a20896-5fbc-7478-b79b-59b548d527a4",
        "decision_type": "partial",
        "allowed_count": 4,
        "denied_count": 1,
        "context_block_count": 2,
        "ttl_seconds": 3600,
    },
    "nested": {"a": {"b": [1, 2.5, None, {"c": "\u00e9"}]}, "\u20ac": True, "x": 0.1},
}
_ENCODED: Final = tuple(Metric(name=name, unit="us") for name in _PAYLOADS)


def _emit(bench: Bench) -> Callable[[], Figures]:
    subject = Subject(bench, new_atlas())
    call = partial(subject.resolver.emit, subject.session_id, "form.changed", SMALL)
    return measuring(timed_call(bench, call, subject.settle), bench)


def new_drain(subject: Subject, bench: Bench) -> Callable[[], int]:
    """Return a function that drains and acknowledges one batch, and gives the bytes of its lines.

    In Pyodide the batch is made into JavaScript's object, as the trace worker gets it.
    """
    if not IN_PYODIDE:

        def drain() -> int:
            batch = subject.resolver.drain_traces(EVENTS_PER_DRAIN)
            subject.resolver.ack(batch.batch_id)
            return len(batch.data)

        return drain

    from .. import bridge

    bridge.attach(subject.resolver)

    def drain_to_javascript() -> int:
        batch = bridge.drain_traces(EVENTS_PER_DRAIN)
        bridge.ack(batch.batch_id)
        return int(batch.bytes.length)

    return drain_to_javascript


def _drain(bench: Bench) -> Callable[[], Figures]:
    subject = Subject(bench, new_atlas())
    drain = new_drain(subject, bench)

    def time(count: int) -> int:
        while drain():
            pass
        left = count
        while left > 0:
            subject.resolver.resolve(subject.session_id, GOAL)
            left -= 7
        start = bench.timer()
        drain()
        return bench.timer() - start

    # 994 events are 142 whole resolves, and one batch.
    return measuring(Timed(time=time, size=994, batches=30, singles=False), bench)


def _canonical(bench: Bench, *, write: Callable[[Json], object]) -> Callable[[], Figures]:
    runs = {name: measuring(timed_call(bench, partial(write, one)), bench) for name, one in _PAYLOADS.items()}
    return lambda: {name: run()["p50"] for name, run in runs.items()}


def _trace_lines(count: int) -> Iterator[bytes]:
    """Yield the first lines of one endless session, some 590 bytes each."""
    previous = GENESIS_HASH
    for sequence in range(count):
        event = TraceEvent(
            event_id=f"01a20896-5fbd-76bb-a6ca-{sequence:012x}",
            trace_id="01a20896-5fbc-7478-b79b-59b548d527a4",
            span_id=f"01a20896-5fbd-76bb-a6cb-{sequence:012x}",
            parent_span_id=SESSION,
            session_id=SESSION,
            sequence=sequence,
            timestamp="2026-11-23T13:26:42.000000Z",
            event_type="policy.evaluated",
            payload_json='{"action_id":"ticket.read","policy_id":"allow-reading","result":"allow"}',
            previous_event_hash=previous,
            event_hash="",
        )
        previous = event_hash(event, sha256)
        yield (event._replace(event_hash=previous).to_json() + "\n").encode()


def _verify(bench: Bench) -> Callable[[], Figures]:
    count = 100
    lines = list(_trace_lines(count))

    def time(_: int) -> int:
        start = bench.timer()
        result = verify_lines(lines)
        spent = bench.timer() - start
        if result.events != count:
            raise ValueError(f"the benchmark's own trace does not verify: {result.error}")
        return spent

    return measuring(Timed(time=time, size=count, singles=False), bench)


def _verify_memory(bench: Bench) -> Callable[[], Figures]:
    short, long = 200, 2_000

    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        try:
            verify_lines(_trace_lines(count))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def run() -> Figures:
        peak_bytes(short)
        growth = peak_bytes(long) - peak_bytes(short)
        return {"bytes_per_event": round(max(0, growth) / (long - short), 1)}

    return run


SCENARIOS = (
    Scenario(
        name="emit",
        title="emit, deferred",
        claim="one custom event with a payload of 3 members; its canonical text is made at once",
        metrics=(Metric(name="p50", unit="us", budget=12), Metric(name="p99", unit="us")),
        prepare=_emit,
    ),
    Scenario(
        name="drain",
        title="drain_traces, per event",
        claim="994 events of 142 resolves of 5 actions; in Pyodide until JavaScript has the batch",
        metrics=(Metric(name="p50", unit="us", budget=3),),
        prepare=_drain,
    ),
    Scenario(
        name="canonical",
        title="canonical JSON",
        claim="canonical_json of payloads with 3 and 7 members, and of one nested with fractions",
        metrics=_ENCODED,
        prepare=partial(_canonical, write=canonical_json),
    ),
    Scenario(
        name="canonical_rfc8785",
        title="the same by rfc8785",
        claim="the same payloads by the package rfc8785, which is slower and checks less",
        metrics=_ENCODED,
        prepare=partial(_canonical, write=rfc8785.dumps),
    ),
    Scenario(
        name="canonical_dumps",
        title="the same by json.dumps",
        claim="the same payloads by json.dumps with sorted keys, which is not canonical for all values",
        metrics=_ENCODED,
        prepare=partial(
            _canonical,
            write=partial(json.dumps, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
        ),
    ),
    Scenario(
        name="verify",
        title="verify, per event",
        claim="the chain of 100 events of 590 bytes each, from memory",
        metrics=(Metric(name="p50", unit="us"),),
        prepare=_verify,
    ),
    Scenario(
        name="verify_memory",
        title="verify, memory per event",
        claim="how much higher the peak is for 2,000 events than for 200, read line by line",
        metrics=(Metric(name="bytes_per_event", unit="B"),),
        prepare=_verify_memory,
        once=True,
    ),
)
