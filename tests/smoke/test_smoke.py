"""One governed decision, from an atlas to a verified chain: the same on CPython, in Node and in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from cra_wasm import InvalidInput, MemoryStorage, Resolver, verify_file

ATLAS = Path(__file__).parents[2] / "examples" / "atlases" / "customer-support.atlas.json"


def examples_of(atlas: Any) -> dict[str, dict[str, Any]]:
    return {action.action_id: action.examples[0].parameters for action in atlas.actions if action.examples}


def govern(resolver: Resolver) -> str:
    """Load, resolve, execute what is allowed and what is denied, end; return the session's id."""
    atlas = resolver.load_atlas(ATLAS)
    session_id = resolver.create_session("smoke-agent", "answer a ticket")
    resolution = resolver.resolve(session_id, "refund order 1234")
    assert resolution.decision.type == "partial"
    examples = examples_of(atlas)
    allowed = next(one.action_id for one in resolution.allowed_actions if one.action_id in examples)
    denied = next(one for one in resolution.denied_actions if one.reason != "requires_approval")

    ran: list[dict[str, Any]] = []
    resolver.register_executor(allowed, lambda parameters: ran.append(parameters) or {"ok": True})
    answer = resolver.execute(session_id, resolution.resolution_id, allowed, examples[allowed])
    assert (answer.status, answer.result) == ("success", {"ok": True})
    refused = resolver.execute(session_id, resolution.resolution_id, denied.action_id, {})
    assert (refused.status, refused.result) == ("denied", None)
    with pytest.raises(InvalidInput):
        resolver.execute(session_id, resolution.resolution_id, allowed, {"no_such_parameter": 1})
    assert ran == [examples[allowed]]
    resolver.end_session(session_id)
    return session_id


EXPECTED_TAIL = [
    "carp.resolution.completed",
    "carp.request.received",
    "action.requested",
    "action.approved",
    "action.executed",
    "carp.request.received",
    "action.requested",
    "policy.violated",
    "action.denied",
    "error.occurred",
    "session.ended",
]


@pytest.mark.parametrize("tracing", ["immediate", "deferred"])
def test_a_governed_decision_ends_in_a_verified_chain(
    tracing: Literal["immediate", "deferred"], tmp_path: Path
) -> None:
    resolver = Resolver(tracing=tracing, storage=MemoryStorage())
    session_id = govern(resolver)
    result = resolver.verify_chain(session_id)
    events = resolver.get_trace(session_id)
    resolver.close()
    assert (result.valid, result.warnings, result.events) == (True, (), len(events))
    assert [event.event_type for event in events][-len(EXPECTED_TAIL) :] == EXPECTED_TAIL

    path = tmp_path / "smoke.trace.jsonl"
    path.write_bytes("".join(f"{event.to_json()}\n" for event in events).encode())
    assert verify_file(path) == result
    changed = path.read_bytes().replace(b'"agent_id":"smoke-agent"', b'"agent_id":"other-agent"')
    path.write_bytes(changed)
    found = verify_file(path)
    assert (found.valid, found.error, found.error_at) == (False, "hash_mismatch", 0)


def test_drained_batches_carry_every_event_and_empty_the_buffer() -> None:
    resolver = Resolver(tracing="deferred")
    session_id = govern(resolver)
    lines: list[bytes] = []
    while (batch := resolver.drain_traces(7)).count:
        assert [group.session_id for group in batch.groups] == [session_id]
        assert batch.groups[0].first_sequence == len(lines)
        lines += batch.data.splitlines()
        assert resolver.ack(batch.batch_id)
    assert [line.split(b"\x1f")[6].decode() for line in lines][-len(EXPECTED_TAIL) :] == EXPECTED_TAIL
    stats = resolver.buffer_stats()
    assert (stats.pending, stats.in_flight, stats.acknowledged) == (0, 0, len(lines))
    resolver.close()
