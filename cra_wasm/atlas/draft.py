"""An atlas on its way from JSON to a checked one: its parts, and where each stands (PROTOCOL 1.10).

A package spreads one atlas over files, and a dialect spells members its own way. So each entry of a list
remembers where it came from: findings are made over the whole and told at the place that the author wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..errors import InvalidInput, Json
from ..model.parse import as_json_text
from .findings import INVALID_ATLAS, Finding
from .package_paths import MANIFEST, file_finding

ID_OF: Final = {
    "capabilities": "capability_id",
    "context_packs": "pack_id",
    "context_blocks": "context_id",
    "policies": "policy_id",
    "actions": "action_id",
}
"""The lists of an atlas, and the member that names their entries."""

STAND_IN: Final[dict[str, Json]] = {
    "atlas_version": "1.0",
    "atlas_id": "stand.in",
    "version": "0.0.0",
    "name": "Stand-in",
    "description": "",
}
"""What a manifest needs, for checking the rest of one whose own cannot be read."""


@dataclass(slots=True)
class Entry:
    """One entry of a list, where it was written, and which of its members are spelled otherwise there.

    A member that was not written at all is renamed to "": the entry itself is its place.
    """

    value: Json
    pointer: str
    file: str | None = None
    renamed: dict[str, str] = field(default_factory=dict)


class Draft:
    """The header, the entries of each list, the files of a package (None for a JSON document), the findings.

    `guessed` names the lists of which not all entries could be read: what they lack cannot be told.
    """

    def __init__(self, files: Mapping[str, bytes] | None) -> None:
        self.files = files
        self.header: dict[str, Json] = dict(STAND_IN)
        self.renamed: dict[str, str] = {}
        self.entries: dict[str, list[Entry]] = {section: [] for section in ID_OF}
        self.guessed: set[str] = set()
        self.findings: list[Finding] = []
        self.manifest_file = None if files is None else MANIFEST

    def tell(self, file: str | None, pointer: str, code: str, message: str) -> None:
        """Add a finding."""
        self.findings.append(placed(file, pointer, code, message))

    def take_manifest(self, document: Json) -> None:
        """Split a manifest into header and lists."""
        if not isinstance(document, dict):
            self.tell(self.manifest_file, "", "model_type", "must be a JSON object")
            self.guessed.update(ID_OF)
            return
        self.header = {name: value for name, value in document.items() if name not in ID_OF}
        for section in ID_OF:
            value = document.get(section, [])
            if isinstance(value, list):
                self.take_entries(section, value, f"/{section}", self.manifest_file)
            else:
                self.tell(self.manifest_file, f"/{section}", "list_type", "must be a list")
                self.guessed.add(section)

    def take_entries(self, section: str, values: Sequence[Json], pointer: str, file: str | None) -> None:
        """Append entries that stand under a pointer of a file."""
        self.entries[section].extend(
            Entry(value, f"{pointer}/{index}", file) for index, value in enumerate(values)
        )

    def document(self) -> dict[str, Json]:
        """Return the whole as one manifest."""
        return {**self.header, **{name: [one.value for one in found] for name, found in self.entries.items()}}

    def names(self, section: str) -> list[str | None]:
        """Return the names of a list's entries as they were written; None for those that have none."""
        member = ID_OF[section]
        found = [
            one.value.get(member) if isinstance(one.value, dict) else None for one in self.entries[section]
        ]
        return [name if isinstance(name, str) else None for name in found]

    def known(self, section: str) -> frozenset[str] | None:
        """Return the names of a list; None where some cannot be read, so that nothing can be said to lack."""
        names = self.names(section)
        if section in self.guessed or None in names:
            return None
        return frozenset(name for name in names if name is not None)

    def place(self, finding: Finding, kept: Mapping[str, Sequence[int]] | None = None) -> Finding:
        """Return a finding about `document()` as one about what the author wrote.

        Args:
            kept: which entries the checked document had, where it did not have them all.
        """
        _, *parts = finding["pointer"].split("/") if finding["pointer"] else ("",)
        code, message = finding["code"], finding["message"]
        if not parts:
            return placed(self.manifest_file, "", code, message)
        section, *rest = parts
        if section not in ID_OF or not rest or not rest[0].isdigit():
            parts[0] = self.renamed.get(section, section)
            return placed(self.manifest_file, "/" + "/".join(parts), code, message)
        index = int(rest[0])
        entry = self.entries[section][index if kept is None else kept[section][index]]
        pointer = entry.pointer
        if len(rest) > 1:
            member = entry.renamed.get(rest[1], rest[1])
            pointer = "/".join([pointer, member, *rest[2:]]) if member else pointer
        return placed(entry.file, pointer, code, message)


def placed(file: str | None, pointer: str, code: str, message: str) -> Finding:
    """Return a finding; those of packages name the file."""
    finding: Finding = {"pointer": pointer, "code": code, "message": message}
    return finding if file is None else {**finding, "file": file}


def draft_of_document(document: Json) -> Draft:
    """Return the draft of a manifest that stands alone."""
    draft = Draft(None)
    draft.take_manifest(document)
    return draft


def draft_of_package(files: Mapping[str, bytes]) -> Draft:
    """Return the draft of a package: `policies/*.json` and `actions/*.json` follow the manifest's own lists,
    sorted by file name; each holds one object or a list of them."""
    draft = Draft(files)
    if MANIFEST in files:
        if (document := _parsed(draft, MANIFEST)) is not _BROKEN:
            draft.take_manifest(document)
        else:
            draft.guessed.update(ID_OF)
    else:
        draft.findings.append(
            file_finding(
                MANIFEST,
                "file_missing",
                f"a package has `{MANIFEST}` at its root: pack what is in the folder",
            )
        )
        draft.guessed.update(ID_OF)
    for section in ("policies", "actions"):
        for file in sorted(name for name in files if name.startswith(f"{section}/")):
            _take_file(draft, section, file)
    return draft


_BROKEN: Final = object()


def _parsed(draft: Draft, file: str) -> Json:
    assert draft.files is not None
    try:
        return json.loads(as_json_text(draft.files[file], code=INVALID_ATLAS))
    except InvalidInput as error:
        draft.tell(file, "", "not_json", error.message)
        return _BROKEN


def _take_file(draft: Draft, section: str, file: str) -> None:
    content = _parsed(draft, file)
    if content is _BROKEN:
        draft.guessed.add(section)
    elif isinstance(content, list):
        draft.take_entries(section, content, "", file)
    elif isinstance(content, dict):
        draft.entries[section].append(Entry(content, "", file))
    else:
        draft.tell(file, "", "model_type", "must be a JSON object or a list of them")
        draft.guessed.add(section)
