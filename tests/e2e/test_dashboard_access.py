"""Usable by keyboard alone, named for screen readers, readable in both schemes, down to 360 px."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

if TYPE_CHECKING:
    from conftest import Watch, Workbench

MAX_TABS = 60


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until `target` has the focus, as somebody without a mouse does."""
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        if target.evaluate("(each) => each === document.activeElement"):
            return
    pytest.fail(f"{target} was not reached with {MAX_TABS} tabs")


def test_the_whole_job_goes_by_keyboard(workbench: Workbench) -> None:
    page = workbench.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Example atlas"))
    page.keyboard.press("ArrowDown")
    tab_to(page, page.get_by_role("button", name="Load example"))
    page.keyboard.press("Enter")
    expect(workbench.loaded).to_contain_text("analytics")
    tab_to(page, page.get_by_label("Goal", exact=True))
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("Asked by keyboard")
    page.keyboard.press("ControlOrMeta+Enter")
    workbench.expect_event("session.started", "Asked by keyboard")
    workbench.expect_valid()
    call = page.get_by_role("button", name="Execute query.explain")
    tab_to(page, call)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Parameters (JSON)")).to_be_focused()
    page.keyboard.press("ControlOrMeta+Enter")
    expect(workbench.answer).to_contain_text("success")
    page.keyboard.press("Escape")
    expect(call).to_be_focused()
    expect(call).to_have_attribute("aria-expanded", "false")
    tab_to(page, page.get_by_role("button", name="Verify", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text(re.compile(r"^Verified: valid"))
    tab_to(page, page.get_by_role("button", name="Export", exact=True))
    with page.expect_download():
        page.keyboard.press("Enter")


def test_focus_is_visible_where_it_is(workbench: Workbench) -> None:
    tab_to(workbench.page, workbench.page.get_by_role("button", name="Load example"))
    outline = workbench.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_each_control_has_a_name_and_each_panel_a_landmark(workbench: Workbench) -> None:
    workbench.load_example()
    workbench.resolve()
    workbench.page.get_by_role("button", name="Execute ticket.search").click()
    tree = workbench.page.locator("body").aria_snapshot()
    roles = "button|textbox|combobox|radio|link|region|table|progressbar"
    unnamed = re.findall(rf"^\s*- (?:{roles})(?!\s*\").*$", tree, re.MULTILINE)
    assert unnamed == []
    for role, names in {
        "region": ["Atlas", "Goal", "Actions", "Trace", "Sessions in this browser"],
        "heading": ["cra-wasm", "Atlas", "Goal", "Actions", "Trace"],
    }.items():
        for name in names:
            expect(workbench.page.get_by_role(role, name=name, exact=True).first).to_be_visible()  # type: ignore[arg-type]
    for landmark in ("banner", "main", "contentinfo"):
        expect(workbench.page.get_by_role(landmark)).to_be_visible()  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [360, 800, 1440])
def test_nothing_is_wider_than_the_window(
    context: BrowserContext, workbench_on: type[Workbench], address: str, width: int
) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 800})
    workbench = workbench_on(page).open(address)
    workbench.load_example()
    workbench.resolve("A goal with a word that is long: " + "x" * 300)
    workbench.call("Execute ticket.reply")
    expect(workbench.answer).to_contain_text("success")
    page.get_by_role("button", name="Event 0", exact=True).click()
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert page.locator("tr.event").first.get_by_role("cell").count() == 5


def test_at_1280_px_the_example_names_fit_and_the_payload_has_room(
    context: BrowserContext, workbench_on: type[Workbench], address: str
) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 800})
    workbench = workbench_on(page).open(address)
    workbench.load_example()
    workbench.resolve()
    missing = page.get_by_label("Example atlas").evaluate(
        """(select) => {
            const shown = select.getBoundingClientRect().width;
            select.style.cssText = "width: max-content; flex: none";
            return select.getBoundingClientRect().width - shown;
        }"""
    )
    assert missing <= 0
    payloads = page.locator("#trace-table td.payload")
    assert payloads.first.evaluate("(cell) => cell.clientWidth") >= 220


PAIRS = [
    ("text", "page"),
    ("text", "panel"),
    ("quiet", "page"),
    ("quiet", "panel"),
    ("quiet", "sunk"),
    ("accent-text", "accent"),
    ("accent", "accent-soft"),
    ("good", "good-soft"),
    ("good", "panel"),
    ("bad", "bad-soft"),
    ("bad", "panel"),
    ("text", "bad-soft"),
    ("quiet", "bad-soft"),
    ("wait", "wait-soft"),
    ("wait", "panel"),
    ("wait", "sunk"),
]
"""Which colours stand on which in dashboard.css."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(context: BrowserContext, watch: Watch, address: str, scheme: str) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(address)
    colours: dict[str, str] = page.evaluate(
        """(names) => Object.fromEntries(names.map((name) =>
            [name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()]))""",
        sorted({name for pair in PAIRS for name in pair}),
    )
    weak = {f"{front} on {back}": round(contrast(colours[front], colours[back]), 2) for front, back in PAIRS}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}
    assert (luminance(colours["page"]) < 0.1) == (scheme == "dark")


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two colours written `#rrggbb`."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
