"""A Chromium spoken to by its own protocol over a pipe, for what Playwright hides: hidden and frozen tabs.

Playwright keeps every page focused and visible by emulation, in a session that cannot be switched off.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

PUT_PIPES = """
import os, sys
for number, given in ((100, sys.argv[1]), (101, sys.argv[2])):
    os.dup2(int(given), number)
os.dup2(100, 3), os.dup2(101, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser wants its ends to be 3 and 4."""


class RawChromium:
    """One browser process. Messages are JSON texts ended by NUL, on file descriptors 3 and 4."""

    def __init__(self, path: str, flags: list[str], profile: Path) -> None:
        to_browser, self._write_end = os.pipe()
        self._read_end, from_browser = os.pipe()
        command = [path, "--headless=new", *flags, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", PUT_PIPES, str(to_browser), str(from_browser), *command, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._number = 0
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> RawChromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write_end)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write_end, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._answers.get(timeout=120)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> RawPage:
        """Open a tab and return it."""
        target = self.send("Target.createTarget", url=url)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return RawPage(self, target, session)

    def _read(self) -> None:
        buffer = b""
        while data := os.read(self._read_end, 1 << 20):
            buffer += data
            *messages, buffer = buffer.split(b"\0")
            for message in messages:
                self._answers.put(json.loads(message))
        os.close(self._read_end)


class RawPage:
    """One tab."""

    def __init__(self, browser: RawChromium, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command to the tab."""
        return self._browser.send(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """Return the JSON value of an expression, waited for if it is a promise."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def to_front(self) -> None:
        """Show this tab, which hides the others of its window."""
        self._browser.send("Target.activateTarget", targetId=self._target)
        self.send("Page.bringToFront")

    def freeze(self) -> None:
        """Stop everything in the tab, as a browser does with one that was hidden for long."""
        self.send("Page.setWebLifecycleState", state="frozen")

    def thaw(self) -> None:
        """Let it run again."""
        self.send("Page.setWebLifecycleState", state="active")
