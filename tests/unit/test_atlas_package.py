"""Atlas packages, as a folder and as a zip: what belongs to one, and what is refused (PROTOCOL 1.10)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cra_wasm import CRAError, Resolver
from cra_wasm.atlas import package_folder, package_paths
from cra_wasm.atlas.loader import load_atlas, read_atlas
from cra_wasm.errors import NotFound
from cra_wasm.model.limits import MAX_PACKAGE_BYTES, MAX_PACKAGE_FILES

from .building import accept_schema, action, block, manifest, policy
from .packages import FORMS, as_folder, as_zip, each_form, findings_in

WHOLE: dict[str, Any] = {
    "atlas.json": manifest(
        policies=[policy("first", "allow")],
        context_packs=[{"pack_id": "rules", "name": "Rules", "files": ["context/a.md"]}],
    ),
    "policies/b.json": [policy("third", "deny", actions=["x.y"]), policy("fourth", "allow")],
    "policies/a.json": policy("second", "allow"),
    "actions/read.json": [action("a.read")],
    "context/a.md": "# A é",
    "context/deep/notes/b.txt": "b",
    "adapters/web.mjs": "anything",
    "tests/one.trace.jsonl": "not even JSON",
    "README.md": "about",
    ".git/config": "hidden",
    "policies/.draft.json": "hidden too",
    "__MACOSX/._atlas.json": b"\x00",
}


def form_of(form: str, tmp_path: Path, **changes: Any) -> Any:
    files = {"atlas.json": manifest(), **{name.replace("__", "/"): one for name, one in changes.items()}}
    return FORMS[form](tmp_path / "package", files)


# Bad input

BAD_FILES: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "no manifest": ({"policies/a.json": []}, [("atlas.json", "", "file_missing")]),
    "a folder around it": (
        {"shop/atlas.json": manifest(), "shop/policies/a.json": []},
        [("shop", "", "unexpected_file")],
    ),
    "a manifest that is no JSON": ({"atlas.json": "{"}, [("atlas.json", "", "not_json")]),
    "a manifest that is a list": ({"atlas.json": []}, [("atlas.json", "", "model_type")]),
    "a manifest with NaN": ({"atlas.json": '{"metadata": NaN}'}, [("atlas.json", "", "not_json")]),
    "a half surrogate pair": (
        {"policies/a.json": '{"name": "\\ud800"}'},
        [("policies/a.json", "", "not_json")],
    ),
    "a member twice": ({"policies/a.json": '{"a": 1, "a": 2}'}, [("policies/a.json", "", "not_json")]),
    "a policy that is text": ({"policies/a.json": '"x"'}, [("policies/a.json", "", "model_type")]),
    "a policy in Latin-1": (
        {"policies/a.json": '"\xe9"'.encode("latin-1")},
        [("policies/a.json", "", "not_json")],
    ),
    "nesting": ({"actions/a.json": "[" * 100_000}, [("actions/a.json", "", "not_json")]),
    "a misspelt folder": ({"policy/a.json": {}}, [("policy", "", "unexpected_file")]),
    "a folder of other case": ({"Policies/a.json": {}}, [("Policies", "", "unexpected_file")]),
    "a policy beside the manifest": ({"deny.json": {}}, [("deny.json", "", "unexpected_file")]),
    "a policy with another suffix": ({"policies/a.jsn": {}}, [("policies/a.jsn", "", "unexpected_file")]),
    "a policy in a folder": ({"policies/a/b.json": {}}, [("policies/a/b.json", "", "unexpected_file")]),
    "a backslash": ({"context/a\\b.md": ""}, [("context/a\\b.md", "", "bad_path")]),
    "a line break": ({"context/a\nb.md": ""}, [("context/a\nb.md", "", "bad_path")]),
    "case alone": (
        {"context/a.md": "", "context/A.md": ""},
        [("context/a.md", "", "duplicate_path")],
    ),
    "the form of an é alone": (
        {"context/\u00e9.md": "", "context/e\u0301.md": ""},
        [("context/\u00e9.md", "", "duplicate_path")],
    ),
    "the case of a folder": (
        {"context/B/c.md": "", "context/b/d.md": ""},
        [("context/b", "", "duplicate_path")],
    ),
    "17 levels": ({"/".join(["context", *"abcdefghijklmnop"]): ""}, [("", "", "bad_path")]),
}


@pytest.mark.parametrize("name", BAD_FILES)
@each_form
# PROTOCOL 1.10.1, 1.10.2, 1.10.4, 1.10.5, 0.3.20
def test_a_package_with_a_bad_file_is_refused(form: str, name: str, tmp_path: Path) -> None:
    files, expected = BAD_FILES[name]
    if name != "no manifest" and not name.startswith("a folder around"):
        files = {"atlas.json": manifest(), **files}
    found = findings_in(FORMS[form](tmp_path / "package", files))
    if name in (
        "17 levels",
        "a policy in a folder",
        "case alone",
        "the form of an é alone",
        "the case of a folder",
    ):
        # Which of two names comes first, and whether a folder is seen before what it holds, is the form's.
        assert [code for _, _, code in found] == [code for _, _, code in expected]
    else:
        assert found == expected or (name == "a folder around it" and found[0] == expected[0])


@each_form
# PROTOCOL 1.10.8
def test_a_package_of_too_many_files_is_refused(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_paths, "MAX_PACKAGE_FILES", 9)
    files: dict[str, Any] = {"atlas.json": manifest(), **{f"context/d/{n}.md": "" for n in range(6)}}
    read_atlas(FORMS[form](tmp_path / "package", files), check_schema=accept_schema)  # 7 files, 2 folders
    files["context/more.md"] = ""
    assert findings_in(FORMS[form](tmp_path / "package", files)) == [("", "", "too_many_files")]


@each_form
# PROTOCOL 1.10.3
def test_hidden_files_count_too(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_paths, "MAX_PACKAGE_FILES", 9)
    files = {"atlas.json": manifest(), **{f".hidden{n}": "" for n in range(9)}}
    assert findings_in(FORMS[form](tmp_path / "package", files)) == [("", "", "too_many_files")]


@each_form
def test_all_files_together_have_a_limit(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(as_zip({}))  # what a zip file may weigh is another limit
    text = "x" * 1000
    files = {"atlas.json": manifest(), "context/a.md": text, "tests/b": text}
    total = len(FORMS["a folder"](tmp_path / "sizes", files).joinpath("atlas.json").read_bytes()) + 2000
    monkeypatch.setattr(package_paths, "MAX_PACKAGE_BYTES", total)
    read_atlas(FORMS[form](tmp_path / "package", files), check_schema=accept_schema)
    files["tests/c"] = "x"
    ((_, _, code),) = findings_in(FORMS[form](tmp_path / "package", files))
    assert code == "too_large" and size < total


# PROTOCOL 0.3.18, 0.3.19
def test_the_limits_are_those_of_the_protocol() -> None:
    assert (MAX_PACKAGE_BYTES, MAX_PACKAGE_FILES) == (16 * 1024 * 1024, 2_000)


@each_form
# PROTOCOL 1.10.9, 1.13.3, 0.3.21
def test_all_that_is_wrong_comes_at_once_with_its_file(form: str, tmp_path: Path) -> None:
    files = {
        "atlas.json": manifest(
            extra=1,
            policies=[policy("p", "deny"), {}],
            capabilities=[{"capability_id": "x", "name": "X", "actions": ["a.b", "a.z"]}],
            context_packs=[
                {
                    "pack_id": "rules",
                    "name": "R",
                    "files": ["context/a.md", "context/none.md", "context/a.md"],
                },
                {"pack_id": "more", "name": "R", "files": ["context/bad.md", "a.md"]},
                {"pack_id": "rest", "name": "R", "files": ["context/bad.md", "context/long.md"]},
            ],
        ),
        "policies/a.json": [policy("p", "allow", priority="high"), policy("p", "deny")],
        "policies/b.json": policy("default-deny", "allow"),
        "policies/c.json": "?",
        "actions/a.json": action("a.b"),
        "context/a.md": "a",
        "context/bad.md": b"\xff",
        "context/long.md": "x" * 100_001,
    }
    assert findings_in(FORMS[form](tmp_path / "package", files)) == [
        ("policies/c.json", "", "not_json"),
        ("atlas.json", "/context_packs/1/files/1", "string_pattern_mismatch"),
        ("atlas.json", "/policies/1/policy_id", "missing"),
        ("atlas.json", "/policies/1/type", "missing"),
        ("policies/a.json", "/0/priority", "int_type"),
        ("atlas.json", "/extra", "extra_forbidden"),
        ("policies/a.json", "/0/policy_id", "duplicate_id"),
        ("policies/a.json", "/1/policy_id", "duplicate_id"),
        ("atlas.json", "/capabilities/0/actions/1", "unknown_action"),
        ("policies/b.json", "/policy_id", "reserved_id"),
        ("atlas.json", "/context_packs/0/files/1", "file_missing"),
        ("atlas.json", "/context_packs/0/files/2", "duplicate_file"),
        ("atlas.json", "/context_packs/2/files/0", "not_utf8"),
        ("atlas.json", "/context_packs/2/files/1", "too_large"),
    ]


@each_form
def test_what_an_unreadable_manifest_may_have_named_lacks_nowhere(form: str, tmp_path: Path) -> None:
    files = {
        "atlas.json": "{",
        "policies/a.json": [policy("p", "deny", conditions={"capabilities": ["x"]}), policy("p", "what")],
    }
    assert findings_in(FORMS[form](tmp_path / "package", files)) == [
        ("atlas.json", "", "not_json"),
        ("policies/a.json", "/1/type", "literal_error"),
        ("policies/a.json", "/1/policy_id", "duplicate_id"),
    ]


# PROTOCOL 0.3.22
def test_text_that_packs_list_again_and_again_has_a_limit() -> None:
    packs = [{"pack_id": f"p{n}", "name": "P", "files": ["context/a.md"]} for n in range(168)]
    files = {"atlas.json": manifest(context_packs=packs), "context/a.md": "x" * 100_000}
    assert findings_in(as_zip(files)) == [("atlas.json", "/context_packs", "too_much_context")]


# Links and special files, in folders

linked = pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")


@linked
@pytest.mark.parametrize("target", ["../secret.md", "context/a.md", "absent.md", ".", "..", "/"])
# PROTOCOL 1.10.6
def test_a_link_in_a_folder_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "secret.md").write_text("secret")
    root = as_folder(tmp_path / "package", {"atlas.json": manifest(), "context/a.md": "a"})
    (root / "context" / "link.md").symlink_to(target)
    assert findings_in(root) == [("context/link.md", "", "symlink")]


@linked
def test_a_folder_that_is_a_link_is_refused_but_not_the_root(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.md").write_text("secret")
    root = as_folder(tmp_path / "package", {"atlas.json": manifest()})
    (tmp_path / "link").symlink_to(root)
    assert load_atlas(tmp_path / "link", check_schema=accept_schema).atlas_id == "com.example.shop"
    (root / "context").symlink_to(tmp_path / "elsewhere")
    assert findings_in(tmp_path / "link") == [("context", "", "symlink")]


@linked
def test_a_file_that_becomes_a_link_after_it_was_listed_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.md").write_text("secret")
    root = as_folder(tmp_path / "package", {"atlas.json": manifest(), "context/a.md": "a"})
    read_file = package_folder._read_file

    def swapped(real_root: Path, name: str, *rest: Any) -> None:
        if name == "context/a.md":
            (root / name).unlink()
            (root / name).symlink_to(tmp_path / "secret.md")
        read_file(real_root, name, *rest)

    monkeypatch.setattr(package_folder, "_read_file", swapped)
    assert findings_in(root) == [("context/a.md", "", "symlink")]


@pytest.mark.cpython_only(reason="Emscripten has no pipes in its file system")
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    root = as_folder(tmp_path / "package", {"atlas.json": manifest()})
    os.mkfifo(root / "atlas2.txt")
    (root / "context").mkdir()
    os.mkfifo(root / "context" / "a.md")
    assert findings_in(root) == [("context/a.md", "", "special_file")]


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, path: Path) -> None:
    """Have a function of `os` refuse one path, which root and Emscripten would not."""
    real = getattr(os, name)

    def refusing(given: Any, *arguments: Any) -> Any:
        if Path(given) == path:
            raise PermissionError(13, "Permission denied")
        return real(given, *arguments)

    monkeypatch.setattr(package_folder.os, name, refusing)


def test_what_may_not_be_listed_or_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = as_folder(tmp_path / "package", {"atlas.json": manifest(), "context/a.md": "a", "tests/b": "b"})
    refuse(monkeypatch, "scandir", root / "context")
    refuse(monkeypatch, "open", root / "atlas.json")
    assert findings_in(root) == [
        ("atlas.json", "", "unreadable_file"),
        ("context", "", "unreadable_file"),
    ]


def test_a_root_that_may_not_be_listed_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "scandir", tmp_path)
    with pytest.raises(NotFound) as caught:
        load_atlas(tmp_path, check_schema=accept_schema)
    assert caught.value.code == "file_not_found"


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load_atlas(tmp_path / "none", check_schema=accept_schema)
    assert caught.value.code == "file_not_found"


def test_an_empty_folder_lacks_its_manifest(tmp_path: Path) -> None:
    assert findings_in(tmp_path) == [("atlas.json", "", "file_missing")]


# What loads


@each_form
def test_a_package_is_its_manifest_with_the_lists_of_its_files_behind(form: str, tmp_path: Path) -> None:
    loaded = read_atlas(FORMS[form](tmp_path / "package", WHOLE), check_schema=accept_schema)
    assert [one.policy_id for one in loaded.atlas.policies] == ["first", "second", "third", "fourth"]
    assert [one.action_id for one in loaded.atlas.actions] == ["a.read"]
    assert loaded.pack_files == {"context/a.md": "# A é"}
    assert loaded.warnings == ()


@each_form
def test_a_package_without_files_of_its_own_is_its_manifest(form: str, tmp_path: Path) -> None:
    whole = manifest(actions=[action("a.b")], policies=[policy("p", "allow")], context_blocks=[block("c")])
    package = FORMS[form](tmp_path / "package", {"atlas.json": whole})
    assert load_atlas(package, check_schema=accept_schema) == load_atlas(whole, check_schema=accept_schema)


def test_a_resolver_takes_a_package_and_finds_its_schemas(tmp_path: Path) -> None:
    files = {
        **WHOLE,
        "actions/write.json": action("a.write", parameters_schema={"type": "object", "required": ["x"]}),
    }
    resolver = Resolver()
    resolver.load_atlas(as_folder(tmp_path / "package", files))
    resolver.register_executor("a.write", lambda parameters: "done")
    session_id = resolver.create_session("bot", "work")
    resolution = resolver.resolve(session_id, "work")
    assert [one.block_id for one in resolution.context_blocks] == ["rules/a.md"]
    with pytest.raises(CRAError) as caught:
        resolver.execute(session_id, resolution.resolution_id, "a.write", {})
    assert caught.value.code == "invalid_parameters"
    resolver.load_atlas(as_zip({**files, "actions/write.json": "[]"}))
    assert [one.action_id for one in resolver.atlas("com.example.shop").actions] == ["a.read"]


NAMES = st.text(alphabet="aA./\\:\0\né\u0301\ud800\u017f policesjtx-_", max_size=30)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=6))
def test_no_name_leads_out_and_no_two_are_one(names: list[tuple[str, bool]]) -> None:
    tree = package_paths.PackageTree()
    taken = [name for name, is_folder in names if tree.add(name, is_folder=is_folder) and not is_folder]
    for name in taken:
        assert os.path.normpath(name).replace(os.sep, "/") == name
        assert not name.startswith(("/", ".")) and ".." not in name.split("/")
        assert name.encode()
    assert len({name.casefold() for name in taken}) == len(taken)
