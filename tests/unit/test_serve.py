"""The static server gives out the site's files, with the right headers, and nothing else."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from socketserver import BaseServer, ThreadingMixIn

import pytest

from cra_wasm.errors import BackendFailure, InvalidInput
from cra_wasm.serve import SiteHandler, serve_directory

pytestmark = pytest.mark.cpython_only(reason="Pyodide has no listening sockets")

Fetch = Callable[..., tuple[http.client.HTTPResponse, bytes]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "lib").mkdir(parents=True)
    (site / "empty").mkdir()
    (site / "index.html").write_text("<!doctype html><title>site</title>")
    (site / "lib" / "cra-wasm.js").write_text("export {};")
    (site / ".secret").write_text("hidden")
    (tmp_path / "outside.txt").write_text("outside")
    (tmp_path / "site-next-door").mkdir()
    (tmp_path / "site-next-door" / "file.txt").write_text("outside")
    return site


@pytest.fixture
def fetch(site: Path) -> Iterator[Fetch]:
    server = serve_directory(site, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host, port = server.server_address[:2]
    connection = http.client.HTTPConnection(str(host), int(port), timeout=10)

    def fetch(path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        # putrequest and not request: the client shall not tidy the path up before it is sent.
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return response, response.read()

    yield fetch
    connection.close()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "path",
    [
        "/missing.js",
        "/../outside.txt",
        "/lib/../../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/%2e%2e%2foutside.txt",
        "/..%5coutside.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/../site-next-door/file.txt",
        "/C:/outside.txt",
        "/.secret",
        "/lib/%00",
        "/%ff%fe",
        "/" + "a" * 5000,
        "/empty/",
        "/empty",
        "/lib",
        "/lib/",
        "/lib/cra-wasm.js/",
        "/index.html/x",
        "*",
        "HTTP://[",
    ],
)
def test_what_is_not_in_the_site_is_not_found(fetch: Fetch, path: str) -> None:
    response, body = fetch(path)

    assert response.status == 404
    assert b"outside" not in body and b"cra-wasm.js<" not in body


@pytest.mark.parametrize("target", ["../outside.txt", "/etc/hostname", "loop"])
def test_a_link_that_leaves_the_site_is_not_found(site: Path, fetch: Fetch, target: str) -> None:
    (site / "loop").symlink_to(target)

    assert fetch("/loop")[0].status == 404


def test_a_linked_folder_that_leaves_the_site_is_not_found(site: Path, fetch: Fetch) -> None:
    (site / "up").symlink_to("../site-next-door")
    (site / "index-elsewhere").mkdir()
    (site / "index-elsewhere" / "index.html").symlink_to("../../outside.txt")

    assert fetch("/up/file.txt")[0].status == 404
    assert fetch("/index-elsewhere/")[0].status == 404


def test_a_link_within_the_site_is_followed(site: Path, fetch: Fetch) -> None:
    (site / "same.js").symlink_to("lib/cra-wasm.js")

    assert fetch("/same.js")[1] == b"export {};"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_get_and_head_are_answered(fetch: Fetch, method: str) -> None:
    assert fetch("/index.html", method)[0].status == 501


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.wasm", "application/wasm"),
        ("a.whl", "application/zip"),
        ("a.zip", "application/zip"),
        ("a.json", "application/json"),
        ("a.atlas.json", "application/json"),
        ("a.trace.jsonl", "application/jsonl; charset=utf-8"),
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.unknown", "application/octet-stream"),
    ],
)
def test_mime_types_do_not_depend_on_the_machine(site: Path, fetch: Fetch, name: str, mime_type: str) -> None:
    (site / name).write_bytes(b"content")
    response, body = fetch(f"/{name}?query=1")

    assert (response.status, response.headers["Content-Type"], body) == (200, mime_type, b"content")


@pytest.mark.parametrize("path", ["/", "/index.html", "/missing"])
def test_every_answer_carries_the_security_headers(fetch: Fetch, path: str) -> None:
    headers = fetch(path)[0].headers
    policy = headers["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "script-src 'self' 'wasm-unsafe-eval';" in policy
    assert "unsafe-inline" not in policy and "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "'self'",
        "a.example",
        "ftp://a.example",
        "https://",
        "https://*",
        "https://*.example",
        "https://a.example/",
        "https://a.example/path",
        "https://a.example:port",
        "https://u@a.example",
        "https://a.example; script-src *",
        "https://a.example 'unsafe-inline'",
        "https://a.example,https://b.example",
        "https://a.example\r\nX: y",
        "https://a.example\n",
        "https://\u0430.example",
    ],
)
def test_an_origin_that_could_be_more_than_one_is_refused(site: Path, origin: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        serve_directory(site, port=0, connect=[origin])
    assert caught.value.code == "invalid_origin"


def test_pages_may_connect_to_the_named_origins_and_nowhere_else(site: Path) -> None:
    assert connect_sources(site, []) == "connect-src 'self'"
    origins = ["http://127.0.0.1:8474", "HTTPS://Witness.example"]
    assert (
        connect_sources(site, origins) == "connect-src 'self' http://127.0.0.1:8474 https://witness.example"
    )


def connect_sources(site: Path, connect: list[str]) -> str:
    with serve_directory(site, port=0, connect=connect) as server:
        server.timeout = 10
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        connection.request("GET", "/", headers={"Connection": "close"})
        policy = connection.getresponse().headers["Content-Security-Policy"]
        connection.close()
        thread.join()
    (sources,) = [part for part in policy.split("; ") if part.startswith("connect-src")]
    return sources


@pytest.mark.parametrize("isolated", [False, True])
def test_an_isolated_site_says_so_and_others_do_not(site: Path, isolated: bool) -> None:
    with serve_directory(site, port=0, isolated=isolated) as server:
        server.timeout = 10
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        connection.request("GET", "/", headers={"Connection": "close"})
        headers = connection.getresponse().headers
        connection.close()
        thread.join()
    assert headers["Cross-Origin-Opener-Policy"] == ("same-origin" if isolated else None)
    assert headers["Cross-Origin-Embedder-Policy"] == ("require-corp" if isolated else None)
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_connection_that_idles_is_closed_in_silence(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SiteHandler, "timeout", 0.01)
    with serve_directory(site, port=0) as server:
        server.timeout = 10
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        connection.request("GET", "/lib/cra-wasm.js")
        assert connection.getresponse().read() == b"export {};"
        assert connection.sock.recv(1) == b""  # the other end closed it
        connection.close()
        thread.join()
    assert capsys.readouterr().err == ""


def test_the_folder_s_index_is_served(fetch: Fetch) -> None:
    assert fetch("/")[1] == b"<!doctype html><title>site</title>"


def test_head_gives_the_headers_of_get_and_no_body(fetch: Fetch) -> None:
    response, body = fetch("/lib/cra-wasm.js", "HEAD")

    assert (response.status, response.headers["Content-Length"], body) == (200, "10", b"")


def test_an_unchanged_file_is_not_sent_again_and_a_changed_one_is(site: Path, fetch: Fetch) -> None:
    etag = fetch("/lib/cra-wasm.js")[0].headers["ETag"]
    unchanged, nothing = fetch("/lib/cra-wasm.js", If_None_Match=etag)
    (site / "lib" / "cra-wasm.js").write_text("export { a };")
    changed, body = fetch("/lib/cra-wasm.js", If_None_Match=etag)

    assert (unchanged.status, nothing) == (304, b"")
    assert (changed.status, body) == (200, b"export { a };")


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        serve_directory(tmp_path / "missing", "127.0.0.1", 0)
    assert caught.value.code == "no_such_directory"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        serve_directory(tmp_path, "127.0.0.1", port)
    assert caught.value.code == "invalid_port"


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    first = serve_directory(tmp_path, "127.0.0.1", 0)
    with first, pytest.raises(BackendFailure) as caught:
        serve_directory(tmp_path, "127.0.0.1", first.server_address[1])
    assert caught.value.code == "cannot_listen" and "--port" in caught.value.message
    assert caught.value.details == {"host": "127.0.0.1", "port": first.server_address[1]}


@pytest.mark.parametrize("host", ["no-such-name.invalid", "::1", "203.0.113.9", "\udcff", "a" * 70, "a\x00"])
def test_a_host_that_is_not_ours_is_told_as_such(tmp_path: Path, host: str) -> None:
    with pytest.raises(BackendFailure) as caught:
        serve_directory(tmp_path, host, 0)
    assert caught.value.code == "cannot_listen"
    assert "--host" in caught.value.message and "--port" not in caught.value.message


def test_an_empty_host_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        serve_directory(tmp_path, "", 0)
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_arguments", "/host")


def test_a_client_that_leaves_is_no_error(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ThreadingMixIn, "process_request", BaseServer.process_request)
    (site / "large.bin").write_bytes(bytes(1 << 24))
    with serve_directory(site, port=0) as server:
        server.timeout = 10
        with socket.create_connection(("127.0.0.1", server.server_port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        server.handle_request()
    assert capsys.readouterr().err == ""
