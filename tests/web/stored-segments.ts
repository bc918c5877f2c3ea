/** Sessions stored in many segments, for tests: written, looked at and compacted. */

import assert from "node:assert/strict";

import { openDB } from "idb";

import { splitLines } from "../../web/src/bytes.js";
import type { StoredSegment } from "../../web/src/compression.js";
import type { SessionHead } from "../../web/src/model.js";
import type { IndexedDbStore } from "../../web/src/store-indexeddb.js";
import type { BatchWrite, TraceStore } from "../../web/src/store.js";
import { chainLines, jsonl, rawEvent, rawEvents, SESSION_A } from "./events.js";

/** So many segments of one event each, the last of which ends the session. */
export const FEW = 12;

export async function endedLines(count = FEW, session = SESSION_A): Promise<string[]> {
  return chainLines([...rawEvents(0, count - 1, { session }), rawEvent(count - 1, { session, type: "session.ended" })]);
}

export function headAfter(sessionId: string, lines: readonly string[]): SessionHead | null {
  const last = lines.at(-1);
  if (last === undefined) return null;
  const { event_hash: hash, event_type: type } = JSON.parse(last) as { event_hash: string; event_type: string };
  const ended = type === "session.ended";
  return { session_id: sessionId, next_sequence: lines.length, head_hash: hash, ended, algorithm: "sha256", at_risk: ended ? 0 : null };
}

export function appending(lines: readonly string[], from: number, to: number, session = SESSION_A): BatchWrite {
  const bytes = new Uint8Array(jsonl(lines.slice(from, to)));
  return {
    expected: [{ session_id: session, head: headAfter(session, lines.slice(0, from)) }],
    segments: [{ session_id: session, first_sequence: from, count: to - from, bytes }],
    heads: [headAfter(session, lines.slice(0, to))].filter((head) => head !== null),
    quarantine: [],
    durability: "relaxed",
  };
}

/** Store each line as a segment of its own. */
export async function trickle(store: TraceStore, lines: readonly string[], from = 0, session = SESSION_A): Promise<void> {
  for (let at = from; at < lines.length; at += 1) assert.ok(await store.commit(appending(lines, at, at + 1, session)));
}

export async function readAll(store: TraceStore, position = 0, maxBytes = 1): Promise<string[]> {
  const lines: string[] = [];
  for (let next: number | null = position; next !== null; ) {
    const chunk: Awaited<ReturnType<TraceStore["read"]>> = await store.read(SESSION_A, next, maxBytes);
    lines.push(...splitLines(chunk.bytes));
    next = chunk.next;
  }
  return lines;
}

/** Every segment as it is stored. */
export async function storedSegments(name: string): Promise<StoredSegment[]> {
  const database = await openDB(name);
  const segments = (await database.getAll("segments")) as StoredSegment[];
  database.close();
  return segments;
}

/** The numbers at which the segments begin. */
export async function beginnings(name: string): Promise<number[]> {
  return (await storedSegments(name)).map(({ first_sequence }) => first_sequence);
}

/** Store segments in the place of those with the same keys. */
export async function putSegments(name: string, segments: readonly StoredSegment[]): Promise<void> {
  const database = await openDB(name);
  for (const segment of segments) await database.put("segments", segment);
  database.close();
}

export async function compactAll(store: IndexedDbStore, session = SESSION_A): Promise<number> {
  let joined = 0;
  for (let more = true; more; ) {
    const step = await store.compaction.compact(session);
    joined += step.joined;
    ({ more } = step);
  }
  return joined;
}
