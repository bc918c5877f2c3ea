"""Files that are no atlas: the page names the code and the culprit, and what was loaded before stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Workbench

GOOD = {
    "atlas_version": "1.0",
    "atlas_id": "com.example.small",
    "version": "1.0.0",
    "name": "Small",
    "description": "one action",
    "actions": [{"action_id": "do.it", "name": "Do it", "description": "does it"}],
    "policies": [{"policy_id": "let", "type": "allow"}],
}


STALE = "Answered before the atlases changed: resolve again."


def changed(**members: object) -> bytes:
    return json.dumps({**GOOD, **members}).encode()


@pytest.mark.parametrize(
    ("content", "tells"),
    [
        (
            b'{"atlas_version": "1.0",',
            ["invalid_atlas", "line", "the whole document (an empty JSON pointer)"],
        ),
        (b"\xff\xfe{}", ["invalid_encoding"]),
        (b"", ["invalid_atlas", "line"]),
        (
            changed(policies=[{"policy_id": "let", "type": "permit"}]),
            ["where", "/policies/0/type (JSON pointer)"],
        ),
        (changed(atlas_id="No Domain"), ["/atlas_id (JSON pointer)"]),
        (changed(surprise=True), ["/surprise (JSON pointer)"]),
    ],
)
def test_a_broken_file_shows_the_code_and_the_pointer(
    workbench: Workbench, content: bytes, tells: list[str]
) -> None:
    workbench.choose_file("good.atlas.json", changed())
    expect(workbench.loaded).to_have_count(1)
    workbench.choose_file("broken.atlas.json", content)
    problem = workbench.atlas.get_by_role("alert")
    expect(problem).to_contain_text("Could not load broken.atlas.json")
    for text in tells:
        expect(problem).to_contain_text(text)
    expect(workbench.loaded).to_have_count(1)
    # The same file, mended, loads, and the message goes.
    workbench.choose_file("broken.atlas.json", changed(atlas_id="com.example.mended", actions=[]))
    expect(workbench.loaded).to_have_count(2)
    expect(problem).to_be_empty()


def test_a_second_atlas_with_the_same_action_is_refused(workbench: Workbench) -> None:
    workbench.choose_file("one.atlas.json", changed())
    expect(workbench.loaded).to_have_count(1)
    workbench.choose_file("two.atlas.json", changed(atlas_id="com.example.other"))
    expect(workbench.atlas.get_by_role("alert")).to_contain_text("duplicate_action")
    expect(workbench.loaded).to_have_count(1)


def test_a_dropped_file_is_loaded_wherever_it_falls(workbench: Workbench) -> None:
    transfer = workbench.page.evaluate_handle(
        """(text) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], "dropped.atlas.json", { type: "application/json" }));
            return transfer;
        }""",
        changed(name="Dropped").decode(),
    )
    for kind in ("dragover", "drop"):
        workbench.goal.dispatch_event(kind, {"dataTransfer": transfer})
    expect(workbench.loaded).to_contain_text("Dropped")


def test_after_unloading_the_answer_is_stale_and_its_actions_do_not_run(workbench: Workbench) -> None:
    workbench.choose_file("one.atlas.json", changed())
    workbench.resolve()
    expect(workbench.actions.get_by_text(STALE)).to_have_count(0)
    workbench.page.get_by_role("button", name="Unload Small").click()
    expect(workbench.loaded).to_have_count(0)
    expect(workbench.actions.get_by_text(STALE)).to_be_visible()
    workbench.call("Execute do.it", "{}")
    form = workbench.page.get_by_role("form", name="Call do.it")
    expect(form.get_by_role("alert")).to_contain_text("atlas_unloaded")


def test_an_answer_is_stale_from_the_next_atlas_to_the_next_answer(workbench: Workbench) -> None:
    workbench.choose_file("one.atlas.json", changed())
    expect(workbench.loaded).to_have_count(1)
    expect(workbench.actions.get_by_text(STALE)).to_have_count(0)
    workbench.resolve("Asked of one atlas")
    again = {"action_id": "do.more", "name": "Do more", "description": "does more"}
    workbench.choose_file("two.atlas.json", changed(atlas_id="com.example.other", actions=[again]))
    expect(workbench.actions.get_by_text(STALE)).to_be_visible()
    workbench.resolve("Asked of two atlases")
    expect(workbench.action("do.more")).to_be_visible()
    expect(workbench.actions.get_by_text(STALE)).to_have_count(0)


def test_nothing_is_resolved_without_an_atlas(workbench: Workbench) -> None:
    resolve = workbench.page.get_by_role("button", name="Resolve")
    hint = workbench.goal.get_by_text("Load an atlas first.")
    goal = workbench.page.get_by_label("Goal", exact=True)
    goal.fill("Asked of no atlas")
    expect(resolve).to_be_disabled()
    expect(hint).to_be_visible()
    goal.press("Control+Enter")
    workbench.choose_file("one.atlas.json", changed())
    expect(resolve).to_be_enabled()
    expect(hint).to_be_hidden()
    # The atlas was loaded after the key, so a session of that would stand here by now.
    expect(workbench.goal).to_contain_text("no open session")
    workbench.page.get_by_role("button", name="Unload Small").click()
    expect(resolve).to_be_disabled()
    expect(hint).to_be_visible()


def test_an_atlas_without_actions_is_denied_in_words(workbench: Workbench) -> None:
    workbench.choose_file("bare.atlas.json", changed(actions=[], policies=[]))
    workbench.resolve()
    expect(workbench.actions).to_contain_text("no loaded atlas has an action to decide about")
    expect(workbench.actions.get_by_text("no_candidates", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    "goals",
    ["text", [], ["text"], [{"goal": 7}], [{"goal": None}], [{"goal": ["text"]}], {"0": {"goal": "x"}}],
)
def test_example_goals_of_another_shape_fill_nothing(workbench: Workbench, goals: object) -> None:
    workbench.choose_file("one.atlas.json", changed(metadata={"example_goals": goals}))
    expect(workbench.page.get_by_role("button", name="Resolve")).to_be_enabled()
    expect(workbench.page.get_by_label("Goal", exact=True)).to_have_value("")


def test_an_example_goal_fills_an_empty_field_only(workbench: Workbench) -> None:
    goal = workbench.page.get_by_label("Goal", exact=True)
    workbench.load_example()
    expect(goal).to_have_value("Refund order 1234, the lamp arrived broken")
    goal.fill("My own goal")
    markup = {"example_goals": [{"goal": "<b>bold</b>"}, {"goal": "the second"}]}
    workbench.choose_file("one.atlas.json", changed(metadata=markup))
    expect(workbench.loaded).to_have_count(2)
    expect(goal).to_have_value("My own goal")
    goal.fill("")
    other = changed(atlas_id="com.example.other", actions=[], policies=[], metadata=markup)
    workbench.choose_file("two.atlas.json", other)
    expect(goal).to_have_value("<b>bold</b>")


def test_an_empty_goal_and_a_goal_that_is_too_long_open_nothing(workbench: Workbench) -> None:
    workbench.choose_file("one.atlas.json", changed())
    resolve = workbench.page.get_by_role("button", name="Resolve")
    goal = workbench.page.get_by_label("Goal", exact=True)
    resolve.click()
    expect(goal).to_be_focused()
    expect(workbench.goal).to_contain_text("no open session")
    goal.fill("g" * 10_001)
    resolve.click()
    expect(workbench.goal.get_by_role("alert")).to_contain_text("/goal")
    expect(workbench.goal).to_contain_text("no open session")
