"""Asks a witness what it knows of a session (PROTOCOL 3.19.13)."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..errors import BackendFailure, InvalidInput
from ..platform.threads import call_within

DEADLINE_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024


def is_address(text: str) -> bool:
    """Tell an http(s) address from the path of a file."""
    return text.lower().startswith(("http://", "https://"))


def ask_witness(address: str, session_id: str, deadline_seconds: float = DEADLINE_SECONDS) -> str:
    """Return the lines that the witness at an http(s) address has of a session.

    Not for Pyodide, which has no sockets: there the page asks. Proxies are those of the environment;
    redirects are followed to http and https, and not from https to http.

    Raises:
        BackendFailure: `witness_failed` when it gave no answer of 16 MiB at most within the deadline.
        InvalidInput: `witness_malformed` when that is no text.
    """
    url = f"{address.rstrip('/')}/checkpoints?session_id={session_id}"
    try:
        answer = call_within(lambda: _get(url, deadline_seconds), deadline_seconds)
    except (OSError, ValueError, RuntimeError, HTTPException) as error:
        why = str(error) or type(error).__name__
        raise BackendFailure(
            "witness_failed", f"`{address}` could not be asked ({why}): is a witness running there?"
        ) from None
    try:
        return answer.decode()
    except UnicodeDecodeError:
        raise InvalidInput("witness_malformed", f"the answer of `{address}` is no UTF-8 text") from None


def _get(url: str, deadline_seconds: float) -> bytes:
    try:
        with build_opener(_HttpOnly).open(Request(url), timeout=deadline_seconds) as response:
            answer: bytes = response.read(MAX_ANSWER_BYTES + 1)
            missing: int | None = response.length
    except HTTPError as error:
        error.close()
        raise
    if len(answer) > MAX_ANSWER_BYTES:
        raise ValueError(f"its answer has more than {MAX_ANSWER_BYTES} bytes")
    if missing:  # http.client tells that only to those who read without a limit
        raise ValueError(f"its answer ends {missing} bytes early")
    return answer


class _HttpOnly(HTTPRedirectHandler):
    """urllib itself would follow to ftp."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        secure = req.full_url.lower().startswith("https:")
        if not newurl.lower().startswith("https://" if secure else ("http://", "https://")):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)
