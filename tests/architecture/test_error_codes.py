"""Every error code that cra_wasm raises stands in specs/PROTOCOL.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RAISED = {
    "CRAError",
    "InvalidInput",
    "NotFound",
    "InvalidState",
    "BufferFull",
    "BackendFailure",
    "ExecutionFailed",
}


def codes_in(source: str) -> Iterator[str]:
    """Yield the literal codes of errors that a source makes, and of `code=` arguments."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in RAISED and node.args and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)
        for keyword in node.keywords:
            if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                yield str(keyword.value.value)


def documented_codes() -> set[str]:
    text = (ROOT / "specs" / "PROTOCOL.md").read_text(encoding="utf-8")
    table = text.split("## 4 Error codes")[1].split("## 5")[0]
    return set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", table))


RAISED_CODES = sorted(
    {
        code
        for path in (ROOT / "cra_wasm").rglob("*.py")
        for code in codes_in(path.read_text(encoding="utf-8"))
    }
)


def test_codes_are_found_in_the_sources() -> None:
    assert {"session_ended", "invalid_goal", "buffer_full"} <= set(RAISED_CODES)


@pytest.mark.parametrize("code", RAISED_CODES)
def test_a_raised_code_is_documented(code: str) -> None:
    assert code in documented_codes()


MADE_OF_FIELDS = {"invalid_required_capabilities", "invalid_context_hints", "invalid_atlas_ids"}
"""Codes that arguments.py makes of the field's name."""


def test_a_documented_code_is_raised() -> None:
    table, _, typescript = (
        (ROOT / "specs" / "PROTOCOL.md")
        .read_text(encoding="utf-8")
        .split("## 4 Error codes")[1]
        .split("## 5")[0]
        .partition("Only the TypeScript side raises")
    )
    first_column = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    for documented, folder, suffix in ((first_column, "cra_wasm", "py"), (typescript, "web/src", "ts")):
        code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob(f"*.{suffix}"))
        codes = set(re.findall(r"`([a-z_]+)`", documented)) - MADE_OF_FIELDS
        assert len(codes) > 15
        assert not {one for one in codes if f'"{one}"' not in code}
