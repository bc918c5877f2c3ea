"""Where the build keeps things, and what it builds for. Every other step imports its paths from here."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"
SITE = DIST / "site"
TEST_PYODIDE = DIST / "test-pyodide"
CACHE = ROOT / ".build"
"""Logs, stamps and everything that is kept by the hash of its inputs. Safe to delete."""

WEB = ROOT / "web"
NPM_PYODIDE = WEB / "node_modules" / "pyodide"

PYODIDE_VERSION = "314.0.7"
PYTHON_VERSION = "3.14"
WHEEL_TAGS = ["--implementation", "cp", "--abi", "cp314", "--platform", "pyemscripten_2026_0_wasm32"]
"""pip's words for the one platform that PYODIDE_VERSION runs."""

LOCK_INFO = {
    "abi_version": "2026_0",
    "arch": "wasm32",
    "platform": "emscripten_5_0_3",
    "python": "3.14.2",
}
"""The `info` of npm's own pyodide-lock.json; site.py refuses to build when the two differ."""
