"""Times canonical_json, rfc8785 and json.dumps: `python tests/bench/bench_canonical.py`, or in Pyodide.

Prints the best of five rounds in microseconds per call.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from timeit import repeat

import rfc8785

from cra_wasm.errors import Json
from cra_wasm.trace.canonical import canonical_json

CALLS = 5_000
PAYLOADS: dict[str, Json] = {
    "3 members": {"action_id": "ticket.read", "result": "allow", "policy_id": "allow-reading"},
    "7 members": {
        "resolution_id": "01a20896-5fbd-76bb-a6ca-9ff91d4b320b",
        "request_id": "01a20896-5fbc-7478-b79b-59b548d527a4",
        "decision_type": "partial",
        "allowed_count": 4,
        "denied_count": 1,
        "context_block_count": 2,
        "ttl_seconds": 3600,
    },
    "nested, non-ASCII, floats": {"a": {"b": [1, 2.5, None, {"c": "\u00e9"}]}, "\u20ac": True, "x": 0.1},
}


def plain_dumps(value: Json) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def best_us(write: Callable[[Json], object], value: Json) -> float:
    return min(repeat(lambda: write(value), number=CALLS, repeat=5)) / CALLS * 1e6


def main() -> None:
    for name, value in PAYLOADS.items():
        times = [best_us(write, value) for write in (canonical_json, rfc8785.dumps, plain_dumps)]
        own, package, plain = times
        print(f"{name:28} canonical_json {own:5.1f}  rfc8785 {package:5.1f}  json.dumps {plain:5.1f} us")


if __name__ == "__main__":
    main()
