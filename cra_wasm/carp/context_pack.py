"""Context packs: files of a package that come in together, cut to a budget (PROTOCOL 1.13 and 2.14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from ..model.atlas import Atlas, ContextPack
from ..model.resolution import ContextBlock
from .conditions import CompiledConditions
from .context import CompiledBlock, token_estimate

ContentType: TypeAlias = Literal["text/markdown", "text/plain", "application/json"]

_ROOT: Final = "context/"
_CONTENT_TYPES: Final[dict[str, ContentType]] = {
    "md": "text/markdown",
    "txt": "text/plain",
    "json": "application/json",
}


def compile_packs(atlas: Atlas, texts: Mapping[str, str]) -> list[CompiledBlock]:
    """Return a block for each file of each pack, in manifest order, those that are cut too.

    Args:
        texts: of the files, by their paths in the package.
    """
    listed_by: dict[str, set[str]] = {}
    for capability in atlas.capabilities:
        for pack_id in capability.context_packs:
            listed_by.setdefault(pack_id, set()).add(capability.capability_id)
    return [
        block
        for pack in atlas.context_packs
        for block in _compile_pack(atlas.atlas_id, pack, texts, frozenset(listed_by.get(pack.pack_id, ())))
    ]


def block_id_of(pack_id: str, path: str) -> str:
    """Return the id of the block that a file becomes: the pack's, and the path below `context/`."""
    return f"{pack_id}/{path.removeprefix(_ROOT)}"


def _compile_pack(
    atlas_id: str, pack: ContextPack, texts: Mapping[str, str], belongs_to: frozenset[str]
) -> list[CompiledBlock]:
    parts = [
        ContextBlock(
            block_id=block_id_of(pack.pack_id, path),
            source=atlas_id,
            content_type=_CONTENT_TYPES[path.rpartition(".")[2]],
            content=texts[path],
            priority=pack.priority,
            token_estimate=token_estimate(texts[path]),
        )
        for path in pack.files
    ]
    kept = _how_many_fit(parts, pack.max_tokens)
    conditions = CompiledConditions(pack.conditions) if pack.conditions else None
    return [
        CompiledBlock(part, conditions, belongs_to=belongs_to, is_cut=index >= kept)
        for index, part in enumerate(parts)
    ]


def _how_many_fit(parts: list[ContextBlock], max_tokens: int | None) -> int:
    """Return how many stay when the last is cut until the rest fits: files stand by importance."""
    count = len(parts)
    if max_tokens is None:
        return count
    total = sum(part.token_estimate for part in parts)
    while total > max_tokens:
        count -= 1
        total -= parts[count].token_estimate
    return count
