"""Which context blocks go with a request (PROTOCOL 2.8)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final

from ..model.atlas import ContextBlock as BlockModel
from ..model.resolution import ContextBlock, SelectedContext
from .conditions import CompiledConditions, Facts
from .patterns import Matcher, compile_globs

_WORD: Final = re.compile(r"\w+")
_CHARS_PER_TOKEN: Final = 4
_GOAL_CHARS_KEPT: Final = 65_536
"""Of the goals that a plan remembers the selection for, together; then all are forgotten."""

_SELECTIONS_KEPT: Final = 256


_NO_PHRASES: Final[dict[int, dict[str, list[int]]]] = {}


def token_estimate(content: str) -> int:
    """Return about how many tokens a text has: a quarter of its characters, rounded up."""
    return -(-len(content) // _CHARS_PER_TOKEN)


def words_of(text: str) -> list[str]:
    """Return the case-folded words of a text, in order."""
    return _WORD.findall(text.casefold())


class CompiledBlock:
    """A context block with its triggers compiled once, and the part of a Resolution that it becomes."""

    __slots__ = ("block", "conditions", "event", "injects", "json", "part", "phrases")

    def __init__(self, atlas_id: str, block: BlockModel) -> None:
        self.block = block
        self.conditions = CompiledConditions(block.conditions) if block.conditions else None
        self.injects: Matcher | None = compile_globs(block.inject_when) if block.inject_when else None
        spoken = dict.fromkeys(tuple(words_of(text)) for text in block.keywords)
        self.phrases = tuple(phrase for phrase in spoken if phrase)
        self.part = ContextBlock(
            block_id=block.context_id,
            source=atlas_id,
            content_type=block.content_type,
            content=block.content,
            priority=block.priority,
            token_estimate=token_estimate(block.content),
        )
        self.json = self.part.to_json()
        self.event = ("context.injected", _injected_payload(self.part))

    def fits(self, facts: Facts, capabilities: frozenset[str]) -> bool:
        """Whether tier and conditions let it in; what cannot be told keeps it out."""
        if self.block.risk_tiers and facts.risk_tier not in self.block.risk_tiers:
            return False
        if self.conditions is None:
            return True
        return self.conditions.hold(facts, tier=facts.risk_tier, capabilities=capabilities) is True

    def comes_anyway(self, action_ids: Iterable[str], hints: frozenset[str]) -> bool:
        """Whether it comes whatever the goal says."""
        if not self.block.keywords and self.injects is None:
            return True
        if hints and (self.block.context_id in hints or not hints.isdisjoint(self.block.keywords)):
            return True
        return self.injects is not None and any(map(self.injects, action_ids))


class ContextSelector:
    """Selects blocks for the goals of one plan: one pass over the goal for all keywords of all blocks.

    `fixed` is the selection when no goal can change it.
    """

    def __init__(
        self,
        blocks: Sequence[CompiledBlock],
        facts: Facts,
        capabilities: frozenset[str],
        action_ids: Sequence[str],
        hints: frozenset[str],
    ) -> None:
        fitting = [block for block in blocks if block.fits(facts, capabilities)]
        fitting.sort(key=lambda compiled: -compiled.block.priority)
        self._blocks = fitting
        self._always: set[int] = set()
        self._words: dict[str, list[int]] = {}
        self._phrases: dict[str, dict[int, dict[str, list[int]]]] = {}
        """Indexes by the phrase, under its first word and the number of its words."""
        for index, compiled in enumerate(fitting):
            if compiled.comes_anyway(action_ids, hints):
                self._always.add(index)
                continue
            for phrase in compiled.phrases:
                if len(phrase) == 1:
                    self._words.setdefault(phrase[0], []).append(index)
                else:
                    of_length = self._phrases.setdefault(phrase[0], {}).setdefault(len(phrase), {})
                    of_length.setdefault(" ".join(phrase), []).append(index)
        self._by_goal: dict[str, SelectedContext] = {}
        self._goal_chars = 0
        self._by_blocks: dict[frozenset[int], SelectedContext] = {}
        self.fixed = None if self._words or self._phrases else self._select(frozenset(self._always))

    def select(self, goal: str) -> SelectedContext:
        """Return the blocks for a goal, by priority, then atlas order."""
        if self.fixed is not None:
            return self.fixed
        known = self._by_goal.get(goal)
        if known is not None:
            return known
        selection = self._select(self._matching(goal))
        self._goal_chars += len(goal)
        if self._goal_chars > _GOAL_CHARS_KEPT:
            self._by_goal.clear()
            self._goal_chars = len(goal)
        self._by_goal[goal] = selection
        return selection

    def _matching(self, goal: str) -> frozenset[int]:
        words = words_of(goal)
        present = set(words)
        found = set(self._always)
        for word in present & self._words.keys():
            found.update(self._words[word])
        if not self._phrases.keys().isdisjoint(present):
            found.update(self._matching_phrases(words))
        return frozenset(found)

    def _matching_phrases(self, words: list[str]) -> set[int]:
        """Look up what begins at each word of the goal: its length counts, not that of the atlas."""
        matched: dict[str, list[int]] = {}  # each phrase once, however often the goal says it
        for place, word in enumerate(words):
            for length, phrases in self._phrases.get(word, _NO_PHRASES).items():
                phrase = " ".join(words[place : place + length])
                if phrase in phrases:
                    matched[phrase] = phrases[phrase]
        return {index for indexes in matched.values() for index in indexes}

    def _select(self, indexes: frozenset[int]) -> SelectedContext:
        known = self._by_blocks.get(indexes)
        if known is not None:
            return known
        chosen = sorted(indexes)
        selection = SelectedContext(
            blocks=tuple(self._blocks[index].part for index in chosen),
            block_jsons=tuple(self._blocks[index].json for index in chosen),
            events=tuple(self._blocks[index].event for index in chosen),
        )
        if len(self._by_blocks) >= _SELECTIONS_KEPT:
            self._by_blocks.clear()
        self._by_blocks[indexes] = selection
        return selection


def _injected_payload(part: ContextBlock) -> str:
    return json.dumps(
        {"block_id": part.block_id, "source": part.source, "token_count": part.token_estimate},
        separators=(",", ":"),
    )
