"""Chromium may find its database damaged and begin an empty one: what is done against it, and told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from .chaos.browser import OwnBrowser
from .conftest import BOOT_MS

PAGE = """
import { createCra } from "./lib/cra-wasm.js";

window.problems = [];
const cra = await createCra({
  baseUrl: "./",
  databaseName: "lost",
  onTraceProblem: ({ code, message }) => { window.problems.push({ code, message }); },
});
window.record = async () => {
  const sessionId = await cra.createSession({ agentId: "agent", goal: "leave a record" });
  await cra.endSession(sessionId);
  await cra.flush({ durability: "strict" });
  return sessionId;
};
window.stored = async () => (await cra.sessions()).map(({ session_id }) => session_id);
window.ready = true;
"""


def load(page: Page, address: str) -> Page:
    """Have a page write into the log."""
    html = '<!doctype html><title>x</title><link rel="icon" href="icon.svg">'
    html += '<script type="module" src="app.js"></script>'
    page.route("**/own.html", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route("**/app.js", lambda route: route.fulfill(body=PAGE, content_type="text/javascript"))
    page.goto(f"{address}own.html")
    page.wait_for_function("window.ready", timeout=BOOT_MS)
    return page


@pytest.fixture
def open_page(
    browser: Browser, chromium_path: str, chromium_flags: list[str], address: str, tmp_path: Path
) -> Iterator[Callable[[], Page]]:
    """Start a browser on one profile, each time anew, with a page that writes into the log."""
    running: list[BrowserContext] = []

    def close() -> None:
        while running:
            running.pop().close()

    def open_one() -> Page:
        close()
        context = browser.browser_type.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium_path, args=chromium_flags
        )
        running.append(context)
        return load(context.new_page(), address)

    yield open_one
    close()


HALF_A_RECORD = bytes(4) + (1_000).to_bytes(2, "little") + b"\x01"
"""What a kill may leave at the end of LevelDB's log: a record's header, and nothing of the record."""


def leveldb_files(folder: Path, name: str) -> list[Path]:
    """The files of that name which the profile's databases are kept in."""
    found = list(folder.rglob(f"*.indexeddb.leveldb/{name}"))
    assert found
    return found


# PROTOCOL 3.16.8
def test_a_log_that_the_browser_gave_up_is_told_and_a_whole_one_is_not(
    open_page: Callable[[], Page], tmp_path: Path
) -> None:
    page = open_page()
    session = page.evaluate("record()")
    page = open_page()
    assert (page.evaluate("stored()"), page.evaluate("problems")) == ([session], [])
    page.context.close()
    for manifest in leveldb_files(tmp_path, "MANIFEST-*"):
        text = bytearray(manifest.read_bytes())
        text[len(text) // 2] ^= 1
        manifest.write_bytes(text)
    page = open_page()
    (problem,) = page.evaluate("problems")
    assert problem["code"] == "store_lost"
    assert "`lost`" in problem["message"]
    assert page.evaluate("stored()") == []
    assert page.evaluate("record()") in page.evaluate("stored()")


def test_half_a_record_that_a_kill_left_costs_nothing(open_page: Callable[[], Page], tmp_path: Path) -> None:
    """As in google/leveldb issue 1287: what is written behind the half record is read at the next start."""
    page = open_page()
    first = page.evaluate("record()")
    page.context.close()
    torn = leveldb_files(tmp_path, "*.log")
    for log in torn:
        log.write_bytes(log.read_bytes() + HALF_A_RECORD)
    page = open_page()
    assert (page.evaluate("stored()"), page.evaluate("problems")) == ([first], [])
    while any(log.exists() for log in torn):
        page.evaluate("new Promise((resolve) => { setTimeout(resolve, 20); })")
    second = page.evaluate("record()")
    page.context.close()
    page = open_page()
    assert (sorted(page.evaluate("stored()")), page.evaluate("problems")) == (sorted([first, second]), [])


CHANGES = """
(() => {
  const begin = IDBDatabase.prototype.transaction;
  globalThis.changes = new Map();
  IDBDatabase.prototype.transaction = function (stores, mode, options) {
    const transaction = begin.call(this, stores, mode, options);
    const names = [...transaction.objectStoreNames];
    if (mode === "readwrite") globalThis.changes.set(names.join(), names);
    return transaction;
  };
})()
"""
"""Has a worker remember the stores of each transaction that changes."""

SEEN = """
async () => {
  const seen = () => [...changes.keys()].join().includes("checkpoints");
  while (!seen()) await new Promise((resolve) => { setTimeout(resolve, 20); });
  return [...changes.values()];
}
"""
"""These, once one was for a checkpoint."""

HALF_WRITTEN = """
changes => new Promise((resolve, reject) => {
  const request = indexedDB.open("lost");
  request.onerror = () => { reject(request.error); };
  request.onsuccess = () => {
    let turns = 0;
    for (const names of changes) {
      const transaction = request.result.transaction(names, "readwrite");
      const store = transaction.objectStore(names.find((name) => name !== "heads") ?? "heads");
      const record = { session_id: "half", first_sequence: 0, event_id: "half", size: 0 };
      if (store.keyPath === null) store.put(0, "half");
      else store.put(record);
      const goOn = () => {
        store.count().onsuccess = goOn;
        turns += 1;
        if (turns === 500) resolve();
      };
      goOn();
    }
  };
})
"""
"""Begins such transactions, all at once, and never lets them end; resolves when what can run runs."""


# PROTOCOL 3.16.9
def test_a_kill_amid_changes_costs_nothing_that_was_stored(
    browser: Browser, chromium_path: str, chromium_flags: list[str], address: str, tmp_path: Path
) -> None:
    """Chromium gives the database up if it is killed while two changes of it are half written."""
    own = OwnBrowser(browser.browser_type, chromium_path, chromium_flags, tmp_path / "profile")
    try:
        page = load(own.start().new_page(), address)
        worker = next(worker for worker in page.workers if "trace.worker" in worker.url)
        worker.evaluate(CHANGES)
        session = page.evaluate("record()")
        page.evaluate(HALF_WRITTEN, worker.evaluate(SEEN))
        own.kill()
        page = load(own.start().new_page(), address)
        assert (page.evaluate("stored()"), page.evaluate("problems")) == ([session], [])
    finally:
        own.kill()
