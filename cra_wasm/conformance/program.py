"""Any program as an implementation: one JSON line on its stdin per case, one JSON line back on its stdout.

It is foreign, so it may be slow, die, write garbage or never end its line. Each of these fails the case that
it was asked; the program is ended and started anew for the next one. Nothing here waits without a limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shlex
import signal
import subprocess
import time
from types import TracebackType
from typing import Final

from ..errors import InvalidInput, Json, NotFound
from ..model.limits import MAX_TEXT_BYTES
from ..model.parse import parse_json

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
MAX_TIMEOUT_SECONDS: Final = 3600.0
_FAREWELL_SECONDS: Final = 5.0
_CHUNK: Final = 65_536


class NoAnswer(Exception):
    """The program gave no answer to a case; the message says why."""


class Program:
    """A program that answers cases. It runs from the first question to `close`; used with `with`.

    Args:
        command: split as a shell would, but run without one.
        timeout_seconds: for one answer, more than 0 and at most 3,600.

    Raises:
        InvalidInput: `invalid_arguments` for a command that cannot be split, and another time.
    """

    def __init__(self, command: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise InvalidInput("invalid_arguments", f"the command `{command}`: {error}") from None
        if not self._words:
            raise InvalidInput("invalid_arguments", "the command is empty")
        if not 0 < timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise InvalidInput(
                "invalid_arguments",
                f"give a timeout of more than 0 and at most {MAX_TIMEOUT_SECONDS:g} s",
                pointer="/timeout",
            )
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, question: dict[str, Json]) -> Json:
        """Return the program's answer.

        Raises:
            NoAnswer: it gave none in time, or none that is JSON.
            NotFound: `no_such_program`: it cannot be started at all.
        """
        line = json.dumps(question).encode() + b"\n"
        try:
            return _parsed(self._exchange(line))
        except NoAnswer:
            self._kill()
            raise

    def close(self) -> None:
        """Close its stdin, give it a moment to end, and end it if it does not."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_FAREWELL_SECONDS)
        self._kill()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise NotFound("no_such_program", f"cannot start `{self._words[0]}`: {error.strerror}") from None
        assert process.stdin is not None and process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        os.set_blocking(process.stdout.fileno(), False)
        self._rest = b""
        return process

    def _exchange(self, line: bytes) -> bytes:
        """Write a line and read one, both at once: a program may answer before it has read all."""
        if self._process is not None and self._process.poll() is not None:
            self._kill()  # it ended after its answer: what it started, and our ends of its pipes, go too
        if self._process is None:
            self._process = self._start()
        if self._rest:
            raise NoAnswer("it wrote more than one line to the question before")
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        deadline = time.monotonic() + self._timeout_seconds
        unsent = memoryview(line)
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stdin, selectors.EVENT_WRITE)
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fileobj is stdout:
                        if self._receive(stdout.fileno(), received):
                            return bytes(received)
                        continue
                    unsent = unsent[_write(stdin.fileno(), unsent) :]
                    if not unsent:
                        selector.unregister(stdin)
        raise NoAnswer(f"no answer within {self._timeout_seconds:g} s")

    def _receive(self, descriptor: int, received: bytearray) -> bool:
        """Take what there is to read; tell whether `received` is now the whole line, without its LF."""
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            raise NoAnswer(f"it ended{self._ending()} without an answer")
        line, ended, rest = chunk.partition(b"\n")
        received += line
        self._rest = rest
        if len(received) > MAX_TEXT_BYTES:
            raise NoAnswer(f"its answer is longer than {MAX_TEXT_BYTES} bytes")
        return bool(ended)

    def _ending(self) -> str:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return f" with exit status {self._process.wait(_FAREWELL_SECONDS)}"
        return ""

    def _kill(self) -> None:
        process = self._process
        self._process = None
        if process is None:
            return
        # Its whole process group: a program may have started others, which would keep its pipes open.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _write(descriptor: int, data: memoryview) -> int:
    try:
        return os.write(descriptor, data[:_CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(data)  # what it does not want to read it need not; whether it answers is seen by reading


def _parsed(line: bytes) -> Json:
    try:
        return parse_json(line, code="invalid_case")
    except InvalidInput as error:
        raise NoAnswer(f"its answer {error.message}") from None
