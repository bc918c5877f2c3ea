"""The literal hashes of golden traces and of those to replay come from their events, by code
that is not this project's."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from cra_wasm.trace.verify import verify_lines

SUITE = Path(__file__).resolve().parents[2] / "specs" / "conformance"
REPLAYED = [
    pytest.param(lines, id=f"{case['id']}-{index}")
    for path in sorted((SUITE / "replay").glob("*.json"))
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]
    if case.get("refused", {}).get("code") != "invalid_trace" and "need_not_verify" not in case["input"]
    for index, lines in enumerate(case["input"]["traces"])
]
TRACES = sorted((SUITE / "golden").glob("*/*.trace.jsonl"))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rehash", SUITE / "rehash.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", TRACES, ids=lambda path: f"{path.parent.name}-{path.name.split('.')[0]}")
def test_a_golden_trace_has_the_hashes_of_its_events(path: Path, tool: ModuleType) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert tool.rehash(lines) == lines


@pytest.mark.parametrize("lines", REPLAYED)
def test_a_trace_to_replay_has_the_hashes_of_its_events(lines: list[str], tool: ModuleType) -> None:
    assert tool.rehash(lines) == lines


def test_an_edited_trace_verifies_again(tool: ModuleType) -> None:
    events = [json.loads(line) for line in TRACES[0].read_text(encoding="utf-8").splitlines()]
    events[1]["payload"]["goal"] = "edited: é 1e-7"
    lines = tool.rehash(json.dumps(event, indent=1) for event in events)
    assert verify_lines(f"{line}\n".encode() for line in lines).valid
