"""Stands in for the build backend of PyPI's `blake3`, so that pip hands over its sdist without building it.

`pip download` asks the backend of an sdist for its metadata, even where only the archive is wanted. The real
one, maturin, would need Rust and a crate registry for that. This one answers from the PKG-INFO that lies in
the archive; it can build nothing. web/build/blake3_wheel.py puts this folder on the path of that one call.
"""

from __future__ import annotations

import shutil
from pathlib import Path


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: object = None) -> str:
    name = "blake3.dist-info"
    (Path(metadata_directory) / name).mkdir()
    shutil.copyfile("PKG-INFO", Path(metadata_directory) / name / "METADATA")
    return name
