"""`cra-wasm bench` in real runtimes, and the page for a visitor's machine. No figure is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, expect

from cra_wasm.serve import serve_directory

from .conftest import BOOT_MS, served

if TYPE_CHECKING:
    from conftest import Watch

BIN = Path(sys.executable).parent
NAMES = ["resolve_5", "bridge_resolve_5", "drain", "hash_700", "log_hash"]
"""Pure Python, timed by JavaScript, across the border, BLAKE3's wheel, and through the trace worker."""


@pytest.mark.parametrize("runtime", ["node", "chromium"])
def test_a_tiny_run_reports_figures_machine_and_calibration(runtime: str, site: Path) -> None:
    command = [BIN / "cra-wasm", "bench", *NAMES, "--runs", "5", "--quick", "--json"]
    done = subprocess.run(
        [*command, "--runtime", runtime, "--site", site], capture_output=True, text=True, cwd=site.parents[1]
    )
    assert done.returncode in (0, 1), done.stderr
    assert "1 of 5: resolve_5" in done.stderr
    report = json.loads(done.stdout)
    assert (report["runtime"], report["quick"]) == (runtime, True)
    assert {"cra-wasm", "python", "pyodide", runtime} <= report["versions"].keys()
    assert {"cpu", "cores", "os", "load_before", "load_after"} == report["machine"].keys()
    assert (
        0 < report["timer_resolution_us"] < 50
    )  # Chromium has steps of 5 where the page is isolated, else 100
    assert [one["name"] for one in report["scenarios"]] == NAMES
    assert [one["calibration_us"]["in"] for one in report["scenarios"]] == [
        *("python", "javascript", "python", "python", "javascript")
    ]
    for scenario in report["scenarios"]:
        assert min(scenario["calibration_us"]["before"], scenario["calibration_us"]["after"]) > 0
        first = "sha256" if "hash" in scenario["name"] else "p50"
        assert scenario["metrics"][0]["name"] == first
        for metric in scenario["metrics"]:
            assert len(metric["runs"]) == 5 and min(metric["runs"]) > 0
            assert (metric["held"] is None) == (metric["budget"] is None)


def test_what_the_log_takes_besides_time_is_measured_with_the_page(site: Path) -> None:
    names = ["log_page", "log_size", "log_memory"]
    command = [BIN / "cra-wasm", "bench", *names, "--runs", "5", "--quick", "--json", "--runtime", "chromium"]
    done = subprocess.run([*command, "--site", site], capture_output=True, text=True, cwd=site.parents[1])
    assert done.returncode in (0, 1), done.stderr
    figures = {
        f"{scenario['name']} {one['name']}": one["value"]
        for scenario in json.loads(done.stdout)["scenarios"]
        for one in scenario["metrics"]
    }
    # A few events may be made between two collections.
    assert figures.pop("log_page collection") >= figures.pop("log_page collection_cpu") >= 0
    assert figures.keys() == {
        "log_page longest_task",
        "log_size plain",
        "log_size compressed",
        "log_size plain_by_browser",
        "log_size compressed_by_browser",
        "log_memory trace_worker",
    }
    assert all(value > 0 for name, value in figures.items() if "by_browser" not in name)


@pytest.fixture
def isolated_address(site: Path) -> Iterator[str]:
    with served(serve_directory(site, port=0, isolated=True)) as url:
        yield url


def test_the_page_measures_and_tells_in_words_what_holds(
    context: BrowserContext, watch: Watch, isolated_address: str
) -> None:
    page = context.new_page()
    page.goto(f"{isolated_address}bench.html?name=resolve_5&name=emit")
    assert page.evaluate("crossOriginIsolated")
    expect(page.get_by_role("checkbox", name="Quick")).to_be_checked()
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("progressbar", name="Measure this machine")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("budgets hold on this machine", timeout=2 * BOOT_MS)
    table = page.get_by_role("table", name="Each benchmark")
    group = table.get_by_role("rowgroup").filter(has_text="resolve, deferred, 5 actions")
    expect(group.get_by_role("cell", name="µs").first).to_be_visible()
    expect(table.get_by_role("rowheader")).to_have_count(2)
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert table.evaluate("(each) => each.scrollWidth <= each.parentElement.clientWidth")
    verdicts = table.get_by_role("row").locator("td:last-child").all_inner_texts()
    assert "no budget" in verdicts and set(verdicts) <= {"held", "missed", "no budget"}


def test_a_benchmark_that_does_not_exist_is_told(
    context: BrowserContext, watch: Watch, isolated_address: str
) -> None:
    page = context.new_page()
    page.goto(f"{isolated_address}bench.html?name=<b>nonsense</b>")
    page.get_by_role("button", name="Start").click()
    problem = page.get_by_role("alert").filter(has_text="unknown_benchmark: no benchmark `<b>nonsense</b>`")
    expect(problem).to_be_visible(timeout=BOOT_MS)


def test_without_the_wheel_of_blake3_the_page_tells_what_was_not_measured(
    context: BrowserContext, watch: Watch, isolated_address: str
) -> None:
    watch.expects("404|Failed to load|blake3")
    page = context.new_page()
    page.route("**/blake3-*.whl", lambda route: route.fulfill(status=404))
    page.goto(f"{isolated_address}bench.html?name=hash_700")
    page.get_by_role("button", name="Start").click()
    facts = page.get_by_role("definition").filter(has_text="hash_700: BLAKE3 is not installed here: load")
    expect(facts).to_be_visible(timeout=BOOT_MS)
    expect(page.get_by_role("alert")).to_have_text("")


def test_a_worker_that_cannot_start_is_told(
    context: BrowserContext, watch: Watch, isolated_address: str
) -> None:
    watch.expects("404|Failed to load")
    page = context.new_page()
    page.route("**/bench.worker.js", lambda route: route.fulfill(status=404))
    page.goto(f"{isolated_address}bench.html")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert").filter(has_text="could not be loaded")).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
