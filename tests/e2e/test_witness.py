"""A page that tells a real `cra-wasm witness` of its checkpoints, and one that was killed meanwhile."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from cra_wasm.serve import serve_directory

from .conftest import BOOT_MS, Watch, served

BIN = Path(sys.executable).parent

PAGE = """
import { createCra } from "./lib/cra-wasm.js";

const witness = "WITNESS";
const cra = await createCra({ baseUrl: "./", databaseName: "witnessed", witness: { url: witness } });
await cra.loadAtlas(await (await fetch("./examples/customer-support.atlas.json")).text());
window.record = async (goal) => {
  const sessionId = await cra.createSession({ agentId: "agent", goal });
  await cra.resolve({ sessionId, goal });
  await cra.endSession(sessionId);
  await cra.flush();
  return sessionId;
};
window.told = async () => (await cra.statistics()).traces.witness;
window.until = async (isSo) => {
  for (;;) {
    const told = await window.told();
    if (isSo(told)) return told;
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
};
window.verified = (sessionId) => cra.verify(sessionId, { witness });
window.exported = (sessionId) => new Response(cra.exportStream(sessionId)).text();
window.ready = true;
"""


class Witness:
    """`cra-wasm witness` as a process of its own, on one file and one port."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.url = ""

    def start(self) -> None:
        command = [BIN / "cra-wasm", "witness", "--port", str(self.port), "--database", self._database]
        self._process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["url"]
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    made = Witness(tmp_path / "witness.sqlite3")
    made.start()
    yield made
    made.kill()


@pytest.fixture
def page_on(context: BrowserContext, watch: Watch, witness: Witness) -> Callable[[str], Page]:
    """Open a page of a site that tells the witness."""

    def open_page(address: str) -> Page:
        page = context.new_page()
        html = '<!doctype html><title>x</title><link rel="icon" href="icon.svg">'
        html += '<script type="module" src="app.js"></script>'
        script = PAGE.replace("WITNESS", witness.url)
        page.route("**/own.html", lambda route: route.fulfill(body=html, content_type="text/html"))
        page.route("**/app.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
        page.goto(f"{address}own.html")
        page.wait_for_function("window.ready", timeout=BOOT_MS)
        return page

    return open_page


def verify(trace: Path, url: str) -> tuple[int, dict[str, object]]:
    command = [BIN / "cra-wasm", "verify", trace, "--witness", url, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout)


def test_a_policy_that_does_not_name_the_witness_keeps_the_page_from_it(
    page_on: Callable[[str], Page], watch: Watch, address: str
) -> None:
    watch.expects("Content Security Policy|violates the document's")
    page = page_on(address)
    page.evaluate("record('refund order 1')")
    last = page.evaluate("until(({ failed }) => failed > 0)")
    assert (last["sent"], last["last_error"]["code"]) == (0, "witness_failed")


def test_checkpoints_reach_a_witness_also_one_that_was_killed_meanwhile(
    page_on: Callable[[str], Page], watch: Watch, site: Path, witness: Witness, tmp_path: Path
) -> None:
    # PROTOCOL 3.19.14
    watch.expects(re.escape(f"{witness.url}/checkpoints") + "|ERR_CONNECTION_REFUSED")
    with served(serve_directory(site, port=0, connect=[witness.url])) as address:
        page = page_on(address)
        first = page.evaluate("record('refund order 1234')")
        page.evaluate("until(({ sent }) => sent === 1)")
        verdict = page.evaluate("(sessionId) => verified(sessionId)", first)
        assert (verdict["valid"], verdict["strength"], verdict["warnings"]) == (True, "witnessed", [])
        assert verdict["covered"] == verdict["events"]

        witness.kill()
        second = page.evaluate("record('refund order 5678')")
        lost = page.evaluate("until(({ failed }) => failed > 0)")
        assert (lost["pending"], lost["last_error"]["code"]) == (1, "witness_failed")
        witness.start()
        assert page.evaluate("until(({ sent }) => sent === 2)")["pending"] == 0
        for session_id in (first, second):
            told = page.evaluate("(sessionId) => verified(sessionId)", session_id)
            assert (told["valid"], told["strength"]) == (True, "witnessed")

        trace = tmp_path / "second.trace.jsonl"
        trace.write_text(page.evaluate("(sessionId) => exported(sessionId)", second), newline="\n")

    status, whole = verify(trace, witness.url)
    assert (status, whole["strength"], whole["warnings"]) == (0, "witnessed", [])
    trace.write_bytes(b"".join(trace.read_bytes().splitlines(keepends=True)[:-1]))
    status, cut = verify(trace, witness.url)
    assert (status, cut["error"]) == (1, "checkpoint_beyond_end")
    witness.kill()
    status, gone = verify(trace, witness.url)
    assert (status, gone["error"]["code"]) == (2, "witness_failed")  # type: ignore[index]
