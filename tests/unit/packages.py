"""Atlas packages for tests: from a dict of paths and contents to a folder or to a zip."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cra_wasm.atlas.loader import read_atlas
from cra_wasm.errors import InvalidInput

from .building import accept_schema

Files = Mapping[str, Any]


def content_of(value: Any) -> bytes:
    """Return bytes as they are, text as UTF-8, all else as JSON."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def as_folder(root: Path, files: Files) -> Path:
    root.mkdir(exist_ok=True)
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content_of(value))
    return root


def as_zip(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, value in files.items():
            archive.writestr(name, content_of(value))
    return buffer.getvalue()


def zip_file(root: Path, files: Files) -> Path:
    path = root.with_suffix(".zip")
    path.write_bytes(as_zip(files))
    return path


FORMS: dict[str, Callable[[Path, Files], Any]] = {
    "a folder": as_folder,
    "the bytes of a zip": lambda _root, files: as_zip(files),
    "a zip file": zip_file,
}
each_form = pytest.mark.parametrize("form", FORMS)


def findings_in(source: Any, **options: Any) -> list[tuple[str, str, str]]:
    """Return (file, pointer, code) of all that an atlas is refused for."""
    with pytest.raises(InvalidInput) as caught:
        read_atlas(source, check_schema=accept_schema, **options)
    assert caught.value.code == "invalid_atlas"
    found = caught.value.details["findings"]
    assert all(set(one) <= {"pointer", "code", "message", "file"} and one["message"] for one in found)
    return [(one.get("file", ""), one["pointer"], one["code"]) for one in found]
