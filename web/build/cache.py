"""Content hashes and idempotent writes: what lets a second build take seconds."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from settings import CACHE, ROOT


def fail(what: str, remedy: str) -> NoReturn:
    """End this build step with one line that says what is wrong and one that says what to do."""
    print(f"{what}\n{remedy}", file=sys.stderr)
    raise SystemExit(1)


def say(text: str) -> None:
    """Report progress at once; the build's output may be a pipe."""
    print(f"  {text}", flush=True)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hash_files(paths: Iterable[Path], *extra: str) -> str:
    """Return one hash over the names and contents of files (folders are walked), and over the extra words."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0{sha256(file.read_bytes())}\n".encode())
    digest.update("\0".join(extra).encode())
    return digest.hexdigest()


def is_fresh(stamp: str, key: str) -> bool:
    """Return whether the step named `stamp` last succeeded with this very key."""
    path = CACHE / "stamps" / stamp
    return path.is_file() and path.read_text() == key


def mark_fresh(stamp: str, key: str) -> None:
    path = CACHE / "stamps" / stamp
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(key)


def sync_folder(target: Path, files: Mapping[str, Path | bytes], *, keep: Sequence[str] = ()) -> int:
    """Make `target` hold exactly these files, touching only what differs; return how many were written.

    Written in place and not swapped in: somebody may be serving the folder. Sub-folders named in `keep`
    belong to another step and are left alone.
    """
    written = 0
    for name, source in files.items():
        content = source if isinstance(source, bytes) else source.read_bytes()
        path = target / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            part.write_bytes(content)
            os.replace(part, path)
            written += 1
    for path in sorted(target.rglob("*"), reverse=True):
        name = path.relative_to(target).as_posix()
        if name.split("/")[0] in keep:
            continue
        if path.is_dir() and not any(path.iterdir()):
            shutil.rmtree(path)
        elif not path.is_dir() and name not in files:
            path.unlink()
    return written


def run(command: Sequence[str | Path], *, what: str, remedy: str, cwd: Path = ROOT) -> None:
    """Run a command quietly; when it fails, show the end of what it said.

    Lines are cut at 300 characters, because a traceback out of pyodide.asm.mjs has a line of one megabyte.
    """
    done = subprocess.run(
        list(command), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != 0:
        tail = done.stdout.decode(errors="replace").splitlines()[-15:]
        print("\n".join(line[:300] for line in tail), file=sys.stderr)
        fail(f"{what} failed (exit {done.returncode})", remedy)
