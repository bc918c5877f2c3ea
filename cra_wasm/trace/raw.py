"""A raw record: all events of one call, kept small until somebody drains them.

Hot path: making one is a handful of stores. Numbers and ids are fixed here; text is made in `lines`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from ..hashing import DEFAULT_ALGORITHM
from ..model.ids import IDS_PER_BLOCK, block_stem, uuid_text
from ..model.timestamps import timestamp_text

FIRST_EVENT_OFFSET: Final = 8
"""Ids of a block before this one are the call's own: its trace, request, resolution, execution, approval."""

MAX_EVENTS_PER_RECORD: Final = (IDS_PER_BLOCK - FIRST_EVENT_OFFSET) // 2

UNIT_SEPARATOR: Final = "\x1f"
"""Stands between the fields of a line; no field can hold it (JSON escapes it)."""

_NUMBERS_READY: Final = 512
_NUMBERS: Final = tuple(f"{number:04x}" for number in range(_NUMBERS_READY))
"""What ids end with, for the events of nearly every call."""

TEXT_BYTES_PER_WEIGHT: Final = 1024
"""A usual event has 100-300 bytes of payload, so it weighs 1; the text of a whole buffer stays below 1 KiB
for each event's worth of its capacity. With 4 KiB a buffer of usual capacity could hold 256 MB of it."""

LIGHT_CHARS: Final = TEXT_BYTES_PER_WEIGHT // 4
"""Shorter text weighs nothing in any script; the hot path asks no further."""

EventTexts: TypeAlias = Sequence[tuple[str, str]]
"""(event_type, canonical payload) of each event, in order."""


def as_given(argument: EventTexts) -> EventTexts:
    """Expand a record whose argument is already the texts of its events."""
    return argument


def text_weight(*texts: str) -> int:
    """Return what one event's own texts weigh beyond the event: 1 for each whole KiB that they may fill.

    A character outside ASCII counts as 4 bytes, which is what it can cost all others of its string.
    """
    return sum(len(text) if text.isascii() else 4 * len(text) for text in texts) // TEXT_BYTES_PER_WEIGHT


def own_text_weight(texts: EventTexts) -> int:
    """Return what the payloads of a record's events weigh beyond the events, when it shares none of them."""
    for _, payload in texts:
        if len(payload) >= LIGHT_CHARS:
            return sum([text_weight(payload) for _, payload in texts])
    return 0


class RawEvent:
    """The events of one call: `count` of them from `first_sequence` on.

    The first event's parent is `parent_span_id`; the first event's span is the parent of the rest.

    Args:
        session_id: UUID text.
        base_id: first id of the block reserved for this call.
        trace_id: id that all of its events share.
        parent_span_id: None for session.started only.
        expand: turns `argument` into (event_type, canonical payload) pairs, `count` of them.
        text_weight: what the text weighs that only this record holds; text shared with a plan is free.
        algorithm: hash of the session's chain.

    `weight` is what it takes of a buffer's capacity: `count` and `text_weight`.
    """

    __slots__ = (
        "algorithm",
        "argument",
        "base_id",
        "count",
        "expand",
        "first_sequence",
        "parent_span_id",
        "session_id",
        "trace_id",
        "wall_ns",
        "weight",
    )

    def __init__(
        self,
        session_id: str,
        first_sequence: int,
        count: int,
        wall_ns: int,
        base_id: int,
        trace_id: int,
        parent_span_id: int | None,
        expand: Callable[[Any], EventTexts],
        argument: object,
        text_weight: int = 0,
        algorithm: str = DEFAULT_ALGORITHM,
    ) -> None:
        self.session_id = session_id
        self.first_sequence = first_sequence
        self.count = count
        self.wall_ns = wall_ns
        self.base_id = base_id
        self.trace_id = trace_id
        self.parent_span_id = parent_span_id
        self.expand = expand
        self.argument = argument
        self.weight = count + text_weight
        self.algorithm = algorithm

    @property
    def first_span_id(self) -> int:
        """The span of the first event."""
        return self.base_id + FIRST_EVENT_OFFSET + 1

    def event_id(self, index: int) -> int:
        """The id of the event at that place of the record."""
        return self.base_id + FIRST_EVENT_OFFSET + 2 * index

    def lines(self, start: int = 0, stop: int | None = None) -> list[str]:
        """Return the events' lines, as the batch holds them (design: the batch), each with its line feed."""
        us = UNIT_SEPARATOR
        stem = block_stem(self.base_id)
        trace_id = f"{stem}0000" if self.trace_id == self.base_id else uuid_text(self.trace_id)
        span = f"{us}{trace_id}{us}{stem}"
        child = f"{us}{stem}{FIRST_EVENT_OFFSET + 1:04x}{us}"
        parent = child
        if start == 0:
            parent = (
                f"{us}{us}" if self.parent_span_id is None else f"{us}{uuid_text(self.parent_span_id)}{us}"
            )
        time = f"{us}{timestamp_text(self.wall_ns)}{us}"
        number = FIRST_EVENT_OFFSET + 2 * start
        sequence = self.first_sequence + start
        lines = []
        for event_type, payload in self.expand(self.argument)[start:stop]:
            if number < _NUMBERS_READY:
                numbers = _NUMBERS[number], _NUMBERS[number + 1]
            else:
                numbers = f"{number:04x}", f"{number + 1:04x}"
            lines.append(
                f"{stem}{numbers[0]}{span}{numbers[1]}{parent}{sequence}{time}{event_type}{us}{payload}\n"
            )
            parent = child
            number += 2
            sequence += 1
        return lines
