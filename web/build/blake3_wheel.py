"""Build dist/blake3-*.whl, the native BLAKE3 for Pyodide; native/blake3/README.md tells what it is.

    blake3_wheel.py              build it, unless its inputs are those of the last time
    blake3_wheel.py --to FOLDER  build it anew into FOLDER, whatever the cache says

The compiler (100 MB) and the sdist come by pip, pinned by sha256, and only when something has to be built.
The same inputs give the same bytes in any folder: no path gets into what is compiled, and the archive's
dates and order are fixed (its compression is Python's zlib). tests/build holds it to that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cache import fail, hash_files, is_fresh, mark_fresh, run, say
from compile_archive import write_record, write_zip
from settings import CACHE, DIST, ROOT, WHEEL_TAGS

SOURCE_VERSION = "1.0.11"
"""Of PyPI's `blake3`; requirements/blake3-sdist.txt and test.in name the same."""
VERSION = f"{SOURCE_VERSION}+crawasm1"
"""A local version, which no index takes. Count its end up when the module changes in what it does."""
TAG = f"cp312-abi3-{WHEEL_TAGS[-1]}"
WHEEL_NAME = f"blake3-{VERSION}-{TAG}.whl"
SIZE_LIMIT_BYTES = 40_000

NATIVE = ROOT / "native" / "blake3"
REQUIREMENTS = ROOT / "requirements"
HOME = CACHE / "native"
SOURCES = HOME / f"blake3-{SOURCE_VERSION}"
VENDORED = SOURCES / "c_impl" / "vendor"
INPUTS = [
    *(path for path in NATIVE.iterdir() if path.name not in ("README.md", "__pycache__")),
    REQUIREMENTS / "native.txt",
    REQUIREMENTS / "blake3-sdist.txt",
    ROOT / "LICENSE",
    *(Path(__file__).with_name(name) for name in ("blake3_wheel.py", "compile_archive.py", "settings.py")),
]

COMPILED = [
    NATIVE / "blake3module.c",
    NATIVE / "wasm" / "dispatch.c",
    VENDORED / "blake3.c",
    VENDORED / "blake3_sse41.c",
]
COMPILE = [
    *"-std=c11 -O3 -g0 -Wall -Wextra -Werror -DNDEBUG -fPIC -fvisibility=hidden".split(),
    *"-target wasm32-wasi -mcpu=generic+simd128+bulk_memory".split(),
    # blake3_impl.h declares the SSE4.1 functions for x86 only; wasm/immintrin.h makes them WebAssembly's.
    *"-DIS_X86 -DBLAKE3_NO_SSE2 -DBLAKE3_NO_AVX2 -DBLAKE3_NO_AVX512".split(),
    f'-DWHEEL_VERSION="{VERSION}"',
    f"-I{NATIVE / 'wasm'}",
    f"-I{VENDORED}",
]
LINK = [
    *"--shared --experimental-pic --import-memory --no-entry --strip-all -O2".split(),
    *"--unresolved-symbols=import-dynamic --export=PyInit_blake3".split(),
]


def build_wheel() -> Path:
    """Build the wheel unless its inputs are those of the last time; return its path."""
    wheel = DIST / WHEEL_NAME
    key = hash_files(INPUTS)
    if not is_fresh("blake3", key) or not wheel.is_file() or not SOURCES.is_dir():
        for stale in DIST.glob("blake3-*.whl"):
            stale.unlink()
        write_wheel(DIST)
        mark_fresh("blake3", key)
    return wheel


def write_wheel(folder: Path) -> Path:
    """Compile and pack the wheel into `folder`; return its path."""
    fetch_sources()
    fetch_compiler()
    say("compiling BLAKE3 to WebAssembly")
    with tempfile.TemporaryDirectory() as objects:
        extension = compile_extension(Path(objects))
    info = f"blake3-{VERSION}.dist-info"
    entries = {
        "blake3.abi3.so": extension,
        f"{info}/METADATA": (NATIVE / "METADATA").read_text().format(version=VERSION).encode(),
        f"{info}/WHEEL": wheel_file(),
        f"{info}/licenses/LICENSE": (ROOT / "LICENSE").read_bytes(),
        f"{info}/licenses/blake3/LICENSE": (SOURCES / "LICENSE").read_bytes(),
    }
    entries[f"{info}/RECORD"] = write_record(entries, f"{info}/RECORD")
    content = write_zip(entries)
    if len(content) > SIZE_LIMIT_BYTES:
        fail(
            f"{WHEEL_NAME} has {len(content)} bytes, over {SIZE_LIMIT_BYTES}",
            "find what grew: unzip -v dist/blake3-*.whl",
        )
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / WHEEL_NAME
    wheel.write_bytes(content)
    return wheel


def wheel_file() -> bytes:
    lines = ["Wheel-Version: 1.0", "Generator: cra-wasm", "Root-Is-Purelib: false", f"Tag: {TAG}"]
    return ("\n".join(lines) + "\n").encode()


def compile_extension(objects: Path) -> bytes:
    """Return the side module that Pyodide loads."""
    names = []
    for source in COMPILED:
        compile_object(source, objects / f"{source.stem}.o")
        names.append(f"{source.stem}.o")
    # Linked by bare names, from within the folder: no path of this machine can get in.
    run_zig(["wasm-ld", *LINK, *names, "-o", "blake3.abi3.so"], cwd=objects)
    return (objects / "blake3.abi3.so").read_bytes()


def compile_object(source: Path, target: Path, *options: str) -> None:
    run_zig(["cc", *COMPILE, *options, "-c", str(source), "-o", str(target)], cwd=target.parent)


def run_zig(arguments: Sequence[str], *, cwd: Path) -> None:
    """Run the pinned zig, which is clang and wasm-ld in one, with its caches in .build."""
    os.environ["ZIG_GLOBAL_CACHE_DIR"] = os.environ["ZIG_LOCAL_CACHE_DIR"] = str(HOME / "zig-cache")
    run(
        [HOME / "tools" / "ziglang" / "zig", *arguments],
        cwd=cwd,
        what=f"zig {arguments[0]}",
        remedy="the message above names file and line in native/blake3",
    )


def fetch_compiler() -> None:
    lock, folder = REQUIREMENTS / "native.txt", HOME / "tools"
    key = hash_files([lock], sys.platform)
    if is_fresh("native-tools", key) and folder.is_dir():
        return
    say("downloading the C compiler, ziglang (100 MB)")
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    run(
        [*pip, "--require-hashes", "--target", folder, "--requirement", lock],
        what="pip install of ziglang",
        remedy="check that pip reaches a package index; the version is fixed in requirements/native.txt",
    )
    mark_fresh("native-tools", key)


def fetch_sources() -> None:
    lock = REQUIREMENTS / "blake3-sdist.txt"
    key = hash_files([lock])
    if is_fresh("native-sources", key) and SOURCES.is_dir():
        return
    say("downloading the sources of BLAKE3")
    shutil.rmtree(SOURCES, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        # pip checks the sha256 before it asks the backend for anything.
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        where = ["--no-build-isolation", "--dest", folder, "--require-hashes", "--requirement", str(lock)]
        done = subprocess.run(
            [*pip, *where],
            env={**os.environ, "PYTHONPATH": str(NATIVE / "sdist_backend")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            print(done.stdout.decode(errors="replace")[-3_000:], file=sys.stderr)
            fail(
                f"pip download of {lock.name} failed (exit {done.returncode})",
                "check that pip reaches a package index; version and hash are fixed in requirements/",
            )
        (archive,) = Path(folder).glob("blake3-*.tar.gz")
        with tarfile.open(archive) as source:
            if hasattr(tarfile, "data_filter"):
                source.extractall(HOME, filter="data")
            else:  # Python before 3.11.4; the archive is pinned by its hash
                source.extractall(HOME)
    mark_fresh("native-sources", key)


def main(arguments: Sequence[str]) -> None:
    if len(arguments) == 2 and arguments[0] == "--to":
        write_wheel(Path(arguments[1]))
    elif not arguments:
        build_wheel()
    else:
        fail(f"blake3_wheel.py does not know {arguments}", "say --to FOLDER, or nothing")


if __name__ == "__main__":
    main(sys.argv[1:])
