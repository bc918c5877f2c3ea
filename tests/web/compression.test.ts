import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";

import "fake-indexeddb/auto";
import { openDB } from "idb";

import { COMPACT_BYTES, COMPACT_SEGMENTS, Compactor } from "../../web/src/compaction.js";
import { compressSegment, plainBytes, platformCompress } from "../../web/src/compression.js";
import type { Compress, StoredSegment } from "../../web/src/compression.js";
import { CraError } from "../../web/src/errors.js";
import { Imports } from "../../web/src/import.js";
import { openStore } from "../../web/src/open-store.js";
import { IndexedDbStore } from "../../web/src/store-indexeddb.js";
import type { Segment } from "../../web/src/store.js";
import { verifyTrace } from "../../web/src/verify.js";
import { chainLines, jsonl, rawEvent, rawEvents, SESSION_A, uuid } from "./events.js";
import { appending, beginnings, compactAll, endedLines, FEW, putSegments, readAll, storedSegments, trickle } from "./stored-segments.js";

const gzip = platformCompress();
assert.ok(gzip !== null);
const compress: Compress = gzip;

const LINES = new Uint8Array(jsonl(await endedLines()));
const SEGMENT: Segment = { session_id: SESSION_A, first_sequence: 0, count: FEW, bytes: LINES };

function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CraError && error.code === code;
}

function opened(name: string, how: Compress | null = compress): Promise<IndexedDbStore> {
  return IndexedDbStore.open(name, undefined, undefined, how);
}

/** Run `work` on a platform without one of its classes. */
async function without<T>(name: "CompressionStream" | "DecompressionStream", work: () => Promise<T>): Promise<T> {
  const had = Object.getOwnPropertyDescriptor(globalThis, name) ?? {};
  Reflect.deleteProperty(globalThis, name);
  try {
    return await work();
  } finally {
    Object.defineProperty(globalThis, name, had);
  }
}

/** A compression that waits until it may go on, and tells when it has begun. */
function gated(): { compress: Compress; begun: Promise<void>; open: () => void } {
  let [begin, open]: (() => void)[] = [];
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const gate = new Promise<void>((resolve) => (open = resolve));
  const waiting: Compress = async (bytes) => {
    begin?.();
    await gate;
    return await compress(bytes);
  };
  return { compress: waiting, begun, open: () => open?.() };
}

function storedBytes(segments: readonly StoredSegment[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes.length, 0);
}

/** Events that end a session of `count` segments of about `size` bytes each. */
async function largeLines(count: number, size: number): Promise<string[]> {
  const payload = JSON.stringify({ text: "words ".repeat(size / 6) });
  return chainLines([...rawEvents(0, count - 1, { payload }), rawEvent(count - 1, { type: "session.ended" })]);
}

void describe("a compressed segment", () => {
  test("that is damaged, or not as long as it says, is store_corrupt", async () => {
    const good = await compressSegment(SEGMENT, compress);
    const flipped = good.bytes.slice();
    flipped[100] = (flipped[100] ?? 0) ^ 1;
    const damaged: readonly StoredSegment[] = [
      { ...good, bytes: flipped },
      { ...good, bytes: good.bytes.slice(0, -1) },
      { ...good, bytes: good.bytes.slice(0, good.bytes.length / 2) },
      { ...good, bytes: new Uint8Array() },
      { ...good, bytes: LINES },
      { ...good, plain_bytes: LINES.length - 1 },
      { ...good, plain_bytes: LINES.length + 1 },
      { ...SEGMENT, bytes: good.bytes, encoding: "gzip" },
      { ...good, encoding: "zstd" },
    ];
    for (const [at, segment] of damaged.entries()) {
      await assert.rejects(plainBytes(segment), withCode("store_corrupt"), `the damage ${at}`);
    }
  });

  // PROTOCOL 3.18.9
  test("is given up as soon as more comes out than it says: not all of a hundred megabytes", async () => {
    const bomb = new Uint8Array(gzipSync(new Uint8Array(100_000_000)));
    let taken = 0;
    const counting = class extends DecompressionStream {
      override get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
        const count = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
          transform: (chunk, controller) => {
            taken += chunk.length;
            controller.enqueue(chunk);
          },
        });
        return super.readable.pipeThrough(count);
      }
    };
    const had = globalThis.DecompressionStream;
    globalThis.DecompressionStream = counting;
    try {
      await assert.rejects(plainBytes({ ...SEGMENT, bytes: bomb, encoding: "gzip", plain_bytes: 1_000 }), withCode("store_corrupt"));
    } finally {
      globalThis.DecompressionStream = had;
    }
    assert.ok(taken > 1_000 && taken < 20_000_000, String(taken));
  });

  test("cannot be read where the platform does not decompress, and that is told", async () => {
    const good = await compressSegment(SEGMENT, compress);
    await without("DecompressionStream", () => assert.rejects(plainBytes(good), withCode("compression_unavailable")));
    assert.deepEqual(await plainBytes(good), LINES);
  });

  test("is kept plain where it would not be shorter", async () => {
    assert.equal(await compressSegment(SEGMENT, (bytes) => Promise.resolve(bytes)), SEGMENT);
  });
});

void describe("a session in IndexedDB with compression", () => {
  // PROTOCOL 3.18.9
  test("has the same lines from every position in fewer bytes, verifies, and takes what is stored", async () => {
    const name = randomUUID();
    const store = await opened(name);
    const lines = await endedLines();
    await trickle(store, lines);
    const head = await store.head(SESSION_A);
    assert.deepEqual(await store.compaction.fragmented(), [SESSION_A]);
    assert.equal(await compactAll(store), FEW);
    const [segment, ...others] = await storedSegments(name);
    assert.deepEqual([segment?.encoding, segment?.plain_bytes, others], ["gzip", LINES.length, []]);
    assert.equal((await store.footprints())[0]?.size_bytes, segment?.bytes.length);
    assert.ok((segment?.bytes.length ?? Infinity) < LINES.length * 0.4);
    for (let position = 0; position <= FEW; position += 1) {
      for (const maxBytes of [1, 1_000, 1_000_000]) assert.deepEqual(await readAll(store, position, maxBytes), lines.slice(position));
    }
    assert.deepEqual(await store.lines(SESSION_A, 3, 7), lines.slice(3, 7));
    assert.equal((await verifyTrace([(await store.read(SESSION_A, 0, 1e9)).bytes])).valid, true);
    assert.deepEqual([await store.head(SESSION_A), await store.compaction.fragmented(), await compactAll(store)], [head, [], 0]);
  });

  // PROTOCOL 3.18.9
  test("that goes on is compressed by full steps, and its last segments once it ends", async () => {
    const name = randomUUID();
    const store = await opened(name);
    const lines = await endedLines(COMPACT_SEGMENTS + 5);
    await trickle(store, lines.slice(0, COMPACT_SEGMENTS - 1));
    assert.deepEqual([await store.compaction.fragmented(), await compactAll(store)], [[], 0]);
    await trickle(store, lines.slice(0, -1), COMPACT_SEGMENTS - 1);
    assert.deepEqual([await store.compaction.fragmented(), await compactAll(store)], [[SESSION_A], COMPACT_SEGMENTS]);
    assert.deepEqual(await store.compaction.fragmented(), []);
    await trickle(store, lines, lines.length - 1);
    assert.deepEqual([await store.compaction.fragmented(), await compactAll(store)], [[SESSION_A], 5]);
    assert.ok((await storedSegments(name)).every(({ encoding }) => encoding === "gzip"));
    assert.deepEqual(await readAll(store, 100, 30_000), lines.slice(100));
  });

  test("that is written in segments larger than a step has each of them compressed by itself", async () => {
    const name = randomUUID();
    const store = await opened(name);
    const lines = await largeLines(4, COMPACT_BYTES * 1.5);
    await trickle(store, lines.slice(0, 1));
    assert.deepEqual(await store.compaction.fragmented(), [SESSION_A]);
    await trickle(store, lines, 1);
    await compactAll(store);
    assert.deepEqual([await beginnings(name), await readAll(store)], [[0, 1, 2, 3], lines]);
    assert.ok(storedBytes(await storedSegments(name)) < COMPACT_BYTES);
  });

  test("whose segments do not become shorter is settled, not tried again", async () => {
    const name = randomUUID();
    const store = await opened(name, (bytes) => Promise.resolve(bytes));
    const lines = await endedLines();
    await trickle(store, lines);
    await compactAll(store);
    assert.deepEqual([await store.compaction.fragmented(), await readAll(store)], [[], lines]);
    assert.deepEqual((await storedSegments(name)).map(({ encoding }) => encoding), [undefined]);
  });

  test("holds both kinds when it is turned on, off and on again", async () => {
    const name = randomUUID();
    const [on, off] = [await opened(name), await opened(name, null)];
    const lines = await endedLines(4 * COMPACT_SEGMENTS);
    for (const [turn, store] of [off, on, off].entries()) {
      await trickle(store, lines.slice(0, (turn + 1) * COMPACT_SEGMENTS), turn * COMPACT_SEGMENTS);
      await compactAll(store);
      for (const reader of [on, off]) assert.deepEqual(await readAll(reader, 0, 1e9), lines.slice(0, (turn + 1) * COMPACT_SEGMENTS));
    }
    assert.deepEqual([...new Set((await storedSegments(name)).map(({ encoding }) => encoding))], ["gzip", undefined]);
    await trickle(on, lines, 3 * COMPACT_SEGMENTS);
    assert.deepEqual(await on.compaction.fragmented(), [SESSION_A]);
    await compactAll(on);
    const segments = await storedSegments(name);
    assert.ok(segments.every(({ encoding }) => encoding === "gzip"));
    assert.deepEqual([await readAll(on, 300), (await off.footprints())[0]?.size_bytes], [lines.slice(300), storedBytes(segments)]);
    assert.deepEqual([await on.compaction.fragmented(), await off.compaction.fragmented()], [[], []]);
  });

  test("that was compressed is never joined with what is not", async () => {
    const name = randomUUID();
    const store = await opened(name, null);
    const lines = await endedLines();
    await trickle(store, lines);
    const segments = await storedSegments(name);
    await putSegments(name, await Promise.all(segments.slice(3, 4).map((segment) => compressSegment(segment, compress))));
    await compactAll(store);
    assert.deepEqual([await beginnings(name), await readAll(store)], [[0, 3, 4], lines]);
  });

  test("with a damaged segment is store_corrupt for who reads it, and the rest is not", async () => {
    const name = randomUUID();
    const store = await opened(name);
    const lines = await endedLines(COMPACT_SEGMENTS + 5);
    await trickle(store, lines);
    await compactAll(store);
    const [first] = await storedSegments(name);
    assert.ok(first !== undefined);
    await putSegments(name, [{ ...first, bytes: first.bytes.slice(0, -9) }]);
    await assert.rejects(store.read(SESSION_A, 0, 1), withCode("store_corrupt"));
    await assert.rejects(store.lines(SESSION_A, 2, 3), withCode("store_corrupt"));
    assert.deepEqual(await readAll(store, COMPACT_SEGMENTS), lines.slice(COMPACT_SEGMENTS));
  });

  test("is imported compressed, and there is nothing left to do", async () => {
    const name = randomUUID();
    const store = await opened(name);
    const imported = await new Imports(store).take({ import_id: uuid(9, 1), offset: 0, bytes: LINES, last: true });
    assert.equal(imported?.events, FEW);
    const segments = await storedSegments(name);
    assert.deepEqual([segments.map(({ encoding }) => encoding), await store.compaction.fragmented()], [["gzip"], []]);
    assert.deepEqual([await readAll(store), (await store.footprints())[0]?.size_bytes], [await endedLines(), storedBytes(segments)]);
  });

  test("that was imported before is compressed as a whole, though it has not ended", async () => {
    const name = randomUUID();
    const lines = (await endedLines()).slice(0, -1);
    await new Imports(await opened(name, null)).take({ import_id: uuid(9, 1), offset: 0, bytes: new Uint8Array(jsonl(lines)), last: true });
    const store = await opened(name);
    assert.deepEqual(await store.compaction.fragmented(), [SESSION_A]);
    await compactAll(store);
    assert.deepEqual([await readAll(store), (await storedSegments(name))[0]?.encoding], [lines, "gzip"]);
  });
});

void describe("between reading and replacing", () => {
  // PROTOCOL 3.18.9
  test("another tab compressed or joined the segments: the step gives up and changes nothing", async () => {
    for (const other of [compress, null]) {
      const [name, gate] = [randomUUID(), gated()];
      const [slow, quick] = [await opened(name, gate.compress), await opened(name, other)];
      const lines = await endedLines();
      await trickle(slow, lines);
      const step = slow.compaction.compact(SESSION_A);
      await gate.begun;
      assert.equal(await compactAll(quick), FEW);
      const before = await storedSegments(name);
      gate.open();
      assert.deepEqual(await step, { joined: 0, more: false, conflict: true });
      assert.deepEqual([await storedSegments(name), await readAll(slow)], [before, lines]);
    }
  });

  test("the session was removed: nothing of it comes back", async () => {
    const [name, gate] = [randomUUID(), gated()];
    const store = await opened(name, gate.compress);
    await trickle(store, await endedLines());
    const step = store.compaction.compact(SESSION_A);
    await gate.begun;
    assert.equal(await store.remove(SESSION_A, 1), true);
    gate.open();
    assert.deepEqual(await step, { joined: 0, more: false, conflict: true });
    assert.deepEqual([await storedSegments(name), await store.head(SESSION_A)], [[], null]);
  });

  test("the worker was killed: nothing is lost, and the next one compresses it", async () => {
    const [name, gate] = [randomUUID(), gated()];
    const killed = await opened(name, gate.compress);
    const lines = await endedLines();
    await trickle(killed, lines);
    void killed.compaction.compact(SESSION_A).catch(() => undefined);
    await gate.begun;
    const next = await opened(name);
    assert.deepEqual([await beginnings(name), await readAll(next)], [lines.map((_, at) => at), lines]);
    assert.deepEqual([await compactAll(next), await readAll(next)], [FEW, lines]);
  });

  test("the store was closed: the step fails and has changed nothing", async () => {
    const [name, gate] = [randomUUID(), gated()];
    const store = await opened(name, gate.compress);
    await trickle(store, await endedLines());
    const step = store.compaction.compact(SESSION_A);
    await gate.begun;
    store.pause();
    gate.open();
    await assert.rejects(step, withCode("store_failed"));
    assert.equal((await beginnings(name)).length, FEW);
  });

  test("the writer appended: its lines stay, and are compressed later", async () => {
    const [name, gate] = [randomUUID(), gated()];
    const store = await opened(name, gate.compress);
    const lines = await endedLines(COMPACT_SEGMENTS + 9);
    await trickle(store, lines.slice(0, COMPACT_SEGMENTS));
    const step = store.compaction.compact(SESSION_A);
    await gate.begun;
    await trickle(store, lines, COMPACT_SEGMENTS);
    gate.open();
    assert.equal((await step).joined, COMPACT_SEGMENTS);
    assert.deepEqual([await readAll(store, 0, 5_000), await compactAll(store)], [lines, 9]);
    const segments = await storedSegments(name);
    assert.deepEqual([segments.map(({ encoding }) => encoding), await readAll(store)], [["gzip", "gzip"], lines]);
    const database = await openDB(name);
    const { loose, uncompressed_bytes: uncompressed, size_bytes: size } = (await database.get("heads", SESSION_A)) as Record<string, number>;
    database.close();
    assert.deepEqual([loose, uncompressed, size], [0, 0, storedBytes(segments)]);
  });

  test("two tabs compress at once, and between them compress everything once", async () => {
    const name = randomUUID();
    const tabs = [await opened(name), await opened(name)] as const;
    const lines = await endedLines(2 * COMPACT_SEGMENTS);
    await trickle(tabs[0], lines);
    const joined = await Promise.all(tabs.map((tab) => compactAll(tab)));
    assert.equal(joined.reduce((sum, one) => sum + one), 2 * COMPACT_SEGMENTS);
    assert.deepEqual(await readAll(tabs[1], 0, 1e9), lines);
  });
});

void describe("what statistics say of compression", () => {
  function compactorOf(store: { readonly compaction: IndexedDbStore["compaction"] | null }, asked: boolean): { compactor: Compactor; round: Promise<void> } {
    let done: () => void = () => undefined;
    const round = new Promise<void>((resolve) => (done = resolve));
    const after = (delayMs: number, work: () => void): (() => void) => {
      // The long pause is the one behind a round.
      if (delayMs > 1_000) done();
      else setImmediate(work);
      return () => undefined;
    };
    const idle = (): Promise<void> => Promise.resolve();
    return { compactor: new Compactor({ compaction: store.compaction, compress: asked, idle, mayRun: () => true, after }), round };
  }

  test("counts the bytes before and after, and steps that another tab came before", async () => {
    const name = randomUUID();
    const store = await opened(name);
    await trickle(store, await endedLines());
    const { compactor, round } = compactorOf(store, true);
    compactor.start();
    await round;
    const [segment] = await storedSegments(name);
    const { compression, conflicts, plain_bytes, stored_bytes } = compactor.statistics;
    assert.deepEqual([compression, conflicts, plain_bytes, stored_bytes], ["on", 0, LINES.length, segment?.bytes.length]);
    const conflict = { compresses: true, fragmented: () => Promise.resolve([SESSION_A]), compact: () => Promise.resolve({ joined: 0, more: false, conflict: true }) };
    const second = compactorOf({ compaction: conflict }, true);
    second.compactor.start();
    await second.round;
    assert.deepEqual([second.compactor.statistics.conflicts, second.compactor.statistics.failures], [1, 0]);
  });

  // PROTOCOL 3.18.9
  test("without a CompressionStream segments are joined as before and stay plain, and it says so", async () => {
    const name = randomUUID();
    const options = { owner: "", tell: () => undefined, compress: true };
    const store = await without("CompressionStream", () => openStore("indexeddb", name, options));
    assert.ok(store instanceof IndexedDbStore);
    await trickle(store, await endedLines());
    assert.equal(await compactAll(store), FEW);
    assert.deepEqual((await storedSegments(name)).map(({ encoding }) => encoding), [undefined]);
    assert.equal(compactorOf(store, true).compactor.statistics.compression, "unavailable");
  });

  test("a store without segments has nothing to compress, and one that was not asked is off", async () => {
    assert.equal(compactorOf({ compaction: null }, true).compactor.statistics.compression, "unavailable");
    assert.equal(compactorOf(await opened(randomUUID(), null), false).compactor.statistics.compression, "off");
  });

  test("is on where a store was asked to compress", async () => {
    const store = await openStore("indexeddb", randomUUID(), { owner: "", tell: () => undefined, compress: true });
    assert.equal(store.compaction?.compresses, true);
    assert.deepEqual(await store.commit(appending(await endedLines(), 0, FEW)), true);
    assert.deepEqual(await store.compaction.fragmented(), [SESSION_A]);
  });
});
