"""An execute tells which of the context that it was decided with is no longer so (PROTOCOL 2.7.20)."""

from __future__ import annotations

from typing import Any

import pytest

from cra_wasm.carp import staleness
from cra_wasm.carp.catalogue import CompiledAtlas
from cra_wasm.carp.staleness import StaleBlock, stale_blocks

from .building import block, load, manifest

OTHER = "com.example.other"


def stale(rig: Any) -> list[tuple[int, dict[str, Any]]]:
    return [(one.sequence, one.payload) for one in rig.events() if one.event_type == "context.stale"]


def test_changed_and_removed_blocks_are_told_between_request_and_action(
    rig: Any, shop: dict[str, Any]
) -> None:
    # PROTOCOL 2.7.20, PROTOCOL 3.1.27, PROTOCOL 3.3.4
    resolution = rig.resolve("a refund, please")
    shop["context_blocks"][1]["content"] = "Within 14 days."
    del shop["context_blocks"][0]
    rig.resolver.load_atlas(shop)
    events = rig.new_events(lambda: rig.run("item.list", resolution_id=resolution.resolution_id))
    assert [event.event_type for event in events] == [
        "carp.request.received",
        "context.stale",
        "context.stale",
        "action.requested",
        "action.approved",
        "action.executed",
    ]
    assert [event.payload for event in events[1:3]] == [
        {"block_id": "refund-rules", "reason": "changed", "source": "test.shop"},
        {"block_id": "house-rules", "reason": "removed", "source": "test.shop"},
    ]
    assert {event.parent_span_id for event in events[1:]} == {events[0].span_id}
    assert {event.trace_id for event in events} == {resolution.trace_id}
    assert rig.resolver.verify_chain(rig.session_id).valid


@pytest.mark.parametrize(
    ("action_id", "parameters", "last"),
    [("item.delete", {}, "action.denied"), ("item.refund", {"amount": 1}, "approval.requested")],
)
def test_a_denied_and_a_waiting_execute_tell_it_too(
    rig: Any, shop: dict[str, Any], action_id: str, parameters: Any, last: str
) -> None:
    resolution = rig.resolve()
    shop["context_blocks"][0]["content_type"] = "text/plain"
    rig.resolver.load_atlas(shop)
    for _ in range(2):
        rig.run(action_id, parameters, resolution_id=resolution.resolution_id)
    assert [payload["reason"] for _, payload in stale(rig)] == ["changed", "changed"]
    assert last in rig.types()


def test_what_was_not_injected_or_says_the_same_is_not_stale(rig: Any, shop: dict[str, Any]) -> None:
    resolution = rig.resolve("look around")
    shop["context_blocks"][1]["content"] = "Other rules for refunds."
    shop["context_blocks"][0] |= {"priority": 999, "name": "Other", "keywords": ["never"]}
    shop["context_blocks"].reverse()
    rig.resolver.load_atlas(shop)
    assert rig.run("item.list", resolution_id=resolution.resolution_id).status == "success"
    assert stale(rig) == []


def test_an_unloaded_atlas_takes_its_blocks_with_it_and_those_of_another_stay(
    rig: Any, shop: dict[str, Any]
) -> None:
    rig.resolver.load_atlas(manifest(atlas_id=OTHER, context_blocks=[block("house-rules")]))
    resolution = rig.resolve()
    assert len(resolution.context_blocks) == 2
    rig.resolver.unload_atlas(OTHER)
    assert rig.run("item.list", resolution_id=resolution.resolution_id).status == "success"
    assert [payload for _, payload in stale(rig)] == [
        {"block_id": "house-rules", "reason": "removed", "source": OTHER}
    ]


def test_a_stale_block_behind_those_of_an_atlas_that_is_the_same_is_told_and_that_one_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same, old, new = (
        CompiledAtlas(load(atlas_id=name, context_blocks=[block("rules", content=content)]))
        for name, content in (("com.example.shop", "one"), (OTHER, "one"), (OTHER, "two"))
    )
    read: list[object] = []
    contents_of = staleness._contents_of

    def counted(atlas: CompiledAtlas | None) -> dict[str, tuple[str, str]]:
        read.append(atlas)
        return contents_of(atlas)

    monkeypatch.setattr(staleness, "_contents_of", counted)
    blocks = [same.blocks[0].part, old.blocks[0].part, same.blocks[0].part, old.blocks[0].part]
    used, loaded = ({"com.example.shop": same, OTHER: one} for one in (old, new))
    assert stale_blocks(blocks, used, loaded) == [StaleBlock("rules", OTHER, "changed")] * 2
    assert read == [new]


def test_an_execute_does_not_read_the_blocks_of_atlases_that_are_the_same(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolution = rig.resolve()
    assert resolution.context_blocks
    monkeypatch.setattr(staleness, "_contents_of", None)
    assert rig.run("item.list", resolution_id=resolution.resolution_id).status == "success"


def test_resolving_again_makes_it_fresh(rig: Any, shop: dict[str, Any]) -> None:
    rig.resolve()
    shop["context_blocks"][0]["content"] = "Be kinder."
    rig.resolver.load_atlas(shop)
    rig.run("item.list")
    assert stale(rig) == []


def test_room_for_them_is_reserved_before_anything_runs(new_rig: Any, shop: dict[str, Any]) -> None:
    blocks = [block(f"b{number}") for number in range(20)]
    shop["context_blocks"] = blocks
    rig = new_rig(tracing="deferred", capacity=64)
    rig.resolver.load_atlas(shop)
    ran: list[int] = []
    rig.resolver.register_executor("item.list", lambda parameters: ran.append(1))
    resolution = rig.resolve()
    rig.resolver.ack(rig.resolver.drain_traces(1000).batch_id)
    for one in blocks:
        one["content"] = "new"
    rig.resolver.load_atlas(shop)
    while rig.resolver.buffer_stats().pending < 64 - 23:
        rig.resolver.emit(rig.session_id, "app.fill", {})
    with pytest.raises(Exception) as caught:
        rig.run("item.list", resolution_id=resolution.resolution_id)
    assert getattr(caught.value, "code", "") == "buffer_full"
    assert ran == []
    rig.resolver.ack(rig.resolver.drain_traces(1000).batch_id)
    assert rig.run("item.list", resolution_id=resolution.resolution_id).status == "success"
