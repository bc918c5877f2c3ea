"""Reads an atlas package from the bytes of a zip. Nothing is ever written to disk (PROTOCOL 1.10)."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections import Counter
from typing import Final

from ..errors import InvalidInput
from ..model.limits import MAX_PACKAGE_BYTES, MAX_PACKAGE_FILES
from .package_paths import LINK, Fault, PackageTree, package_error

ZIP_START: Final = b"PK"

_ENTRY: Final = b"PK\x01\x02"
_ENCRYPTED: Final = 0x1 | 0x40
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_SHARED: Final[Fault] = ("corrupt_file", "shares its bytes with another entry")

_BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""All that zipfile raises for bytes that are no sound zip."""


def read_zip(data: bytes) -> dict[str, bytes]:
    """Return the files that a loader looks into, by their paths in the package.

    Sizes are counted while files are unpacked: what the zip says of itself is not believed.

    Raises:
        InvalidInput: `invalid_atlas` with all findings about names, links, methods and broken files.
    """
    if len(data) > MAX_PACKAGE_BYTES:
        raise package_error("", "too_large", f"the zip is larger than {MAX_PACKAGE_BYTES} bytes")
    if data.count(_ENTRY) > MAX_PACKAGE_FILES:
        # Before zipfile makes an object of each. Those of a zip that lies inside unpacked count too.
        raise package_error("", "too_many_files", f"the zip has more than {MAX_PACKAGE_FILES} entries")
    tree = PackageTree()
    files: dict[str, bytes] = {}
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _BROKEN as error:
        raise package_error("", "not_zip", f"is no sound zip: {error}"[:300]) from None
    with archive:
        starts = Counter(info.header_offset for info in archive.infolist())
        for info in archive.infolist():
            # zipfile itself only warns of entries that begin at the same byte, or does not see them at all.
            fault = _fault_of(info) if starts[info.header_offset] == 1 else _SHARED
            _read_entry(archive, info, fault, tree, files)
    tree.raise_findings()
    return files


def _read_entry(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    fault: Fault | None,
    tree: PackageTree,
    files: dict[str, bytes],
) -> None:
    # Not `filename`, which zipfile has cut at a NUL and, on Windows, changed.
    name = info.orig_filename.removesuffix("/")
    is_folder = info.orig_filename.endswith("/")
    if not tree.add(name, is_folder=is_folder, fault=fault) or is_folder:
        return
    try:
        with archive.open(info) as file:
            content = tree.read(name, file.read)
    except InvalidInput:  # too large; it is a ValueError too
        raise
    except _BROKEN as error:
        tree.tell(name, "corrupt_file", f"cannot be unpacked: {error}"[:300])
        return
    if content is not None:
        files[name] = content


def _fault_of(info: zipfile.ZipInfo) -> Fault | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return LINK
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "special_file", "is no regular file"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted_file", "is encrypted: a package is read without a password"
    if info.compress_type not in _METHODS:
        return "unsupported_compression", f"method {info.compress_type}: use deflate, or store it"
    return None
