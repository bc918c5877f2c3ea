"""The limits of PROTOCOL 0.3 that no test reaches, since that would take too long, are those of the code.

The tests of what happens at them put a small number in their place.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cra_wasm.model import limits
from cra_wasm.runtime import session, sessions
from cra_wasm.trace import buffer

TEXT = (Path(__file__).resolve().parents[2] / "specs" / "PROTOCOL.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [
        ("0.3.7", [limits.MAX_CANDIDATES]),
        ("0.3.8", [limits.MAX_PATTERN_CHECKS]),
        ("0.3.10", [session.RESOLUTIONS_PER_SESSION, sessions.RESOLUTIONS_IN_ALL]),
        ("0.3.12", [session.IDEMPOTENCY_KEYS_PER_SESSION]),
        ("0.3.14", [buffer.DEFAULT_CAPACITY]),
        ("0.3.22", [limits.MAX_PACK_CHARS]),
        ("0.3.24", [limits.MAX_VALUES]),
    ],
)
def test_the_number_in_the_protocol_is_the_one_in_the_code(rule: str, numbers: list[int]) -> None:
    (limit,) = re.findall(rf"^\| {re.escape(rule)} \|.*\| (.*) \|$", TEXT, re.MULTILINE)
    assert [int(one.replace(",", "")) for one in re.findall(r"\d[\d,]*", limit)] == numbers
