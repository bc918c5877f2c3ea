"""A Resolver answers and records what the protocol says, in both modes, whatever its life was: same
resolutions, same events, same hashes. `pytest --help` tells, under --examples, how to lead more lives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cra_wasm.trace.verify import verify_lines

from .generating import lives
from .three_ways import ThreeWays


@pytest.mark.timeout(900)
@settings.get_profile("long")
@given(life=lives(), own_processor=st.booleans())
def test_reference_immediate_and_deferred_answer_and_record_the_same(
    life: dict[str, Any], own_processor: bool
) -> None:
    ways = ThreeWays(life, own_processor=own_processor)
    for step in [("load", 0), ("load", 2), ("create", "bot-1"), ("create", "human"), *life["steps"]]:
        ways.step(*step)
    for lines in ways.end_of_life().values():
        assert verify_lines(lines.splitlines(keepends=True)).valid
