"""Signed checkpoints in the browser's own database: what is stored, and what a reload keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Workbench


class Signed(TypedDict):
    """What the database holds: each checkpoint's vkey and its note's size, and what the key allows."""

    checkpoints: list[tuple[str, str]]
    extractable: list[bool]
    exported: str
    public_key: list[int]


READ = """async () => {
  const database = await new Promise((resolve, reject) => {
    const opening = indexedDB.open("cra-wasm");
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  const all = (name) => new Promise((resolve) => {
    const asked = database.transaction(name).objectStore(name).getAll();
    asked.onsuccess = () => resolve(asked.result);
  });
  const keys = await all("keys");
  const checkpoints = (await all("checkpoints")).map(({ key, note }) => [key, note.split("\\n")[1]]);
  database.close();
  const exported = await crypto.subtle.exportKey("pkcs8", keys[0].privateKey)
    .then(() => "", (error) => error.name);
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", keys[0].publicKey));
  const extractable = keys.map(({ privateKey }) => privateKey.extractable);
  return { checkpoints, extractable, exported, public_key: [...raw] };
}"""


def signed(page: Page) -> Signed:
    found: Signed = page.evaluate(READ)
    return found


def end_session(workbench: Workbench, goal: str) -> int:
    """Record a session to its end; returns how many events it has."""
    workbench.load_example()
    workbench.resolve(goal)
    workbench.page.get_by_role("button", name="End session").click()
    workbench.expect_event("session.ended", "completed")
    return workbench.expect_valid()


def test_a_session_is_signed_at_its_end_by_a_key_that_outlives_the_page(
    workbench: Workbench, address: str
) -> None:
    count = end_session(workbench, "Refund order 1234")
    session = workbench.page.locator("#trace-session")
    expect(session).to_contain_text(f"signed, {count} of {count} events covered")
    before = signed(workbench.page)
    assert [size for _, size in before["checkpoints"]] == [str(count)]
    assert (before["extractable"], before["exported"]) == ([False], "InvalidAccessError")

    workbench.open(address)
    workbench.sessions.filter(has_text="Refund order 1234").get_by_role("button", name="Show session").click()
    expect(session).to_contain_text(f"signed, {count} of {count} events covered")
    end_session(workbench, "Refund order 5678")
    after = signed(workbench.page)
    assert (after["extractable"], after["public_key"]) == ([False], before["public_key"])
    assert len(after["checkpoints"]) == 2
    assert {key for key, _ in after["checkpoints"]} == {before["checkpoints"][0][0]}
