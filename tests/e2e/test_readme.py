"""README's examples run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


def test_the_commands_of_the_witness_work(site: Path, tmp_path: Path) -> None:
    witness, serve, verify = (shlex.split(line)[1:] for line in example("witness").splitlines())
    trace = tmp_path / verify[1]
    atlas = ROOT / "examples/atlases/customer-support.atlas.json"
    done = run_here(["resolve", str(atlas), "--goal", "refund order 1234", "--trace", str(trace)], tmp_path)
    assert done.returncode == 0
    with started([*witness, "--port", "0"], tmp_path) as url:
        assert "8474" in verify[-1] and verify[-1] == serve[-1]
        with started([*serve[:-1], url, "--port", "0", "--dir", str(site)], tmp_path) as page:
            assert page.endswith("/")
        verified = run_here([*verify[:-1], url, "--json"], tmp_path)
    assert (verified.returncode, json.loads(verified.stdout)["warnings"]) == (0, ["unwitnessed"])
    assert (tmp_path / "witness.sqlite3").is_file()


def run_here(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "cra-wasm"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def started(arguments: list[str], folder: Path) -> Iterator[str]:
    """Run a server of the command line; gives the address that it tells."""
    command = [str(BIN / "cra-wasm"), *arguments, "--json"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()
