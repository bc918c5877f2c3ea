/** The log from end to end, for cra_wasm.bench: made in Python, then hashed and stored by the product's trace worker. */

import { deleteDB } from "idb";

import type { TraceConnection } from "./api.js";
import { parseAnswer } from "./bridge.js";
import type { Bridge, PyodideLike } from "./bridge.js";
import { connectTraces } from "./connect.js";
import { isNode } from "./platform.js";
import type { Durability } from "./store.js";

/** Emitted and stored before the clock starts: a new worker's code is not compiled yet. */
const WARM_UP_EVENTS = 5_000;

/** Emitted at a stretch; the trace worker takes as many at once. */
const BURST_EVENTS = 1_000;

/** Pending at each flush that is timed by itself. */
const FLUSH_EVENTS = 500;

/** Makes so many events, or a few more, and returns the last answer. */
type MakeEvents = (events: number) => string;

/**
 * Return the microseconds until `count` custom events are stored, in a store of this call's own: in browsers IndexedDB,
 * in Node memory. The third text is the durability of each burst.
 */
export function timeLog(
  pyodide: PyodideLike,
  bridge: Bridge,
  count: number,
  [sessionId = "", payloadJson = "", durability = "relaxed"]: readonly string[],
): Promise<number> {
  const emit = emitting(bridge, sessionId, payloadJson);
  return timeStored(pyodide, sessionId, count, emit, durability as Durability);
}

/** As timeLog, of the events of resolve(); the texts are session, goal, how many events one makes, and durability. */
export function timeResolves(
  pyodide: PyodideLike,
  bridge: Bridge,
  count: number,
  [sessionId = "", goal = "", eventsEach = "1", durability = "relaxed"]: readonly string[],
): Promise<number> {
  const resolve = (events: number): string => {
    let answer: string | Promise<string> = "";
    for (let made = 0; made < events; made += Number(eventsEach)) answer = bridge.resolve(sessionId, goal, "low", "");
    return answer as string;
  };
  return timeStored(pyodide, sessionId, count, resolve, durability as Durability);
}

/** Return a percentile (the third text) of the microseconds that `count` flushes of 500 pending events take. */
export async function timeFlush(
  pyodide: PyodideLike,
  bridge: Bridge,
  count: number,
  [sessionId = "", payloadJson = "", percent = "50"]: readonly string[],
): Promise<number> {
  const emit = emitting(bridge, sessionId, payloadJson);
  return await withStore(pyodide, sessionId, async (connection) => {
    await logEvents(emit, connection, WARM_UP_EVENTS, "relaxed");
    const times: number[] = [];
    for (let flush = 0; flush < count; flush += 1) {
      parseAnswer(emit(FLUSH_EVENTS));
      const start = performance.now();
      await connection.flush();
      times.push((performance.now() - start) * 1_000);
    }
    times.sort((one, other) => one - other);
    return times[Math.ceil((times.length * Number(percent)) / 100) - 1] ?? 0;
  });
}

/** Return the microseconds that reading back and verifying `count` stored events takes. */
export async function timeVerify(
  pyodide: PyodideLike,
  bridge: Bridge,
  count: number,
  [sessionId = "", payloadJson = ""]: readonly string[],
): Promise<number> {
  const emit = emitting(bridge, sessionId, payloadJson);
  return await withStore(pyodide, sessionId, async (connection) => {
    await logEvents(emit, connection, count, "relaxed");
    const start = performance.now();
    const { valid, events } = await connection.verify(sessionId);
    const spent = performance.now() - start;
    if (!valid || events < count) throw new Error(`${events} of ${count} events were verified`);
    return spent * 1_000;
  });
}

function emitting(bridge: Bridge, sessionId: string, payloadJson: string): MakeEvents {
  return (events) => {
    let answer: string | Promise<string> = "";
    for (let event = 0; event < events; event += 1) answer = bridge.emit(sessionId, "form.changed", payloadJson);
    return answer as string;
  };
}

/** Normalized to `count`, where a few more were made. */
async function timeStored(
  pyodide: PyodideLike,
  sessionId: string,
  count: number,
  make: MakeEvents,
  durability: Durability,
): Promise<number> {
  return await withStore(pyodide, sessionId, async (connection) => {
    await logEvents(make, connection, WARM_UP_EVENTS, durability);
    const before = await connection.statistics();
    const start = performance.now();
    await logEvents(make, connection, count, durability);
    const spent = performance.now() - start;
    const stored = (await connection.statistics()).events_stored - before.events_stored;
    if (stored < count) throw new Error(`${stored} of ${count} events were stored`);
    return (spent * 1_000 * count) / stored;
  });
}

async function withStore<T>(
  pyodide: PyodideLike,
  sessionId: string,
  work: (connection: TraceConnection) => Promise<T>,
): Promise<T> {
  const databaseName = `cra-wasm-bench-${sessionId}`;
  const storage = isNode ? "memory" : "indexeddb";
  const connection = await connectTraces(pyodide, { storage, databaseName, askToPersist: false });
  try {
    return await work(connection);
  } finally {
    await connection.close();
    if (!isNode) await deleteDB(databaseName);
  }
}

/** A burst is made while the one before it is hashed; more would fill the buffer. */
async function logEvents(
  make: MakeEvents,
  connection: TraceConnection,
  count: number,
  durability: Durability,
): Promise<void> {
  let stored: Promise<void> = Promise.resolve();
  for (let left = count; left > 0; left -= BURST_EVENTS) {
    parseAnswer(make(Math.min(left, BURST_EVENTS)));
    await stored;
    stored = connection.flush({ durability });
  }
  await stored;
}
