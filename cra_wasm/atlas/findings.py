"""What is wrong with an atlas whose fields are right one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Final, TypeAlias

from ..errors import InvalidInput, Json
from ..model.atlas import Atlas, ContextBlock, ContextPack, Policy
from ..model.limits import MAX_CONDITION_GLOBS, MAX_PATTERN_CHECKS
from ..model.redaction import UNREDACTABLE, path_of

Finding: TypeAlias = dict[str, Json]
"""{pointer, code, message}, and `file` where the atlas is a package: the pointer is into that file."""

SchemaCheck: TypeAlias = Callable[[Json, str], object]
"""Takes a JSON Schema and its pointer; raises InvalidInput when it is not of the supported subset."""


INVALID_ATLAS: Final = "invalid_atlas"

Known: TypeAlias = Mapping[str, Set[str] | None]
"""The names of a list of an atlas, under the list's name; None where not all of them could be read."""


def find_contradictions(atlas: Atlas, known: Known, check_schema: SchemaCheck) -> list[Finding]:
    """Return all findings but duplicates, in document order by kind; none means that it may be loaded.

    Args:
        known: of actions, capabilities and context packs. What an unreadable entry may have named lacks
            nowhere: a finding that goes away when another is mended would mislead.
    """
    return [
        *_unknown_names(atlas, known),
        *_reserved_policy_ids(atlas),
        *_unredactable(atlas),
        *_too_many_patterns(atlas),
        *_too_many_condition_globs(atlas),
        *_bad_schemas(atlas, check_schema),
    ]


def find_duplicates(section: str, member: str, names: Iterable[str | None]) -> Iterator[Finding]:
    """Yield a finding for each entry of a list whose name another one before it has."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name is None:
            continue
        if name in seen:
            yield _finding(f"/{section}/{index}/{member}", "duplicate_id", f"`{name}` stands twice")
        seen.add(name)


def _finding(pointer: str, code: str, message: str) -> Finding:
    return {"pointer": pointer, "code": code, "message": message}


def _unknown_names(atlas: Atlas, known: Known) -> Iterator[Finding]:
    for index, capability in enumerate(atlas.capabilities):
        where = f"/capabilities/{index}"
        yield from _unknown(f"{where}/actions", capability.actions, known["actions"], "action")
        yield from _unknown(
            f"{where}/context_packs", capability.context_packs, known["context_packs"], "context_pack"
        )
    for index, policy in enumerate(atlas.policies):
        yield from _unknown(
            f"/policies/{index}/parameters/capabilities",
            policy.parameters.capabilities,
            known["capabilities"],
            "capability",
        )
    holders: tuple[tuple[str, Sequence[Policy | ContextPack | ContextBlock]], ...] = (
        ("policies", atlas.policies),
        ("context_packs", atlas.context_packs),
        ("context_blocks", atlas.context_blocks),
    )
    for section, entries in holders:
        for index, entry in enumerate(entries):
            wanted = entry.conditions.capabilities if entry.conditions else None
            yield from _unknown(
                f"/{section}/{index}/conditions/capabilities", wanted, known["capabilities"], "capability"
            )


def _unknown(
    pointer: str, names: Iterable[str] | None, known: Set[str] | None, kind: str
) -> Iterator[Finding]:
    if known is None:
        return
    for place, name in enumerate(names or ()):
        if name not in known:
            said = kind.replace("_", " ")
            yield _finding(f"{pointer}/{place}", f"unknown_{kind}", f"no {said} `{name}` here")


def _reserved_policy_ids(atlas: Atlas) -> Iterator[Finding]:
    for index, policy in enumerate(atlas.policies):
        if policy.policy_id == "default-deny" or policy.policy_id.endswith("#rate_limit"):
            yield _finding(
                f"/policies/{index}/policy_id", "reserved_id", f"`{policy.policy_id}` is the runtime's own"
            )


def _unredactable(atlas: Atlas) -> Iterator[Finding]:
    for index, policy in enumerate(atlas.policies):
        for place, pointer in enumerate(policy.parameters.redact or ()):
            first = path_of(pointer)[:1]
            if not first or first[0] in UNREDACTABLE:
                what = f"`{first[0]}`" if first else "a whole payload"
                yield _finding(
                    f"/policies/{index}/parameters/redact/{place}",
                    "unredactable",
                    f"{what} cannot be taken out: verification and replay need it",
                )


def _too_many_patterns(atlas: Atlas) -> Iterator[Finding]:
    """Patterns are matched against actions at load, and what selects an action is kept for each."""
    patterns: list[str] = []
    for policy in atlas.policies:
        patterns.extend(("*",) if policy.actions is None else policy.actions)
        patterns.extend(policy.parameters.actions or ())
    for block in atlas.context_blocks:
        patterns.extend(block.inject_when)
    stars = sum("*" in pattern for pattern in patterns)
    checks = stars * len(atlas.actions) + len(patterns) - stars
    if checks > MAX_PATTERN_CHECKS:
        yield _finding(
            "/policies",
            "too_many_patterns",
            f"{stars} patterns with a star over {len(atlas.actions)} actions are more than"
            f" {MAX_PATTERN_CHECKS} comparisons: join policies, or split the atlas",
        )


def _too_many_condition_globs(atlas: Atlas) -> Iterator[Finding]:
    """Globs of conditions are matched when somebody asks: with an agent's id, with a context's text."""
    conditions = [policy.conditions for policy in atlas.policies]
    conditions += [pack.conditions for pack in atlas.context_packs]
    conditions += [block.conditions for block in atlas.context_blocks]
    globs = sum(len(one.agents or ()) + len(one.context_matches or ()) for one in conditions if one)
    if globs > MAX_CONDITION_GLOBS:
        yield _finding(
            "/policies",
            "too_many_patterns",
            f"{globs} globs in conditions are more than {MAX_CONDITION_GLOBS}: join policies, or split"
            " the atlas",
        )


def _bad_schemas(atlas: Atlas, check_schema: SchemaCheck) -> Iterator[Finding]:
    for index, action in enumerate(atlas.actions):
        for field in ("parameters_schema", "returns_schema"):
            schema = getattr(action, field)
            if schema is None:
                continue
            try:
                check_schema(schema, f"/actions/{index}/{field}")
            except InvalidInput as error:
                yield from error.details.get("findings") or [
                    _finding(error.details["pointer"], error.code, error.message)
                ]
