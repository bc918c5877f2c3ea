"""Chains and stores records of 7 events, as immediate mode does: `python tests/bench/bench_chain.py`.

Prints the best microseconds per event for each hash that is there, and of the hash alone. Runs in Pyodide
too.
"""

from __future__ import annotations

from time import perf_counter

from cra_wasm import hashing
from cra_wasm.errors import BackendFailure
from cra_wasm.storage.memory import MemoryStorage
from cra_wasm.trace.chain_writer import ChainWriter
from cra_wasm.trace.raw import RawEvent, as_given

SESSION = "01940d23-3a00-7000-8000-000000010001"
BASE = 0x01940D233A0070008000000000010000
RECORDS = 300
TEXTS = [
    ("carp.request.received", f'{{"goal":"look","operation":"resolve","request_id":"{SESSION}"}}'),
    *[("policy.evaluated", '{"action_id":"item.read","policy_id":"allow-read","result":"allow"}')] * 5,
    ("carp.resolution.completed", '{"allowed_count":5,"decision_type":"allow","ttl_seconds":3600}'),
]


def chained_us(algorithm: str) -> float:
    """Microseconds per event from its record to the storage."""
    writer = ChainWriter(MemoryStorage())
    named = f'{{"agent_id":"a","goal":"g","hash_algorithm":"{algorithm}"}}'
    first = RawEvent(SESSION, 0, 1, 10**18, BASE, BASE, None, as_given, [("session.started", named)])
    writer.write_lines(SESSION, algorithm, first.lines())
    records = [
        RawEvent(SESSION, 1 + 7 * n, 7, 10**18, BASE + (n << 16), BASE, BASE, as_given, TEXTS, 0, algorithm)
        for n in range(RECORDS)
    ]
    start = perf_counter()
    for record in records:
        writer.write_lines(SESSION, algorithm, record.lines())
    return (perf_counter() - start) / (7 * RECORDS) * 1e6


def hashed_us(algorithm: str) -> float:
    """Microseconds of one hash of 400 bytes."""
    new_hash = hashing.constructor_of(algorithm)
    data = bytes(400)
    start = perf_counter()
    for _ in range(2_000):
        new_hash(data).hexdigest()
    return (perf_counter() - start) / 2_000 * 1e6


if __name__ == "__main__":
    for name in hashing.ALGORITHMS:
        try:
            chained = min(chained_us(name) for _ in range(7))
        except BackendFailure as error:
            print(error)
            continue
        alone = min(hashed_us(name) for _ in range(7))
        print(f"{name}: {chained:.2f} us per event, of it {alone:.2f} the hash")
