"""Which context blocks go with a request: filters keep out, triggers bring in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.carp import context as context_module
from cra_wasm.carp.context import token_estimate

from .building import action, at, block, manifest, plan_with, planner_of, policy

NOON = at("2026-11-24T12:00:00+00:00")
ACTIONS = [action("order.read"), action("user.read")]
CAPABILITIES = [{"capability_id": "orders", "name": "Orders", "actions": ["order.read"]}]


def selected(blocks: list[dict[str, Any]], goal: str = "a goal", **facts: Any) -> list[str]:
    planner = planner_of(manifest(actions=ACTIONS, capabilities=CAPABILITIES, context_blocks=blocks))
    plan = plan_with(planner, wall_ns=NOON, **facts)
    return [one.block_id for one in plan.selector.select(goal).blocks]


def comes(goal: str = "a goal", facts: dict[str, Any] | None = None, **members: Any) -> bool:
    return selected([block("it", **members)], goal, **(facts or {})) == ["it"]


@pytest.mark.parametrize(
    ("keyword", "goal"),
    [
        ("refund", "process refunds"),
        ("refund", "prerefund"),
        ("refund", "refund_order"),
        ("refund", "re fund"),
        ("refund policy", "policy refund"),
        ("refund policy", "refund the policy"),
        ("refund policy", "refund policyholders"),
        ("refund policy", "prerefund policy"),
        ("refund policy", "refund"),
        ("art", "start"),
        ("++", "a ++ b"),
    ],
)
def test_a_keyword_is_a_whole_word_or_phrase(keyword: str, goal: str) -> None:
    assert not comes(goal, keywords=[keyword])


@pytest.mark.parametrize(
    ("keyword", "goal"),
    [
        ("refund", "refund"),
        ("Refund", "please REFUND, now"),
        ("refund", "(refund)"),
        ("refund", "re-refund"),
        ("refund policy", "What is the Refund-Policy?"),
        ("refund policy", "refund refund policy"),
        ("  refund   policy ", "refund\npolicy"),
        ("straße", "STRASSE"),
        ("καφές", "ΚΑΦΈΣ"),
        ("退款", "退款"),
        ("42", "order 42"),
    ],
)
def test_a_keyword_matches_whatever_its_case_and_the_punctuation(keyword: str, goal: str) -> None:
    assert comes(goal, keywords=[keyword])


def test_a_block_whose_only_keyword_has_no_letter_does_not_come_always() -> None:
    assert not comes("anything", keywords=["?!"])
    assert comes("anything", {"context_hints": ("?!",)}, keywords=["?!"])


def test_a_block_without_triggers_always_comes() -> None:
    assert comes()
    assert comes(keywords=[], inject_when=[])


@pytest.mark.parametrize(
    ("hint", "here"),
    [("it", True), ("Refund", True), ("refund", False), ("IT", False), ("i", False), ("", False)],
)
def test_a_hint_is_the_id_or_a_keyword_as_it_is_written(hint: str, here: bool) -> None:
    assert comes(facts={"context_hints": ("other", hint)}, keywords=["Refund"]) is here


@pytest.mark.parametrize(
    ("globs", "facts", "here"),
    [
        (["order.*"], {}, True),
        (["mail.*"], {}, False),
        (["mail.*", "*.read"], {}, True),
        (["user.*"], {"required_capabilities": ("orders",)}, False),
        (["order.*"], {"required_capabilities": ("orders",)}, True),
    ],
)
def test_inject_when_looks_at_the_candidates(globs: list[str], facts: dict[str, Any], here: bool) -> None:
    assert comes(facts=facts, inject_when=globs) is here


def test_inject_when_looks_at_candidates_that_are_denied_too() -> None:
    planner = planner_of(
        manifest(
            actions=ACTIONS,
            policies=[policy("no", "deny")],
            context_blocks=[block("why", inject_when=["order.read"])],
        )
    )
    assert len(plan_with(planner).selector.select("x").blocks) == 1


def test_one_trigger_is_enough() -> None:
    triggers = {"keywords": ["refund"], "inject_when": ["mail.*"]}
    assert not comes(**triggers)
    assert comes("refund", **triggers)


@pytest.mark.parametrize("tier", ["low", "medium", "high", "critical"])
def test_risk_tiers_are_a_filter_on_the_task(tier: str) -> None:
    assert comes(facts={"risk_tier": tier}, risk_tiers=["high", "low"]) is (tier in ("high", "low"))
    triggered = {"risk_tiers": ["high"], "keywords": ["goal"]}
    assert comes("a goal", {"risk_tier": tier}, **triggered) is (tier == "high")
    assert comes("x", {"risk_tier": tier, "context_hints": ("it",)}, **triggered) is (tier == "high")


@pytest.mark.parametrize(
    "conditions",
    [
        {"context_matches": {"absent": "*"}},
        {"time_window": {"start": "00:00", "end": "00:00", "timezone": "Mars/Olympus"}},
        {"time_window": {"start": "13:00", "end": "14:00"}},
        {"agents": ["nobody"]},
        {"risk_tiers": ["high"]},
        {"capabilities": []},
    ],
)
def test_conditions_that_fail_or_cannot_be_told_keep_a_block_out(conditions: dict[str, Any]) -> None:
    assert not comes(conditions=conditions)
    assert not comes("refund", {"context_hints": ("it",)}, conditions=conditions, keywords=["refund"])


def test_conditions_that_hold_let_a_block_in() -> None:
    conditions = {
        "context_matches": {"region": "eu-*"},
        "time_window": {"start": "09:00", "end": "14:00"},
        "agents": ["agent-*"],
        "capabilities": ["orders"],
    }
    assert comes(facts={"context": {"region": "eu-1"}}, conditions=conditions)


def test_blocks_stand_by_priority_then_in_atlas_order() -> None:
    ranks = [("a", 5), ("b", 900), ("c", 5), ("d", 100), ("e", 900), ("f", 0)]
    blocks = [block(name, priority=rank) for name, rank in ranks]
    planner = planner_of(
        manifest(context_blocks=blocks),
        manifest(atlas_id="com.other", context_blocks=[block("z", priority=900)]),
    )
    chosen = plan_with(planner).selector.select("x").blocks
    assert [(one.block_id, one.source) for one in chosen[:3]] == [
        ("b", "com.example.shop"),
        ("e", "com.example.shop"),
        ("z", "com.other"),
    ]
    assert [one.block_id for one in chosen[3:]] == ["d", "a", "c", "f"]


@pytest.mark.parametrize(("chars", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_tokens_are_a_quarter_of_the_characters_rounded_up(chars: int, tokens: int) -> None:
    assert token_estimate("ä" * chars) == tokens


def test_a_selection_tells_the_same_as_blocks_as_json_and_as_events() -> None:
    blocks = [block("a", content='"<\u2028é\U0001f600'), block("b", content_type="application/json")]
    planner = planner_of(manifest(context_blocks=blocks))
    chosen = plan_with(planner).selector.select("x")
    told = [json.loads(text) for text in chosen.block_jsons]
    assert [one["content"] for one in told] == ['"<\u2028é\U0001f600', "about b"]
    assert told == [json.loads(one.to_json()) for one in chosen.blocks]
    assert [json.loads(payload) for _, payload in chosen.events] == [
        {"block_id": one["block_id"], "source": one["source"], "token_count": one["token_estimate"]}
        for one in told
    ]


def test_the_caches_are_bounded_and_dropping_them_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "_GOAL_CHARS_KEPT", 8)
    monkeypatch.setattr(context_module, "_SELECTIONS_KEPT", 4)
    blocks = [block(f"b{n}", keywords=[f"w{n}"]) for n in range(6)]
    selector = plan_with(planner_of(manifest(context_blocks=blocks))).selector
    for _ in range(2):
        for n in range(6):
            for goal in (f"w{n}", f"x w{n} w{(n + 1) % 6}"):
                words = goal.split()
                got = [one.block_id for one in selector.select(goal).blocks]
                assert got == [f"b{n}" for n in range(6) if f"w{n}" in words]
                assert len(selector._by_goal) <= 4
                assert len(selector._by_blocks) <= 4


def test_a_selection_that_no_goal_can_change_is_fixed_and_a_goal_that_was_seen_is_not_searched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    always, by_word, by_phrase = (
        plan_with(planner_of(manifest(context_blocks=[block("a"), block("b", **members)]))).selector
        for members in ({"inject_when": ["mail.*"]}, {"keywords": ["refund"]}, {"keywords": ["two words"]})
    )
    assert always.fixed is not None and [one.block_id for one in always.fixed.blocks] == ["a"]
    assert always.select("refund two words") is always.fixed
    for selector, goal in ((by_word, "a refund"), (by_phrase, "just two words")):
        assert selector.fixed is None
        first = selector.select(goal)
        assert len(first.blocks) == 2
        assert selector.select(f"again {goal}") is first
        monkeypatch.setattr(selector, "_matching", lambda goal: pytest.fail("it searched again"))
        assert selector.select(goal) is first


def test_a_phrase_counts_once_however_often_a_goal_says_it_and_a_block_spells_it() -> None:
    blocks = [block(f"b{n}", keywords=["a a", "A a", "a, a"]) for n in range(3)]
    selector = plan_with(planner_of(manifest(context_blocks=blocks))).selector
    assert sorted(selector._matching_phrases(["a"] * 5000)) == [0, 1, 2]
    assert len(selector.select("a " * 5000).blocks) == 3


WORDS = st.sampled_from(["refund", "Policy", "order", "re", "fund"])
GLUE = st.sampled_from([" ", "-", ", ", "\n"])
TEXTS = st.lists(st.tuples(WORDS, GLUE), min_size=1, max_size=5).map(
    lambda pairs: "".join(word + glue for word, glue in pairs)
)


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=4), TEXTS)
def test_keywords_agree_with_looking_for_runs_of_words(keywords: list[list[str]], goal: str) -> None:
    def words(text: str) -> list[str]:
        return "".join(char if char.isalnum() else " " for char in text.lower()).split()

    def stands_in(keyword: str) -> bool:
        wanted, said = words(keyword), words(goal)
        return any(said[n : n + len(wanted)] == wanted for n in range(len(said)))

    blocks = [block(f"b{n}", keywords=of_one) for n, of_one in enumerate(keywords)]
    expected = [f"b{n}" for n, of_one in enumerate(keywords) if any(map(stands_in, of_one))]
    assert selected(blocks, goal) == expected
