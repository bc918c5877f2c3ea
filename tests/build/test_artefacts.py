"""What ./build.sh site leaves in dist/ is what it claims to be."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYODIDE_FOLDERS = [ROOT / "dist" / "site" / "pyodide", ROOT / "dist" / "test-pyodide"]


def own_wheel() -> Path:
    (wheel,) = (ROOT / "dist").glob("cra_wasm-*.whl")
    return wheel


def test_the_same_sources_give_the_same_wheel(tmp_path: Path) -> None:
    checkout = tmp_path / "elsewhere"
    checkout.mkdir()
    for name in ("pyproject.toml", "LICENSE", "web/build/lean_wheel.py"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, checkout / name)
    shutil.copytree(ROOT / "cra_wasm", checkout / "cra_wasm", copy_function=shutil.copyfile)
    for path in (checkout / "cra_wasm").rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o600)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)

    assert (tmp_path / own_wheel().name).read_bytes() == own_wheel().read_bytes()


def test_the_wheel_is_small_and_holds_only_the_package() -> None:
    names = zipfile.ZipFile(own_wheel()).namelist()

    assert own_wheel().stat().st_size < 320_000
    assert {name.split("/")[0] for name in names} == {"cra_wasm", "cra_wasm-0.1.0.dist-info"}
    assert "cra_wasm/py.typed" in names


@pytest.mark.parametrize("folder", PYODIDE_FOLDERS, ids=lambda folder: str(folder.name))
def test_the_lock_names_every_file_with_its_hash_and_needs_nothing_else(folder: Path) -> None:
    packages = json.loads((folder / "pyodide-lock.json").read_text())["packages"]

    assert {"cra-wasm", "pydantic", "pydantic-core", "rfc8785", "tzdata", "micropip"} <= packages.keys()
    for entry in packages.values():
        assert "/" not in entry["file_name"]
        digest = hashlib.sha256((folder / entry["file_name"]).read_bytes()).hexdigest()
        assert digest == entry["sha256"], entry["name"]
        assert set(entry["depends"]) <= packages.keys(), entry["name"]


def test_the_site_s_wheels_hold_bytecode_and_records_that_fit() -> None:
    for wheel in PYODIDE_FOLDERS[0].glob("*.whl"):
        archive = zipfile.ZipFile(wheel)
        names = archive.namelist()
        assert not [name for name in names if name.endswith(".py")], wheel.name
        (record,) = (name for name in names if name.endswith(".dist-info/RECORD"))
        rows = {row[0]: row[1] for row in csv.reader(io.StringIO(archive.read(record).decode()))}
        assert rows.keys() == {name for name in names if not name.endswith("/")}, wheel.name
        for name, written in rows.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest())
            assert name == record or written == f"sha256={digest.decode().rstrip('=')}", (wheel.name, name)


def test_nothing_on_the_site_names_another_origin() -> None:
    lock = (PYODIDE_FOLDERS[0] / "pyodide-lock.json").read_text()
    page = (ROOT / "dist" / "site" / "index.html").read_text()

    assert "://" not in lock
    assert 'src="http' not in page and 'href="http' not in page
