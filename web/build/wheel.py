"""Build dist/cra_wasm-*.whl and install it into .venv the way a user gets it: not editable."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from cache import fail, hash_files, is_fresh, mark_fresh, run, say, sha256
from settings import DIST, ROOT

PIP_INSTALL = [sys.executable, *"-m pip install --quiet --no-deps --no-index --force-reinstall".split()]
INPUTS = ("cra_wasm", "pyproject.toml", "LICENSE", "web/build/lean_wheel.py")
SIZE_LIMIT_BYTES = 320_000
"""A page downloads the wheel before its first decision; on the site, as bytecode, it is some 2 % of what a
page downloads. Tools such as the benchmarks and the conformance runner are in it, 40 KB, so that the very
same code measures and answers in every runtime."""


def build_wheel() -> Path:
    """Build the wheel unless its sources are those of the last time; return its path."""
    key = hash_files(ROOT / name for name in INPUTS)
    wheels = sorted(DIST.glob("cra_wasm-*.whl"))
    if not is_fresh("wheel", key) or len(wheels) != 1:
        say("building the wheel")
        for stale in wheels:
            stale.unlink()
        run(
            [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", DIST],
            what="building the wheel",
            remedy="see [tool.hatch] in pyproject.toml; ./build.sh setup installs hatchling",
        )
        wheels = sorted(DIST.glob("cra_wasm-*.whl"))
        mark_fresh("wheel", key)
    check_wheel(wheels[0])
    return wheels[0]


def check_wheel(wheel: Path) -> None:
    size_bytes = wheel.stat().st_size
    if size_bytes > SIZE_LIMIT_BYTES:
        fail(
            f"{wheel.name} has {size_bytes} bytes, over {SIZE_LIMIT_BYTES}",
            "find what grew: unzip -v dist/*.whl",
        )
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    strays = [name for name in names if not name.startswith(("cra_wasm/", "cra_wasm-"))]
    if strays or "cra_wasm/py.typed" not in names:
        fail(
            f"{wheel.name} holds {strays or 'no py.typed'}",
            "see [tool.hatch.build.targets.wheel] in pyproject.toml",
        )


def install_wheel(wheel: Path) -> None:
    key = sha256(wheel.read_bytes()) + sys.prefix
    if is_fresh("installed", key) and any(Path(sys.prefix).glob("lib/python*/site-packages/cra_wasm")):
        return
    say(f"installing {wheel.name} into .venv")
    run(
        [*PIP_INSTALL, wheel],
        what=f"installing {wheel.name}",
        remedy="run ./build.sh clean, then again",
    )
    mark_fresh("installed", key)


if __name__ == "__main__":
    install_wheel(build_wheel())
