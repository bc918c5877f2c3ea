"""Runs the tests of PyPI's blake3, taken from its pinned sdist at test time, inside Pyodide.

All of them but those named here; a name that upstream no longer has is an error, so that the list stays true.
"""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

LEFT_OUT = {
    "test_strided_array_fails": "wants numpy; tests/unit/test_blake3_interface.py has it with memoryviews",
    "test_example_dot_py": "starts a process, which Pyodide cannot",
    "test_mmap": "update_mmap is not offered: Pyodide's files lie in memory already",
    "test_reentrancy_deadlock": "starts threads, which Pyodide cannot",
}

# Imported at the top of the module, and used by the first of these only.
sys.modules.setdefault("numpy", ModuleType("numpy"))


def pytest_configure(config: pytest.Config) -> None:
    """Upstream reads its vectors from a file that it does not close; here warnings are errors."""
    config.addinivalue_line("filterwarnings", "ignore:unclosed file:ResourceWarning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = {item.name for item in items}
    if not LEFT_OUT.keys() <= names:
        raise pytest.UsageError(f"blake3's tests have no {', '.join(sorted(LEFT_OUT.keys() - names))}")
    config.hook.pytest_deselected(items=[item for item in items if item.name in LEFT_OUT])
    items[:] = [item for item in items if item.name not in LEFT_OUT]
