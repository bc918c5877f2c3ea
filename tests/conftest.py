"""What all tests share, on CPython and inside Pyodide alike. pyodide/conftest.py has the browsers' and Node's
part."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

ROOT = Path(__file__).resolve().parents[1]
INSIDE_PYODIDE = sys.platform == "emscripten"
CPYTHON_ONLY_MODULE = re.compile(r"^pytestmark = .*\bcpython_only\b", re.MULTILINE)

# No deadline: two cores run several interpreters at once, and a slow example is no wrong one. Inside Pyodide
# the examples are few and always the same: there they show that the platform agrees, the search is CPython's.
settings.register_profile("cpython", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "pyodide", parent=settings.get_profile("cpython"), max_examples=20, derandomize=True, database=None
)
settings.load_profile("pyodide" if INSIDE_PYODIDE else "cpython")

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--js-flags=--expose-gc",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--installed",
        action="store_true",
        help="refuse to run against the checkout: what users get is the wheel",
    )
    parser.addoption(
        "--examples",
        type=int,
        default=20 if INSIDE_PYODIDE else 200,
        help="how many examples the tests of the profile `long` try, those of `fuzz` a quarter; the same "
        "each time, or others with --hypothesis-seed=$RANDOM. ./build.sh test asks for 2000 once",
    )
    parser.addoption(
        "--no-shrinking",
        action="store_true",
        help="let a property test fail at once, with its first failing example: mutation testing wants it so",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--no-shrinking"):
        phases = [Phase.explicit, Phase.generate]
        settings.register_profile("cpython", parent=settings.get_profile("cpython"), phases=phases)
        settings.load_profile("cpython")
    searching = config.getoption("--hypothesis-seed", default=None) is not None
    settings.register_profile(
        "long",
        parent=settings.get_profile("cpython"),
        max_examples=config.getoption("--examples"),
        derandomize=not searching,
        database=None,
    )
    settings.register_profile(
        "medium",  # for what takes long to try once
        parent=settings.get_profile("long"),
        max_examples=max(20, config.getoption("--examples") // 10),
    )


def pytest_report_header() -> str:
    return f"cra_wasm: {_find_cra_wasm()}"


def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.getoption("--installed") and _find_cra_wasm().is_relative_to(ROOT / "cra_wasm"):
        pytest.exit(
            f"cra_wasm comes from the checkout: run pytest itself, not python -m pytest, in {ROOT}", 4
        )


def _find_cra_wasm() -> Path:
    spec = importlib.util.find_spec("cra_wasm")
    if spec is None or spec.origin is None:
        pytest.exit("cra_wasm is not installed: run ./build.sh setup", 4)
    return Path(spec.origin).resolve()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Inside Pyodide, do not even import a module that is marked cpython_only as a whole."""
    if INSIDE_PYODIDE and collection_path.suffix == ".py":
        return bool(CPYTHON_ONLY_MODULE.search(collection_path.read_text())) or None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("cpython_only"):
            if not marker.kwargs.get("reason"):
                raise pytest.UsageError(f"{item.nodeid}: cpython_only needs a reason=")
    if INSIDE_PYODIDE:
        left_out = [item for item in items if item.get_closest_marker("cpython_only")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The Chromium to drive: env CHROMIUM, what ./build.sh setup found, or PATH. A missing one fails."""
    remembered = ROOT / ".build" / "chromium"
    path = os.environ.get("CHROMIUM") or (remembered.read_text() if remembered.is_file() else "chromium")
    found = shutil.which(path)
    if found is None:
        pytest.fail(f"no Chromium at `{path}`: run ./build.sh setup, or set CHROMIUM", pytrace=False)
    return found


@pytest.fixture(scope="session")
def chromium_flags() -> list[str]:
    """What every Chromium here is started with: no sandbox (root in containers) and no traffic of its own."""
    return list(CHROMIUM_FLAGS)
