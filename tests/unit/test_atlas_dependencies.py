"""Atlases that need each other: missing, of a wrong version, in a circle, or still needed (PROTOCOL 1.12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import CRAError, Resolver, TraceEvent, replay_trace
from cra_wasm.testing import FakeClock, SequentialIds

from .building import action, manifest, policy
from .packages import as_zip


def atlas(name: str, version: str = "1.0.0", /, **needs: str) -> dict[str, Any]:
    """Return an atlas `com.<name>` with one action of its own, that needs others of `com.`."""
    return manifest(
        atlas_id=f"com.{name}",
        version=version,
        dependencies={f"com.{other}": wanted for other, wanted in needs.items()},
        actions=[action(f"{name}.do")],
        policies=[policy("all", "allow")],
    )


@pytest.fixture
def resolver() -> Resolver:
    return Resolver(clock=FakeClock(), ids=SequentialIds())


def loaded(resolver: Resolver) -> dict[str, str]:
    return {one.atlas_id.removeprefix("com."): one.version for one in resolver.atlases()}


def refused(call: Any, *arguments: Any) -> CRAError:
    with pytest.raises(CRAError) as caught:
        call(*arguments)
    return caught.value


def findings(error: CRAError) -> list[tuple[Any, ...]]:
    assert error.code == "invalid_atlas"
    found = [(one.get("source"), one["pointer"], one["code"]) for one in error.details["findings"]]
    return [one[1:] if one[0] is None else one for one in found]


# PROTOCOL 1.12.1, 1.12.4
def test_an_atlas_without_what_it_needs_is_not_loaded(resolver: Resolver) -> None:
    error = refused(resolver.load_atlas, atlas("a", b="^1", c="*"))
    assert findings(error) == [
        ("/dependencies/com.b", "dependency_missing"),
        ("/dependencies/com.c", "dependency_missing"),
    ]
    assert loaded(resolver) == {}


def test_an_atlas_with_another_version_than_it_needs_is_not_loaded(resolver: Resolver) -> None:
    resolver.load_atlas(atlas("b", "2.0.0"))
    error = refused(resolver.load_atlas, atlas("a", b="^1"))
    assert findings(error) == [("/dependencies/com.b", "dependency_version")]
    resolver.load_atlas(atlas("b", "1.9.0"))
    resolver.load_atlas(atlas("a", b="^1"))
    assert loaded(resolver) == {"b": "1.9.0", "a": "1.0.0"}


# PROTOCOL 0.3.23
def test_an_atlas_needs_at_most_100_others(resolver: Resolver) -> None:
    for count, code in ((100, "dependency_missing"), (101, "too_long")):
        needs = {f"b{number}": "*" for number in range(count)}
        assert {one[1] for one in findings(refused(resolver.load_atlas, atlas("a", **needs)))} == {code}


def test_an_atlas_does_not_need_itself(resolver: Resolver) -> None:
    error = refused(resolver.load_atlas, atlas("a", a="*"))
    assert findings(error) == [("/dependencies/com.a", "dependency_cycle")]


def test_atlases_that_need_each_other_in_a_circle_are_not_loaded(resolver: Resolver) -> None:
    circle = [atlas("a", b="*"), atlas("b", c="*"), atlas("c", a="*"), atlas("d", a="*")]
    assert findings(refused(resolver.load_atlases, circle)) == [
        (0, "/dependencies/com.b", "dependency_cycle"),
        (1, "/dependencies/com.c", "dependency_cycle"),
        (2, "/dependencies/com.a", "dependency_cycle"),
    ]
    assert loaded(resolver) == {}


def test_a_new_version_must_not_close_a_circle(resolver: Resolver) -> None:
    resolver.load_atlases([atlas("a"), atlas("b", a="*")])
    error = refused(resolver.load_atlas, atlas("a", "1.1.0", b="*"))
    assert findings(error) == [("/dependencies/com.b", "dependency_cycle")]
    assert loaded(resolver) == {"a": "1.0.0", "b": "1.0.0"}


def test_the_findings_of_all_atlases_come_at_once_and_say_whose_they_are(resolver: Resolver) -> None:
    sources = [atlas("a"), {**atlas("b"), "name": ""}, "{", as_zip({"policies/a.json": "?"})]
    assert findings(refused(resolver.load_atlases, sources)) == [
        (1, "/name", "string_too_short"),
        (2, "", "invalid_atlas"),
        (3, "", "file_missing"),
        (3, "", "not_json"),
    ]
    error = refused(resolver.load_atlases, [atlas("a", "1.0.0", b="^2"), atlas("b"), atlas("b")])
    assert findings(error) == [
        (0, "/dependencies/com.b", "dependency_version"),
        (1, "/atlas_id", "duplicate_id"),
    ]
    assert loaded(resolver) == {}


@pytest.mark.parametrize("sources", [None, 1, "[]", b"", {}])
def test_what_is_no_list_of_atlases_is_refused(resolver: Resolver, sources: Any) -> None:
    assert refused(resolver.load_atlases, sources).code == "invalid_arguments"


def test_a_file_that_is_not_there_says_which_it_was(resolver: Resolver) -> None:
    error = refused(resolver.load_atlases, [atlas("a"), Path("none.json")])
    assert (error.code, error.details["source"]) == ("file_not_found", 1)


def test_all_or_none_is_loaded(resolver: Resolver) -> None:
    taken = {**atlas("b"), "actions": [action("a.do")]}
    error = refused(resolver.load_atlases, [atlas("a"), taken])
    assert (error.code, error.details["atlas_id"]) == ("duplicate_action", "com.b")
    assert loaded(resolver) == {}
    assert resolver.load_atlases([]) == []


# PROTOCOL 1.12.5
def test_each_atlas_stands_behind_those_that_it_needs(resolver: Resolver) -> None:
    given = [atlas("a", b="1.x", c="*"), atlas("d"), atlas("b", c=">=1"), atlas("c")]
    answer = resolver.load_atlases(given)
    assert [one.atlas_id for one in answer] == ["com.a", "com.d", "com.b", "com.c"]
    assert list(loaded(resolver)) == ["d", "c", "b", "a"]


# PROTOCOL 1.12.5
@pytest.mark.parametrize("together", [True, False])
def test_an_atlas_that_is_loaded_anew_moves_behind_what_it_needs_now(
    resolver: Resolver, together: bool
) -> None:
    for name in ("a", "b", "c"):
        resolver.load_atlas(atlas(name))
    newer = atlas("a", "1.1.0", b="*")
    resolver.load_atlases([newer, atlas("b")] if together else [newer])
    assert list(loaded(resolver)) == ["b", "a", "c"]


def test_a_replay_follows_what_became_of_dependencies() -> None:
    """What one session's atlases needed, the next one's have in another order, or need no more."""
    clock = FakeClock()
    resolver = Resolver(clock=clock, ids=SequentialIds())

    def trace() -> list[TraceEvent]:
        clock.advance(1)
        session_id = resolver.create_session("a", "g")
        resolver.resolve(session_id, "g")
        resolver.end_session(session_id)
        return resolver.get_trace(session_id)

    first, second = atlas("a"), atlas("b", a="1.0.0")
    resolver.load_atlases([first, second])
    traces = [trace()]
    alone = atlas("b", "2.0.0")
    resolver.load_atlas(alone)
    resolver.unload_atlas("com.a")
    traces.append(trace())
    resolver.load_atlas(first)
    turned = atlas("b", "3.0.0", a="*")
    resolver.load_atlas(turned)
    traces.append(trace())
    assert replay_trace(traces, [first, second, alone, turned]).identical


# PROTOCOL 1.12.6
def test_what_others_need_is_not_unloaded(resolver: Resolver) -> None:
    resolver.load_atlases([atlas("a"), atlas("b", a="*"), atlas("c", a="^1"), atlas("d")])
    error = refused(resolver.unload_atlas, "com.a")
    assert (error.code, error.details["dependents"]) == ("atlas_required", ["com.b", "com.c"])
    for name in ("com.d", "com.c", "com.b", "com.a"):
        resolver.unload_atlas(name)
    assert loaded(resolver) == {}
    assert refused(resolver.unload_atlas, "com.a").code == "atlas_not_found"


def test_a_version_that_others_cannot_use_does_not_take_the_place(resolver: Resolver) -> None:
    resolver.load_atlases([atlas("a", "1.4.0"), atlas("b", a="*"), atlas("c", a="^1.2")])
    resolver.load_atlas(atlas("a", "1.2.0"))
    error = refused(resolver.load_atlas, atlas("a", "2.0.0"))
    assert (error.code, error.details["dependents"]) == ("atlas_required", ["com.c"])
    assert error.details["pointer"] == "/version"
    assert loaded(resolver)["a"] == "1.2.0"
    resolver.load_atlases([atlas("c", "2.0.0", a="^2"), atlas("a", "2.0.0")])
    assert loaded(resolver) == {"a": "2.0.0", "b": "1.0.0", "c": "2.0.0"}


def test_atlases_loaded_together_may_hand_an_action_over(resolver: Resolver) -> None:
    resolver.load_atlases([atlas("a"), atlas("b")])
    swapped = [{**atlas(name), "actions": [action(f"{other}.do")]} for name, other in ("ab", "ba")]
    assert refused(resolver.load_atlas, swapped[0]).code == "duplicate_action"
    resolver.load_atlases(swapped)
    assert [one.actions[0].action_id for one in resolver.atlases()] == ["b.do", "a.do"]


def test_sessions_keep_what_they_resolved_against_until_they_resolve_again(resolver: Resolver) -> None:
    resolver.load_atlases([atlas("a"), atlas("b", a="*")])
    resolver.register_executor("b.do", lambda parameters: "done")
    session_id = resolver.create_session("bot", "work")
    before = resolver.resolve(session_id, "work")
    tighter = {**atlas("b", "1.1.0", a="*"), "policies": []}
    resolver.load_atlases([atlas("a", "1.1.0"), tighter])
    assert resolver.execute(session_id, before.resolution_id, "b.do", {}).status == "success"
    after = resolver.resolve(session_id, "work")
    assert [one.action_id for one in after.denied_actions] == ["b.do"]


def test_warnings_stay_with_their_atlas(resolver: Resolver) -> None:
    theirs = {**atlas("a"), "policies": [policy("p", "requires_approval")]}
    assert refused(resolver.load_atlas, theirs).code == "invalid_atlas"
    resolver.load_atlas(theirs, strict=False)
    resolver.load_atlases([atlas("b")], strict=False)
    assert [one["pointer"] for one in resolver.atlas_warnings("com.a")] == ["/policies/0/type"]
    assert resolver.atlas_warnings("com.b") == []
    resolver.load_atlas(atlas("a"))
    assert resolver.atlas_warnings("com.a") == []
    for asked in (resolver.atlas, resolver.atlas_warnings):
        assert refused(asked, "com.none").code == "atlas_not_found"
        assert refused(asked, ["com.a"]).code == "invalid_atlas_ids"


NAMES = "abcde"
NEEDS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["^1", "2", "*"]), max_size=2)
ATLASES = st.builds(
    lambda name, version, needs: atlas(name, version, **needs),
    st.sampled_from(NAMES),
    st.sampled_from(["1.0.0", "2.0.0"]),
    NEEDS,
)
STEPS = st.lists(
    st.tuples(st.just("load_atlases"), st.lists(ATLASES, max_size=5))
    | st.tuples(st.just("load_atlas"), ATLASES)
    | st.tuples(st.just("unload_atlas"), st.sampled_from([f"com.{name}" for name in NAMES])),
    max_size=8,
)


@given(STEPS)
def test_whatever_is_done_all_that_is_loaded_has_what_it_needs(steps: list[tuple[str, Any]]) -> None:
    resolver = Resolver(clock=FakeClock(), ids=SequentialIds())
    for name, argument in steps:
        before = resolver.atlases()
        try:
            getattr(resolver, name)(argument)
        except CRAError:
            assert resolver.atlases() == before
        versions = {one.atlas_id: one.version for one in resolver.atlases()}
        for one in resolver.atlases():
            for other, wanted in one.dependencies.items():
                assert versions[other][0] in {"^1": "1", "2": "2", "*": "12"}[wanted]
        waiting = {one.atlas_id: set(one.dependencies) for one in resolver.atlases()}
        while waiting:
            free = {one for one, needs in waiting.items() if not needs & waiting.keys()}
            assert free, "a circle was loaded"
            waiting = {one: needs for one, needs in waiting.items() if one not in free}
