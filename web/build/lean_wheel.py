"""A hatchling hook: the wheel carries its inner modules without comments and docstrings.

A page downloads the wheel before its first decision, and a quarter of the sources is explanation. What a user
calls keeps its docstrings; what only this project's developers read has them in the repository. Each removed line
leaves an empty one, so the line numbers of tracebacks stay true.
"""

from __future__ import annotations

import ast
import io
import tempfile
import tokenize
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PUBLIC = (
    "__init__.py",
    "bridge.py",
    "errors.py",
    "ports.py",
    "resolver.py",
    "testing.py",
    "model/atlas.py",
    "model/event.py",
    "model/request.py",
    "model/resolution.py",
    "storage/jsonl.py",
    "storage/memory.py",
    "storage/null.py",
    "storage/sqlite.py",
    "trace/buffer.py",
    "trace/processor.py",
    "trace/raw.py",
    "trace/verify.py",
)
"""Modules that hold the names of cra_wasm.__all__, or that a user imports by path."""

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class CustomBuildHook(BuildHookInterface[Any]):
    """Puts the lean copies into the wheel, in place of the sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the copies; an editable install keeps the sources."""
        if self.target_name != "wheel" or version == "editable":
            return
        package = Path(self.root) / "cra_wasm"
        self._folder = tempfile.TemporaryDirectory()
        for path in sorted(package.rglob("*.py")):
            name = path.relative_to(package)
            if any(name.match(pattern) for pattern in PUBLIC if "/" in pattern or len(name.parts) == 1):
                continue
            copy = Path(self._folder.name) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(without_explanation(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
            build_data["force_include"][str(copy)] = f"cra_wasm/{name.as_posix()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copies."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def without_explanation(source: str) -> str:
    """Return a source with its docstrings and comments emptied, line for line."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _Documented):
            for statement in node.body:
                if _is_text(statement):
                    only = len(node.body) == 1 and not isinstance(node, ast.Module)
                    lines[statement.lineno - 1 : statement.end_lineno] = [
                        f"{' ' * statement.col_offset}..." if only else "",
                        *[""] * ((statement.end_lineno or statement.lineno) - statement.lineno),
                    ]
    text = "\n".join(lines) + "\n"
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    return "\n".join(lines) + "\n"


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
