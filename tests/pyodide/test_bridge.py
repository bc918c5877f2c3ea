"""`cra_wasm.bridge` as JavaScript sees it: strings in, JSON out, no proxy left behind."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ATLAS = (Path(__file__).resolve().parents[2] / "examples/atlases/customer-support.atlas.json").read_text()

OPEN_BRIDGE = f"""
const bridge = pyodide.pyimport("cra_wasm.bridge");
const call = (name, ...args) => JSON.parse(bridge[name](...args));
call("load_atlas", {json.dumps(ATLAS)});
const session = call("create_session", "demo-agent", "answer tickets").session_id;
const resolution = call("resolve", session, "refund order 1234");
const execute = async (actionId, parameters, more = {{}}) => JSON.parse(await bridge.execute(JSON.stringify({{
  session_id: session, resolution_id: resolution.resolution_id, action_id: actionId, parameters, ...more,
}})));
"""


@pytest.fixture
def bridge(selenium_module_scope: Any) -> Iterator[Any]:
    """Run JavaScript with an open bridge; the bridge is closed afterwards."""
    selenium_module_scope.load_package("cra-wasm")
    yield lambda body: selenium_module_scope.run_js(OPEN_BRIDGE + body)
    selenium_module_scope.run_js('pyodide.pyimport("cra_wasm.bridge").close(); return null;')


def test_a_resolution_crosses_as_the_protocol_s_json(bridge: Any) -> None:
    resolution = bridge("return resolution;")
    assert resolution["decision"]["type"] == "partial"
    assert "order.read" in [action["action_id"] for action in resolution["allowed_actions"]]
    assert {"action_id": "refund.create", "reason": "requires_approval", "policy_id": "approve-refunds"} in (
        resolution["denied_actions"]
    )


def test_a_package_crosses_as_the_bytes_of_its_zip(bridge: Any) -> None:
    action = {"action_id": "a.b", "name": "A", "description": ""}
    whole = {
        "atlas_version": "1.0",
        "atlas_id": "com.example.zip",
        "version": "1.0.0",
        "name": "Zip",
        "description": "",
        "context_packs": [{"pack_id": "rules", "name": "Rules", "files": ["context/a.md"]}],
        "policies": [{"policy_id": "p", "type": "requires_approval"}],
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("atlas.json", json.dumps(whole))
        archive.writestr("context/a.md", "be kind")
        archive.writestr("actions/a.json", json.dumps(action))
    strict, lenient, listed, atlas, blocks = bridge(
        f"""
        const bytes = new Uint8Array({list(buffer.getvalue())});
        const strict = call("load_atlas", bytes);
        const lenient = call("load_atlas", bytes.buffer, '{{"strict":false}}');
        const atlas = call("get_atlas", "com.example.zip");
        const options = JSON.stringify({{ atlas_ids: ["com.example.zip"] }});
        const blocks = call("resolve", session, "x", "low", options).context_blocks;
        return [strict, lenient, call("list_atlases")[1], atlas, blocks];
        """
    )
    assert strict["error"]["details"]["findings"][0]["file"] == "atlas.json"
    assert (lenient["actions"], lenient["context_packs"]) == (1, 1)
    assert [one["pointer"] for one in lenient["warnings"]] == ["/policies/0/type"]
    assert listed == lenient
    assert atlas == {
        **whole,
        "policies": [{"policy_id": "p", "type": "require_approval"}],
        "actions": [action],
        "context_blocks": [],
        "capabilities": [],
    }
    assert [one["block_id"] for one in blocks] == ["rules/a.md"]


def test_bytes_that_are_no_zip_are_json_and_other_things_are_refused(bridge: Any) -> None:
    codes = bridge(
        """
        const loaded = call("get_atlas", call("list_atlases")[0].atlas_id);
        const text = unescape(encodeURIComponent(JSON.stringify(loaded)));
        const json = Uint8Array.from(text, (char) => char.charCodeAt(0));
        const ask = (...args) => call("load_atlas", ...args).error?.code ?? "loaded";
        const large = new Uint8Array(16 * 1024 * 1024 + 1);
        return [
          ask(json), ask(json.buffer), ask(new Uint8Array(2)), ask(large), ask({}), ask(1), ask(undefined),
          ask("{}", '{"strict":1}'), ask("{}", '{"lenient":true}'), call("get_atlas", "com.none").error.code,
        ];
        """
    )
    assert codes == [
        *("loaded", "loaded", "invalid_atlas"),
        *["invalid_arguments"] * 6,
        "atlas_not_found",
    ]


def test_options_reach_the_resolver(bridge: Any) -> None:
    narrowed = bridge(
        """
        const options = JSON.stringify({ required_capabilities: ["lookup"] });
        return call("resolve", session, "look it up", "low", options);
        """
    )
    assert narrowed["decision"]["type"] == "allow"


@pytest.mark.parametrize(
    ("call", "code", "pointer"),
    [
        ('call("load_atlas", "{")', "invalid_atlas", ""),
        ('call("create_session", "", "goal")', "invalid_agent_id", "/requester/agent_id"),
        ('call("create_session", "agent", "goal", "md5")', "unknown_algorithm", "/hash_algorithm"),
        (
            'call("create_session", "agent", "goal", "", "x")',
            "invalid_id",
            "/requester/parent_session_id",
        ),
        (
            'call("resolve", session, "g", "low", JSON.stringify({reuse: 1}))',
            "invalid_reuse",
            "/reuse",
        ),
        ('call("refuse_durable", "why", "[")', "invalid_arguments", ""),
        ('call("refuse_durable", "why", JSON.stringify(["x"]))', "invalid_id", "/session_ids/0"),
        ('call("resolve", "x", "goal")', "invalid_id", "/requester/session_id"),
        ('call("resolve", session, "")', "invalid_goal", "/task/goal"),
        ('call("resolve", session, "\\ud800")', "invalid_goal", "/task/goal"),
        ('call("resolve", session, "g", "none")', "invalid_risk_tier", "/task/risk_tier"),
        ('call("resolve", session, "g", "low", "[]")', "invalid_arguments", ""),
        ('call("resolve", session, "g", "low", JSON.stringify({nope: 1}))', "invalid_arguments", "/nope"),
        ('call("resolve_request", "{}")', "invalid_request", "/carp_version"),
        ('call("emit", session, "session.started", "{}")', "reserved_event_type", "/event_type"),
        ('call("unload_atlas", "com.example.none")', "atlas_not_found", "/atlas_id"),
        ('call("decide_approval", "{}")', "invalid_arguments", "/approval_id"),
        ('(await execute("order.read", {nope: 1}))', "invalid_parameters", "/execution/parameters/order_id"),
        ('(await execute("no.such", {}))', "action_not_found", "/execution/action_id"),
        ('JSON.parse(await bridge.execute("{"))', "invalid_arguments", ""),
    ],
)
def test_bad_input_answers_with_a_code_and_the_culprit(
    bridge: Any, call: str, code: str, pointer: str
) -> None:
    error = bridge(f"return {call};")["error"]
    assert (error["code"], error["details"]["pointer"]) == (code, pointer)


def test_a_session_gets_blake3_once_its_package_is_loaded_and_no_other_hash_before(
    fresh_pyodide: Any,
) -> None:
    fresh_pyodide.load_package("cra-wasm")
    before, after, groups = fresh_pyodide.run_js(
        """
        const bridge = pyodide.pyimport("cra_wasm.bridge");
        const create = (...args) => JSON.parse(bridge.create_session("agent", "goal", ...args));
        const before = create("blake3").error.code;
        await pyodide.loadPackage("blake3");
        const after = create("blake3").session_id;
        const plain = create("").session_id;
        const groups = bridge.drain_traces(9).groups;
        bridge.close();
        return [before, [after, plain], groups.map(({ session_id, algorithm }) => [session_id, algorithm])];
        """
    )
    assert before == "hash_unavailable"
    assert groups == [[after[0], "blake3"], [after[1], "sha256"]]


def test_a_javascript_function_runs_an_allowed_action(bridge: Any) -> None:
    answer = bridge(
        """
        let seen;
        call("register_executor", "order.read", async (parameters, names) => {
          seen = { parameters: JSON.parse(parameters), names: JSON.parse(names) };
          return JSON.stringify({ status: "delivered" });
        });
        const answer = await execute("order.read", { order_id: "1234" });
        return { answer, seen, session };
        """
    )
    assert answer["answer"]["status"] == "success"
    assert answer["answer"]["result"] == {"status": "delivered"}
    assert answer["seen"]["parameters"] == {"order_id": "1234"}
    assert answer["seen"]["names"]["session_id"] == answer["session"]


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ('async () => { throw new Error("no"); }', "executor_error"),
        ('() => { throw new Error("no"); }', "executor_error"),
        ('async () => "{"', "invalid_result"),
        ("async () => ({})", "invalid_result"),
        ("() => undefined", "invalid_result"),
    ],
)
def test_a_function_that_fails_is_an_answer_not_an_exception(bridge: Any, function: str, code: str) -> None:
    answer = bridge(
        f"""
        call("register_executor", "order.read", {function});
        return await execute("order.read", {{ order_id: "1234" }});
        """
    )
    assert (answer["status"], answer["error"]["code"]) == ("error", code)


def test_a_batch_has_a_buffer_of_its_own_and_comes_again_until_acknowledged(bridge: Any) -> None:
    told = bridge(
        """
        const first = bridge.drain_traces(10);
        const copy = Array.from(first.bytes);
        structuredClone(first.bytes.buffer, { transfer: [first.bytes.buffer] });
        const again = bridge.redeliver();
        const same = again.length === 1 && String(Array.from(again[0].bytes)) === String(copy);
        const second = bridge.drain_traces(10), third = bridge.drain_traces(10);
        const acks = [bridge.ack(first.batch_id), bridge.ack(first.batch_id), bridge.ack(second.batch_id)];
        return { count: first.count, groups: first.groups, same, length: copy.length,
          detached: first.bytes.byteLength === 0, second: second.count, third: third.count, acks, session };
        """
    )
    assert (told["count"], told["second"], told["third"]) == (10, 10, 0)
    assert told["same"] and told["detached"]
    assert told["acks"] == [True, False, True]
    assert told["groups"] == [
        {
            "session_id": told["session"],
            "first_sequence": 0,
            "count": 10,
            "offset": 0,
            "length": told["length"],
            "algorithm": "sha256",
        }
    ]


def test_draining_with_a_wrong_number_is_an_error_in_its_place(bridge: Any) -> None:
    assert bridge("return bridge.drain_traces(0).error.code;") == "invalid_max_events"


def test_a_listener_hears_once_per_drain_that_much_waits_whatever_it_throws(bridge: Any) -> None:
    told = bridge(
        """
        const heard = [];
        const flood = (count) => {
          for (let i = 0; i < count; i += 1) call("emit", session, "app.step", "{}");
        };
        const listening = call("on_pressure", () => {
          heard.push(bridge.pending_events());
          throw new Error("no");
        });
        flood(600);
        const batch = bridge.drain_traces(10);
        flood(10);
        const none = call("on_pressure", undefined);
        bridge.drain_traces(10);
        flood(10);
        const { pending, pending_weight, in_flight_weight, dropped } = call("statistics").buffer;
        return { heard, listening, none, buffer: [pending === pending_weight, in_flight_weight, dropped],
          big: call("emit", session, "app.big", JSON.stringify({ text: "x".repeat(100_000) })).sequence > 0,
          weight: call("statistics").buffer.pending_weight - pending_weight };
        """
    )
    assert told["heard"][0] == 500
    assert len(told["heard"]) == 2
    assert (told["listening"], told["none"]) == ({"listening": True}, {"listening": False})
    assert told["buffer"] == [True, 20, 0]
    assert (told["big"], told["weight"]) == (True, 98)


def test_a_call_of_a_high_tier_waits_for_the_acknowledgement_and_hears_of_a_refusal(bridge: Any) -> None:
    told = bridge(
        """
        const heard = [];
        call("on_pressure", (waits) => { heard.push(waits); });
        const parameters = { order_id: "1234", reason: "customer-request" };
        const ask = await execute("order.cancel", parameters);
        const id = ask.error.details.approval_id;
        call("decide_approval", JSON.stringify({ approval_id: id, granted: true, approver: "me", uses: 2 }));
        let ran = 0;
        call("register_executor", "order.cancel", async () => { ran += 1; return "{}"; });
        const sleep = () => new Promise((resolve) => { setTimeout(resolve, 20); });
        const first = execute("order.cancel", parameters);
        await sleep();
        const before = [heard.slice(), ran];
        const refused = call("refuse_durable", "no room", JSON.stringify([session]));
        const second = execute("order.cancel", parameters);
        await sleep();
        bridge.ack(bridge.drain_traces(1000).batch_id);
        const answers = [(await first).error.code, (await second).status];
        call("on_pressure", undefined);
        return { ask: ask.status, before, refused, answers, ran };
        """
    )
    assert told == {
        "ask": "pending_approval",
        "before": [[True], 0],
        "refused": {"told": 1},
        "answers": ["not_durable", "success"],
        "ran": 1,
    }


def test_a_request_is_validated_and_a_question_asked_again(bridge: Any) -> None:
    told = bridge(
        """
        const child = call("create_session", "sub-agent", "help", "", session).session_id;
        const request = {
          carp_version: "1.0", request_id: "01234567-89ab-7def-8123-456789abcdef", operation: "validate",
          timestamp: new Date().toISOString(), requester: { agent_id: "sub-agent", session_id: child },
          task: { goal: "refund order 1234" },
        };
        const valid = call("validate", JSON.stringify(request));
        const same = call("resolve_request", JSON.stringify(request));
        const bad = call("validate", "{");
        const options = JSON.stringify({ reuse: true });
        const ids = [1, 2].map(() => call("resolve", child, "look", "low", options).resolution_id);
        return { valid: valid.valid, decision: valid.decision.type, same: same.valid,
          bad: bad.findings.map(({ code }) => code), hit: ids[0] === ids[1],
          ended: call("end_session", session).reason, gone: call("resolve", child, "g").error.code };
        """
    )
    assert told == {
        "valid": True,
        "decision": "partial",
        "same": True,
        "bad": ["invalid_request"],
        "hit": True,
        "ended": "completed",
        "gone": "session_ended",
    }


def test_no_call_leaves_a_proxy_behind(bridge: Any) -> None:
    """The functions of the module themselves are proxies: each is called once before it is counted."""
    before, after, references_before, references_after = bridge(
        """
        const round = async () => {
          call("load_atlas", new Uint8Array(4)); call("load_atlas", new ArrayBuffer(4));
          call("get_atlas", call("list_atlases")[0].atlas_id);
          call("statistics"); call("list_atlases"); call("list_approvals"); bridge.pending_events();
          call("resolve", session, "refund order 1234"); call("resolve", "x", "y");
          call("explain", session, resolution.resolution_id);
          call("emit", session, "page.clicked", '{"button":"ok"}');
          call("register_executor", "order.read", async () => "{}");
          await execute("order.read", { order_id: "1234" });
          await execute("order.read", { nope: 1 });
          await bridge.execute("{");
          call("unregister_executor", "order.read");
          const batch = bridge.drain_traces(100);
          bridge.redeliver(); bridge.ack(batch.batch_id); bridge.drain_traces(0);
          call("on_pressure", () => undefined); call("on_pressure", undefined);
          call("validate", "{}"); call("refuse_durable", "why");
          const other = call("create_session", "a", "b").session_id;
          call("end_session", other);
        };
        const proxies = pyodide._module.pyproxy_alloc_map;
        pyodide._module.enable_pyproxy_allocation_tracing();
        const references = () => {
          pyodide.runPython("import gc; gc.collect(); None");
          return pyodide._module._hiwire_num_refs();
        };
        await round(); await round();
        const counts = [proxies.size, 0, references(), 0];
        for (let i = 0; i < 20; i += 1) await round();
        counts[1] = proxies.size; counts[3] = references();
        pyodide._module.disable_pyproxy_allocation_tracing();
        return counts;
        """
    )
    assert before > 0, "the tracing of Pyodide's proxies saw none"
    assert after == before
    assert references_after <= references_before


def test_a_runtime_that_ended_refuses_calls_and_lets_its_last_traces_be_drained(bridge: Any) -> None:
    told = bridge(
        """
        call("end_session", "00000000-0000-7000-8000-000000000001");
        const before = bridge.pending_events();
        const ends = [call("end"), call("end")];
        const refused = ["create_session", "emit"].map((name) => call(name, session, "a.b", "{}").error.code);
        const executed = (await execute("order.read", { order_id: "1" })).error.code;
        const made = bridge.pending_events() - before;
        const batch = bridge.drain_traces(1000);
        const text = new TextDecoder().decode(batch.bytes);
        const acked = bridge.ack(batch.batch_id);
        const left = bridge.pending_events();
        return { ends, refused, executed, made, ended: text.split("session.ended").length - 1, acked, left,
                 closed: call("close"), none: call("end") };
        """
    )
    assert told == {
        "ends": [{"ended": True}, {"ended": True}],
        "refused": ["resolver_closed", "resolver_closed"],
        "executed": "resolver_closed",
        # The end of the runtime's own session, which the unknown session's error began.
        "made": 1,
        "ended": 1,
        "acked": True,
        "left": 0,
        "closed": {"closed": True},
        "none": {"ended": False},
    }


def test_close_forgets_sessions_and_a_later_call_starts_anew(bridge: Any) -> None:
    told = bridge(
        """
        const closed = call("close");
        const unknown = call("resolve", session, "goal").error.code;
        return { closed, unknown, atlases: call("list_atlases"), again: call("close"), empty: call("close") };
        """
    )
    assert told == {
        "closed": {"closed": True},
        "unknown": "session_not_found",
        "atlases": [],
        "again": {"closed": True},
        "empty": {"closed": False},
    }
