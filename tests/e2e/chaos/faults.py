"""What goes wrong, each as a function of the run. After each of them work goes on, here or in a new tab."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from playwright.sync_api import Error as PlaywrightError

if TYPE_CHECKING:
    from .run import Run, Tab

Fault = Callable[["Run", "Tab"], None]


def end_trace_worker(run: Run, tab: Tab) -> None:
    """The page replaces it, and nothing is lost."""
    tab.page.evaluate("endWorker('trace worker')")


def end_resolver_worker(run: Run, tab: Tab) -> None:
    """What was not drained is lost with it; the page asks for another."""
    tab.page.evaluate("endWorker('resolver')")


def close_page(run: Run, tab: Tab) -> None:
    tab.page.close()
    run.lose(tab)


def leave_page(run: Run, tab: Tab) -> None:
    """Navigate: the page has the moment of its pagehide."""
    run.ledger.abandon(tab.number)
    run.open_in(tab)


def crash_page(run: Run, tab: Tab) -> None:
    with tab.page.expect_event("crash"), suppress(PlaywrightError):
        tab.page.goto("chrome://crash")
    run.lose(tab)
    tab.page.close()


def kill_browser(run: Run, tab: Tab) -> None:
    run.restart_browser()


def freeze_page(run: Run, tab: Tab) -> None:
    """Another tab starts meanwhile and takes the frozen one's sessions for interrupted."""
    tab.devtools.send("Emulation.setFocusEmulationEnabled", {"enabled": False})
    tab.devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    other = run.open_tab()
    run.wait_recovered(other)
    tab.devtools.send("Page.setWebLifecycleState", {"state": "active"})
    run.wait_acks(tab, 2)
    other.page.close()
    run.lose(other)


def fill_disk(run: Run, tab: Tab) -> None:
    """The origin's quota is used up, and given back once the page was told."""
    quota = {"origin": run.address.rstrip("/"), "quotaSize": 1}
    tab.page.evaluate("problems.length = 0")
    tab.devtools.send("Storage.overrideQuotaForOrigin", quota)
    tab.page.wait_for_function("problems.includes('store_full')")
    tab.devtools.send("Storage.overrideQuotaForOrigin", {"origin": quota["origin"]})


def delete_database(run: Run, tab: Tab) -> None:
    """Somebody deletes it under every tab; each makes it anew, and none pretends that nothing happened."""
    tab.page.evaluate(
        """new Promise((resolve, reject) => {
          const request = indexedDB.deleteDatabase("chaos");
          request.onsuccess = () => resolve(null);
          request.onerror = () => reject(request.error);
        })"""
    )
    run.ledger.forget_all()


FAULTS: Final[dict[str, Fault]] = {
    "trace worker ended": end_trace_worker,
    "resolver worker ended": end_resolver_worker,
    "page closed": close_page,
    "page left": leave_page,
    "page crashed": crash_page,
    "browser killed": kill_browser,
    "page frozen and thawed": freeze_page,
    "disk full and freed": fill_disk,
    "database deleted": delete_database,
}
