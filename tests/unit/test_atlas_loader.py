"""Loading an atlas: what is wrong with it is told all at once, by code and JSON Pointer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


def test_text_over_16_mib_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse.json, "loads", lambda *_args, **_options: pytest.fail("it was read"))
    refused("x" * (MAX_TEXT_BYTES + 1))
    refused(b"x" * (MAX_TEXT_BYTES + 1))


def test_a_member_that_stands_twice_is_found_in_linear_time() -> None:
    # A hundred thousand names and then the last once more: comparing all pairs would take minutes.
    names = ", ".join(f'"n{number}": 0' for number in range(100_000))
    assert refused(f'{{"metadata": {{{names}, "n99999": 1}}}}')["pointer"] == ""


# Fields


@pytest.mark.parametrize("name", ["atlas_version", "atlas_id", "version", "name", "description"])
def test_a_required_member_that_is_absent_is_named(name: str) -> None:
    members = manifest()
    del members[name]
    details = refused(members)
    assert (details["pointer"], details["findings"][0]["code"]) == (f"/{name}", "missing")


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"id": "x"}, "/id"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"actions": [action("a.b", risk="high")]}, "/actions/0/risk"),
        ({"actions": [action("a.b", rate_limit={"max_calls": 1, "window_seconds": 1, "x": 1})]},
         "/actions/0/rate_limit/x"),
        ({"policies": [policy("p", "deny"), policy("q", "deny", rules=[])]}, "/policies/1/rules"),
        ({"policies": [policy("p", "deny", conditions={"agent": ["x"]})]}, "/policies/0/conditions/agent"),
        ({"policies": [policy("p", "deny", parameters={"why": "x"})]}, "/policies/0/parameters/why"),
        ({"policies": ["policies/p.json"]}, "/policies/0"),
        ({"capabilities": ["orders"]}, "/capabilities/0"),
        ({"context_blocks": [block("c", text="x")]}, "/context_blocks/0/text"),
    ],
)  # fmt: skip
def test_an_unknown_member_or_another_dialect_is_named(members: dict[str, Any], pointer: str) -> None:
    assert pointers(**members) == [pointer]


def window(**members: Any) -> dict[str, Any]:
    whole = {"start": "09:00", "end": "17:00", **members}
    return {"policies": [policy("p", "deny", conditions={"time_window": whole})]}


def limited(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"policies": [policy("p", kind, parameters=parameters)]}


def conditioned(**conditions: Any) -> dict[str, Any]:
    return {"policies": [policy("p", "deny", conditions=conditions)]}


def with_action(**members: Any) -> dict[str, Any]:
    return {"actions": [{**action("a.b"), **members}]}


def with_policy(**members: Any) -> dict[str, Any]:
    return {"policies": [{**policy("p", "deny"), **members}]}


def with_block(**members: Any) -> dict[str, Any]:
    return {"context_blocks": [{**block("c"), **members}]}


PARAMETERS = "/policies/0/parameters"
CONDITIONS = "/policies/0/conditions"
# Per place that makes it wrong: how, the values that are wrong there, and the pointer.
WRONG_VALUES: list[tuple[Callable[[Any], dict[str, Any]], list[Any], str]] = [
    (lambda x: {"atlas_version": x}, ["1.1", 1.0, None], "/atlas_version"),
    (
        lambda x: {"atlas_id": x},
        ["shop", "Com.x", "com.", "com..x", "com.x_y", "com.x\n", "9.a", 5],
        "/atlas_id",
    ),
    (lambda x: {"version": x}, ["1", "1.0", "01.0.0", "1.0.0-", "1.0.0-01", "v1.0.0", "1.0.0+"], "/version"),
    (lambda x: {"name": x}, ["", " ", "\t\n", "x" * 101, None], "/name"),
    (lambda x: {"description": x}, ["x" * 1001, None], "/description"),
    (lambda x: {"actions": x}, [{}, None, "a.b"], "/actions"),
    (
        lambda x: with_action(action_id=x),
        ["read", "a.", "A.b", "a.b-c", "a.*", "a.b\n", "a.é", "a." + "b" * 254],
        "/actions/0/action_id",
    ),
    (lambda x: with_action(risk_tier=x), ["severe", "Low", None], "/actions/0/risk_tier"),
    (lambda x: with_action(timeout_seconds=x), [0, 301, 1.5, "30", True], "/actions/0/timeout_seconds"),
    (lambda x: with_action(idempotent=x), ["yes", 1, None], "/actions/0/idempotent"),
    (
        lambda x: with_action(rate_limit={"max_calls": x, "window_seconds": 1}),
        [-1, 1.0, 1_000_001, None, True],
        "/actions/0/rate_limit/max_calls",
    ),
    (
        lambda x: with_action(rate_limit={"max_calls": 1, "window_seconds": x}),
        [0, -1, 1e10, "1", None, True],
        "/actions/0/rate_limit/window_seconds",
    ),
    (lambda x: with_action(examples=[x]), [{"name": "x"}], "/actions/0/examples/0/parameters"),
    (
        lambda x: {"capabilities": [{"capability_id": x, "name": "A"}]},
        ["A", "", "a.", "a-b"],
        "/capabilities/0/capability_id",
    ),
    (lambda x: with_policy(type=x), ["requires_approval", "Allow", "", None], "/policies/0/type"),
    (
        lambda x: with_policy(policy_id=x),
        ["", "-p", "a b", "ä", "p\n", "p" * 256],
        "/policies/0/policy_id",
    ),
    (lambda x: with_policy(priority=x), [1.5, "1", 1_000_001, None], "/policies/0/priority"),
    (lambda x: with_policy(actions=x), ["a.b", {}], "/policies/0/actions"),
    (lambda x: with_policy(actions=[x]), ["", "x" * 256, 5], "/policies/0/actions/0"),
    (lambda x: conditioned(risk_tiers=["low", x]), ["none", 1], f"{CONDITIONS}/risk_tiers/1"),
    (lambda x: conditioned(context_matches={"a": x}), [5, "", None], f"{CONDITIONS}/context_matches/a"),
    (lambda x: conditioned(context_matches={"[key]": x}), [5, ""], f"{CONDITIONS}/context_matches/[key]"),
    (
        lambda x: window(start=x),
        ["9:00", "24:00", "09:60", "09:00:00", "0900", "09:00 ", "\u0660\u0669:00", 9, None],
        f"{CONDITIONS}/time_window/start",
    ),
    (lambda x: window(days=[x]), ["monday", "Mon", 0], f"{CONDITIONS}/time_window/days/0"),
    (lambda x: window(timezone=x), ["", "x" * 65, None], f"{CONDITIONS}/time_window/timezone"),
    (lambda x: limited("budget", max_cost=x, cost=1), [-1, 1e16, "5", True], f"{PARAMETERS}/max_cost"),
    (
        lambda x: limited("budget", max_cost=1, cost_parameter=x),
        ["amount", "/a~2", "/a~"],
        f"{PARAMETERS}/cost_parameter",
    ),
    (lambda x: limited("budget", max_calls=1, scope=x), ["team", 1], f"{PARAMETERS}/scope"),
    (lambda x: limited("require_approval", uses=x), [0, 1001, 1.5], f"{PARAMETERS}/uses"),
    (
        lambda x: limited("require_approval", expires_in_seconds=x),
        [0, 604_801],
        f"{PARAMETERS}/expires_in_seconds",
    ),
    (lambda x: limited("deny", reason=x), ["", "x" * 501], f"{PARAMETERS}/reason"),
    (lambda x: with_block(priority=x), [-1, 1001, 1.5], "/context_blocks/0/priority"),
    (lambda x: with_block(keywords=[x]), ["", " ", "x" * 101], "/context_blocks/0/keywords/0"),
    (lambda x: with_block(content_type=x), ["text/html"], "/context_blocks/0/content_type"),
    (lambda x: with_block(content=x), ["x" * 100_001, None], "/context_blocks/0/content"),
    (lambda x: {"dependencies": {x: "1"}}, ["NotAnId", "", "[key]"], "/dependencies/{}"),
    (lambda x: {"dependencies": {"com.example.other": x}}, [1, None], "/dependencies/com.example.other"),
]
WRONG = [(make(value), pointer.format(value)) for make, values, pointer in WRONG_VALUES for value in values]


@pytest.mark.parametrize(("members", "pointer"), WRONG)
def test_a_value_that_breaks_its_rule_is_named(members: dict[str, Any], pointer: str) -> None:
    for source in (manifest(**members), json.dumps(manifest(**members)).encode()):
        assert [one["pointer"] for one in refused(source)["findings"]] == [pointer]


def test_more_than_ten_thousand_entries_are_refused() -> None:
    assert pointers(capabilities=[{"capability_id": "a", "name": "A"}] * 10_001) == ["/capabilities"]


# Parameters of policies

BELONG = {
    "allow": {"reason"},
    "deny": {"reason"},
    "rate_limit": {"reason", "max_calls", "window_seconds"},
    "require_approval": {"reason", "expires_in_seconds", "uses"},
    "budget": {"reason", "max_calls", "max_cost", "cost", "cost_parameter", "scope", "window_seconds"},
    "scope": {"reason", "actions", "capabilities"},
}
VALUES: dict[str, Any] = {
    "reason": "why",
    "max_calls": 1,
    "window_seconds": 60,
    "max_cost": 5,
    "cost": 1,
    "cost_parameter": "/amount",
    "scope": "agent",
    "actions": ["a.*"],
    "capabilities": [],
    "expires_in_seconds": 60,
    "uses": 2,
}
ENOUGH: dict[str, dict[str, Any]] = {
    "allow": {},
    "deny": {},
    "require_approval": {},
    "rate_limit": {"max_calls": 1, "window_seconds": 60},
    "budget": {"max_calls": 1},
    "scope": {"actions": ["a.*"]},
}


@pytest.mark.parametrize("kind", BELONG)
@pytest.mark.parametrize("name", VALUES)
def test_a_parameter_stands_only_with_its_policy_types(kind: str, name: str) -> None:
    given = {**ENOUGH[kind], name: VALUES[name]}
    if name == "max_cost":
        given["cost"] = 1
    if name in BELONG[kind]:
        load(policies=[policy("p", kind, parameters=given)])
    else:
        assert pointers(policies=[policy("ok", "deny"), policy("p", kind, parameters=given)]) == [
            "/policies/1"
        ]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("rate_limit", {}),
        ("rate_limit", {"max_calls": 1}),
        ("rate_limit", {"window_seconds": 1}),
        ("budget", {}),
        ("budget", {"window_seconds": 1}),
        ("budget", {"max_cost": 5}),
        ("budget", {"max_cost": 5, "cost": 1, "cost_parameter": "/a"}),
        ("scope", {}),
        ("scope", {"reason": "x"}),
    ],
)
def test_a_restriction_that_would_not_restrict_is_refused(kind: str, parameters: dict[str, Any]) -> None:
    assert pointers(**limited(kind, **parameters)) == ["/policies/0"]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("rate_limit", {"max_calls": None, "window_seconds": None}),
        ("rate_limit", {"max_calls": 1, "window_seconds": None}),
        ("budget", {"max_calls": None}),
        ("budget", {"max_cost": 5, "cost": None}),
        ("budget", {"max_cost": 5, "cost_parameter": None}),
        ("budget", {"max_cost": None, "cost": 1}),
        ("scope", {"actions": None}),
        ("scope", {"capabilities": None}),
    ],
)
def test_a_null_is_no_limit(kind: str, parameters: dict[str, Any]) -> None:
    assert pointers(**limited(kind, **parameters)) == ["/policies/0"]


# What the fields say of each other


def test_all_contradictions_come_at_once_with_their_pointers() -> None:
    details = refused(
        manifest(
            context_packs=[{}],
            dependencies={"com.example.other": "1"},
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
        ("/context_packs", "not_supported"),
        ("/dependencies", "not_supported"),
        ("/actions/2/action_id", "duplicate_id"),
        ("/policies/1/policy_id", "duplicate_id"),
        ("/capabilities/1/capability_id", "duplicate_id"),
        ("/context_blocks/1/context_id", "duplicate_id"),
        ("/capabilities/0/actions/1", "unknown_action"),
        ("/capabilities/0/context_packs/0", "unknown_context_pack"),
        ("/policies/0/conditions/capabilities/1", "unknown_capability"),
        ("/policies/1/parameters/capabilities/0", "unknown_capability"),
        ("/context_blocks/0/conditions/capabilities/0", "unknown_capability"),
        ("/policies/2/policy_id", "reserved_id"),
        ("/policies/3/policy_id", "reserved_id"),
    ]
    assert details["findings_total"] == 13


def test_all_wrong_fields_come_at_once() -> None:
    found = pointers(name="", actions=[action("a.b"), action("B"), action("a.c", risk_tier="x")], extra=1)
    assert sorted(found) == ["/actions/1/action_id", "/actions/2/risk_tier", "/extra", "/name"]


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


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path)


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


def test_a_time_window_is_written_as_it_was_read() -> None:
    atlas = load(**window(days=["mon"]))
    told = atlas.policies[0].model_dump(mode="json", exclude_unset=True)
    assert told["conditions"]["time_window"] == {"start": "09:00", "end": "17:00", "days": ["mon"]}


def test_a_loaded_atlas_cannot_be_changed() -> None:
    atlas = load()
    with pytest.raises(ValueError, match="frozen"):
        atlas.name = "other"
