"""A short run of chaos with every change; `./build.sh chaos` runs it for as long as wanted.

CHAOS_SECONDS (20) and CHAOS_SEED (1) say how long and which, CHAOS_FAULTS ("A,B") by which faults alone. Each
fault comes once before any comes twice, and one that has begun is seen to its end.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from .faults import faults_named
from .run import run_chaos

REPORT = Path(__file__).resolve().parents[3] / ".build" / "chaos.json"


@pytest.mark.timeout(
    900 + 2 * float(os.environ.get("CHAOS_SECONDS", "20"))
)  # booting takes a minute where it is busy
def test_nothing_that_was_acknowledged_is_lost_whatever_happens(
    site: Path, chromium_path: str, chromium_flags: list[str]
) -> None:
    # PROTOCOL 3.16.1
    seconds = float(os.environ.get("CHAOS_SECONDS", "20"))
    seed = int(os.environ.get("CHAOS_SEED", "1"))
    faults = faults_named(os.environ.get("CHAOS_FAULTS", ""))
    with sync_playwright() as playwright:
        report = run_chaos(
            playwright, chromium_path, chromium_flags, seconds=seconds, seed=seed, faults=faults
        )
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    assert report["violations"] == []
    assert report["faults"] and report["flushes_acked"] > 0
    assert report["heartbeats_stored"] > 0
