"""Writes a trace of so many MB and verifies it: `python tests/bench/bench_verify.py 1000`.

Prints the seconds, the microseconds per event, and the peak memory of the process.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from time import perf_counter

from cra_wasm.model.event import GENESIS_HASH, TraceEvent
from cra_wasm.trace.chain import event_hash
from cra_wasm.trace.verify import verify_file

SESSION = "01a20896-5fbb-702e-a97c-f91cc4970016"


def lines() -> Iterator[bytes]:
    """Lines of one endless session, 590 bytes each."""
    previous = GENESIS_HASH
    sequence = 0
    while True:
        open_event = TraceEvent(
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
        previous = event_hash(open_event, sha256)
        yield (open_event._replace(event_hash=previous).to_json() + "\n").encode()
        sequence += 1


def main(size_mb: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.trace.jsonl"
        written = 0
        with path.open("wb") as target:
            for line in lines():
                written += target.write(line)
                if written >= size_mb * 1_000_000:
                    break
        start = perf_counter()
        result = verify_file(path)
        seconds = perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    per_event_us = seconds / result.events * 1e6
    print(f"{size_mb} MB, {result.events} events, valid {result.valid}")
    print(f"{seconds:.1f} s, {per_event_us:.1f} us per event, peak memory {peak_mb:.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
