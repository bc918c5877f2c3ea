"""`cra-wasm atlas check`, and packages for `cra-wasm resolve`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cra_wasm.cli import main

from .building import action, manifest, policy
from .packages import as_folder, zip_file

GOOD = manifest(actions=[action("a.b")], policies=[policy("p", "allow")])
BAD = manifest(name="", extra="\x1b[2J", actions=[action("A")])
DIALECT = manifest(atlas_id="com.dialect", policies=[policy("p", "requires_approval")])


def write(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def reports(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


def test_a_valid_atlas_is_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.json", GOOD)
    assert main(["atlas", "check", path, "--json"]) == 0
    (report,) = reports(capsys)
    assert report == {
        "path": path,
        "valid": True,
        "atlas_id": "com.example.shop",
        "version": "1.0.0",
        "findings": [],
        "findings_total": 0,
        "warnings": [],
        "counts": {"actions": 1, "policies": 1, "capabilities": 0, "context_blocks": 0, "context_packs": 0},
    }
    assert main(["atlas", "check", path]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: valid: com.example.shop 1.0.0: 1 actions, 1 policies")


def test_an_atlas_that_is_not_valid_is_no_with_all_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.json", BAD)
    assert main(["atlas", "--json", "check", path]) == 1
    (report,) = reports(capsys)
    assert (report["valid"], report["atlas_id"], report["counts"]) == (False, None, None)
    assert sorted(one["pointer"] for one in report["findings"]) == ["/actions/0/action_id", "/extra", "/name"]
    assert main(["atlas", "check", path]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: not valid: 3 findings\n") and "/actions/0/action_id" in out


def test_what_is_no_atlas_at_all_is_no(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    assert main(["atlas", "check", str(path), "--json"]) == 1
    (report,) = reports(capsys)
    assert [one["code"] for one in report["findings"]] == ["invalid_atlas"]


def test_what_cannot_be_read_is_could_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["atlas", "check", str(tmp_path / "none"), "--json"]) == 2
    (report,) = reports(capsys)
    assert report["error"]["code"] == "file_not_found"
    assert report["error"]["details"]["file"] == str(tmp_path / "none")
    for arguments in (["atlas"], ["atlas", "check"], ["atlas", "mend", "x"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_another_dialect_is_no_and_leniently_yes_with_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.json", DIALECT)
    assert main(["atlas", "check", path, "--json"]) == 1
    assert main(["atlas", "check", path, "--lenient", "--json"]) == 0
    strict, lenient = reports(capsys)
    assert [one["pointer"] for one in strict["findings"]] == ["/policies/0/type"]
    assert [one["pointer"] for one in lenient["warnings"]] == ["/policies/0/type"]
    assert main(["atlas", "check", path, "--lenient"]) == 0
    assert "  warning: /policies/0/type: " in capsys.readouterr().out


def test_packages_are_checked_and_findings_name_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"atlas.json": GOOD, "policies/a.json": {"policy_id": "q", "type": "\x1b[2J"}}
    paths = [
        str(as_folder(tmp_path / "one", files)),
        str(zip_file(tmp_path / "two", {"atlas.json": DIALECT})),
    ]
    assert main(["atlas", "check", "--lenient", "--json", *paths]) == 1
    bad, good = reports(capsys)
    assert [(one["file"], one["pointer"]) for one in bad["findings"]] == [("policies/a.json", "/type")]
    assert good["valid"]
    assert main(["atlas", "check", paths[0]]) == 1
    out = capsys.readouterr().out
    assert "  policies/a.json/type: " in out and "\x1b" not in out


def test_atlases_are_judged_together_and_what_was_not_given_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write(tmp_path / "base.json", manifest(atlas_id="com.base", version="2.0.0"))
    user = write(tmp_path / "user.json", manifest(atlas_id="com.user", dependencies={"com.base": "^1"}))
    assert main(["atlas", "check", user, "--json"]) == 0
    assert [one["code"] for one in reports(capsys)[0]["warnings"]] == ["dependency_missing"]
    assert main(["atlas", "check", user, base, "--json"]) == 1
    found = [[one["code"] for one in report["findings"]] for report in reports(capsys)]
    assert found == [["dependency_version"], []]


def test_resolve_takes_packages_and_atlases_that_need_each_other_in_any_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packs = [{"pack_id": "rules", "name": "R", "files": ["context/a.md"]}]
    user = manifest(atlas_id="com.user", dependencies={"com.example.shop": "1"}, context_packs=packs)
    first = str(zip_file(tmp_path / "user", {"atlas.json": user, "context/a.md": "a"}))
    second = str(as_folder(tmp_path / "base", {"atlas.json": GOOD}))
    assert main(["resolve", first, second, "--goal", "g"]) == 0
    out = capsys.readouterr().out
    assert "allow  a.b  by p" in out and "know   rules/a.md" in out
    assert main(["resolve", first, "--goal", "g", "--json"]) == 2
    (report,) = reports(capsys)
    assert report["error"]["details"]["file"] == first


def test_resolve_names_the_file_with_an_action_that_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write(tmp_path / name, {**GOOD, "atlas_id": f"com.{name[0]}"}) for name in ("a.json", "b.json")]
    assert main(["resolve", *paths, "--goal", "g", "--json"]) == 2
    error = reports(capsys)[0]["error"]
    assert (error["code"], error["details"]["file"]) == ("duplicate_action", paths[1])
