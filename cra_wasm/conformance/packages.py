"""Packages of a case: the files that it holds, as the zip that the loader takes."""

from __future__ import annotations

import io
import json
import zipfile

from ..errors import Json


def zip_of(files: dict[str, Json]) -> bytes:
    """Return a zip of files by path; one that is no text is written as JSON."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content if isinstance(content, str) else json.dumps(content))
    return buffer.getvalue()
