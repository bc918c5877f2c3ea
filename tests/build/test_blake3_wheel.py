"""The BLAKE3 wheel that ./build.sh blake3 leaves in dist/ is what it claims to be, and can be built again."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "web" / "build"))

import blake3_wheel as build  # noqa: E402
from interpreters import find_interpreters  # noqa: E402

WHEEL = ROOT / "dist" / build.WHEEL_NAME
NO_AUDIT = 3
"""What audit_wheel.py ends with where it finds no Python that pyodide-build runs on."""


@pytest.fixture(scope="module")
def entries() -> dict[str, bytes]:
    with zipfile.ZipFile(WHEEL) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_is_small_and_holds_the_module_its_licences_and_nothing_else(entries: dict[str, bytes]) -> None:
    assert WHEEL.stat().st_size < 40_000
    info = f"blake3-{build.VERSION}.dist-info"
    assert entries.keys() == {
        "blake3.abi3.so",
        *(f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL")),
        *(f"{info}/licenses/{name}" for name in ("LICENSE", "blake3/LICENSE")),
    }
    assert b"MIT License" in entries[f"{info}/licenses/LICENSE"]
    assert b"CC0 1.0" in entries[f"{info}/licenses/blake3/LICENSE"]


def test_its_record_fits(entries: dict[str, bytes]) -> None:
    (record,) = (name for name in entries if name.endswith("/RECORD"))
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(entries[record].decode()))}
    assert rows.keys() == entries.keys()
    for name, content in entries.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        assert rows[name] == (["", ""] if name == record else [f"sha256={digest}", str(len(content))])


def test_no_index_would_take_it(entries: dict[str, bytes]) -> None:
    metadata = BytesParser().parsebytes(entries[f"blake3-{build.VERSION}.dist-info/METADATA"])
    assert (metadata["Name"], metadata["Version"]) == ("blake3", build.VERSION)
    assert "+" in metadata["Version"], "a local version is what marks it as nobody's release"
    assert "Private :: Do Not Upload" in metadata.get_all("Classifier", [])


def test_it_is_compared_with_the_release_whose_sources_it_compiles() -> None:
    assert importlib.metadata.version("blake3") == build.SOURCE_VERSION
    assert f"blake3=={build.SOURCE_VERSION} " in (ROOT / "requirements" / "blake3-sdist.txt").read_text()


def test_the_extension_names_no_folder_of_this_machine(entries: dict[str, bytes]) -> None:
    extension = entries["blake3.abi3.so"]
    assert extension.startswith(b"\0asm\1\0\0\0")
    for folder in (ROOT, Path.home(), Path(sys.prefix)):
        assert str(folder).encode() not in extension


def test_the_same_sources_give_the_same_wheel_in_another_folder(tmp_path: Path) -> None:
    checkout = tmp_path / "elsewhere" / "checkout"
    for name in ("native", "requirements", "web/build"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, copy_function=shutil.copyfile, ignore=ignored)
    shutil.copyfile(ROOT / "LICENSE", checkout / "LICENSE")
    # The downloads are shared, the compiler's caches are not.
    home = checkout / ".build" / "native"
    home.mkdir(parents=True)
    for downloaded in (build.SOURCES, build.HOME / "tools", ROOT / ".build" / "stamps"):
        target = (checkout / downloaded.relative_to(ROOT)).absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(downloaded, target_is_directory=True)
    command = [sys.executable, checkout / "web" / "build" / "blake3_wheel.py", "--to", tmp_path / "again"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "downloading" not in done.stdout
    assert (tmp_path / "again" / WHEEL.name).read_bytes() == WHEEL.read_bytes()


# 3.13 starts a static object with another reference count than 3.12; PyModuleDef_Init writes over both.
AGAINST_CPYTHON = """
#include <Python.h>
#undef PyObject_HEAD_INIT
#define PyObject_HEAD_INIT(type) {{1}, (type)},
#include "%s"
"""


def test_python_abi3_h_says_what_cpython_s_own_headers_say(tmp_path: Path) -> None:
    """Compiled against either, the module is the same, byte for byte: names, numbers, signatures, layouts."""
    folders = find_headers()
    if not folders:
        pytest.skip("no CPython 3.12 or newer with its headers on this machine")
    module = build.NATIVE / "blake3module.c"
    own = tmp_path / "own.o"
    build.compile_object(module, own)
    for folder in folders:
        against = tmp_path / "against.c"
        against.write_text(AGAINST_CPYTHON % module)
        options = ["-DCRA_WASM_CPYTHON_HEADERS", "-DPy_LIMITED_API=0x030c0000", f"-I{folder}"]
        pyconfig = Path(__file__).with_name("pyconfig_wasm32.h")
        build.compile_object(against, tmp_path / "theirs.o", *options, "-include", str(pyconfig))
        assert (tmp_path / "theirs.o").read_bytes() == own.read_bytes(), folder


def find_headers() -> list[Path]:
    folders = []
    for version, interpreter in find_interpreters().items():
        command = [interpreter, "-c", "import sysconfig; print(sysconfig.get_path('include'))"]
        folder = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
        if version != "3.11" and (folder / "Python.h").is_file():
            folders.append(folder)
    return folders


def test_pyodide_auditwheel_finds_nothing_that_it_needs() -> None:
    command = [sys.executable, ROOT / "web" / "build" / "audit_wheel.py", WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == NO_AUDIT:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    # The module's name, and no library below it.
    assert done.stdout.split("\n")[-3:] == ["blake3.abi3.so:", "", ""], done.stdout
