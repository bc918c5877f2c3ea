"""Traces of other writers verify by their recipe, and no change of them does (PROTOCOL 3.10)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import verify_file
from cra_wasm.errors import InvalidInput
from cra_wasm.model.limits import MAX_PAYLOAD_CHARS
from cra_wasm.trace.profiles.recipes import RECIPES
from cra_wasm.trace.verify import PROFILES, verify_lines

from .chaining import chain, line_of
from .foreign_writers import (
    SESSION,
    Event,
    Writer,
    event,
    fields_text,
    line,
    sha256,
    write_ascii,
    write_offset_time,
    write_whole_event,
)

FOLDER: Final = Path(__file__).parent / "foreign_traces"
SAMPLES: Final = {
    "offset-time": FOLDER / "rust-small.trace.jsonl",
    "whole-event": FOLDER / "ts-small.trace.jsonl",
}
WRITERS: Final[dict[str, tuple[Writer, int]]] = {
    "ascii": (write_ascii, 0),
    "offset-time": (write_offset_time, 0),
    "whole-event": (write_whole_event, 1),
}
PAYLOADS: Final[list[dict[str, Any]]] = [
    {
        "goal": 'caf\u00e9 \U0001f600 "quoted" \\ \n\u2028',
        "\u00e9": [1, {"b": None, "a": True}],
        "10": 2,
        "9": 1,
    },
    {"n": -5, "deep": [[{"x": "\x1f"}]]},
    {},
]


def written(profile: str, payloads: list[Any] = PAYLOADS, **members: Any) -> list[bytes]:
    """A chain of that writer which ends its session."""
    writer, first = WRITERS[profile]
    events = [event(first + index, payload, **members) for index, payload in enumerate(payloads)]
    return writer([*events, event(first + len(events), {}, **{**members, "event_type": "session.ended"})])


def sample(profile: str) -> list[bytes]:
    path = SAMPLES.get(profile)
    return written(profile) if path is None else path.read_bytes().splitlines(keepends=True)


def relinked(lines: list[bytes], at: int, change: Callable[[dict[str, Any]], object]) -> list[bytes]:
    """Lines of which one holds a changed object."""
    members = json.loads(lines[at])
    change(members)
    return [*lines[:at], json.dumps(members).encode() + b"\n", *lines[at + 1 :]]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every member and entry, at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield (*path, key)
        yield from leaves(one, (*path, key))


def put(members: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    holder: Any = members
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value


def take_out(members: dict[str, Any], path: tuple[Any, ...]) -> None:
    holder: Any = members
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]


def others(value: Any) -> list[Any]:
    """Values that are not this one."""
    near: list[Any] = [None, 0, 7, "", "x", [], {}, True]
    if isinstance(value, str):
        near += [value + "x", value[:-1], "\u00e9" + value]
    elif isinstance(value, int):
        near += [value + 1, -value - 1, str(value)]
    return [one for one in near if type(one) is not type(value) or one != value]


# PROTOCOL 3.10.1
@pytest.mark.parametrize("profile", RECIPES)
def test_a_sample_verifies_by_its_recipe_and_by_no_other(profile: str) -> None:
    lines = sample(profile)
    result = verify_lines(lines, profile)
    assert (result.valid, result.events, result.error, result.profile) == (True, len(lines), None, profile)
    assert result.head == json.loads(lines[-1])["event_hash"]
    assert result.algorithm == "sha256"
    assert verify_lines(lines, "auto") == result
    for other in set(PROFILES) - {profile}:
        assert not verify_lines(lines, other).valid, other


@pytest.mark.parametrize("profile", RECIPES)
def test_every_changed_or_missing_field_of_a_sample_is_found_at_its_event(profile: str) -> None:
    lines = sample(profile)
    for at in range(len(lines)):
        members = json.loads(lines[at])
        for path in leaves(members):
            value = members
            for key in path:
                value = value[key]
            changes = [lambda one, path=path, new=new: put(one, path, new) for new in others(value)]
            if not (profile == "offset-time" and path == ("parent_span_id",)):
                changes.append(lambda one, path=path: take_out(one, path))
            for change in changes:
                result = verify_lines(relinked(lines, at, change), profile)
                assert (result.valid, result.error_at) == (False, at), (at, path)


@pytest.mark.parametrize("profile", RECIPES)
def test_another_parent_or_none_is_found_at_its_event(profile: str) -> None:
    lines = written(profile, parent_span_id="01a20896-5fbd-76bb-a6cb-0000000000aa")
    assert verify_lines(lines, profile).valid
    for other in (None, "01a20896-5fbd-76bb-a6cb-0000000000ab"):
        changed = relinked(lines, 1, lambda one, other=other: one.update(parent_span_id=other))  # type: ignore[misc]
        result = verify_lines(changed, profile)
        assert (result.error, result.error_at) == ("hash_mismatch", 1)


@pytest.mark.parametrize("profile", RECIPES)
def test_every_member_that_is_added_inside_a_payload_is_found(profile: str) -> None:
    lines = sample(profile)
    for at in range(len(lines)):
        result = verify_lines(relinked(lines, at, lambda one: one["payload"].update(more=1)), profile)
        assert (result.valid, result.error, result.error_at) == (False, "hash_mismatch", at)


@pytest.mark.parametrize("profile", ["ascii", "whole-event"])
def test_every_member_that_is_added_to_an_event_is_found(profile: str) -> None:
    lines = sample(profile)
    for at in range(len(lines)):
        result = verify_lines(relinked(lines, at, lambda one: one.update(more=1)), profile)
        assert (result.valid, result.error_at) == (False, at)


# PROTOCOL 3.10.3
@pytest.mark.parametrize("profile", RECIPES)
@pytest.mark.parametrize(
    ("change", "error", "at"),
    [
        (lambda lines: lines[1:], "bad_genesis", 0),
        (lambda lines: [], "bad_genesis", 0),
        (lambda lines: [lines[0], *lines[2:]], "sequence_gap", 1),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "sequence_gap", 1),
        (lambda lines: [lines[0], *lines], "sequence_gap", 1),
        (lambda lines: [lines[0], b"\n", *lines[1:]], "bad_field", 1),
        (lambda lines: [lines[0], lines[1][:40], *lines[2:]], "bad_field", 1),
        (lambda lines: [lines[0], b"[1]\n", *lines[2:]], "bad_field", 1),
        (lambda lines: [lines[0], b'{"a":NaN}\n', *lines[2:]], "bad_field", 1),
        (
            lambda lines: relinked(lines, 1, lambda one: one["payload"].update(n=float("nan"))),
            "bad_field",
            1,
        ),
        (lambda lines: [lines[0], b"\xff" + lines[1], *lines[2:]], "bad_field", 1),
        (lambda lines: [lines[0], b"\xef\xbb\xbf" + lines[1], *lines[2:]], "bad_field", 1),
        (lambda lines: [lines[0], b"[" * 100_000 + b"\n", *lines[2:]], "bad_field", 1),
        (lambda lines: [lines[0], b" " * 5_000_000 + lines[1], *lines[2:]], "bad_field", 1),
        (lambda lines: [lines[0], b'{"sequence":1,' + lines[1][1:], *lines[2:]], "duplicate_key", 1),
    ],
)
def test_a_chain_that_was_cut_moved_or_broken_is_told_by_its_term(
    profile: str, change: Callable[[list[bytes]], list[bytes]], error: str, at: int
) -> None:
    result = verify_lines(change(sample(profile)), profile)
    assert (result.valid, result.error, result.error_at, result.warnings) == (False, error, at, ())


@pytest.mark.parametrize("profile", RECIPES)
def test_an_event_of_right_hash_behind_another_event_breaks_the_chain(profile: str) -> None:
    lines = written(profile)
    other = written(profile, [{"another": "beginning"}, *PAYLOADS[1:]])
    result = verify_lines([*lines[:2], *other[2:]], profile)
    assert (result.error, result.error_at) == ("chain_broken", 2)


@pytest.mark.parametrize("profile", RECIPES)
def test_a_foreign_trace_without_its_end_is_valid_with_a_warning(profile: str) -> None:
    lines = sample(profile)
    result = verify_lines(lines[:-1], profile)
    assert (result.valid, result.warnings[0], result.events) == (True, "truncated", len(lines) - 1)
    assert "truncated" not in verify_lines(lines, profile).warnings


# PROTOCOL 3.10.2
@pytest.mark.parametrize("profile", RECIPES)
def test_white_space_and_a_missing_last_line_feed_are_no_fault(profile: str) -> None:
    lines = [b" " + line.rstrip(b"\n") + b" \r\n" for line in sample(profile)]
    assert verify_lines([*lines[:-1], lines[-1].rstrip()], profile).valid


@pytest.mark.parametrize("profile", RECIPES)
def test_a_line_may_be_as_long_as_its_limit_and_no_longer(profile: str) -> None:
    lines = sample(profile)
    longest = MAX_PAYLOAD_CHARS + 4096
    padded = lines[0].decode().rstrip("\n").ljust(longest)
    assert verify_lines([padded.encode(), *lines[1:]], profile).valid
    assert verify_lines([f"{padded} ".encode(), *lines[1:]], profile).error == "bad_field"


JSON_VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("a\u00e910\x7f~", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("profile", RECIPES)
@given(
    payloads=st.lists(st.dictionaries(st.text("ab\u00e901", max_size=3), JSON_VALUES, max_size=3), max_size=3)
)
def test_whatever_such_a_writer_writes_verifies(profile: str, payloads: list[Any]) -> None:
    if profile == "ascii" and "\x7f" in repr(payloads).replace("\\x7f", "\x7f"):
        return  # json.dumps escapes DEL, which is ASCII
    lines = written(profile, payloads)
    assert verify_lines(lines, "auto").valid
    assert verify_lines(lines, profile).events == len(lines)


# ascii


def test_the_ascii_profile_escapes_by_utf_16_units() -> None:
    (only,) = write_ascii([event(0, {"a": "\u00e9\U0001f600", "b": "~"})])
    assert b'"\\u00e9\\ud83d\\ude00"' in only
    assert verify_lines([only], "ascii").valid


def test_a_trace_in_ascii_is_the_projects_own_where_it_is_canonical() -> None:
    lines = [line_of(one) for one in chain(3, payload_json='{"n":1}')]
    assert verify_lines(lines, "auto").profile == "jcs"
    assert verify_lines(lines, "ascii").valid
    spelled = [one.replace(b'"n":1', b'"n": 1.0') for one in lines]
    assert verify_lines(spelled, "auto").profile == "ascii"


# PROTOCOL 3.10.5
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timestamp", "2026-11-23T13:26:42.365Z"),
        ("event_id", "01A20896-5fbd-76bb-a6ca-000000000000"),
        ("session_id", "s1"),
        ("parent_span_id", ""),
        ("event_type", "note"),
        ("trace_version", "1.1"),
        ("payload", [1]),
        ("payload", {"n": 2**53}),
        ("payload", {"n": Decimal("1E+400")}),
        ("payload", {"n": Decimal("9" * 5000)}),
        ("sequence", "0"),
        ("sequence", Decimal("0.0")),
    ],
)
def test_the_ascii_profile_has_the_formats_that_keep_boundaries(name: str, value: Any) -> None:
    one = event(0, {}) | {name: value}
    payload = "{}" if name != "payload" else json.dumps(value, default=str)
    digest = sha256(fields_text(one, one["timestamp"], payload, "0" * 64))
    result = verify_lines([line({**one, "event_hash": digest, "previous_event_hash": "0" * 64})], "ascii")
    assert (result.error, result.error_at, result.protects_boundaries) == ("bad_field", 0, True)


def test_the_ascii_profile_needs_all_twelve_fields_and_no_other() -> None:
    lines = sample("ascii")
    for change in (lambda one: one.pop("parent_span_id"), lambda one: one.update(severity="info")):
        assert verify_lines(relinked(lines, 1, change), "ascii").error == "bad_field"


def test_moved_boundaries_of_the_projects_own_trace_pass_by_no_profile() -> None:
    (first,) = chain(1, ended=False)
    moved = first._replace(timestamp=first.timestamp[:-1], event_type="Z" + first.event_type)
    assert not verify_lines([line_of(moved)], "auto").valid


def test_an_ascii_trace_ends_with_its_session() -> None:
    ended = [event(0, {}), event(1, {}, event_type="session.ended"), event(2, {})]
    assert verify_lines(write_ascii(ended), "ascii").error == "chain_broken"
    moved = [event(0, {}), event(1, {}, session_id=SESSION.replace("16", "17"))]
    assert verify_lines(write_ascii(moved), "ascii").error == "chain_broken"


# offset-time


def test_the_offset_time_profile_says_that_boundaries_are_unprotected() -> None:
    result = verify_lines(sample("offset-time"), "offset-time")
    assert (result.valid, result.protects_boundaries) == (True, False)
    assert result.warnings == ("unprotected_boundaries",)


# PROTOCOL 3.10.6
@pytest.mark.parametrize(
    "number", ["1.0", "-0.0", "1e16", "1e-6", "1E5", "0.10", "123456789012345678901234567890", "9" * 5000]
)
def test_the_offset_time_profile_hashes_numbers_as_they_stand(number: str) -> None:
    text = '{"trace_version":"1.0","event_id":"a","trace_id":"b","span_id":"c","session_id":"d","sequence":0,'
    text += f'"timestamp":"T0Z","event_type":"e","payload":{{"n":{number},"m":[{number}]}},'
    hashed = f'1.0abcd0T0+00:00e{{"m":[{number}],"n":{number}}}' + "0" * 64
    text += f'"event_hash":"{sha256(hashed)}","previous_event_hash":"{"0" * 64}"}}\n'
    assert verify_lines([text.encode()], "offset-time").valid
    assert not verify_lines([text.replace(f'"n":{number}', '"n":1.5').encode()], "offset-time").valid


@pytest.mark.parametrize("payload", [None, 5, "text", [1, "\u00e9"], True])
def test_the_offset_time_profile_takes_any_json_as_payload(payload: Any) -> None:
    assert verify_lines(write_offset_time([event(0, payload)]), "offset-time").valid


@pytest.mark.parametrize("digits", ["", ".123", ".123456", ".123456789"])
def test_the_offset_time_profile_keeps_the_fraction_as_written(digits: str) -> None:
    lines = write_offset_time([event(0, {}, timestamp=f"2026-11-23T13:29:46{digits}Z")])
    assert verify_lines(lines, "offset-time").valid
    as_offset = relinked(lines, 0, lambda one: one.update(timestamp=f"2026-11-23T13:29:46{digits}+00:00"))
    assert verify_lines(as_offset, "offset-time").error == "bad_field"


# PROTOCOL 3.10.4, 3.10.7
def test_what_the_offset_time_profile_cannot_find() -> None:
    """Each of these is a change that leaves every hash as it is: the reason for its warning."""
    lines = write_offset_time([event(0, {"a": 1, "b": 2})])
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda one: one.update(payload={'a":1,"b': 2}),
        lambda one: one.update(trace_id=one["trace_id"][:-1], span_id=one["trace_id"][-1] + one["span_id"]),
        lambda one: one.pop("parent_span_id"),
        lambda one: one.update(parent_span_id=""),
    ]
    for change in changes:
        result = verify_lines(relinked(lines, 0, change), "offset-time")
        assert (result.valid, result.protects_boundaries) == (True, False)
    assert verify_lines(lines, "offset-time").warnings == ("truncated", "unprotected_boundaries")
    both = write_offset_time([event(0, {}), event(1, {})])
    for at in (0, 1):
        added = verify_lines(relinked(both, at, lambda one: one.update(severity="info")), "offset-time")
        assert added.warnings == ("truncated", "unprotected_boundaries", "unhashed_members")


def test_half_a_surrogate_pair_has_no_hash_in_the_offset_time_profile() -> None:
    lines = sample("offset-time")
    assert verify_lines(
        relinked(lines, 1, lambda one: one["payload"].update(goal="\ud800")), "offset-time"
    ).error == ("bad_field")


# whole-event


# PROTOCOL 3.10.8
@pytest.mark.parametrize(
    ("written_as", "hashed_as"),
    [
        ("1.0", "1"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1e2", "100"),
        ("0.0000001", "1e-7"),
        ("1e21", "1e+21"),
        ("123456789012345680000", "123456789012345680000"),
        ("9007199254740993", "9007199254740992"),
        ("5e-324", "5e-324"),
        ('"\\ud800"', '"\\ud800"'),
        ('{"\\ud800":1}', '{"\\ud800":1}'),
        ('"\\u0041\\/\\u001F"', '"A/\\u001f"'),
        ('"\u2028\x7f"', '"\u2028\x7f"'),
        (
            '{"b":1,"a":2,"10":3,"9":4,"01":5,"4294967294":6,"4294967295":7,"-1":8,"\ufb33":9,"\U0001f600":10}',
            '{"9":4,"10":3,"4294967294":6,"-1":8,"01":5,"4294967295":7,"a":2,"b":1,"\U0001f600":10,"\ufb33":9}',
        ),
    ],
)
def test_the_whole_event_profile_hashes_values_as_javascript_writes_them(
    written_as: str, hashed_as: str
) -> None:
    digest = sha256(f'{{"payload":{hashed_as},"sequence":1}}')
    text = f'{{"sequence":1,"event_hash":"{digest}","payload":{written_as}}}'
    result = verify_lines([text.encode()], "whole-event")
    assert (result.valid, result.error, result.protects_boundaries) == (True, None, True)


def test_what_the_whole_event_profile_cannot_find() -> None:
    """Other texts of one and the same JavaScript number, and no other change."""
    digest = sha256('{"n":9007199254740992,"sequence":1}')
    for number in ("9007199254740992", "9007199254740993", "9.007199254740992e15"):
        text = f'{{"sequence":1,"event_hash":"{digest}","n":{number}}}'
        assert verify_lines([text.encode()], "whole-event").valid


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400])
def test_a_number_beyond_the_doubles_is_a_bad_field_of_the_whole_event_profile(number: str) -> None:
    text = f'{{"sequence":1,"event_hash":"{sha256("")}","n":{number}}}'
    assert verify_lines([text.encode()], "whole-event").error == "bad_field"


@pytest.mark.parametrize("sequence", [None, "1", True, [1]])
def test_a_whole_event_needs_a_number_as_its_sequence(sequence: Any) -> None:
    lines = sample("whole-event")
    changed = relinked(lines, 1, lambda one: one.update(sequence=sequence))
    assert verify_lines(changed, "whole-event").error == "bad_field"


def test_the_first_whole_event_names_no_previous_hash() -> None:
    one: Event = event(1, {}, previous_event_hash="0" * 64)
    assert verify_lines(write_whole_event([one]), "whole-event").error == "bad_genesis"
    assert verify_lines(write_whole_event([event(0, {})]), "whole-event").error == "bad_genesis"
    assert (
        verify_lines(write_whole_event([event(1, {}, previous_event_hash=None)]), "whole-event").error
        == "bad_field"
    )


# auto, files


# PROTOCOL 3.10.9
def test_auto_tells_the_profile_that_got_furthest_when_none_fits() -> None:
    own = [line_of(one) for one in chain()]
    own[2] = own[2].replace(b'"n":2', b'"n":3')
    result = verify_lines(own, "auto")
    assert (result.profile, result.error, result.error_at) == ("jcs", "hash_mismatch", 2)
    lines = sample("whole-event")
    lines[7] = lines[7].replace(b'"severity":"', b'"severity":"x')
    result = verify_lines(lines, "auto")
    assert (result.profile, result.error, result.error_at) == ("whole-event", "hash_mismatch", 7)
    assert verify_lines([], "auto").error == "bad_genesis"


def test_auto_reads_once() -> None:
    given_lines = iter(sample("offset-time"))
    assert verify_lines(given_lines, "auto").valid
    assert next(given_lines, None) is None


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        verify_lines([], "latin")
    assert (caught.value.code, caught.value.details["pointer"]) == ("unknown_profile", "/profile")


@pytest.mark.parametrize("profile", SAMPLES)
def test_a_file_is_verified_by_its_profile(profile: str) -> None:
    assert verify_file(SAMPLES[profile], profile="auto").profile == profile
    assert verify_file(SAMPLES[profile]).error == "bad_field"


def test_every_profile_but_the_own_has_a_recipe_in_the_same_order() -> None:
    assert ("jcs", *RECIPES) == PROFILES


@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([*sample("ascii"), *sample("whole-event")]), max_size=5)
)
def test_any_bytes_give_a_verdict_by_any_profile(pieces: list[bytes]) -> None:
    for profile in ("auto", *RECIPES):
        result = verify_lines(pieces, profile)
        assert result.valid == (result.error is None) == (result.error_at is None)
