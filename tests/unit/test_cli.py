"""The command line: its exit codes, its JSON, and what it finds in a trace that somebody changed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cra_wasm
from cra_wasm import __version__
from cra_wasm.cli import main
from cra_wasm.commands import serve, verify

GOAL = "please refund me, naïvely 😀"


@pytest.fixture
def atlas(shop_text: str, tmp_path: Path) -> str:
    path = tmp_path / "shop.atlas.json"
    path.write_text(shop_text, encoding="utf-8")
    return str(path)


@pytest.fixture
def trace(atlas: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "out.trace.jsonl"
    assert main(["resolve", atlas, "--goal", GOAL, "--trace", str(path)]) == 0
    capsys.readouterr()
    return path


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the one JSON value that was printed, with nothing on stderr."""
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_resolve_says_yes_when_something_is_allowed(atlas: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resolve", atlas, "--goal", GOAL, "--json"]) == 0
    answer = printed(capsys)
    assert (answer["decision"]["type"], len(answer["allowed_actions"])) == ("partial", 5)
    assert [one["block_id"] for one in answer["context_blocks"]] == ["refund-rules", "house-rules"]


def test_resolve_says_no_when_nothing_is_allowed(
    shop: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop["policies"] = []
    path = tmp_path / "closed.json"
    path.write_text(json.dumps(shop), encoding="utf-8")
    assert main(["resolve", str(path), "--goal", "g", "--json"]) == 1
    assert printed(capsys)["decision"]["type"] == "deny"


def test_resolve_prints_each_action_with_its_policy(atlas: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resolve", atlas, "--goal", GOAL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "partial: 5 of 8 actions allowed"
    assert [line.split() for line in lines[1:]] == [
        ["allow", "item.read", "by", "allow-most"],
        ["allow", "item.list", "by", "allow-most"],
        ["allow", "item.write", "by", "allow-most"],
        ["allow", "item.count", "by", "allow-most"],
        ["allow", "item.pay", "by", "allow-most"],
        ["deny", "item.refund", "by", "ask-refund", "requires_approval"],
        ["deny", "item.delete", "by", "no-delete", "never"],
        ["deny", "item.hidden", "by", "default-deny", "no_matching_policy"],
        ["know", "refund-rules"],
        ["know", "house-rules"],
    ]


def test_resolve_passes_on_who_asks_and_for_what(atlas: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    arguments = ["--agent", "bot", "--risk", "high", "--capability", "reading", "--trace", str(path)]
    assert main(["resolve", atlas, "--goal", GOAL, *arguments]) == 0
    started, received, *rest = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert started["payload"]["agent_id"] == "bot"
    assert received["payload"]["goal"] == GOAL
    assert received["payload"]["risk_tier"] == "high"
    assert received["payload"]["required_capabilities"] == ["reading"]
    assert rest[-1]["event_type"] == "session.ended"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--goal", ""], "invalid_goal"),
        (["--goal", "x" * 10_001], "invalid_goal"),
        (["--goal", "\udcff"], "invalid_goal"),
        (["--goal", "g", "--agent", ""], "invalid_agent_id"),
        (["--goal", "g", "--capability", "nope"], "capability_not_found"),
        (["--goal", "g", "--trace", "no/such/folder/t.jsonl"], "cannot_write"),
    ],
)
def test_what_could_not_be_done_is_2_with_a_code(
    atlas: str, arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resolve", atlas, *arguments, "--json"]) == 2
    assert printed(capsys)["error"]["code"] == code
    assert main(["resolve", atlas, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"cra-wasm: {code}: ")


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "file_not_found"), ("{", "invalid_atlas"), ('{"atlas_version": "1.0"}', "invalid_atlas")],
)
def test_an_atlas_that_cannot_be_loaded_is_2(
    tmp_path: Path, content: str | None, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert main(["resolve", str(path), "--goal", "g", "--json"]) == 2
    assert printed(capsys)["error"]["code"] == code
    assert main(["resolve", str(path), "--goal", "g"]) == 2
    assert code in capsys.readouterr().err


def test_a_second_atlas_with_the_same_actions_is_2(
    atlas: str, shop: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**shop, "atlas_id": "test.other"}), encoding="utf-8")
    assert main(["resolve", atlas, str(other), "--goal", "g", "--json"]) == 2
    assert printed(capsys)["error"]["code"] == "duplicate_action"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["resolve"],
        ["resolve", "a.json"],
        ["verify"],
        ["resolve", "a", "--risk", "x"],
        ["resolve", "a", "--goal", "g", "--request", "r.json"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: cra-wasm" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"cra-wasm {__version__}\n"


def test_verify_says_yes_with_the_head(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = trace.read_bytes().splitlines()
    head = json.loads(events[-1])["event_hash"]
    assert main(["verify", str(trace), "--json"]) == 0
    assert printed(capsys) == {
        "valid": True,
        "events": len(events),
        "error": None,
        "error_at": None,
        "message": None,
        "head": head,
        "algorithm": "sha256",
        "warnings": [],
        "profile": "jcs",
        "protects_boundaries": True,
        "strength": "chain",
        "checkpoints": 0,
        "covered": 0,
    }
    assert main(["verify", str(trace)]) == 0
    verdict, strength = capsys.readouterr().out.splitlines()
    assert verdict == f"valid: {len(events)} events, sha256 head {head}"
    assert strength.startswith(f"strength: chain (0 checkpoints, 0 of {len(events)} events covered): ")


def test_a_flipped_byte_in_any_event_is_found_at_that_event(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = trace.read_bytes().splitlines(keepends=True)
    assert len(lines) == 14
    changed = tmp_path / "changed.jsonl"
    for index, line in enumerate(lines):
        places = {
            0,
            20,
            len(line) // 3,
            len(line) // 2,
            line.index(b'"payload":{"') + 13,
            len(line) - 3,
            len(line) - 1,
        }
        for place in sorted(places):
            for bit in (1, 0x80):
                flipped = bytearray(line)
                flipped[place] ^= bit
                changed.write_bytes(b"".join([*lines[:index], bytes(flipped), *lines[index + 1 :]]))
                assert main(["verify", str(changed), "--json"]) == 1
                result = printed(capsys)
                assert (result["valid"], result["error_at"], result["events"]) == (False, index, index)
                assert result["error"] is not None


def test_a_lost_or_swapped_event_is_found(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = trace.read_bytes().splitlines(keepends=True)
    path = tmp_path / "changed.jsonl"
    for kept, error, error_at in (
        (lines[1:], "bad_genesis", 0),
        (lines[:3] + lines[4:], "sequence_gap", 3),
        ([*lines[:3], lines[4], lines[3], *lines[5:]], "sequence_gap", 3),
        ([], "bad_genesis", 0),
    ):
        path.write_bytes(b"".join(kept))
        assert main(["verify", str(path), "--json"]) == 1
        result = printed(capsys)
        assert (result["error"], result["error_at"]) == (error, error_at)
    assert main(["verify", str(path)]) == 1
    assert capsys.readouterr().out.startswith("not valid: bad_genesis at event 0 (line 1): ")


def test_a_trace_without_its_end_is_valid_with_a_warning(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_bytes(b"".join(trace.read_bytes().splitlines(keepends=True)[:-1]))
    assert main(["verify", str(path), "--json"]) == 0
    assert printed(capsys)["warnings"] == ["truncated"]
    assert main(["verify", str(path)]) == 0
    _, strength, warning = capsys.readouterr().out.splitlines()
    assert strength.startswith("strength: chain ")
    assert warning.startswith("warning: truncated: ")


@pytest.mark.parametrize("name", ["rust-small", "ts-small"])
def test_a_trace_of_another_writer_is_verified_by_its_profile(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(Path(__file__).parent / "foreign_traces" / f"{name}.trace.jsonl")
    profile, warnings = {
        "rust-small": ("offset-time", ["unprotected_boundaries"]),
        "ts-small": ("whole-event", []),
    }[name]
    for asked in ("auto", profile):
        assert main(["verify", path, "--profile", asked, "--json"]) == 0
        result = printed(capsys)
        assert (result["valid"], result["profile"], result["warnings"]) == (True, profile, warnings)
        assert result["protects_boundaries"] is (not warnings)
        assert main(["verify", path, "--profile", asked]) == 0
        first, *rest = capsys.readouterr().out.splitlines()
        assert first.startswith(f"valid by profile {profile}: ")
        assert [line.split(":")[1].strip() for line in rest] == warnings
    assert main(["verify", path]) == 1
    assert capsys.readouterr().out.startswith("not valid: bad_field at event 0 (line 1): ")


def test_auto_names_the_nearest_profile_of_a_trace_that_fits_none(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "changed.jsonl"
    changed.write_bytes(trace.read_bytes().replace(b"completed", b"comqleted"))
    assert main(["verify", str(changed), "--profile", "auto"]) == 1
    assert capsys.readouterr().out.startswith("not valid by any profile, the nearest is jcs: ")
    assert main(["verify", str(trace), "--profile", "auto"]) == 0
    assert capsys.readouterr().out.startswith("valid by profile jcs: ")


def test_what_an_atlas_says_cannot_command_the_terminal(
    shop: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop["policies"].append(
        {"policy_id": "loud", "type": "deny", "priority": 9, "parameters": {"reason": "\x1b[31mred\x07"}}
    )
    path = tmp_path / "loud.json"
    path.write_text(json.dumps(shop))
    assert main(["resolve", str(path), "--goal", "anything"]) == 1
    told = capsys.readouterr().out
    assert "\x1b" not in told and "\x07" not in told
    assert "[31mred" in told


def test_an_error_in_one_of_several_atlases_names_the_file(
    shop: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, broken = tmp_path / "good.json", tmp_path / "broken.json"
    good.write_text(json.dumps(shop))
    broken.write_text("{")
    assert main(["resolve", str(good), str(broken), "--goal", "anything", "--json"]) == 2
    error = printed(capsys)["error"]
    assert (error["code"], error["details"]["file"]) == ("invalid_atlas", str(broken))


def test_a_trace_that_cannot_be_read_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a" * 241 + ".trace.jsonl"  # not too long, but that of its checkpoints would be
    for path, code in (
        (tmp_path / "none.jsonl", "trace_not_found"),
        (tmp_path / name, "trace_not_found"),
        (tmp_path, "trace_unreadable"),
        (".", "trace_unreadable"),
        ("/", "trace_unreadable"),
        ("", "trace_unreadable"),
    ):
        assert main(["verify", str(path), "--json"]) == 2
        assert printed(capsys)["error"]["code"] == code


def test_serving_what_is_not_there_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("none", "loop", "a" * 300):
        assert main(["serve", "--dir", str(tmp_path / name), "--port", "0", "--json"]) == 2
        assert printed(capsys)["error"]["code"] == "no_such_directory"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BrokenPipeError()])
def test_a_verification_that_was_interrupted_is_neither_yes_nor_no(
    trace: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(path: Path, profile: str) -> None:
        raise error

    monkeypatch.setattr(verify, "verify_file", interrupted)
    assert main(["verify", str(trace)]) == 2


def started(*arguments: str, before: str = "", **how: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command line as a program: what Python does at its end counts too."""
    packages = str(Path(cra_wasm.__file__).parents[1])
    start = "from cra_wasm.cli import main\nsys.exit(main())"
    source = f"import sys\nsys.path.insert(0, {packages!r})\n{before}\n{start}"
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    how["env"] = environment | how.get("env", {})
    return subprocess.run([sys.executable, "-c", source, *arguments], timeout=60, check=False, **how)


@pytest.mark.cpython_only(reason="starts other programs")
@pytest.mark.parametrize("env", [{}, {"PYTHONUNBUFFERED": "1"}])
@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "TRACE"],
        ["verify", "no-such-file", "--json"],
        ["serve", "--dir", ".", "--port", "0"],
        ["--help"],
        ["atlas", "check", "--help"],
    ],
)
def test_an_answer_that_cannot_be_written_is_2(
    trace: Path, arguments: list[str], env: dict[str, str]
) -> None:
    arguments = [str(trace) if one == "TRACE" else one for one in arguments]
    source, sink = os.pipe()
    os.close(source)
    left = started(*arguments, stdout=sink, env=env)
    os.close(sink)
    assert (left.returncode, left.stderr) == (2, b"")
    if not os.path.exists("/dev/full"):
        return
    with open("/dev/full", "wb") as full:
        unwritten = started(*arguments, stdout=full, env=env)
        assert (unwritten.returncode, unwritten.stderr) == (
            2,
            b"cra-wasm: cannot_write: cannot write the answer: No space left on device\n",
        )
        assert started(*arguments, stdout=full, stderr=full, env=env).returncode == 2


@pytest.mark.cpython_only(reason="starts other programs")
@pytest.mark.parametrize("arguments", [["verify", "no-such-file"], ["verify"]])
def test_an_error_that_cannot_be_told_is_2(arguments: list[str]) -> None:
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            assert started(*arguments, stderr=full).returncode == 2


@pytest.mark.cpython_only(reason="starts other programs")
def test_an_interrupt_while_the_commands_are_imported_is_told_by_the_status() -> None:
    before = """
class Interrupt:
    def find_spec(self, name, *_):
        if name.startswith("cra_wasm.commands"):
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
"""
    told = started("verify", "no-such-file", before=before)
    assert (told.returncode, told.stdout, told.stderr) == (2, b"", b"")


def test_a_file_that_fails_a_command_is_named(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(path: Path, profile: str) -> None:
        raise OSError(36, "File name too long", "a-name")

    monkeypatch.setattr(verify, "verify_file", failing)
    assert main(["verify", str(trace), "--json"]) == 2
    error = printed(capsys)["error"]
    assert error["code"] == "file_not_found" and "`a-name`: File name too long" in error["message"]


def test_answers_can_be_printed_where_only_ascii_can(
    shop: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop["policies"][1]["parameters"]["reason"] = "niemals 😀 é"
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(shop), encoding="utf-8")
    outputs = []
    for extra in (["--json"], []):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        assert main(["resolve", str(path), "--goal", GOAL, *extra]) == 0
        sys.stdout.flush()
        outputs.append(raw.getvalue().decode("ascii"))
    assert json.loads(outputs[0])["denied_actions"][1]["reason"] == "niemals 😀 é"
    assert "niemals" in outputs[1]


def test_an_interrupt_is_how_serving_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Server:
        server_port = 8420

        def __enter__(self) -> Server:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def serve_forever(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(serve, "serve_directory", lambda *_, **__: Server())
    assert main(["serve", "--dir", str(tmp_path), "--json"]) == 0
    assert printed(capsys) == {"url": "http://127.0.0.1:8420/"}


def request_file(folder: Path, **members: Any) -> str:
    request = {
        "carp_version": "1.0",
        "request_id": "01234567-89ab-7def-8123-456789abcdef",
        "timestamp": "2001-01-01T00:00:00Z",
        "operation": "resolve",
        "requester": {
            "agent_id": "agent-7",
            "session_id": "01940d23-3a00-7000-8000-0000ffff0001",
            "parent_session_id": "01940d23-3a00-7000-8000-0000ffff0002",
        },
        "task": {"goal": GOAL, "risk_tier": "medium", "required_capabilities": ["reading"]},
        "context": {"region": "eu"},
        **members,
    }
    path = folder / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return str(path)


def test_a_whole_request_is_resolved_in_a_session_for_its_agent(
    atlas: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    request = request_file(tmp_path)
    assert main(["resolve", atlas, "--request", request, "--trace", str(out), "--json"]) == 0
    answer = printed(capsys)
    assert answer["request_id"] == "01234567-89ab-7def-8123-456789abcdef"
    assert [one["action_id"] for one in answer["allowed_actions"]] == ["item.read", "item.list"]
    events = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert events[0]["payload"]["agent_id"] == "agent-7"
    assert "parent_session_id" not in events[0]["payload"]
    assert events[0]["session_id"] != "01940d23-3a00-7000-8000-0000ffff0001"
    assert (events[1]["payload"]["context"], events[1]["payload"]["risk_tier"]) == (
        {"region": "eu"},
        "medium",
    )
    assert main(["verify", str(out)]) == 0
    capsys.readouterr()
    assert main(["resolve", atlas, "--request", request]) == 0
    assert capsys.readouterr().out.startswith("allow: 2 of 2 actions allowed\n")


def test_a_request_to_validate_is_validated(
    atlas: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = request_file(tmp_path, operation="validate")
    assert main(["resolve", atlas, "--request", request, "--json"]) == 0
    answer = printed(capsys)
    assert (answer["valid"], answer["decision"]["type"]) == (True, "allow")
    assert main(["resolve", atlas, "--request", request]) == 0
    assert capsys.readouterr().out == "valid: would decide allow\n"
    task = {"goal": GOAL, "required_capabilities": ["no.such"]}
    request = request_file(tmp_path, operation="validate", task=task, atlas_ids=["test.none"])
    assert main(["resolve", atlas, "--request", request]) == 1
    out = capsys.readouterr().out
    assert out.startswith("not valid: 1 findings\n  atlas_not_found  /atlas_ids/0: ")


@pytest.mark.parametrize(
    ("members", "extra", "code", "pointer"),
    [
        ({"operation": "execute"}, [], "invalid_request", ""),
        (
            {
                "operation": "execute",
                "execution": {
                    "resolution_id": "01940d23-3a00-7000-8000-0000ffff0001",
                    "action_id": "a.b",
                    "parameters": {},
                },
            },
            [],
            "invalid_request",
            "/operation",
        ),
        ({"nope": 1}, [], "invalid_request", "/nope"),
        ({"atlas_ids": ["test.none"]}, [], "atlas_not_found", "/atlas_ids/0"),
        ({"requester": {"agent_id": "cra-runtime", "session_id": "x"}}, [], "invalid_request", None),
        ({}, ["--agent", "x"], "invalid_arguments", "/agent"),
        ({}, ["--risk", "low"], "invalid_arguments", "/risk"),
        ({}, ["--capability", "reading"], "invalid_arguments", "/capability"),
    ],
)
def test_a_request_that_cannot_be_resolved_says_why(
    atlas: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    members: dict[str, Any],
    extra: list[str],
    code: str,
    pointer: str | None,
) -> None:
    request = request_file(tmp_path, **members)
    assert main(["resolve", atlas, "--request", request, *extra, "--json"]) == 2
    error = printed(capsys)["error"]
    assert error["code"] == code
    assert pointer is None or error["details"]["pointer"] == pointer


def test_a_request_file_that_cannot_be_read_says_why(
    atlas: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "big.json").write_bytes(b" " * (16 * 1024 * 1024 + 1))
    (tmp_path / "torn.json").write_text("{", encoding="utf-8")
    for name, code in [
        ("none.json", "file_not_found"),
        (".", "file_not_found"),
        ("big.json", "invalid_request"),
        ("torn.json", "invalid_request"),
    ]:
        assert main(["resolve", atlas, "--request", str(tmp_path / name), "--json"]) == 2
        assert printed(capsys)["error"]["code"] == code
