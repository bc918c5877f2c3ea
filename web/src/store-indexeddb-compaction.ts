/**
 * Joins, and compresses, a session's small segments in IndexedDB (PROTOCOL 3.18.5, 3.18.9).
 *
 * Joining is one transaction. Compressing is awaited, which ends a transaction: what one read, a second one replaces if it
 * is still what was read.
 */

import type { IDBPDatabase } from "idb";

import { COMPACT_BYTES, COMPACT_SEGMENTS, joinSegments, planCompaction, SMALL_BYTES } from "./compaction.js";
import type { CompactStep, SegmentCompaction } from "./compaction.js";
import { compressSegment, plainSize } from "./compression.js";
import type { Compress, StoredSegment } from "./compression.js";
import { beginChange } from "./store-indexeddb-change.js";
import type { Run, StoredHead, TraceSchema } from "./store-indexeddb.js";
import { keysFrom, segmentsToFetch } from "./store-indexeddb-segments.js";
import type { Segment } from "./store.js";

interface SegmentReader {
  getAll(range: IDBKeyRange, count: number): Promise<StoredSegment[]>;
  getAllKeys(range: IDBKeyRange): Promise<TraceSchema["segments"]["key"][]>;
}
interface SegmentWriter {
  delete(range: IDBKeyRange): Promise<unknown>;
  put(segment: StoredSegment): Promise<unknown>;
}

/** What a step found. */
interface Found {
  readonly segments: readonly StoredSegment[];
  /** Whether these are all there are. */
  readonly atEnd: boolean;
  /** Those of them that are done with after the step, and the number behind them. */
  readonly settled: readonly StoredSegment[];
  readonly to: number;
  readonly joins: boolean;
}

export class IndexedDbCompaction implements SegmentCompaction {
  readonly #run: Run;
  readonly #compress: Compress | null;

  /** `compress` null: join only. */
  constructor(run: Run, compress: Compress | null) {
    this.#run = run;
    this.#compress = compress;
  }

  get compresses(): boolean {
    return this.#compress !== null;
  }

  fragmented(): Promise<readonly string[]> {
    const isDue = this.#compress === null ? isLoose : isUncompressed;
    return this.#run(async (database) => (await database.getAll("heads")).filter(isDue).map(({ session_id }) => session_id));
  }

  compact(sessionId: string): Promise<CompactStep> {
    const compress = this.#compress;
    return this.#run((database) => (compress === null ? joinLoose(database, sessionId) : compressLoose(database, sessionId, compress)));
  }
}

/** Return the members of the head by which compaction knows what to do, after `added` was appended. */
export function marksAfter(before: StoredHead | undefined, added: readonly Segment[]): Pick<StoredHead, "compact_to" | "loose" | "compressed_to" | "uncompressed_bytes"> {
  const { size_bytes: size = 0, loose: looseBefore = COMPACT_SEGMENTS, compressed_to: compressedTo = 0 } = before ?? { loose: 0 };
  let { compact_to: compactTo = 0, uncompressed_bytes: uncompressed = size } = before ?? {};
  let loose = looseBefore;
  for (const { first_sequence: first, count, bytes } of added) {
    if (loose === 0 && bytes.length >= SMALL_BYTES) compactTo = first + count;
    else loose += 1;
    uncompressed += bytes.length;
  }
  return { compact_to: compactTo, loose, compressed_to: compressedTo, uncompressed_bytes: uncompressed };
}

function isLoose({ ended, loose = COMPACT_SEGMENTS }: StoredHead): boolean {
  return loose >= (ended ? 2 : COMPACT_SEGMENTS);
}

function isUncompressed(head: StoredHead): boolean {
  if (isWhole(head)) return (head.compressed_to ?? 0) < head.next_sequence;
  const { loose = COMPACT_SEGMENTS, uncompressed_bytes: bytes = head.size_bytes ?? 0 } = head;
  return bytes >= COMPACT_BYTES || loose >= COMPACT_SEGMENTS;
}

/** Nothing will be appended. */
function isWhole(head: StoredHead | undefined): boolean {
  return head !== undefined && (head.ended || head.imported === true);
}

async function joinLoose(database: IDBPDatabase<TraceSchema>, sessionId: string): Promise<CompactStep> {
  const transaction = beginChange(database, ["segments"]);
  const [segments, heads] = [transaction.objectStore("segments"), transaction.objectStore("heads")];
  const head = await heads.get(sessionId);
  const found = await look(segments, head, head?.compact_to ?? 0, sessionId);
  const { settled, to } = found;
  const [first, ...others] = settled;
  if (found.joins && first !== undefined) replace(segments, found, joinSegments([first, ...others]));
  if (head !== undefined) {
    const known = found.atEnd ? found.segments.length : Math.max(head.loose ?? 0, found.segments.length);
    void heads.put({ ...head, compact_to: to, loose: known - settled.length }).catch(ignoredHere);
  }
  await transaction.done;
  return { joined: found.joins ? settled.length : 0, more: settled.length > 0 };
}

async function compressLoose(database: IDBPDatabase<TraceSchema>, sessionId: string, compress: Compress): Promise<CompactStep> {
  const reading = database.transaction(["segments", "heads"]);
  const seen = await reading.objectStore("heads").get(sessionId);
  const from = seen?.compressed_to ?? 0;
  const found = await look(reading.objectStore("segments"), seen, from, sessionId);
  const [first, ...others] = found.settled;
  if (first === undefined) return { joined: 0, more: false };
  const isNew = first.encoding === undefined;
  const one = isNew ? await compressSegment(joinSegments([first, ...others]), compress) : first;
  const transaction = beginChange(database, ["segments"]);
  const [segments, heads] = [transaction.objectStore("segments"), transaction.objectStore("heads")];
  const head = await heads.get(sessionId);
  if (head === undefined || (head.compressed_to ?? 0) !== from || !(await isThere(segments, sessionId, from, found))) {
    await transaction.done;
    return { joined: 0, more: false, conflict: true };
  }
  if (isNew) replace(segments, found, one);
  void heads.put(compressedHead(head, found, one)).catch(ignoredHere);
  await transaction.done;
  const joined = found.joins ? found.settled.length : 0;
  return { joined, more: true, ...(isNew ? { compressed: { plain_bytes: plainSize(one), stored_bytes: one.bytes.length } } : {}) };
}

async function look(segments: SegmentReader, head: StoredHead | undefined, from: number, sessionId: string): Promise<Found> {
  const { loose, atEnd } = await segmentsFrom(segments, sessionId, from);
  const { join, settle } = planCompaction(loose, from, atEnd && isWhole(head));
  const settled = loose.slice(0, settle);
  const last = settled.at(-1);
  return { segments: loose, atEnd, settled, to: last === undefined ? from : last.first_sequence + last.count, joins: join > 0 };
}

/** Whether the settled segments are still cut as they were: their lines never change. */
async function isThere(segments: SegmentReader, sessionId: string, from: number, { settled, to }: Found): Promise<boolean> {
  const keys = await segments.getAllKeys(IDBKeyRange.bound([sessionId, from], [sessionId, to], false, true));
  if (keys.length !== settled.length || !keys.every(([, first], at) => first === settled[at]?.first_sequence)) return false;
  // Where the last one ends is all that the beginnings do not tell.
  const [last] = await segments.getAll(IDBKeyRange.only([sessionId, settled.at(-1)?.first_sequence ?? 0]), 1);
  return last !== undefined && last.first_sequence + last.count === to;
}

/** Put `one` in the place of all that are settled. Awaits nothing: its transaction goes on. */
function replace(segments: SegmentWriter, { settled, to }: Found, one: StoredSegment): void {
  const behind = IDBKeyRange.bound([one.session_id, one.first_sequence], [one.session_id, to], true, true);
  if (settled.length > 1) void segments.delete(behind).catch(ignoredHere);
  void segments.put(one).catch(ignoredHere);
}

/** `head` may be of later than what was found: its writer went on meanwhile. */
function compressedHead(head: StoredHead, { settled, to }: Found, one: StoredSegment): StoredHead {
  const { compact_to: compactTo = 0, loose = COMPACT_SEGMENTS, size_bytes: size, uncompressed_bytes: uncompressed = size ?? 0 } = head;
  const before = settled.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const noMoreLoose = settled.filter(({ first_sequence: first }) => first >= compactTo).length;
  return {
    ...head,
    ...(size === undefined ? {} : { size_bytes: size - before + one.bytes.length }),
    compact_to: Math.max(compactTo, to),
    loose: Math.max(0, loose - noMoreLoose),
    compressed_to: to,
    uncompressed_bytes: Math.max(0, uncompressed - before),
  };
}

/** What one step may look at, from `from` on, and whether that is all there is. */
async function segmentsFrom(segments: SegmentReader, sessionId: string, from: number): Promise<{ loose: StoredSegment[]; atEnd: boolean }> {
  const loose: StoredSegment[] = [];
  let size = 0;
  let next = from;
  for (let wanted = 2; wanted > 0; wanted = segmentsToFetch(loose.length, size, COMPACT_BYTES)) {
    const asked = Math.min(wanted, COMPACT_SEGMENTS - loose.length);
    if (asked === 0) break;
    const fetched = await segments.getAll(keysFrom(sessionId, next), asked);
    for (const segment of fetched) {
      loose.push(segment);
      size += plainSize(segment);
      next = segment.first_sequence + segment.count;
    }
    if (fetched.length < asked) return { loose, atEnd: true };
  }
  return { loose, atEnd: false };
}

/** A failed request fails its transaction, and that is what the caller hears. */
function ignoredHere(): undefined {
  return undefined;
}
