"""Rate limits and budgets, to the nanosecond and to the last cent, against a ledger that keeps everything."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm.carp import limits as limits_module
from cra_wasm.carp.limits import NEVER, Ledger, Limit, limit_of_action, limit_of_policy
from cra_wasm.model.atlas import Action, Policy

from .building import action, policy

NS = 1_000_000_000
MS = 1_000_000


def limit_of(kind: str, **parameters: Any) -> Limit:
    made = Policy.model_validate_json(json.dumps(policy("p", kind, parameters=parameters)))
    return limit_of_policy("com.example.shop", made)


def rate(max_calls: int, window_seconds: float) -> Limit:
    return limit_of("rate_limit", max_calls=max_calls, window_seconds=window_seconds)


def spend(ledger: Ledger, limit: Limit, now_ns: int, cost: float = 0.0, agent_id: str = "bot") -> int | None:
    """Call as an execute does: ask, and take when it fits. Return what was told."""
    account = limit.account(agent_id, "session")
    told = ledger.retry_after_ms(limit, account, now_ns, cost)
    if told is None:
        ledger.take(limit, account, now_ns, cost)
    return told


# Costs


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -0.01,
        True,
        False,
        None,
        "5",
        [5],
        {"amount": 5},
        float("nan"),
        float("inf"),
        float("-inf"),
        10**400,
    ],
)
def test_what_is_no_finite_cost_has_none(value: object) -> None:
    limit = limit_of("budget", max_cost=10, cost_parameter="/amount")
    assert limit.cost_of({"amount": value}) is None


@pytest.mark.parametrize(
    ("pointer", "cost"),
    [
        ("/amount", 5.0),
        ("/deep/0/price", 2.5),
        ("/deep/1/price", None),
        ("/deep/-/price", None),
        ("/deep/00/price", None),
        ("/deep/-1/price", None),
        ("/deep/\u0660/price", None),
        ("/deep", None),
        ("/absent", None),
        ("/amount/x", None),
        ("/a~1b", 1.0),
        ("/m~0n", 2.0),
        ("/~01", 3.0),
        ("/", 4.0),
        ("", None),
    ],
)
def test_a_cost_is_read_by_json_pointer(pointer: str, cost: float | None) -> None:
    limit = limit_of("budget", max_cost=10, cost_parameter=pointer)
    parameters = {"amount": 5, "deep": [{"price": 2.5}], "a/b": 1, "m~n": 2, "~1": 3, "": 4}
    assert limit.cost_of(parameters) == cost


def test_a_cost_is_fixed_or_nothing_where_no_parameter_tells_it() -> None:
    assert limit_of("budget", max_cost=10, cost=2.5).cost_of({"amount": -1}) == 2.5
    assert limit_of("budget", max_calls=10).cost_of({"amount": -1}) == 0.0
    assert rate(1, 1).cost_of({}) == 0.0


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1])
def test_a_call_may_cost_nothing_or_less_than_one(value: float) -> None:
    assert limit_of("budget", max_cost=10, cost_parameter="/amount").cost_of({"amount": value}) == value


# What never fits


@pytest.mark.parametrize(
    ("parameters", "never"),
    [
        ({"max_calls": 0}, True),
        ({"max_calls": 1}, False),
        ({"max_cost": 1, "cost": 1.01}, True),
        ({"max_cost": 1, "cost": 1}, False),
        ({"max_cost": 0, "cost": 0}, False),
        ({"max_cost": 0, "cost_parameter": "/amount"}, False),
    ],
)
def test_a_limit_below_one_call_never_fits(parameters: dict[str, Any], never: bool) -> None:
    limit = limit_of("budget", **parameters)
    assert limit.never_fits is never
    told = Ledger().retry_after_ms(limit, limit.account("bot", "s"), 0, limit.cost_of({"amount": 0}))
    assert told == (NEVER if never else None)
    assert Ledger().retry_after_ms(limit, limit.account("bot", "s"), 0) == told


# Sliding windows


def test_a_window_refills_to_the_exact_nanosecond() -> None:
    ledger, limit = Ledger(), rate(2, 1.5)
    assert [spend(ledger, limit, now) for now in (0, NS)] == [None, None]
    assert spend(ledger, limit, 1_500_000_000 - 1) == 1
    assert spend(ledger, limit, 1_500_000_000) is None
    assert spend(ledger, limit, 2 * NS) == 500
    assert spend(ledger, limit, 2_500_000_000 - 1) == 1
    assert spend(ledger, limit, 2_500_000_000) is None


@pytest.mark.parametrize("milliseconds", [1, 1001, 1003, 4350, 8190, 123_457])
def test_a_window_in_fractions_of_a_second_is_not_a_nanosecond_short(milliseconds: int) -> None:
    ledger, limit = Ledger(), rate(1, milliseconds / 1000)
    assert spend(ledger, limit, 0) is None
    assert spend(ledger, limit, milliseconds * MS - 1) == 1
    assert spend(ledger, limit, milliseconds * MS) is None


def test_waiting_as_long_as_told_helps_and_a_millisecond_less_does_not() -> None:
    ledger, limit = Ledger(), rate(1, 10)
    spend(ledger, limit, 123_456)
    told = spend(ledger, limit, 5 * NS)
    assert told == 5001  # 5,000.123456 rounded up
    account = limit.account("bot", "session")
    assert ledger.retry_after_ms(limit, account, 5 * NS + (told - 1) * MS) == 1
    assert ledger.retry_after_ms(limit, account, 5 * NS + told * MS) is None


def test_a_refused_call_takes_nothing() -> None:
    ledger, limit = Ledger(), rate(1, 10)
    spend(ledger, limit, 0)
    for second in range(1, 10):
        assert spend(ledger, limit, second * NS) == (10 - second) * 1000
    assert spend(ledger, limit, 10 * NS) is None


def test_a_limit_tighter_than_what_was_taken_waits_for_as_many_calls_as_are_too_many() -> None:
    ledger, loose, tight = Ledger(), rate(4, 10), rate(2, 10)
    for second in range(4):
        assert spend(ledger, loose, second * NS) is None
    account = tight.account("bot", "session")
    assert ledger.retry_after_ms(tight, account, 4 * NS) == 8_000
    assert ledger.retry_after_ms(rate(3, 10), account, 4 * NS) == 7_000
    assert ledger.retry_after_ms(loose, account, 4 * NS) == 6_000


def test_a_budget_that_is_spent_is_full_although_a_call_may_cost_nothing() -> None:
    ledger, limit = Ledger(), limit_of("budget", max_cost=0.5, cost_parameter="/amount")
    assert spend(ledger, limit, 0, 0.5) is None
    assert ledger.retry_after_ms(limit, limit.account("bot", "session"), 0) == NEVER


def test_a_budget_of_fixed_costs_is_full_when_the_next_call_is_too_dear() -> None:
    ledger, limit = Ledger(), limit_of("budget", max_cost=10, cost=4)
    account = limit.account("bot", "session")
    assert spend(ledger, limit, 0, 4.0) is None
    assert ledger.retry_after_ms(limit, account, 0) is None
    assert spend(ledger, limit, 0, 4.0) is None
    assert ledger.retry_after_ms(limit, account, 0) == NEVER


def test_a_budget_without_a_window_never_refills() -> None:
    ledger, limit = Ledger(), limit_of("budget", max_calls=2)
    assert [spend(ledger, limit, now) for now in (0, 1, 2, 10**20)] == [None, None, NEVER, NEVER]


def test_a_budget_in_a_window_waits_for_as_much_as_the_call_costs() -> None:
    ledger = Ledger()
    limit = limit_of("budget", max_cost=10, cost_parameter="/amount", window_seconds=100)
    for now, cost in [(0, 3.0), (10 * NS, 3.0), (20 * NS, 3.0)]:
        assert spend(ledger, limit, now, cost) is None
    assert spend(ledger, limit, 30 * NS, 2.0) == 70_000
    assert spend(ledger, limit, 30 * NS, 5.0) == 80_000
    assert spend(ledger, limit, 30 * NS, 10.0) == 90_000
    assert spend(ledger, limit, 30 * NS, 10.5) == NEVER
    assert spend(ledger, limit, 30 * NS, 1.0) is None


def test_what_left_the_window_of_a_budget_can_be_spent_again() -> None:
    ledger, limit = Ledger(), limit_of("budget", max_cost=10, window_seconds=1, cost_parameter="/amount")
    for window in range(4):
        assert spend(ledger, limit, window * NS, 9.0) is None
        assert spend(ledger, limit, window * NS, 2.0) == 1_000


def test_a_budget_of_calls_and_cost_waits_for_both() -> None:
    ledger = Ledger()
    limit = limit_of("budget", max_calls=2, max_cost=10, cost_parameter="/amount", window_seconds=100)
    spend(ledger, limit, 0, 1.0)
    spend(ledger, limit, 10 * NS, 9.0)
    assert spend(ledger, limit, 20 * NS, 1.0) == 80_000
    assert spend(ledger, limit, 20 * NS, 2.0) == 90_000


@pytest.mark.parametrize(("cost", "max_cost"), [(0.1, 0.3), (0.1, 0.7), (0.07, 0.7), (1.1, 3.3), (0.01, 1)])
def test_a_budget_is_spent_to_the_last_cent(cost: float, max_cost: float) -> None:
    fitting = round(max_cost / cost)
    for window in ({}, {"window_seconds": 1000}):
        ledger, limit = Ledger(), limit_of("budget", max_cost=max_cost, cost=cost, **window)
        told = [spend(ledger, limit, now, cost) for now in range(fitting + 1)]
        assert told[:-1] == [None] * fitting
        assert told[-1] is not None


def test_small_costs_count_beside_a_large_one() -> None:
    ledger, limit = Ledger(), limit_of("budget", max_cost=1e15, cost_parameter="/amount")
    spend(ledger, limit, 0, 1e15 - 0.5)
    assert [spend(ledger, limit, 0, 0.03125) for _ in range(17)] == [None] * 16 + [NEVER]


# Which accounts are full


def test_an_account_is_full_when_no_call_fits_and_only_then() -> None:
    ledger, limit = Ledger(), rate(2, 10)
    account = limit.account("bot", "session")
    spend(ledger, limit, 0)
    assert not ledger.full
    spend(ledger, limit, 0)
    assert ledger.full == {account}
    assert ledger.retry_at_resolve(limit, account, 10 * NS) is None
    assert not ledger.full


def test_a_spent_budget_stays_full_when_a_call_that_costs_nothing_was_asked_about() -> None:
    ledger, limit = Ledger(), limit_of("budget", max_cost=5, cost_parameter="/amount")
    account = limit.account("bot", "session")
    spend(ledger, limit, 0, 5.0)
    assert ledger.retry_after_ms(limit, account, 0, 0.0) is None
    assert ledger.full == {account}


def test_a_call_too_dear_for_what_is_left_does_not_fill_the_account() -> None:
    ledger, limit = Ledger(), limit_of("budget", max_cost=5, cost_parameter="/amount")
    spend(ledger, limit, 0, 3.0)
    assert spend(ledger, limit, 0, 4.0) == NEVER
    assert not ledger.full
    assert ledger.retry_after_ms(limit, limit.account("bot", "session"), 0) is None


def test_a_spent_budget_tells_when_there_is_something_to_spend_again() -> None:
    ledger, limit = Ledger(), limit_of("budget", max_cost=5, cost_parameter="/amount", window_seconds=10)
    spend(ledger, limit, 0, 0.0)
    spend(ledger, limit, 2 * NS, 5.0)
    assert ledger.retry_after_ms(limit, limit.account("bot", "session"), 3 * NS) == 9000


# Whose calls are counted together


@pytest.mark.parametrize(
    ("scope", "shares_agent", "shares_session"),
    [("session", False, True), ("agent", True, False), ("atlas", True, True), (None, False, True)],
)
def test_a_budget_counts_per_its_scope(scope: str | None, shares_agent: bool, shares_session: bool) -> None:
    limit = limit_of("budget", max_calls=1, **({"scope": scope} if scope else {}))
    mine = limit.account("bot", "s1")
    assert (mine == limit.account("bot", "s2")) is shares_agent
    assert (mine == limit.account("other", "s1")) is shares_session


def test_rate_limits_count_per_agent_and_policy() -> None:
    own = Action.model_validate_json(
        json.dumps(action("a.b", rate_limit={"max_calls": 1, "window_seconds": 2.5}))
    )
    limit = limit_of_action("com.example.shop", own)
    assert limit is not None
    assert (limit.policy_id, limit.is_rate, limit.window_ns) == ("a.b#rate_limit", True, 2_500_000_000)
    for one in (limit, rate(1, 1)):
        assert one.account("bot", "s1") == one.account("bot", "s2") != one.account("other", "s1")
    assert limit.account("bot", "s1") != rate(1, 1).account("bot", "s1")
    assert limit_of_action("x", Action.model_validate_json(json.dumps(action("a.b")))) is None


def test_agents_do_not_use_up_each_others_limit() -> None:
    ledger, limit = Ledger(), rate(1, 10)
    assert [spend(ledger, limit, 0, agent_id=name) for name in ("a", "b", "a")] == [None, None, 10_000]


def test_a_caller_is_told_of_its_own_full_accounts_and_of_no_others() -> None:
    ledger = Ledger()
    scopes = {
        "agent": rate(1, 10),
        "session": limit_of("budget", max_calls=1),
        "atlas": limit_of("budget", max_calls=1, scope="atlas"),
    }
    for limit in scopes.values():
        ledger.take(limit, limit.account("a", "s1"), 0, 0.0)

    def scopes_full(agent_id: str, session_id: str) -> set[str]:
        return {account[2].split(":")[0] for account in ledger.full_of(agent_id, session_id)}

    assert scopes_full("a", "s1") == {"agent", "session", "atlas"}
    assert scopes_full("a", "s2") == {"agent", "atlas"}
    assert scopes_full("b", "s1") == {"session", "atlas"}
    assert scopes_full("b", "s2") == {"atlas"}
    ledger.forget_session("s1")
    assert scopes_full("a", "s1") == {"agent", "atlas"}
    ledger.forget_atlas("com.example.shop")
    assert scopes_full("a", "s1") == set()
    assert ledger._full_of_subject == ledger._of_subject == {}


def test_asking_about_a_limit_that_nothing_fits_leaves_nothing_behind() -> None:
    ledger, never = Ledger(), limit_of("budget", max_calls=0)
    assert ledger.retry_after_ms(never, never.account("a", "s"), 0) == NEVER
    assert not ledger.full and not ledger._full_of_subject


# Forgetting


def test_an_ended_session_is_forgotten_and_no_other() -> None:
    ledger, per_session, per_agent = Ledger(), limit_of("budget", max_calls=1), rate(1, 10)
    for session in ("s1", "s2"):
        ledger.take(per_session, per_session.account("bot", session), 0, 0.0)
    ledger.take(per_agent, per_agent.account("s1", "s1"), 0, 0.0)
    ledger.forget_session("s1")
    assert ledger.retry_after_ms(per_session, per_session.account("bot", "s1"), 0) is None
    assert ledger.retry_after_ms(per_session, per_session.account("bot", "s2"), 0) == NEVER
    assert ledger.retry_after_ms(per_agent, per_agent.account("s1", "s1"), 0) == 10_000
    assert len(ledger.full) == 2


def test_an_unloaded_atlas_is_forgotten_and_no_other() -> None:
    ledger, limit = Ledger(), rate(1, 10)
    other = limit_of_policy(
        "com.example.other",
        Policy.model_validate(
            {"policy_id": "p", "type": "rate_limit", "parameters": {"max_calls": 1, "window_seconds": 10}}
        ),
    )
    for one in (limit, other):
        ledger.take(one, one.account("bot", "s"), 0, 0.0)
    ledger.forget_atlas("com.example.shop")
    assert ledger.full == {other.account("bot", "s")}
    assert spend(ledger, limit, 0) is None
    assert spend(ledger, other, 0) == 10_000


def test_an_atlas_that_was_unloaded_is_no_longer_one_that_was_loaded_again() -> None:
    ledger, limit = Ledger(), rate(2, 10)
    ledger.look_again_at(limit.atlas_id)
    ledger.take(limit, limit.account("bot", "s"), 0, 0.0)
    assert ledger.full
    ledger.forget_atlas(limit.atlas_id)
    ledger.take(limit, limit.account("bot", "s"), 0, 0.0)
    assert not ledger.full


def test_accounts_whose_window_has_passed_are_swept_looked_at_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "_SWEEP_EVERY", 100)
    ledger, limit, kept = Ledger(), rate(1, 10), limit_of("budget", max_calls=1, scope="agent")
    spend(ledger, kept, 0)
    for index in range(90):
        spend(ledger, limit, 0, agent_id=f"agent-{index}")
    for index in range(0, 90, 2):
        ledger.retry_after_ms(limit, limit.account(f"agent-{index}", "s"), 20 * NS)
    for index in range(9):
        spend(ledger, limit, 20 * NS, agent_id=f"late-{index}")
    assert len(ledger._taken) == len(ledger._windows) == 10
    assert ledger.full == set(ledger._taken)
    assert spend(ledger, kept, 20 * NS) == NEVER


def test_a_budget_that_a_new_version_gives_a_window_refills() -> None:
    ledger = Ledger()
    spend(ledger, limit_of("budget", max_calls=1, scope="agent"), 0)
    windowed = limit_of("budget", max_calls=1, scope="agent", window_seconds=10)
    account = windowed.account("bot", "session")
    assert spend(ledger, windowed, 5 * NS) is None
    assert ledger.retry_after_ms(windowed, account, 6 * NS) == 9000
    assert ledger.retry_after_ms(windowed, account, 15 * NS) is None


COSTS = st.integers(0, 400).map(lambda cents: cents / 100)


@given(
    st.integers(0, 3),
    st.none() | COSTS,
    st.none() | st.sampled_from([0.5, 1.0, 2.25]),
    st.lists(st.tuples(st.integers(0, NS), COSTS), max_size=40),
)
def test_the_ledger_agrees_with_one_that_keeps_every_call(
    max_calls: int, max_cost: float | None, window: float | None, calls: list[tuple[int, float]]
) -> None:
    parameters: dict[str, Any] = {"max_calls": max_calls}
    if max_cost is not None:
        parameters |= {"max_cost": max_cost, "cost_parameter": "/c"}
    if window is not None:
        parameters["window_seconds"] = window
    ledger, limit, kept, now = Ledger(), limit_of("budget", **parameters), list[tuple[int, Fraction]](), 0

    def fits(moment: int, cost: Fraction) -> bool:
        counted = [one for at, one in kept if window is None or at + int(window * NS) > moment]
        over_cost = max_cost is not None and sum(counted) + cost > Fraction(str(max_cost))
        return len(counted) < max_calls and not over_cost

    for step, cost in calls:
        now += step
        exact = Fraction(str(cost))
        told = spend(ledger, limit, now, cost)
        assert (told is None) is fits(now, exact)
        if told is None:
            kept.append((now, exact))
        elif told == NEVER:
            assert not fits(now + 10**12, exact)
        else:
            assert fits(now + told * MS, exact) and not fits(now + (told - 1) * MS, exact)
