"""Whether the atlases that are loaded together have what each of them needs (PROTOCOL 1.12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..model.atlas import Atlas
from ..model.parse import pointer_of
from ..model.versions import satisfies
from .findings import Finding


def find_unmet(atlas: Atlas, loaded: Mapping[str, Atlas]) -> Iterator[Finding]:
    """Yield a finding for each dependency of an atlas that is not loaded, or in no version of its range."""
    for name, wanted in atlas.dependencies.items():
        found = loaded.get(name)
        if found is None:
            message = f"needs atlas `{name}` {wanted}: load that one first, or both at once"
            yield _finding(name, "dependency_missing", message)
        elif not satisfies(found.version, wanted):
            message = f"needs `{name}` {wanted}, and version {found.version} is loaded"
            yield _finding(name, "dependency_version", message)


def find_cycle(atlas: Atlas, loaded: Mapping[str, Atlas]) -> Iterator[Finding]:
    """Yield a finding for each dependency of an atlas that leads back to it."""
    for name in atlas.dependencies:
        path = _path(name, atlas.atlas_id, loaded)
        if path:
            steps = " -> ".join(f"`{step}`" for step in (atlas.atlas_id, *path))
            yield _finding(name, "dependency_cycle", f"the atlases need each other: {steps}"[:600])


def find_dependents(atlas_id: str, loaded: Iterable[Atlas], version: str | None) -> list[str]:
    """Return the atlases that need one, and would not be content with that version of it (None: none)."""
    return [
        one.atlas_id
        for one in loaded
        if atlas_id in one.dependencies
        and (version is None or not satisfies(version, one.dependencies[atlas_id]))
    ]


def in_loading_order(atlases: Iterable[Atlas]) -> list[Atlas]:
    """Return atlases that have no cycle with each one behind those that it needs; else as they came."""
    waiting = {atlas.atlas_id: atlas for atlas in atlases}
    placed: list[Atlas] = []
    while waiting:
        ready = next(one for one in waiting.values() if waiting.keys().isdisjoint(one.dependencies))
        placed.append(waiting.pop(ready.atlas_id))
    return placed


def _path(start: str, goal: str, loaded: Mapping[str, Atlas]) -> list[str]:
    """Return the steps from one atlas to another along dependencies, both included; [] if there is no way."""
    came_from = {start: start}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name == goal:
            steps = [name]
            while name != start:
                name = came_from[name]
                steps.append(name)
            return steps[::-1]
        found = loaded.get(name)
        for further in found.dependencies if found is not None else ():
            if further not in came_from:
                came_from[further] = name
                waiting.append(further)
    return []


def _finding(name: str, code: str, message: str) -> Finding:
    return {"pointer": pointer_of(("dependencies", name)), "code": code, "message": message}
