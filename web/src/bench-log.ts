/** The log from end to end, for cra_wasm.bench: emitted in Python, then hashed and stored by the product's trace worker. */

import { deleteDB } from "idb";

import type { TraceConnection } from "./api.js";
import { parseAnswer } from "./bridge.js";
import type { Bridge, PyodideLike } from "./bridge.js";
import { connectTraces } from "./connect.js";
import { isNode } from "./platform.js";

/** Emitted and stored before the clock starts: a new worker's code is not compiled yet. */
const WARM_UP_EVENTS = 5_000;

/** Emitted at a stretch; the trace worker takes as many at once. */
const BURST_EVENTS = 1_000;

/**
 * Return the microseconds from the first of `count` events until all are stored, in a store of this call's own: in
 * browsers IndexedDB, in Node memory.
 */
export async function timeLog(
  pyodide: PyodideLike,
  bridge: Bridge,
  count: number,
  [sessionId = "", payloadJson = ""]: readonly string[],
): Promise<number> {
  const databaseName = `cra-wasm-bench-${sessionId}`;
  const connection = await connectTraces(pyodide, { storage: isNode ? "memory" : "indexeddb", databaseName });
  const log = (events: number): Promise<void> => logEvents(bridge, connection, events, sessionId, payloadJson);
  let spent: number;
  try {
    await log(WARM_UP_EVENTS);
    const before = await connection.statistics();
    const start = performance.now();
    await log(count);
    spent = performance.now() - start;
    const after = await connection.statistics();
    const stored = after.events_stored - before.events_stored;
    if (stored !== count) throw new Error(`${stored} of ${count} events were stored`);
  } finally {
    await connection.close();
    if (!isNode) await deleteDB(databaseName);
  }
  return spent * 1_000;
}

/** A burst is emitted while the one before it is hashed; more would fill the buffer. */
async function logEvents(
  bridge: Bridge,
  connection: TraceConnection,
  count: number,
  sessionId: string,
  payloadJson: string,
): Promise<void> {
  let stored: Promise<void> = Promise.resolve();
  for (let left = count; left > 0; left -= BURST_EVENTS) {
    let answer: string | Promise<string> = "";
    for (let event = 0; event < Math.min(left, BURST_EVENTS); event += 1) {
      answer = bridge.emit(sessionId, "form.changed", payloadJson);
    }
    parseAnswer(answer as string);
    await stored;
    stored = connection.flush();
  }
  await stored;
}
