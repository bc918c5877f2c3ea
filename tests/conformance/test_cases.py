"""Every case of specs/conformance, each as a test of its own. What the cases cite, this suite cites."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from cra_wasm.conformance.answering import answer_case
from cra_wasm.conformance.runner import run_case
from cra_wasm.conformance.suite import SuiteCase, load_suite

CASES = load_suite(Path(__file__).resolve().parents[2] / "specs" / "conformance")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_case_is_answered_as_expected(case: SuiteCase) -> None:
    result = run_case(case, answer_case)
    if case.requires and importlib.util.find_spec("blake3") is None:
        assert result.status == "skipped"
    else:
        assert (result.status, result.error) == ("passed", None)
