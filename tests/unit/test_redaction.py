"""What policies take out of events is never recorded, and the chain stays whole (PROTOCOL 3.9)."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cra_wasm import HeartbeatConfig, InvalidInput, Resolver, SessionTTLConfig
from cra_wasm.carp.redaction import redactor_of
from cra_wasm.model.redaction import REDACTABLE, UNREDACTABLE, Removal, path_of
from cra_wasm.runtime.redacting import redacted_texts
from cra_wasm.storage.memory import MemoryStorage
from cra_wasm.testing import FakeClock, MockTimerBackend, SequentialIds
from cra_wasm.trace.canonical import canonical_json
from cra_wasm.trace.reader import read_lines
from cra_wasm.trace.verify import verify_lines

from .building import action, at, manifest, planner_of, policy
from .reference_redaction import payload_without

SECRET = 'S3CR\u00c9T "of" ann@example.org'
ESCAPED = json.dumps(SECRET)[1:-1]
MARK = "[redacted]"


def hash_mark(value: Any, algorithm: str = "sha256") -> str:
    digest = hashlib.sha256(canonical_json(value).encode()).hexdigest()
    return f"[redacted {algorithm}:{digest}]"


def privacy(*pointers: str, **members: Any) -> dict[str, Any]:
    """An atlas of nothing but one policy that redacts."""
    parameters = {"redact": list(pointers), **members.pop("parameters", {})}
    one = policy("privacy", members.pop("kind", "deny"), parameters=parameters, **members)
    return manifest(atlas_id="com.example.privacy", policies=[one])


def fail(parameters: Any) -> Any:
    raise ValueError(SECRET)


SHOP = manifest(
    actions=[action("order.read"), action("order.refund")],
    policies=[policy("all", "allow"), policy("ask", "require_approval", actions=["order.refund"])],
)


class House:
    """A resolver with the shop, a privacy atlas and one session."""

    def __init__(self, *atlases: dict[str, Any], goal: str = SECRET, **options: Any) -> None:
        self.storage = MemoryStorage()
        options.setdefault("storage", self.storage)
        self.clock = options.pop("clock", None) or FakeClock()
        self.resolver = Resolver(clock=self.clock, ids=SequentialIds(), **options)
        for one in (SHOP, *atlases):
            self.resolver.load_atlas(one)
        self.resolver.register_executor("order.read", fail)
        self.session_id = self.resolver.create_session("bot-1", goal)

    def resolve(self, goal: str = SECRET, **options: Any) -> Any:
        return self.resolver.resolve(self.session_id, goal, **options)

    def execute(self, action_id: str = "order.read", **options: Any) -> Any:
        resolution_id = self.resolve(**options).resolution_id
        return self.resolver.execute(self.session_id, resolution_id, action_id, {})

    def payloads(self, event_type: str, session_id: str | None = None) -> list[dict[str, Any]]:
        events = self.resolver.get_trace(session_id or self.session_id)
        return [event.payload for event in events if event.event_type == event_type]

    def text(self) -> str:
        """All that was stored, of every session, and that all of it verifies."""
        lines = {name: list(self.storage.iter_lines(name)) for name in self.storage.sessions()}
        assert all(verify_lines(those).valid for those in lines.values())
        return b"".join(line for those in lines.values() for line in those).decode()


def live(house: House) -> None:
    """Do everything of which a caller's words are recorded."""
    resolver, session_id = house.resolver, house.session_id
    context = {"customer": {"email": SECRET, "tags": [SECRET, "x"]}, "note": SECRET}
    assert house.execute(context=context).status == "error"
    asked = house.execute("order.refund").error["details"]["approval_id"]
    resolver.grant_approval(asked, approver=SECRET, reason=SECRET)
    again = resolver.execute(session_id, house.resolve().resolution_id, "order.refund", {"n": 1})
    resolver.refuse_approval(again.error["details"]["approval_id"], approver=SECRET, reason=SECRET)
    resolver.emit(session_id, "app.note", {"text": SECRET, "deep": [{"text": SECRET}]})
    with pytest.raises(InvalidInput):
        resolver.resolve(session_id, "fine", context={SECRET: float("nan")})
    with pytest.raises(InvalidInput):
        resolver.resolve_request({SECRET: 1})
    resolver.end_session(session_id)
    resolver.close()


ALL = [
    *("/goal", "/context", "/error_message", "/approver", "/reason", "/message", "/pointer"),
    *("/text", "/deep/0/text"),
]


# PROTOCOL 3.9.1, 3.9.6
@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("tracing", ["immediate", "deferred"])
def test_nothing_that_a_policy_takes_out_is_stored_and_the_chain_verifies(tracing: Any, hashed: bool) -> None:
    house = House(privacy(*ALL, parameters={"redact_hash": hashed}), tracing=tracing)
    live(house)
    text = house.text()
    assert SECRET not in text and ESCAPED not in text and "S3CR" not in text
    assert ("sha256:" in text) is hashed


def test_without_such_a_policy_all_of_it_is_stored() -> None:
    house = House()
    live(house)
    assert house.text().count("S3CR") > 10
    assert '"redacted"' not in house.text()


def test_the_drained_text_never_holds_the_original() -> None:
    house = House(privacy(*ALL), tracing="deferred", storage=None)
    house.resolve(context={"a": SECRET})
    with pytest.raises(InvalidInput):
        house.resolve(context={SECRET: float("nan")})
    records = house.resolver._buffer._records  # type: ignore[union-attr]
    assert not any(SECRET in repr(record.argument) for record in records)
    batch = house.resolver.drain_traces(1000)
    assert batch.count > 5
    assert b"S3CR" not in batch.data


# PROTOCOL 3.9.2
def test_a_mark_stands_for_each_member_and_its_pointer_is_listed() -> None:
    house = House(privacy("/goal", "/context/customer/email", "/context/customer/tags/0", "/none"))
    house.resolve(context={"customer": {"email": SECRET, "tags": [SECRET, "x"]}, "region": "eu"})
    (received,) = house.payloads("carp.request.received")
    assert received["goal"] == MARK
    assert received["context"] == {"customer": {"email": MARK, "tags": [MARK, "x"]}, "region": "eu"}
    assert received["redacted"] == ["/context/customer/email", "/context/customer/tags/0", "/goal"]
    (started,) = house.payloads("session.started")
    assert (started["goal"], started["redacted"]) == (MARK, ["/goal"])


# PROTOCOL 3.9.4
def test_the_hash_is_the_sessions_hash_of_the_originals_canonical_text() -> None:
    house = House(privacy("/goal", "/context/a", parameters={"redact_hash": True}))
    house.resolve(context={"a": {"y": 1.0, "x": SECRET}})
    (received,) = house.payloads("carp.request.received")
    assert received["goal"] == hash_mark(SECRET)
    assert received["context"] == {"a": hash_mark({"x": SECRET, "y": 1})}


def test_the_hash_follows_the_sessions_algorithm() -> None:
    blake3 = pytest.importorskip("blake3")
    house = House(privacy("/goal", parameters={"redact_hash": True}), hash_algorithm="blake3")
    digest = blake3.blake3(canonical_json(SECRET).encode()).hexdigest()
    assert house.payloads("session.started")[0]["goal"] == f"[redacted blake3:{digest}]"
    house.resolve()
    assert house.payloads("carp.request.received")[0]["goal"] == f"[redacted blake3:{digest}]"
    assert house.resolver.verify_chain(house.session_id).valid


# PROTOCOL 3.9.5
def test_one_policy_that_wants_no_hash_is_enough_for_none() -> None:
    atlas = privacy("/goal", parameters={"redact_hash": True})
    atlas["policies"].append(policy("stricter", "allow", parameters={"redact": ["/goal"]}))
    assert House(atlas).payloads("session.started")[0]["goal"] == MARK
    atlas["policies"].reverse()
    assert House(atlas).payloads("session.started")[0]["goal"] == MARK


# PROTOCOL 3.9.3
def test_what_stands_inside_a_redacted_member_goes_with_it() -> None:
    house = House(privacy("/context/a/b", "/context/a", "/context", parameters={"redact_hash": True}))
    house.resolve(context={"a": {"b": SECRET}})
    (received,) = house.payloads("carp.request.received")
    assert received["context"] == hash_mark({"a": {"b": SECRET}})
    assert received["redacted"] == ["/context"]


def test_events_without_the_member_stay_as_they_are() -> None:
    plain, house = House(), House(privacy("/none", "/context/none/deeper", "/goal/x"))
    for one in (plain, house):
        one.resolve(context={"none": "text", "list": [1]})
    assert house.payloads("carp.request.received") == plain.payloads("carp.request.received")


@pytest.mark.parametrize(
    "pointer", ["/list/2", "/list/01", "/list/-", "/list/-1", "/list/99999999", "/list/\u0661"]
)
def test_an_index_that_a_list_has_not_is_skipped(pointer: str) -> None:
    house = House(privacy(pointer))
    house.resolver.emit(house.session_id, "app.note", {"list": [1, 2]})
    assert house.payloads("app.note") == [{"list": [1, 2]}]


def test_names_in_pointers_are_unescaped() -> None:
    house = House(privacy("/a~1b/~0", "/"))
    house.resolver.emit(house.session_id, "app.note", {"a/b": {"~": 1}, "": 2, "c": 3})
    assert house.payloads("app.note") == [
        {"a/b": {"~": MARK}, "": MARK, "c": 3, "redacted": ["/", "/a~1b/~0"]}
    ]


@pytest.mark.parametrize("kind", ["allow", "deny", "rate_limit", "require_approval", "budget", "scope"])
def test_a_policy_of_any_type_may_redact(kind: str) -> None:
    parameters = {
        "rate_limit": {"max_calls": 9, "window_seconds": 9},
        "budget": {"max_calls": 9},
        "scope": {"actions": ["*"]},
    }.get(kind, {})
    atlas = privacy("/goal", kind=kind, parameters=parameters)
    assert House(atlas).payloads("session.started")[0]["redacted"] == ["/goal"]


def test_how_a_policy_redacts_is_not_told_to_the_agent() -> None:
    atlas = manifest(
        actions=[action("order.read")],
        policies=[
            policy("all", "allow"),
            policy(
                "few",
                "rate_limit",
                parameters={"max_calls": 9, "window_seconds": 9, "redact": ["/goal"], "redact_hash": True},
            ),
        ],
    )
    resolver = Resolver()
    resolver.load_atlas(atlas)
    (constraint,) = resolver.resolve(resolver.create_session("bot-1", "g"), "g").to_dict()["constraints"]
    assert constraint["parameters"] == {"max_calls": 9, "window_seconds": 9, "actions": ["order.read"]}


# Which policies count


def is_redacted(conditions: dict[str, Any], **facts: Any) -> bool:
    house = House(privacy("/goal", conditions=conditions, actions=["none.such"]), goal="g")
    house.resolve(**facts)
    return "redacted" in house.payloads("carp.request.received")[0]


# PROTOCOL 3.9.9
@pytest.mark.parametrize(
    ("conditions", "facts", "redacts"),
    [
        ({"agents": ["bot-*"]}, {}, True),
        ({"agents": ["human"]}, {}, False),
        ({"context_matches": {"region": "eu"}}, {"context": {"region": "eu"}}, True),
        ({"context_matches": {"region": "eu"}}, {"context": {"region": "us"}}, False),
        ({"context_matches": {"region": "eu"}}, {"context": {"region": ["us"]}}, True),
        ({"context_matches": {"region": "eu"}}, {}, True),
        ({"time_window": {"start": "11:00", "end": "13:00"}}, {}, True),
        ({"time_window": {"start": "13:00", "end": "14:00"}}, {}, False),
        ({"time_window": {"start": "13:00", "end": "14:00", "timezone": "Mars/Olympus"}}, {}, True),
        ({"risk_tiers": ["low"]}, {"risk_tier": "medium"}, False),
        ({"risk_tiers": ["high"]}, {"risk_tier": "low"}, True),
        ({"risk_tiers": ["high"]}, {"risk_tier": "high"}, True),
        ({"risk_tiers": []}, {}, False),
    ],
)
def test_a_policy_counts_unless_it_is_certain_that_it_does_not_apply(
    conditions: dict[str, Any], facts: dict[str, Any], redacts: bool
) -> None:
    assert is_redacted(conditions, **facts) is redacts


# PROTOCOL 3.9.12
@pytest.mark.parametrize(
    ("conditions", "redacts"),
    [
        ({"agents": ["bot-*"]}, True),
        ({"agents": ["human"]}, False),
        ({"context_matches": {"region": "eu"}}, True),
        ({"risk_tiers": ["critical"]}, True),
        ({"time_window": {"start": "13:00", "end": "14:00"}}, False),
    ],
)
def test_of_an_event_that_belongs_to_no_request_only_agent_and_time_are_told(
    conditions: dict[str, Any], redacts: bool
) -> None:
    house = House(privacy("/goal", "/text", conditions=conditions))
    house.resolver.emit(house.session_id, "app.note", {"text": "t"})
    assert ("redacted" in house.payloads("session.started")[0]) is redacts
    assert ("redacted" in house.payloads("app.note")[0]) is redacts


# PROTOCOL 3.9.10
def test_an_agent_cannot_choose_its_redaction_by_the_atlases_that_it_names() -> None:
    house = House(privacy("/goal"))
    house.resolve(atlas_ids=["com.example.shop"])
    assert house.payloads("carp.request.received")[0]["goal"] == MARK


def test_a_plan_is_asked_again_when_a_window_of_its_redaction_has_moved() -> None:
    clock = FakeClock(at("2026-11-27T08:50:00+00:00"))
    window = {"time_window": {"start": "09:00", "end": "10:00"}}
    house = House(privacy("/goal", conditions=window), goal="g", clock=clock)
    told = []
    for minutes in (0, 5, 10, 60):
        clock.advance(minutes * 60.0)
        resolution = house.resolve(atlas_ids=["com.example.shop"])
        assert resolution.to_dict()["decision"]["expires_at"] is None
        told.append(house.payloads("carp.request.received")[-1]["goal"])
    assert told == [SECRET, SECRET, MARK, SECRET]


def test_a_resolution_that_is_taken_again_is_redacted_as_the_policies_say_now() -> None:
    house = House(goal="g")
    first = house.resolve(reuse=True, context={"a": SECRET})
    house.resolver.load_atlas(privacy("/goal", "/context/a"))
    for _ in range(2):
        last = house.resolve(reuse=True, context={"a": SECRET})
    told = [(one["goal"], one["context"]["a"]) for one in house.payloads("carp.request.received")]
    assert told == [(SECRET, SECRET), (MARK, MARK), (MARK, MARK)]
    assert (last.resolution_id == first.resolution_id, len(house.payloads("carp.resolution.cached"))) in (
        (True, 2),
        (False, 1),
    )


# PROTOCOL 3.9.11
def test_a_call_is_redacted_as_its_resolution_was() -> None:
    house = House(goal="g")
    before = house.resolve().resolution_id
    house.resolver.load_atlas(privacy("/goal", "/error_message"))
    after = house.resolve().resolution_id
    for resolution_id in (before, after):
        house.resolver.execute(house.session_id, resolution_id, "order.read", {})
    received = [one for one in house.payloads("carp.request.received") if one["operation"] == "execute"]
    assert [one["goal"] for one in received] == ["g", MARK]
    assert [one["error_message"] for one in house.payloads("action.failed")] == [
        f"ValueError: {SECRET}",
        MARK,
    ]


# PROTOCOL 3.9.13
@pytest.mark.parametrize("hashed", [False, True])
def test_a_sessions_redacted_goal_is_kept_nowhere_and_stays_redacted(hashed: bool) -> None:
    house = House(privacy("/goal", parameters={"redact_hash": hashed}))
    house.resolver.unload_atlas("com.example.privacy")
    session = house.resolver._sessions._running[house.session_id]
    assert SECRET not in session.goal
    house.execute()
    house.resolver.load_atlas(privacy("/goal"))
    house.execute()
    calls = [one for one in house.payloads("carp.request.received") if one["operation"] == "execute"]
    assert [(one["goal"], one["redacted"]) for one in calls] == [
        (hash_mark(SECRET) if hashed else MARK, ["/goal"])
    ] * 2


def test_a_goal_of_the_callers_own_is_no_redacted_one(request_of: Any) -> None:
    house = House(privacy("/goal"))
    house.resolver.unload_atlas("com.example.privacy")
    call = {"resolution_id": house.resolve().resolution_id, "action_id": "order.read", "parameters": {}}
    requester = {"agent_id": "bot-1", "session_id": house.session_id}
    house.resolver.resolve_request(
        request_of(house, operation="execute", execution=call, requester=requester, task={"goal": "now"})
    )
    received = house.payloads("carp.request.received")[-1]
    assert (received["goal"], "redacted" in received) == ("now", False)


def test_what_was_redacted_before_stays_listed_and_the_runtimes_other_members_stay() -> None:
    removals = (Removal("/context", ("context",), False), Removal("/goal", ("goal",), True))
    before = '{"context":1,"goal":"[redacted]","redacted":["/goal"]}'
    after = '{"context":"[redacted]","goal":"[redacted]","redacted":["/context","/goal"]}'
    untouched = ("action.executed", '{"context":1}')
    texts = [("carp.request.received", before), untouched]
    assert redacted_texts(texts, removals, "sha256") == [("carp.request.received", after), untouched]
    assert redacted_texts(texts, None, "sha256") is texts


def test_a_redacted_record_weighs_what_is_left_of_it() -> None:
    context = {"a": "x" * 100_000, "b": "y" * 10_000}
    weights = []
    for pointers in ((), ("/context/a",), ("/context",)):
        house = House(privacy(*pointers), tracing="deferred", storage=None)
        house.resolve("g", context=context)
        weights.append(house.resolver._buffer._records[-1].weight)  # type: ignore[union-attr]
    assert [weights[0] - weights[1], weights[1] - weights[2]] == [98, 9]


def test_errors_outside_any_session_are_redacted_for_whatever_agent() -> None:
    house = House(privacy("/message", "/pointer", conditions={"agents": ["nobody"]}))
    with pytest.raises(InvalidInput):
        house.resolver.resolve_request({SECRET: 1})
    with pytest.raises(InvalidInput):
        house.resolver.resolve(house.session_id, "g", context={SECRET: float("nan")})
    house.resolver.close()
    errors = [one.payload for one in house.storage.get_events(event_type="error.occurred")]
    assert [one["message"] == MARK for one in errors] == [True, False]


# PROTOCOL 3.9.14
def test_an_approvals_words_stay_with_its_caller() -> None:
    house = House(privacy("/approver", "/reason"))
    asked = house.execute("order.refund").error["details"]["approval_id"]
    told = house.resolver.grant_approval(asked, approver="ann", reason="fine")
    assert (told["approver"], told["reason"]) == ("ann", "fine")
    (granted,) = house.payloads("approval.granted")
    assert (granted["approver"], granted["reason"], granted["redacted"]) == (
        MARK,
        MARK,
        ["/approver", "/reason"],
    )


# A host's own events


# PROTOCOL 3.9.7
def test_a_host_cannot_list_redactions_of_its_own_beside_those_of_a_policy() -> None:
    house = House(privacy("/text"))
    with pytest.raises(InvalidInput) as caught:
        house.resolver.emit(house.session_id, "app.note", {"text": SECRET, "redacted": ["/other"]})
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_payload", "/payload/redacted")
    assert SECRET not in str(caught.value)
    house.resolver.emit(house.session_id, "app.note", {"redacted": ["/other"]})
    assert house.payloads("app.note") == [{"redacted": ["/other"]}]


def test_marks_that_make_a_payload_too_long_refuse_the_event() -> None:
    pointers = [f"/list/{number}" for number in range(100)]
    house = House(privacy(*pointers, parameters={"redact_hash": True}))
    long = {"list": [0] * 100, "text": "x" * 999_000}
    with pytest.raises(InvalidInput) as caught:
        house.resolver.emit(house.session_id, "app.note", long)
    assert caught.value.code == "invalid_payload"
    context = {"list": [0] * 100, "text": "x" * 939_000}
    assert house.resolve(context=context).resolution_id
    assert house.resolver.verify_chain(house.session_id).valid


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab~/", max_size=2),
    lambda inner: st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3),
    max_leaves=8,
)
POINTERS = st.lists(st.text("ab~/", max_size=2), min_size=1, max_size=3).map(
    lambda parts: "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
)


@given(
    payload=st.dictionaries(st.text("ab~/", max_size=2), JSON, max_size=4),
    pointers=st.lists(POINTERS, min_size=1, max_size=4, unique=True),
    hashed=st.booleans(),
)
def test_any_payload_is_redacted_as_the_reference_does_it(
    payload: dict[str, Any], pointers: list[str], hashed: bool
) -> None:
    house = House(privacy(*pointers, parameters={"redact_hash": hashed}), goal="g")
    house.resolver.emit(house.session_id, "app.note", payload)
    expected = payload_without("app.note", payload, dict.fromkeys(pointers, hashed))
    assert house.payloads("app.note") == [expected]
    house.text()


# PROTOCOL 3.9.5
@pytest.mark.parametrize("part", ["/context/email", "/context/email/at"])
def test_a_whole_gets_no_hash_where_a_part_of_it_must_not_have_one(part: str) -> None:
    whole = privacy("/context", "/context/other", parameters={"redact_hash": True})
    plain = manifest(
        atlas_id="com.example.plain", policies=[policy("p", "deny", parameters={"redact": [part]})]
    )
    house = House(whole, plain)
    house.resolve(context={"email": {"at": SECRET}})
    assert house.payloads("carp.request.received")[-1]["context"] == MARK


# PROTOCOL 3.9.15
@pytest.mark.parametrize(
    ("refused", "pointer"),
    [
        (lambda house: house.resolve(context={"customer": {SECRET: 2**60}}), "/context/customer"),
        (
            lambda house: house.resolver.resolve_request(
                {"context": {"customer": {SECRET: json.loads("[" * 64 + "]" * 64)}}}
            ),
            "/context/customer",
        ),
        (
            lambda house: house.resolver.emit(house.session_id, "app.note", {"text": {SECRET: 2**60}}),
            "/payload/text",
        ),
        (
            lambda house: house.resolver.resolve_request(
                '{"context": {"customer": {"S3CRET": 1, "S3CRET": 2}}}'
            ),
            "",
        ),
        (lambda house: house.resolve(context={"fine": 2**60}), "/context/fine"),
    ],
)
def test_a_recorded_error_names_nothing_inside_what_goes(refused: Any, pointer: str) -> None:
    house = House(privacy("/context/customer", "/text", "/goal"))
    with pytest.raises(InvalidInput) as caught:
        refused(house)
    assert caught.value.details["pointer"].startswith(pointer)  # who asked is told all of it
    assert "S3CR" not in house.text()
    (told,) = [
        one for one in map(json.loads, house.text().splitlines()) if one["event_type"] == "error.occurred"
    ]
    assert told["payload"]["pointer"] == pointer


# At load


# PROTOCOL 3.9.8
@pytest.mark.parametrize(
    "pointer", ["", *(f"/{name}" for name in sorted(UNREDACTABLE)), "/action_id/x", "/redacted/0"]
)
def test_what_verification_and_replay_need_is_refused_at_load(pointer: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver().load_atlas(privacy("/goal", pointer))
    (finding,) = caught.value.details["findings"]
    assert (finding["code"], finding["pointer"]) == ("unredactable", "/policies/0/parameters/redact/1")


# PROTOCOL 0.3.15
@pytest.mark.parametrize(
    "parameters",
    [
        {"redact": ["goal"]},
        {"redact": ["/a~2"]},
        {"redact": "/goal"},
        {"redact": ["/" + "x" * 255]},
        {"redact": ["/goal"] * 101},
        {"redact": [7]},
        {"redact_hash": True},
        {"redact": ["/goal"], "redact_hash": "yes"},
    ],
)
def test_a_redaction_of_wrong_form_is_refused_at_load(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver().load_atlas(manifest(policies=[policy("p", "allow", parameters=parameters)]))
    assert caught.value.code == "invalid_atlas"


def test_every_member_of_every_event_can_go_or_is_refused() -> None:
    """The two lists cover all that the runtime records, so that no pointer into it is in vain."""
    timers = MockTimerBackend(clock := FakeClock())
    config = SessionTTLConfig(idle_timeout_seconds=100, idle_warning_seconds=50)
    beats = HeartbeatConfig(interval_seconds=10)
    house = House(
        goal="g", tracing="deferred", clock=clock, timers=timers, heartbeat=beats, session_ttl=config
    )
    timers.advance(60_000)
    clock.step_wall(5)
    live(house)
    every = [json.loads(line) for name in house.storage.sessions() for line in house.storage.iter_lines(name)]
    assert {"session.idle", "clock.step", "runtime.heartbeat"} <= {event["event_type"] for event in every}
    for event in every:
        if not event["event_type"].startswith("app."):
            known = UNREDACTABLE | frozenset().union(*REDACTABLE.values())
            assert set(event["payload"]) <= known, event["event_type"]


# What it costs


def test_a_plan_without_redaction_has_none() -> None:
    planner = planner_of(SHOP)
    assert planner.redactor is None
    assert planner.plan_for("bot-1", planner.agent_kind("bot-1"), "low", None, 0).redaction is None
    assert redactor_of([]) is None


def test_paths_are_read_as_rfc_6901_says() -> None:
    assert path_of("/a~1b/m~0n/~01//0") == ("a/b", "m~n", "~1", "", "0")


# PROTOCOL 0.3.16
def test_a_resolve_with_the_longest_context_verifies() -> None:
    house = House(goal="g")
    house.resolve("\x01" * 10_000, context={"a": "x" * 939_000})
    with pytest.raises(InvalidInput) as caught:
        house.resolve(context={"a": "x" * 939_999})
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_context", "/context")
    assert house.resolver.verify_chain(house.session_id).valid
    assert verify_lines(read_lines(io.BytesIO(house.text().encode()))).valid
