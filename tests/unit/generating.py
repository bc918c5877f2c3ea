"""Generated atlases, and generated lives of a resolver: steps that `three_ways` takes.

Most choices are one draw from a list: that is fast, shrinks to the list's head, and reads well in a failure.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from .building import action, at, manifest

SHOP, STOCK = "com.example.shop", "com.example.stock"
AGENTS = ["bot-1", "bot-2", "human"]
CAPABILITIES = ["orders", "users"]
TIERS = ["low", "medium", "high", "critical"]
ACTIONS = {
    SHOP: ["order.read", "order.refund", "user.order.delete", "user.read"],
    STOCK: ["stock.read", "stock.user.count", "user.read"],
}
STARTS = [
    at("2026-11-27T08:50:00+00:00"),  # a Friday
    at("2026-03-28T23:40:00+00:00"),  # before and
    at("2026-10-24T22:50:00+00:00"),  # before Berlin's clocks change
]
AMOUNT = {
    "type": "object",
    "properties": {"amount": {"type": "number", "minimum": 0}},
    "required": ["amount"],
}
GLOBS = [
    ["*"],
    ["order.*", "stock.*"],
    ["*.read"],
    ["user.*.delete", "order.refund"],
    ["*.user.*", "*.order.*"],
    [],
]
WINDOWS = [
    {"start": "09:00", "end": "17:00"},
    {"start": "22:00", "end": "06:00", "timezone": "Europe/Berlin"},
    {"start": "00:00", "end": "00:00", "days": ["fri", "sun"]},
    {"start": "09:00", "end": "22:00", "timezone": "Mars/Olympus"},
]
ONE_CONDITION: list[dict[str, Any]] = [
    {"agents": ["bot-*"]},
    {"risk_tiers": ["high", "critical"]},
    {"time_window": WINDOWS[0]},
    {"context_matches": {"region": "eu-*"}},
    {"capabilities": ["orders"]},
    {"time_window": WINDOWS[1]},
    {"agents": ["*-1", "human"]},
    {"context_matches": {"region": "5"}},
    {"time_window": WINDOWS[2]},
    {"context_matches": {"other": "*", "region": "us"}},
    {"risk_tiers": ["low", "medium"]},
    {"time_window": WINDOWS[3]},
    {"capabilities": ["users", "orders"]},
]
CONDITIONS = [
    {},
    *ONE_CONDITION,
    *({**one, **other} for one, other in pairwise(ONE_CONDITION)),
    {},
    *({**one, **other} for one, other in zip(ONE_CONDITION, ONE_CONDITION[5:], strict=False)),
    {},
]
# A limit's window is the same wherever its calls are counted in one account, whatever is loaded in its place:
# nobody keeps the times of calls that no window asked for.
POLICIES: list[tuple[str, dict[str, Any]]] = [
    ("allow", {}),
    ("allow", {"reason": "fine"}),
    ("rate_limit", {"max_calls": 1, "window_seconds": 10}),
    ("budget", {"max_calls": 2}),
    ("allow", {}),
    ("require_approval", {}),
    ("rate_limit", {"max_calls": 2, "window_seconds": 10, "reason": "slowly"}),
    ("budget", {"max_cost": 3, "cost_parameter": "/amount", "scope": "agent", "window_seconds": 10}),
    ("deny", {"reason": "requires_approval"}),
    ("allow", {}),
    ("require_approval", {"expires_in_seconds": 10, "uses": 2}),
    ("budget", {"max_cost": 0.3, "cost": 0.1, "scope": "atlas"}),
    ("rate_limit", {"max_calls": 0, "window_seconds": 10}),
    ("scope", {"actions": ["*.read", "order.*"], "capabilities": ["users"]}),
    ("budget", {"max_cost": 1, "max_calls": 3, "cost": 2, "scope": "session"}),
    ("deny", {}),
    ("budget", {"max_calls": 1, "scope": "agent", "window_seconds": 10}),
    ("scope", {"capabilities": ["orders"]}),
    ("require_approval", {"reason": "careful"}),
    ("allow", {"redact": ["/goal", "/context/region", "/error_message"]}),
    ("allow", {"redact": ["/context", "/note", "/amount"], "redact_hash": True}),
    ("rate_limit", {"max_calls": 2, "window_seconds": 10, "redact": ["/goal"], "redact_hash": True}),
    ("scope", {"actions": ["*"], "redact": ["/approver", "/message", "/none"]}),
]
ACTION_MEMBERS: list[dict[str, Any]] = [
    {},
    {"rate_limit": {"max_calls": 1, "window_seconds": 10}},
    {"parameters_schema": AMOUNT, "returns_schema": True},
    {"risk_tier": "high", "idempotent": True},
    {"risk_tier": "medium", "rate_limit": {"max_calls": 2, "window_seconds": 2.5}},
    {"risk_tier": "critical", "requires_confirmation": True, "parameters_schema": AMOUNT},
    {"returns_schema": {"type": "object", "required": ["done", "more", "most"]}},
]
BLOCK_MEMBERS: list[dict[str, Any]] = [
    {},
    {"keywords": ["refund"]},
    {"keywords": ["two words", "é"]},
    {"inject_when": ["*.read"]},
    {"keywords": ["!"], "risk_tiers": ["high"]},
    {"keywords": ["read"], "inject_when": ["stock.*"], "content_type": "text/plain"},
]
FILES = {
    "context/a.md": "About é",
    "context/deep/b.txt": "b" * 9,
    "context/c.json": '{"c": "😀"}',
    "context/d.md": "",
}
"""Of 2, 3, 3 and 0 tokens."""
PACK_MEMBERS: list[dict[str, Any]] = [
    {"files": ["context/a.md"]},
    {"files": ["context/a.md", "context/deep/b.txt", "context/c.json"], "max_tokens": 5},
    {"files": ["context/c.json", "context/d.md", "context/a.md", "context/deep/b.txt"], "max_tokens": 4},
    {"files": ["context/d.md", "context/a.md"], "max_tokens": 1},
    {"files": ["context/deep/b.txt"], "max_tokens": 1},
]
GOALS = ["look around", "Refund in TWO words", "É read\x1f\n", "two, words: refunds", "", "x" * 300, "\ud800"]
FACTS: list[dict[str, Any]] = [
    {},
    {"context": {"region": "eu-1"}},
    {"required_capabilities": ["orders"]},
    {"context_hints": ["refund"]},
    {"atlas_ids": [SHOP]},
    {"context": {"region": 5, "other": False}},
    {"context": {"region": 5.0, "other": [1]}},
    {"required_capabilities": ["users", "orders"], "context_hints": ["b0", "unheard of"]},
    {"atlas_ids": [STOCK, SHOP], "context": {"region": "us", "other": "x"}},
    {"context": {"region": None, "other": 1.5}},
    {"atlas_ids": []},
    {"required_capabilities": ["no.such"], "context": {"é": "\x7f"}},
    {"atlas_ids": [SHOP, "com.example.none"]},
    {"context": {"region": float("nan")}},
    {"context_hints": ["fine", "\ud800"]},
    {"required_capabilities": ["orders", ""]},
]
PARAMETERS: list[dict[str, Any]] = [
    {"amount": 1},
    {},
    {"amount": 0.5, "note": "é😀"},
    {"amount": 2.0},
    {"amount": -1},
    {"amount": "much"},
    {"amount": True},
    {"amount": float("nan")},
]


@st.composite
def atlases(draw: st.DrawFn, atlas_id: str, *, packs: bool = False) -> dict[str, Any]:
    """Return a manifest that loads; with packs it has one member more, the `files` of its package."""
    names = ACTIONS[atlas_id][: draw(st.sampled_from([2, 4, 4, 3, 1]))]
    actions = [action(name, **draw(st.sampled_from(ACTION_MEMBERS))) for name in names]
    capabilities = [
        {"capability_id": name, "name": name, "actions": names[draw(st.integers(0, 2)) :]}
        for name in CAPABILITIES
    ]
    policies = [draw(policy(index)) for index in range(draw(st.integers(0, 5)))]
    if draw(st.integers(0, 3)):  # else most actions are denied for want of a policy
        policies.append({"policy_id": "all", "type": "allow", "priority": -2})
    blocks = [draw(block(index)) for index in range(draw(st.integers(0, 3)))]
    made = manifest(
        atlas_id=atlas_id,
        actions=actions,
        capabilities=capabilities,
        policies=policies,
        context_blocks=blocks,
    )
    if packs:
        made["files"] = FILES
        made["context_packs"] = [draw(pack(index)) for index in range(draw(st.integers(0, 2)))]
        for one, capability in zip(made["context_packs"], draw(st.permutations(capabilities)), strict=False):
            capability["context_packs"] = [one["pack_id"]] * draw(st.integers(0, 1))
    return made


@st.composite
def replacements(draw: st.DrawFn, before: dict[str, Any]) -> dict[str, Any]:
    """Return what may be loaded in an atlas's place: something else, or the same a little changed."""
    kinds = ["tighter", "without an action", "without a policy", "other context", "tighter", "other"]
    change = draw(st.sampled_from(kinds))
    if change == "other":
        return {**draw(atlases(before["atlas_id"], packs="files" in before)), "version": "2.0.0"}
    after = copy.deepcopy({**before, "version": "1.1.0"})
    if change == "tighter":
        terms = [one.get("parameters", {}) for one in after["policies"]]
        terms += [one["rate_limit"] for one in after["actions"] if "rate_limit" in one]
        for one in terms:
            if one.get("max_calls", 0) > 1:
                one["max_calls"] -= 1
    elif change == "other context":
        for place, one in enumerate(after["context_blocks"][:2]):
            one.update([{"content": "Other"}, {"content_type": "application/json"}][place])
        del after["context_blocks"][2:]
    elif change == "without a policy":
        del after["policies"][:1]
    else:
        gone = after["actions"].pop(0)["action_id"]
        for capability in after["capabilities"]:
            capability["actions"] = [name for name in capability["actions"] if name != gone]
    return after


@st.composite
def policy(draw: st.DrawFn, index: int) -> dict[str, Any]:
    kind, parameters = draw(st.sampled_from(POLICIES))
    globs = draw(st.sampled_from([None, *GLOBS]))
    priority = draw(st.sampled_from([None, 1, -1]))
    return {
        "policy_id": f"p{index}",
        "type": kind,
        "parameters": parameters,
        **({} if index % 2 else {"name": f"Policy {index}"}),
        **({} if globs is None else {"actions": globs}),
        **({} if priority is None else {"priority": priority}),
        **with_conditions(draw),
    }


@st.composite
def block(draw: st.DrawFn, index: int) -> dict[str, Any]:
    priority = draw(st.sampled_from([None, 500, 100]))
    return {
        "context_id": f"b{index}",
        "name": "Block",
        "content": "About é 😀" * index,
        **({} if priority is None else {"priority": priority}),
        **draw(st.sampled_from(BLOCK_MEMBERS)),
        **with_conditions(draw),
    }


@st.composite
def pack(draw: st.DrawFn, index: int) -> dict[str, Any]:
    priority = draw(st.sampled_from([None, 500, 100]))
    return {
        "pack_id": f"k{index}",
        "name": "Pack",
        **({} if priority is None else {"priority": priority}),
        **draw(st.sampled_from(PACK_MEMBERS)),
        **with_conditions(draw),
    }


def with_conditions(draw: st.DrawFn) -> dict[str, Any]:
    conditions = draw(st.sampled_from(CONDITIONS))
    return {"conditions": conditions} if conditions else {}


WHO = st.sampled_from([0, 0, 1, 0, 1, 2, -1, *[0, 0, 0, 1, 1, 2] * 3, 3, -2])
"""0 is the newest, 1 the one before; -1 an id that nobody has, -2 no id."""
WHOSE = st.sampled_from([*[None] * 12, 0, 1, -1])
"""The session that names a resolution: None is the resolution's own."""
WHICH_ACTION = st.sampled_from([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, -1])
"""Counts the resolution's candidates; -1 is none of them."""
A_KEY = st.sampled_from([None, None, None, "k"])
RESOLVE = st.tuples(
    st.just("resolve"),
    WHO,
    st.sampled_from([*GOALS[:4], *GOALS]),
    st.sampled_from([*TIERS, *TIERS, "none"]),
    st.sampled_from([*FACTS[:10], *FACTS]),
)
EXECUTE = st.tuples(
    st.just("execute"), WHOSE, WHO, WHICH_ACTION, st.sampled_from([*PARAMETERS[:4], *PARAMETERS]), A_KEY
)
REQUEST = st.tuples(
    st.sampled_from(["request", "request", "validate"]),
    WHO,
    st.sampled_from(["resolve", "execute", "resolve", "execute", "validate"]),
    WHICH_ACTION,
    st.sampled_from(FACTS[:7]),
    st.sampled_from([0, -299, 0, 301]),
    st.integers(0, 9),
)
SECONDS = [0.25, 2.5, 10.0, 9.75, 60.0, 900.0, 4000.0, 30000.0]
STEPPED = [-2.0, 2.0, -3600.0, 3600.0, -90000.0, 90000.0]
BETWEEN = st.sampled_from(
    [None, None, None, ("load", 1), ("load", 0), ("advance", 9.75), ("step_wall", -3600.0), ("unload", SHOP)]
)
"""What happens after the resolve and before its execute."""
RUN = st.tuples(
    st.just("run"),
    WHO,
    WHICH_ACTION,
    st.sampled_from(PARAMETERS[:4]),
    BETWEEN,
    st.sampled_from([None, True, True, False]),
)
ASK_TWICE = st.tuples(
    st.just("ask_twice"),
    WHO,
    st.sampled_from([*GOALS[:2] * 3, *GOALS]),
    st.sampled_from([*TIERS, "none"]),
    st.sampled_from([*FACTS[:8] * 2, *FACTS]),
    st.sampled_from(
        [
            *[None] * 4,
            ("load", 1),
            ("load", 2),
            ("unload", STOCK),
            *[("advance", seconds) for seconds in (9.75, 900.0, 3599.0, 3600.0)],
            ("step_wall", 3600.0),
            *[("run", 0, number, PARAMETERS[0], None, True) for number in (0, 1, 2)] * 2,
            ("resolve", 0, GOALS[1], "low", {}),
        ]
    ),
)
FAMILY = st.tuples(
    st.just("family"), WHO, st.sampled_from(AGENTS), st.sampled_from(["completed", "error", "bored"])
)
FORESEE = st.tuples(st.just("foresee"), st.integers(10, 19))
DECIDE = st.tuples(
    st.just("decide"),
    WHO,
    st.sampled_from([True, True, False]),
    st.sampled_from(["ann", "ann", "ann", ""]),
    st.sampled_from([None, 5, 2]),
)
AGAIN = st.tuples(st.just("again"))
LOAD = st.tuples(st.just("load"), st.sampled_from([0, 1, 1, 2]))
UNLOAD = st.tuples(st.just("unload"), st.sampled_from([SHOP, STOCK]))
CREATE = st.tuples(
    st.just("create"), st.sampled_from([*AGENTS * 3, "", "cra-runtime"]), st.sampled_from([None, 0, 0, 1, -1])
)
EMIT = st.tuples(
    st.just("emit"),
    WHO,
    st.sampled_from(["app.note", "app.note", "carp.forged", "App"]),
    st.sampled_from(PARAMETERS),
)
KINDS = [
    st.tuples(st.just("pause")),
    *[RUN, AGAIN] * 5,
    *[RESOLVE, EXECUTE, DECIDE] * 4,
    *[ASK_TWICE, FORESEE] * 3,
    *[LOAD, st.tuples(st.just("advance"), st.sampled_from(SECONDS)), REQUEST] * 2,
    st.tuples(st.just("step_wall"), st.sampled_from(STEPPED)),
    *[CREATE, UNLOAD, EMIT, FAMILY],
    st.tuples(st.just("explain"), WHOSE, WHO),
    st.tuples(st.just("end"), WHO, st.sampled_from(["completed", "timeout", "bored"])),
]
"""What is there twice comes twice as often: `one_of` would count it once."""
STEPS = st.sampled_from(KINDS).flatmap(lambda kind: kind)
DRAINS = st.lists(
    st.tuples(st.sampled_from(["drain", "ack", "redeliver"]), st.integers(1, 40)), min_size=1, max_size=3
)


@st.composite
def lives(draw: st.DrawFn) -> dict[str, Any]:
    """Return when a resolver starts, the atlases that it may load (the first two take each other's place),
    what is done with it, and how it is drained meanwhile."""
    shop, stock = draw(atlases(SHOP, packs=True)), draw(atlases(STOCK, packs=True))
    return {
        "starts_at": draw(st.sampled_from(STARTS)),
        "atlases": [shop, draw(replacements(shop)), stock],
        "steps": draw(st.lists(STEPS, min_size=10, max_size=16)),  # a pause is what they shrink to
        "drains": draw(st.lists(DRAINS, min_size=1, max_size=4)),
    }
