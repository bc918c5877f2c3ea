"""Fetch the wheels for Pyodide, by version and sha256, with pip.

`wheels.py lock` rewrites requirements/pyodide-{site,test}.txt from the .in files beside them: run it after a
change of a version there. The build itself only ever reads the locked files.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from cache import fail, hash_files, is_fresh, mark_fresh, run, say, sha256
from packaging.utils import parse_wheel_filename
from settings import CACHE, PYTHON_VERSION, ROOT, WHEEL_TAGS

REQUIREMENTS = ROOT / "requirements"


def fetch_wheels(group: str) -> list[Path]:
    """Return the wheels of `group` ("site" or "test"), downloaded once and then kept."""
    lock = REQUIREMENTS / f"pyodide-{group}.txt"
    folder = CACHE / "wheels" / group
    key = hash_files([lock], PYTHON_VERSION, *WHEEL_TAGS)
    if not is_fresh(f"wheels-{group}", key) or not folder.is_dir():
        say(f"downloading the {group} wheels for Pyodide")
        for stale in folder.glob("*.whl"):
            stale.unlink()
        download(lock, folder, "--require-hashes")
        mark_fresh(f"wheels-{group}", key)
    wheels = sorted(folder.glob("*.whl"))
    wanted = sum(1 for line in lock.read_text().splitlines() if "==" in line)
    if len(wheels) != wanted:
        fail(f"{folder} holds {len(wheels)} wheels, not {wanted}", "run ./build.sh clean, then again")
    return wheels


def download(requirements: Path, folder: Path, *options: str) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    where = ["--dest", str(folder), "--requirement", str(requirements)]
    run(
        [*pip, "--python-version", PYTHON_VERSION, *WHEEL_TAGS, *where, *options],
        what=f"pip download of {requirements.name}",
        remedy="check that pip reaches a package index; versions and hashes are fixed in requirements/",
    )


def lock_group(group: str) -> None:
    """Write the .txt of `group` from its .in: the same versions, each with the hash of its one wheel."""
    with tempfile.TemporaryDirectory() as folder:
        download(REQUIREMENTS / f"pyodide-{group}.in", Path(folder))
        lines = ["# Made by web/build/wheels.py lock: do not edit.\n"]
        for wheel in sorted(Path(folder).glob("*.whl")):
            name, version, _, _ = parse_wheel_filename(wheel.name)
            lines.append(f"{name}=={version} --hash=sha256:{sha256(wheel.read_bytes())}\n")
    (REQUIREMENTS / f"pyodide-{group}.txt").write_text("".join(lines))


if __name__ == "__main__":
    if sys.argv[1:] != ["lock"]:
        fail("wheels.py knows one command", "say: wheels.py lock")
    for each in ("site", "test"):
        lock_group(each)
