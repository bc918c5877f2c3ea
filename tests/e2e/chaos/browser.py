"""A Chromium of its own process and profile: it can be killed as a person's browser is, and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, BrowserType

_LISTENING = re.compile(r"DevTools listening on (ws://\S+)")


class OwnBrowser:
    """Chromium on a profile folder, reached by its DevTools. Nothing of Playwright's own flags: pages freeze,
    and wait in the back-forward cache, as they do for people.
    """

    def __init__(self, chromium: BrowserType, path: str, flags: Sequence[str], profile: Path) -> None:
        self._chromium = chromium
        self._command = [
            path,
            "--headless=new",
            *flags,
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "--no-default-browser-check",
            "about:blank",
        ]
        self._log = profile.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._browser: Browser | None = None

    def start(self) -> BrowserContext:
        """Start it on what its profile holds; gives the profile's own context."""
        # A process group of its own: a kill takes its children with it.
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._browser = self._chromium.connect_over_cdp(self._address())
        return self._browser.contexts[0]

    def _address(self) -> str:
        assert self._process is not None
        while True:
            found = _LISTENING.search(self._log.read_text(errors="replace"))
            if found:
                return found[1]
            try:
                code = self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"Chromium ended with {code}: {self._log.read_text(errors='replace')[-2000:]}")

    def kill(self) -> None:
        """End all its processes at once, with no warning."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._browser = None
