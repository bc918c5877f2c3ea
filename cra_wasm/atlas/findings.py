"""What is wrong with an atlas whose fields are right one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ..errors import InvalidInput, Json
from ..model.atlas import Atlas
from ..model.limits import MAX_PATTERN_CHECKS
from ..model.redaction import UNREDACTABLE, path_of

Finding: TypeAlias = dict[str, Json]
"""{pointer, code, message}."""

SchemaCheck: TypeAlias = Callable[[Json, str], object]
"""Takes a JSON Schema and its pointer; raises InvalidInput when it is not of the supported subset."""


def find_contradictions(atlas: Atlas, check_schema: SchemaCheck) -> list[Finding]:
    """Return all findings, in document order by kind; none means that the atlas may be loaded."""
    return [
        *_absent_features(atlas),
        *_duplicates("/actions", "action_id", [action.action_id for action in atlas.actions]),
        *_duplicates("/policies", "policy_id", [policy.policy_id for policy in atlas.policies]),
        *_duplicates(
            "/capabilities", "capability_id", [capability.capability_id for capability in atlas.capabilities]
        ),
        *_duplicates("/context_blocks", "context_id", [block.context_id for block in atlas.context_blocks]),
        *_unknown_names(atlas),
        *_reserved_policy_ids(atlas),
        *_unredactable(atlas),
        *_too_many_patterns(atlas),
        *_bad_schemas(atlas, check_schema),
    ]


def _finding(pointer: str, code: str, message: str) -> Finding:
    return {"pointer": pointer, "code": code, "message": message}


def _absent_features(atlas: Atlas) -> Iterator[Finding]:
    if atlas.context_packs:
        yield _finding(
            "/context_packs", "not_supported", "context packs are not built yet: write context_blocks"
        )
    if atlas.dependencies:
        yield _finding("/dependencies", "not_supported", "dependencies are not built yet: leave them out")


def _duplicates(pointer: str, field: str, names: Iterable[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield _finding(f"{pointer}/{index}/{field}", "duplicate_id", f"`{name}` stands twice")
        seen.add(name)


def _unknown_names(atlas: Atlas) -> Iterator[Finding]:
    actions = {action.action_id for action in atlas.actions}
    capabilities = {capability.capability_id for capability in atlas.capabilities}
    for index, capability in enumerate(atlas.capabilities):
        for place, name in enumerate(capability.actions):
            if name not in actions:
                yield _finding(
                    f"/capabilities/{index}/actions/{place}", "unknown_action", f"no action `{name}` here"
                )
        for place, name in enumerate(capability.context_packs):
            yield _finding(
                f"/capabilities/{index}/context_packs/{place}",
                "unknown_context_pack",
                f"no pack `{name}` here",
            )
    for index, policy in enumerate(atlas.policies):
        wanted = policy.conditions.capabilities if policy.conditions else None
        yield from _unknown(f"/policies/{index}/conditions/capabilities", wanted, capabilities)
        yield from _unknown(
            f"/policies/{index}/parameters/capabilities", policy.parameters.capabilities, capabilities
        )
    for index, block in enumerate(atlas.context_blocks):
        wanted = block.conditions.capabilities if block.conditions else None
        yield from _unknown(f"/context_blocks/{index}/conditions/capabilities", wanted, capabilities)


def _unknown(pointer: str, names: Iterable[str] | None, known: set[str]) -> Iterator[Finding]:
    for place, name in enumerate(names or ()):
        if name not in known:
            yield _finding(f"{pointer}/{place}", "unknown_capability", f"no capability `{name}` here")


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
