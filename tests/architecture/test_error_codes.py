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
