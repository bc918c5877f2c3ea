"""Runs the same benchmarks in this process, in Node, or in a worker of Chromium, and names the machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ..errors import CRAError, Json
from ..platform.threads import ThreadDrive
from ..serve import serve_directory
from . import inside
from .catalogue import select
from .inside import Tell
from .pauses import run_traced

CHROMIUM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_PLACES: Final = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
CHROMIUM_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # with it Chromium refuses to run as root, as in containers; it loads our site only
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_RUN_IN_PAGE: Final = """async (options) => {
    const { runInWorker } = await import(new URL("lib/bench.js", location.href).href);
    return await runInWorker(options, (line) => void globalThis.craBenchTell(line));
}"""


def measure(
    runtime: str,
    names: Sequence[str],
    *,
    runs: int,
    quick: bool,
    site: Path,
    tell: Tell = lambda _: None,
) -> dict[str, Json]:
    """Measure in a runtime and return the report, with machine and time.

    Raises:
        InvalidInput: `unknown_benchmark`, `invalid_arguments`.
        CRAError: `bench_unavailable` when the site, Node, Chromium or Playwright is missing; `bench_failed`.
    """
    inside.check_runs(runs)
    select(names, runtime)
    machine = machine_facts()
    load_before = load_average()
    if runtime == "cpython":
        report = inside.run(names, runs=runs, quick=quick, tell=tell)
    else:
        options: dict[str, Json] = {"names": list(names), "runtime": runtime, "runs": runs, "quick": quick}
        check_site(site)
        ask = _ask_node if runtime == "node" else _ask_chromium
        report = _read_report(runtime, ask(site, options, tell))
    report["machine"] = {**machine, "load_before": load_before, "load_after": load_average()}
    report["measured_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return report


def machine_facts() -> dict[str, Json]:
    """Return {"cpu", "cores", "os"} of this machine."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 1,
        "os": f"{platform.system()} {platform.release()}",
    }


def load_average() -> float | None:
    """Return the load of the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no Linux
    return platform.processor() or platform.machine() or "unknown processor"


def check_site(site: Path) -> None:
    """Raise CRAError `bench_unavailable` unless the built site with the benchmarks is there."""
    for part in ("lib/bench.js", "pyodide/pyodide-lock.json"):
        if not (site / part).is_file():
            raise _unavailable(f"`{site}` has no {part}", "run ./build.sh site, or name the site with --site")


def _unavailable(what: str, remedy: str) -> CRAError:
    return CRAError("bench_unavailable", f"{what}: {remedy}")


def _read_report(runtime: str, text: str) -> dict[str, Json]:
    try:
        report: dict[str, Json] = json.loads(text)
        error = report.get("error")
    except (ValueError, AttributeError):
        raise CRAError("bench_failed", f"{runtime} gave no report: {text[-500:]!r}") from None
    if error is not None:
        raise CRAError(str(error["code"]), str(error["message"]), **error["details"])
    return report


def _ask_node(site: Path, options: Mapping[str, Json], tell: Tell) -> str:
    node = shutil.which("node")
    if node is None:
        raise _unavailable("there is no `node` on the PATH", "install Node 20.19 or newer")
    script = str((site / "lib" / "bench.js").resolve())
    said: list[str] = []
    with subprocess.Popen(
        [node, script, json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                said.append(line)
                if not line.startswith("{"):  # the report, its last line
                    tell(line.rstrip("\n"))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        end = "".join(said[-20:])[-2_000:]
        raise CRAError("bench_failed", f"node ended with {process.returncode}: {end}")
    return said[-1] if said else ""


def _ask_chromium(site: Path, options: Mapping[str, Json], tell: Tell) -> str:
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise _unavailable("Playwright for Python is not installed", "pip install playwright") from None
    executable = find_chromium()
    with _served(site) as address, sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        except Error as error:
            where = executable or "Playwright's own"
            raise _unavailable(
                f"Chromium ({where}) does not start: {str(error)[:300]}",
                "install one, or set CHROMIUM to the path of one",
            ) from None
        try:
            page = browser.new_page()
            page.expose_function("craBenchTell", tell)
            page.goto(f"{address}bench.html")
            given = {**options, "versions": {"chromium": browser.version}}

            def run(names: Sequence[str]) -> dict[str, Json]:
                report: dict[str, Json] = json.loads(
                    str(page.evaluate(_RUN_IN_PAGE, {**given, "names": list(names)}))
                )
                return report

            return json.dumps(run_traced(browser, page, run, select(options["names"], "chromium")))
        except Error as error:
            raise CRAError("bench_failed", f"Chromium: {str(error)[:2_000]}") from None
        finally:
            browser.close()


@contextmanager
def _served(site: Path) -> Iterator[str]:
    server = serve_directory(site, port=0, isolated=True)
    server.daemon_threads = True
    server.block_on_close = False  # idle connections of a browser that is gone end by themselves
    server.timeout = 0.1
    drive = ThreadDrive("cra-serve")
    drive.start(server.handle_request, 0)
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        drive.stop()
        drive.join()
        server.server_close()


def find_chromium(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of a Chromium: env CHROMIUM, PATH, the usual places.

    None leaves it to Playwright, which may have one of its own.

    Raises:
        CRAError: `bench_unavailable` when CHROMIUM names none: somebody meant that one.
    """
    wanted = environment.get("CHROMIUM")
    if wanted:
        found = shutil.which(wanted)
        if found is None:
            raise _unavailable(f"CHROMIUM is `{wanted}`, which cannot be run", "set it to a Chromium's path")
        return found
    candidates = [*(shutil.which(name) for name in CHROMIUM_NAMES), *CHROMIUM_PLACES]
    return next((one for one in candidates if one and Path(one).is_file()), None)
