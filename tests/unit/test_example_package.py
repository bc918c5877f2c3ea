"""The example package is what a newcomer copies: it loads in every form and does what its README says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cra_wasm import Resolver
from cra_wasm.testing import FakeClock, SequentialIds

from .building import at
from .packages import as_zip

FOLDER = Path(__file__).parents[2] / "examples" / "atlases"
PACKAGE = FOLDER / "room-booking"
FILES = {
    path.relative_to(PACKAGE).as_posix(): path.read_bytes() for path in PACKAGE.rglob("*") if path.is_file()
}
DAY, NIGHT = at("2026-12-01T12:00:00+01:00"), at("2026-12-01T23:00:00+01:00")


def opened(source: Any, wall_ns: int = DAY) -> tuple[Resolver, str]:
    resolver = Resolver(clock=FakeClock(wall_ns), ids=SequentialIds())
    resolver.load_atlas(source)
    return resolver, resolver.create_session("demo-agent", "book a room")


@pytest.fixture(params=["folder", "zip"])
def source(request: pytest.FixtureRequest) -> Any:
    return PACKAGE if request.param == "folder" else as_zip(FILES)


def test_it_is_small_and_spread_over_files(source: Any) -> None:
    resolver, _ = opened(source)
    (atlas,) = resolver.atlases()
    assert (len(atlas.actions), len(atlas.policies), len(atlas.context_packs)) == (7, 6, 3)
    assert {name.split("/")[0] for name in FILES} == {"atlas.json", "actions", "context", "policies"}


def test_its_packs_hold_every_file_of_its_context() -> None:
    (atlas,) = opened(PACKAGE)[0].atlases()
    listed = {path for pack in atlas.context_packs for path in pack.files}
    assert listed == {name for name in FILES if name.startswith("context/")}


def test_each_example_goal_brings_the_decision_that_it_names(source: Any) -> None:
    resolver, session_id = opened(source)
    for goal in resolver.atlases()[0].metadata["example_goals"]:
        wanted = goal.get("required_capabilities", ())
        resolution = resolver.resolve(session_id, goal["goal"], required_capabilities=wanted)
        assert resolution.decision.type == goal["decision"], goal["goal"]


def test_a_goal_without_capabilities_denies_two_actions(source: Any) -> None:
    resolver, session_id = opened(source)
    resolution = resolver.resolve(session_id, "Book the Elbe room")
    assert {one.action_id: one.policy_id for one in resolution.denied_actions} == {
        "room.close": "deny-closing",
        "catering.order": "approve-catering",
    }


def test_its_context_follows_capability_hour_and_budget(source: Any) -> None:
    resolver, session_id = opened(source)
    rooms = ["house/house-rules.md", "rooms/rooms.json", "rooms/directions.txt"]
    known = [one.block_id for one in resolver.resolve(session_id, "Book").context_blocks]
    assert known == [*rooms, "catering/food/ordering.md"]
    events = resolver.get_trace(session_id)
    cut = [one.payload["block_id"] for one in events if one.event_type == "context.redacted"]
    assert cut == ["catering/food/allergens.md"]
    search = resolver.resolve(session_id, "Look", required_capabilities=["search"])
    assert [one.block_id for one in search.context_blocks] == rooms
    resolver, session_id = opened(source, NIGHT)
    assert [one.block_id for one in resolver.resolve(session_id, "Book").context_blocks] == rooms


def test_every_example_fits_its_schema(source: Any) -> None:
    resolver, session_id = opened(source)
    (atlas,) = resolver.atlases()
    resolution_id = resolver.resolve(session_id, "try all").resolution_id
    for action in atlas.actions:
        assert action.examples
        resolver.register_executor(action.action_id, lambda parameters: None)
        for example in action.examples:
            answer = resolver.execute(session_id, resolution_id, action.action_id, example.parameters)
            assert answer.status in ("success", "denied", "pending_approval")


def test_it_can_be_loaded_beside_the_other_examples() -> None:
    resolver = Resolver()
    resolver.load_atlases([PACKAGE, *sorted(FOLDER.glob("*.atlas.json"))])
    assert len(resolver.atlases()) == 4
