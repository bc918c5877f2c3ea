"""Write pyodide-lock.json: which wheel has which package, its sha256, what it needs and what it can import.

The schema is that of npm's own lock, so that loadPackage, loadPackagesFromImports and micropip all read it.
PyPI's pyodide-lock tool needs Python 3.12 and refuses the platform tag of Pyodide 314, hence this page.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from email.parser import BytesParser
from pathlib import Path, PurePosixPath
from typing import Any

from cache import fail, sha256
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from settings import LOCK_INFO, PYTHON_VERSION

ENVIRONMENT = {
    "extra": "",
    "implementation_name": "cpython",
    "implementation_version": LOCK_INFO["python"],
    "os_name": "posix",
    "platform_machine": "wasm32",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Emscripten",
    "platform_version": "",
    "python_full_version": LOCK_INFO["python"],
    "python_version": PYTHON_VERSION,
    "sys_platform": "emscripten",
}
"""What markers of dependencies see inside Pyodide."""


def make_lock(wheels: Iterable[Path]) -> bytes:
    """Return the lock for these wheels as canonical JSON text; every dependency must be among them."""
    packages = {}
    for wheel in wheels:
        entry = read_wheel(wheel)
        packages[canonicalize_name(entry["name"])] = entry
    for entry in packages.values():
        missing = [name for name in entry["depends"] if name not in packages]
        if missing:
            fail(
                f"{entry['name']} needs {', '.join(missing)}, which the site does not have",
                "add it to requirements/pyodide-site.in and run web/build/wheels.py lock",
            )
    lock = {"info": LOCK_INFO, "packages": dict(sorted(packages.items()))}
    return (json.dumps(lock, indent=1, sort_keys=True) + "\n").encode()


def read_wheel(wheel: Path) -> dict[str, Any]:
    """Return the lock's entry for one wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata_name = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(metadata_name))
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    return {
        "depends": sorted(
            canonicalize_name(needed.name)
            for needed in requirements
            if needed.marker is None or needed.marker.evaluate(ENVIRONMENT)
        ),
        "file_name": wheel.name,
        "imports": sorted(top_level_modules(names)),
        "install_dir": "site",
        "name": metadata["Name"],
        "package_type": "package",
        "sha256": sha256(wheel.read_bytes()),
        "unvendored_tests": False,
        "version": metadata["Version"],
    }


def top_level_modules(names: Iterable[str]) -> set[str]:
    """Return what can be imported from a wheel's root."""
    modules = set()
    for name in names:
        path = PurePosixPath(name)
        if path.suffix not in (".py", ".pyc", ".so") or path.parts[0].endswith((".dist-info", ".data")):
            continue
        modules.add(path.parts[0].split(".")[0])
    return modules
