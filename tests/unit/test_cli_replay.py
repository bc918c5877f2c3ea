"""`cra-wasm replay` and `diff`: exit codes, JSON, and text that a terminal does not obey."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cra_wasm.cli import main

from .chaining import changed, line_of
from .conftest import SHOP, Rig


@pytest.fixture
def atlas(shop_text: str, tmp_path: Path) -> str:
    path = tmp_path / "shop.atlas.json"
    path.write_text(shop_text, encoding="utf-8")
    return str(path)


def written(path: Path, events: Any) -> str:
    path.write_bytes(b"".join(map(line_of, events)))
    return str(path)


@pytest.fixture
def events() -> Any:
    rig = Rig()
    rig.resolver.register_executor("item.pay", lambda parameters: None)
    rig.run("item.delete")
    rig.resolver.end_session(rig.session_id)
    return rig.events()


@pytest.fixture
def trace(events: Any, tmp_path: Path) -> str:
    return written(tmp_path / "a.trace.jsonl", events)


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_replay_says_yes_when_all_is_as_recorded(
    trace: str, atlas: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", trace, "--atlas", atlas, "--json"]) == 0
    assert printed(capsys)["identical"] is True
    assert main(["replay", trace, "--atlas", atlas]) == 0
    assert capsys.readouterr().out.startswith("identical: 1 resolutions, 1 executes")


def test_replay_says_no_and_where(trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**SHOP, "policies": SHOP["policies"][:1]}), encoding="utf-8")
    assert main(["replay", trace, "--atlas", str(other), "--json"]) == 1
    assert printed(capsys)["differences"][0]["pointer"] == "/payload/policy_id"
    assert main(["replay", trace, "--atlas", str(other)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("differs: ")
    assert "here policy `allow-most` (allow) decides, allow" in out


def test_replay_says_2_when_it_cannot_tell(
    tmp_path: Path, atlas: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = Rig()
    rig.resolver.register_executor("item.pay", lambda parameters: None)
    rig.run("item.pay", {"amount": 3})
    trace = written(tmp_path / "p.trace.jsonl", rig.events())
    assert main(["replay", trace, "--atlas", atlas]) == 2
    assert "cost_parameter" in capsys.readouterr().out
    kept = tmp_path / "kept.jsonl"
    kept.write_text('{"amount": 3}\n{"amount": 4}\n', encoding="utf-8")
    assert main(["replay", trace, "--atlas", atlas, "--parameters", str(kept), "--complete"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["a.trace.jsonl"], "invalid_arguments"),
        (["none.jsonl", "--atlas", "ATLAS"], "trace_not_found"),
        (["none.jsonl", "--state"], "trace_not_found"),
        (["a.trace.jsonl", "--atlas", "none.json"], "file_not_found"),
        (["a.trace.jsonl", "--atlas", "a.trace.jsonl"], "invalid_atlas"),
        (["ATLAS", "--atlas", "ATLAS"], "invalid_trace"),
        (["ATLAS", "--state", "--unverified"], "invalid_trace"),
        (["a.trace.jsonl", "a.trace.jsonl", "--atlas", "ATLAS"], "duplicate_session"),
        (["a.trace.jsonl", "--atlas", "ATLAS", "--parameters", "none.jsonl"], "file_not_found"),
        (["a.trace.jsonl", "--atlas", "ATLAS", "--parameters", "list.jsonl"], "invalid_parameters"),
    ],
)
def test_what_could_not_be_replayed_is_2_with_a_code(
    trace: str,
    atlas: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.jsonl").write_text("[]\n", encoding="utf-8")
    arguments = [atlas if one == "ATLAS" else one for one in arguments]
    assert main(["replay", *arguments, "--json"]) == 2
    assert printed(capsys)["error"]["code"] == code


@pytest.mark.parametrize(
    ("command", "broken", "pointer"),
    [
        (["diff", "a.trace.jsonl", "broken.jsonl"], "broken.jsonl", "/3"),
        (["diff", "broken.jsonl", "a.trace.jsonl"], "broken.jsonl", "/3"),
        (["replay", "a.trace.jsonl", "broken.jsonl", "--atlas", "A", "--unverified"], "broken.jsonl", "/3"),
        (["replay", "a.trace.jsonl", "broken.jsonl", "--atlas", "A"], "broken.jsonl", "/3"),
        (["replay", "a.trace.jsonl", "--atlas", "A", "--parameters", "p.jsonl"], "p.jsonl", "/1"),
        pytest.param(
            ["replay", "a.trace.jsonl", "--atlas", "A", "--parameters", "/dev/zero"],
            "/dev/zero",
            "/0",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="an endless file"),
        ),
    ],
)
def test_a_broken_line_is_told_with_its_file_and_its_number(
    trace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    broken: str,
    pointer: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = Path(trace).read_bytes().splitlines(keepends=True)
    Path("broken.jsonl").write_bytes(b"".join([*lines[:3], b"{broken\n", *lines[4:]]))
    Path("p.jsonl").write_bytes(b'{"a": 1}\n{broken\n')
    assert main([*command, "--json"]) == 2
    details = printed(capsys)["error"]["details"]
    assert (details["file"], details["pointer"]) == (broken, pointer)
    assert main(command) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"cra-wasm: {broken}: invalid_")
    assert f"line {int(pointer[1:]) + 1} " in told or "at event 3: " in told


def test_a_broken_trace_is_replayed_only_when_asked(
    events: Any, atlas: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = written(
        tmp_path / "b.jsonl", [*events[:3], events[3]._replace(event_hash="0" * 64), *events[4:]]
    )
    assert main(["replay", broken, "--atlas", atlas, "--json"]) == 2
    assert printed(capsys)["error"]["details"]["error"] == "hash_mismatch"
    assert main(["replay", broken, "--atlas", atlas, "--unverified"]) == 0


def test_state_is_printed(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", trace, "--state", "--json"]) == 0
    (session,) = printed(capsys)["sessions"]
    assert session["executions"][0]["outcome"] == "denied"
    assert main(["replay", trace, "--state"]) == 0
    assert "denied  item.delete  never" in capsys.readouterr().out


def test_diff_compares(trace: str, events: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", trace, trace, "--json"]) == 0
    assert printed(capsys)["verdict"] == "identical"
    other = written(tmp_path / "b.jsonl", changed(events, 3, result="deny"))
    assert main(["diff", trace, other, "--json"]) == 1
    assert printed(capsys)["counts"]["critical"] == 1
    assert main(["diff", trace, other]) == 1
    assert '/3/payload/result: "allow" | "deny"' in capsys.readouterr().out
    assert main(["diff", trace, str(tmp_path / "none.jsonl"), "--json"]) == 2
    assert printed(capsys)["error"]["code"] == "trace_not_found"


def test_nothing_foreign_reaches_the_terminal(
    events: Any, atlas: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\u202e"
    forged = changed(events, 3, policy_id=evil, action_id=evil)
    forged = changed(forged, 0, agent_id=evil)
    forged = changed(forged, len(forged) - 1, reason=evil)
    path = written(tmp_path / "b.jsonl", forged)
    main(["replay", path, "--atlas", atlas])
    main(["replay", path, "--state"])
    main(["diff", path, written(tmp_path / "a.jsonl", events)])
    out, err = capsys.readouterr()
    assert not {"\x1b", "\u202e"} & set(out + err)
