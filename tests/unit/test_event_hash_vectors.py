"""The literal hashes of specs/vectors, which the TypeScript side runs too (PROTOCOL 3.2 and 3.8)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from cra_wasm import hashing
from cra_wasm.trace.chain import event_preimage
from cra_wasm.trace.verify import verify_lines

ROOT: Final = Path(__file__).resolve().parents[2]
VECTORS: Final = json.loads((ROOT / "specs/vectors/event_hash.json").read_text(encoding="utf-8"))


def test_both_algorithms_have_vectors() -> None:
    assert {vector["algorithm"] for vector in VECTORS["events"]} == set(hashing.ALGORITHMS)


@pytest.mark.parametrize("vector", VECTORS["events"], ids=lambda vector: vector["name"])
def test_an_event_has_its_preimage_and_its_hash(vector: dict[str, Any]) -> None:
    preimage = event_preimage(**vector["event"])
    assert preimage.decode() == vector["preimage"]
    assert hashing.new(vector["algorithm"], preimage).hexdigest() == vector["event_hash"]


@pytest.mark.parametrize("vector", VECTORS["traces"], ids=lambda vector: vector["name"])
def test_a_trace_gets_its_verdict(vector: dict[str, Any]) -> None:
    result = verify_lines(f"{line}\n".encode() for line in vector["lines"]).to_dict()
    assert {name: result[name] for name in vector["result"]} == vector["result"]
    assert (result["message"] is None) == (result["error"] != "bad_field")
