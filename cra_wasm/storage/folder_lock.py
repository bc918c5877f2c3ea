"""Keeps two processes from writing to one folder."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

from ..errors import InvalidState

LOCK_NAME: Final = ".lock"


class FolderLock:
    """Holds `.lock` of a folder until it is released or the process ends, however it ends.

    `is_exclusive` tells whether the lock keeps others out: it does not where the system has no flock
    (Windows, some network file systems) or grants it to everyone (Pyodide). There, one writer is the
    user's duty.

    Raises:
        InvalidState: `storage_locked` when another holder has it.
        OSError: the lock file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / LOCK_NAME).open("ab")
        try:
            if not _take(self._file):
                raise InvalidState(
                    "storage_locked",
                    f"another writer has `{folder}` open: close it first, or use another folder",
                )
            with (folder / LOCK_NAME).open("ab") as second:
                self.is_exclusive = not _take(second)
        except BaseException:
            self._file.close()
            raise

    def release(self) -> None:
        """Let others in. The file stays: to remove it would let two holders have two files."""
        self._file.close()


def _take(file: BinaryIO) -> bool:
    """Take the lock without waiting; True also where there is none to take."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks, as some network ones
    return True
