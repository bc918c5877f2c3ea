"""A hatchling hook: the wheel carries no comments, and docstrings only where a user calls.

A page downloads the wheel before its first decision, and a quarter of the sources is explanation that this
project's developers read in the repository. Each removed line leaves an empty one, so the line numbers of
tracebacks stay true.
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
    "errors.py",
    "resolver.py",
    "signing/storage.py",
    "storage/jsonl.py",
    "storage/memory.py",
    "storage/null.py",
    "storage/sqlite.py",
    "trace/buffer.py",
    "trace/processor.py",
    "trace/verify.py",
)
"""Modules whose docstrings a user of Python asks for with help()."""

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
            copy = Path(self._folder.name) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            source = path.read_text(encoding="utf-8")
            if name.as_posix() not in PUBLIC:
                source = without_docstrings(source)
            copy.write_text(without_comments(source), encoding="utf-8", newline="\n")
            build_data["force_include"][str(copy)] = f"cra_wasm/{name.as_posix()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copies."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def without_docstrings(source: str) -> str:
    """Return a source with its docstrings emptied, those of constants too, line for line."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _Documented):
            for statement in filter(_is_text, node.body):
                only = len(node.body) == 1 and not isinstance(node, ast.Module)
                last = statement.end_lineno or statement.lineno
                lines[statement.lineno - 1 : last] = [""] * (last - statement.lineno + 1)
                if only:
                    lines[statement.lineno - 1] = f"{' ' * statement.col_offset}..."
    return "\n".join(lines) + "\n"


def without_comments(source: str) -> str:
    """Return a source with its comments emptied, line for line."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
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
