"""Every numbered rule of specs/PROTOCOL.md is cited by a case or a test, and every citation names a rule.

A case cites in its `clauses`. A test cites in a comment or docstring, as `PROTOCOL 2.4.3`, or several
after one `PROTOCOL`, parted by commas: grep -rn "PROTOCOL 2.4.3" tests.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULE = re.compile(r"^(?:- |\| )?(?:\*\*)?(\d+\.\d+\.\d+)\b", re.MULTILINE)
HEADING = re.compile(r"^### (\d+\.\d+) ", re.MULTILINE)
CITATION = re.compile(r"PROTOCOL ((?:\d+\.\d+(?:\.\d+)?)(?:, \d+\.\d+(?:\.\d+)?)*)")

TEXT = (ROOT / "specs" / "PROTOCOL.md").read_text(encoding="utf-8")
RULES = RULE.findall(TEXT)
CLAUSES = HEADING.findall(TEXT)


def cited_by_cases() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "specs" / "conformance").rglob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        cases = document.get("cases", [document]) if isinstance(document, dict) else []
        for case in cases:
            found.update(case["clauses"])
    return found


def cited_in(*folders: str) -> set[str]:
    found: set[str] = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".ts"} and path != Path(__file__):
                for numbers in CITATION.findall(path.read_text(encoding="utf-8")):
                    found.update(numbers.split(", "))
    return found


def by_number(numbers: set[str]) -> list[str]:
    return sorted(numbers, key=lambda number: [int(part) for part in number.split(".")])


def test_the_rules_of_each_clause_are_numbered_through() -> None:
    assert len(RULES) == len(set(RULES))
    of_clause: dict[str, list[int]] = {clause: [] for clause in CLAUSES}
    for rule in RULES:
        clause, _, number = rule.rpartition(".")
        of_clause[clause].append(int(number))
    for clause, numbers in of_clause.items():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), clause


def test_every_rule_is_cited_by_a_case_or_a_test() -> None:
    uncited = set(RULES) - cited_by_cases() - cited_in("tests")
    assert not uncited, f"no case and no test cites {', '.join(by_number(uncited))}"


def test_the_cases_cite_rules_and_not_whole_clauses() -> None:
    assert by_number(cited_by_cases() - set(RULES)) == []


@pytest.mark.parametrize("folder", ["tests", "cra_wasm", "web/src", "web/build"])
def test_a_citation_names_a_rule_or_a_clause(folder: str) -> None:
    sections = {number.split(".")[0] for number in CLAUSES}
    assert by_number(cited_in(folder) - {*RULES, *CLAUSES, *sections}) == []
