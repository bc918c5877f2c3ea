"""Print what `pyodide auditwheel show` tells of a wheel: its extension modules and the libraries they need.

    audit_wheel.py WHEEL

pyodide-build wants Python 3.12 or newer: without one this ends with exit code 3 and says so. It gets a
virtual environment of its own in .build/venvs/audit, from requirements/audit.txt.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cache import fail, hash_files, is_fresh, mark_fresh, run, say
from interpreters import find_interpreters
from settings import CACHE, ROOT

NO_INTERPRETER = 3
WANTED = ("3.14", "3.13", "3.12")


def prepare_environment(interpreter: Path) -> Path:
    """Make the environment, unless it is there; return its folder of programs."""
    folder, lock = CACHE / "venvs" / "audit", ROOT / "requirements" / "audit.txt"
    key = hash_files([lock], str(interpreter))
    if not is_fresh("venv-audit", key) or not folder.is_dir():
        say("making an environment for pyodide auditwheel")
        shutil.rmtree(folder, ignore_errors=True)
        remedy = f"remove {folder}, then again"
        run([interpreter, "-m", "venv", folder], what=f"making {folder}", remedy=remedy)
        pip: list[str | Path] = [
            folder / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        run([*pip, "--require-hashes", "-r", lock], what="installing audit.txt", remedy=remedy)
        mark_fresh("venv-audit", key)
    return folder / "bin"


def main(wheel: Path) -> int:
    found = find_interpreters()
    version = next((version for version in WANTED if version in found), None)
    if version is None:
        print("pyodide-build needs Python 3.12 or newer, and this machine has none")
        return NO_INTERPRETER
    programs = prepare_environment(found[version])
    # It calls the program `wheel` by its bare name.
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    command: list[str | Path] = [programs / "pyodide", "auditwheel", "show", wheel]
    return subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        fail("audit_wheel.py wants one wheel", "say: audit_wheel.py dist/blake3-*.whl")
    raise SystemExit(main(Path(sys.argv[1]).absolute()))
