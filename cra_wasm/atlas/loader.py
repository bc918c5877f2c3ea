"""From JSON text, a dict, a file, a folder or a zip to a checked Atlas (PROTOCOL 1)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..errors import InvalidInput, Json
from ..model.atlas import Atlas
from ..model.limits import MAX_TEXT_BYTES, MAX_VALUES
from ..model.nesting import holds_more_values
from ..model.parse import as_json_text, findings_error, findings_of, read_bounded, too_many
from .context_files import read_context_files
from .dialects import translate
from .draft import ID_OF, STAND_IN, Draft, draft_of_document, draft_of_package
from .findings import INVALID_ATLAS, Finding, SchemaCheck, find_contradictions, find_duplicates

_ZIP_START = b"PK"
"""With which no JSON text begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAtlas:
    """A checked atlas, the texts of its packs' files by path, and what was read from another dialect."""

    atlas: Atlas
    pack_files: Mapping[str, str]
    warnings: tuple[Finding, ...]


def load_atlas(
    source: str | bytes | dict[str, Json] | Path, *, check_schema: SchemaCheck, strict: bool = True
) -> Atlas:
    """Return the atlas of `read_atlas`, for whoever needs neither its files nor its warnings."""
    return read_atlas(source, check_schema=check_schema, strict=strict).atlas


def read_atlas(
    source: str | bytes | dict[str, Json] | Path, *, check_schema: SchemaCheck, strict: bool = True
) -> LoadedAtlas:
    """Read one atlas: JSON text, UTF-8 bytes or a dict; the bytes of a zip; the path of a JSON file, a zip or
    a folder.

    Args:
        source: at most 16 MiB, a package also when it is unpacked; a `str` is always text, only a `Path` is
            a file or a folder.
        check_schema: raises InvalidInput for a JSON Schema that is not of the supported subset.
        strict: False reads other dialects where that allows nothing more, and tells each in `warnings`.

    Raises:
        InvalidInput: `invalid_atlas` with all findings as {pointer, code, message}, and `file` in a package.
            What is no JSON, and a package whose names break a rule, is told alone: nothing else was read.
        NotFound: `file_not_found`.
    """
    draft = _draft_of(source)
    dialects, refused = translate(draft)
    findings = [*draft.findings, *refused]
    if strict:
        findings += [{**one, "message": f"{one['message']}, or load it leniently"} for one in dialects]
    atlas, pack_files, found = _check(draft, check_schema)
    findings += found
    if atlas is None or findings:
        raise findings_error(INVALID_ATLAS, findings)
    return LoadedAtlas(atlas=atlas, pack_files=pack_files, warnings=tuple(dialects))


def _draft_of(source: str | bytes | dict[str, Json] | Path) -> Draft:
    if isinstance(source, Path):
        if _is_folder(source):
            from .package_folder import read_folder

            return draft_of_package(read_folder(source))
        source = read_file(source)
    if isinstance(source, bytes) and source.startswith(_ZIP_START):
        from .package_zip import read_zip  # zipfile: most atlases need none

        return draft_of_package(read_zip(source))
    return draft_of_document(json.loads(as_json_text(source, code=INVALID_ATLAS)))


def _check(draft: Draft, check_schema: SchemaCheck) -> tuple[Atlas | None, Mapping[str, str], list[Finding]]:
    """Return the atlas if it parses, and all that is wrong with it or with the entries of it that parse."""
    findings: list[Finding] = []
    kept: dict[str, list[int]] | None = None
    faults: Set[tuple[str | int, ...]] = frozenset()
    whole: Atlas | None = None
    document = draft.document()
    try:
        whole = Atlas.model_validate_json(_text_of(document))
        part = whole
    except ValidationError as error:
        findings += [draft.place(one) for one in findings_of(error)]
        if too_many(error):
            return None, {}, findings
        faults = {item["loc"][:2] for item in error.errors(include_url=False)}
        part, kept = _sound_part(document, faults)
    for section, member in ID_OF.items():
        if (section,) in faults:  # more entries than there may be
            continue
        findings += [draft.place(one) for one in find_duplicates(section, member, draft.names(section))]
    known = {section: draft.known(section) for section in ID_OF}
    pack_files, of_files = read_context_files(part, draft.files)
    contradictions = [*find_contradictions(part, known, check_schema), *of_files]
    findings += [draft.place(one, kept) for one in contradictions]
    return whole, pack_files, findings


def _text_of(document: dict[str, Json]) -> str:
    """Return the text of a manifest. Each file of a package holds few enough values; all of them together may
    not.
    """
    text = json.dumps(document)
    if holds_more_values(text, MAX_VALUES):
        raise InvalidInput(INVALID_ATLAS, f"holds more than {MAX_VALUES} values", pointer="")
    return text


def _sound_part(
    document: dict[str, Json], faults: Set[tuple[str | int, ...]]
) -> tuple[Atlas, dict[str, list[int]]]:
    """Return an atlas of the entries without a fault, and which of each list those are."""
    kept = {
        section: []
        if (section,) in faults
        else [index for index in range(len(document[section])) if (section, index) not in faults]
        for section in ID_OF
    }
    sound = {section: [document[section][index] for index in indexes] for section, indexes in kept.items()}
    return Atlas.model_validate_json(json.dumps({**STAND_IN, **sound})), kept


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a path that is too long, or has a NUL
        return False


def read_file(path: Path) -> bytes:
    """Return the bytes of an atlas file.

    Raises:
        NotFound: `file_not_found` when there is no readable file at `path`.
        InvalidInput: `invalid_atlas` when it is larger than 16 MiB.
    """
    content = read_bounded(path)
    if len(content) > MAX_TEXT_BYTES:
        raise InvalidInput(INVALID_ATLAS, f"`{path}` is larger than {MAX_TEXT_BYTES} bytes", pointer="")
    return content
