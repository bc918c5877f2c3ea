"""The CPythons of this machine that cra-wasm promises to run on, each with its own virtual environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from cache import hash_files, is_fresh, mark_fresh, run, say, sha256
from settings import CACHE, ROOT

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
HOMES = (
    "~/.pyenv/versions/*/bin",
    "~/.local/share/uv/python/cpython-*/bin",
    "/usr/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/opt/hostedtoolcache/Python/*/*/bin",
)
PROBE = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2], sys.implementation.name)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One virtual environment of the matrix: an interpreter and a locked set of packages."""

    version: str
    interpreter: Path
    packages: str
    """`lowest` or `test`, the name of a lock in requirements/."""

    @property
    def folder(self) -> Path:
        return CACHE / "venvs" / f"{self.version}-{self.packages}"

    def prepare(self, wheel: Path) -> None:
        """Make the environment, unless it is there, and put the wheel into it."""
        name, lock = self.folder.name, ROOT / "requirements" / f"{self.packages}.txt"
        python = self.folder / "bin" / "python"
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        remedy = f"remove {self.folder}, then again"
        key = hash_files([lock], str(self.interpreter))
        if not is_fresh(f"venv-{name}", key) or not python.exists():
            say(f"making an environment for CPython {self.version} ({self.packages})")
            shutil.rmtree(self.folder, ignore_errors=True)
            run([self.interpreter, "-m", "venv", self.folder], what=f"making {self.folder}", remedy=remedy)
            run([*pip, "--require-hashes", "-r", lock], what=f"installing {lock.name}", remedy=remedy)
            mark_fresh(f"venv-{name}", key)
            mark_fresh(f"wheel-{name}", "")
        wheel_key = sha256(wheel.read_bytes())
        if not is_fresh(f"wheel-{name}", wheel_key):
            run(
                [*pip, "--no-deps", "--no-index", "--force-reinstall", wheel],
                what=f"installing {wheel.name}",
                remedy=remedy,
            )
            mark_fresh(f"wheel-{name}", wheel_key)


def find_environments() -> list[Environment]:
    """Return the matrix: the newest packages on every interpreter, and the lowest on the oldest of them.

    The interpreter of .venv is left out where the packages are the newest: there .venv itself is tested.
    """
    found = dict(sorted(find_interpreters().items(), key=lambda item: SUPPORTED.index(item[0])))
    own = "{}.{}".format(*sys.version_info)
    oldest = next(iter(found))
    lowest = Environment(version=oldest, interpreter=found[oldest], packages="lowest")
    newest = [
        Environment(version=version, interpreter=interpreter, packages="test")
        for version, interpreter in found.items()
        if version != own
    ]
    return [lowest, *newest]


def find_interpreters() -> dict[str, Path]:
    """Return one CPython of each supported version; one that cannot make an environment does not count."""
    found: dict[str, Path] = {}
    for candidate in candidates():
        done = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, check=False)
        version, _, implementation = done.stdout.strip().partition(" ")
        if done.returncode == 0 and version in SUPPORTED and implementation == "cpython":
            found.setdefault(version, candidate)
    return found


def candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    for version in SUPPORTED:
        name = f"python{version}"
        on_path = shutil.which(name)
        if on_path:
            yield Path(on_path)
        for home in HOMES:
            yield from map(Path, sorted(glob(f"{Path(home).expanduser()}/{name}")))
