"""Chain the events of traces anew, after somebody has edited them: `python rehash.py FILE...`

Each line may be any JSON of an event. Its payload, times, ids and numbers are kept; the links and the hashes
are made anew, with the hash that the first event names, and each line is written in canonical form. This
shares no code with cra_wasm on purpose: what a golden trace says must not come from what it is held against.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import rfc8785

HASHED = (
    *("trace_version", "event_id", "trace_id", "span_id", "parent_span_id", "session_id"),
    *("sequence", "timestamp", "event_type", "payload", "previous_event_hash"),
)


def rehash(lines: Iterable[str]) -> list[str]:
    """Return the lines of a whole trace, without line feeds, with the links and hashes that they need."""
    events = [json.loads(line) for line in lines]
    named = events[0]["payload"].get("hash_algorithm", "sha256") if events else "sha256"
    previous = "0" * 64
    for event in events:
        event["previous_event_hash"] = previous
        preimage = "".join(_hashed_text(event[name]) for name in HASHED)
        previous = event["event_hash"] = _digest(named, preimage.encode())
    return [rfc8785.dumps(event).decode() for event in events]


def _hashed_text(value: object) -> str:
    if isinstance(value, dict):
        return rfc8785.dumps(value).decode()
    return "" if value is None else str(value)


def _digest(algorithm: str, data: bytes) -> str:
    if algorithm == "sha256":
        return hashlib.sha256(data).hexdigest()
    from blake3 import blake3

    return blake3(data).hexdigest()


def main(names: list[str]) -> int:
    for name in names:
        path = Path(name)
        text = path.read_text(encoding="utf-8")
        path.write_text("".join(f"{line}\n" for line in rehash(text.splitlines())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
