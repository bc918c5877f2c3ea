"""The built page in a real Chromium: a server for dist/site, a watched browser, the page as a person sees it.

A missing browser or site fails here and never skips: a page that nobody tried is a page that does not work.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    expect,
    sync_playwright,
)

from cra_wasm.serve import SiteHandler, serve_directory

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "dist" / "site"
BOOT_MS = 90_000
"""Until the page is ready; it takes two seconds, and longer on a machine that runs other tests beside."""

expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def site() -> Path:
    """The built site; a part that is missing is a failure."""
    for part in ("index.html", "lib/dashboard.js", "pyodide/pyodide.mjs", "pyodide/pyodide-lock.json"):
        if not (SITE / part).is_file():
            pytest.fail(f"dist/site has no {part}: run ./build.sh site", pytrace=False)
    return SITE


@contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[str]:
    """Answer requests on threads; gives the address of the page."""
    server.daemon_threads = True
    # A test may hold an answer back for good; closing must not wait for it.
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def serve_with() -> Callable[..., AbstractContextManager[str]]:
    """Serve a folder with a handler made for the test; `members` become the handler's."""

    def serving(handler: type[SiteHandler], root: Path, **members: object) -> AbstractContextManager[str]:
        made = type("Handler", (handler,), members)
        return served(ThreadingHTTPServer(("127.0.0.1", 0), partial(made, root)))

    return serving


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served, just as `cra-wasm serve` does."""
    with served(serve_directory(site, port=0)) as url:
        yield url


@pytest.fixture
def site_without(site: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Make a copy of the site that lacks what a glob matches."""

    def copy(pattern: str) -> Path:
        target = tmp_path / "site"
        shutil.copytree(site, target)
        removed = [path.unlink() for path in target.glob(pattern)]
        assert removed, f"nothing in the site matches {pattern}"
        return target

    return copy


@pytest.fixture(scope="session")
def browser(chromium_path: str, chromium_flags: list[str]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=chromium_path, args=["--headless=new", *chromium_flags]
        )
        yield launched
        launched.close()


class Watch:
    """What no page may do unseen: console errors (the policy's refusals too), exceptions, other origins."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.origins: set[str] = set()
        self._expected: list[re.Pattern[str]] = []
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.complaints.append(f"exception: {error.error}"))
        context.on("request", lambda request: self.origins.add("/".join(request.url.split("/")[:3])))

    def expects(self, pattern: str) -> None:
        """Let console messages that match pass: the test breaks the site on purpose."""
        self._expected.append(re.compile(pattern))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console.{message.type}: {message.text}")

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(each.search(text) for each in self._expected)]

    def foreign_origins(self) -> set[str]:
        return {
            url for url in self.origins if not url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:"))
        }


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of its own: no cache, no stored sessions."""
    made = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    yield made
    made.close()


@pytest.fixture
def watch(context: BrowserContext) -> Iterator[Watch]:
    """Part of every test with a page: it fails the test for what the browser complained about."""
    watcher = Watch(context)
    yield watcher
    assert watcher.unexpected() == []
    assert watcher.foreign_origins() == set()


class Workbench:
    """The page through its labels and roles, as somebody with a keyboard or a screen reader finds things."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.atlas = page.get_by_role("region", name="Atlas")
        self.goal = page.get_by_role("region", name="Goal")
        self.actions = page.get_by_role("region", name="Actions")
        self.sessions = page.get_by_role("list", name="Stored sessions").get_by_role("listitem")
        self.loaded = page.get_by_role("list", name="Loaded atlases").get_by_role("listitem")
        self.badge = page.get_by_role("status", name="Verification")
        self.events = page.get_by_role("table", name="Events of the session").locator("tr.event")
        self.answer = page.get_by_role("region", name="Answer")

    def open(self, address: str) -> Workbench:
        self.page.goto(address)
        return self.expect_ready()

    def expect_ready(self) -> Workbench:
        expect(self.page.get_by_role("button", name="Load example")).to_be_visible(timeout=BOOT_MS)
        return self

    def expect_boot_failure(self, code: str) -> Locator:
        """Wait for the reason why it did not start; returns the place where it stands."""
        problem = self.page.get_by_role("alert").filter(has_text="The runtime could not start")
        expect(problem.get_by_text(code, exact=True)).to_be_visible(timeout=BOOT_MS)
        return problem

    def load_example(self, label: str = "Customer support with refunds") -> None:
        self.page.get_by_label("Example atlas").select_option(label=label)
        self.page.get_by_role("button", name="Load example").click()
        expect(self.loaded).to_have_count(1)

    def choose_file(self, name: str, content: bytes) -> None:
        chosen = {"name": name, "mimeType": "application/json", "buffer": content}
        self.page.get_by_label("Or your own atlas file").set_input_files(files=[chosen])

    def resolve(
        self, goal: str = "Refund order 1234", *, agent: str = "demo-agent", risk: str = "low"
    ) -> None:
        self.page.get_by_label("Goal", exact=True).fill(goal)
        if self.page.get_by_label("Agent ID").is_editable():
            self.page.get_by_label("Agent ID").fill(agent)
        self.page.get_by_label("Risk tier").select_option(risk)
        self.page.get_by_role("button", name="Resolve").click()
        # Ends only when the events of this goal are shown and verified.
        expect(
            self.events.filter(has_text="carp.request.received").filter(has_text=goal[:60])
        ).not_to_have_count(0)
        self.expect_valid()

    def action(self, action_id: str) -> Locator:
        listed = self.page.get_by_role("list", name="Actions of the resolution").get_by_role("listitem")
        return listed.filter(has=self.page.get_by_text(action_id, exact=True))

    def call(self, button: str, parameters: str | None = None) -> None:
        """Open an action's form by its button (such as `Execute ticket.read`) and run it."""
        self.page.get_by_role("button", name=button, exact=True).click()
        if parameters is not None:
            self.page.get_by_label("Parameters (JSON)").fill(parameters)
        self.page.get_by_role("button", name="Run with the simulated executor").click()

    def expect_event(self, event_type: str, text: str = "") -> None:
        found = self.events.filter(has=self.page.get_by_role("cell", name=event_type, exact=True))
        expect(found.filter(has_text=text).first).to_be_visible()

    def expect_valid(self) -> int:
        """Wait until the badge counts as many events as are shown; returns how many."""
        expect(self.badge).to_contain_text(re.compile(r"valid · [0-9,]+ events"))
        count = self.events.count()
        expect(self.badge).to_have_text(f"valid · {count} events")
        return count


@pytest.fixture
def workbench_on(watch: Watch) -> type[Workbench]:
    """For tests with a page, a tab or a server of their own."""
    return Workbench


@pytest.fixture
def workbench(context: BrowserContext, watch: Watch, address: str) -> Workbench:
    """The page, booted."""
    return Workbench(context.new_page()).open(address)
