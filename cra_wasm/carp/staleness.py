"""Whether the context that an agent was given is still what the loaded atlases say (PROTOCOL 2.7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from ..model.resolution import ContextBlock
from .catalogue import CompiledAtlas

StaleReason: TypeAlias = Literal["changed", "removed"]


class StaleBlock(NamedTuple):
    """A block of a resolution that its atlas holds no more, or with another content."""

    block_id: str
    source: str
    reason: StaleReason


def stale_blocks(
    blocks: Iterable[ContextBlock],
    used: Mapping[str, CompiledAtlas],
    loaded: Mapping[str, CompiledAtlas],
) -> list[StaleBlock]:
    """Return the stale ones of a resolution's blocks, in their order.

    Args:
        used, loaded: the atlases by id, of the resolution and of now. Blocks of one that is in both cost
            nothing.
    """
    contents: dict[str, dict[str, tuple[str, str]]] = {}
    stale = []
    for block in blocks:
        now = loaded.get(block.source)
        if now is not None and now is used.get(block.source):
            continue
        if block.source not in contents:
            contents[block.source] = _contents_of(now)
        content = contents[block.source].get(block.block_id)
        if content != (block.content_type, block.content):
            reason: StaleReason = "removed" if content is None else "changed"
            stale.append(StaleBlock(block.block_id, block.source, reason))
    return stale


def _contents_of(atlas: CompiledAtlas | None) -> dict[str, tuple[str, str]]:
    parts = [] if atlas is None else [compiled.part for compiled in atlas.blocks]
    return {part.block_id: (part.content_type, part.content) for part in parts}
