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


_NONE: Final[frozenset[str]] = frozenset()

TOKEN_BUDGET: Final = "token_budget"
"""Why a file of a pack was cut."""

_NO_PHRASES: Final[dict[int, dict[str, list[int]]]] = {}


def token_estimate(content: str) -> int:
    """Return about how many tokens a text has: a quarter of its characters, rounded up."""
    return -(-len(content) // _CHARS_PER_TOKEN)


def words_of(text: str) -> list[str]:
    """Return the case-folded words of a text, in order."""
    return _WORD.findall(text.casefold())


class CompiledBlock:
    """A block with its triggers compiled once, and the part of a Resolution that it becomes.

    Args:
        conditions: the files of a pack share one, so that facts are compared with it once.
        belongs_to: the capabilities that list its pack; a request for others leaves it out. None means all.
        is_cut: it finds no room in its pack's budget: where it would come in, context.redacted says so.
    """

    __slots__ = (
        "_belongs_to",
        "_injects",
        "_risk_tiers",
        "conditions",
        "event",
        "is_cut",
        "json",
        "part",
        "phrases",
        "spoken_to",
    )

    def __init__(
        self,
        part: ContextBlock,
        conditions: CompiledConditions | None,
        *,
        keywords: Sequence[str] = (),
        inject_when: Sequence[str] = (),
        risk_tiers: Sequence[str] = (),
        belongs_to: frozenset[str] = _NONE,
        is_cut: bool = False,
    ) -> None:
        self.part = part
        self.conditions = conditions
        self._injects: Matcher | None = compile_globs(inject_when) if inject_when else None
        self._risk_tiers = frozenset(risk_tiers)
        self._belongs_to = belongs_to
        self.is_cut = is_cut
        spoken = dict.fromkeys(tuple(words_of(text)) for text in keywords)
        self.phrases = tuple(phrase for phrase in spoken if phrase)
        self.spoken_to: tuple[str, ...] = (part.block_id, *keywords) if keywords or inject_when else ()
        """The hints that bring it in; () when it comes without."""
        self.json = "" if is_cut else part.to_json()
        self.event = _redacted_event(part) if is_cut else _injected_event(part)

    def fits(self, facts: Facts, capabilities: frozenset[str], required: frozenset[str]) -> bool:
        """Whether tier, capabilities and conditions let it in; what cannot be told keeps it out.

        Args:
            capabilities: those of the candidates.
            required: those that the request names; empty means all.
        """
        if self._risk_tiers and facts.risk_tier not in self._risk_tiers:
            return False
        if required and self._belongs_to and required.isdisjoint(self._belongs_to):
            return False
        if self.conditions is None:
            return True
        return self.conditions.hold(facts, tier=facts.risk_tier, capabilities=capabilities) is True

    def comes_anyway(self, action_ids: Iterable[str], hints: frozenset[str]) -> bool:
        """Whether it comes whatever the goal says."""
        if not self.spoken_to or not hints.isdisjoint(self.spoken_to):
            return True
        return self._injects is not None and any(map(self._injects, action_ids))


def compile_block(atlas_id: str, block: BlockModel) -> CompiledBlock:
    """Return an inline block of an atlas, compiled."""
    part = ContextBlock(
        block_id=block.context_id,
        source=atlas_id,
        content_type=block.content_type,
        content=block.content,
        priority=block.priority,
        token_estimate=token_estimate(block.content),
    )
    return CompiledBlock(
        part,
        CompiledConditions(block.conditions) if block.conditions else None,
        keywords=block.keywords,
        inject_when=block.inject_when,
        risk_tiers=block.risk_tiers,
    )


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
        required: frozenset[str] = _NONE,
    ) -> None:
        fitting = [block for block in blocks if block.fits(facts, capabilities, required)]
        fitting.sort(key=lambda compiled: -compiled.part.priority)
        self._redacted = tuple(compiled.event for compiled in fitting if compiled.is_cut)
        """A budget is its pack's alone, and a pack comes in whatever the goal: so its cuts are the plan's."""
        fitting = [compiled for compiled in fitting if not compiled.is_cut]
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
            events=(*(self._blocks[index].event for index in chosen), *self._redacted),
        )
        if len(self._by_blocks) >= _SELECTIONS_KEPT:
            self._by_blocks.clear()
        self._by_blocks[indexes] = selection
        return selection


def _injected_event(part: ContextBlock) -> tuple[str, str]:
    payload = {"block_id": part.block_id, "source": part.source, "token_count": part.token_estimate}
    return "context.injected", json.dumps(payload, separators=(",", ":"))


def _redacted_event(part: ContextBlock) -> tuple[str, str]:
    payload = {"block_id": part.block_id, "redaction_reason": TOKEN_BUDGET, "source": part.source}
    return "context.redacted", json.dumps(payload, separators=(",", ":"))
