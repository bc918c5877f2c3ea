"""A witness's HTTP (PROTOCOL 3.19.9 to 3.19.12): `cra-wasm witness`.

It has no TLS and knows nobody: whoever reaches it may name a session first. On a network put a proxy with TLS
before it, and take only what `--public-key` signed.
"""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Iterable
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any, Final

from ..errors import CRAError, InvalidInput, Json
from ..model.ids import is_uuid_text
from ..serve import QuietHandler, QuietServer, checked_origin, listening
from ..trace.checkpoint import MAX_ENTRY_BYTES
from .ledger import Ledger

MAX_CONNECTIONS: Final = 64
"""Threads at once; one connection more is closed unanswered, and its sender comes again."""
CONNECTION_SECONDS: Final = 30.0
"""From accepting a connection to the last byte of its answer, however slow its client is."""
MAX_REQUEST_BYTES: Final = 64 * 1024
"""That are read of a connection, its head and its body; it carries one request."""

_STATUS: Final = {
    "checkpoint_malformed": 400,
    "checkpoint_key_unpinned": 403,
    "witness_conflict": 409,
    "checkpoint_signature_invalid": 422,
    "witness_full": 507,
}
_FAILED: Final = 503
_PATH: Final = "/checkpoints"
_ASKED: Final = f"{_PATH}?session_id="


def witness_server(
    ledger: Ledger, host: str = "127.0.0.1", port: int = 8474, *, allow_origin: str = "*"
) -> ThreadingHTTPServer:
    """Return a witness on `host` and `port` (0: any free one).

    It is listening and not yet answering: call `serve_forever()`, and `server_close()` at the end. Pages of
    `allow_origin` may read its answers; by default all, since a head tells nothing of its events.

    Raises:
        InvalidInput: `invalid_origin`, or as `listening`.
        BackendFailure: `cannot_listen`.
    """
    origin = allow_origin if allow_origin == "*" else checked_origin(allow_origin)
    return listening(lambda address: _Server(address, partial(_Handler, ledger, origin)), host, port)


class _Server(QuietServer):
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, *args: Any) -> None:
        self._held: set[object] = set()
        super().__init__(*args)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if len(self._held) >= MAX_CONNECTIONS:
            return False
        self._held.add(request)
        return True

    def shutdown_request(self, request: Any) -> None:
        self._held.discard(request)
        super().shutdown_request(request)


class _Handler(QuietHandler):
    """One connection, one request. Answers are JSON; an error is {"error": {"code", "message"}}."""

    def __init__(self, ledger: Ledger, origin: str, *args: Any) -> None:
        self._ledger, self._origin = ledger, origin
        super().__init__(*args)

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._bounds = _Bounds(self.connection)
        self.rfile = io.BufferedReader(self._bounds)

    def do_OPTIONS(self) -> None:
        self._answer(
            204,
            [],
            Access_Control_Allow_Methods="GET, POST",
            Access_Control_Allow_Headers="content-type",
            Access_Control_Max_Age="86400",
        )

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != _PATH:
            self.send_error(404)
        elif "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            self.send_error(411)
        elif len(length) > 9 or int(length) > MAX_ENTRY_BYTES:
            self._fail(413, "checkpoint_malformed", f"a checkpoint has at most {MAX_ENTRY_BYTES} bytes")
        else:
            self._take(int(length))

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._health()
        elif self.path.partition("?")[0] == _PATH:
            self._give(self.path.removeprefix(_ASKED))
        else:
            self.send_error(404)

    def _take(self, length: int) -> None:
        try:
            kept = self._ledger.add(_line(self.rfile.read(length), length))
        except CRAError as error:
            self._refuse(error)
        else:
            self._tell(200, {name: kept[name] for name in kept if name not in ("key", "note")})

    def _give(self, session_id: str) -> None:
        if not is_uuid_text(session_id):
            self.send_error(400)
            return
        try:
            length, lines = self._ledger.lines(session_id)
        except CRAError as error:
            self._refuse(error)
        else:
            self._answer(200, lines, Content_Type="application/x-ndjson", Content_Length=str(length))

    def _health(self) -> None:
        try:
            sessions = self._ledger.sessions()
        except CRAError as error:
            self._refuse(error)
        else:
            self._tell(200, {"ok": True, "sessions": sessions})

    def _refuse(self, error: CRAError) -> None:
        known = {"known": error.details["known"]} if "known" in error.details else {}
        self._fail(_STATUS.get(error.code, _FAILED), error.code, error.message, **known)

    def _fail(self, status: int, code: str, message: str, **more: Json) -> None:
        self._tell(status, {"error": {"code": code, "message": message}, **more})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request for a witness, in words that are not the client's."""
        self._fail(code, "invalid_arguments", f"a witness has POST {_PATH} and GET {_ASKED}UUID")

    def _tell(self, status: int, value: Json) -> None:
        body = json.dumps(value, sort_keys=True).encode()
        self._answer(status, [body], Content_Type="application/json", Content_Length=str(len(body)))

    def _answer(self, status: int, body: Iterable[bytes], **headers: str) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Access-Control-Allow-Origin", self._origin)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self._bounds.arm()
        self.end_headers()
        for piece in body:
            self._bounds.arm()
            self.wfile.write(piece)


class _Bounds(io.RawIOBase):
    """Reads a connection within MAX_REQUEST_BYTES and CONNECTION_SECONDS."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._left = connection, MAX_REQUEST_BYTES
        self._until = time.monotonic() + CONNECTION_SECONDS

    def arm(self) -> None:
        """Give the connection's next call the time that is left."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the connection took too long")
        self._connection.settimeout(left)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.arm()
        most = min(len(buffer), self._left)
        count = self._connection.recv_into(buffer, most) if most else 0
        self._left -= count
        return count


def _line(body: bytes, length: int) -> str:
    if len(body) == length:
        try:
            return body.decode().removesuffix("\n")
        except UnicodeDecodeError:
            pass
    raise InvalidInput("checkpoint_malformed", "the body is no UTF-8 text of its length: send it again")
