"""One session's `.checkpoints.jsonl`: lines of ascending size, appended one by one."""

from __future__ import annotations

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from ..storage.session_file import sync_folder
from ..trace.checkpoint import MAX_ENTRY_BYTES, parse_entry, parse_note

SUFFIX: Final = ".checkpoints.jsonl"
_TAIL_BYTES: Final = 2 * MAX_ENTRY_BYTES + 2
"""The newest line, and a torn one behind it."""


class SideFile:
    """A file that need not exist. Several processes may append to it.

    Raises:
        InvalidInput: `checkpoint_malformed`: what stands at its end is no checkpoint.
        OSError: from every method, what the file system refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: str, size: int) -> bool:
        """Add a checkpoint durably, unless the newest is of that size or a larger one: then False.

        A torn last line, the rest of a write that a crash interrupted, is cut off first.
        """
        with open_private(self._path, "a+b") as file:
            _wait_for(file)
            newest, end = _newest(file)
            file.truncate(end)
            if _size_of(newest) >= size:
                return False
            try:
                write_durably(file, f"{line}\n".encode())
            except OSError:
                with suppress(OSError):
                    file.truncate(end)
                raise
        if end == 0:
            sync_folder(self._path.parent)
        return True

    def newest_size(self) -> int:
        """Cut off a torn last line; return the size of the newest checkpoint, 0 without one."""
        try:
            with open_private(self._path, "rb+") as file:
                _wait_for(file)
                newest, end = _newest(file)
                file.truncate(end)
                return _size_of(newest)
        except FileNotFoundError:
            return 0

    def lines(self) -> list[str]:
        """Return the whole lines without their line feeds."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        return data.decode("utf-8", "replace").split("\n")[:-1]

    def keep_newest(self) -> None:
        """Remove all checkpoints but the newest."""
        *older, newest = ["", *self.lines()]
        if len(older) < 2:
            return
        part = self._path.with_name(f"{self._path.name}.part")
        with open_private(part, "wb") as file:
            write_durably(file, f"{newest}\n".encode())
        part.replace(self._path)


def open_private(path: Path, mode: str) -> FileIO:
    """Open a file without a buffer; one that this makes is of mode 0600."""
    return FileIO(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def write_durably(file: FileIO, data: bytes) -> None:
    """Write all of it and wait for the disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())


def _newest(file: FileIO) -> tuple[str, int]:
    """Return the last whole line, and where it ends."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _TAIL_BYTES)
    file.seek(start)
    tail = file.read(size - start)
    end = tail.rfind(b"\n") + 1
    if end == 0 < start:
        return "?", size  # no file of checkpoints, so none of it is cut off
    return tail[: max(0, end - 1)].rpartition(b"\n")[2].decode("utf-8", "replace"), start + end


def _size_of(line: str) -> int:
    return parse_note(parse_entry(line)[1]).size if line else 0


def _wait_for(file: FileIO) -> None:
    """Have the file alone until it is closed, where the system can do that."""
    try:
        import fcntl
    except ImportError:
        return
    with suppress(OSError):  # a file system without locks, as some network ones
        fcntl.flock(file, fcntl.LOCK_EX)
