"""The very tests that CPython runs, run by pytest inside Pyodide (those marked cpython_only apart)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

TESTS = Path(__file__).resolve().parents[1]
FOLDERS = [
    f"tests/{name}" for name in ("smoke", "unit", "conformance", "blake3_sdist") if (TESTS / name).is_dir()
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_tests_passes_inside_pyodide(
    folder: str, run_tests_inside: Callable[[str], list[Element]]
) -> None:
    assert run_tests_inside(folder), f"no test of {folder} ran"
