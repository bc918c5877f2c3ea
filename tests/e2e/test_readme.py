"""README's examples run as they stand there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from .conftest import BOOT_MS, ROOT, Watch

BIN = Path(sys.executable).parent


def example(name: str) -> str:
    """Return the code block of README that is marked `tested: name`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- tested: {name} -->\n```\w+\n(.*?)```", readme, re.DOTALL)
    assert found, f"README has no example marked `tested: {name}`"
    return found[1]


def test_the_dashboard_example_decides_executes_and_verifies(
    context: BrowserContext, watch: Watch, address: str
) -> None:
    page = context.new_page()
    icon = '<link rel="icon" href="icon.svg">'
    html = f'<!doctype html><title>x</title>{icon}<script type="module" src="app.js"></script>'
    page.route("**/readme.html", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route(
        "**/app.js", lambda route: route.fulfill(body=example("dashboard"), content_type="text/javascript")
    )
    with page.expect_console_message(timeout=BOOT_MS) as message:
        page.goto(f"{address}readme.html")
    status, denied, verified = (argument.json_value() for argument in message.value.args)
    assert status == "success"
    assert "refund.create" in [action["action_id"] for action in denied]
    assert verified["valid"] and verified["warnings"] == []


def test_the_node_example_decides_and_verifies(site: Path) -> None:
    done = subprocess.run(
        ["node", "examples/node/hello.mjs"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("partial")
    assert "refund.create: requires_approval" in done.stdout
    assert "valid: true" in done.stdout


def test_the_pytest_example_passes(tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(example("pytest"))
    done = subprocess.run(
        [BIN / "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", tmp_path / "test_example.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("atlas", ["customer-support", "data-analytics", "browser-operator"])
def test_the_resolve_command_tells_what_an_example_atlas_allows(atlas: str, tmp_path: Path) -> None:
    trace = tmp_path / "out.trace.jsonl"
    path = f"examples/atlases/{atlas}.atlas.json"
    resolved = subprocess.run(
        [BIN / "cra-wasm", "resolve", path, "--goal", "refund order 1234", "--trace", trace, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(resolved.stdout)["decision"]["type"] == "partial"
    verified = subprocess.run(
        [BIN / "cra-wasm", "verify", trace, "--json"], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(verified.stdout)["valid"] is True
