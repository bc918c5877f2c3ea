"""Which names a package may have, for folders and zips alike (PROTOCOL 1.10)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final, TypeAlias

from ..errors import InvalidInput
from ..model.limits import MAX_PACKAGE_BYTES, MAX_PACKAGE_DEPTH, MAX_PACKAGE_FILES
from ..model.parse import findings_error
from .findings import INVALID_ATLAS, Finding

MANIFEST: Final = "atlas.json"
READ_FOLDERS: Final = ("context", "policies", "actions")
FOLDERS: Final = (*READ_FOLDERS, "adapters", "tests")

_MAX_NAME_CHARS: Final = 255
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_NO_PART: Final = "__MACOSX"
"""What macOS adds to the zips that it makes; like names that begin with a dot, it is no part of a package."""


def package_error(file: str, code: str, message: str) -> InvalidInput:
    """Return the error for a package that cannot be read further."""
    return findings_error(INVALID_ATLAS, [file_finding(file, code, message)])


def file_finding(file: str, code: str, message: str) -> Finding:
    """Return a finding about a whole file; its name is made fit to be printed as JSON."""
    shown = file.encode("utf-8", "backslashreplace").decode()[:_MAX_NAME_CHARS]
    return {"pointer": "", "code": code, "message": message, "file": shown}


Fault: TypeAlias = tuple[str, str]
"""The code and the message of a finding."""

LINK: Final[Fault] = ("symlink", "is a link: put the file itself here")


class PackageTree:
    """The names of a package as they are found: each is checked, counted, and told if it is wrong."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._spelled: dict[str, tuple[str, bool]] = {}
        """By a path's folded form: how it is written, and whether it is a folder."""
        self._files: set[str] = set()
        self._entries = 0
        self._bytes = 0
        self._strangers: set[str] = set()

    def add(self, name: str, *, is_folder: bool, fault: Fault | None = None) -> bool:
        """Take a path in, its parts separated by `/`, and tell whether it is to be looked into.

        Args:
            fault: what is wrong with the entry whatever its name; told unless it is hidden.

        Raises:
            InvalidInput: `invalid_atlas` above MAX_PACKAGE_FILES names.
        """
        self._entries += 1
        self._check_count(self._entries)
        bad_name = _fault_of(name)
        if bad_name is not None:
            self.tell(name, "bad_path", bad_name)
            return False
        parts = name.split("/")
        if any(part.startswith(".") for part in parts) or parts[0] == _NO_PART:
            return False
        if fault is not None:
            self.tell(name, *fault)
            return False
        if not self._place(parts, is_folder):
            return False
        return self._is_expected(parts, is_folder)

    def read(self, name: str, read: Callable[[int], bytes]) -> bytes | None:
        """Return the content of a file that was added; None for one that nobody looks into.

        Args:
            read: returns up to so many bytes, and none at the end.

        Raises:
            InvalidInput: `invalid_atlas` when all that was read is more than MAX_PACKAGE_BYTES.
        """
        pieces = []
        while piece := read(1 << 16):
            self._bytes += len(piece)
            if self._bytes > MAX_PACKAGE_BYTES:
                raise package_error(
                    name, "too_large", f"the package is larger than {MAX_PACKAGE_BYTES} bytes unpacked"
                )
            pieces.append(piece)
        kept = name == MANIFEST or name.split("/")[0] in READ_FOLDERS
        return b"".join(pieces) if kept else None

    def tell(self, name: str, code: str, message: str) -> None:
        """Tell what is wrong with a file."""
        self.findings.append(file_finding(name, code, message))

    def raise_findings(self) -> None:
        """Raise what was found.

        Raises:
            InvalidInput: `invalid_atlas` with all findings.
        """
        if self.findings:
            raise findings_error(INVALID_ATLAS, self.findings)

    def _check_count(self, count: int) -> None:
        if count > MAX_PACKAGE_FILES:
            raise package_error(
                "", "too_many_files", f"the package has more than {MAX_PACKAGE_FILES} files and folders"
            )

    def _place(self, parts: list[str], is_folder: bool) -> bool:
        """Refuse a path that some file system would take for another one.

        Each folder on the way counts, also where a zip does not list it.
        """
        path = "/".join(parts)
        for length in range(1, len(parts) + 1):
            start = "/".join(parts[:length])
            wanted = (start, is_folder or length < len(parts))
            known = self._spelled.setdefault(_folded(start), wanted)
            if known != wanted:
                self.tell(path, "duplicate_path", f"is the same path as `{known[0]}`")
                return False
        if not is_folder:
            if path in self._files:
                self.tell(path, "duplicate_path", "stands twice")
                return False
            self._files.add(path)
        self._check_count(len(self._spelled))
        return True

    def _is_expected(self, parts: list[str], is_folder: bool) -> bool:
        if len(parts) == 1 and not is_folder:
            if parts[0] != MANIFEST and (parts[0].lower().endswith(".json") or parts[0] in FOLDERS):
                self.tell(parts[0], "unexpected_file", f"beside `{MANIFEST}` belongs no file of this name")
            return parts[0] == MANIFEST
        if parts[0] not in FOLDERS:
            if parts[0] not in self._strangers:
                self._strangers.add(parts[0])
                self.tell(parts[0], "unexpected_file", f"the folders of a package are {', '.join(FOLDERS)}")
            return False
        if parts[0] in ("policies", "actions") and len(parts) > 1:
            if is_folder or len(parts) > 2 or not parts[1].endswith(".json"):
                self.tell("/".join(parts), "unexpected_file", f"`{parts[0]}/` holds `.json` files only")
                return False
        return True


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _fault_of(name: str) -> str | None:
    """Return what is wrong with a path by itself."""
    if not 0 < len(name) <= _MAX_NAME_CHARS:
        return f"a path has 1 to {_MAX_NAME_CHARS} characters"
    if not name.isprintable():
        return "has a character that cannot be shown"
    if "\\" in name:
        return "has a backslash: separate folders by `/`"
    parts = name.split("/")
    if len(parts) > MAX_PACKAGE_DEPTH:
        return f"lies deeper than {MAX_PACKAGE_DEPTH} levels"
    if parts[0] == "" or _DRIVE.match(name):
        return "is an absolute path"
    if not {"", ".", ".."}.isdisjoint(parts):
        return "has a part that is empty, `.` or `..`"
    return None
