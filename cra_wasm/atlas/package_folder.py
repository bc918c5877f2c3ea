"""Reads an atlas package from a folder, and nothing beside it (PROTOCOL 1.10)."""

from __future__ import annotations

import os
import stat
from itertools import islice
from pathlib import Path
from typing import Final

from ..errors import NotFound
from ..model.limits import MAX_PACKAGE_FILES
from .package_paths import LINK, PackageTree

_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)
"""A link or a pipe that took a file's place since it was listed is not followed, nor waited for."""


def read_folder(root: Path) -> dict[str, bytes]:
    """Return the files that a loader looks into, by their paths in the package.

    The root itself may be a link; nothing below it may.

    Raises:
        InvalidInput: `invalid_atlas` with all findings about names, links and special files.
        NotFound: `file_not_found` when the folder cannot be listed.
    """
    tree = PackageTree()
    files: dict[str, bytes] = {}
    real_root = Path(os.path.realpath(root))
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in _entries(real_root, folder, tree):
            name = f"{folder}/{entry.name}" if folder else entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if not tree.add(name, is_folder=is_folder, fault=LINK if entry.is_symlink() else None):
                continue
            if is_folder:
                waiting.append(name)
            else:
                _read_file(real_root, name, tree, files)
    tree.raise_findings()
    return files


def _entries(root: Path, folder: str, tree: PackageTree) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root / folder) as found:
            return sorted(islice(found, MAX_PACKAGE_FILES + 1), key=lambda entry: entry.name)
    except OSError as error:
        if not folder:
            raise NotFound("file_not_found", f"cannot read `{str(root)[:300]}`: {error}"[:600]) from None
        tree.tell(folder, "unreadable_file", f"cannot be listed: {error.strerror}")
        return []


def _read_file(root: Path, name: str, tree: PackageTree, files: dict[str, bytes]) -> None:
    path = root / name
    try:
        if not Path(os.path.realpath(path)).is_relative_to(root):
            tree.tell(name, "symlink", "leads out of the package")
            return
        with open(os.open(path, _FLAGS), "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                tree.tell(name, "special_file", "is no regular file")
                return
            content = tree.read(name, lambda size: file.read(size) or b"")
    except OSError as error:
        tree.tell(name, "unreadable_file", f"cannot be read: {error.strerror}")
        return
    if content is not None:
        files[name] = content
