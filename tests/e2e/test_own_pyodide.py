"""A page that runs its own Pyodide, as notebooks do, and attaches the trace worker to it."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import BrowserContext

from .conftest import BOOT_MS, Watch

SCRIPT = """
import { connectTraces } from "./lib/cra-wasm.js";
import { loadPyodide } from "./pyodide/pyodide.mjs";

const pyodide = await loadPyodide({ indexURL: new URL("./pyodide/", location.href).href });
await pyodide.loadPackage("cra-wasm", { messageCallback: () => undefined });
const connection = await connectTraces(pyodide, { baseUrl: "./", databaseName: "own-pyodide" });

const bridge = pyodide.pyimport("cra_wasm.bridge");
bridge.load_atlas(await (await fetch("./examples/browser-operator.atlas.json")).text());
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


def test_a_page_s_own_pyodide_writes_a_verified_record(
    context: BrowserContext, watch: Watch, address: str, site: Path
) -> None:
    page = context.new_page()
    html = '<!doctype html><title>x</title><link rel="icon" href="icon.svg">'
    html += '<script type="module" src="app.js"></script>'
    page.route("**/own.html", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route("**/app.js", lambda route: route.fulfill(body=SCRIPT, content_type="text/javascript"))
    with page.expect_console_message(timeout=BOOT_MS) as message:
        page.goto(f"{address}own.html")
    decision, verified, types, statistics = (argument.json_value() for argument in message.value.args)
    assert decision == "partial"
    assert verified["valid"] and verified["events"] == len(types)
    assert (types[0], types[-1]) == ("session.started", "session.ended")
    assert statistics == {"state": "running", "store": "indexeddb"}
