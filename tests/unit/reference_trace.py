"""PROTOCOL 3.1-3.3 written down slowly: events with their fields, canonical text and hashes. No code of the
product. `Refused` is how a part of the reference says that the protocol refuses a call."""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

# Where the ids of a call stand in the block of 65,536 that it was given.
SESSION_ID = REQUEST_ID = 1
RESOLUTION_ID = EXECUTION_ID = 2
APPROVAL_ID = 3
FIRST_EVENT_ID = 8

HALF_PAIR = re.compile("[\ud800-\udfff]")
Texts = list[tuple[str, dict[str, Any]]]


class Refused(Exception):
    """The call is refused with that code and pointer; what the message says is the product's own."""

    def __init__(self, code: str, pointer: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.pointer = pointer


def id_text(number: int) -> str:
    return str(UUID(int=number))


def time_text(wall_ns: int) -> str:
    moment = datetime(1970, 1, 1) + timedelta(microseconds=wall_ns // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def plain(value: Any, pointer: str = "") -> Any:
    """Return a JSON value as JCS has it (2.0 is 2), or refuse what I-JSON has not."""
    if isinstance(value, dict):
        return {key: plain(one, f"{pointer}/{key}") for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, f"{pointer}/{index}") for index, one in enumerate(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refused("not_canonical", pointer)
        return int(value) if value.is_integer() else value
    if isinstance(value, str) and HALF_PAIR.search(value):
        raise Refused("not_canonical", pointer)
    return value


def canonical(value: Any, pointer: str = "") -> str:
    """Return RFC 8785's text of values whose keys are ASCII and whose fractions are short."""
    return json.dumps(plain(value, pointer), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Trace:
    """All events that were made, in their sessions' chains."""

    def __init__(self) -> None:
        self.events: dict[str, list[dict[str, Any]]] = {}

    def record(
        self, session_id: str, base: int, wall_ns: int, trace_id: int, parent: int | None, texts: Texts
    ) -> int:
        """Add the events of one record and return the first one's span, the parent of the rest."""
        first_span = base + FIRST_EVENT_ID + 1
        for index, (event_type, payload) in enumerate(texts):
            chain = self.events.setdefault(session_id, [])
            over = parent if index == 0 else first_span
            event = {
                "trace_version": "1.0",
                "event_id": id_text(base + FIRST_EVENT_ID + 2 * index),
                "trace_id": id_text(trace_id),
                "span_id": id_text(first_span + 2 * index),
                "parent_span_id": None if over is None else id_text(over),
                "session_id": session_id,
                "sequence": len(chain),
                "timestamp": time_text(wall_ns),
                "event_type": event_type,
                "payload": payload,
                "previous_event_hash": chain[-1]["event_hash"] if chain else "0" * 64,
            }
            chain.append({**event, "event_hash": hash_of(event)})
        return first_span

    def lines(self) -> dict[str, bytes]:
        """Return each session as the bytes of its .trace.jsonl."""
        return {
            session_id: b"".join(canonical(event).encode() + b"\n" for event in chain)
            for session_id, chain in self.events.items()
        }


def hash_of(event: dict[str, Any]) -> str:
    """Return PROTOCOL 3.2's hash of an event that has none yet."""
    return sha256(
        event["trace_version"]
        + event["event_id"]
        + event["trace_id"]
        + event["span_id"]
        + (event["parent_span_id"] or "")
        + event["session_id"]
        + str(event["sequence"])
        + event["timestamp"]
        + event["event_type"]
        + canonical(event["payload"])
        + event["previous_event_hash"]
    )
