"""Takes out of payloads what a redaction names, before they are buffered, hashed or stored (PROTOCOL 3.9)."""

from __future__ import annotations

import json
import re
from typing import Final, cast

from ..carp.planner import Planner
from ..carp.redaction import Redaction
from ..errors import InvalidInput, Json
from ..hashing import new
from ..model.limits import MAX_PAYLOAD_CHARS
from ..model.redaction import REDACTABLE, REDACTED, Removal
from ..model.resolution import Resolution
from ..trace.canonical import canonical_json
from ..trace.raw import EventTexts, RawEvent, text_weight
from .resolve_events import PLAIN_PARTS, RECEIVED, ResolveArgument, expand_resolve, received_text

_NOTHING: Final[frozenset[str]] = frozenset()
_INDEX: Final = re.compile("0|[1-9][0-9]{0,6}")
"""A payload of 1,000,000 characters has none that is longer."""


def redacted_texts(texts: EventTexts, redaction: Redaction | None, algorithm: str) -> EventTexts:
    """Return events of the runtime's own with their payloads redacted: only what REDACTABLE names can go.

    A member that goes is replaced by the text `[redacted]`, or `[redacted sha256:...]` with the session's
    hash of its canonical text; the payload's `redacted` lists the pointers of all that went. Members that a
    payload has not are skipped.

    Raises:
        InvalidInput: `invalid_payload` when the marks make a payload longer than 1,000,000 characters.
    """
    if redaction is None:
        return texts
    return [
        (kind, _redacted(text, redaction, algorithm, REDACTABLE.get(kind, _NOTHING))) for kind, text in texts
    ]


def redacted_host_texts(texts: EventTexts, redaction: Redaction | None, algorithm: str) -> EventTexts:
    """As `redacted_texts`, of a host's own events, of which any member can go.

    Raises:
        InvalidInput: and when a payload of which something goes has a member `redacted` already.
    """
    if redaction is None:
        return texts
    return [(kind, _redacted(text, redaction, algorithm, None)) for kind, text in texts]


def _redacted(
    payload_json: str, redaction: Redaction, algorithm: str, redactable: frozenset[str] | None
) -> str:
    payload: dict[str, Json] = json.loads(payload_json)
    before = () if redactable is None else payload.get(REDACTED, ())
    taken = [
        one.pointer
        for one in redaction
        if (redactable is None or (one.path[0] in redactable and one.pointer not in before))
        and _take_out(payload, one, algorithm)
    ]
    if not taken:
        return payload_json
    if redactable is None and REDACTED in payload:
        raise InvalidInput(
            "invalid_payload",
            "`redacted` is the member that lists what a policy takes out: name yours otherwise",
            pointer=f"/payload/{REDACTED}",
        )
    payload[REDACTED] = sorted({*before, *taken})
    text = canonical_json(payload)
    if len(text) > MAX_PAYLOAD_CHARS:
        raise InvalidInput(
            "invalid_payload",
            f"is longer than {MAX_PAYLOAD_CHARS} characters with the marks of what a policy takes out",
            pointer="/payload",
        )
    return text


def session_redaction(planner: Planner, agent_id: str | None, wall_ns: int) -> Redaction | None:
    """Return what is taken out of events that belong to a session, or to none, and to no request."""
    return None if planner.redactor is None else planner.redactor.of_session(agent_id, wall_ns)


def visible_pointer(pointer: str, redaction: Redaction | None) -> str:
    """Return a pointer into what was refused, up to the member that would have been taken out: names below it
    are part of that member.
    """
    start = "/payload" if pointer.startswith("/payload/") else ""
    for one in redaction or ():
        if pointer.startswith(f"{start}{one.pointer}/"):
            return start + one.pointer
    return pointer


def redact_resolve(raw: RawEvent, redaction: Redaction, algorithm: str) -> None:
    """Redact a resolve's record before it is recorded, so that nothing keeps the original.

    Raises:
        InvalidInput: as `redacted_texts`.
    """
    resolution, goal, parts = cast(ResolveArgument, raw.argument)
    received = _redacted(
        received_text(goal, resolution.request_id, parts), redaction, algorithm, REDACTABLE[RECEIVED]
    )
    raw.expand = _expand_redacted
    raw.argument = (resolution, received)
    raw.weight = raw.count + text_weight(received)


def _expand_redacted(argument: tuple[Resolution, str]) -> EventTexts:
    resolution, received = argument
    return [(RECEIVED, received), *expand_resolve((resolution, "", PLAIN_PARTS["low"]))[1:]]


def _take_out(payload: dict[str, Json], removal: Removal, algorithm: str) -> bool:
    """Replace a member by its mark; False when the payload has not got it, or not any more."""
    holder: Json = payload
    *outer, last = removal.path
    for part in outer:
        key = _key_in(holder, part)
        if key is None:
            return False
        holder = holder[key]
    key = _key_in(holder, last)
    if key is None:
        return False
    holder[key] = _mark(holder[key], removal.hashed, algorithm)
    return True


def _key_in(holder: Json, part: str) -> str | int | None:
    """Return the key or index by which a value has that part of a pointer; None when it has not."""
    if isinstance(holder, dict):
        return part if part in holder else None
    if not isinstance(holder, list) or not _INDEX.fullmatch(part) or int(part) >= len(holder):
        return None
    return int(part)


def _mark(original: Json, hashed: bool, algorithm: str) -> str:
    if not hashed:
        return "[redacted]"
    return f"[redacted {algorithm}:{new(algorithm, canonical_json(original).encode()).hexdigest()}]"
