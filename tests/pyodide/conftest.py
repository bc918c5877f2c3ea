"""pytest-pyodide in Node and Chromium: one Pyodide per runtime and session, over dist/test-pyodide.

Run as `pytest tests/pyodide --dist-dir dist/test-pyodide --runner playwright --rt node,chrome`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Error as PlaywrightError
from pytest_pyodide import get_global_config
from pytest_pyodide.fixture import selenium_common

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"
REPORTS = ROOT / ".build" / "reports"
NODE_TIMEOUT_SECONDS = 3_000
"""How long one call may take in Node; pytest-pyodide's 60 s are too short for a whole suite in one call."""
NODE_LAST_WORDS = "\r\nNode.js v"
"""What Node prints last when an uncaught error ends it."""

# Node's runner evaluates in a bare vm context, which has the language's globals and nothing of the
# platform's.
get_global_config().add_node_extra_globals(
    """AbortSignal atob Blob BroadcastChannel btoa clearImmediate console crypto DOMException Event
    EventTarget fetch Headers MessageChannel MessagePort performance queueMicrotask Response
    setImmediate structuredClone URL URLSearchParams""".split()
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `runtime` its values sorted; pytest-pyodide's own come from a set, in an order that varies."""
    if "runtime" in metafunc.fixturenames:
        runtimes = sorted(pytest.pyodide_runtimes)  # type: ignore[attr-defined]
        metafunc.parametrize("runtime", runtimes, indirect=True, scope="session")


@pytest.fixture(scope="session")
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def playwright_browsers(chromium_path: str, chromium_flags: list[str]) -> Iterator[dict[str, Any]]:
    """Replaces pytest-pyodide's own, which cannot take an executable and gives up when node is a runtime."""
    from playwright.sync_api import sync_playwright

    if not any(DIST.glob("test-pyodide/pyodide-lock.json")):
        pytest.fail("dist/test-pyodide is not there: run ./build.sh site", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=chromium_flags)
        yield {"chrome": browser}
        browser.close()


@pytest.fixture(scope="session")
def selenium_module_scope(
    request: pytest.FixtureRequest, runtime: str, web_server_main: Any, playwright_browsers: dict[str, Any]
) -> Iterator[Any]:
    """Replaces pytest-pyodide's own, which boots a Pyodide per module: minutes, for the same answers."""
    with selenium_common(request, runtime, web_server_main, browsers=playwright_browsers) as runner:
        yield allow_long_calls(runner)


@pytest.fixture
def fresh_pyodide(
    request: pytest.FixtureRequest, runtime: str, web_server_main: Any, playwright_browsers: dict[str, Any]
) -> Iterator[Any]:
    """A Pyodide of the test's own, for tests of what happens before anything is installed."""
    with selenium_common(request, runtime, web_server_main, browsers=playwright_browsers) as runner:
        yield allow_long_calls(runner)


def allow_long_calls(runner: Any) -> Any:
    """Give Node's runner time for a whole suite in one call, and let it notice when Node itself dies.

    Node runs under a shell that outlives it: pytest-pyodide would wait the whole time for a dead process.
    """
    if runner.browser != "node":
        return runner
    runner.script_timeout = NODE_TIMEOUT_SECONDS
    runner.p.timeout = NODE_TIMEOUT_SECONDS
    expect_exact = runner.p.expect_exact

    def expect_exact_or_death(pattern: str, timeout: float = -1) -> int:
        if expect_exact([pattern, NODE_LAST_WORDS], timeout=timeout) == 1:
            raise runner.JavascriptException("Node died", runner.p.before.decode(errors="replace")[-5_000:])
        return 0

    runner.p.expect_exact = expect_exact_or_death
    return runner


@pytest.fixture(scope="session")
def run_tests_inside(
    request: pytest.FixtureRequest,
    runtime: str,
    web_server_main: Any,
    playwright_browsers: dict[str, Any],
    project_url: str,
) -> Callable[[str], list[ElementTree.Element]]:
    """Return a function that runs a folder of tests inside a Pyodide of its own and returns the JUnit cases.

    The report lands in .build/reports too, where ./build.sh test counts the cases one by one. A renderer that
    crashes is Chromium's, no test's: the folder is run once more, and the log says so. A second crash fails.
    """

    def run_once(folder: str) -> tuple[int, str, str]:
        with selenium_common(request, runtime, web_server_main, browsers=playwright_browsers) as runner:
            allow_long_calls(runner)
            runner.load_package(["cra-wasm", "blake3", "pytest", "hypothesis"])
            runner.run_async(UNPACK_PROJECT.format(url=project_url))
            exit_code, output, report = runner.run_async(RUN_PYTEST.format(folder=folder))
            return exit_code, output, report

    def run(folder: str) -> list[ElementTree.Element]:
        try:
            exit_code, output, report = run_once(folder)
        except PlaywrightError as error:
            if "Target crashed" not in str(error):
                raise
            terminal = request.config.pluginmanager.getplugin("terminalreporter")
            terminal.write_line(f"Chromium's renderer crashed in {folder}: running it once more")
            exit_code, output, report = run_once(folder)
        REPORTS.mkdir(parents=True, exist_ok=True)
        if not report:
            pytest.fail(
                f"pytest inside Pyodide ended with {exit_code} and no report:\n{output}", pytrace=False
            )
        place = "pyodide-in-node" if runtime == "node" else "pyodide-in-chromium"
        (REPORTS / f"inside-{place}-{Path(folder).name}.xml").write_text(report)
        if exit_code != 0:
            pytest.fail(f"inside Pyodide, exit {exit_code}:\n{output[-20_000:]}", pytrace=False)
        return list(ElementTree.fromstring(report).iter("testcase"))

    return run


@pytest.fixture(scope="session")
def project_url(web_server_main: tuple[str, int, Any]) -> str:
    """The address of a zip with the tests and what they read, as they stand in the checkout."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.write(ROOT / "pyproject.toml", "pyproject.toml")
        target.write(ROOT / "tests" / "conftest.py", "tests/conftest.py")
        for folder in ("tests/unit", "tests/smoke", "tests/conformance", "examples/atlases", "specs"):
            for path in sorted((ROOT / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    target.write(path, path.relative_to(ROOT).as_posix())
        # Upstream's own tests of PyPI's blake3, from the sdist that the wheel was compiled from.
        target.write(ROOT / "tests" / "blake3_sdist" / "conftest.py", "tests/blake3_sdist/conftest.py")
        for path in blake3_sdist_tests():
            target.write(path, f"tests/blake3_sdist/{path.name}")
    (DIST / "test-pyodide" / "project.zip").write_bytes(archive.getvalue())
    host, port, _ = web_server_main
    return f"http://{host}:{port}/project.zip"


def blake3_sdist_tests() -> list[Path]:
    """Return upstream's tests and vectors as ./build.sh blake3 unpacked them."""
    (folder,) = (ROOT / ".build" / "native").glob("blake3-*/tests")
    return [folder / "test_blake3.py", folder / "test_vectors.json"]


@pytest.fixture(scope="session")
def wheel_url(web_server_main: tuple[str, int, Any]) -> str:
    """The address of the built wheel, the one with .py files that PyPI would have."""
    (wheel,) = (DIST / "test-pyodide").glob("cra_wasm-*-py3-none-any.whl")
    host, port, _ = web_server_main
    return f"http://{host}:{port}/{wheel.name}"


UNPACK_PROJECT = """
import io, zipfile
from pyodide.http import pyfetch
response = await pyfetch({url!r})
zipfile.ZipFile(io.BytesIO(await response.bytes())).extractall("/project")
"""

RUN_PYTEST = """
import contextlib, io, os, pathlib, pytest
os.chdir("/project")
report = pathlib.Path("/tmp/report.xml")
report.unlink(missing_ok=True)
with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
    # --capture=sys: there are no file descriptors to duplicate. No cache: nobody reads it.
    exit_code = pytest.main([
        {folder!r}, "--capture=sys", "-p", "no:cacheprovider", "--junitxml", str(report), "-q",
    ])
[int(exit_code), output.getvalue(), report.read_text() if report.exists() else ""]
"""
