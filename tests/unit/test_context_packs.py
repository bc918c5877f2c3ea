"""Context packs: which files come in, in which order, and what a budget cuts (PROTOCOL 1.13 and 2.14)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import Resolution, Resolver
from cra_wasm.errors import InvalidInput
from cra_wasm.model.limits import MAX_CONTEXT_FILE_CHARS
from cra_wasm.testing import FakeClock, SequentialIds

from .building import action, block, load, manifest, policy
from .counting import count_operations
from .packages import as_zip, findings_in


def pack(pack_id: str, *files: str, **members: Any) -> dict[str, Any]:
    return {"pack_id": pack_id, "name": pack_id, "files": [f"context/{name}" for name in files], **members}


class Shop:
    """A resolver with one package and one session."""

    def __init__(
        self,
        packs: list[dict[str, Any]],
        files: dict[str, str] | None = None,
        tracing: Any = "immediate",
        **members: Any,
    ) -> None:
        self.clock = FakeClock()
        self.resolver = Resolver(clock=self.clock, ids=SequentialIds(), tracing=tracing)
        self.load(packs, files, **members)
        self.session_id = self.resolver.create_session("bot-1", "work")

    def load(self, packs: list[dict[str, Any]], files: dict[str, str] | None = None, **members: Any) -> None:
        named = {path.removeprefix("context/") for one in packs for path in one["files"]}
        files = {**dict.fromkeys(named, "text"), **(files or {})}
        whole = manifest(
            **{
                "actions": [action("order.read"), action("user.read")],
                "policies": [policy("all", "allow")],
                "context_packs": packs,
                **members,
            }
        )
        texts = {f"context/{name}": text for name, text in files.items()}
        self.resolver.load_atlas(as_zip({"atlas.json": whole, **texts}))

    def resolve(self, **facts: Any) -> Resolution:
        return self.resolver.resolve(self.session_id, "a goal", **facts)

    def known(self, **facts: Any) -> list[str]:
        return [one.block_id for one in self.resolve(**facts).context_blocks]

    def context_events(self) -> list[tuple[str, str]]:
        """Return (type, block_id) of the latest resolve's events about context."""
        events = self.resolver.get_trace(self.session_id)
        start = max(place for place, one in enumerate(events) if one.event_type == "carp.request.received")
        return [
            (one.event_type.removeprefix("context."), one.payload["block_id"])
            for one in events[start:]
            if one.event_type.startswith("context.")
        ]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a.md",
        "context",
        "context/",
        "context/a",
        "context/a.html",
        "context/a.MD",
        "context/a.md/",
        "context/../a.md",
        "context/.hidden.md",
        "context/.hidden/a.md",
        "context//a.md",
        "/context/a.md",
        "Context/a.md",
        "context\\a.md",
        "context/a b.md",
        "context/é.md",
        "context/a\n.md",
        "context/a.md\n",
        "policies/a.json",
        "http://example.com/context/a.md",
        "context/" + "x" * 250 + ".md",
    ],
)
# PROTOCOL 1.13.2
def test_a_path_that_a_pack_may_not_list_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(context_packs=[{"pack_id": "p", "name": "P", "files": [path]}])
    assert caught.value.details["findings"][0]["pointer"] == "/context_packs/0/files/0"


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"files": []}, "/files"),
        ({"priority": -1}, "/priority"),
        ({"priority": 1001}, "/priority"),
        ({"max_tokens": 0}, "/max_tokens"),
        ({"max_tokens": 1.5}, "/max_tokens"),
        ({"max_tokens": True}, "/max_tokens"),
        ({"pack_id": "a/b"}, "/pack_id"),
        ({"pack_id": ""}, "/pack_id"),
        ({"name": " "}, "/name"),
        ({"keywords": ["x"]}, "/keywords"),
        ({"conditions": {"agent": "x"}}, "/conditions/agent"),
    ],
)
# PROTOCOL 1.13.1
def test_a_pack_with_a_bad_field_is_refused(members: dict[str, Any], pointer: str) -> None:
    files = {"atlas.json": manifest(context_packs=[{**pack("p", "a.md"), **members}]), "context/a.md": ""}
    assert [place for _, place, _ in findings_in(as_zip(files))] == [f"/context_packs/0{pointer}"]


# PROTOCOL 1.13.4
def test_a_pack_of_a_json_document_has_no_files_to_read() -> None:
    packs = [pack("p", "a.md", "b.md"), pack("q", "c.md")]
    assert findings_in(manifest(context_packs=packs)) == [
        ("", "/context_packs/0/files", "file_missing"),
        ("", "/context_packs/1/files", "file_missing"),
    ]


def test_a_pack_that_stands_twice_and_one_that_nobody_has_are_told() -> None:
    whole = manifest(
        context_packs=[pack("p", "a.md"), pack("p", "a.md")],
        capabilities=[{"capability_id": "x", "name": "X", "context_packs": ["p", "q"]}],
    )
    assert findings_in(as_zip({"atlas.json": whole, "context/a.md": ""})) == [
        ("atlas.json", "/context_packs/1/pack_id", "duplicate_id"),
        ("atlas.json", "/capabilities/0/context_packs/1", "unknown_context_pack"),
    ]


# PROTOCOL 1.13.5
def test_a_file_becomes_a_block_named_by_its_pack_and_its_path() -> None:
    files = {"rules/a.md": "# é", "v1.2/b.txt": "b", "c.json": "{", "full.md": "x" * MAX_CONTEXT_FILE_CHARS}
    shop = Shop([pack("p.1:x#y", *files, priority=7)], files)
    blocks = [json.loads(one.to_json()) for one in shop.resolve().context_blocks]
    assert [one.pop("content") for one in blocks] == list(files.values())
    rest = {"source": "com.example.shop", "priority": 7}
    assert blocks == [
        {"block_id": "p.1:x#y/rules/a.md", "content_type": "text/markdown", "token_estimate": 1, **rest},
        {"block_id": "p.1:x#y/v1.2/b.txt", "content_type": "text/plain", "token_estimate": 1, **rest},
        {"block_id": "p.1:x#y/c.json", "content_type": "application/json", "token_estimate": 1, **rest},
        {"block_id": "p.1:x#y/full.md", "content_type": "text/markdown", "token_estimate": 25_000, **rest},
    ]


# PROTOCOL 1.13.7
def test_files_stand_by_priority_then_by_atlas_blocks_before_packs_then_by_pack_and_file() -> None:
    shop = Shop(
        [pack("low", "z.md", "a.md", priority=1), pack("p", "b.md", "a.md"), pack("q", "a.md")],
        context_blocks=[block("inline"), block("lowest", priority=0)],
    )
    shop.load(
        [pack("p", "a.md"), pack("first", "a.md", priority=900)],
        atlas_id="com.other",
        actions=[],
    )
    assert shop.known() == [
        *("first/a.md", "inline", "p/b.md", "p/a.md", "q/a.md", "p/a.md"),
        *("low/z.md", "low/a.md", "lowest"),
    ]


def test_a_pack_with_conditions_that_fail_or_cannot_be_told_stays_out() -> None:
    shop = Shop(
        [
            pack("always", "a.md"),
            pack("bots", "a.md", conditions={"agents": ["bot-*"]}),
            pack("people", "a.md", conditions={"agents": ["human"]}),
            pack("europe", "a.md", conditions={"context_matches": {"region": "eu"}}),
            pack("risky", "a.md", conditions={"risk_tiers": ["high"]}, max_tokens=1),
        ]
    )
    assert shop.known() == ["always/a.md", "bots/a.md"]
    assert shop.known(context={"region": "eu"}) == ["always/a.md", "bots/a.md", "europe/a.md"]
    assert shop.known(risk_tier="high") == ["always/a.md", "bots/a.md", "risky/a.md"]


# PROTOCOL 1.13.6
def test_with_capabilities_only_their_packs_come_and_those_of_none() -> None:
    shop = Shop(
        [pack("orders", "a.md"), pack("users", "a.md"), pack("both", "a.md"), pack("free", "a.md")],
        capabilities=[
            {
                "capability_id": "orders",
                "name": "O",
                "actions": ["order.read"],
                "context_packs": ["orders", "both"],
            },
            {
                "capability_id": "users",
                "name": "U",
                "actions": ["user.read"],
                "context_packs": ["users", "both"],
            },
            {"capability_id": "bare", "name": "B"},
        ],
    )
    assert shop.known() == ["orders/a.md", "users/a.md", "both/a.md", "free/a.md"]
    assert shop.known(required_capabilities=["orders"]) == ["orders/a.md", "both/a.md", "free/a.md"]
    assert shop.known(required_capabilities=["users", "orders"]) == shop.known()
    assert shop.known(required_capabilities=["bare"]) == ["free/a.md"]


SIZES = {"a.md": "x" * 40, "b.md": "x" * 20, "c.md": "x" * 8}


@pytest.mark.parametrize(
    ("max_tokens", "kept"),
    [(None, "abc"), (17, "abc"), (16, "ab"), (15, "ab"), (14, "a"), (10, "a"), (9, ""), (1, "")],
)
# PROTOCOL 2.14.2
def test_a_budget_cuts_whole_files_the_last_first(max_tokens: int | None, kept: str) -> None:
    budget = {} if max_tokens is None else {"max_tokens": max_tokens}
    shop = Shop([pack("p", "a.md", "b.md", "c.md", **budget)], SIZES)
    assert shop.known() == [f"p/{name}.md" for name in kept]
    assert shop.context_events() == [
        *(("injected", f"p/{name}.md") for name in kept),
        *(("redacted", f"p/{name}.md") for name in "abc"[len(kept) :]),
    ]


# PROTOCOL 2.14.1, 2.14.3, 3.1.25
def test_a_cut_is_recorded_behind_what_came_in_and_does_not_count_as_a_block() -> None:
    shop = Shop(
        [pack("p", "b.md", "a.md", max_tokens=5), pack("q", "c.md", "a.md", max_tokens=2, priority=200)],
        SIZES,
        context_blocks=[block("inline", content="x" * 4000)],
    )
    resolution = shop.resolve()
    events = shop.resolver.get_trace(shop.session_id)[-8:]
    assert [(one.event_type, one.payload.get("block_id")) for one in events] == [
        ("policy.evaluated", None),
        ("policy.evaluated", None),
        ("context.injected", "q/c.md"),
        ("context.injected", "inline"),
        ("context.injected", "p/b.md"),
        ("context.redacted", "q/a.md"),
        ("context.redacted", "p/a.md"),
        ("carp.resolution.completed", None),
    ]
    assert events[-2].payload == {
        "block_id": "p/a.md",
        "redaction_reason": "token_budget",
        "source": "com.example.shop",
    }
    assert events[-1].payload["context_block_count"] == len(resolution.context_blocks) == 3
    assert shop.resolver.verify_chain(shop.session_id).valid


def test_what_stays_out_anyway_is_not_cut() -> None:
    shop = Shop(
        [pack("p", "a.md", max_tokens=1, conditions={"agents": ["human"]}), pack("q", "a.md", max_tokens=1)],
        SIZES,
        capabilities=[
            {"capability_id": "x", "name": "X", "context_packs": ["q"]},
            {"capability_id": "y", "name": "Y"},
        ],
    )
    shop.resolve()
    assert shop.context_events() == [("redacted", "q/a.md")]
    shop.resolve(required_capabilities=["y"])
    assert shop.context_events() == []


def test_a_pack_whose_window_opens_comes_in_with_it() -> None:
    shop = Shop([pack("p", "a.md", conditions={"time_window": {"start": "13:00", "end": "14:00"}})])
    assert shop.known() == []  # the fake clock begins at noon
    shop.clock.advance(3600)
    assert shop.known() == ["p/a.md"]
    shop.clock.advance(3600)
    assert shop.known() == []


def test_files_that_changed_come_with_the_next_resolve() -> None:
    shop = Shop([pack("p", "a.md")], {"a.md": "before"})
    assert [one.content for one in shop.resolve().context_blocks] == ["before"]
    shop.load([pack("p", "a.md")], {"a.md": "after"})
    assert [one.content for one in shop.resolve().context_blocks] == ["after"]


def test_a_resolve_costs_the_same_with_packs_as_without() -> None:
    packs = [pack(f"p{n}", "c.md", "b.md", max_tokens=6) for n in range(100)]
    costs = []
    for shop in (Shop([], tracing="deferred"), Shop(packs, SIZES, tracing="deferred")):
        for _ in range(80):
            shop.resolve()
        costs.append(count_operations(shop.resolve))
    assert costs[0] == costs[1]


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6),
    st.none() | st.integers(1, 60),
)
def test_what_a_budget_leaves_fits_and_the_first_file_that_was_cut_would_not(
    sizes: list[int], max_tokens: int | None
) -> None:
    files = {f"f{n}.md": "x" * size for n, size in enumerate(sizes)}
    budget = {} if max_tokens is None else {"max_tokens": max_tokens}
    resolution = Shop([pack("p", *files, **budget)], files).resolve()
    tokens = [-(-size // 4) for size in sizes]
    kept = len(resolution.context_blocks)
    assert [one.content for one in resolution.context_blocks] == list(files.values())[:kept]
    if max_tokens is not None:
        assert sum(tokens[:kept]) <= max_tokens
        assert kept == len(sizes) or sum(tokens[: kept + 1]) > max_tokens
    else:
        assert kept == len(sizes)
