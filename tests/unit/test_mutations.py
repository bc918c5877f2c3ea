"""The verdicts of specs/vectors/mutations.json, which the TypeScript side has to give too (PROTOCOL 3.4)."""

from __future__ import annotations

import json
from typing import Final

from .chaining import line_of
from .mutating import FILE, KINDS, applied, bases, verdict

VECTORS: Final = json.loads(FILE.read_text(encoding="utf-8"))


def test_the_bases_are_what_this_project_writes() -> None:
    texts = {name: "".join(line_of(event).decode() for event in events) for name, events in bases().items()}
    assert VECTORS["bases"] == texts
    for text in texts.values():
        assert verdict(text.encode())["valid"]


def test_there_are_cases_of_every_kind() -> None:
    assert {case["kind"] for case in VECTORS["cases"]} == {kind.__name__ for kind in KINDS}


def test_every_changed_trace_gets_its_verdict() -> None:
    for number, case in enumerate(VECTORS["cases"]):
        changed = applied(VECTORS["bases"][case["base"]].encode(), case["edits"])
        assert verdict(changed) == case["result"], number
