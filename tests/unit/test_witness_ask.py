"""`cra-wasm verify --witness URL`: a real witness, one that is gone, and answers that are none."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest

from cra_wasm import BackendFailure, InvalidInput, Resolver
from cra_wasm.cli import main
from cra_wasm.platform.threads import call_within
from cra_wasm.witness import ask as module
from cra_wasm.witness.ask import ask_witness
from cra_wasm.witness.ledger import Ledger
from cra_wasm.witness.server import witness_server

from .witnessing import OTHER_SESSION, SESSION, believed, line_of

pytestmark = pytest.mark.cpython_only(reason="Pyodide has no sockets: there the page asks")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@contextmanager
def serving(server: Any) -> Iterator[str]:
    """Run a server on a thread; gives its address."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that gives these in turn, whatever it is asked; an empty one is none at all."""
    left = list(answers)
    ended = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            answer = left.pop(0)
            if answer:
                self.wfile.write(answer)
            else:
                ended.wait(20)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        with serving(server) as address:
            try:
                yield address
            finally:
                ended.set()


def ok(body: bytes, length: int | None = None) -> bytes:
    return b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


def redirect(target: str) -> bytes:
    return f"HTTP/1.0 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()


# Answers that are none


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.0 404 Not Found\r\n\r\n", id="404"),
        pytest.param(b"HTTP/1.0 503 Busy\r\n\r\n", id="503"),
        pytest.param(b"SSH-2.0-OpenSSH_9.9\r\n", id="no HTTP"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(ok(b"{}\n", length=300), id="ends early"),
        pytest.param(ok(b"", length=300), id="ends at once"),
        pytest.param(redirect("file:///etc/passwd"), id="to a file"),
        pytest.param(redirect("ftp://127.0.0.1/x"), id="to ftp"),
        pytest.param(redirect("data:text/plain,"), id="to data"),
    ],
)
def test_an_answer_that_is_none_is_a_failure(answer: bytes) -> None:
    # PROTOCOL 3.19.13
    with answering(answer) as address, pytest.raises(BackendFailure) as caught:
        ask_witness(address, SESSION)
    assert caught.value.code == "witness_failed"


def test_a_witness_that_never_answers_has_a_deadline() -> None:
    # PROTOCOL 3.19.13
    with answering(b"") as address, pytest.raises(BackendFailure) as caught:
        ask_witness(address, SESSION, deadline_seconds=0.01)
    assert caught.value.code == "witness_failed"


def test_a_call_that_takes_too_long_is_left_alone() -> None:
    ended = threading.Event()
    with pytest.raises(TimeoutError):
        call_within(lambda: ended.wait(20), 0.01)
    ended.set()
    assert call_within(lambda: 7, 20) == 7
    with pytest.raises(ZeroDivisionError):
        call_within(lambda: 1 // 0, 20)


def test_an_answer_that_is_too_long_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 10)
    with answering(ok(b"x" * 10), ok(b"x" * 11)) as address:
        assert ask_witness(address, SESSION) == "x" * 10
        with pytest.raises(BackendFailure) as caught:
            ask_witness(address, SESSION)
    assert caught.value.code == "witness_failed"


def test_an_answer_that_is_no_text_is_told() -> None:
    with answering(ok(b"\xff")) as address, pytest.raises(InvalidInput) as caught:
        ask_witness(address, SESSION)
    assert caught.value.code == "witness_malformed"


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "https://:x",
        "http://127.0.0.1:0",
        "http://[",
        "http://a b",
        "http://a\nb",
        "http://.",
        "http://\xff",
    ],
)
def test_an_address_that_is_none_is_a_failure(address: str) -> None:
    with pytest.raises(BackendFailure) as caught:
        ask_witness(address, SESSION)
    assert caught.value.code == "witness_failed"


def test_a_redirect_to_http_is_followed_but_never_from_https() -> None:
    # PROTOCOL 3.19.13
    with answering(ok(b"")) as target, answering(redirect(f"{target}/elsewhere")) as address:
        assert ask_witness(address, SESSION) == ""
    handler = module._HttpOnly()
    for source, target, followed in (
        ("https://a.example/", "https://b.example/", True),
        ("https://a.example/", "http://a.example/", False),
        ("HTTPS://a.example/", "ftp://a.example/", False),
    ):
        asked = handler.redirect_request(Request(source), None, 302, "Found", {}, target)
        assert (asked is not None) is followed


# The command


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Seven events of one session."""
    resolver = Resolver(tracing="immediate")
    session_id = resolver.create_session("agent", "goal")
    for number in range(5):
        resolver.emit(session_id, "form.changed", {"number": number})
    resolver.end_session(session_id)
    path = tmp_path / "a.trace.jsonl"
    path.write_bytes(b"".join(f"{event.to_json()}\n".encode() for event in resolver.get_trace(session_id)))
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "witness.sqlite3", is_signed=believed)
    yield made
    made.close()


@pytest.fixture
def witness(ledger: Ledger) -> Iterator[str]:
    with serving(witness_server(ledger, port=0)) as address:
        yield address


def tell(ledger: Ledger, trace: Path, size: int) -> None:
    event = json.loads(trace.read_bytes().splitlines()[size - 1])
    ledger.add(line_of(size, session_id=event["session_id"], head=event["event_hash"]))


Verify = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def verify(trace: Path, capsys: pytest.CaptureFixture[str]) -> Verify:
    def run(*witnesses: str | Path) -> tuple[int, dict[str, Any]]:
        options = [part for each in witnesses for part in ("--witness", str(each))]
        status = main(["verify", str(trace), "--json", *options])
        return status, json.loads(capsys.readouterr().out)

    return run


def test_a_cut_trace_is_found(ledger: Ledger, trace: Path, witness: str, verify: Verify) -> None:
    # PROTOCOL 3.19.6
    tell(ledger, trace, 7)
    trace.write_bytes(b"".join(trace.read_bytes().splitlines(keepends=True)[:4]))
    status, told = verify(witness)
    assert (status, told["valid"], told["error"]) == (1, False, "checkpoint_beyond_end")


def test_a_trace_of_another_history_is_found(
    ledger: Ledger, trace: Path, witness: str, verify: Verify
) -> None:
    session_id = json.loads(trace.read_bytes().splitlines()[0])["session_id"]
    ledger.add(line_of(3, session_id=session_id))
    assert verify(witness)[1]["error"] == "checkpoint_mismatch"


def test_a_witness_that_is_gone_is_no_weaker_verdict(trace: Path, verify: Verify) -> None:
    # PROTOCOL 3.19.13
    with answering() as address:
        pass
    status, told = verify(address)
    assert (status, told["error"]["code"]) == (2, "witness_failed")


def test_a_page_that_is_no_witness_is_told(verify: Verify) -> None:
    with answering(ok(b"<!doctype html><title>hello</title>\n")) as address:
        status, told = verify(address)
    assert (status, told["error"]["code"]) == (2, "witness_malformed")


def test_a_trace_without_a_first_event_is_not_asked_for(trace: Path, verify: Verify) -> None:
    for content in (b"", b"{}\n"):
        trace.write_bytes(content)
        with answering() as address:
            status, told = verify(address)
        assert (status, told["valid"]) == (1, False)
        assert told["error"] in ("bad_genesis", "bad_field")


def test_a_witness_that_knows_nothing_of_it_is_a_warning(
    ledger: Ledger, witness: str, verify: Verify
) -> None:
    # PROTOCOL 3.19.13
    ledger.add(line_of(9, session_id=OTHER_SESSION))
    status, told = verify(witness)
    assert (status, told["strength"], told["warnings"]) == (0, "chain", ["unwitnessed"])


def test_a_trace_that_agrees_is_witnessed_as_far_as_that_goes(
    ledger: Ledger, trace: Path, witness: str, verify: Verify
) -> None:
    # PROTOCOL 3.19.13
    tell(ledger, trace, 2)
    tell(ledger, trace, 6)
    for address in (witness, f"{witness}/"):
        status, told = verify(address)
        assert (status, told["valid"], told["strength"], told["covered"]) == (0, True, "witnessed", 6)
        assert told["warnings"] == []


def test_a_file_and_a_witness_may_be_asked_together(
    ledger: Ledger, trace: Path, witness: str, tmp_path: Path, verify: Verify
) -> None:
    tell(ledger, trace, 6)
    session_id = json.loads(trace.read_bytes().splitlines()[0])["session_id"]
    file = tmp_path / "told.jsonl"
    file.write_bytes(b"".join(ledger.lines(session_id)[1]))
    assert verify(file, witness)[1]["strength"] == "witnessed"
    file.write_bytes(file.read_bytes().replace(b'"size":6', b'"size":5'))
    assert verify(witness, file)[1]["error"] == "checkpoint_mismatch"
