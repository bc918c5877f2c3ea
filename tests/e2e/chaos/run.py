"""Chaos: pages that work, a seeded choice of what goes wrong, and after each fault a look at what is stored.

Two tabs write into one database all the time. After each fault the tabs are paused, and every session that
could have changed is verified: what flush() resolved for is there, chains hold, sessions whose writer is gone
have ended, and what is missing was told. Waits are on conditions of the pages, never on time.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import BrowserContext, CDPSession, Page, Playwright, Route

from cra_wasm.serve import serve_directory

from .browser import OwnBrowser
from .faults import FAULTS
from .ledger import Ledger
from .witness import Witness

HERE: Final = Path(__file__).resolve().parent
SITE: Final = HERE.parents[2] / "dist" / "site"
TABS: Final = 2
LONG_SECONDS: Final = 120
"""In a run of this length every timer has had its time."""
WAIT_MS: Final = 60_000
"""Until something that must happen counts as hung."""
BOOT_MS: Final = 150_000
"""As that, for a page that starts: 2 s, or 20 on a machine that is busy; createCra gives up after 120."""
LAST_WAIT_MS: Final = 300_000
"""Until all that was signed must be told, a message each."""

PAGE: Final = (
    '<!doctype html><title>chaos</title><link rel="icon" href="icon.svg">'
    '<script type="module" src="chaos.js"></script>'
)


@dataclass(slots=True, kw_only=True)
class Tab:
    """One page that works."""

    number: int
    page: Page
    devtools: CDPSession


class Run:
    """One run: a browser, its tabs, the ledger."""

    def __init__(self, browser: OwnBrowser, address: str, witness: Witness, seed: int) -> None:
        self.browser = browser
        self.address = address
        self.random = random.Random(seed)
        self.ledger = Ledger()
        self.witness = witness
        self.faults: Counter[str] = Counter()
        self.tabs: list[Tab] = []
        self._numbers = 0
        self._context: BrowserContext = self._start_browser()

    def _start_browser(self) -> BrowserContext:
        context = self.browser.start()
        context.set_default_timeout(WAIT_MS)
        script = (HERE / "page.js").read_text()
        context.route("**/chaos.html?*", lambda route: _answer(route, PAGE, "text/html"))
        context.route("**/chaos.js", lambda route: _answer(route, script, "text/javascript"))
        context.expose_binding("chaosReport", lambda _source, text: self.ledger.take(text))
        return context

    def open_tab(self) -> Tab:
        """Open another page and wait until it works."""
        page = self._context.new_page()
        page.on("pageerror", lambda error: self.ledger.violated(f"an error that nobody caught: {error}"))
        tab = Tab(number=-1, page=page, devtools=self._context.new_cdp_session(page))
        self.tabs.append(tab)
        return self.open_in(tab)

    def open_in(self, tab: Tab) -> Tab:
        """Have a tab load the page anew, under a number of its own."""
        tab.number = self._numbers
        self._numbers += 1
        self.ledger.expect_recovery()
        # Another address in the hash alone would not load anything.
        seed = self.random.randrange(1 << 31)
        tab.page.goto(f"{self.address}chaos.html?{tab.number}#{seed}-{tab.number}-{self.witness.port}")
        tab.page.wait_for_function("globalThis.ready === true", timeout=BOOT_MS)
        return tab

    def lose(self, tab: Tab) -> None:
        """The tab's page is gone."""
        self.ledger.abandon(tab.number)
        self.tabs.remove(tab)

    def restart_browser(self) -> None:
        """Kill it with all its tabs, and start it on the same profile."""
        self.browser.kill()
        for tab in list(self.tabs):
            self.lose(tab)
        self._context = self._start_browser()

    def wait_acks(self, tab: Tab, count: int) -> None:
        """Wait until the tab's flush has resolved so many times more."""
        tab.page.evaluate("acks = 0")
        tab.page.wait_for_function("wanted => acks >= wanted", arg=count)

    def wait_until(self, tab: Tab, condition: str, argument: object = None, wait_ms: int = WAIT_MS) -> bool:
        """Wait for a function of the page whose promise resolves to true; False when it never did.

        Playwright's own wait_for_function takes a promise for true and does not wait for it.
        """
        held: bool = tab.page.evaluate("asked => until(asked)", [condition, argument, wait_ms])
        return held

    def wait_recovered(self, tab: Tab) -> None:
        if not self.wait_until(tab, "recovered"):
            self.ledger.violated(f"tab {tab.number} did not recover in {WAIT_MS} ms")

    def wait_ended(self, tab: Tab, sessions: list[str]) -> None:
        """Wait until recovery has ended them; what it has not by then is the check's to tell."""
        if not self.wait_until(tab, "allEnded", sessions):
            print("sessions that must end:", tab.page.evaluate("sessions => locksOf(sessions)", sessions))

    def one_fault(self, name: str) -> None:
        """Let the tabs work, break something, look at what is stored."""
        tab = self.random.choice(self.tabs)
        self.wait_acks(tab, self.random.randrange(6))
        FAULTS[name](self, tab)
        self.faults[name] += 1
        self.check()

    def check(self) -> None:
        """Start what is missing, so that it recovers; then compare everything that may have changed."""
        while len(self.tabs) < TABS:
            self.open_tab()
        for tab in self.tabs:
            self.wait_recovered(tab)
        for tab in self.tabs:
            tab.page.evaluate("pause()")
        wanted = self.ledger.open_sessions()
        page = self.tabs[-1].page
        found = page.evaluate("wanted => audit(wanted)", wanted)
        if late := self.ledger.without_end(found):
            # The worker of a page that is gone may outlive it, and even store something: starts look again.
            self.wait_ended(self.tabs[-1], late)
            found = page.evaluate("wanted => audit(wanted)", wanted)
        self.ledger.check(wanted, found)
        self.ledger.check_own(page.evaluate("known => auditOwn(known)", self.ledger.known_sessions()))
        for tab in self.tabs:
            tab.page.evaluate("goOn()")

    def finish(self) -> None:
        """Close everything in order, and look a last time, from a page that starts anew."""
        for tab in list(self.tabs):
            tab.page.close()
            self.lose(tab)
        self.check()
        for tab in self.tabs:
            tab.page.evaluate("pause()")
        for tab in self.tabs:
            self.wait_until(tab, "allTold", wait_ms=LAST_WAIT_MS)
        page = self.tabs[-1].page
        self.ledger.check_signed(page.evaluate("signedEnds()"), self.witness.newest)


def _answer(route: Route, body: str, content_type: str) -> None:
    route.fulfill(body=body, content_type=content_type)


def run_chaos(
    playwright: Playwright, path: str, flags: list[str], *, seconds: float, seed: int, faults: list[str]
) -> dict[str, Any]:
    """Break things for so long; gives the report. Each of the faults comes once before any comes twice."""
    folder = Path(tempfile.mkdtemp(prefix="cra-chaos-"))
    witness = Witness(folder / "witness.sqlite3")
    server = serve_directory(SITE, port=0, connect=[witness.url])
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = OwnBrowser(playwright.chromium, path, flags, folder / "profile")
    started = time.monotonic()
    try:
        run = Run(browser, f"http://127.0.0.1:{server.server_address[1]}/", witness, seed)
        run.check()
        # Booting does not count, and one fault there always is: a busy machine breaks things, too.
        started = time.monotonic()
        order: list[str] = []
        while not run.faults or time.monotonic() - started < seconds:
            order = order or run.random.sample(faults, len(faults))
            name = order.pop()
            print(f"{time.monotonic() - started:6.1f} s  {name}", flush=True)
            run.one_fault(name)
            if run.ledger.violations:
                break
        run.finish()
        lasted = time.monotonic() - started
        if lasted >= LONG_SECONDS and set(faults) == FAULTS.keys() and not run.ledger.violations:
            run.ledger.check_timers()
        return {
            "seed": seed,
            "seconds": round(lasted),
            "faults": dict(sorted(run.faults.items())),
            "sessions": len(run.ledger.sessions),
            **dict(sorted(run.ledger.counts.items())),
            "heartbeats_stored": sum(run.ledger.own.values()),
            "lost": len(run.ledger.violations),
            "violations": run.ledger.violations,
        }
    finally:
        browser.kill()
        witness.close()
        server.shutdown()
        server.server_close()
        shutil.rmtree(folder, ignore_errors=True)
