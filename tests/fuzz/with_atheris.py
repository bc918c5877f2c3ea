"""Fuzzing by coverage, by hand: `python tests/fuzz/with_atheris.py TARGET CORPUS [libFuzzer's options]`.

Needs `pip install atheris` (CPython on Linux or macOS) where this project is installed; see docs/TESTING.md.
TARGET is one of atlas, request, schema, trace. Anything but a CRAError ends the run and writes the input.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
with atheris.instrument_imports(include=["cra_wasm"]):
    from cra_wasm import CRAError, Resolver
    from cra_wasm.carp.schema import compile_schema
    from cra_wasm.model.parse import parse_json
    from cra_wasm.trace.reader import read_lines
    from cra_wasm.trace.verify import verify_lines

ATLASES = Path(__file__).resolve().parents[2] / "examples" / "atlases"


def fuzz_atlas(data: bytes) -> None:
    resolver = Resolver()
    resolver.load_atlas(data)
    session_id = resolver.create_session("bot", "goal")
    resolver.resolve(session_id, "refund order 1234", context={"region": "eu"}).to_json()


_resolver = Resolver()


def fuzz_request(data: bytes) -> None:
    _resolver.resolve_request(data)


def fuzz_schema(data: bytes) -> None:
    """The text is a list: a schema, and instances to judge."""
    given = parse_json(data, code="invalid_input")
    if isinstance(given, list) and given:
        validator = compile_schema(given[0])
        for instance in given:
            validator.errors(instance)


def fuzz_trace(data: bytes) -> None:
    result = verify_lines(read_lines(io.BytesIO(data)))
    assert result.valid == (result.error is None)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "atlas": fuzz_atlas,
    "request": fuzz_request,
    "schema": fuzz_schema,
    "trace": fuzz_trace,
}


def seeds(target: str) -> list[bytes]:
    """Return what a new corpus begins with."""
    atlases = [path.read_bytes() for path in sorted(ATLASES.glob("*.json"))]
    if target == "atlas":
        return atlases
    if target == "schema":
        actions = [action for text in atlases for action in json.loads(text)["actions"]]
        return [json.dumps([action["parameters_schema"], {}]).encode() for action in actions]
    resolver = Resolver()
    session_id = resolver.create_session("bot", "goal")
    if target == "trace":
        resolver.end_session(session_id)
        return [b"".join(event.to_json().encode() + b"\n" for event in resolver.get_trace(session_id))]
    request = {
        "carp_version": "1.0",
        "request_id": session_id,
        "timestamp": "2024-12-28T12:00:00Z",
        "operation": "resolve",
        "requester": {"agent_id": "bot", "session_id": session_id},
        "task": {"goal": "g", "risk_tier": "low", "required_capabilities": [], "context_hints": []},
        "atlas_ids": ["com.example.shop"],
        "context": {"a": 1},
    }
    return [json.dumps(request).encode()]


def main() -> None:
    target, corpus = sys.argv[1], Path(sys.argv[2])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)

    def once(data: bytes) -> None:
        with suppress(CRAError):
            TARGETS[target](data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
