"""Assemble dist/site, and dist/test-pyodide for pytest-pyodide.

    dist/site/pyodide/   core from npm, standard library and wheels as bytecode, our own pyodide-lock.json
    dist/site/lib/       what web/build/bundle.mjs makes
    dist/site/examples/  examples/atlases/*.atlas.json
    dist/site/           web/static/

Every part is kept by the hash of its inputs, so building again without a change takes a second or two.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cache import fail, hash_files, is_fresh, mark_fresh, run, say, sha256, sync_folder
from pyodide_lock import make_lock
from settings import (
    CACHE,
    DIST,
    LOCK_INFO,
    NPM_PYODIDE,
    PYODIDE_VERSION,
    ROOT,
    SITE,
    TEST_PYODIDE,
    WEB,
)
from wheels import fetch_wheels

CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
COMPILER = [Path(__file__).with_name(name) for name in ("compile_archive.py", "bytecode.mjs")]


def build_site() -> None:
    check_core()
    stdlib = NPM_PYODIDE / "python_stdlib.zip"
    own_wheel, blake3_wheel = find_wheel("cra_wasm"), find_wheel("blake3")
    *site_wheels, compiled_stdlib = recompile_all([*fetch_wheels("site"), own_wheel, stdlib])
    site_wheels.append(blake3_wheel)  # it holds no Python to compile
    core: dict[str, Path | bytes] = {name: NPM_PYODIDE / name for name in CORE}
    core["python_stdlib.zip"] = compiled_stdlib

    # The tests' own wheels stay source: they are imported once a run, and pytest shows their lines.
    # pyodide.js is what pytest-pyodide's page and its Node driver ask for; our plain wheel is for micropip.
    test_core = {**core, "pyodide.js": NPM_PYODIDE / "pyodide.js", own_wheel.name: own_wheel}
    sync_folder(TEST_PYODIDE, with_lock(test_core, [*site_wheels, *fetch_wheels("test")]))

    files = {f"pyodide/{name}": source for name, source in with_lock(core, site_wheels).items()}
    for atlas in sorted((ROOT / "examples" / "atlases").glob("*.atlas.json")):
        files[f"examples/{atlas.name}"] = atlas
    static = WEB / "static"
    files |= {path.relative_to(static).as_posix(): path for path in static.rglob("*") if path.is_file()}
    written = sync_folder(SITE, files, keep=["lib"])
    bundle_web()
    size_bytes = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file())
    say(f"dist/site: {written} files changed, {size_bytes / 1e6:.1f} MB in all")


def with_lock(core: dict[str, Path | bytes], wheels: list[Path]) -> dict[str, Path | bytes]:
    """Return the files of one Pyodide folder: core, wheels and the lock over these wheels."""
    return {**core, **{path.name: path for path in wheels}, "pyodide-lock.json": make_lock(wheels)}


def check_core() -> None:
    """Refuse a core that these settings were not written for: a wrong ABI fails at run time, and oddly."""
    package = NPM_PYODIDE / "package.json"
    if not package.is_file():
        fail("web/node_modules has no pyodide", "run ./build.sh setup")
    version = json.loads(package.read_text())["version"]
    info = json.loads((NPM_PYODIDE / "pyodide-lock.json").read_text())["info"]
    if version != PYODIDE_VERSION or any(info.get(key) != value for key, value in LOCK_INFO.items()):
        fail(
            f"npm's pyodide is {version} with {info}, not {PYODIDE_VERSION} with {LOCK_INFO}",
            "change web/build/settings.py and requirements/pyodide-*.in together with web/package.json",
        )


def find_wheel(name: str) -> Path:
    wheels = sorted(DIST.glob(f"{name}-*.whl"))
    if len(wheels) != 1:
        fail(f"dist/ holds {len(wheels)} {name} wheels, not 1", "run ./build.sh wheel and ./build.sh blake3")
    return wheels[0]


def recompile_all(archives: list[Path]) -> list[Path]:
    """Return the archives' bytecode twins, made where the cache lacks them: two at a time."""
    missing = [path.name.split("-")[0] for path in archives if not compiled_path(path).is_file()]
    if missing:
        say(f"compiling to bytecode inside Pyodide: {', '.join(missing)}")
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(recompile, archives))


def compiled_path(archive: Path) -> Path:
    key = hash_files(COMPILER, PYODIDE_VERSION, sha256(archive.read_bytes()))
    # A pure wheel becomes one for this Python only, and its name says so, as `pyodide py-compile` has it.
    return CACHE / "bytecode" / key / archive.name.replace("-py2.py3-", "-py3-").replace("-py3-", "-cp314-")


def recompile(archive: Path) -> Path:
    """Return the archive's bytecode twin, made once."""
    target = compiled_path(archive)
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        home = "/lib/python3.14/site-packages" if archive.suffix == ".whl" else "/lib/python314.zip"
        run(
            ["node", COMPILER[1], NPM_PYODIDE, archive, target, home],
            what=f"compiling {archive.name} inside Pyodide",
            remedy="a SyntaxError names the file; otherwise run ./build.sh clean, then again",
        )
    return target


def bundle_web() -> None:
    """Let web/build/bundle.mjs write dist/site/lib, unless its inputs are those of the last time."""
    names = ("src", "build/bundle.mjs", "package.json", "package-lock.json", "tsconfig.json")
    key = hash_files(WEB / name for name in names)
    if is_fresh("bundle", key) and (SITE / "lib" / "cra-wasm.js").is_file():
        return
    say("bundling web/src")
    run(
        ["node", WEB / "build" / "bundle.mjs"],
        cwd=WEB,
        what="bundling web/src",
        remedy="the message above names the file; ./build.sh check gives tsc's and eslint's view of it",
    )
    mark_fresh("bundle", key)


if __name__ == "__main__":
    build_site()
