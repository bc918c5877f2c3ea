"""One session's `.trace.jsonl` file: appended to, cut back, read from any line."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

LINES_PER_MARK: Final = 256
"""How far apart the remembered offsets are: 8 bytes per 256 events, and at most 255 lines skipped."""

_CHUNK_BYTES: Final = 1 << 16


class SessionFile:
    """A file whose line n is the event with sequence n. Not safe from several threads: the owner locks.

    Raises:
        OSError: from every method, what the file system refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lines = 0
        self.size_bytes = 0
        self._marks: array[int] = array("Q")
        if path.exists():
            with path.open("rb") as source:
                for line in source:
                    self._note(len(line))

    def append(self, lines: Sequence[bytes], *, fsync: bool) -> None:
        """Append lines in one write; on return they are on the disk, or with the system without `fsync`."""
        data = memoryview(b"".join(lines))
        with self._path.open("ab", buffering=0) as target:
            while data:
                data = data[target.write(data) :]
            if fsync:
                os.fsync(target.fileno())
        if fsync and self.size_bytes == 0:
            sync_folder(self._path.parent)
        for line in lines:
            self._note(len(line))

    def read_from(self, sequence: int) -> Iterator[bytes]:
        """Return the lines of this moment from `sequence` on; the file is open only while they are read."""
        if sequence >= self.lines:
            return iter(())
        return self._read(sequence, self.lines, self._marks[sequence // LINES_PER_MARK])

    def _read(self, sequence: int, end: int, offset: int) -> Iterator[bytes]:
        with self._path.open("rb") as source:
            source.seek(offset)
            skipped = sequence % LINES_PER_MARK
            yield from islice(source, skipped, skipped + end - sequence)

    def _note(self, length_bytes: int) -> None:
        if self.lines % LINES_PER_MARK == 0:
            self._marks.append(self.size_bytes)
        self.lines += 1
        self.size_bytes += length_bytes


def cut_back(path: Path, size_bytes: int) -> None:
    """Return a file to an earlier size; SessionFiles of it are stale afterwards."""
    if size_bytes == 0:
        path.unlink(missing_ok=True)
    else:
        os.truncate(path, size_bytes)


def cut_torn_line(path: Path) -> int:
    """Cut off what stands behind the last line feed, remove an empty file, and return how many bytes went.

    A torn line is the rest of a write that a crash or a full disk interrupted, so it was never confirmed.
    """
    size = path.stat().st_size
    with path.open("rb") as source:
        kept = _end_of_last_line(source, size)
    if kept < size or size == 0:
        cut_back(path, kept)
    return size - kept


def _end_of_last_line(source: BinaryIO, size: int) -> int:
    end = size
    while end > 0:
        # Nearly always the last byte is the line feed.
        start = max(0, end - (1 if end == size else _CHUNK_BYTES))
        source.seek(start)
        found = source.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def sync_folder(folder: Path) -> None:
    """Make new and removed names of a folder durable, where the system lets a folder be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # Windows: its file systems journal names by themselves
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
