"""Loops of $ref that apply a schema to the same value for ever are found before anything is applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from .schema_run import Node

MAX_REFERENCE_DEPTH: Final = 64
"""Longest chain of subschemas applied to one and the same value."""

MAX_LOOPS: Final = 100
"""The search ends after so many loops: each costs as much as the loop is long."""


def find_loops(
    nodes: Iterable[Node], applied: dict[Node, list[Node]], referring: set[Node]
) -> Iterator[tuple[str, str, str]]:
    """Yield pointer, code and message of each loop without a step into the value, and of a chain too long.

    Depth first with a stack of our own, since a chain may be as long as the schema.

    Args:
        applied: for each node those that it applies to the same value.
        referring: the nodes with a $ref; every loop goes through one, which becomes the culprit.
    """
    heights: dict[Node, int] = {}
    loops = 0
    for start in nodes:
        trail: list[Node] = []
        on_trail: set[Node] = set()
        todo: list[tuple[Node, bool]] = [(start, False)]
        while todo:
            node, done = todo.pop()
            if done:
                on_trail.discard(trail.pop())
                heights[node] = 1 + max((heights.get(below, 0) for below in applied.get(node, ())), default=0)
                if heights[node] == MAX_REFERENCE_DEPTH + 1:
                    message = (
                        f"more than {MAX_REFERENCE_DEPTH} subschemas apply to one value, each in another"
                    )
                    yield node.pointer, "limits", message
            elif node in on_trail:
                culprit = next(each for each in trail[trail.index(node) :] if each in referring)
                yield f"{culprit.pointer}/$ref", "ref_loop", "leads back to itself on the same value"
                loops += 1
                if loops == MAX_LOOPS:
                    return
            elif node not in heights:
                trail.append(node)
                on_trail.add(node)
                todo.append((node, True))
                todo.extend((below, False) for below in reversed(applied.get(node, ())))
