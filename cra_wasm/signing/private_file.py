"""Files that only their owner reads and writes."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path


def open_private(path: Path, mode: str) -> FileIO:
    """Open a file without a buffer; one that this makes is of mode 0600."""
    return FileIO(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def write_durably(file: FileIO, data: bytes) -> None:
    """Write all of it and wait for the disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())
