"""Whatever a resolver's life was, replaying its traces finds what was recorded, and nothing else (PROTOCOL
3.11). Lives without reloads: a trace does not tell of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cra_wasm import TraceEvent, replay_trace

from .chaining import changed
from .generating import lives
from .three_ways import ThreeWays, package_of

Life = tuple[list[list[TraceEvent]], list[Any]]
RELOADS = ("load", "unload")
BEGINNING = [("load", 0), ("load", 2), ("create", "bot-1"), ("create", "human")]


def lead(life: dict[str, Any], *, without: tuple[str, ...]) -> Life:
    """Lead a life without some kinds of steps; return its sessions' traces, and the atlases that did load."""
    ways = ThreeWays(life, own_processor=False)
    for number, step in enumerate([*BEGINNING, *life["steps"]]):
        step = tuple(None if isinstance(one, tuple) and one[0] in without else one for one in step)
        if step[0] not in without or number < len(BEGINNING):
            ways.step(*step)
    for way in (ways.immediate, ways.deferred):  # that they recorded the same is test_three_ways' to say
        way.resolver.close()
    storage = ways.immediate.resolver._storage
    assert storage is not None
    loaded = [atlas.atlas_id for atlas in ways.immediate.resolver.atlases()]
    atlases = [one for one in (life["atlases"][0], life["atlases"][2]) if one["atlas_id"] in loaded]
    sources = [package_of(one) if "files" in one else one for one in atlases]
    return [storage.get_events(session_id) for session_id in storage.sessions()], sources


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(life=lives())
def test_nothing_differs_when_the_atlases_are_the_same(life: dict[str, Any]) -> None:
    traces, atlases = lead(life, without=RELOADS)
    result = replay_trace(traces, atlases, complete=True)
    assert result.differences == ()
    assert result.events >= result.replayed > 0
    assert {one.kind for one in result.undecidable} <= {
        "cost_parameter",
        "clock",
        "redacted",
        "simultaneous",
        "refused_call",
        "foreign_event",
        "runtime_event",
    }


DECISIVE = {
    "policy.evaluated": "result",
    "carp.resolution.completed": "decision_type",
    "action.denied": "policy_id",
}


@pytest.mark.timeout(900)
@settings.get_profile("medium")
@given(life=lives(), place=st.integers(0, 1_000_000))
def test_a_forged_decision_is_found_at_its_place(life: dict[str, Any], place: int) -> None:
    traces, atlases = lead(life, without=RELOADS)
    places = [
        (number, event.sequence)
        for number, events in enumerate(traces)
        for event in events
        if event.event_type in DECISIVE
    ]
    if not places:
        return
    number, sequence = places[place % len(places)]
    event = traces[number][sequence]
    member = DECISIVE[event.event_type]
    other = {"allow": "deny", "deny": "allow"}.get(event.payload[member], "allow")
    traces[number] = changed(traces[number], sequence, **{member: other})
    result = replay_trace(traces, atlases, complete=True)
    assert not result.identical
    found = [(one.session_id, one.sequence) for one in (*result.differences, *result.undecidable)]
    assert (event.session_id, sequence) in found
    if not result.undecidable_total:
        first = result.differences[0]
        assert (first.session_id, first.sequence) == (event.session_id, sequence)
