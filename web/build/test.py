"""Run every check and test, place by place, and end with one count over all of them.

    test.py [PLACE...]     only the places whose name contains one of the words

Two places run at a time, for each keeps one core busy, and the longest begins early. Each place writes a log
to .build/logs and its reports to .build/reports. One that ends badly without naming a failed test, or in
which nothing passed, counts as one failure: what did not run cannot look green.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from interpreters import SUPPORTED, find_environments, find_interpreters
from settings import CACHE, DIST, ROOT, WEB

BIN = Path(sys.executable).parent
LOGS, REPORTS = CACHE / "logs", CACHE / "reports"
SUITES = [f"tests/{name}" for name in ("smoke", "unit", "conformance") if (ROOT / "tests" / name).is_dir()]
PROGRESS_SECONDS = 20
UNIT_TEST_SECONDS, PAGE_TEST_SECONDS, SUITE_SECONDS = 1_800, 400, 3_000
"""What ends a test that hangs. Wide: a shared machine is at times three times slower than another."""
INSIDE_PYODIDE = ["--dist-dir", "dist/test-pyodide", "--runner", "playwright"]
NODE_COUNT = re.compile(r"^\S* ?(pass|fail|cancelled|skipped|todo) (\d+)$", re.MULTILINE)


@dataclass(slots=True)
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


@dataclass(slots=True, kw_only=True)
class Place:
    """Where tests run: a command, and how to read from it what it counted."""

    name: str
    command: Sequence[str | Path]
    count: Callable[[Place, str], Count]
    folder: Path = ROOT
    prepare: Callable[[], None] = field(default=lambda: None)

    @property
    def slug(self) -> str:
        return re.sub(r"\W+", "-", self.name).strip("-").lower()


def pytest_place(
    name: str, arguments: Sequence[str], binaries: Path = BIN, prepare: Callable[[], None] = lambda: None
) -> Place:
    place = Place(name=name, command=[], count=count_junit, prepare=prepare)
    report = REPORTS / f"{place.slug}.xml"
    # pytest itself and not `python -m pytest`, which would put the checkout on sys.path.
    place.command = [binaries / "pytest", "--installed", "-q", f"--junitxml={report}", *arguments]
    return place


def find_places() -> list[Place]:
    (wheel,) = DIST.glob("cra_wasm-*.whl")
    version = "{}.{}".format(*sys.version_info)
    places = [
        Place(name="checks", command=[sys.executable, "web/build/check.py"], count=count_checks),
        pytest_place("end to end in Chromium", ["tests/e2e", f"--timeout={PAGE_TEST_SECONDS}"]),
        pytest_place(
            f"CPython {version}",
            [
                *SUITES,
                "tests/architecture",
                "tests/build",
                f"--timeout={UNIT_TEST_SECONDS}",
                "--examples=2000",
            ],
        ),
    ]
    # The search for examples is the work of one interpreter; the others show that they agree.
    for each in find_environments():
        label = f"CPython {each.version}" + (", lowest pydantic" if each.packages == "lowest" else "")
        prepare = partial(each.prepare, wheel)
        places.append(
            pytest_place(
                label,
                [*SUITES, f"--timeout={UNIT_TEST_SECONDS}", "--examples=20"],
                each.folder / "bin",
                prepare,
            )
        )
    places += [
        Place(name="web", command=["npm", "test", "--silent"], count=count_node_tests, folder=WEB),
        Place(
            name="web on the site",
            command=["npm", "run", "--silent", "test:site"],
            count=count_node_tests,
            folder=WEB,
        ),
        pytest_place(
            "Pyodide in Node", ["tests/pyodide", *INSIDE_PYODIDE, "--rt=node", f"--timeout={SUITE_SECONDS}"]
        ),
        pytest_place(
            "Pyodide in Chromium",
            ["tests/pyodide", *INSIDE_PYODIDE, "--rt=chrome", f"--timeout={SUITE_SECONDS}"],
        ),
    ]
    return places


def count_junit(place: Place, log: str) -> Count:
    """Add up the place's own report and those that pytest wrote inside Pyodide."""
    total = Count()
    for report in [REPORTS / f"{place.slug}.xml", *REPORTS.glob(f"inside-{place.slug}-*.xml")]:
        if report.is_file():
            for suite in ElementTree.parse(report).getroot().iter("testsuite"):
                tests, failures, errors, skipped = (
                    int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
                )
                failed = failures + errors
                total.add(Count(max(0, tests - failed - skipped), failed, skipped))
    return total


def count_node_tests(place: Place, log: str) -> Count:
    counts = {word: int(number) for word, number in NODE_COUNT.findall(log)}
    failed = counts.get("fail", 0) + counts.get("cancelled", 0)
    return Count(counts.get("pass", 0), failed, counts.get("skipped", 0) + counts.get("todo", 0))


def count_checks(place: Place, log: str) -> Count:
    counted = re.search(r"^(\d+) checks passed, (\d+) failed$", log, re.MULTILINE)
    return Count(int(counted[1]), int(counted[2])) if counted else Count()


def run_places(places: Sequence[Place]) -> list[Count]:
    """Begin them in order, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run_place, places))


def run_place(place: Place) -> Count:
    print(f"== {place.name}", flush=True)
    place.prepare()
    log = LOGS / f"{place.slug}.log"
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            place.command, cwd=place.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        while True:
            try:
                exit_code = process.wait(PROGRESS_SECONDS)
                break
            except subprocess.TimeoutExpired:
                print(f"   {place.name}: {time.monotonic() - started:.0f} s ...", flush=True)
    text = log.read_text(errors="replace")
    count = place.count(place, text)
    if count.failed == 0 and (exit_code != 0 or count.passed == 0):
        count.failed = 1
    if count.failed:
        print("\n".join(line[:300] for line in text.splitlines()[-60:]))
        print(f"   exit {exit_code}; the whole log: {log.relative_to(ROOT)}")
    print(f"   {place.name}: {count} in {time.monotonic() - started:.0f} s", flush=True)
    return count


def main(words: Sequence[str]) -> int:
    for folder in (LOGS, REPORTS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    places = [place for place in find_places() if not words or any(word in place.name for word in words)]
    if not places:
        print(f"no place is called {' or '.join(words)}", file=sys.stderr)
        return 2
    total = Count()
    summary = []
    for place, count in zip(places, run_places(places), strict=True):
        total.add(count)
        summary.append(f"  {place.name:<30} {count}")
    missing = [version for version in SUPPORTED if version not in find_interpreters()]
    if missing and not words:
        summary.append(f"  {'CPython ' + ', '.join(missing):<30} not on this machine")
    print("\n== Summary")
    print("\n".join(summary))
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
