"""The record behind the page: export, verification, other tabs, earlier loads, a touched store."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import BrowserContext, expect

if TYPE_CHECKING:
    from conftest import Workbench

CRA_WASM = Path(sys.executable).with_name("cra-wasm")


def test_the_exported_trace_verifies_on_the_command_line(workbench: Workbench, tmp_path: Path) -> None:
    workbench.load_example()
    workbench.resolve("Refund order 1234, naïve “quotes” and 🚚")
    workbench.call("Execute ticket.search")
    expect(workbench.answer).to_contain_text("success")
    workbench.page.get_by_role("button", name="End session").click()
    workbench.expect_event("session.ended", "completed")
    count = workbench.expect_valid()
    with workbench.page.expect_download() as download:
        workbench.page.get_by_role("button", name="Export", exact=True).click()
    trace = tmp_path / download.value.suggested_filename
    assert re.fullmatch(r"[0-9a-f-]{36}\.trace\.jsonl", trace.name)
    download.value.save_as(trace)

    code, found = verify(trace)
    assert code == 0
    assert {key: found[key] for key in ("valid", "events", "error", "warnings", "strength")} == {
        "valid": True,
        "events": count,
        "error": None,
        "warnings": [],
        "strength": "chain",
    }
    with workbench.page.expect_download() as download:
        workbench.page.get_by_role("button", name="Checkpoints", exact=True).click()
    checkpoints = download.value.suggested_filename
    assert checkpoints == trace.name.replace(".trace.", ".checkpoints.")
    download.value.save_as(tmp_path / checkpoints)
    code, found = verify(trace)
    assert (code, found["strength"], found["covered"]) == (0, "signed", count)
    trace.write_bytes(trace.read_bytes().replace(b'"goal":"Refund', b'"goal":"refund', 1))
    code, found = verify(trace)
    assert (code, found["valid"], found["error"], found["error_at"]) == (1, False, "hash_mismatch", 0)


def verify(trace: Path) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [CRA_WASM, "verify", trace, "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, json.loads(done.stdout)


def test_sessions_of_an_earlier_load_are_listed_and_verify(workbench: Workbench, address: str) -> None:
    workbench.load_example()
    workbench.resolve("A goal from before the reload", agent="early-agent")
    count = workbench.expect_valid()
    workbench.open(address)
    row = workbench.sessions.filter(has_text="A goal from before the reload")
    expect(row).to_contain_text("early-agent")
    row.get_by_role("button", name="Show session").click()
    workbench.expect_event("session.started", "early-agent")
    assert workbench.expect_valid() >= count
    workbench.page.get_by_role("button", name="Verify all").click()
    expect(workbench.page.get_by_role("status").first).to_have_text(re.compile(r"^Verified .*: all valid$"))
    expect(row).to_contain_text("valid")


def test_without_a_session_there_is_nothing_to_verify_or_export(workbench: Workbench) -> None:
    names = ("Verify", "Export", "Checkpoints", "Verify all")
    buttons = [workbench.page.get_by_role("button", name=name, exact=True) for name in names]
    for button in buttons:
        expect(button).to_be_disabled()
    workbench.load_example()
    workbench.resolve()
    for button in buttons:
        expect(button).to_be_enabled()
    buttons[2].click()
    expect(workbench.page.get_by_role("status").first).to_contain_text("No checkpoint yet")


def test_two_tabs_keep_their_own_sessions_and_see_each_other(
    workbench: Workbench, workbench_on: type[Workbench], context: BrowserContext, address: str
) -> None:
    other = workbench_on(context.new_page()).open(address)
    for bench, goal in ((workbench, "Asked in the first tab"), (other, "Asked in the second tab")):
        bench.load_example()
        bench.resolve(goal)
    for bench in (workbench, other):
        bench.page.bring_to_front()
        for goal in ("Asked in the first tab", "Asked in the second tab"):
            expect(bench.sessions.filter(has_text=goal)).to_have_count(1)
    other.sessions.filter(has_text="Asked in the first tab").get_by_role(
        "button", name="Show session"
    ).click()
    other.expect_event("session.started", "Asked in the first tab")
    seen = other.expect_valid()
    workbench.call("Execute ticket.search")
    workbench.expect_event("action.executed", "ticket.search")
    # The second tab reads on without a click.
    other.expect_event("action.executed", "ticket.search")
    assert other.expect_valid() > seen


FLIP_ONE_BYTE = """async (needle) => {
    const open = (name) => new Promise((done, failed) => {
        const request = indexedDB.open(name);
        request.onsuccess = () => done(request.result);
        request.onerror = () => failed(request.error);
    });
    const flip = (value) => {
        if (!(value instanceof Uint8Array) && !(value instanceof ArrayBuffer)) return false;
        const bytes = value instanceof ArrayBuffer ? new Uint8Array(value) : value;
        const at = new TextDecoder("latin1").decode(bytes).indexOf(needle);
        if (at >= 0) bytes[at] ^= 1;
        return at >= 0;
    };
    let flipped = 0;
    for (const { name } of await indexedDB.databases()) {
        const database = await open(name);
        for (const storeName of database.objectStoreNames) {
            const transaction = database.transaction(storeName, "readwrite");
            await new Promise((done, failed) => {
                transaction.oncomplete = done;
                transaction.onabort = () => failed(transaction.error);
                transaction.objectStore(storeName).openCursor().onsuccess = ({ target }) => {
                    const cursor = target.result;
                    if (cursor === null || flipped > 0) return;
                    const record = cursor.value;
                    if (Object.values(record).some(flip)) {
                        flipped += 1;
                        cursor.update(record);
                    }
                    cursor.continue();
                };
            });
        }
        database.close();
    }
    return flipped;
}"""


def test_a_byte_flipped_in_the_store_is_found_at_its_event(workbench: Workbench) -> None:
    workbench.load_example()
    workbench.resolve("A goal that somebody rewrites")
    assert workbench.page.evaluate(FLIP_ONE_BYTE, "A goal that somebody rewrites") == 1
    workbench.page.get_by_role("button", name="Verify", exact=True).click()
    expect(workbench.badge).to_have_text("hash_mismatch at event 0")
    workbench.page.get_by_role("button", name="Verify all").click()
    row = workbench.sessions.filter(has_text="A goal that somebody rewrites")
    expect(row).to_contain_text("hash_mismatch at event 0")
