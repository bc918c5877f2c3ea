"""The key of a folder: PKCS#8 PEM in `checkpoint.key.pem`, which only its owner reads, as in Node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from uuid import uuid4

from ..errors import BackendFailure, InvalidState
from ..platform.ed25519 import SigningKey, new_private_key, read_private_key
from ..storage.session_file import sync_folder
from .side_file import open_private, write_durably

KEY_FILE: Final = "checkpoint.key.pem"
_OTHERS: Final = 0o077
_MAX_BYTES: Final = 16_384


def folder_key(folder: Path) -> SigningKey:
    """Return the folder's key, made by the first who asks; of two at once both get the first one's.

    Raises:
        InvalidState: `key_unsafe` where group or others may use the file (not asked on Windows).
        BackendFailure: `signed_unavailable`; `storage_corrupt` where the file holds no Ed25519 key.
        OSError: the file can neither be read nor made.
    """
    path = folder / KEY_FILE
    try:
        pem = _read(path)
    except FileNotFoundError:
        _make(path, new_private_key())
        pem = _read(path)
    key = read_private_key(pem)
    if key is None:
        raise BackendFailure(
            "storage_corrupt", f"`{path}` holds no Ed25519 key: move it away to have a new one"
        )
    return key


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if os.name == "posix" and os.fstat(file.fileno()).st_mode & _OTHERS:
            raise InvalidState(
                "key_unsafe", f"others may read the key `{path}`: set its mode to 0600 or move it away"
            )
        return file.read(_MAX_BYTES)


def _make(path: Path, pem: bytes) -> None:
    # A link comes whole and never in the place of another.
    part = path.with_name(f"{path.name}.{uuid4()}.part")
    try:
        with open_private(part, "xb") as file:
            write_durably(file, pem)
        try:
            os.link(part, path)
        except FileExistsError:
            return
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)
