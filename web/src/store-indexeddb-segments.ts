/** Finds a session's segments in IndexedDB. */

import type { IDBPObjectStore } from "idb";

import { plainSize } from "./compression.js";
import type { StoredSegment } from "./compression.js";
import type { TraceSchema } from "./store-indexeddb.js";

type SegmentReader = Pick<IDBPObjectStore<TraceSchema, ["segments"], "segments">, "getAll" | "getKey" | "openCursor">;

/** Segments that one request fetches at most. */
const SEGMENTS_PER_READ = 64;

/** Array keys sort after every number, so [id, []] ends the id's range. */
export function keysFrom(sessionId: string, number: number): IDBKeyRange {
  return IDBKeyRange.bound([sessionId, number], [sessionId, []]);
}

/** Return how many segments of the size of those before fill what is left of `maxBytes`; 0 when it is full. */
export function segmentsToFetch(taken: number, size: number, maxBytes: number): number {
  if (size >= maxBytes) return 0;
  return Math.min(Math.ceil(((maxBytes - size) * taken) / size), SEGMENTS_PER_READ);
}

/** The segment that holds `sequence` behind its first line: compaction may have moved a position into one. */
export async function segmentAround(store: SegmentReader, sessionId: string, sequence: number): Promise<StoredSegment | null> {
  if (sequence === 0 || (await store.getKey([sessionId, sequence])) !== undefined) return null;
  const before = IDBKeyRange.bound([sessionId, 0], [sessionId, sequence]);
  const segment = (await store.openCursor(before, "prev"))?.value;
  return segment !== undefined && segment.first_sequence + segment.count > sequence ? segment : null;
}

/**
 * Return the segments with the lines from `position` on, of which the first may begin before it, up to `maxBytes` of lines
 * or one segment, and where to go on, null at the end. Segments hold one event or thousands: how many are fetched next
 * follows from the size of those before.
 */
export async function segmentsAt(
  store: SegmentReader,
  sessionId: string,
  position: number,
  maxBytes: number,
): Promise<{ segments: readonly StoredSegment[]; next: number | null }> {
  const begun = await segmentAround(store, sessionId, position);
  const taken = begun === null ? [] : [begun];
  let next = begun === null ? position : begun.first_sequence + begun.count;
  let size = begun === null ? 0 : plainSize(begun);
  for (let wanted = begun === null ? 1 : segmentsToFetch(1, size, maxBytes); wanted > 0; wanted = segmentsToFetch(taken.length, size, maxBytes)) {
    const segments = await store.getAll(keysFrom(sessionId, next), wanted);
    for (const segment of segments) {
      if (size > 0 && size + plainSize(segment) > maxBytes) return { segments: taken, next };
      taken.push(segment);
      size += plainSize(segment);
      next = segment.first_sequence + segment.count;
    }
    if (segments.length < wanted) return { segments: taken, next: null };
  }
  return { segments: taken, next };
}
