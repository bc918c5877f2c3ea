"""A witness over HTTP: what it refuses and how, what it answers, and what a client can take of its time."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from cra_wasm.errors import BackendFailure, InvalidInput
from cra_wasm.platform.ed25519 import is_signed
from cra_wasm.trace.canonical import canonical_json
from cra_wasm.trace.checkpoint import parse_vkey
from cra_wasm.witness import server as module
from cra_wasm.witness.ledger import Ledger
from cra_wasm.witness.server import witness_server

from .witnessing import HEAD, OTHER_SESSION, SESSION, believed, line_of, vkey_of

pytestmark = pytest.mark.cpython_only(reason="Pyodide has no listening sockets")

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/checkpoints.json").read_text())
ASKED = f"/checkpoints?session_id={SESSION}"


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]


class Witness:
    """One that runs; connections are made anew, as it gives each but one answer."""

    def __init__(self, ledger: Ledger, **options: Any) -> None:
        self.ledger = ledger
        self._server = witness_server(ledger, port=0, **options)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            if body is not None and "Content-Length" not in (headers or {}):
                connection.putheader("Content-Length", str(len(body)))
            for name, text in (headers or {}).items():
                connection.putheader(name, text)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, line: str) -> Answer:
        return self.ask("POST", "/checkpoints", line.encode())

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.ledger.close()


Start = Callable[..., Witness]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Witness] = []

    def start(*, allow_origin: str = "*", **options: Any) -> Witness:
        options = {"is_signed": believed, **options}
        made.append(Witness(Ledger(tmp_path / "w.sqlite3", **options), allow_origin=allow_origin))
        return made[-1]

    yield start
    for each in made:
        each.stop()


@pytest.fixture
def witness(start: Start) -> Witness:
    return start()


# What is refused


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("POST", "/checkpoints", b"", {}, 400, "checkpoint_malformed"),
        ("POST", "/checkpoints", b"{}", {}, 400, "checkpoint_malformed"),
        ("POST", "/checkpoints", b"[" * 8_000, {}, 400, "checkpoint_malformed"),
        ("POST", "/checkpoints", b"\xff\xfe", {}, 400, "checkpoint_malformed"),
        ("POST", "/checkpoints", line_of(1).encode() + b"\n\n", {}, 400, "checkpoint_malformed"),
        ("POST", "/checkpoints", None, {"Content-Length": "8193"}, 413, "checkpoint_malformed"),
        ("POST", "/checkpoints", None, {"Content-Length": "9" * 5_000}, 413, "checkpoint_malformed"),
        ("POST", "/checkpoints", None, {}, 411, "invalid_arguments"),
        ("POST", "/checkpoints", None, {"Content-Length": "-1"}, 411, "invalid_arguments"),
        ("POST", "/checkpoints", None, {"Content-Length": "1_0"}, 411, "invalid_arguments"),
        ("POST", "/checkpoints", None, {"Content-Length": "\xb2"}, 411, "invalid_arguments"),
        ("POST", "/checkpoints", b"", {"Transfer-Encoding": "chunked"}, 411, "invalid_arguments"),
        ("POST", "/", b"", {}, 404, "invalid_arguments"),
        ("POST", ASKED, b"", {}, 404, "invalid_arguments"),
        ("GET", "/", None, {}, 404, "invalid_arguments"),
        ("GET", "/checkpoints/../healthz", None, {}, 404, "invalid_arguments"),
        ("GET", "/checkpoints", None, {}, 400, "invalid_arguments"),
        ("GET", "/checkpoints?session_id=", None, {}, 400, "invalid_arguments"),
        ("GET", "/checkpoints?session_id=../../etc/passwd", None, {}, 400, "invalid_arguments"),
        ("GET", f"{ASKED}&session_id={OTHER_SESSION}", None, {}, 400, "invalid_arguments"),
        ("GET", f"/checkpoints?session_id={SESSION.upper()}", None, {}, 400, "invalid_arguments"),
        ("DELETE", ASKED, None, {}, 501, "invalid_arguments"),
    ],
)
def test_what_is_no_request_for_a_witness_is_refused(
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    code: str,
    witness: Witness,
) -> None:
    # PROTOCOL 3.19.11
    answer = witness.ask(method, path, body, headers)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert witness.ledger.sessions() == 0


@pytest.mark.parametrize(
    ("line", "options", "status", "code"),
    [
        (line_of(6), {}, 409, "witness_conflict"),
        (line_of(7, head="cd" * 32), {}, 409, "witness_conflict"),
        (line_of(8, owner=2), {}, 409, "witness_conflict"),
        (line_of(1, owner=2), {"public_keys": [parse_vkey(vkey_of(1))]}, 403, "checkpoint_key_unpinned"),
        (line_of(8), {"is_signed": lambda *_: False}, 422, "checkpoint_signature_invalid"),
        (line_of(1, session_id=OTHER_SESSION), {"max_sessions": 1}, 507, "witness_full"),
    ],
)
def test_a_checkpoint_that_is_not_kept_is_answered_by_its_own_status(
    line: str, options: dict[str, Any], status: int, code: str, start: Start
) -> None:
    # PROTOCOL 3.19.10, 3.19.11
    start().post(line_of(7))
    witness = start(**options)
    answer = witness.post(line)
    assert (answer.status, answer.code) == (status, code)
    # The client compares the key and the size of what is known.
    known = witness.ask("GET", ASKED).lines[-1] if status == 409 else None
    assert json.loads(answer.body).get("known") == known
    assert known is None or (known["key"], known["size"]) == (vkey_of(1), 7)


def test_a_storage_that_fails_is_503(witness: Witness) -> None:
    witness.ledger.close()
    answers = [witness.post(line_of(1)), witness.ask("GET", ASKED), witness.ask("GET", "/healthz")]
    assert [(answer.status, answer.code) for answer in answers] == [(503, "storage_closed")] * 3


def test_a_body_that_ends_early_is_none(witness: Witness) -> None:
    with witness.connect() as connection:
        connection.sendall(
            b"POST /checkpoints HTTP/1.1\r\nContent-Length: 400\r\n\r\n" + line_of(1).encode()[:300]
        )
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == b"400"
    assert witness.ledger.sessions() == 0


@pytest.mark.parametrize(
    "request_line", [b"\x1b[31mred\x07", b"GET /\x1b[31m HTTP/1.1", b"GET / HTTP/9", b"\xff"]
)
def test_what_a_client_writes_is_neither_logged_nor_answered(
    request_line: bytes, witness: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    with witness.connect() as connection:
        connection.sendall(request_line + b"\r\n\r\n")
        with connection.makefile("rb") as answer:
            assert b"[31m" not in answer.read()
    assert capsys.readouterr().err == ""


def test_a_client_that_says_nothing_is_left_in_silence(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "CONNECTION_SECONDS", 0.01)
    with start().connect() as connection:
        assert connection.recv(1) == b""  # the other end closed it
    assert capsys.readouterr().err == ""


class Dripping:
    """A connection that gives a byte at a time, each a second later, and notes how long it was given."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timeouts: list[float] = []

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def recv_into(self, buffer: memoryview, most: int) -> int:
        assert most > 0  # 0 means all of the buffer
        self.now += 1
        return 1


def test_a_connection_has_30_seconds_however_it_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # PROTOCOL 3.19.11
    connection = Dripping()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: connection.now))
    bounds = module._Bounds(connection)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        while True:
            bounds.readinto(bytearray(8))
    assert connection.timeouts == [30.0 - second for second in range(30)]


def test_a_connection_has_64_kib_however_long_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    # PROTOCOL 3.19.11
    monkeypatch.setattr(module, "MAX_REQUEST_BYTES", 3)
    bounds = module._Bounds(Dripping())  # type: ignore[arg-type]
    assert [bounds.readinto(bytearray(8)) for _ in range(5)] == [1, 1, 1, 0, 0]


def test_a_connection_too_many_is_closed_and_the_next_one_served(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PROTOCOL 3.19.11
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 1)
    with witness.connect():
        with witness.connect() as second:
            assert second.recv(1) == b""
    served = None
    while served is None:  # until the first one's end was seen
        try:
            served = witness.ask("GET", "/healthz")
        except ConnectionError:
            continue
    assert served.status == 200


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"port": -1}, "invalid_port"),
        ({"allow_origin": "https://a.example/\r\nx: y"}, "invalid_origin"),
        ({"allow_origin": "null"}, "invalid_origin"),
    ],
)
def test_an_address_or_origin_that_is_none_is_refused(
    options: dict[str, Any], code: str, witness: Witness
) -> None:
    with pytest.raises(InvalidInput) as caught:
        witness_server(witness.ledger, **options)
    assert caught.value.code == code


def test_a_port_in_use_is_told(witness: Witness) -> None:
    with pytest.raises(BackendFailure) as caught:
        witness_server(witness.ledger, port=witness.port)
    assert caught.value.code == "cannot_listen"


# What is answered


def test_a_checkpoint_is_taken_and_told_as_it_was(witness: Witness) -> None:
    # PROTOCOL 3.19.9, 3.19.12
    line = line_of(7, cosigners=15)
    receipt = witness.post(line)
    told = json.loads(receipt.body)
    assert receipt.status == 200
    assert told == {
        "session_id": SESSION,
        "size": 7,
        "head": HEAD,
        "algorithm": "sha256",
        "time": "2026-11-26T10:00:00.000Z",
        "witnessed_at": told["witnessed_at"],
    }
    answer = witness.ask("GET", ASKED)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert answer.lines == [{**told, **json.loads(line)}]
    assert answer.body.endswith(b"\n")


def test_the_same_again_is_answered_the_same(witness: Witness) -> None:
    # PROTOCOL 3.19.10
    first, again = witness.post(line_of(7)), witness.post(line_of(7) + "\n")
    assert (again.status, again.body) == (200, first.body)
    assert len(witness.ask("GET", ASKED).lines) == 1


@pytest.mark.parametrize("kind", ["text/plain;charset=utf-8", "application/json"])
def test_the_content_type_does_not_matter(kind: str, witness: Witness) -> None:
    answer = witness.ask("POST", "/checkpoints", line_of(1).encode(), {"Content-Type": kind})
    assert answer.status == 200


def test_of_two_at_once_that_contradict_each_other_one_is_kept(witness: Witness) -> None:
    # PROTOCOL 3.19.10
    barrier = threading.Barrier(2)
    answers: list[Answer] = []

    def post(head: str) -> None:
        barrier.wait(20)
        answers.append(witness.post(line_of(7, head=head)))

    threads = [threading.Thread(target=post, args=(head,)) for head in (HEAD, "cd" * 32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    kept, refused = sorted(answers, key=lambda answer: answer.status)
    assert (kept.status, refused.status) == (200, 409)
    (line,) = witness.ask("GET", ASKED).lines
    assert json.loads(refused.body)["known"] == line
    assert json.loads(kept.body)["head"] == line["head"]


def test_a_session_that_nobody_told_of_has_no_lines(witness: Witness) -> None:
    # PROTOCOL 3.19.12
    answer = witness.ask("GET", ASKED)
    assert (answer.status, answer.body) == (200, b"")


def test_who_names_a_session_first_has_it(witness: Witness) -> None:
    # PROTOCOL 3.19.15
    assert witness.post(line_of(1, owner=2)).status == 200
    answer = witness.post(line_of(5, owner=1))
    assert (answer.status, json.loads(answer.body)["known"]["key"]) == (409, vkey_of(2))


def test_health_tells_how_many_sessions_there_are(witness: Witness) -> None:
    # PROTOCOL 3.19.12
    witness.post(line_of(1))
    answer = witness.ask("GET", "/healthz")
    assert (answer.status, json.loads(answer.body)) == (200, {"ok": True, "sessions": 1})


@pytest.mark.parametrize("origin", ["*", "https://a.example:8443"])
def test_pages_of_the_named_origin_may_read_each_answer(origin: str, start: Start) -> None:
    # PROTOCOL 3.19.12
    witness = start(allow_origin=origin)
    preflight = witness.ask("OPTIONS", "/checkpoints", None, {"Origin": "https://a.example:8443"})
    assert (preflight.status, preflight.body) == (204, b"")
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert preflight.headers["Access-Control-Allow-Headers"] == "content-type"
    for answer in (preflight, witness.post(line_of(1)), witness.post("{}"), witness.ask("GET", ASKED)):
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_real_signatures_are_checked(start: Start) -> None:
    witness = start(is_signed=is_signed)
    statuses = {}
    for one in VECTORS["notes"]:
        line = canonical_json({"key": VECTORS["key"], "note": one["note"]})
        statuses[one["name"]] = witness.post(line).status
    assert (statuses["one signature"], statuses["another size than was signed"]) == (200, 422)
    assert statuses["signed by another key"] == 422
    assert statuses["no signature"] == 400
