"""Start-up: progress while it runs, and a reason that people can read when it does not come to an end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from playwright.sync_api import BrowserContext, expect

from cra_wasm.serve import SiteHandler

if TYPE_CHECKING:
    from conftest import Watch, Workbench

ServeWith: TypeAlias = Callable[..., AbstractContextManager[str]]
SiteWithout: TypeAlias = Callable[[str], Path]


class HeldBack(SiteHandler):
    """Answers the core's wasm only once it is released."""

    released: threading.Event

    def answer(self, *, with_body: bool) -> None:
        if self.path.endswith("pyodide.asm.wasm"):
            self.released.wait()
        super().answer(with_body=with_body)


class WithoutWasm(SiteHandler):
    """A host whose policy forbids WebAssembly."""

    def send_header(self, keyword: str, value: str) -> None:
        super().send_header(keyword, value.replace("'wasm-unsafe-eval'", ""))


@pytest.fixture
def bench(context: BrowserContext, workbench_on: type[Workbench]) -> Workbench:
    """A page that is not open yet."""
    return workbench_on(context.new_page())


def test_progress_is_visible_until_the_page_is_ready(
    bench: Workbench, site: Path, serve_with: ServeWith
) -> None:
    released = threading.Event()
    with serve_with(HeldBack, site, released=released) as address:
        bench.page.goto(address)
        expect(bench.page.get_by_role("progressbar", name="Starting the runtime")).to_be_visible()
        expect(bench.page.get_by_role("button", name="Load example")).to_be_hidden()
        released.set()
        bench.expect_ready()
        expect(bench.page.get_by_role("progressbar")).to_be_hidden()
        expect(bench.page.get_by_role("status").first).to_contain_text("Runtime ready")
        # What warns of a script that never ran is gone, not only unseen.
        expect(bench.page.get_by_text("script has not started")).to_have_count(0)


def test_a_start_without_progress_is_told_and_still_comes_through(
    bench: Workbench, site: Path, serve_with: ServeWith
) -> None:
    released = threading.Event()
    bench.page.clock.install()
    with serve_with(HeldBack, site, released=released) as address:
        bench.page.goto(address)
        # By then all is done that does not wait for the file held back, so no progress resets the watchdog.
        expect(bench.page.get_by_text("(1 of 4)")).to_be_visible()
        bench.page.clock.fast_forward(31_000)
        problem = bench.page.get_by_role("alert").filter(has_text="has not started yet")
        expect(problem.get_by_text("boot_stalled", exact=True)).to_be_visible()
        expect(problem).to_contain_text("no progress for 30 seconds")
        released.set()
        bench.expect_ready()
        expect(bench.page.get_by_text("boot_stalled")).to_have_count(0)


@pytest.mark.parametrize(
    "pattern", ["pyodide/pydantic_core-*.whl", "pyodide/cra_wasm-*.whl", "pyodide/pyodide.asm.wasm"]
)
def test_a_missing_file_is_named(
    bench: Workbench, watch: Watch, serve_with: ServeWith, site_without: SiteWithout, pattern: str
) -> None:
    watch.expects(r"404|Failed to fetch|while loading|not ok|wasm instantiation")
    with serve_with(SiteHandler, site_without(pattern)) as address:
        bench.page.goto(address)
        problem = bench.expect_boot_failure("file_missing")
        expect(problem).to_contain_text(pattern.partition("*")[0])
        expect(problem.get_by_role("button", name="Try again")).to_be_visible()
        # A reason, not a dump: Pyodide's own tracebacks run to a megabyte.
        assert 20 < len(problem.inner_text()) < 5_000
        expect(bench.page.get_by_role("progressbar")).to_be_hidden()


def test_a_policy_that_forbids_wasm_is_named_at_once(
    bench: Workbench, watch: Watch, site: Path, serve_with: ServeWith
) -> None:
    watch.expects(r"Content Security Policy|unsafe-eval")
    with serve_with(WithoutWasm, site) as address:
        bench.page.goto(address)
        expect(bench.expect_boot_failure("wasm_refused")).to_contain_text("cra-wasm serve")


def test_trying_again_boots_once_the_file_is_there(
    bench: Workbench, watch: Watch, site: Path, serve_with: ServeWith, site_without: SiteWithout
) -> None:
    watch.expects(r"404|Failed to fetch|while loading")
    broken = site_without("pyodide/cra_wasm-*.whl")
    with serve_with(SiteHandler, broken) as address:
        bench.page.goto(address)
        problem = bench.expect_boot_failure("file_missing")
        for wheel in (site / "pyodide").glob("cra_wasm-*.whl"):
            (broken / "pyodide" / wheel.name).write_bytes(wheel.read_bytes())
        problem.get_by_role("button", name="Try again").click()
        bench.expect_ready().load_example()


def test_a_script_that_never_ran_is_told_without_a_script(
    bench: Workbench, watch: Watch, serve_with: ServeWith, site_without: SiteWithout
) -> None:
    watch.expects("404")
    with serve_with(SiteHandler, site_without("lib/dashboard.js")) as address:
        bench.page.goto(address)
        late = bench.page.get_by_text("script has not started")
        expect(late).to_be_hidden()
        bench.page.evaluate("for (const each of document.getAnimations()) each.finish()")
        expect(late).to_be_visible()
