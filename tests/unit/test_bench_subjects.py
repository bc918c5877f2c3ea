"""What the benchmarks set up is what their claims say."""

from __future__ import annotations

import pytest

from cra_wasm import Resolver
from cra_wasm.bench.scenario import Bench
from cra_wasm.bench.subjects import GOAL, Subject, new_atlas
from cra_wasm.errors import InvalidState


@pytest.mark.parametrize(("actions", "policies"), [(5, 5), (500, 100)])
def test_a_resolve_gives_an_event_per_action_and_two(actions: int, policies: int) -> None:
    bench = Bench(runtime="cpython")
    with bench.closing:
        subject = Subject(bench, new_atlas(actions, policies))
        (atlas,) = subject.resolver.atlases()
        assert (len(atlas.actions), len(atlas.policies)) == (actions, policies)
        assert {one.type for one in atlas.policies} == {
            "allow",
            "deny",
            "require_approval",
            "rate_limit",
            "budget",
        }
        assert subject.drain() > 0
        resolution = subject.resolver.resolve(subject.session_id, GOAL)
        assert subject.resolver.buffer_stats().pending == actions + 2
        assert resolution.decision.type == "partial"
        assert {one.reason for one in resolution.denied_actions} >= {"never delete", "requires_approval"}


def test_a_goal_brings_in_one_of_200_blocks() -> None:
    resolver = Resolver()
    resolver.load_atlas(new_atlas(blocks=200))
    session_id = resolver.create_session("a", "g")
    resolution = resolver.resolve(session_id, "look into word17, case 18, and answer")
    assert [one.block_id for one in resolution.context_blocks] == ["block-17"]


def test_room_is_made_long_before_a_measured_call_could_be_refused() -> None:
    bench = Bench(runtime="cpython")
    with bench.closing:
        subject = Subject(bench, new_atlas(), capacity=1_000)
        for _ in range(1_000):
            subject.settle()
            subject.resolver.resolve(subject.session_id, GOAL)
        assert subject.resolver.buffer_stats().refused == 0


def test_closing_the_bench_closes_the_resolver() -> None:
    bench = Bench(runtime="cpython")
    with bench.closing:
        resolver = Subject(bench, new_atlas()).resolver
    with pytest.raises(InvalidState) as caught:
        resolver.create_session("a", "g")
    assert caught.value.code == "resolver_closed"
