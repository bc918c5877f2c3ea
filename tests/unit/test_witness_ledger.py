"""What a witness keeps and what it refuses, before there is any HTTP."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cra_wasm.errors import BackendFailure, CRAError, InvalidInput, InvalidState
from cra_wasm.storage.sqlite import SqliteStorage
from cra_wasm.testing import FakeClock
from cra_wasm.trace.checkpoint import parse_vkey
from cra_wasm.witness import ledger as module
from cra_wasm.witness.ledger import Ledger

from .witnessing import HEAD, OTHER_SESSION, SESSION, believed, line_of, vkey_of

OTHER_HEAD = "cd" * 32
Open = Callable[..., Ledger]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open the test's file once more; all are closed in the end."""
    made: list[Ledger] = []

    def open_ledger(**options: Any) -> Ledger:
        options = {"is_signed": believed, **options}
        made.append(Ledger(tmp_path / "witness.sqlite3", **options))
        return made[-1]

    yield open_ledger
    for ledger in made:
        ledger.close()


def entries(ledger: Ledger, session_id: str = SESSION) -> list[dict[str, Any]]:
    length, lines = ledger.lines(session_id)
    text = b"".join(lines)
    assert len(text) == length
    return [json.loads(line) for line in text.splitlines()]


def refusal(ledger: Ledger, line: str) -> CRAError:
    """Offer what is refused: what is known is the same as before."""
    before = entries(ledger)
    with pytest.raises(CRAError) as caught:
        ledger.add(line)
    assert entries(ledger) == before
    return caught.value


# What is refused


@pytest.mark.parametrize(
    "line", ["", "{}", "x" * 8_193, line_of(7).replace("sha256", "SHA"), line_of(7) + " "]
)
def test_what_is_no_checkpoint_is_refused(line: str, opened: Open) -> None:
    assert refusal(opened(), line).code == "checkpoint_malformed"


def test_a_signature_that_does_not_hold_is_refused(opened: Open) -> None:
    ledger = opened(is_signed=lambda key, signature, message: False)
    assert refusal(ledger, line_of(7)).code == "checkpoint_signature_invalid"


def test_a_key_that_is_not_among_the_given_ones_is_refused(opened: Open) -> None:
    # PROTOCOL 3.19.11
    ledger = opened(public_keys=[parse_vkey(vkey_of(1)), parse_vkey(vkey_of(2))])
    assert refusal(ledger, line_of(7, owner=3)).code == "checkpoint_key_unpinned"
    assert ledger.add(line_of(7, owner=2))["size"] == 7


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line_of(6), id="smaller"),
        pytest.param(line_of(3), id="smaller, and told before"),
        pytest.param(line_of(7, head=OTHER_HEAD), id="another head"),
        pytest.param(line_of(7, algorithm="blake3"), id="another algorithm"),
        pytest.param(line_of(7, owner=2), id="another key, same head"),
        pytest.param(line_of(8, owner=2), id="another key, larger"),
    ],
)
def test_a_session_only_grows_and_only_by_its_first_key(line: str, opened: Open) -> None:
    # PROTOCOL 3.19.10
    ledger = opened()
    ledger.add(line_of(3))
    known = ledger.add(line_of(7))
    error = refusal(ledger, line)
    assert isinstance(error, InvalidState)
    assert (error.code, error.details["known"]) == ("witness_conflict", known)
    assert error.details["known"]["key"] == vkey_of(1)


def test_a_session_too_many_is_refused_and_the_known_ones_go_on(opened: Open) -> None:
    ledger = opened(max_sessions=1)
    ledger.add(line_of(1))
    assert refusal(ledger, line_of(1, session_id=OTHER_SESSION)).code == "witness_full"
    assert ledger.add(line_of(2))["size"] == 2
    assert entries(ledger, OTHER_SESSION) == []
    assert ledger.sessions() == 1


def test_one_session_cannot_fill_the_disk(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = opened(clock=FakeClock())
    ledger.add(line_of(11))
    length, _ = ledger.lines(SESSION)
    monkeypatch.setattr(module, "MAX_SESSION_BYTES", 2 * length)
    ledger.add(line_of(12))
    assert ledger.lines(SESSION)[0] == 2 * length
    assert refusal(ledger, line_of(13)).code == "witness_full"
    ledger.add(line_of(1, session_id=OTHER_SESSION))


@pytest.mark.parametrize("number", [0, -1])
def test_a_witness_of_no_session_is_none(number: int, opened: Open) -> None:
    with pytest.raises(InvalidInput) as caught:
        opened(max_sessions=number)
    assert caught.value.code == "invalid_arguments"


def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "witness.sqlite3"
    SqliteStorage(path).close()
    before = path.read_bytes()
    with pytest.raises(BackendFailure) as caught:
        opened()
    assert caught.value.code == "storage_version"
    assert path.read_bytes() == before


def test_a_witness_s_file_takes_no_events(tmp_path: Path, opened: Open) -> None:
    opened().close()
    with pytest.raises(BackendFailure) as caught:
        SqliteStorage(tmp_path / "witness.sqlite3")
    assert caught.value.code == "storage_version"


@pytest.mark.parametrize("content", [b"no database" * 100, None])
def test_a_file_that_is_no_database_is_told(content: bytes | None, tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "witness.sqlite3"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(BackendFailure) as caught:
        opened()
    assert caught.value.code == "storage_failed"


def test_a_python_without_sqlite_says_what_to_do(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with pytest.raises(BackendFailure) as caught:
        opened()
    assert caught.value.code == "sqlite_missing"


def test_a_store_that_fails_has_kept_nothing(tmp_path: Path, opened: Open) -> None:
    ledger = opened()
    ledger.add(line_of(1))
    with sqlite3.connect(tmp_path / "witness.sqlite3") as other:
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON checkpoints BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    other.close()
    assert refusal(ledger, line_of(2)).code == "storage_failed"
    assert refusal(ledger, line_of(2, session_id=OTHER_SESSION)).code == "storage_failed"
    assert ledger.sessions() == 1


def test_a_closed_witness_takes_and_tells_nothing(opened: Open) -> None:
    ledger = opened()
    ledger.add(line_of(1))
    _, lines = ledger.lines(SESSION)
    ledger.close()
    ledger.close()
    for call in (lambda: ledger.add(line_of(2)), lambda: ledger.lines(SESSION), lambda: list(lines)):
        with pytest.raises(InvalidState) as caught:
            call()
        assert caught.value.code == "storage_closed"


# What is kept


def test_what_is_kept_is_what_was_signed_and_when_it_came(opened: Open) -> None:
    # PROTOCOL 3.19.9
    ledger = opened(clock=FakeClock())
    kept = ledger.add(line_of(7, algorithm="blake3"))
    assert kept == {
        "session_id": SESSION,
        "size": 7,
        "head": HEAD,
        "algorithm": "blake3",
        "time": "2026-11-26T10:00:00.000Z",
        "witnessed_at": kept["witnessed_at"],
        **json.loads(line_of(7, algorithm="blake3")),
    }
    assert kept["witnessed_at"].endswith("Z")
    assert entries(ledger) == [kept]


def test_the_same_again_gives_what_was_kept_at_first(opened: Open) -> None:
    # PROTOCOL 3.19.10
    clock = FakeClock()
    ledger = opened(clock=clock)
    first = ledger.add(line_of(7))
    clock.advance(seconds=60)
    assert ledger.add(line_of(7, time="2026-11-26T11:00:00.000Z")) == first
    assert ledger.add(line_of(8))["witnessed_at"] > first["witnessed_at"]
    assert [one["size"] for one in entries(ledger)] == [7, 8]


def test_sessions_are_told_apart_and_ascend(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    # PROTOCOL 3.19.12
    monkeypatch.setattr(module, "_PAGE_LINES", 2)
    ledger = opened()
    for size in (1, 9, 10, 2**53 - 2, 2**53 - 1):
        ledger.add(line_of(size))
        ledger.add(line_of(size, session_id=OTHER_SESSION, owner=2))
    for session_id in (SESSION, OTHER_SESSION):
        found = entries(ledger, session_id)
        assert {one["session_id"] for one in found} == {session_id}
        assert [one["size"] for one in found] == [1, 9, 10, 2**53 - 2, 2**53 - 1]
    assert entries(ledger, "0190b3a0-7c1e-7000-8000-000000000003") == []


def test_what_comes_while_lines_are_read_is_not_among_them(opened: Open) -> None:
    ledger = opened()
    ledger.add(line_of(1))
    length, lines = ledger.lines(SESSION)
    ledger.add(line_of(2))
    assert len(b"".join(lines)) == length


def test_a_restart_keeps_what_was_told_and_whose_a_session_is(opened: Open) -> None:
    # PROTOCOL 3.19.10
    first = opened()
    kept = [first.add(line_of(size)) for size in (1, 5)]
    first.close()
    again = opened()
    assert entries(again) == kept
    for line in (line_of(4), line_of(5, head=OTHER_HEAD), line_of(6, owner=2)):
        assert refusal(again, line).code == "witness_conflict"
    assert again.add(line_of(5)) == kept[-1]


def test_an_answer_was_synced_before_it_was_given(opened: Open) -> None:
    connection = opened()._connection
    assert connection is not None
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


@pytest.mark.cpython_only(reason="Pyodide starts no threads")
@pytest.mark.parametrize("apart", [False, True], ids=["one process", "as two processes"])
def test_of_checkpoints_that_contradict_each_other_one_wins(apart: bool, opened: Open) -> None:
    # PROTOCOL 3.19.10
    first = opened()
    ledgers = (first, opened() if apart else first)
    for size in range(1, 21):
        barrier = threading.Barrier(2)
        outcomes: list[str] = ["", ""]

        def offer(
            place: int, head: str, size: int = size, barrier: Any = barrier, outcomes: list[str] = outcomes
        ) -> None:
            barrier.wait(20)
            try:
                outcomes[place] = ledgers[place].add(line_of(size, head=head))["head"]
            except CRAError as error:
                outcomes[place] = error.code

        threads = [
            threading.Thread(target=offer, args=(place, head))
            for place, head in enumerate((HEAD, OTHER_HEAD))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert "witness_conflict" in outcomes
        (kept,) = {HEAD, OTHER_HEAD} & set(outcomes)
        assert entries(first)[-1]["head"] == kept
    assert len(entries(first)) == 20
