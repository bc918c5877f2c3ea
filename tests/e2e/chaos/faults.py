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
    run.wait_ended(other, run.ledger.due_sessions())
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


STEP_BACK: Final = "() => { const now = Date.now; Date.now = () => now() - 3_600_000; }"
OPEN_NEWER: Final = """
giveUp => new Promise((resolve, reject) => {
  const request = indexedDB.open("chaos", 99);
  request.onupgradeneeded = () => { if (giveUp) request.transaction.abort(); };
  request.onsuccess = () => { globalThis.newer = request.result; resolve("opened"); };
  request.onerror = () => {
    if (giveUp) resolve(request.error.name);
    else reject(request.error);
  };
})
"""


def step_clock_back(run: Run, tab: Tab) -> None:
    """The wall clock of the workers goes back by an hour; the resolver must count the step."""
    steps = "() => cra.statistics().then(({ resolver }) => resolver.clock.steps)"
    before = tab.page.evaluate(steps)
    live = [worker for worker in tab.page.workers if worker.url.endswith(".worker.js")]
    assert live, "the page has no workers whose clock could be set"
    for worker in live:
        worker.evaluate(STEP_BACK)
    run.wait_acks(tab, 2)
    if tab.page.evaluate(steps) <= before:
        run.ledger.violated("the wall clock went back by an hour, and no clock.step was counted")


def give_up_upgrade(run: Run, tab: Tab) -> None:
    """A newer version begins its upgrade and gives it up: connections close, and nothing may be missing."""
    told = tab.page.evaluate(OPEN_NEWER, True)
    if told != "AbortError":
        run.ledger.violated(f"an upgrade that was given up ended with {told}")
    for each in run.tabs:
        run.wait_acks(each, 2)


def upgrade_database(run: Run, tab: Tab) -> None:
    """A newer version takes the database; each writer gives way, says so, and goes on once it is gone."""
    for each in run.tabs:
        each.page.evaluate("problems.length = 0")
    # Resolves only when every connection of the older version was closed.
    tab.page.evaluate(OPEN_NEWER, False)
    for each in run.tabs:
        each.page.wait_for_function("problems.includes('store_failed')")
    tab.page.evaluate("newer.close()")
    delete_database(run, tab)


def five_tabs(run: Run, tab: Tab) -> None:
    """Three more write into the same database, and are closed again."""
    more = [run.open_tab() for _ in range(5 - len(run.tabs))]
    for each in run.tabs:
        run.wait_acks(each, 2)
    run.check()
    for each in more:
        each.page.close()
        run.lose(each)


def pass_uncloneable(run: Run, tab: Tab) -> None:
    """Calls with what no message can carry reject, to either worker, and nothing else suffers."""
    for code in tab.page.evaluate("uncloneable()"):
        if code not in ("uncloneable_arguments", "invalid_id"):
            run.ledger.violated(f"a call with a function as an argument ended with {code}")
    run.wait_acks(tab, 2)


def slow_disk(run: Run, tab: Tab) -> None:
    """Payloads of nearly a million characters for a while: each transaction takes long."""
    tab.page.evaluate("large = 12")
    tab.page.wait_for_function("large === 0")


def lose_witness(run: Run, tab: Tab) -> None:
    """Nobody answers for a while; what was not told is told afterwards."""
    for change, name in ((run.witness.stop, "failed"), (run.witness.start, "sent")):
        change()
        before = tab.page.evaluate("witnessCounts()")
        if not run.wait_until(tab, "toldWitness", [name, before[name]]):
            run.ledger.violated(f"behind {change.__name__} of the witness the count {name} did not grow")
        run.wait_acks(tab, 2)


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
    "clock stepped back": step_clock_back,
    "upgrade begun and given up": give_up_upgrade,
    "upgraded by a newer version": upgrade_database,
    "five tabs at once": five_tabs,
    "arguments that cannot be cloned": pass_uncloneable,
    "slow disk by large segments": slow_disk,
    "witness out of reach": lose_witness,
}


def faults_named(names: str) -> list[str]:
    """Those of `A,B`, all where it is empty. ValueError for a fault that is none."""
    wanted = [name.strip() for name in names.split(",")] if names else sorted(FAULTS)
    if unknown := [name for name in wanted if name not in FAULTS]:
        raise ValueError(f"no such faults: {unknown}; these are: {sorted(FAULTS)}")
    return wanted
