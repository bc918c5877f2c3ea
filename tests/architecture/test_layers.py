"""The layers of cra_wasm: who may import whom. Imports under TYPE_CHECKING count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "cra_wasm"

LEAVES = {"errors", "ports", "model", "hashing", "platform"}

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "ports": {"model", "errors"},
    "hashing": {"errors", "platform"},
    "platform": {"ports", "model", "errors"},
    "atlas": {"model", "ports", "errors"},
    "carp": {"model", "ports", "errors", "hashing"},
    "trace": {"model", "ports", "errors", "hashing", "platform"},
    "storage": {"model", "ports", "errors", "platform"},
    "timing": {"model", "ports", "errors"},
    "runtime": {"atlas", "carp", "trace", "timing", "storage", *LEAVES},
    "resolver": {"runtime", "atlas", "carp", "trace", "timing", "storage", *LEAVES},
    "async_runtime": {"resolver", "trace", "storage", "model", "ports", "errors", "platform"},
    # The mock of the timers keeps the table that the real ones keep.
    "testing": {"storage", "model", "ports", "errors", "platform"},
    # The runtime once more, on the clock and under the names of a trace; nothing but a command is above it.
    "replay": {"resolver", "runtime", "carp", "trace", "storage", "testing", *LEAVES},
    "serve": {"errors"},
    # Another server on the machinery of `serve`; it reads checkpoints as a verification does, and no runtime.
    "witness": {"serve", "trace", "storage", "ports", "model", "errors", "platform"},
    "bridge": {"resolver", "timing", "trace", "model", "errors", "platform", "__init__"},
    "bench": {
        *(
            "bridge",
            "testing",
            "resolver",
            "runtime",
            "trace",
            "timing",
            "storage",
            "hashing",
            "model",
            "errors",
            "platform",
            "serve",
        ),
        "__init__",
    },
    "conformance": {
        *("resolver", "replay", "trace", "carp", "atlas", "hashing", "testing", "ports", "model", "errors"),
    },
    # `atlas check` reads atlases without a resolver, also those that could not be loaded alone.
    "commands": {
        *("bench", "conformance", "replay", "resolver", "runtime", "trace", "platform"),
        *("model", "errors", "serve", "witness", "__init__"),
    },
    "cli": {"commands", "errors", "__init__"},
}
"""Each part and what it may import. __init__ only names the public parts, for whoever asks."""

PLATFORM_ONLY = {"js", "pyodide", "pyodide_js", "threading", "asyncio", "micropip"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path, source: str | None = None) -> Iterator[str]:
    """Yield the absolute dotted name of every import in a file, or in a source that stands in for it."""
    package = ["cra_wasm", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8") if source is None else source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def project_parts(path: Path, source: str | None = None) -> set[str]:
    """Return the parts of cra_wasm that a file imports from."""
    parts = set()
    for name in imported_modules(path, source):
        pieces = name.split(".")
        if pieces[0] == "cra_wasm":
            known = pieces[1] if len(pieces) > 1 and pieces[1] in ALLOWED else "__init__"
            parts.add(known)
    return parts - {part_of(path)}


SOURCES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
)


def test_there_are_sources_to_check() -> None:
    assert len(SOURCES) > 30


def test_every_part_has_a_place_in_the_layers() -> None:
    assert {part_of(path) for path in SOURCES} == set(ALLOWED)


def test_the_layers_have_no_cycle() -> None:
    left = {part: set(below) - {"__init__"} for part, below in ALLOWED.items()}
    while left:
        bottom = {part for part, below in left.items() if not below}
        assert bottom, f"a cycle among {sorted(left)}"
        left = {part: below - bottom for part, below in left.items() if part not in bottom}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_imports_only_from_the_layers_below(path: Path) -> None:
    assert project_parts(path) <= ALLOWED[part_of(path)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_platform_touches_threads_the_event_loop_and_javascript(path: Path) -> None:
    if part_of(path) == "platform":
        return
    assert not {name.split(".")[0] for name in imported_modules(path)} & PLATFORM_ONLY


@pytest.mark.parametrize(
    "source",
    [
        "from ..trace.buffer import Batch",
        "from .. import trace",
        "import cra_wasm.trace.buffer",
        "def late():\n    from ..trace import buffer",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..trace.buffer import Batch",
    ],
)
def test_an_arrow_from_carp_to_trace_is_seen_in_every_form(source: str) -> None:
    offender = PACKAGE / "carp" / "patterns.py"
    assert "trace" in project_parts(offender, source)
    assert "trace" not in ALLOWED[part_of(offender)]
