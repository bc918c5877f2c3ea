"""The files of an atlas's context packs, read as text (PROTOCOL 1.13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..model.atlas import Atlas
from ..model.limits import MAX_CONTEXT_FILE_CHARS, MAX_PACK_CHARS
from .findings import Finding


def read_context_files(
    atlas: Atlas, files: Mapping[str, bytes] | None
) -> tuple[dict[str, str], list[Finding]]:
    """Return the text of each file that a pack lists, by its path, and what is wrong with them.

    Args:
        files: of the package; None when the atlas is a JSON document, which has none to read.
    """
    if files is None:
        return {}, list(_without_files(atlas))
    texts: dict[str, str] = {}
    findings: list[Finding] = []
    total = 0
    for index, pack in enumerate(atlas.context_packs):
        listed: set[str] = set()
        for place, path in enumerate(pack.files):
            fault = ("duplicate_file", "stands twice in its pack") if path in listed else None
            fault = fault or _read(path, files, texts)
            listed.add(path)
            if fault is not None:
                findings.append(_finding(f"/context_packs/{index}/files/{place}", *fault))
            else:
                total += len(texts[path])
    if total > MAX_PACK_CHARS:
        findings.append(
            _finding(
                "/context_packs",
                "too_much_context",
                f"the packs list {total} characters together, more than {MAX_PACK_CHARS}",
            )
        )
    return texts, findings


def _without_files(atlas: Atlas) -> Iterator[Finding]:
    for index in range(len(atlas.context_packs)):
        yield _finding(
            f"/context_packs/{index}/files",
            "file_missing",
            "a JSON document has no files: load the package as a folder or a zip, or write context_blocks",
        )


def _read(path: str, files: Mapping[str, bytes], texts: dict[str, str]) -> tuple[str, str] | None:
    """Read a file into `texts` and return what is wrong with it."""
    content = files.get(path)
    if content is None:
        return "file_missing", f"the package has no file `{path}`"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "not_utf8", f"`{path}` is not UTF-8 text"
    if len(text) > MAX_CONTEXT_FILE_CHARS:
        return "too_large", f"`{path}` has {len(text)} characters, more than {MAX_CONTEXT_FILE_CHARS}"
    texts[path] = text
    return None


def _finding(pointer: str, code: str, message: str) -> Finding:
    return {"pointer": pointer, "code": code, "message": message}
