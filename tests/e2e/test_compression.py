"""Traces that are compressed in the browser's own database: the same bytes come out, and fewer are stored."""

from __future__ import annotations

from playwright.sync_api import BrowserContext

from .conftest import Watch
from .test_own_pyodide import run_in_own_page

EVENTS = 10_000
"""Some 6 MB of lines, in batches that are larger than a step of compaction."""

SCRIPT = """
import { connectTraces } from "./lib/cra-wasm.js";
import { loadPyodide } from "./pyodide/pyodide.mjs";

const databaseName = "compressed";
const pyodide = await loadPyodide({ indexURL: new URL("./pyodide/", location.href).href });
await pyodide.loadPackage("cra-wasm", { messageCallback: () => undefined });
const plain = await connectTraces(pyodide, { baseUrl: "./", databaseName });
const bridge = pyodide.pyimport("cra_wasm.bridge");
const { session_id: sessionId } = JSON.parse(bridge.create_session("writer", "write a long record"));
for (let n = 0; n < EVENTS; n += 1) {
  const payload = { field: `field ${n % 40}`, value: `words € ${n * 7919}` };
  bridge.emit(sessionId, "form.changed", JSON.stringify(payload));
  if (n % 4000 === 0) await plain.flush();
}
bridge.end_session(sessionId);
await plain.flush();
const before = await plain.exportJsonl(sessionId);
const { compression: off } = (await plain.statistics()).compaction;
await plain.close();

const compressed = await connectTraces(pyodide, { baseUrl: "./", databaseName, compress: true });
let compaction;
do {
  ({ compaction } = await compressed.statistics());
  await new Promise((resolve) => { setTimeout(resolve, 20); });
} while (compaction.plain_bytes < before.length && compaction.failures === 0);
const after = await compressed.exportJsonl(sessionId);
const same = after.length === before.length && after.every((byte, at) => byte === before[at]);
const { valid, events, error } = await compressed.verify(sessionId);
await compressed.close();

const database = await new Promise((resolve, reject) => {
  const opening = indexedDB.open(databaseName);
  opening.onsuccess = () => resolve(opening.result);
  opening.onerror = () => reject(opening.error);
});
const stored = await new Promise((resolve) => {
  const asked = database.transaction("segments").objectStore("segments").getAll();
  asked.onsuccess = () => resolve(asked.result.reduce((sum, { bytes }) => sum + bytes.length, 0));
});
database.close();
console.log({ off, same, valid, events, error, plain: before.length, stored, compaction });
""".replace("EVENTS", str(EVENTS))


# PROTOCOL 3.18.9
def test_a_long_record_that_was_compressed_is_exported_byte_for_byte_and_verifies(
    context: BrowserContext, watch: Watch, address: str
) -> None:
    (told,) = run_in_own_page(context, address, SCRIPT)
    assert (told["off"], told["same"], told["valid"], told["error"]) == ("off", True, True, None)
    assert told["events"] >= EVENTS + 2
    compaction = told["compaction"]
    assert (compaction["compression"], compaction["failures"], compaction["conflicts"]) == ("on", 0, 0)
    assert (compaction["plain_bytes"], compaction["stored_bytes"]) == (told["plain"], told["stored"])
    assert told["stored"] <= 0.4 * told["plain"]
