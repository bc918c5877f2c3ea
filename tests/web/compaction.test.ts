import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";

import "fake-indexeddb/auto";
import { openDB } from "idb";

import { COMPACT_BYTES, COMPACT_INTERVAL_MS, COMPACT_SEGMENTS, Compactor, planCompaction, SMALL_BYTES } from "../../web/src/compaction.js";
import type { SegmentCompaction } from "../../web/src/compaction.js";
import { CraError } from "../../web/src/errors.js";
import { IndexedDbStore } from "../../web/src/store-indexeddb.js";
import type { Segment } from "../../web/src/store.js";
import { verifyTrace } from "../../web/src/verify.js";
import { chainLines, rawEvent, rawEvents, SESSION_A, SESSION_B } from "./events.js";
import { beginnings, compactAll, endedLines, FEW, readAll, trickle } from "./stored-segments.js";

function sized(first: number, bytes: number): Segment {
  return { session_id: SESSION_A, first_sequence: first, count: 1, bytes: new Uint8Array(bytes) };
}

void describe("what a step of compaction does", () => {
  test("to segments that do not follow each other: nothing", () => {
    assert.deepEqual(planCompaction([sized(1, 1), sized(2, 1)], 0, true), { join: 0, settle: 0 });
    assert.deepEqual(planCompaction([sized(0, 1), sized(2, 1)], 0, true), { join: 0, settle: 0 });
    assert.deepEqual(planCompaction([], 0, true), { join: 0, settle: 0 });
  });

  test("to a session that goes on: nothing before a step is full, so that no byte is copied twice", () => {
    const all = Array.from({ length: COMPACT_SEGMENTS }, (_, n) => sized(n, 1));
    assert.deepEqual(planCompaction(all.slice(1), 1, false), { join: 0, settle: 0 });
    assert.deepEqual(planCompaction(all, 0, false), { join: COMPACT_SEGMENTS, settle: COMPACT_SEGMENTS });
    const half = COMPACT_BYTES / 2;
    assert.deepEqual(planCompaction([sized(0, half), sized(1, half)], 0, false), { join: 2, settle: 2 });
  });

  test("never makes a segment beyond the limit, and leaves one that is larger as it is", () => {
    assert.deepEqual(planCompaction([sized(0, 1), sized(1, COMPACT_BYTES)], 0, false), { join: 0, settle: 1 });
    assert.deepEqual(planCompaction([sized(0, 1), sized(1, 1), sized(2, COMPACT_BYTES)], 0, false), { join: 2, settle: 2 });
    assert.deepEqual(planCompaction([sized(0, COMPACT_BYTES * 3)], 0, false), { join: 0, settle: 1 });
  });
});

void describe("a compacted session in IndexedDB", () => {
  // PROTOCOL 3.18.5
  test("has the same lines in fewer records, the same head, and verifies", async () => {
    const name = randomUUID();
    const store = await IndexedDbStore.open(name);
    const lines = await endedLines();
    await trickle(store, lines);
    const [head, size] = [await store.head(SESSION_A), (await store.footprints())[0]?.size_bytes];
    assert.deepEqual(await store.compaction.fragmented(), [SESSION_A]);
    assert.equal(await compactAll(store), FEW);
    assert.deepEqual(await beginnings(name), [0]);
    for (const maxBytes of [1, 1_000, 1_000_000]) assert.deepEqual(await readAll(store, 0, maxBytes), lines);
    assert.deepEqual(await store.lines(SESSION_A, 3, 7), lines.slice(3, 7));
    assert.deepEqual([await store.head(SESSION_A), (await store.footprints())[0]?.size_bytes], [head, size]);
    assert.equal((await verifyTrace([(await store.read(SESSION_A, 0, 1e9)).bytes])).valid, true);
    assert.deepEqual([await store.compaction.fragmented(), await compactAll(store)], [[], 0]);
  });

  // PROTOCOL 3.18.5
  test("is read on from any position that a reader held before", async () => {
    const store = await IndexedDbStore.open(randomUUID());
    const lines = await endedLines();
    await trickle(store, lines);
    await compactAll(store);
    for (let position = 0; position <= FEW; position += 1) {
      for (const maxBytes of [1, 1_000, 1_000_000]) {
        assert.deepEqual(await readAll(store, position, maxBytes), lines.slice(position), `${position}, ${maxBytes}`);
      }
    }
  });

  test("of which a part is compact is read across its border", async () => {
    const store = await IndexedDbStore.open(randomUUID());
    const lines = await endedLines(COMPACT_SEGMENTS + 5);
    await trickle(store, lines.slice(0, -1));
    assert.deepEqual(await store.compaction.fragmented(), [SESSION_A]);
    assert.equal(await compactAll(store), COMPACT_SEGMENTS);
    assert.deepEqual(await store.compaction.fragmented(), []);
    await trickle(store, lines, lines.length - 1);
    assert.deepEqual(await readAll(store, 100, 30_000), lines.slice(100));
    assert.deepEqual([await store.compaction.fragmented(), await compactAll(store)], [[SESSION_A], 5]);
    assert.deepEqual(await readAll(store), lines);
  });

  test("was interrupted after a step, and the next start goes on there", async () => {
    const name = randomUUID();
    const lines = await endedLines(2 * COMPACT_SEGMENTS + 3);
    const first = await IndexedDbStore.open(name);
    await trickle(first, lines);
    assert.deepEqual(await first.compaction.compact(SESSION_A), { joined: COMPACT_SEGMENTS, more: true });
    await first.close();
    const next = await IndexedDbStore.open(name);
    assert.deepEqual(await next.compaction.fragmented(), [SESSION_A]);
    assert.equal(await compactAll(next), COMPACT_SEGMENTS + 3);
    assert.deepEqual([await beginnings(name), await readAll(next, 0, 1e9)], [[0, COMPACT_SEGMENTS, 2 * COMPACT_SEGMENTS], lines]);
  });

  test("loses nothing to a writer that appends at the same time, nor the writer its place", async () => {
    const store = await IndexedDbStore.open(randomUUID());
    const lines = await endedLines(3 * COMPACT_SEGMENTS);
    await trickle(store, lines.slice(0, COMPACT_SEGMENTS));
    const steps = Array.from({ length: 2 * COMPACT_SEGMENTS }, () => store.compaction.compact(SESSION_A));
    await trickle(store, lines, COMPACT_SEGMENTS);
    await Promise.all(steps);
    await compactAll(store);
    assert.deepEqual(await readAll(store, 0, 1_000), lines);
  });

  test("is compacted by two tabs at once as by one", async () => {
    const name = randomUUID();
    const tabs = [await IndexedDbStore.open(name), await IndexedDbStore.open(name)] as const;
    const lines = await endedLines();
    await trickle(tabs[0], lines);
    const joined = await Promise.all(tabs.map((tab) => compactAll(tab)));
    assert.deepEqual([joined.reduce((sum, one) => sum + one), await readAll(tabs[1])], [FEW, lines]);
  });

  test("keeps its pin, and goes as a whole when it is removed", async () => {
    const name = randomUUID();
    const store = await IndexedDbStore.open(name);
    await trickle(store, await endedLines());
    await store.pin(SESSION_A, true);
    await compactAll(store);
    assert.equal(await store.remove(SESSION_A, 1), false);
    await store.pin(SESSION_A, false);
    assert.deepEqual([await store.remove(SESSION_A, 1), await beginnings(name)], [true, []]);
    assert.deepEqual(await store.compaction.compact(SESSION_A), { joined: 0, more: false });
    assert.equal(await store.head(SESSION_A), null);
  });

  test("does not touch another session", async () => {
    const name = randomUUID();
    const store = await IndexedDbStore.open(name);
    await trickle(store, await endedLines());
    await trickle(store, await endedLines(3, SESSION_B), 0, SESSION_B);
    assert.equal(await compactAll(store, SESSION_B), 3);
    assert.equal((await beginnings(name)).length, FEW + 1);
  });

  test("that was written in large segments has nothing to join", async () => {
    const store = await IndexedDbStore.open(randomUUID());
    const payload = JSON.stringify({ text: "x".repeat(SMALL_BYTES) });
    const lines = await chainLines([...rawEvents(0, 3, { payload }), rawEvent(3, { type: "session.ended" })]);
    await trickle(store, lines);
    assert.deepEqual(await store.compaction.fragmented(), []);
    assert.deepEqual(await readAll(store), lines);
  });

  test("of before there was compaction is found by its head, which does not tell", async () => {
    const name = randomUUID();
    const store = await IndexedDbStore.open(name);
    const lines = await endedLines();
    await trickle(store, lines);
    const database = await openDB(name);
    const older = Object.entries((await database.get("heads", SESSION_A)) as object).filter(([key]) => key !== "compact_to" && key !== "loose");
    await database.put("heads", Object.fromEntries(older));
    database.close();
    assert.deepEqual([await store.compaction.fragmented(), await compactAll(store)], [[SESSION_A], FEW]);
    assert.deepEqual([await store.compaction.fragmented(), await readAll(store)], [[], lines]);
  });
});

/** A compactor whose pauses end when the test says so. */
function compactorOf(compaction: SegmentCompaction | null, mayRun = (): boolean => true): { compactor: Compactor; timers: { delayMs: number; work: () => void }[]; order: string[] } {
  const timers: { delayMs: number; work: () => void }[] = [];
  const order: string[] = [];
  const after = (delayMs: number, work: () => void): (() => void) => {
    timers.push({ delayMs, work });
    return () => undefined;
  };
  const idle = (): Promise<void> => {
    order.push("idle");
    return Promise.resolve();
  };
  return { compactor: new Compactor({ compaction, compress: false, idle, mayRun, after }), timers, order };
}

const NOTHING = { compression: "off", steps: 0, segments_joined: 0, failures: 0, conflicts: 0, plain_bytes: 0, stored_bytes: 0 };

/** Let everything run that only waits for promises. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

void describe("the compactor", () => {
  test("takes one step at a time, each between two batches, with a pause behind it", async () => {
    let left = 2;
    const compaction: SegmentCompaction = {
      compresses: false,
      fragmented: () => Promise.resolve([SESSION_A]),
      compact: () => {
        order.push("step");
        left -= 1;
        return Promise.resolve({ joined: 3, more: left > 0 });
      },
    };
    const { compactor, timers, order } = compactorOf(compaction);
    compactor.start();
    compactor.start();
    await settled();
    assert.deepEqual([order, timers.length], [["idle", "step"], 1]);
    timers.pop()?.work();
    await settled();
    timers.pop()?.work();
    await settled();
    assert.deepEqual([order, timers.map(({ delayMs }) => delayMs)], [["idle", "step", "idle", "step"], [COMPACT_INTERVAL_MS]]);
    assert.deepEqual(compactor.statistics, { ...NOTHING, steps: 2, segments_joined: 6 });
  });

  test("does nothing while the store has other cares, and once it was stopped", async () => {
    for (const stop of [false, true]) {
      let asked = 0;
      const compaction: SegmentCompaction = {
      compresses: false,
        fragmented: () => Promise.resolve([SESSION_A]),
        compact: () => Promise.resolve({ joined: (asked += 1), more: true }),
      };
      const { compactor, timers } = compactorOf(compaction, () => stop);
      compactor.start();
      if (stop) compactor.stop();
      await settled();
      assert.deepEqual([asked, timers.length], [0, stop ? 0 : 1]);
    }
  });

  test("counts what the store refuses and tries again later; a closed store ends it", async () => {
    const faults = ["store_full", "store_closed"];
    const compaction: SegmentCompaction = {
      compresses: false,
      fragmented: () => Promise.reject(new CraError(faults.shift() ?? "", "no")),
      compact: () => Promise.reject(new CraError("store_failed", "no")),
    };
    const { compactor, timers } = compactorOf(compaction);
    compactor.start();
    await settled();
    assert.deepEqual([compactor.statistics.failures, timers.map(({ delayMs }) => delayMs)], [1, [COMPACT_INTERVAL_MS]]);
    timers.pop()?.work();
    await settled();
    assert.deepEqual([compactor.statistics.failures, timers.length], [1, 0]);
  });

  test("has nothing to do in a store without segments", async () => {
    const { compactor, timers } = compactorOf(null);
    compactor.start();
    await settled();
    assert.deepEqual([compactor.statistics, timers], [NOTHING, []]);
  });
});
