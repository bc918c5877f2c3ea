"""Atlases of other dialects, read as this one's where that allows nothing more (PROTOCOL 1.11).

The reading is the same whether it is wanted or not: a lenient loader warns of it, a strict one refuses the
atlas by it. So both name the member and what to write in its place, and find all else that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..errors import Json
from .dialect_rules import policies_of_rules
from .draft import ID_OF, Draft, Entry, placed
from .findings import Finding

DIALECT: Final = "dialect"
"""The code of what was read otherwise than it is written: a warning, or a finding of a strict loader."""

REFUSED: Final = "dialect_refused"
"""The code of what cannot be read without the danger of allowing more than its author meant."""

_RESTRICTING: Final = ("deny", "scope", "require_approval", "rate_limit", "budget")


def translate(draft: Draft) -> tuple[list[Finding], list[Finding]]:
    """Rewrite a draft in this protocol's words; return what was read otherwise, and what cannot be."""
    read: list[Finding] = []
    refused: list[Finding] = []
    _header_id(draft, read, refused)
    _policies(draft, read, refused)
    vague = _plain_capabilities(draft, read)
    for section, entries in draft.entries.items():
        for entry in entries:
            _entry_id(section, entry, read, refused)
    refused += _acting_on_vague_capabilities(draft, vague)
    return read, refused


def _told(entry: Entry, path: str, code: str, message: str) -> Finding:
    return placed(entry.file, entry.pointer + path, code, message)


def _header_id(draft: Draft, read: list[Finding], refused: list[Finding]) -> None:
    header = Entry(draft.header, "", draft.manifest_file)
    if _rename_id(header, "atlas_id", read, refused):
        draft.renamed["atlas_id"] = "id"


def _entry_id(section: str, entry: Entry, read: list[Finding], refused: list[Finding]) -> None:
    if _rename_id(entry, ID_OF[section], read, refused):
        entry.renamed[ID_OF[section]] = "id"


def _rename_id(entry: Entry, member: str, read: list[Finding], refused: list[Finding]) -> bool:
    """Read `id` as the member that names the entry."""
    if not isinstance(entry.value, dict) or "id" not in entry.value:
        return False
    if member in entry.value:
        del entry.value["id"]
        refused.append(_told(entry, "/id", REFUSED, f"`id` beside `{member}`: leave one of them out"))
        return False
    entry.value[member] = entry.value.pop("id")
    read.append(_told(entry, "/id", DIALECT, f"`id` is of another dialect: write `{member}`"))
    return True


def _policies(draft: Draft, read: list[Finding], refused: list[Finding]) -> None:
    """Read type `requires_approval`, file paths, and `rules`."""
    found: list[Entry] = []
    for entry in draft.entries["policies"]:
        if isinstance(entry.value, str):
            _policy_path(draft, entry, read, refused)
        elif isinstance(entry.value, dict) and "rules" in entry.value:
            found += _rules(draft, entry, read, refused)
        else:
            if isinstance(entry.value, dict) and entry.value.get("type") == "requires_approval":
                entry.value["type"] = "require_approval"
                message = "`requires_approval` is of another dialect: write `require_approval`"
                read.append(_told(entry, "/type", DIALECT, message))
            found.append(entry)
    draft.entries["policies"] = found


def _policy_path(draft: Draft, entry: Entry, read: list[Finding], refused: list[Finding]) -> None:
    path = entry.value.removeprefix("./")
    if draft.files is not None and path.startswith("policies/") and path in draft.files:
        message = "a file's path is of another dialect: files in `policies/` are read anyway, leave it out"
        read.append(_told(entry, "", DIALECT, message))
        return
    draft.guessed.add("policies")
    message = "a path is no policy: put the file into the folder `policies/` of a package, where it is read"
    refused.append(_told(entry, "", REFUSED, message))


def _rules(draft: Draft, entry: Entry, read: list[Finding], refused: list[Finding]) -> list[Entry]:
    policies = policies_of_rules(entry.value)
    if isinstance(policies, str):
        draft.guessed.add("policies")
        refused.append(
            _told(
                entry, "/rules", REFUSED, f"`rules` of another dialect: {policies}; write a policy for each"
            )
        )
        return []
    read.append(_told(entry, "/rules", DIALECT, "`rules` are of another dialect: write a policy for each"))
    return [
        Entry(policy, f"{entry.pointer}/rules/{index}", entry.file) for index, policy in enumerate(policies)
    ]


def _plain_capabilities(draft: Draft, read: list[Finding]) -> set[str]:
    """Read a plain string as a capability without actions: asking for it gives no candidate."""
    vague: set[str] = set()
    for entry in draft.entries["capabilities"]:
        name = entry.value
        if isinstance(name, str):
            vague.add(name)
            entry.value = {"capability_id": name, "name": name}
            entry.renamed = {"capability_id": "", "name": ""}
            message = "a plain string is of another dialect: write `capability_id`, `name` and its `actions`"
            read.append(_told(entry, "", DIALECT, message))
    return vague


def _acting_on_vague_capabilities(draft: Draft, vague: set[str]) -> Iterator[Finding]:
    """Find policies that would restrict nothing, because nobody knows which actions a capability has."""
    for entry in draft.entries["policies"]:
        policy = entry.value
        if not isinstance(policy, dict) or policy.get("type") not in _RESTRICTING:
            continue
        conditions: Json = policy.get("conditions")
        wanted: Json = conditions.get("capabilities") if isinstance(conditions, dict) else None
        for place, name in enumerate(wanted if isinstance(wanted, list) else ()):
            if isinstance(name, str) and name in vague:
                yield _told(
                    entry,
                    f"/conditions/capabilities/{place}",
                    REFUSED,
                    f"capability `{name}` is a plain string, so this would never act: write its actions",
                )
