/** The log from end to end, for cra_wasm.bench: made in Python, then hashed and stored by the product's trace worker. */

import { deleteDB } from "idb";

import type { TraceConnection } from "./api.js";
import type { Meter } from "./bench-meter.js";
import type { Bridge, PyodideLike } from "./bridge.js";
import { connectTraces } from "./connect.js";
import { isNode, nextTask } from "./platform.js";
import type { Durability } from "./store.js";

/** Made in Python, in one go: so many events, or a few more. */
export type MakeEvents = (events: number) => void;

/** Where the loops run: a Python with an attached resolver. */
export interface Subject {
  readonly pyodide: PyodideLike;
  readonly bridge: Bridge;
  /** Null where no page is around. */
  readonly meter?: Meter | null;
}

/** Made and stored before the clock starts: a new worker's code is not compiled yet. */
const WARM_UP_EVENTS = 5_000;

/** Made at a stretch; then the trace worker's questions are answered, as in a program that waits now and then. */
const BURST_EVENTS = 500;

/** A program that would fill the buffer waits; a flush asks for the rest of it. */
const PENDING_EVENTS = 16_000;

/** Where each asks for strict durability: bursts between two flushes that nobody waits for. */
const BURSTS_PER_STRICT_FLUSH = 4;

/** Pending at each flush that is timed by itself. */
const FLUSH_EVENTS = 500;

/**
 * Return the microseconds until `count` events are stored, in a store of this call's own: in browsers IndexedDB, in Node
 * memory. Normalized to `count`, where a few more were made.
 */
export async function timeLog(
  subject: Subject,
  count: number,
  make: MakeEvents,
  [sessionId = "", durability = "relaxed"]: readonly string[],
): Promise<number> {
  return await withStore(subject, sessionId, async (connection) => {
    await logEvents(subject, connection, make, WARM_UP_EVENTS, durability as Durability);
    const before = await connection.statistics();
    const start = performance.now();
    await logEvents(subject, connection, make, count, durability as Durability);
    const spent = performance.now() - start;
    const stored = (await connection.statistics()).events_stored - before.events_stored;
    if (stored < count) throw new Error(`${stored} of ${count} events were stored`);
    return (spent * 1_000 * count) / stored;
  });
}

/** Return a percentile (the second text) of the microseconds that `count` flushes of 500 pending events take. */
export async function timeFlush(
  subject: Subject,
  count: number,
  make: MakeEvents,
  [sessionId = "", percent = "50"]: readonly string[],
): Promise<number> {
  return await withStore(subject, sessionId, async (connection) => {
    await logEvents(subject, connection, make, WARM_UP_EVENTS, "relaxed");
    const times: number[] = [];
    for (let flush = 0; flush < count; flush += 1) {
      make(FLUSH_EVENTS);
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
  subject: Subject,
  count: number,
  make: MakeEvents,
  [sessionId = ""]: readonly string[],
): Promise<number> {
  return await withStore(subject, sessionId, async (connection) => {
    await logEvents(subject, connection, make, count, "relaxed");
    const start = performance.now();
    const { valid, events } = await connection.verify(sessionId);
    const spent = performance.now() - start;
    if (!valid || events < count) throw new Error(`${events} of ${count} events were verified`);
    return spent * 1_000;
  });
}

/** Give `work` a store of this call's own, with nothing left of it. */
export async function withStore<T>(
  { pyodide }: Subject,
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

/** Make events in bursts while the trace worker drains, hashes and stores those before; resolves once all are stored. */
export async function logEvents(
  { bridge }: Subject,
  connection: TraceConnection,
  make: MakeEvents,
  count: number,
  durability: Durability,
): Promise<void> {
  let stored: Promise<void> = Promise.resolve();
  for (let left = count, burst = 1; left > 0; left -= BURST_EVENTS, burst += 1) {
    make(Math.min(left, BURST_EVENTS));
    if (bridge.pending_events() > PENDING_EVENTS) await connection.flush({ durability });
    await nextTask();
    if (durability === "strict" && burst % BURSTS_PER_STRICT_FLUSH === 0) {
      await stored;
      stored = connection.flush({ durability });
    }
  }
  await stored;
  await connection.flush({ durability });
}
