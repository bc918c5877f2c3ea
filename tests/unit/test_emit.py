"""Events of the host's own: frozen at once, and never mistaken for the runtime's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cra_wasm import BufferFull, InvalidInput, InvalidState, NotFound

NAN = float("nan")
DEEP: Any = []
for _ in range(100):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "event_type",
    [
        "",
        "app",
        ".app",
        "app.",
        "app..x",
        "App.x",
        "app.X",
        "app.x1",
        "app x.y",
        "app.x\n",
        "äpp.x",
        "app.é",
        "_app.x",
        "a." + "x" * 99,
        None,
        7,
        ["app.x"],
        b"app.x",
    ],
)
def test_an_event_type_of_another_form_is_refused(rig: Any, event_type: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.emit(rig.session_id, event_type, {})
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_event_type", "/event_type")
    assert rig.types() == ["session.started", "error.occurred"]


@pytest.mark.parametrize(
    "prefix", "session carp action policy context approval runtime clock trace error".split()
)
@pytest.mark.parametrize("rest", ["x", "started", "a.b"])
def test_the_prefixes_of_the_protocol_are_reserved(rig: Any, prefix: str, rest: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.emit(rig.session_id, f"{prefix}.{rest}", {})
    assert caught.value.code == "reserved_event_type"
    assert rig.types() == ["session.started", "error.occurred"]


@pytest.mark.parametrize("payload", [None, [], "{}", 1, [("a", 1)]])
def test_a_payload_that_is_no_object_is_refused(rig: Any, payload: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.emit(rig.session_id, "app.x", payload)
    assert (caught.value.code, caught.value.details["pointer"]) == ("invalid_payload", "/payload")


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (NAN, "/payload/v"),
        (float("inf"), "/payload/v"),
        (2**53, "/payload/v"),
        (-(2**53), "/payload/v"),
        ("\ud800", "/payload/v"),
        ({1: 2}, "/payload/v"),
        ({"\udfff": 2}, "/payload/v"),
        ([1, {"a/b~c": b"x"}], "/payload/v/1/a~1b~0c"),
        ({1, 2}, "/payload/v"),
        (object(), "/payload/v"),
        (DEEP, "/payload/v" + "/0" * 63),
    ],
)
def test_what_is_no_i_json_is_refused_with_its_pointer(rig: Any, value: Any, pointer: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.emit(rig.session_id, "app.x", {"v": value})
    assert (caught.value.code, caught.value.details["pointer"]) == ("not_canonical", pointer)
    assert rig.types() == ["session.started", "error.occurred"]
    assert rig.resolver.verify_chain(rig.session_id).valid


# PROTOCOL 0.3.9
def test_a_payload_too_long_is_refused(rig: Any) -> None:
    rig.resolver.emit(rig.session_id, "app.x", {"v": "x" * (1_000_000 - 8)})
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.emit(rig.session_id, "app.x", {"v": "x" * (1_000_000 - 7)})
    assert caught.value.code == "invalid_payload"


def test_a_payload_that_holds_itself_is_refused(rig: Any) -> None:
    payload: dict[str, Any] = {}
    payload["self"] = payload
    with pytest.raises(InvalidInput) as caught:
        rig.resolver.emit(rig.session_id, "app.x", payload)
    assert caught.value.code == "not_canonical"


def test_an_event_stands_under_the_session_with_its_payload(rig: Any) -> None:
    payload = {"z": [1.0, True, None], "a": "é\n\x1f", "😀": {}}
    raw = rig.resolver.emit(rig.session_id, "myapp.clicked_twice", payload)
    started, event = rig.events()
    assert (event.event_type, event.payload) == ("myapp.clicked_twice", payload)
    assert event.payload_json == '{"a":"é\\n\\u001f","z":[1,true,null],"😀":{}}'
    assert (event.parent_span_id, event.trace_id) == (started.span_id, started.trace_id)
    assert (raw.session_id, raw.first_sequence, raw.count) == (rig.session_id, 1, 1)


def test_a_payload_is_frozen_when_it_is_emitted(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred")
    payload = {"list": [1]}
    rig.resolver.emit(rig.session_id, "app.x", payload)
    payload["list"].append(2)
    payload["late"] = True
    assert rig.resolver.drain_traces(9).data.endswith(b'\x1f{"list":[1]}\n')


def test_the_session_must_run(rig: Any) -> None:
    with pytest.raises(NotFound):
        rig.resolver.emit("01940d23-3a00-7000-8000-0000ffff0001", "app.x", {})
    rig.resolver.end_session(rig.session_id)
    with pytest.raises(InvalidState) as caught:
        rig.resolver.emit(rig.session_id, "app.x", {})
    assert caught.value.code == "session_ended"
    assert rig.types() == ["session.started", "session.ended"]


def test_a_full_buffer_refuses_an_event_and_gives_its_number_to_the_next(new_rig: Callable[..., Any]) -> None:
    rig = new_rig(tracing="deferred", capacity=16)
    for number in range(15):
        rig.resolver.emit(rig.session_id, "app.x", {"n": number})
    with pytest.raises(BufferFull):
        rig.resolver.emit(rig.session_id, "app.x", {"n": 15})
    rig.resolver.ack(rig.resolver.drain_traces(99).batch_id)
    assert rig.resolver.emit(rig.session_id, "app.x", {"n": 16}).first_sequence == 16
