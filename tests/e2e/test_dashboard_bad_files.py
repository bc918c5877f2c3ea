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


def changed(**members: object) -> bytes:
    return json.dumps({**GOOD, **members}).encode()


@pytest.mark.parametrize(
    ("content", "tells"),
    [
        (b'{"atlas_version": "1.0",', ["invalid_atlas", "line"]),
        (b"\xff\xfe{}", ["invalid_encoding"]),
        (b"", ["invalid_atlas", "line"]),
        (changed(policies=[{"policy_id": "let", "type": "permit"}]), ["pointer", "/policies/0/type"]),
        (changed(atlas_id="No Domain"), ["pointer", "/atlas_id"]),
        (changed(surprise=True), ["pointer", "/surprise"]),
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


def test_unloading_takes_the_atlas_and_its_actions_away(workbench: Workbench) -> None:
    workbench.choose_file("one.atlas.json", changed())
    workbench.resolve()
    expect(workbench.action("do.it")).to_be_visible()
    workbench.page.get_by_role("button", name="Unload Small").click()
    expect(workbench.loaded).to_have_count(0)
    expect(workbench.action("do.it")).to_have_count(0)


def test_an_empty_goal_and_a_goal_that_is_too_long_open_nothing(workbench: Workbench) -> None:
    resolve = workbench.page.get_by_role("button", name="Resolve")
    goal = workbench.page.get_by_label("Goal", exact=True)
    resolve.click()
    expect(goal).to_be_focused()
    expect(workbench.goal).to_contain_text("no open session")
    goal.fill("g" * 10_001)
    resolve.click()
    expect(workbench.goal.get_by_role("alert")).to_contain_text("/goal")
    expect(workbench.goal).to_contain_text("no open session")
