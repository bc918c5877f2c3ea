"""The main job on the page: load, resolve, see who decided, call, watch the trace grow."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Workbench


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
    workbench.page.get_by_role("button", name="Try anyway customer.delete").click()
    workbench.page.get_by_role("button", name="Try it: the policy decides").click()
    workbench.expect_event("action.denied", "customer.delete")
    expect(workbench.actions.get_by_text("success", exact=True)).to_have_count(0)
    assert workbench.events.filter(has_text="action.executed").count() == 0
    workbench.expect_valid()


def test_a_granted_approval_lets_the_same_call_run(workbench: Workbench) -> None:
    workbench.load_example()
    workbench.resolve()
    workbench.page.get_by_role("button", name="Ask refund.create").click()
    form = workbench.page.get_by_role("form", name="Call refund.create")
    ask = form.get_by_role("button", name="Ask for approval")
    run = form.get_by_role("button", name="Run with the simulated executor")
    ask.click()
    expect(workbench.answer).to_contain_text("pending approval")
    workbench.page.get_by_role("button", name="Grant approval").click()
    expect(workbench.answer).to_contain_text("Run the same call again")
    # The grant holds for these parameters only, and for one call.
    parameters = workbench.page.get_by_label("Parameters (JSON)")
    granted = parameters.input_value()
    parameters.fill("{}")
    expect(ask).to_be_visible()
    parameters.fill(granted)
    run.click()
    expect(workbench.answer).to_contain_text("success")
    expect(ask).to_be_visible()
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
    expect(workbench.page.get_by_text("What the schema asks for: 4 members")).to_be_visible()
    given = json.loads(workbench.page.get_by_label("Parameters (JSON)").input_value())
    assert given == {"count": 3, "mode": "slow", "note": "example.."}


def test_a_package_is_loaded_from_its_zip_with_its_actions_and_context(workbench: Workbench) -> None:
    package = Path(__file__).resolve().parents[2] / "examples" / "atlases" / "room-booking"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            archive.write(path, path.relative_to(package).as_posix())
    workbench.choose_file("rooms.zip", buffer.getvalue())
    expect(workbench.loaded).to_contain_text("7 actions, 6 policies, 0 context blocks, 3 context packs")
    workbench.resolve("Find a room for six people tomorrow morning")
    expect(workbench.events.filter(has_text="house/house-rules.md")).to_have_count(1)
    workbench.call("Execute booking.read")
    expect(workbench.answer).to_contain_text("success")
    given = json.loads(workbench.page.get_by_label("Parameters (JSON)").input_value())
    assert given == {"booking_id": "b-17"}
    workbench.expect_valid()
    workbench.choose_file("broken.zip", buffer.getvalue()[:-30])
    problem = workbench.atlas.get_by_role("alert")
    expect(problem).to_contain_text("invalid_atlas")
    expect(problem).to_contain_text("is no sound zip")


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
    expect(form.get_by_text("What the schema asks for: 1 member", exact=True)).to_be_visible()
    expect(form).to_contain_text(code)
    if pointer is not None:
        expect(form).to_contain_text(pointer)
    workbench.expect_valid()
    assert workbench.events.filter(has_text="action.executed").count() == 0


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
