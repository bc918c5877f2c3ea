"""A storage that signs where its chains stand: its key, its files, what it does when it cannot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cra_wasm import (
    BackendFailure,
    InvalidInput,
    InvalidState,
    JsonlStorage,
    MemoryStorage,
    Resolver,
    SigningStorage,
    SqliteStorage,
    TraceEvent,
)
from cra_wasm.cli import main
from cra_wasm.errors import CRAError
from cra_wasm.platform.ed25519 import is_signed
from cra_wasm.signing.side_file import SideFile
from cra_wasm.testing import FakeClock
from cra_wasm.trace.checkpoint import Checkpoint, parse_entry, parse_note, parse_vkey
from cra_wasm.trace.checkpoint_verify import verify_signed

from .chaining import SESSION, chain

pytestmark = pytest.mark.cpython_only(
    reason="the site has no package `cryptography`: pages sign by WebCrypto"
)

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/checkpoints.json").read_text())
KEY = "checkpoint.key.pem"
# What a Node store writes for the private key of the vectors: PKCS#8, in one line of base64.
NODE_KEY = (
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n"
    "-----END PRIVATE KEY-----\n"
)


def signing(folder: Path, **options: Any) -> SigningStorage:
    return SigningStorage(JsonlStorage(folder), folder, **options)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SigningStorage]:
    with closing(signing(tmp_path, every=3)) as opened:
        yield opened


def side_file(folder: Path) -> Path:
    return folder / f"{SESSION}.checkpoints.jsonl"


def notes(storage: SigningStorage) -> list[Checkpoint]:
    return [parse_note(parse_entry(line)[1]) for line in storage.checkpoints(SESSION)]


def sizes(storage: SigningStorage) -> list[int]:
    return [note.size for note in notes(storage)]


def put_key(folder: Path, pem: str, mode: int = 0o600) -> Path:
    (folder / KEY).write_text(pem)
    (folder / KEY).chmod(mode)
    return folder / KEY


def error_of_opening(folder: Path, **options: Any) -> CRAError:
    with pytest.raises(CRAError) as caught:
        SigningStorage(MemoryStorage(), folder, **options)
    return caught.value


# What it refuses, when it is made


@pytest.mark.parametrize("every", [0, -1, 1_000_000_001, 2.0, True, "3", None])
def test_a_number_of_events_that_is_none_is_refused(tmp_path: Path, every: Any) -> None:
    error = error_of_opening(tmp_path, every=every)
    assert (error.code, error.details["pointer"]) == ("invalid_checkpoint_every", "/every")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o601])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    put_key(tmp_path, NODE_KEY, mode)
    error = error_of_opening(tmp_path)
    assert (error.code, type(error)) == ("key_unsafe", InvalidState)


X25519 = NODE_KEY.replace("K2VwBC", "K2VuBC")


@pytest.mark.parametrize("pem", ["", "no key", NODE_KEY[:60], X25519, "x" * 20_000])
def test_a_file_that_is_no_key_is_refused_and_left_alone(tmp_path: Path, pem: str) -> None:
    path = put_key(tmp_path, pem)
    assert error_of_opening(tmp_path).code == "storage_corrupt"
    assert path.read_text() == pem


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(NODE_KEY.encode(), None)
    encryption = form.BestAvailableEncryption(b"secret")
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption)
    put_key(tmp_path, pem.decode())
    assert error_of_opening(tmp_path).code == "storage_corrupt"


def test_a_key_that_can_not_be_made_is_told_when_the_storage_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = error_of_opening(tmp_path / "file")
    assert (error.code, type(error)) == ("storage_failed", BackendFailure)


@pytest.mark.parametrize("bad", ["", "../checkpoint", SESSION.upper()])
def test_checkpoints_of_what_is_no_session_are_refused(storage: SigningStorage, bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        storage.checkpoints(bad)
    assert caught.value.code == "invalid_id"


# The key


def test_a_key_that_node_made_signs_the_shared_vectors_to_the_byte(tmp_path: Path) -> None:
    """The first note of the vectors, made by this storage from the facts that it tells."""
    # PROTOCOL 3.19.2, 3.19.3, 3.19.4
    put_key(tmp_path, NODE_KEY)
    told = VECTORS["facts"]
    last = chain(told["size"])[-1]._replace(session_id=told["session_id"], event_hash=told["head"])
    first = chain(1)[0]._replace(session_id=told["session_id"])

    class Believing(MemoryStorage):
        def iter_lines(self, session_id: str) -> Iterator[bytes]:
            return iter([f"{first.to_json()}\n".encode()])

        def store_events(self, events: object) -> None:
            pass

    clock = FakeClock(wall_ns=1_795_687_200_000_999_999)
    storage = SigningStorage(Believing(), tmp_path, clock=clock)
    storage.store_events([last])
    assert storage.public_key() == VECTORS["key"]
    (line,) = storage.checkpoints(told["session_id"])
    assert parse_entry(line) == (VECTORS["key"], VECTORS["notes"][0]["note"])


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = SigningStorage(MemoryStorage(), tmp_path / "new" / "folder")
    second = SigningStorage(MemoryStorage(), tmp_path / "new" / "folder")
    assert first.public_key() == second.public_key()
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [KEY]
    if os.name == "posix":
        assert (tmp_path / "new" / "folder" / KEY).stat().st_mode & 0o777 == 0o600


def test_of_two_that_make_a_key_at_once_both_take_the_first_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def after_another(source: Path, target: Path) -> None:
        put_key(tmp_path, NODE_KEY)
        link(source, target)

    monkeypatch.setattr(os, "link", after_another)
    assert SigningStorage(MemoryStorage(), tmp_path).public_key() == VECTORS["key"]
    assert [path.name for path in tmp_path.iterdir()] == [KEY]


# When it signs


def test_it_signs_past_each_multiple_and_at_the_end(storage: SigningStorage) -> None:
    # PROTOCOL 3.19.16
    events = chain(9)
    for start, stop, signed in [(0, 2, []), (2, 4, [4]), (4, 5, [4]), (5, 6, [4, 6]), (6, 8, [4, 6])]:
        storage.store_events(events[start:stop])
        assert sizes(storage) == signed
    storage.store_events(events[8:])
    assert sizes(storage) == [4, 6, 9]
    statistics = storage.statistics()
    assert (statistics.signed, statistics.failed, statistics.last_error) == (3, 0, None)


def test_what_it_signs_holds(storage: SigningStorage) -> None:
    storage.store_events(chain(7))
    lines = list(storage.iter_lines(SESSION))
    entries = storage.checkpoints(SESSION)
    found = verify_signed(lines, entries, is_signed=is_signed, pinned=[parse_vkey(storage.public_key())])
    assert (found.result.valid, found.strength, found.covered) == (True, "signed-pinned", 7)


def test_events_that_come_again_are_not_signed_again(storage: SigningStorage) -> None:
    events = chain(7)
    for again in (events, events, events[2:5], events[5:]):
        storage.store_events(again)
    assert sizes(storage) == [7]
    assert storage.statistics().signed == 1


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
def test_a_checkpoint_names_the_hash_that_the_session_names_also_after_a_restart(
    tmp_path: Path, algorithm: str
) -> None:
    pytest.importorskip(algorithm if algorithm == "blake3" else "hashlib")
    events = chain(7, algorithm=algorithm)
    with closing(signing(tmp_path, every=3)) as storage:
        storage.store_events(events[:4])
    with closing(signing(tmp_path, every=3)) as storage:
        storage.store_events(events[4:6])
        storage.store_events(events[6:])
        assert [note.algorithm for note in notes(storage)] == [algorithm] * 3


def test_the_first_line_of_a_known_session_is_read_once(tmp_path: Path) -> None:
    read: list[str] = []

    class Counting(MemoryStorage):
        def iter_lines(self, session_id: str) -> Iterator[bytes]:
            read.append(session_id)
            return super().iter_lines(session_id)

    inner, events = Counting(), chain(9)
    inner.store_events(events[:2])
    storage = SigningStorage(inner, tmp_path, every=1)
    for event in events[2:]:
        storage.store_events([event])
    assert (sizes(storage), read) == ([3, 4, 5, 6, 7, 8, 9], [SESSION])


# What does not hold


def test_a_refused_call_signs_nothing(storage: SigningStorage) -> None:
    with pytest.raises(InvalidState):
        storage.store_events(chain(7)[1:])
    assert (sizes(storage), storage.statistics().signed) == ([], 0)


def test_a_file_that_can_not_be_written_costs_no_event(storage: SigningStorage, tmp_path: Path) -> None:
    # PROTOCOL 3.19.17
    side_file(tmp_path).mkdir()
    events = chain(9)
    storage.store_events(events[:4])
    assert storage.count(SESSION) == 4
    statistics = storage.statistics()
    assert (statistics.signed, statistics.failed) == (0, 1)
    assert statistics.last_error is not None
    assert statistics.last_error["code"] == "storage_failed"
    health = storage.health_check()
    assert health["ok"] is True
    assert health["checkpoints"] == {"signed": 0, "failed": 1, "last_error": statistics.last_error}
    side_file(tmp_path).rmdir()
    storage.store_events(events[4:])
    assert sizes(storage) == [9]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
def test_a_read_only_folder_costs_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SigningStorage(MemoryStorage(), tmp_path)
    if os.geteuid() == 0:  # whom no mode stops
        opened = os.open

        def refuse(name: Any, flags: int, mode: int = 0o777) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR):
                raise PermissionError(13, "Permission denied", name)
            return opened(name, flags, mode)

        monkeypatch.setattr(os, "open", refuse)
    tmp_path.chmod(0o500)
    try:
        storage = SigningStorage(MemoryStorage(), tmp_path)
        storage.store_events(chain(7))
    finally:
        tmp_path.chmod(0o700)
    assert (storage.count(), storage.statistics().failed, storage.checkpoints(SESSION)) == (7, 1, [])


def test_a_clock_that_can_not_be_right_costs_no_event(tmp_path: Path) -> None:
    storage = SigningStorage(MemoryStorage(), tmp_path, clock=FakeClock(wall_ns=10**25))
    storage.store_events(chain(7))
    assert (storage.count(), storage.statistics().failed) == (7, 1)


def test_a_hash_that_no_note_can_name_costs_no_event(tmp_path: Path) -> None:
    storage = SigningStorage(MemoryStorage(), tmp_path)
    first, *rest = chain(7)
    odd = first._replace(event_type="session.started", payload_json='{"hash_algorithm":"A B\\n"}')
    storage.store_events([odd, *rest])
    error = storage.statistics().last_error
    assert error is not None
    assert (storage.count(), error["code"], side_file(tmp_path).exists()) == (
        7,
        "checkpoint_malformed",
        False,
    )


def test_a_torn_line_is_cut_off_before_the_next(storage: SigningStorage, tmp_path: Path) -> None:
    # PROTOCOL 3.19.16
    events = chain(7)
    storage.store_events(events[:3])
    with side_file(tmp_path).open("a") as file:
        file.write(storage.checkpoints(SESSION)[0][:100])
    assert sizes(storage) == [3]
    storage.store_events(events[3:])
    assert sizes(storage) == [3, 7]


def test_a_file_that_is_one_torn_line_begins_anew(storage: SigningStorage, tmp_path: Path) -> None:
    side_file(tmp_path).write_text('{"key":"cra-wasm')
    storage.store_events(chain(7))
    assert sizes(storage) == [7]


def test_a_torn_line_of_a_session_that_runs_is_cut_off_by_opening(tmp_path: Path) -> None:
    with closing(signing(tmp_path, every=3)) as storage:
        storage.store_events(chain(6, ended=False))
    whole = side_file(tmp_path).read_bytes()
    side_file(tmp_path).write_bytes(whole + whole[:200])
    with closing(signing(tmp_path, every=3)) as storage:
        assert (side_file(tmp_path).read_bytes(), sizes(storage)) == (whole, [6])


@pytest.mark.parametrize("content", ["x" * 20_000, "no checkpoint\n", "x" * 20_000 + "\n"])
def test_a_file_of_something_else_is_left_alone(
    storage: SigningStorage, tmp_path: Path, content: str
) -> None:
    side_file(tmp_path).write_text(content)
    storage.store_events(chain(7))
    assert side_file(tmp_path).read_text() == content
    error = storage.statistics().last_error
    assert error is not None
    assert error["code"] == "checkpoint_malformed"


def test_a_write_that_fails_half_way_leaves_whole_lines(
    storage: SigningStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.store_events(chain(7)[:3])
    before = side_file(tmp_path).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        SideFile(side_file(tmp_path)).append("{}", 4)
    assert side_file(tmp_path).read_bytes() == before


# Openings


def test_an_end_that_nobody_signed_is_signed_at_the_next_opening(tmp_path: Path) -> None:
    # PROTOCOL 3.19.17
    with closing(JsonlStorage(tmp_path)) as inner:
        inner.store_events(chain(7))
    with closing(signing(tmp_path)) as storage:
        assert sizes(storage) == [7]
    with closing(signing(tmp_path)) as storage:
        assert (sizes(storage), storage.statistics().signed) == ([7], 0)


def test_neither_a_running_session_nor_an_imported_one_is_signed_by_opening(tmp_path: Path) -> None:
    with closing(JsonlStorage(tmp_path / "running")) as inner:
        inner.store_events(chain(7, ended=False))
    with closing(signing(tmp_path / "running")) as storage:
        assert sizes(storage) == []
    with closing(JsonlStorage(tmp_path / "imported")) as inner:
        inner.store_events(chain(7))
    (tmp_path / "imported" / "imported").mkdir()
    (tmp_path / "imported" / "imported" / SESSION).touch()
    with closing(signing(tmp_path / "imported")) as storage:
        assert sizes(storage) == []


def test_a_damaged_session_keeps_no_other_from_being_signed(tmp_path: Path) -> None:
    other = SESSION[:-1] + "0"
    with closing(JsonlStorage(tmp_path)) as inner:
        inner.store_events(chain(7))
    (tmp_path / f"{other}.trace.jsonl").write_bytes((tmp_path / f"{SESSION}.trace.jsonl").read_bytes())

    class Unsorted(JsonlStorage):
        def sessions(self) -> list[str]:
            return [other, SESSION]

    with closing(SigningStorage(Unsorted(tmp_path), tmp_path)) as storage:
        assert sizes(storage) == [7]
        assert storage.statistics().failed == 1


def test_a_storage_that_can_not_list_its_sessions_opens_all_the_same(tmp_path: Path) -> None:
    (tmp_path / f"{SESSION}.trace.jsonl").write_text("damaged\n")
    with closing(signing(tmp_path)) as storage:
        error = storage.statistics().last_error
    assert error is not None
    assert error["code"] == "storage_corrupt"


# Several at once, and deleting


def test_two_storages_of_one_folder_never_tear_each_others_lines(tmp_path: Path) -> None:
    # PROTOCOL 3.19.16
    def opened() -> SigningStorage:
        return SigningStorage(SqliteStorage(tmp_path / "traces.sqlite"), tmp_path, every=1)

    events = chain(41)
    with closing(opened()) as one, closing(opened()) as two, ThreadPoolExecutor(2) as pool:

        def write(storage: SigningStorage) -> None:
            for size in range(1, len(events) + 1):
                storage.store_events(events[:size])

        list(pool.map(write, [one, two]))
        assert sizes(one) == list(range(1, 42))
        assert one.statistics().signed + two.statistics().signed == 41
        assert (one.statistics().failed, two.statistics().failed) == (0, 0)
        found = verify_signed(one.iter_lines(SESSION), two.checkpoints(SESSION), is_signed=is_signed)
    assert (found.strength, found.checkpoints) == ("signed", 41)


def test_of_a_deleted_session_the_newest_checkpoint_stays(storage: SigningStorage, tmp_path: Path) -> None:
    # PROTOCOL 3.19.16
    events = chain(7)
    storage.store_events(events[:4])
    storage.store_events(events[4:])
    newest = storage.checkpoints(SESSION)[-1]
    assert storage.delete_session(SESSION) == 7
    assert (storage.count(), storage.checkpoints(SESSION)) == (0, [newest])
    assert storage.delete_session(SESSION) == 0
    assert storage.checkpoints(SESSION) == [newest]
    assert [path.name for path in tmp_path.glob("*.part")] == []


# End to end


@pytest.fixture(params=["immediate", "deferred"])
def lived(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """The trace of a session that was led with checkpoints, and the key."""
    with closing(signing(tmp_path, every=2)) as storage:
        resolver = Resolver(storage=storage, tracing=request.param)
        session_id = resolver.create_session("agent", "goal")
        for number in range(5):
            resolver.emit(session_id, "form.changed", {"number": number})
            resolver.flush_traces()
        resolver.end_session(session_id)
        resolver.close()
        return tmp_path / f"{session_id}.trace.jsonl", storage.public_key()


def verdict(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code = main(["verify", "--json", *arguments])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (0 if told["valid"] else 1)
    return told


def test_verify_finds_what_the_storage_signed(
    lived: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    # PROTOCOL 3.19.16
    trace, key = lived
    told = verdict(capsys, str(trace))
    assert (told["strength"], told["covered"]) == ("signed", told["events"])
    assert verdict(capsys, str(trace), "--public-key", key)["strength"] == "signed-pinned"
    assert verdict(capsys, str(trace), "--public-key", VECTORS["key"])["error"] == "checkpoint_key_unpinned"


def test_verify_finds_a_cut(lived: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    trace, _ = lived
    trace.write_bytes(b"".join(trace.read_bytes().splitlines(keepends=True)[:-1]))
    assert verdict(capsys, str(trace))["error"] == "checkpoint_beyond_end"


def test_an_event_is_a_plain_one_for_whoever_reads_it_back(storage: SigningStorage) -> None:
    events: list[TraceEvent] = chain(7)
    storage.store_events(events)
    assert storage.get_events(SESSION) == events
    assert (storage.name, storage.sessions()) == ("jsonl", [SESSION])
