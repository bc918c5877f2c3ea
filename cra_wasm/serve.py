"""A static file server for the built site: `cra-wasm serve`.

Only for looking at a site and for tests: one folder, GET and HEAD, no TLS, no compression, no byte ranges.
What it adds to the standard library's is what the site needs anywhere it is hosted: the MIME types without
which a browser refuses modules and streaming WebAssembly, and a policy under which nothing but this origin is
reached.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from .errors import BackendFailure, InvalidInput

_CONNECT: Final = "connect-src 'self'"
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Without wasm-unsafe-eval Pyodide's boot never settles; it lets WebAssembly compile, not eval().
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        _CONNECT,
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Paths are stable and contents are not: ask each time, and be told 304 when nothing changed.
    "Cache-Control": "no-cache",
}
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""With these a page is cross-origin isolated, and its timers have steps of 5 us in place of 100."""
MIME_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl; charset=utf-8",
    ".map": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".whl": "application/zip",
    ".zip": "application/zip",
}
"""Fixed here, because mimetypes also reads the machine's own tables, which have called .js text/plain."""


_ORIGIN: Final = re.compile(r"https?://[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?", re.ASCII)

_Server = TypeVar("_Server", bound=ThreadingHTTPServer)


def serve_directory(
    directory: Path,
    host: str = "127.0.0.1",
    port: int = 8420,
    *,
    isolated: bool = False,
    connect: Sequence[str] = (),
) -> ThreadingHTTPServer:
    """Return a server on `host` and `port` (0: any free one) for the files under `directory`.

    It is listening and not yet answering: call `serve_forever()`, and `server_close()` at the end. A path
    that ends in `/` means the index.html in there; there are no listings. What leaves the directory, by `..`
    or by a symbolic link, is 404 like everything else that is not there. Names that begin with a dot are not
    given out. `isolated` pages are cross-origin isolated, for finer timers. Pages may reach the origins in
    `connect`, such as a witness's, beside their own.

    Raises:
        InvalidInput: `no_such_directory`, `invalid_origin`, or as `listening`.
        BackendFailure: `cannot_listen`.
    """
    if not os.path.isdir(directory):  # False too for a name too long, a loop of links, a NUL
        raise InvalidInput("no_such_directory", f"`{directory}` is no directory; build the site first")
    origins = tuple(map(checked_origin, connect))
    handler = partial(SiteHandler, directory.resolve(), isolated=isolated, connect=origins)
    return listening(lambda address: QuietServer(address, handler), host, port)


def listening(make: Callable[[tuple[str, int]], _Server], host: str, port: int) -> _Server:
    """Return the server that `make` makes on an address.

    Raises:
        InvalidInput: `invalid_port` outside 0..65535; `invalid_arguments` for an empty host, which would be
            every address of this machine.
        BackendFailure: `cannot_listen`, when the port is taken or not ours to open, or the host is no name or
            address of this machine.
    """
    if not host:
        raise InvalidInput("invalid_arguments", "the host is empty: name one, as 127.0.0.1", pointer="/host")
    if not 0 <= port <= 65535:
        raise InvalidInput("invalid_port", f"`{port}` is no port; choose one of 0 to 65535")
    try:
        return make((host, port))
    except (OSError, TypeError, ValueError) as error:  # the latter for a host that is no text of a name
        reason = getattr(error, "strerror", None) or "no name of a host"
        wrong = "port: try another"
        if getattr(error, "errno", None) not in (errno.EADDRINUSE, errno.EACCES):
            wrong = "host: give a name or an IPv4 address of this machine"
        message = f"cannot listen on `{host}:{port}` ({reason}), because of --{wrong}"
        raise BackendFailure("cannot_listen", message, host=host, port=port) from error


def checked_origin(text: str) -> str:
    """Return an origin as browsers write it: nothing in it could end a header or a directive.

    Raises:
        InvalidInput: `invalid_origin` when it is not http(s)://host[:port], the host a name or IPv4.
    """
    origin = text.lower()
    if _ORIGIN.fullmatch(origin) is None:
        raise InvalidInput("invalid_origin", f"`{text}` is no origin: give http(s)://host[:port], no path")
    return origin


def find_file(root: Path, url_path: str) -> Path | None:
    """Return the file under `root` that a request's path names, or None.

    INVARIANT: what comes out lies under `root` after all symbolic links are followed; `root` itself is
    resolved.
    """
    try:
        parts = unquote(urlsplit(url_path).path, errors="surrogateescape").split("/")[1:]
        if parts and parts[-1] == "":
            parts[-1] = "index.html"
        if not parts or any(part.startswith(".") or "\\" in part or ":" in part for part in parts):
            return None
        file = root.joinpath(*parts).resolve()
        readable = file.is_relative_to(root) and file.is_file() and os.access(file, os.R_OK)
        return file if readable else None
    except (OSError, RuntimeError, ValueError):  # no URL, a name too long, a loop of links, a NUL
        return None


class QuietServer(ThreadingHTTPServer):
    """A server to which a client that went away is no error."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class QuietHandler(BaseHTTPRequestHandler):
    """One connection, of which only failures are told on stderr, and in ASCII."""

    server_version = "cra-wasm"
    sys_version = ""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of what went well: a page load is thirty lines."""

    def log_error(self, format: str, *args: Any) -> None:
        if not any(isinstance(one, TimeoutError) for one in args):  # an idle connection ends: no error
            super().log_error(format, *args)

    def log_message(self, format: str, *args: Any) -> None:
        line = (format % args).encode("ascii", "backslashreplace").decode()
        sys.stderr.write(f"{self.address_string()} {self.requestline!a} {line}\n")


class SiteHandler(QuietHandler):
    """One connection to the site."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    """Seconds that an idle kept-alive connection may hold a thread."""

    def __init__(self, root: Path, *args: Any, isolated: bool = False, connect: Sequence[str] = ()) -> None:
        self.root = root
        self.isolated = isolated
        self.policy = CONTENT_SECURITY_POLICY.replace(_CONNECT, " ".join((_CONNECT, *connect)))
        super().__init__(*args)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def answer(self, *, with_body: bool) -> None:
        file = find_file(self.root, self.path)
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file.open("rb") as source:
            status = file.stat()
            etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
            if self.headers.get("If-None-Match") == etag:
                self.send_response(HTTPStatus.NOT_MODIFIED)
                self.send_header("ETag", etag)
                self.end_headers()
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("ETag", etag)
            self.send_header("Content-Type", MIME_TYPES.get(file.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(status.st_size))
            self.end_headers()
            if with_body:
                shutil.copyfileobj(source, self.wfile)

    def end_headers(self) -> None:
        headers = HEADERS | ISOLATION if self.isolated else HEADERS
        for name, value in (headers | {"Content-Security-Policy": self.policy}).items():
            self.send_header(name, value)
        super().end_headers()
