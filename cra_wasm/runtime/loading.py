"""Taking atlases in: read, judged with those that are loaded, compiled: all or none (PROTOCOL 1.12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..atlas.dependencies import find_cycle, find_dependents, find_unmet, in_loading_order
from ..atlas.findings import INVALID_ATLAS, Finding
from ..atlas.loader import LoadedAtlas, read_atlas
from ..carp.catalogue import Catalogue, CompiledAtlas
from ..carp.planner import Planner
from ..carp.schema import Validator, compile_schema
from ..carp.schema_pattern import PatternBook
from ..errors import CRAError, InvalidInput, InvalidState, Json
from ..model.atlas import Atlas
from ..model.parse import findings_error

AtlasSource: TypeAlias = str | bytes | dict[str, Json] | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAtlas:
    """An atlas that is right by itself, and the validators of its schemas by their pointers.

    `source` is its place among those that were given together, None for one alone.
    """

    loaded: LoadedAtlas
    validators: dict[str, Validator]
    source: int | None

    @property
    def atlas(self) -> Atlas:
        """The atlas itself."""
        return self.loaded.atlas


def read_one(given: AtlasSource, *, strict: bool, source: int | None = None) -> ReadAtlas:
    """Read one atlas with its schemas compiled; raises as `read_atlas`."""
    validators: dict[str, Validator] = {}
    patterns = PatternBook()

    def check_schema(schema: Json, pointer: str) -> None:
        validators[pointer] = compile_schema(schema, pointer=pointer, patterns=patterns)

    loaded = read_atlas(given, check_schema=check_schema, strict=strict)
    return ReadAtlas(loaded=loaded, validators=validators, source=source)


def read_several(given: Sequence[AtlasSource], *, strict: bool) -> list[ReadAtlas]:
    """Read atlases that belong together.

    Raises:
        InvalidInput: `invalid_atlas` with the findings of all of them; each says in `source` whose it is.
            `invalid_arguments` when they are no list.
        NotFound: `file_not_found`; `details.source` says which.
    """
    if not isinstance(given, list | tuple):
        raise InvalidInput("invalid_arguments", "give a list of atlases", pointer="")
    read: list[ReadAtlas] = []
    findings: list[Finding] = []
    for index, one in enumerate(given):
        try:
            read.append(read_one(one, strict=strict, source=index))
        except CRAError as error:
            if error.code != INVALID_ATLAS:
                error.details["source"] = index
                raise
            found = error.details.get("findings") or [
                {"pointer": "", "code": INVALID_ATLAS, "message": error.message}
            ]
            findings += [{**finding, "source": index} for finding in found]
    if findings:
        raise findings_error(INVALID_ATLAS, findings)
    return read


def with_atlases(planner: Planner, read: Sequence[ReadAtlas]) -> Planner:
    """Return a planner that knows these atlases too, each behind those that it needs.

    Raises:
        InvalidInput: `invalid_atlas` when one stands twice, lacks what it needs, or needs itself;
            `duplicate_action` and `too_many_actions` as `Catalogue.loading`.
        InvalidState: `atlas_required` when a loaded atlas needs another version of one of them.
    """
    catalogue = planner.catalogue
    _judge(catalogue, read)
    compiled = [_compiled(one, catalogue) for one in read]
    together = {one.atlas.atlas_id: one.atlas for one in (*catalogue.atlases.values(), *compiled)}
    try:
        return planner.loading(
            *compiled, order=[atlas.atlas_id for atlas in in_loading_order(together.values())]
        )
    except InvalidInput as error:
        for one in read:
            if one.source is not None and one.atlas.atlas_id == error.details.get("atlas_id"):
                error.details["source"] = one.source
        raise


def _judge(catalogue: Catalogue, read: Sequence[ReadAtlas]) -> None:
    """Refuse atlases that do not go together, or not with those that are loaded."""
    before = {name: compiled.atlas for name, compiled in catalogue.atlases.items()}
    incoming = {one.atlas.atlas_id: one for one in read}
    together = {**before, **{name: one.atlas for name, one in incoming.items()}}
    findings: list[Finding] = []
    for one in read:
        found = [*find_unmet(one.atlas, together), *find_cycle(one.atlas, together)]
        if incoming[one.atlas.atlas_id] is not one:
            found.append({"pointer": "/atlas_id", "code": "duplicate_id", "message": "stands twice"})
        findings += found if one.source is None else [{**each, "source": one.source} for each in found]
    if findings:
        raise findings_error(INVALID_ATLAS, findings)
    others = [atlas for name, atlas in before.items() if name not in incoming]
    for name, one in incoming.items():
        _refuse_if_required(name, find_dependents(name, others, one.atlas.version), "/version")


def judge_together(read: Sequence[ReadAtlas]) -> list[tuple[list[Finding], list[Finding]]]:
    """Return for each atlas what is wrong with it among the others, and what it lacks (may be elsewhere)."""
    together = {one.atlas.atlas_id: one.atlas for one in read}
    judged: list[tuple[list[Finding], list[Finding]]] = []
    for one in read:
        found = [*find_unmet(one.atlas, together), *find_cycle(one.atlas, together)]
        missing = [each for each in found if each["code"] == "dependency_missing"]
        judged.append(([each for each in found if each not in missing], missing))
    return judged


def check_not_required(catalogue: Catalogue, atlas_id: str) -> None:
    """Refuse to unload an atlas that others need.

    Raises:
        InvalidState: `atlas_required`; `details.dependents` names them.
    """
    loaded = [compiled.atlas for compiled in catalogue.atlases.values()]
    _refuse_if_required(atlas_id, find_dependents(atlas_id, loaded, None), "/atlas_id")


def _refuse_if_required(atlas_id: str, dependents: list[str], pointer: str) -> None:
    if dependents:
        raise InvalidState(
            "atlas_required",
            f"`{atlas_id}` is needed by {', '.join(dependents)}: unload those first, or load all of them anew"
            " at once",
            pointer=pointer,
            dependents=dependents,
        )


def _compiled(one: ReadAtlas, catalogue: Catalogue) -> CompiledAtlas:
    replaced = catalogue.atlases.get(one.atlas.atlas_id)
    return CompiledAtlas(one.atlas, replaced, one.validators, one.loaded.pack_files)
