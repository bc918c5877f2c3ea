"""Checkpoints: the form of their notes, and what they and witnesses tell of a trace (PROTOCOL 3.19)."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cra_wasm import InvalidInput, NotFound, Resolver
from cra_wasm.cli import main
from cra_wasm.platform.ed25519 import is_signed
from cra_wasm.trace.canonical import canonical_json
from cra_wasm.trace.checkpoint import MAX_ENTRY_BYTES, parse_entries, parse_entry, parse_note, parse_vkey
from cra_wasm.trace.checkpoint_verify import SignedVerdict, Witnessed, parse_witnessed, verify_signed

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/checkpoints.json").read_text())
NOTES = [pytest.param(one["note"], one["error"], id=one["name"]) for one in VECTORS["notes"]]
GOOD = VECTORS["notes"][0]["note"]
SIGNATURES = GOOD.split("\n\n")[1]

real_ed25519 = pytest.mark.cpython_only(
    reason="the site has no package `cryptography`: pages verify by WebCrypto"
)


def entry(note: str, key: str = VECTORS["key"]) -> str:
    return canonical_json({"key": key, "note": note})


def believed(_key: bytes, _signature: bytes, _message: bytes) -> bool:
    return True


def code_of(read: Callable[[], object]) -> str:
    with pytest.raises(InvalidInput) as caught:
        read()
    return caught.value.code


# The form


@pytest.mark.parametrize(("note", "error"), NOTES)
def test_a_note_is_read_to_the_byte_or_refused(note: str, error: str | None) -> None:
    # PROTOCOL 3.19.1, PROTOCOL 3.19.2
    if error == "checkpoint_malformed":
        assert code_of(lambda: parse_note(note)) == error
    else:
        assert note.startswith(parse_note(note).signed.decode())


def test_what_a_note_says_is_what_was_signed() -> None:
    note = parse_note(GOOD)
    told = {name: getattr(note, name) for name in ("session_id", "size", "head", "algorithm")}
    assert told == VECTORS["facts"]
    assert note.time == "2026-11-26T10:00:00.000Z"


@pytest.mark.parametrize("key", VECTORS["bad_keys"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    # PROTOCOL 3.19.3
    assert code_of(lambda: parse_vkey(key)) == "checkpoint_malformed"


def test_a_key_is_as_long_as_it_may_be() -> None:
    # The longest one; one character more is among the bad ones.
    name, data = "k" * (512 - 54), b"\x01" + bytes(32)
    key_id = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    assert parse_vkey(f"{name}+{key_id}+{b64encode(data).decode()}").public_key == bytes(32)


@pytest.mark.parametrize("char", ["x", "\u00e9"])
def test_a_line_is_as_long_as_it_may_be_in_bytes(char: str) -> None:
    # PROTOCOL 3.19.4
    room = MAX_ENTRY_BYTES - len(entry(""))
    note = char * (room // len(char.encode())) + "x" * (room % len(char.encode()))
    assert parse_entry(entry(note)) == (VECTORS["key"], note)
    assert code_of(lambda: parse_entry(entry(note + "x"))) == "checkpoint_malformed"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "[" * 5_000,
        "{}",
        '{"key":"k","note":"n","more":1}',
        '{"key":1,"note":"n"}',
        '{"key": "k","note":"n"}',
        '{"note":"n","key":"k"}',
        '{"key":"k","note":"\\ud800"}',
        '{"key":"k","note":"' + "x" * 9_000 + '"}',
    ],
)
def test_a_line_that_is_no_entry_is_refused(line: str) -> None:
    # PROTOCOL 3.19.4
    assert code_of(lambda: parse_entry(line)) == "checkpoint_malformed"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "[" * 5_000,
        '{"session_id":"s","size":true,"head":"h"}',
        '{"session_id":"s","size":0,"head":"h"}',
        '{"session_id":"s","size":1}',
        '{"session_id":1,"size":1,"head":"h"}',
        json.dumps({**VECTORS["facts"], "session_id": "s"}),
        json.dumps({**VECTORS["facts"], "head": "h"}),
        json.dumps({**VECTORS["facts"], "size": True}),
        json.dumps({**VECTORS["facts"], "algorithm": 1}),
    ],
)
def test_an_answer_of_a_witness_that_is_none_is_refused(text: str) -> None:
    assert code_of(lambda: parse_witnessed(text)) == "witness_malformed"


def test_the_line_of_a_witness_that_tells_nothing_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_witnessed(json.dumps(VECTORS["facts"]) + "\n{}\n")
    assert caught.value.details["pointer"] == "/1"


def test_a_witness_tells_of_sizes_from_one_on_line_by_line_with_or_without_the_algorithm() -> None:
    first = {**VECTORS["facts"], "size": 1, "at": "now"}
    last = {name: VECTORS["facts"][name] for name in ("session_id", "size", "head")}
    text = f"{json.dumps(first)}\n\n{json.dumps(last)}"
    assert parse_witnessed(text) == [Witnessed(**{**VECTORS["facts"], "size": 1}), Witnessed(**last)]


def test_a_witness_tells_no_more_lines_than_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cra_wasm.trace.checkpoint_verify.MAX_WITNESSED", 2)
    line = json.dumps(VECTORS["facts"]) + "\n"
    assert len(parse_witnessed(line * 2)) == 2
    assert code_of(lambda: parse_witnessed(line * 3)) == "witness_malformed"


def test_a_key_name_has_no_white_space_in_any_language() -> None:
    """`\\s` of JavaScript leaves U+0085 out, and that of Python takes U+001C in."""
    for space in "\t\n\x0b \x85\xa0\u1680\u2003\u2028\u202f\u3000":
        assert code_of(lambda space=space: parse_note(GOOD.replace("\u2014 cra-", f"\u2014 {space}cra-")))  # type: ignore[misc]
    for other in "\x1c\ufeff":
        assert parse_note(GOOD.replace("\u2014 cra-", f"\u2014 {other}cra-"))


@pytest.mark.parametrize("text", ["{}", "{}\n{}"])
def test_a_torn_file_of_checkpoints_is_refused(text: str) -> None:
    assert code_of(lambda: parse_entries(text)) == "checkpoint_malformed"


def test_a_carriage_return_is_part_of_its_line() -> None:
    # PROTOCOL 3.19.4
    (line,) = parse_entries(entry(GOOD) + "\r\n")
    assert code_of(lambda: parse_entry(line)) == "checkpoint_malformed"


# Against a trace


@pytest.fixture
def trace() -> list[bytes]:
    """Seven events of one session."""
    resolver = Resolver(tracing="immediate")
    session_id = resolver.create_session("agent", "goal")
    for number in range(5):
        resolver.emit(session_id, "form.changed", {"number": number})
    resolver.end_session(session_id)
    return [f"{event.to_json()}\n".encode() for event in resolver.get_trace(session_id)]


def facts(trace: list[bytes], size: int) -> dict[str, Any]:
    event = json.loads(trace[size - 1])
    return {"session_id": event["session_id"], "size": size, "head": event["event_hash"]}


def note_of(trace: list[bytes], size: int, **changed: Any) -> str:
    """A checkpoint of it, with the signature of another: `believed` does not look."""
    told = {**facts(trace, size), **changed}
    told["size"] = told.get("told", size)
    head = b64encode(bytes.fromhex(told["head"])).decode()
    algorithm = told.get("algorithm", "sha256")
    body = f"cra-wasm/trace/{told['session_id']}\n{told['size']}\n{head}\nalgorithm {algorithm}\n"
    return f"{body}time 2026-11-26T10:00:00.000Z\n\n{SIGNATURES}"


def verdict(trace: list[bytes], notes: list[str], **options: Any) -> SignedVerdict:
    return verify_signed(trace, [entry(note) for note in notes], is_signed=believed, **options)


def test_without_checkpoints_there_is_the_chain(trace: list[bytes]) -> None:
    found = verdict(trace, [])
    assert (found.result.valid, found.strength, found.checkpoints, found.covered) == (True, "chain", 0, 0)


def test_checkpoints_that_hold_tell_how_far(trace: list[bytes]) -> None:
    # PROTOCOL 3.19.5
    found = verdict(trace, [note_of(trace, 1), note_of(trace, 5)])
    assert (found.result.valid, found.strength, found.checkpoints, found.covered) == (True, "signed", 2, 5)
    assert found.result.warnings == ()


def test_a_key_of_ones_own_makes_it_stronger(trace: list[bytes]) -> None:
    found = verdict(trace, [note_of(trace, 7)], pinned=[parse_vkey(VECTORS["key"])])
    assert found.strength == "signed-pinned"


def test_a_pin_is_not_undone_by_taking_the_checkpoints_away(trace: list[bytes]) -> None:
    # PROTOCOL 3.19.8
    with pytest.raises(NotFound) as caught:
        verdict(trace, [], pinned=[parse_vkey(VECTORS["key"])], witnessed=[Witnessed(**facts(trace, 7))])
    assert caught.value.code == "checkpoints_not_found"


def test_a_witness_makes_it_strongest(trace: list[bytes]) -> None:
    other = Witnessed(session_id="another", size=100, head="00")
    found = verdict(trace, [], witnessed=[other, Witnessed(**facts(trace, 6))])
    assert (found.strength, found.covered, found.result.warnings) == ("witnessed", 6, ())


def test_a_witness_that_knows_nothing_of_it_is_told(trace: list[bytes]) -> None:
    found = verdict(trace, [note_of(trace, 7)], witnessed=[])
    assert (found.strength, found.result.warnings) == ("signed", ("unwitnessed",))


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"head": "00" * 32}, "checkpoint_mismatch"),
        ({"algorithm": "blake3"}, "checkpoint_mismatch"),
        ({"told": 8}, "checkpoint_beyond_end"),
        ({"session_id": VECTORS["facts"]["session_id"]}, "checkpoint_other_session"),
    ],
)
def test_a_checkpoint_of_anything_else_does_not_hold(
    changed: dict[str, Any], error: str, trace: list[bytes]
) -> None:
    # PROTOCOL 3.19.6
    found = verdict(trace, [note_of(trace, 3), note_of(trace, 7, **changed)])
    assert (found.result.valid, found.result.error, found.result.error_at) == (False, error, None)
    assert found.result.message
    assert (found.strength, found.covered) == ("chain", 0)


def test_a_witness_that_contradicts_makes_it_invalid(trace: list[bytes]) -> None:
    told = Witnessed(**{**facts(trace, 6), "head": "00" * 32})
    assert verdict(trace, [], witnessed=[told]).result.error == "checkpoint_mismatch"


def test_a_cut_that_leaves_a_whole_chain_is_found(trace: list[bytes]) -> None:
    # PROTOCOL 3.19.6
    result = verdict(trace[:4], [note_of(trace, 5)]).result
    assert (result.error, result.warnings) == ("checkpoint_beyond_end", ())


def test_a_fault_of_the_chain_comes_first(trace: list[bytes]) -> None:
    broken = [*trace[:3], trace[3].replace(b'"number":2', b'"number":9'), *trace[4:]]
    found = verdict(broken, ["nonsense"])
    assert (found.result.error, found.result.error_at) == ("hash_mismatch", 3)


def test_a_key_that_nobody_gave_is_told(trace: list[bytes]) -> None:
    found = verdict(trace, [note_of(trace, 7)], pinned=[parse_vkey(VECTORS["other_key"])])
    assert found.result.error == "checkpoint_key_unpinned"


def test_a_signature_that_does_not_hold_is_told(trace: list[bytes]) -> None:
    entries = [entry(note_of(trace, 7))]
    found = verify_signed(trace, entries, is_signed=lambda key, signature, message: False)
    assert found.result.error == "checkpoint_signature_invalid"


def test_a_signature_of_a_given_key_that_does_not_hold_is_told(trace: list[bytes]) -> None:
    found = verify_signed(
        trace,
        [entry(note_of(trace, 7))],
        is_signed=lambda key, signature, message: False,
        pinned=[parse_vkey(VECTORS["other_key"]), parse_vkey(VECTORS["key"])],
    )
    assert found.result.error == "checkpoint_signature_invalid"


# Ed25519 itself


@real_ed25519
@pytest.mark.parametrize(("note", "error"), NOTES)
def test_signatures_hold_or_not(note: str, error: str | None, trace: list[bytes]) -> None:
    found = verify_signed(trace, [entry(note)], is_signed=is_signed)
    # The vectors are of a session that is not this one, which is told last.
    assert found.result.error == (error or "checkpoint_other_session")


@real_ed25519
def test_what_is_no_key_signs_nothing() -> None:
    assert is_signed(b"\xff" * 32, b"\x00" * 64, b"") is False
    assert is_signed(b"\x00" * 31, b"\x00" * 64, b"") is False


# The command


@real_ed25519
def test_the_command_takes_the_file_beside_a_trace(
    tmp_path: Path, trace: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    # PROTOCOL 3.19.7
    (tmp_path / "a.trace.jsonl").write_bytes(b"".join(trace))
    (tmp_path / "a.checkpoints.jsonl").write_text(entry(GOOD) + "\n")
    assert main(["verify", str(tmp_path / "a.trace.jsonl"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "checkpoint_other_session"


@real_ed25519
def test_the_command_compares_with_a_witness(
    tmp_path: Path, trace: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.trace.jsonl").write_bytes(b"".join(trace))
    (tmp_path / "w.jsonl").write_text(json.dumps(facts(trace, 7)) + "\n")
    arguments = ["verify", str(tmp_path / "a.trace.jsonl"), "--witness", str(tmp_path / "w.jsonl")]
    assert main(arguments) == 0
    assert "strength: witnessed" in capsys.readouterr().out
    (tmp_path / "a.trace.jsonl").write_bytes(b"".join(trace[:5]))
    assert main(arguments) == 1
    assert "not valid: checkpoint_beyond_end" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--checkpoints", "missing"], "checkpoints_not_found"),
        (["--checkpoints", "."], "checkpoints_unreadable"),
        (["--public-key", VECTORS["key"]], "checkpoints_not_found"),
        (["--public-key", VECTORS["key"], "--checkpoints", "empty"], "checkpoints_not_found"),
        (["--checkpoints", "torn"], "checkpoint_malformed"),
        (["--public-key", "a+b"], "checkpoint_malformed"),
        (["--witness", "bytes"], "checkpoint_malformed"),
        (["--profile", "auto", "--witness", "bytes"], "invalid_arguments"),
    ],
)
def test_what_the_command_cannot_use_is_told(
    options: list[str],
    code: str,
    tmp_path: Path,
    trace: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.trace.jsonl").write_bytes(b"".join(trace))
    Path("bytes").write_bytes(b"\xff")
    Path("empty").touch()
    Path("torn").write_bytes(b"{}")
    assert main(["verify", "a.trace.jsonl", *options]) == 2
    assert code in capsys.readouterr().err


def test_without_the_package_a_file_that_nobody_asked_for_is_a_warning(
    tmp_path: Path, trace: list[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    (tmp_path / "a.trace.jsonl").write_bytes(b"".join(trace))
    (tmp_path / "a.checkpoints.jsonl").write_text(entry(GOOD) + "\n")
    arguments = ["verify", str(tmp_path / "a.trace.jsonl")]
    assert main(arguments) == 0
    assert "checkpoints_unchecked" in capsys.readouterr().out
    assert main([*arguments, "--checkpoints", str(tmp_path / "a.checkpoints.jsonl")]) == 2
    assert "signed_unavailable" in capsys.readouterr().err
