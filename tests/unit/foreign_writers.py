"""Writers of the foreign profiles of PROTOCOL 3.10, written down slowly. No code of the product.

An event is a dict without its hashes. Numbers that must keep their text are `Decimal`s made of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

Event = dict[str, Any]
Writer = Callable[[list[Event]], list[bytes]]

SESSION = "01a20896-5fbb-702e-a97c-f91cc4970016"


def event(sequence: int, payload: Any, **members: Any) -> Event:
    """An event in the formats of PROTOCOL 3.1, without its hashes."""
    return {
        "trace_version": "1.0",
        "event_id": f"01a20896-5fbd-76bb-a6ca-{sequence:012x}",
        "trace_id": "01a20896-5fbc-7478-b79b-59b548d527a4",
        "span_id": f"01a20896-5fbd-76bb-a6cb-{sequence:012x}",
        "parent_span_id": None,
        "session_id": SESSION,
        "sequence": sequence,
        "timestamp": f"2026-11-23T13:26:42.{sequence:06d}Z",
        "event_type": "note.taken",
        "payload": payload,
        **members,
    }


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def line(value: Event) -> bytes:
    """A line in the writer's own spelling: members as they come, white space, escapes."""
    return (json_of(value, lambda text: json.dumps(text)) + "\n").encode()


def json_of(value: Any, quoted: Callable[[str], str]) -> str:
    """JSON with blanks, in which a Decimal keeps its text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)}: {json_of(one, quoted)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(json_of(one, quoted) for one in value) + "]"
    if isinstance(value, str):
        return quoted(value)
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


def fields_text(one: Event, timestamp: str, payload: str, previous: str) -> str:
    return (
        one["trace_version"]
        + one["event_id"]
        + one["trace_id"]
        + one["span_id"]
        + (one.get("parent_span_id") or "")
        + one["session_id"]
        + str(one["sequence"])
        + timestamp
        + one["event_type"]
        + payload
        + previous
    )


def write_ascii(events: list[Event]) -> list[bytes]:
    """For payloads whose numbers Python and JavaScript write alike, and keys without emoji."""
    previous, lines = "0" * 64, []
    for one in events:
        payload = json.dumps(one["payload"], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        digest = sha256(fields_text(one, one["timestamp"], payload, previous))
        lines.append(line({**one, "event_hash": digest, "previous_event_hash": previous}))
        previous = digest
    return lines


def bare_keys(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join('"' + key + '":' + bare_keys(value[key]) for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(bare_keys(one) for one in value) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def write_offset_time(events: list[Event]) -> list[bytes]:
    previous, lines = "0" * 64, []
    for one in events:
        timestamp = one["timestamp"].removesuffix("Z") + "+00:00"
        digest = sha256(fields_text(one, timestamp, bare_keys(one["payload"]), previous))
        lines.append(line({**one, "event_hash": digest, "previous_event_hash": previous}))
        previous = digest
    return lines


def sorted_as_javascript(value: Any) -> Any:
    if isinstance(value, dict):
        indices = [key for key in value if key.isascii() and key.isdigit() and key == str(int(key))]
        names = [key for key in value if key not in indices]
        keys = sorted(indices, key=int) + sorted(names, key=lambda key: key.encode("utf-16-be"))
        return {key: sorted_as_javascript(value[key]) for key in keys}
    return [sorted_as_javascript(one) for one in value] if isinstance(value, list) else value


def write_whole_event(events: list[Event]) -> list[bytes]:
    """For numbers that Python and JavaScript write alike."""
    lines: list[bytes] = []
    previous: dict[str, str] = {}
    for one in events:
        hashed = {**one, **previous}
        text = json.dumps(sorted_as_javascript(hashed), separators=(",", ":"), ensure_ascii=False)
        previous = {"previous_event_hash": sha256(text)}
        lines.append(line({**hashed, "event_hash": sha256(text)}))
    return lines
