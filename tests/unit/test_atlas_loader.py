"""Loading an atlas: what is wrong with it is told all at once, by code and JSON Pointer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cra_wasm.atlas import findings
from cra_wasm.atlas.loader import load_atlas
from cra_wasm.errors import InvalidInput, NotFound
from cra_wasm.model import parse
from cra_wasm.model.limits import MAX_TEXT_BYTES

from .building import accept_schema, action, block, load, manifest, policy


def refused(source: Any, check_schema: Any = accept_schema) -> dict[str, Any]:
    """Return the details of the refusal."""
    with pytest.raises(InvalidInput) as caught:
        load_atlas(source, check_schema=check_schema)
    assert type(caught.value) is InvalidInput
    assert caught.value.code == "invalid_atlas"
    return caught.value.details


def pointers(**members: Any) -> list[str]:
    return [one["pointer"] for one in refused(manifest(**members))["findings"]]


# Text

BROKEN = {
    "nothing": "",
    "a blank": " ",
    "half": '{"atlas_version": "1.0"',
    "a comma too many": '{"a": 1,}',
    "two documents": "{} {}",
    "a comment": "// hi\n{}",
    "quotes of another kind": "{'a': 1}",
    "NaN": '{"metadata": {"a": NaN}}',
    "Infinity": '{"metadata": {"a": -Infinity}}',
    "beyond floats": json.dumps(manifest())[:-1] + ', "metadata": {"a": 1e999}}',
    "5,000 digits": '{"metadata": {"a": ' + "9" * 5000 + "}}",
    "a control character": '{"name": "a\nb"}',
    "a member twice": '{"name": "a", "name": "b"}',
    "a member twice, escaped": '{"name": "a", "n\\u0061me": "b"}',
    "a member twice deep down": '{"metadata": [{"a": {"b": 1, "c": 2, "b": 3}}]}',
    "a lone surrogate": json.dumps(manifest(metadata={"a": "\ud800"})),
    "a lone surrogate as a name": json.dumps(manifest(metadata={"\udc00": 1})),
    "a lone surrogate as it is": "\ud800",
    "bytes that are no UTF-8": json.dumps(manifest(name="é"), ensure_ascii=False).encode("latin-1"),
    "UTF-16": json.dumps(manifest()).encode("utf-16"),
    "an encoded surrogate": b'{"name": "\xed\xa0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a byte order mark in text": "\ufeff{}",
    "null": "null",
    "a list": "[]",
    "a string": '"atlas"',
    "a number": "1",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_text_that_is_no_atlas_is_refused(text: str | bytes) -> None:
    assert refused(text)["pointer"] == ""


@pytest.mark.parametrize(
    "source",
    [
        None,
        1,
        [],
        object(),
        {1: 2},
        {"metadata": {1: 2}},
        {"metadata": {"a": {1}}},
        {"metadata": float("nan")},
    ],
    ids=repr,
)
def test_a_value_that_is_no_json_object_is_refused(source: object) -> None:
    refused(source)


def test_broken_text_tells_line_and_column() -> None:
    details = refused('{\n  "a": 1\n  "b": 2\n}')
    assert (details["line"], details["column"]) == (3, 3)


@pytest.mark.parametrize("bracket", ["[", '{"a":', "[{"])
def test_nesting_that_would_overflow_the_stack_is_refused(bracket: str) -> None:
    refused(bracket * 200_000)


@pytest.mark.parametrize("levels", [62, 63])
def test_nesting_is_read_up_to_64_levels(levels: int) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    whole = manifest(metadata={"deep": deep})  # two levels of its own
    for source in (whole, json.dumps(whole)):
        if levels == 62:
            load_atlas(source, check_schema=accept_schema)
        else:
            refused(source)


def test_a_value_that_holds_itself_is_refused() -> None:
    round_and_round: dict[str, Any] = {}
    round_and_round["metadata"] = round_and_round
    refused(round_and_round)


# PROTOCOL 0.3.1
def test_text_over_16_mib_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse.json, "loads", lambda *_args, **_options: pytest.fail("it was read"))
    refused("x" * (MAX_TEXT_BYTES + 1))
    refused(b"x" * (MAX_TEXT_BYTES + 1))


def test_a_member_that_stands_twice_is_found_in_linear_time() -> None:
    # A hundred thousand names and then the last once more: comparing all pairs would take minutes.
    names = ", ".join(f'"n{number}": 0' for number in range(100_000))
    assert refused(f'{{"metadata": {{{names}, "n99999": 1}}}}')["pointer"] == ""


# What the fields say of each other


# PROTOCOL 0.3.8
def test_more_patterns_than_can_be_matched_in_a_moment_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "MAX_PATTERN_CHECKS", 13)
    members: dict[str, Any] = {
        "actions": [action("a.b"), action("a.c")],
        "policies": [
            policy("everything", "allow"),
            policy("two", "deny", actions=["a.*", "*.c"]),
            policy("scope", "scope", parameters={"actions": ["*.b"]}),
            policy("exact", "allow", actions=["a.b"]),
        ],
        "context_blocks": [block("info", inject_when=["*"])],
    }
    load(**members)  # 6 stars over 2 actions, and one look-up: 13
    members["policies"].append(policy("one-more", "allow"))
    details = refused(manifest(**members))
    assert [(one["pointer"], one["code"]) for one in details["findings"]] == [
        ("/policies", "too_many_patterns")
    ]


# PROTOCOL 1.1.3
def test_all_contradictions_come_at_once_with_their_pointers() -> None:
    details = refused(
        manifest(
            context_packs=[
                {
                    "pack_id": "q",
                    "name": "Q",
                    "files": ["context/a.md"],
                    "conditions": {"capabilities": ["y"]},
                }
            ],
            actions=[action("a.b"), action("a.c"), action("a.b")],
            capabilities=[
                {"capability_id": "x", "name": "X", "actions": ["a.b", "a.z"], "context_packs": ["pack"]},
                {"capability_id": "x", "name": "X"},
            ],
            policies=[
                policy("p", "deny", conditions={"capabilities": ["x", "y"]}),
                policy("p", "scope", parameters={"capabilities": ["z"]}),
                policy("default-deny", "deny"),
                policy("a.b#rate_limit", "deny"),
            ],
            context_blocks=[block("c", conditions={"capabilities": ["y"]}), block("c")],
        )
    )
    assert [(one["pointer"], one["code"]) for one in details["findings"]] == [
        ("/capabilities/1/capability_id", "duplicate_id"),
        ("/context_blocks/1/context_id", "duplicate_id"),
        ("/policies/1/policy_id", "duplicate_id"),
        ("/actions/2/action_id", "duplicate_id"),
        ("/capabilities/0/actions/1", "unknown_action"),
        ("/capabilities/0/context_packs/0", "unknown_context_pack"),
        ("/policies/1/parameters/capabilities/0", "unknown_capability"),
        ("/policies/0/conditions/capabilities/1", "unknown_capability"),
        ("/context_packs/0/conditions/capabilities/0", "unknown_capability"),
        ("/context_blocks/0/conditions/capabilities/0", "unknown_capability"),
        ("/policies/2/policy_id", "reserved_id"),
        ("/policies/3/policy_id", "reserved_id"),
        ("/context_packs/0/files", "file_missing"),
    ]
    assert details["findings_total"] == 13


def test_all_wrong_fields_come_at_once() -> None:
    found = pointers(name="", actions=[action("a.b"), action("B"), action("a.c", risk_tier="x")], extra=1)
    assert sorted(found) == ["/actions/1/action_id", "/actions/2/risk_tier", "/extra", "/name"]


def test_what_is_wrong_with_fields_with_schemas_and_between_entries_comes_at_once() -> None:
    def check(schema: Any, pointer: str) -> None:
        raise InvalidInput("unsupported_schema", "no", pointer=f"{pointer}/x")

    details = refused(
        manifest(
            name="",
            actions=[
                action("A"),
                action("a.b"),
                action("a.b", risk_tier="x"),
                action("a.c", parameters_schema={}),
            ],
            capabilities=[
                {"capability_id": "x", "name": ""},
                {"capability_id": "y", "name": "Y", "actions": ["a.b", "a.z"]},
            ],
            policies=[
                policy("p", "nonsense"),
                policy("default-deny", "deny", conditions={"capabilities": ["x", "z"]}),
            ],
        ),
        check,
    )
    assert [(one["pointer"], one["code"]) for one in details["findings"]] == [
        ("/name", "string_too_short"),
        ("/capabilities/0/name", "string_too_short"),
        ("/policies/0/type", "literal_error"),
        ("/actions/0/action_id", "string_pattern_mismatch"),
        ("/actions/2/risk_tier", "literal_error"),
        ("/actions/2/action_id", "duplicate_id"),
        ("/capabilities/1/actions/1", "unknown_action"),
        ("/policies/1/conditions/capabilities/1", "unknown_capability"),
        ("/policies/1/policy_id", "reserved_id"),
        ("/actions/3/parameters_schema/x", "unsupported_schema"),
    ]


@pytest.mark.parametrize("broken", ["no list", None, {}, [{}], [1], [{"action_id": 1}]])
def test_no_name_is_said_to_lack_where_not_all_names_can_be_read(broken: object) -> None:
    capability = {"capability_id": "x", "name": "X", "actions": ["a.z"]}
    details = refused(manifest(actions=broken, capabilities=[capability]))
    assert {one["code"] for one in details["findings"]}.isdisjoint({"unknown_action"})
    assert all(one["pointer"].startswith("/actions") for one in details["findings"])


def test_the_findings_of_every_schema_are_told() -> None:
    def check(schema: Any, pointer: str) -> None:
        if schema == "one":
            raise InvalidInput("unsupported_schema", "no", pointer=f"{pointer}/x")
        if schema == "two":
            findings = [{"pointer": f"{pointer}/{n}", "code": "unsafe_pattern", "message": ""} for n in "yz"]
            raise InvalidInput("unsupported_schema", "no", pointer=f"{pointer}/y", findings=findings)

    actions = [
        action("a.b", parameters_schema="one"),
        action("a.c", parameters_schema={}, returns_schema="two"),
        action("a.d", parameters_schema="fine"),
    ]
    details = refused(manifest(actions=actions), check)
    assert [(one["pointer"], one["code"]) for one in details["findings"]] == [
        ("/actions/0/parameters_schema/x", "unsupported_schema"),
        ("/actions/1/returns_schema/y", "unsafe_pattern"),
        ("/actions/1/returns_schema/z", "unsafe_pattern"),
    ]


# Files


@pytest.mark.parametrize("name", ["absent.json", "folder/absent.json", "file.json/below", "x" * 5000, "a\0b"])
def test_a_file_that_is_not_there_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.json").write_text("{}")
    with pytest.raises(NotFound) as caught:
        load_atlas(tmp_path / name, check_schema=accept_schema)
    assert caught.value.code == "file_not_found"


def test_a_file_over_16_mib_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(MAX_TEXT_BYTES + 1)
    refused(path)


def test_a_file_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.json"
    path.write_bytes(json.dumps(manifest(name="é"), ensure_ascii=False).encode("latin-1"))
    refused(path)


# What loads


def test_text_bytes_dict_and_file_load_the_same(tmp_path: Path) -> None:
    whole = manifest(name="Café \U0001f600", actions=[action("a.b")])
    text = json.dumps(whole, ensure_ascii=False)
    path = tmp_path / "a.json"
    path.write_bytes(text.encode())
    atlases = [load_atlas(one, check_schema=accept_schema) for one in (whole, text, text.encode(), path)]
    assert all(atlas == atlases[0] for atlas in atlases)
    assert atlases[0].name == "Café \U0001f600"


def test_text_that_looks_like_a_path_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(manifest()))
    refused(str(path))


@pytest.mark.parametrize("version", ["0.0.0", "1.0.0-alpha.1", "1.0.0-0a", "1.0.0+001", "10.20.30-x-y.0+b-1"])
def test_a_full_semantic_version_is_read(version: str) -> None:
    assert load(version=version).version == version


def test_what_is_absent_has_the_protocols_defaults() -> None:
    atlas = load(
        actions=[action("a.b")],
        policies=[policy("p", "deny")],
        context_blocks=[block("c")],
    )
    (one,), (rule,), (text,) = atlas.actions, atlas.policies, atlas.context_blocks
    assert (one.risk_tier, one.idempotent, one.requires_confirmation, one.timeout_seconds) == (
        "low",
        False,
        False,
        30,
    )
    assert (rule.priority, rule.conditions, rule.actions) == (0, None, None)
    assert (text.content_type, text.priority, text.keywords) == ("text/markdown", 100, ())


def test_a_loaded_atlas_cannot_be_changed() -> None:
    atlas = load()
    with pytest.raises(ValueError, match="frozen"):
        atlas.name = "other"
