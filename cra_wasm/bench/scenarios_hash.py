"""Hashing: BLAKE3 against SHA-256, alone, in a chain, and end to end through the trace worker.

Both are taken in alternation, so that a machine that changes its pace favours neither.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import repeat
from typing import Final

from ..hashing import ALGORITHMS, constructor_of
from ..storage.memory import MemoryStorage
from ..trace.chain_writer import ChainWriter
from ..trace.raw import RawEvent, as_given
from .harness import Timed, measuring_in_turn
from .scenario import BROWSER_SIDE, FULL, QUICK, Bench, Figures, Metric, Scenario
from .scenarios_log import emitting
from .scenarios_trace import SESSION
from .subjects import AGENT, GOAL, Subject, new_atlas

RATIO: Final = "blake3_to_sha256"
"""BLAKE3's time in times of SHA-256's."""

_RECORDS: Final = 100
_EVENTS_PER_RECORD: Final = 7
_BASE: Final = int(SESSION.replace("-", ""), 16) & ~0xFFFF
_TEXTS: Final = (
    ("carp.request.received", f'{{"goal":"look","operation":"resolve","request_id":"{SESSION}"}}'),
    *(("policy.evaluated", '{"action_id":"item.read","policy_id":"allow-read","result":"allow"}'),) * 5,
    ("carp.resolution.completed", '{"allowed_count":5,"decision_type":"allow","ttl_seconds":3600}'),
)


def _with_ratio(run: Callable[[], Figures]) -> Figures:
    figures = run()
    return {**figures, RATIO: figures["blake3"] / figures["sha256"]}


def _hash(bench: Bench, *, size_bytes: int, batches: int) -> Callable[[], Figures]:
    data = (bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes]

    def timed(algorithm: str) -> Timed:
        new_hash, timer = constructor_of(algorithm), bench.timer

        def time(count: int) -> int:
            start = timer()
            for _ in repeat(None, count):
                new_hash(data).hexdigest()
            return timer() - start

        return Timed(time=time, batches=batches)

    return partial(_with_ratio, measuring_in_turn({name: timed(name) for name in ALGORITHMS}, bench))


def _chain(bench: Bench) -> Callable[[], Figures]:
    def timed(algorithm: str) -> Timed:
        constructor_of(algorithm)
        named = f'{{"agent_id":"a","goal":"g","hash_algorithm":"{algorithm}"}}'
        first = RawEvent(SESSION, 0, 1, 10**18, _BASE, _BASE, None, as_given, [("session.started", named)])

        def record(number: int) -> RawEvent:
            sequence, base = 1 + _EVENTS_PER_RECORD * number, _BASE + (number + 1 << 16)
            return RawEvent(
                *(SESSION, sequence, _EVENTS_PER_RECORD, 10**18, base, _BASE, _BASE, as_given, _TEXTS),
                algorithm=algorithm,
            )

        records = [record(number) for number in range(_RECORDS)]

        def time(_: int) -> int:
            writer = ChainWriter(MemoryStorage())
            writer.write_lines(SESSION, algorithm, first.lines())
            start = bench.timer()
            for one in records:
                writer.write_lines(SESSION, algorithm, one.lines())
            return bench.timer() - start

        return Timed(time=time, size=_RECORDS * _EVENTS_PER_RECORD, batches=30)

    return partial(_with_ratio, measuring_in_turn({name: timed(name) for name in ALGORITHMS}, bench))


def _log(bench: Bench) -> Callable[[], Awaitable[Figures]]:
    from .. import bridge  # importable in Pyodide only

    javascript = bench.javascript
    if javascript is None:
        raise ValueError("log_hash is measured from JavaScript")
    for algorithm in ALGORITHMS:
        constructor_of(algorithm)
    subject = Subject(bench, new_atlas())
    bridge.attach(subject.resolver)
    count = bench.effort.events

    async def per_second(algorithm: str) -> float:
        session_id = subject.resolver.create_session(AGENT, GOAL, hash_algorithm=algorithm)
        make = emitting(subject.resolver, session_id)
        spent_us = await javascript.time_async("log", count, make, session_id, "relaxed")
        subject.resolver.end_session(session_id)
        subject.drain()  # its last event: the next store has not the others
        return count * 1e6 / spent_us

    async def run() -> Figures:
        figures = {name: await per_second(name) for name in ALGORITHMS}
        return {**figures, RATIO: figures["sha256"] / figures["blake3"]}

    subject.drain()
    return run


def _times(budget: float | None) -> tuple[Metric, ...]:
    return (*(Metric(name=one, unit="us") for one in ALGORITHMS), Metric(name=RATIO, unit="x", budget=budget))


SCENARIOS = (
    Scenario(
        name="hash_700",
        title="hash of 700 bytes",
        claim="a new hash object of 700 bytes and its hex digest, as for each event of a chain: the package"
        " blake3 against hashlib's sha256, batch by batch in turn",
        metrics=_times(0.7),
        prepare=partial(_hash, size_bytes=700, batches=100),
    ),
    Scenario(
        name="hash_1mib",
        title="hash of 1 MiB",
        claim="as hash_700, of 1,048,576 bytes",
        metrics=_times(0.5),
        prepare=partial(_hash, size_bytes=1 << 20, batches=30),
    ),
    Scenario(
        name="chain",
        title="chain and store, per event",
        claim="records of 7 events, from the record to a storage in memory, as in immediate mode",
        metrics=_times(None),
        prepare=_chain,
    ),
    Scenario(
        name="log_hash",
        title="log end to end, by hash",
        claim=f"{FULL.events:,} (quick: {QUICK.events:,}) custom events of one session, of 3 members each:"
        " emitted through the bridge by JavaScript 1,000 at a time, drained, hashed by a new trace worker"
        " (hash-wasm) and stored (Chromium: IndexedDB, Node: memory), until all are; 5,000 before them are"
        " not timed; the ratio is that of the times",
        metrics=(*(Metric(name=one, unit="/s") for one in ALGORITHMS), Metric(name=RATIO, unit="x")),
        prepare=_log,
        runtimes=BROWSER_SIDE,
        timed_in="javascript",
    ),
)
