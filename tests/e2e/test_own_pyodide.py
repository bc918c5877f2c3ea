"""A page that runs its own Pyodide, as notebooks do, and attaches the trace worker to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext

from .conftest import BOOT_MS, Watch

CONNECT = """
import { connectTraces } from "./lib/cra-wasm.js";
import { loadPyodide } from "./pyodide/pyodide.mjs";

const pyodide = await loadPyodide({ indexURL: new URL("./pyodide/", location.href).href });
await pyodide.loadPackage("cra-wasm", { messageCallback: () => undefined });
const connection = await connectTraces(pyodide, { baseUrl: "./", databaseName: "own-pyodide" });

const bridge = pyodide.pyimport("cra_wasm.bridge");
bridge.load_atlas(await (await fetch("./examples/browser-operator.atlas.json")).text());
"""

RECORD = """
const { session_id: sessionId } = JSON.parse(bridge.create_session("notebook", "read a page"));
const resolution = JSON.parse(bridge.resolve(sessionId, "read the page"));
bridge.end_session(sessionId);

await connection.flush();
const verified = await connection.verify(sessionId);
const types = [];
for await (const event of connection.traces(sessionId)) types.push(event.event_type);
const { state, store } = await connection.statistics();
await connection.close();
console.log(resolution.decision.type, verified, types, { state, store });
"""

FLOOD = """
const refusing = pyodide.runPython(`
from cra_wasm import BufferFull, Resolver, bridge

def flood(on_full):
    resolver = Resolver(tracing="deferred", capacity=4000, on_full=on_full)
    bridge.attach(resolver)
    session_id = resolver.create_session("notebook", "flood the record")
    told = 0
    for number in range(6000):
        try:
            told += resolver.emit(session_id, "app.step", {"n": number}) is not None
        except BufferFull:
            break
    stats = resolver.buffer_stats()
    return [session_id, told, stats.pending, stats.dropped]

flood`);
const floodAndRecover = async (onFull) => {
  const proxy = refusing(onFull);
  const [session, told, pending, dropped] = proxy.toJs();
  proxy.destroy();
  await connection.flush();
  const after = JSON.parse(bridge.emit(session, "app.after", "{}"));
  const { pressure } = JSON.parse(bridge.statistics());
  bridge.end_session(session);
  await connection.flush();
  const { valid, events, warnings } = await connection.verify(session);
  let lost = 0;
  for await (const { event_type, payload } of connection.traces(session)) {
    if (event_type === "trace.gap") lost += payload.lost_count;
  }
  const calm = pressure < 0.5;
  return { told, pending, dropped, lost, valid, events, warnings, after: after.sequence, calm };
};

// 600 events, then none: who drains them, the pressure at once or the timer after 250 ms?
const steady = JSON.parse(bridge.create_session("notebook", "work steadily")).session_id;
const waits = [];
for (let round = 0; round < 11; round += 1) {
  for (let step = 0; step < 600; step += 1) bridge.emit(steady, "app.step", "{}");
  const start = performance.now();
  while (bridge.pending_events() > 0) await new Promise((resolve) => { setTimeout(resolve, 1); });
  waits.push(performance.now() - start);
}
waits.sort((one, other) => one - other);
const floods = [await floodAndRecover("refuse"), await floodAndRecover("drop")];
refusing.destroy();
await connection.close();
console.log(floods, waits);
"""


def run_in_own_page(context: BrowserContext, address: str, script: str) -> list[Any]:
    """Return what the script logs in a page that has Pyodide and the library."""
    page = context.new_page()
    html = '<!doctype html><title>x</title><link rel="icon" href="icon.svg">'
    html += '<script type="module" src="app.js"></script>'
    page.route("**/own.html", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route("**/app.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    with page.expect_console_message(timeout=BOOT_MS) as message:
        page.goto(f"{address}own.html")
    return [argument.json_value() for argument in message.value.args]


def test_a_page_s_own_pyodide_writes_a_verified_record(
    context: BrowserContext, watch: Watch, address: str, site: Path
) -> None:
    decision, verified, types, statistics = run_in_own_page(context, address, CONNECT + RECORD)
    assert decision == "partial"
    assert verified["valid"] and verified["events"] == len(types)
    assert (types[0], types[-1]) == ("session.started", "session.ended")
    assert statistics == {"state": "running", "store": "indexeddb"}


def test_a_flood_in_one_call_is_refused_or_told_as_a_gap_and_recovers_once_drained(
    context: BrowserContext, watch: Watch, address: str, site: Path
) -> None:
    (refusing, dropping), waits_ms = run_in_own_page(context, address, CONNECT + FLOOD)
    # 4,000 places: session.started and 3,999 of the flood; the rest was refused in one, dropped in the other.
    assert (refusing["told"], refusing["pending"], refusing["dropped"]) == (3_999, 4_000, 0)
    assert (dropping["told"], dropping["pending"], dropping["dropped"]) == (3_999, 4_000, 2_001)
    assert (refusing["after"], dropping["after"]) == (4_000, 4_001)
    assert (refusing["lost"], dropping["lost"]) == (0, 2_001)
    assert (refusing["events"], dropping["events"]) == (4_002, 4_003)
    for flood in (refusing, dropping):
        assert (flood["valid"], flood["warnings"], flood["calm"]) == (True, [], True)
    # By the timer alone each round but the first waits nearly 250 ms.
    assert waits_ms[len(waits_ms) // 2] < 200
