"""Two traces are compared by what they say (PROTOCOL 3.13): the same in both directions, ids renamed
consistently, one inserted event one difference, in bounded time."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import CRAError, TraceEvent, compare_golden, diff_traces
from cra_wasm.testing import DEFAULT_WALL_NS, FakeClock, SequentialIds
from cra_wasm.trace.alignment import align
from cra_wasm.trace.canonical import canonical_json
from cra_wasm.trace.diff import MAX_LISTED, TraceDiff, TraceDifference

from .chaining import chain, changed, rechained
from .conftest import SHOP, Rig


def live(rig: Rig) -> list[TraceEvent]:
    for one in SHOP["actions"]:
        rig.resolver.register_executor(one["action_id"], lambda parameters: {"done": True})
    rig.run("item.read", {"item_id": "1"})
    rig.run("item.refund", {"amount": 3})
    rig.resolver.grant_approval(rig.resolver.approvals()[0]["approval_id"], approver="ann")
    rig.run("item.refund", {"amount": 3})
    rig.run("item.delete")
    rig.resolver.emit(rig.session_id, "app.note", {"text": "done", "tags": ["a", "b"]})
    rig.resolver.end_session(rig.session_id)
    return rig.events()


@pytest.fixture(scope="module")
def trace() -> list[TraceEvent]:
    return live(Rig())


@pytest.fixture(scope="module")
def again() -> list[TraceEvent]:
    """The same session at another time, under other ids."""
    rig = Rig(clock=FakeClock(DEFAULT_WALL_NS + 86_400_000_000_000))
    rig.resolver._recorder.ids = SequentialIds(77)
    rig.resolver._resolving._ids = rig.resolver._recorder.ids
    rig.session_id = rig.resolver.create_session("agent-1", "keep the shop")
    return live(rig)


def index_of(events: list[TraceEvent], event_type: str, which: int = 0) -> int:
    return [event.sequence for event in events if event.event_type == event_type][which]


def weighty(diff: TraceDiff) -> list[TraceDifference]:
    return [one for one in diff.differences if one.significance != "dynamic"]


def test_a_trace_is_identical_with_itself(trace: list[TraceEvent]) -> None:
    diff = diff_traces(trace, trace)
    assert (diff.verdict, diff.differences, diff.events_aligned) == ("identical", (), len(trace))
    assert not any(diff.counts.values())


def test_the_same_session_at_another_time_is_equivalent(
    trace: list[TraceEvent], again: list[TraceEvent]
) -> None:
    # PROTOCOL 3.13.5
    diff = diff_traces(trace, again)
    assert diff.verdict == "semantically_equivalent"
    assert {one.significance for one in diff.differences} == {"dynamic"}
    assert diff.events_aligned == diff.events_a == diff.events_b == len(trace)


@pytest.mark.parametrize(
    ("event_type", "which", "members", "significance", "verdict"),
    [
        ("policy.evaluated", 2, {"result": "deny"}, "critical", "incompatible"),
        ("policy.evaluated", 2, {"policy_id": "other"}, "critical", "incompatible"),
        ("policy.evaluated", 2, {"action_id": "item.other"}, "critical", "incompatible"),
        ("carp.resolution.completed", 1, {"decision_type": "deny"}, "critical", "incompatible"),
        ("carp.resolution.completed", 1, {"ttl_seconds": 1}, "major", "incompatible"),
        ("carp.request.received", 0, {"goal": "something else"}, "major", "incompatible"),
        ("context.injected", 0, {"token_count": 1}, "major", "incompatible"),
        ("action.denied", 0, {"reason": "just so"}, "critical", "incompatible"),
        ("approval.granted", 0, {"approver": "bob"}, "major", "incompatible"),
        ("action.executed", 0, {"result_valid": False}, "major", "incompatible"),
        ("action.executed", 0, {"result_findings_count": 1}, "major", "incompatible"),
        ("app.note", 0, {"text": "other"}, "major", "incompatible"),
        ("app.note", 0, {"tags": ["a", "c"]}, "major", "incompatible"),
        ("session.started", 0, {"atlas_versions": {"test.shop": "2.0.0"}}, "notable", "compatible"),
        ("session.started", 0, {"mood": "good"}, "notable", "compatible"),
        ("policy.evaluated", 2, {"policy_version": 3}, "notable", "compatible"),
        ("action.executed", 0, {"result_hash": "0" * 64}, "minor", "semantically_equivalent"),
        ("session.ended", 0, {"duration_ms": 99}, "dynamic", "semantically_equivalent"),
        ("action.executed", 0, {"duration_ms": 99}, "dynamic", "semantically_equivalent"),
    ],
)
def test_a_changed_member_weighs_what_it_decides(
    trace: list[TraceEvent],
    event_type: str,
    which: int,
    members: dict[str, Any],
    significance: str,
    verdict: str,
) -> None:
    # PROTOCOL 3.13.3
    index = index_of(trace, event_type, which)
    (name,) = members
    diff = diff_traces(trace, changed(trace, index, **members))
    assert diff.verdict == verdict
    found = [
        one for one in diff.differences if one.pointer and one.pointer.startswith(f"/{index}/payload/{name}")
    ]
    assert [one.significance for one in found] == [significance]
    assert diff_traces(changed(trace, index, **members), trace).verdict == verdict


def test_a_member_that_is_gone_weighs_what_it_decided(trace: list[TraceEvent]) -> None:
    index = index_of(trace, "policy.evaluated")
    payload = trace[index].payload
    del payload["policy_id"]
    cut = [event for event in trace]
    cut[index] = trace[index]._replace(payload_json=canonical_json(payload))
    (difference,) = weighty(diff_traces(trace, rechained(cut)))
    assert (difference.kind, difference.significance, difference.a) == ("removed", "critical", "allow-most")
    assert difference.pointer == f"/{index}/payload/policy_id"


def test_true_is_not_one(trace: list[TraceEvent]) -> None:
    index = index_of(trace, "app.note")
    one, other = changed(trace, index, n=1), changed(trace, index, n=True)
    assert [found.b for found in weighty(diff_traces(one, other))] == [True]


@pytest.mark.parametrize(
    ("event_type", "verdict", "significance"),
    [
        ("app.clicked", "compatible", "notable"),
        ("runtime.heartbeat", "compatible", "notable"),
        ("clock.step", "compatible", "notable"),
        ("session.idle", "compatible", "notable"),
        ("trace.gap", "incompatible", "major"),
        ("error.occurred", "incompatible", "major"),
        ("policy.evaluated", "incompatible", "critical"),
        ("carp.unheard", "incompatible", "critical"),
    ],
)
def test_one_inserted_event_is_one_difference(
    trace: list[TraceEvent], event_type: str, verdict: str, significance: str
) -> None:
    # PROTOCOL 3.13.2
    extra = trace[5]._replace(
        event_type=event_type, payload_json='{"n":1}', event_id="01940d23-3a00-7000-8000-0000ffff0008"
    )
    longer = rechained([*trace[:7], extra, *trace[7:]])
    (difference,) = weighty(diff_traces(trace, longer))
    assert (difference.kind, difference.significance) == ("added", significance)
    assert (difference.pointer, difference.pointer_b, difference.a) == (None, "/7", None)
    (mirrored,) = weighty(diff_traces(longer, trace))
    assert (mirrored.kind, mirrored.pointer, mirrored.pointer_b) == ("removed", "/7", None)
    assert diff_traces(trace, longer).verdict == diff_traces(longer, trace).verdict == verdict


def test_an_event_in_another_place_was_moved(trace: list[TraceEvent]) -> None:
    index = index_of(trace, "app.note")
    moved = rechained([*trace[:1], trace[index], *trace[1:index], *trace[index + 1 :]])
    (difference,) = weighty(diff_traces(trace, moved))
    assert (difference.kind, difference.significance) == ("moved", "notable")
    assert (difference.pointer, difference.pointer_b) == (f"/{index}", "/1")


def test_an_approved_call_instead_of_a_denied_one_is_critical(trace: list[TraceEvent]) -> None:
    index = index_of(trace, "policy.violated")
    approved = trace[index]._replace(event_type="action.approved", payload_json='{"action_id":"item.delete"}')
    diff = diff_traces(trace, rechained([*trace[:index], approved, *trace[index + 2 :]]))
    assert sorted((one.kind, one.significance) for one in weighty(diff)) == [
        ("added", "critical"),
        ("removed", "critical"),
        ("removed", "critical"),
    ]


def with_ids(events: list[TraceEvent], rename: dict[str, str]) -> list[TraceEvent]:
    """Rename ids wherever they stand."""
    text = "\n".join(event.to_json() for event in events)
    for one, other in rename.items():
        text = text.replace(one, other)
    return rechained([TraceEvent.from_line(line) for line in text.splitlines()])


def all_ids(events: list[TraceEvent]) -> list[str]:
    found = {event.session_id for event in events}
    for event in events:
        found |= {event.event_id, event.trace_id, event.span_id}
        found |= {value for name, value in event.payload.items() if name.endswith("_id") and len(value) == 36}
    return sorted(found)


@given(seed=st.integers(0, 10_000))
def test_ids_that_are_renamed_consistently_are_equivalent(trace: list[TraceEvent], seed: int) -> None:
    # PROTOCOL 3.13.4
    ids = all_ids(trace)
    rename = {one: f"{seed + number:08x}-0000-7000-8000-00000000beef" for number, one in enumerate(ids)}
    assert diff_traces(trace, with_ids(trace, rename)).verdict == "semantically_equivalent"


def test_an_id_that_becomes_two_is_another_trace(trace: list[TraceEvent]) -> None:
    index = index_of(trace, "action.approved")
    other = changed(trace, index, resolution_id="01940d23-3a00-7000-8000-0000ffff0002")
    (difference,) = weighty(diff_traces(trace, other))
    assert (difference.significance, difference.pointer) == ("major", f"/{index}/payload/resolution_id")


def test_two_ids_that_become_one_are_another_trace(trace: list[TraceEvent]) -> None:
    two = [trace[index_of(trace, "carp.resolution.completed", which)] for which in (0, 1)]
    other = changed(trace, two[1].sequence, resolution_id=two[0].payload["resolution_id"])
    assert diff_traces(trace, other).verdict == diff_traces(other, trace).verdict == "incompatible"


def test_another_parent_is_another_trace(trace: list[TraceEvent]) -> None:
    other = list(trace)
    other[3] = trace[3]._replace(parent_span_id=trace[0].span_id)
    assert [one.pointer for one in weighty(diff_traces(trace, rechained(other)))] == ["/3/parent_span_id"]
    other[3] = trace[3]._replace(parent_span_id=None)
    assert diff_traces(trace, rechained(other)).verdict == "incompatible"


def test_other_parameters_each_time_are_another_trace(trace: list[TraceEvent]) -> None:
    asked, ran = (index_of(trace, "action.requested", which) for which in (1, 2))
    assert trace[asked].payload["parameters_hash"] == trace[ran].payload["parameters_hash"]
    renamed = with_ids(trace, {trace[asked].payload["parameters_hash"]: "e" * 64})
    assert diff_traces(trace, renamed).verdict == "semantically_equivalent"
    assert diff_traces(trace, changed(trace, ran, parameters_hash="e" * 64)).verdict == "incompatible"


@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.sampled_from(["drop", "double", "change", "move", "type"]),
            st.sampled_from([{"result": "deny"}, {"n": 1}, {"action_id": "x"}, {"reason": None}]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_the_other_way_round_is_the_mirror(trace: list[TraceEvent], edits: list[Any]) -> None:
    # PROTOCOL 3.13.5
    other = list(trace)
    for place, kind, members in edits:
        index = place % len(other)
        event = other[index]
        if kind == "drop":
            del other[index]
        elif kind == "double":
            other.insert(index, event)
        elif kind == "change":
            other[index] = event._replace(payload_json=canonical_json(event.payload | members))
        elif kind == "move":
            other.insert((place * 7) % len(other), other.pop(index))
        else:
            other[index] = event._replace(event_type="app.other")
    one, back = diff_traces(trace, other), diff_traces(other, trace)
    assert (one.verdict, one.counts, one.events_aligned) == (back.verdict, back.counts, back.events_aligned)
    mirror = {"added": "removed", "removed": "added", "changed": "changed", "moved": "moved"}
    assert [(d.pointer, d.pointer_b, d.kind, d.a, d.b) for d in one.differences] == [
        (d.pointer_b, d.pointer, mirror[d.kind], d.b, d.a) for d in back.differences
    ]
    json.dumps(one.to_dict(), allow_nan=False)


def test_a_policy_changed_in_the_atlas_shows(trace: list[TraceEvent]) -> None:
    shop = copy.deepcopy(SHOP)
    shop["policies"][1]["actions"] = []
    rig = Rig()
    rig.resolver.load_atlas(shop)
    rig.session_id = rig.resolver.create_session("agent-1", "keep the shop")
    diff = diff_traces(trace, live(rig))
    assert diff.verdict == "incompatible"
    assert {one.a for one in weighty(diff) if (one.pointer or "").endswith("/policy_id")} == {"no-delete"}


def test_differences_are_bounded_and_counted() -> None:
    # PROTOCOL 3.13.6
    one, other = chain(2500), chain(2500, event_type="policy.violated")
    diff = diff_traces(one, other)
    assert len(diff.differences) <= 2 * MAX_LISTED
    assert sum(diff.counts.values()) > len(diff.differences)
    assert not diff.listed_all


def test_long_values_are_cut(trace: list[TraceEvent]) -> None:
    index = index_of(trace, "app.note")
    diff = diff_traces(trace, changed(trace, index, text="x" * 100_000, tags=["y" * 9000]))
    assert max(len(str(one.b)) for one in diff.differences) <= 501


def test_traces_of_many_thousand_events_take_linear_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    # PROTOCOL 3.13.1
    """Counted steps, no times: two traces that have nothing in common are the worst case."""
    from cra_wasm.trace import alignment

    steps = 0
    step = alignment._step

    def counted(*arguments: Any) -> int:
        nonlocal steps
        steps += 1
        return step(*arguments)

    monkeypatch.setattr(alignment, "_step", counted)
    for length in (1_000, 4_000):
        steps = 0
        assert align(range(length), range(length, 2 * length)) == []
        assert steps <= 2 * (2 * length) * alignment.EDITS_PER_STAGE


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 3), max_size=30))
def test_alignment_is_a_longest_common_subsequence(one: list[int], other: list[int]) -> None:
    pairs = align(one, other)
    assert all(one[index] == other[place] for index, place in pairs)
    assert all(a < b and c < d for (a, c), (b, d) in pairwise(pairs))
    assert len(pairs) == longest(one, other)


def longest(one: list[int], other: list[int]) -> int:
    """The length of the longest common subsequence, by the textbook's table."""
    row = [0] * (len(other) + 1)
    for value in one:
        above = list(row)
        for index, opposite in enumerate(other):
            row[index + 1] = above[index] + 1 if value == opposite else max(row[index], above[index + 1])
    return row[-1]


@given(st.lists(st.integers(0, 9), min_size=80, max_size=300), st.integers(0, 2**32))
def test_long_alignments_are_in_order(one: list[int], seed: int) -> None:
    other = [(value * seed + index * seed) % 11 for index, value in enumerate(one)]
    pairs = align(one, other)
    assert all(one[index] == other[place] for index, place in pairs)
    assert all(a < b and c < d for (a, c), (b, d) in pairwise(pairs))


def test_a_golden_trace_counts_every_byte(trace: list[TraceEvent], again: list[TraceEvent]) -> None:
    # PROTOCOL 3.13.8
    assert compare_golden(live(Rig()), trace).matches
    result = compare_golden(again, trace)
    assert (result.matches, result.first_line, result.diff.verdict) == (False, 0, "semantically_equivalent")
    assert compare_golden(again, trace, literal=False).matches
    shorter = compare_golden(trace[:-1], trace)
    assert (shorter.matches, shorter.first_line) == (False, len(trace) - 1)
    forged = changed(again, 5, result="deny")
    judged = compare_golden(forged, trace, literal=False)
    assert (judged.matches, judged.first_line) == (False, 5)
    json.dumps(judged.to_dict())


def test_foreign_and_broken_traces_can_be_compared(trace: list[TraceEvent]) -> None:
    # PROTOCOL 3.13.7
    foreign = [event.to_dict() | {"timestamp": "2024-12-28T12:00:00+00:00"} for event in trace]
    lines = "".join(json.dumps(event, indent=None) + "\n" for event in foreign).encode()
    assert diff_traces(trace, lines).verdict == "semantically_equivalent"


@pytest.mark.parametrize(
    "source", [b"", b"\n", b"[]\n", b"{\n", b'{"a":1}\n', b'{"session_id":"s","sequence":0}\n', b"\xff\n"]
)
def test_what_is_no_trace_is_refused(trace: list[TraceEvent], source: bytes) -> None:
    for one, other in ((source, trace), (trace, source)):
        with pytest.raises(CRAError) as caught:
            diff_traces(one, other)
        assert caught.value.code == "invalid_trace"


@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: f'{{"payload":{text}}}'.encode()))
def test_bytes_that_nobody_wrote_are_refused(source: bytes) -> None:
    with pytest.raises(CRAError):
        diff_traces(source, source)
