/** What the log takes besides time, for cra_wasm.bench: bytes on disk, memory of the trace worker, the page's thread. Chromium only. */

import { deleteDB, openDB } from "idb";
import type { IDBPDatabase } from "idb";

import type { TraceConnection } from "./api.js";
import { logEvents, withStore } from "./bench-log.js";
import type { MakeEvents, Subject } from "./bench-log.js";
import type { Meter } from "./bench-meter.js";
import { COMPACT_BYTES } from "./compaction.js";
import { connectTraces } from "./connect.js";
import type { TraceSchema } from "./store-indexeddb.js";

/** A measurement of memory waits for a garbage collection, which the browser may put off. */
const METER_DEADLINE_MS = 120_000;

/** Between two looks at whether all is compressed, and how many there are at most: ten minutes. */
const LOOK_MS = 100;
const MAX_LOOKS = 6_000;

/** Return the longest that a message to the page waited, in microseconds, while events are made and stored. */
export async function longestWait(subject: Subject, count: number, make: MakeEvents, [sessionId = ""]: readonly string[]): Promise<number> {
  const meter = meterOf(subject);
  return await withStore(subject, sessionId, async (connection) => {
    await meter.call("watch", null, METER_DEADLINE_MS);
    // cra_wasm.bench.pauses looks between these marks in a trace.
    performance.mark("log_page begin");
    await logEvents(subject, connection, make, count, "relaxed");
    performance.mark("log_page end");
    return await meter.call("longest_wait_us", null, METER_DEADLINE_MS);
  });
}

/** Return the bytes that the trace worker has in memory after it stored `count` events of one session. */
export async function traceWorkerBytes(subject: Subject, count: number, make: MakeEvents, [sessionId = ""]: readonly string[]): Promise<number> {
  const meter = meterOf(subject);
  return await withStore(subject, sessionId, async (connection) => {
    await logEvents(subject, connection, make, count, "relaxed");
    const { events_stored: stored } = await connection.statistics();
    if (stored < count) throw new Error(`${stored} of ${count} events were stored`);
    return await meter.call("worker_bytes", { script: "trace.worker.js" }, METER_DEADLINE_MS);
  });
}

/**
 * Return what is stored of a session of `count` events as a multiple of its JSONL: the bytes of its records where the second
 * text is "records", else what the browser counts. The third says whether it is compressed.
 */
export async function storedRatio(
  subject: Subject,
  count: number,
  make: MakeEvents,
  [sessionId = "", by = "records", kind = "plain"]: readonly string[],
): Promise<number> {
  const databaseName = `cra-wasm-bench-space-${sessionId}`;
  const options = { storage: "indexeddb", databaseName, askToPersist: false } as const;
  const connected = async <T>(compress: boolean, work: (connection: TraceConnection) => Promise<T>): Promise<T> => {
    const connection = await connectTraces(subject.pyodide, { ...options, compress });
    try {
      return await work(connection);
    } finally {
      await connection.close();
    }
  };
  const usedBefore = await usedBytes();
  try {
    const linesBytes = await connected(false, async (connection) => {
      await logEvents(subject, connection, make, count, "relaxed");
      return await lengthOf(connection.exportStream(sessionId));
    });
    // Compaction begins with a look at what is there, and looks again after half a minute only.
    if (kind === "compressed") await connected(true, () => withDatabase(databaseName, (database) => allCompressed(database, sessionId)));
    const stored = by === "records" ? await withDatabase(databaseName, recordBytes) : (await usedBytes()) - usedBefore;
    return stored / linesBytes;
  } finally {
    await deleteDB(databaseName);
  }
}

function meterOf({ meter = null }: Subject): Meter {
  if (meter === null) throw new Error("this is measured with the help of a page");
  return meter;
}

async function usedBytes(): Promise<number> {
  return (await navigator.storage.estimate()).usage ?? 0;
}

async function lengthOf(stream: ReadableStream<Uint8Array>): Promise<number> {
  const reader = stream.getReader();
  let length = 0;
  for (;;) {
    const { value } = await reader.read();
    if (value === undefined) return length;
    length += value.length;
  }
}

async function withDatabase<T>(name: string, work: (database: IDBPDatabase<TraceSchema>) => Promise<T>): Promise<T> {
  const database = await openDB<TraceSchema>(name);
  try {
    return await work(database);
  } finally {
    database.close();
  }
}

/** Until no step is left that is full. */
async function allCompressed(database: IDBPDatabase<TraceSchema>, sessionId: string): Promise<void> {
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    if (((await database.get("heads", sessionId))?.uncompressed_bytes ?? 0) < COMPACT_BYTES) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw new Error("the session was not compressed in ten minutes");
}

/** Of the segments' bytes; keys, counts and heads are some 100 bytes for each segment of hundreds of events. */
async function recordBytes(database: IDBPDatabase<TraceSchema>): Promise<number> {
  let size = 0;
  for (let cursor = await database.transaction("segments").store.openCursor(); cursor !== null; cursor = await cursor.continue()) {
    size += cursor.value.bytes.length;
  }
  return size;
}
