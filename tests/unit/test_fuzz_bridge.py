"""Fuzzing: whatever JavaScript gives the bridge, text comes back that is JSON, and errors in it.

On CPython stand-ins take the place of what the bridge imports from JavaScript; in Pyodide it is real.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .breaking import ANY_JSON, TEXTS, broken, small_shop, tell

INSIDE_PYODIDE = sys.platform == "emscripten"
IMPORTED = ("cra_wasm.bridge", "cra_wasm.platform.javascript")


class _Array(list[Any]):
    new = classmethod(lambda cls: cls())
    push = list.append


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if not INSIDE_PYODIDE:
        js, pyodide, ffi = ModuleType("js"), ModuleType("pyodide"), ModuleType("pyodide.ffi")
        parse = SimpleNamespace(parse=lambda text: SimpleNamespace(**json.loads(text)))
        vars(js).update(JSON=parse, Array=_Array)
        vars(ffi).update(
            JsException=type("JsException", (Exception,), {}), to_js=bytes, create_once_callable=id
        )
        for module in (js, pyodide, ffi):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        for name in IMPORTED:
            monkeypatch.delitem(sys.modules, name, raising=False)
    bridge = importlib.import_module("cra_wasm.bridge")
    yield bridge
    bridge.close()
    if not INSIDE_PYODIDE:
        for name in IMPORTED:
            sys.modules.pop(name, None)


def spoken(text: Any) -> Any:
    """Return the value of an answer, which must be JSON that JavaScript can take."""
    assert isinstance(text, str)
    text.encode()
    return json.loads(text)


def run(coroutine: Any) -> Any:
    """Return what a coroutine returns that has nothing to wait for."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


ARGUMENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        name: ANY_JSON for name in ("parameters", "idempotency_key", "granted", "approver", "uses", "reason")
    },
)


@pytest.mark.timeout(900)
@settings(settings.get_profile("medium"), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_answer_of_the_bridge_is_json(bridge: Any, data: st.DataObject) -> None:
    bridge.close()
    spoken(bridge.load_atlas(json.dumps(small_shop())))
    session_id = spoken(bridge.create_session("bot", "goal"))["session_id"]
    resolution_id = spoken(bridge.resolve(session_id, "look"))["resolution_id"]
    given_ = {
        "session_id": session_id,
        "resolution_id": resolution_id,
        "action_id": "order.read",
        "parameters": {},
    }
    options = {"required_capabilities": [], "context_hints": ["a"], "atlas_ids": None, "context": {"a": 1}}
    value = ANY_JSON
    text = value.map(json.dumps) | TEXTS
    one, two, three = data.draw(value), data.draw(value), data.draw(value)
    calls = {
        "load_atlas": lambda: bridge.load_atlas(
            data.draw(text | broken(st.just(small_shop())).map(json.dumps))
        ),
        "create_session": lambda: bridge.create_session(one, two, three),
        "resolve": lambda: bridge.resolve(session_id, one, two),
        "options": lambda: bridge.resolve(
            session_id, "g", "low", json.dumps(data.draw(broken(st.just(options))))
        ),
        "request": lambda: bridge.resolve_request(data.draw(text)),
        "validate": lambda: bridge.validate(data.draw(text)),
        "get_atlas": lambda: bridge.get_atlas(one),
        "loading options": lambda: bridge.load_atlas(data.draw(text), data.draw(text)),
        "nest": lambda: bridge.create_session("bot", "goal", "", data.draw(st.just(session_id) | value)),
        "refuse_durable": lambda: bridge.refuse_durable(one, data.draw(text)),
        "explain": lambda: bridge.explain(one, two),
        "execute": lambda: run(bridge._execute(json.dumps(data.draw(broken(st.just(given_)))))),
        "more": lambda: run(bridge._execute(json.dumps({**given_, **data.draw(ARGUMENTS)}))),
        "approve": lambda: bridge.decide_approval(json.dumps({"approval_id": "a", **data.draw(ARGUMENTS)})),
        "approve anything": lambda: bridge.decide_approval(data.draw(text)),
        "emit": lambda: bridge.emit(session_id, data.draw(st.just("app.x") | value), data.draw(text)),
        "approvals": lambda: bridge.list_approvals(one),
        "end": lambda: bridge.end_session(data.draw(st.just(session_id) | value), two),
        "unload": lambda: bridge.unload_atlas(one),
        "unregister": lambda: bridge.unregister_executor(one),
        "pressure": lambda: bridge.on_pressure(one),
    }
    for name in data.draw(st.lists(st.sampled_from(list(calls)), min_size=1, max_size=4)):
        spoken(tell(calls[name]))
    spoken(bridge.statistics())


@pytest.mark.timeout(900)
@settings(settings.get_profile("medium"), suppress_health_check=list(HealthCheck))
@given(most=ANY_JSON | st.integers(0, 9), batch_id=ANY_JSON)
def test_no_number_of_events_or_of_a_batch_breaks_the_bridge(bridge: Any, most: Any, batch_id: Any) -> None:
    bridge.close()
    spoken(bridge.create_session("bot", "goal"))
    batch = tell(lambda: bridge.drain_traces(most))
    assert hasattr(batch, "bytes") or batch.error
    assert tell(lambda: bridge.ack(batch_id)) in (True, False)
    assert bridge.pending_events() >= 0
