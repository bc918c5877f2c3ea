"""Find a Chromium for the browser tests, or get one; remember its path in .build/chromium.

The order: env CHROMIUM, PATH, the usual places, apt-get when root, Playwright's own download.
tests/conftest.py reads the remembered path, so pytest works without build.sh too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cache import fail, say
from settings import CACHE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PLACES = (
    "/usr/bin/chromium",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
REMEMBERED = CACHE / "chromium"


def find_chromium() -> str | None:
    """Return the path of an installed Chromium.

    A CHROMIUM that names no file is an error and not a reason to look further: somebody meant that one.
    """
    wanted = os.environ.get("CHROMIUM")
    if wanted:
        found = shutil.which(wanted)
        if found is None:
            fail(
                f"CHROMIUM is `{wanted}`, which cannot be run",
                "set it to the path of a Chromium, or unset it",
            )
        return found
    if REMEMBERED.is_file() and Path(REMEMBERED.read_text()).is_file():
        return REMEMBERED.read_text()
    candidates = [*(shutil.which(name) for name in NAMES), *PLACES, playwright_chromium()]
    return next((path for path in candidates if path and Path(path).is_file()), None)


def playwright_chromium() -> str | None:
    """Return where Playwright keeps the Chromium it downloads, whether or not it has."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def install_chromium() -> None:
    """Try apt-get, then Playwright's download; both may fail, which find_chromium then shows."""
    if sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing Chromium with apt-get")
        attempt(["apt-get", "-qq", "update"])
        attempt(["apt-get", "-qq", "install", "--yes", "--no-install-recommends", "chromium"])
    if find_chromium() is None:
        say("downloading Chromium with Playwright")
        attempt([sys.executable, "-m", "playwright", "install", "chromium"])


def attempt(command: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print("\n".join((done.stdout + done.stderr).splitlines()[-5:]), file=sys.stderr)


def main() -> None:
    path = find_chromium()
    if path is None:
        install_chromium()
        path = find_chromium()
    if path is None:
        fail(
            "no Chromium found, none could be installed, and CHROMIUM names none",
            "install one (Debian: apt-get install chromium; macOS: brew install --cask chromium)",
        )
    CACHE.mkdir(exist_ok=True)
    REMEMBERED.write_text(path)


if __name__ == "__main__":
    main()
