"""Events with the hash that belongs to them, for tests of the trace."""

from __future__ import annotations

from typing import Any

from cra_wasm import TraceEvent, hashing
from cra_wasm.model.event import GENESIS_HASH
from cra_wasm.trace.canonical import canonical_json
from cra_wasm.trace.chain import event_preimage

SESSION = "01a20896-5fbb-702e-a97c-f91cc4970016"
SPAN = "01a20896-5fbd-76bb-a6ca-9ff91d4b320b"


def sealed(hashed: dict[str, Any], algorithm: str = "sha256") -> TraceEvent:
    """Return the event of these fields with its hash."""
    digest = hashing.new(algorithm, event_preimage(**hashed)).hexdigest()
    return TraceEvent(event_hash=digest, **hashed)


def fields(sequence: int, previous: str, **changes: Any) -> dict[str, Any]:
    """The fields that are hashed, of a plausible event."""
    event: dict[str, Any] = {
        "event_id": f"01a20896-5fbd-76bb-a6ca-{sequence:012x}",
        "trace_id": "01a20896-5fbc-7478-b79b-59b548d527a4",
        "span_id": f"01a20896-5fbd-76bb-a6cb-{sequence:012x}",
        "parent_span_id": SPAN if sequence else None,
        "session_id": SESSION,
        "sequence": sequence,
        "timestamp": f"2026-11-23T13:26:42.{sequence:06d}Z",
        "event_type": "policy.evaluated",
        "payload_json": canonical_json({"n": sequence, "text": 'caf\u00e9 "x"', "x": [1.5, None, {}]}),
        "previous_event_hash": previous,
    }
    return event | changes


def started(named: object, **changes: Any) -> dict[str, Any]:
    """The fields of a session's first event that names its hash."""
    payload = canonical_json({"agent_id": "a", "goal": "caf\u00e9", "hash_algorithm": named})
    names: dict[str, Any] = {"event_type": "session.started", "payload_json": payload}
    return fields(0, GENESIS_HASH) | names | changes


def chain(
    length: int = 4, *, ended: bool = True, algorithm: str = "sha256", **changes: Any
) -> list[TraceEvent]:
    """Events that verify; only a chain of another hash than SHA-256 names it, as Python's sessions do."""
    events: list[TraceEvent] = []
    previous = GENESIS_HASH
    for sequence in range(length):
        event = fields(sequence, previous)
        if sequence == 0 and algorithm != "sha256":
            event = started(algorithm)
        if ended and sequence == length - 1 and event["event_type"] != "session.started":
            event["event_type"] = "session.ended"
        events.append(sealed(event | changes, algorithm))
        previous = events[-1].event_hash
    return events


def line_of(event: TraceEvent) -> bytes:
    return (event.to_json() + "\n").encode()


def rechained(events: list[TraceEvent]) -> list[TraceEvent]:
    """Return events whose content was changed, numbered and hashed anew: a chain that verifies."""
    again: list[TraceEvent] = []
    previous = GENESIS_HASH
    for sequence, event in enumerate(events):
        hashed = event._asdict() | {"sequence": sequence, "previous_event_hash": previous}
        del hashed["event_hash"], hashed["trace_version"]
        again.append(sealed(hashed))
        previous = again[-1].event_hash
    return again


def changed(events: list[TraceEvent], index: int, **members: Any) -> list[TraceEvent]:
    """Return the trace with some members of one payload changed, as somebody would forge it."""
    payload = events[index].payload | members
    forged = events[index]._replace(payload_json=canonical_json(payload))
    return rechained([*events[:index], forged, *events[index + 1 :]])
