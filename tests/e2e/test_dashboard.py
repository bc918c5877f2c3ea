"""The main job on the page: load, resolve, see who decided, call, watch the trace grow, export, come back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, Page, expect

if TYPE_CHECKING:
    from conftest import Workbench

CRA_WASM = Path(sys.executable).with_name("cra-wasm")


def test_every_action_shows_its_verdict_and_the_policy_that_decided(workbench: Workbench) -> None:
    workbench.load_example()
    expect(workbench.loaded).to_contain_text("com.example.customer-support")
    workbench.resolve()
    reply = workbench.action("ticket.reply")
    expect(reply).to_contain_text("Allowed by")
    erase = workbench.action("customer.delete")
    expect(erase).to_contain_text("Denied by No agent erases customers deny-erasure")
    expect(erase).to_contain_text("erasing a customer is up to data protection")
    expect(workbench.action("refund.create")).to_contain_text("Needs approval")
    shown = workbench.page.get_by_role("list", name="Actions of the resolution").get_by_role("listitem")
    everything = shown.count()
    workbench.page.get_by_role("radio", name="Denied").check()
    expect(shown.filter(has_text="Allowed by")).to_have_count(0)
    expect(erase).to_be_visible()
    workbench.page.get_by_role("radio", name="All 23").check()
    expect(shown).to_have_count(everything)


def test_an_allowed_call_runs_and_the_trace_grows_by_it(workbench: Workbench) -> None:
    workbench.load_example()
    workbench.resolve()
    before = workbench.expect_valid()
    workbench.call("Execute ticket.search")
    expect(workbench.answer).to_contain_text("success")
    expect(workbench.answer).to_contain_text("simulated")
    workbench.expect_event("action.executed", "ticket.search")
    assert workbench.expect_valid() > before
    # The list follows what is recorded.
    expect(workbench.events.last).to_be_in_viewport()
    workbench.page.get_by_role("button", name="Event 0", exact=True).click()
    first = json.loads(workbench.page.get_by_label("Event 0 in full").inner_text())
    assert first["event_type"] == "session.started"
    assert first["payload"]["agent_id"] == "demo-agent"
    assert first["previous_event_hash"] == "0" * 64


def test_a_denied_action_cannot_be_executed(workbench: Workbench) -> None:
    workbench.load_example()
    workbench.resolve()
    workbench.call("Try anyway customer.delete")
    workbench.expect_event("action.denied", "customer.delete")
    expect(workbench.actions.get_by_text("success", exact=True)).to_have_count(0)
    assert workbench.events.filter(has_text="action.executed").count() == 0
    workbench.expect_valid()


def test_a_granted_approval_lets_the_same_call_run(workbench: Workbench) -> None:
    workbench.load_example()
    workbench.resolve()
    workbench.call("Ask refund.create")
    expect(workbench.answer).to_contain_text("pending approval")
    workbench.page.get_by_role("button", name="Grant approval").click()
    expect(workbench.answer).to_contain_text("Run the same call again")
    workbench.page.get_by_role("button", name="Run with the simulated executor").click()
    expect(workbench.answer).to_contain_text("success")
    for event_type in ("approval.requested", "approval.granted", "action.executed"):
        workbench.expect_event(event_type, "refund.create")
    workbench.expect_valid()


def test_an_action_without_examples_starts_from_its_schema(workbench: Workbench) -> None:
    count = {"type": "integer", "minimum": 3}
    mode = {"enum": ["slow", "fast"]}
    note = {"type": "string", "minLength": 9}
    schema = {
        "type": "object",
        "properties": {"count": count, "mode": mode, "note": note, "left_out": {"type": "string"}},
        "required": ["count", "mode", "note"],
        "additionalProperties": False,
    }
    action = {"action_id": "do.it", "name": "Do it", "description": "does it", "parameters_schema": schema}
    atlas = {
        "atlas_version": "1.0",
        "atlas_id": "com.example.bare",
        "version": "1.0.0",
        "name": "Bare",
        "description": "no examples",
        "actions": [{**action, "returns_schema": schema}],
        "policies": [{"policy_id": "let", "type": "allow"}],
    }
    workbench.choose_file("bare.atlas.json", json.dumps(atlas).encode())
    workbench.resolve()
    workbench.call("Execute do.it")
    expect(workbench.answer).to_contain_text("success")
    given = json.loads(workbench.page.get_by_label("Parameters (JSON)").input_value())
    assert given == {"count": 3, "mode": "slow", "note": "example.."}


@pytest.mark.parametrize(
    ("parameters", "code", "pointer"),
    [
        ("{", "invalid_json", None),
        ("[]", "invalid_parameters", None),
        ('{"ticket_id": 7}', "invalid_parameters", "/ticket_id"),
    ],
)
def test_wrong_parameters_name_the_culprit_and_run_nothing(
    workbench: Workbench, parameters: str, code: str, pointer: str | None
) -> None:
    workbench.load_example()
    workbench.resolve()
    workbench.call("Execute ticket.read", parameters)
    form = workbench.page.get_by_role("form", name="Call ticket.read")
    expect(form).to_contain_text(code)
    if pointer is not None:
        expect(form).to_contain_text(pointer)
    workbench.expect_valid()
    assert workbench.events.filter(has_text="action.executed").count() == 0


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
    assert {key: found[key] for key in ("valid", "events", "error", "warnings")} == {
        "valid": True,
        "events": count,
        "error": None,
        "warnings": [],
    }
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


MARKUP = '<img src="x" onerror="document.title=\'broken in\'"><b>bold</b>'


def test_markup_in_an_atlas_a_goal_or_an_agent_stays_text(workbench: Workbench) -> None:
    atlas = {
        "atlas_version": "1.0",
        "atlas_id": "com.example.markup",
        "version": "1.0.0",
        "name": MARKUP,
        "description": MARKUP,
        "actions": [
            {"action_id": f"{each}.it", "name": MARKUP, "description": MARKUP} for each in ("do", "never")
        ],
        "policies": [
            {"policy_id": "let", "type": "allow", "name": MARKUP, "actions": ["do.*"]},
            {"policy_id": "no", "type": "deny", "actions": ["never.*"], "parameters": {"reason": MARKUP}},
        ],
        "context_blocks": [{"context_id": "block", "name": MARKUP, "content": MARKUP}],
    }
    workbench.choose_file("markup.atlas.json", json.dumps(atlas).encode())
    expect(workbench.loaded).to_contain_text(MARKUP)
    workbench.resolve(MARKUP, agent=MARKUP)
    expect(workbench.action("do.it")).to_contain_text(f"Allowed by {MARKUP}")
    expect(workbench.action("never.it")).to_contain_text(MARKUP)
    workbench.page.get_by_text("Context for the agent").click()
    expect(workbench.actions.locator("pre").filter(has_text=MARKUP)).to_be_visible()
    workbench.call("Execute do.it", json.dumps({"note": MARKUP}))
    expect(workbench.answer).to_contain_text("success")
    expect(workbench.answer).to_contain_text("bold</b>")
    expect(workbench.sessions.filter(has_text=MARKUP)).to_have_count(1)
    workbench.page.get_by_role("button", name="Event 0", exact=True).click()
    expect(workbench.page.get_by_label("Event 0 in full")).to_contain_text("<b>bold</b>")
    assert no_markup_came_to_life(workbench.page)


def no_markup_came_to_life(page: Page) -> bool:
    return page.locator('img[src="x"]').count() == 0 and page.title().startswith("cra-wasm")
