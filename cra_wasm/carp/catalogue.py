"""The loaded atlases, compiled once at load. A catalogue never changes; loading makes a new one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ..errors import InvalidInput, Json, NotFound
from ..model.atlas import Action, Atlas
from ..model.limits import MAX_CANDIDATES
from ..model.resolution import AllowedAction, compact_json
from .conditions import CompiledConditions
from .context import compile_block
from .context_pack import compile_packs
from .decision import CompiledPolicy, Governing, Subject, by_priority, governing_of
from .limits import limit_of_action
from .schema import Validator, compile_schema

_ANYTHING: Final[dict[str, Json]] = {"type": "object"}


class CompiledAction:
    """An action with its schemas compiled and the part of a Resolution that it becomes.

    `returns` is None without a returns_schema.
    """

    __slots__ = (
        "action",
        "atlas_id",
        "id_json",
        "json",
        "lineage",
        "part",
        "returns",
        "subject",
        "validator",
    )

    def __init__(
        self,
        atlas_id: str,
        action: Action,
        capabilities: frozenset[str],
        governing: Governing,
        lineage: object,
        validator: Validator | None,
        returns: Validator | None,
    ) -> None:
        self.atlas_id = atlas_id
        self.lineage: object = lineage
        self.action = action
        schema = _ANYTHING if action.parameters_schema is None else action.parameters_schema
        self.validator: Validator = validator or compile_schema(schema)
        if returns is None and action.returns_schema is not None:
            returns = compile_schema(action.returns_schema)
        self.returns: Validator | None = returns
        self.subject = Subject(
            action_id=action.action_id,
            risk_tier=action.risk_tier,
            capabilities=capabilities,
            own_limit=limit_of_action(atlas_id, action),
            governing=governing,
        )
        self.part = AllowedAction(
            action_id=action.action_id,
            name=action.name,
            description=action.description,
            parameters_schema=action.parameters_schema,
            returns_schema=action.returns_schema,
            risk_tier=action.risk_tier,
            requires_confirmation=action.requires_confirmation,
            idempotent=action.idempotent,
            rate_limit=action.rate_limit,
        )
        self.json = compact_json(self.part.to_dict())
        self.id_json = compact_json(action.action_id)


class CompiledAtlas:
    """An atlas ready to be resolved against.

    Args:
        replaces: the loaded atlas of the same id. They share a lineage, which ends when one is unloaded.
        validators: schemas that were compiled when the atlas was checked, by their pointers.
        context_texts: of the files of its context packs, by their paths in the package.
    """

    __slots__ = (
        "actions",
        "atlas",
        "blocks",
        "capabilities",
        "limits",
        "lineage",
        "policies",
        "policies_by_id",
        "windowed_conditions",
    )

    def __init__(
        self,
        atlas: Atlas,
        replaces: CompiledAtlas | None = None,
        validators: Mapping[str, Validator] | None = None,
        context_texts: Mapping[str, str] | None = None,
    ) -> None:
        self.atlas = atlas
        self.lineage: object = object() if replaces is None else replaces.lineage
        self.capabilities = {
            capability.capability_id: frozenset(capability.actions) for capability in atlas.capabilities
        }
        action_ids = [action.action_id for action in atlas.actions]
        known = frozenset(action_ids)
        self.policies = by_priority(
            CompiledPolicy(atlas.atlas_id, policy, known) for policy in atlas.policies
        )
        self.policies_by_id = {compiled.policy.policy_id: compiled.policy for compiled in self.policies}
        governing = governing_of(self.policies, action_ids)
        belongs_to = self._capabilities_of_actions()
        self.actions = tuple(
            CompiledAction(
                atlas.atlas_id,
                action,
                belongs_to.get(action.action_id, frozenset()),
                governing[action.action_id],
                self.lineage,
                (validators or {}).get(f"/actions/{index}/parameters_schema"),
                (validators or {}).get(f"/actions/{index}/returns_schema"),
            )
            for index, action in enumerate(atlas.actions)
        )
        inline = [compile_block(atlas.atlas_id, block) for block in atlas.context_blocks]
        self.blocks = (*inline, *compile_packs(atlas, context_texts or {}))
        self.windowed_conditions = tuple(one for one in self.conditions() if one.has_window)
        of_policies = (compiled.limit for compiled in self.policies)
        of_actions = (compiled.subject.own_limit for compiled in self.actions)
        self.limits = tuple(limit for limit in (*of_policies, *of_actions) if limit is not None)
        """All rate limits and budgets: the policies' and the actions' own."""

    def _capabilities_of_actions(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for name, action_ids in self.capabilities.items():
            for action_id in action_ids:
                found.setdefault(action_id, set()).add(name)
        return {action_id: frozenset(names) for action_id, names in found.items()}

    def conditions(self) -> Iterator[CompiledConditions]:
        """Yield the conditions of all its policies, context blocks and packs that have any, each once."""
        for policy in self.policies:
            if policy.conditions is not None:
                yield policy.conditions
        for conditions in dict.fromkeys(block.conditions for block in self.blocks):
            if conditions is not None:
                yield conditions


class Catalogue:
    """A set of compiled atlases in the order in which they were loaded."""

    def __init__(self, atlases: Iterable[CompiledAtlas] = ()) -> None:
        self.atlases = {compiled.atlas.atlas_id: compiled for compiled in atlases}
        conditions = [one for compiled in self.atlases.values() for one in compiled.conditions()]
        self.agent_globs = tuple(sorted({glob for one in conditions for glob in one.agents}))
        self.context_globs = tuple(sorted({glob for one in conditions for glob in one.context_globs}))

    def loading(self, *atlases: CompiledAtlas, order: Sequence[str] | None = None) -> Catalogue:
        """Return a catalogue with these atlases too; one with the same id is replaced in its place.

        Args:
            order: the ids of all of them, in another order.

        Raises:
            InvalidInput: `duplicate_action` when another atlas has one of their actions;
                `too_many_actions` above MAX_CANDIDATES of all atlases together.
        """
        loaded = {**self.atlases, **{one.atlas.atlas_id: one for one in atlases}}
        owners = {
            compiled.action.action_id: compiled.atlas_id
            for one in loaded.values()
            if one not in atlases
            for compiled in one.actions
        }
        for one in atlases:
            _claim_actions(one, owners)
        if len(owners) > MAX_CANDIDATES:
            raise InvalidInput(
                "too_many_actions", f"more than {MAX_CANDIDATES} actions in all atlases", pointer="/actions"
            )
        return Catalogue(loaded.values() if order is None else [loaded[name] for name in order])

    def unloading(self, atlas_id: str) -> Catalogue:
        """Return a catalogue without that atlas: its actions, policies and context go together.

        Raises:
            NotFound: `atlas_not_found`.
        """
        self.named(atlas_id, pointer="/atlas_id")
        return Catalogue(compiled for name, compiled in self.atlases.items() if name != atlas_id)

    def named(self, atlas_id: str, *, pointer: str) -> CompiledAtlas:
        """Return a loaded atlas.

        Raises:
            NotFound: `atlas_not_found`.
        """
        found = self.atlases.get(atlas_id)
        if found is None:
            raise NotFound("atlas_not_found", f"no atlas `{atlas_id}` is loaded", pointer=pointer)
        return found

    def chosen(self, atlas_ids: Sequence[str] | None) -> tuple[CompiledAtlas, ...]:
        """Return the named atlases in the order of loading; None means all.

        Raises:
            NotFound: `atlas_not_found`.
        """
        if atlas_ids is None:
            return tuple(self.atlases.values())
        for index, atlas_id in enumerate(atlas_ids):
            self.named(atlas_id, pointer=f"/atlas_ids/{index}")
        return tuple(compiled for name, compiled in self.atlases.items() if name in atlas_ids)


def _claim_actions(atlas: CompiledAtlas, owners: dict[str, str]) -> None:
    """Note the atlas as the owner of its actions, or refuse it for one that has an owner."""
    for index, compiled in enumerate(atlas.actions):
        owner = owners.setdefault(compiled.action.action_id, compiled.atlas_id)
        if owner != compiled.atlas_id:
            raise InvalidInput(
                "duplicate_action",
                f"action `{compiled.action.action_id}` is in atlas `{owner}` too: unload that one first",
                pointer=f"/actions/{index}/action_id",
                atlas_id=compiled.atlas_id,
            )
