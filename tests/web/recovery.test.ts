import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";

import "fake-indexeddb/auto";

import { splitLines } from "../../web/src/bytes.js";
import { Hashers } from "../../web/src/hashing.js";
import type { SessionHead, TraceEvent } from "../../web/src/model.js";
import { Recovery } from "../../web/src/recovery.js";
import { IndexedDbStore } from "../../web/src/store-indexeddb.js";
import type { TraceStore } from "../../web/src/store.js";
import { verifyTrace } from "../../web/src/verify.js";
import { blake3Events, chainLines, jsonl, rawEvent, rawEvents, SESSION_A, SESSION_B, uuid } from "./events.js";
import { FakeLockManager } from "./fake-locks.js";

/** 2026-01-02T03:05:00Z: 54 seconds after the events. */
const NOW_MS = Date.UTC(2026, 0, 2, 3, 5);

interface Setup {
  readonly store: IndexedDbStore;
  readonly manager: FakeLockManager;
  readonly recovery: Recovery;
  readonly problems: string[];
}

async function setUp(nowMs = NOW_MS, name: string = randomUUID(), manager = new FakeLockManager()): Promise<Setup> {
  const store = await IndexedDbStore.open(name, undefined, manager.tab());
  const problems: string[] = [];
  let drawn = 0;
  const randomBytes = (count: number): Uint8Array => new Uint8Array(count).fill((drawn += 1));
  const context = { store, hashers: new Hashers(), nowMs: () => nowMs, randomBytes };
  const recovery = new Recovery(context, ({ code }) => problems.push(code));
  return { store, manager, recovery, problems };
}

interface Stored {
  readonly session?: string;
  readonly atRisk?: number | null;
  readonly algorithm?: string;
  readonly lines?: readonly string[];
}

/** Store a session as a writer that is gone left it. */
async function leave(store: TraceStore, { session = SESSION_A, atRisk = 100, algorithm = "sha256", lines }: Stored = {}): Promise<string[]> {
  const events = algorithm === "blake3" ? blake3Events(0, 3, { session }) : rawEvents(0, 3, { session });
  const kept = [...(lines ?? (await chainLines(events, algorithm)))];
  const last = JSON.parse(kept.at(-1) ?? "") as TraceEvent;
  const head: SessionHead = {
    session_id: session,
    next_sequence: kept.length,
    head_hash: last.event_hash,
    ended: last.event_type === "session.ended",
    algorithm,
    at_risk: atRisk,
  };
  const bytes = new Uint8Array(jsonl(kept));
  const segments = [{ session_id: session, first_sequence: 0, count: kept.length, bytes }];
  const expected = [{ session_id: session, head: null }];
  await store.commit({ expected, segments, heads: [head], quarantine: [], durability: "relaxed" });
  return kept;
}

async function eventsOf(store: TraceStore, session = SESSION_A): Promise<TraceEvent[]> {
  return splitLines((await store.read(session, 0, Infinity)).bytes).map((line) => JSON.parse(line) as TraceEvent);
}

async function verdict(store: TraceStore, session = SESSION_A): Promise<unknown[]> {
  const { valid, events, warnings, algorithm } = await verifyTrace([(await store.read(session, 0, Infinity)).bytes]);
  return [valid, events, warnings, algorithm];
}

void describe("a session without a writer", () => {
  // PROTOCOL 3.17.2, 3.17.3, 3.17.4
  test("gets a gap that says what may be missing, then its end, and verifies", async () => {
    const { store, recovery, problems } = await setUp();
    await leave(store);
    await recovery.endOrphans(new Set());
    const [started, , , gap, ended] = await eventsOf(store);
    assert.deepEqual([gap?.event_type, gap?.payload], ["trace.gap", { cause: "interrupted", lost_at_most: 100, lost_count: null }]);
    assert.deepEqual([ended?.event_type, ended?.payload], ["session.ended", { duration_ms: 0, reason: "interrupted" }]);
    assert.equal(gap?.timestamp, "2026-01-02T03:05:00.000000Z");
    assert.deepEqual([gap.parent_span_id, ended?.parent_span_id, ended?.trace_id], [started?.span_id, started?.span_id, gap.trace_id]);
    assert.notEqual(gap.event_id, ended?.event_id);
    assert.deepEqual(await verdict(store), [true, 5, [], "sha256"]);
    assert.deepEqual(recovery.recovered, [
      { session_id: SESSION_A, first_sequence: 3, count: 2, lost_at_most: 100, cause: "interrupted" },
    ]);
    assert.deepEqual((await store.head(SESSION_A))?.ended, true);
    assert.deepEqual([problems, store.locks.held()], [[], []]);
  });

  // PROTOCOL 3.17.3
  test("of which nothing can be missing gets no gap", async () => {
    const { store, recovery } = await setUp();
    await leave(store, { atRisk: 0 });
    await recovery.endOrphans(new Set());
    assert.deepEqual((await eventsOf(store)).map(({ event_type }) => event_type).slice(3), ["session.ended"]);
    assert.deepEqual(await verdict(store), [true, 4, [], "sha256"]);
  });

  test("of which nobody knows what is missing says so", async () => {
    const { store, recovery } = await setUp();
    await leave(store, { atRisk: null });
    await recovery.endOrphans(new Set());
    assert.deepEqual((await eventsOf(store))[3]?.payload, { cause: "interrupted", lost_at_most: null, lost_count: null });
  });

  test("is ended with the hash that it began with", async () => {
    const { store, recovery } = await setUp();
    await leave(store, { algorithm: "blake3" });
    await recovery.endOrphans(new Set());
    assert.deepEqual(await verdict(store), [true, 5, [], "blake3"]);
  });

  // PROTOCOL 3.17.4
  test("does not end before its last event, also where the clock was set back", async () => {
    const { store, recovery } = await setUp(0);
    const lines = await leave(store);
    await recovery.endOrphans(new Set());
    const last = JSON.parse(lines.at(-1) ?? "") as TraceEvent;
    assert.equal((await eventsOf(store)).at(-1)?.timestamp, last.timestamp);
  });

  test("is ended once, however many start at once", async () => {
    const manager = new FakeLockManager();
    const name = randomUUID();
    const tabs = [await setUp(NOW_MS, name, manager), await setUp(NOW_MS, name, manager), await setUp(NOW_MS, name, manager)];
    const [first] = tabs;
    assert.ok(first !== undefined);
    await leave(first.store);
    await Promise.all(tabs.map(({ recovery }) => recovery.endOrphans(new Set())));
    assert.equal(tabs.flatMap(({ recovery }) => recovery.recovered).length, 1);
    assert.deepEqual(await verdict(first.store), [true, 5, [], "sha256"]);
  });
});

void describe("a session is left alone", () => {
  test("that has ended", async () => {
    const { store, recovery } = await setUp();
    const lines = await chainLines([...rawEvents(0, 2), rawEvent(2, { type: "session.ended" })]);
    await leave(store, { lines });
    await recovery.endOrphans(new Set());
    assert.deepEqual([(await eventsOf(store)).length, recovery.recovered], [3, []]);
  });

  // PROTOCOL 3.17.2
  test("whose writer holds its lock, in this tab or another", async () => {
    const [name, manager] = [randomUUID(), new FakeLockManager()];
    const { store, recovery } = await setUp(NOW_MS, name, manager);
    const other = await setUp(NOW_MS, name, manager);
    await leave(store);
    await leave(store, { session: SESSION_B });
    await store.locks.take(SESSION_A, 1);
    await other.store.locks.take(SESSION_B, 1);
    await recovery.endOrphans(new Set());
    assert.deepEqual([(await eventsOf(store)).length, (await eventsOf(store, SESSION_B)).length], [3, 3]);
    assert.deepEqual(recovery.recovered, []);
  });

  // PROTOCOL 3.17.2
  test("until its lock is free: it is looked at some more times after the start", async () => {
    const [name, manager] = [randomUUID(), new FakeLockManager()];
    const { store, recovery } = await setUp(NOW_MS, name, manager);
    const other = await setUp(NOW_MS, name, manager);
    await leave(store);
    await other.store.locks.take(SESSION_A, 1);
    assert.equal(await recovery.endOrphans(new Set()), true);
    const looks: { delayMs: number; work: () => void }[] = [];
    const after = (delayMs: number, work: () => void): (() => void) => {
      looks.push({ delayMs, work });
      return () => {
        looks.length = 0;
      };
    };
    recovery.keepLooking(new Set(), after);
    for (let look = 1; look < 3; look += 1) {
      looks.at(-1)?.work();
      while (looks.length === look) await new Promise(setImmediate);
    }
    assert.deepEqual([looks.map(({ delayMs }) => delayMs), recovery.recovered], [[1_000, 3_000, 10_000], []]);
    await other.store.locks.release([SESSION_A], false);
    looks.at(-1)?.work();
    while (recovery.recovered.length === 0) await new Promise(setImmediate);
    assert.deepEqual(await verdict(store), [true, 5, [], "sha256"]);
    assert.equal(await recovery.endOrphans(new Set()), false);
    recovery.keepLooking(new Set(), after);
    await recovery.stop();
    assert.deepEqual(looks, []);
    recovery.keepLooking(new Set(), after);
    assert.deepEqual(looks, []);
  });

  test("of a writer that goes to sleep during a look: the look ends before the locks are given back, and goes on behind", async () => {
    const { store, recovery } = await setUp();
    for (const session of [SESSION_A, SESSION_B]) await leave(store, { session });
    await store.locks.take(SESSION_B, 1);
    const look = recovery.endOrphans(new Set());
    await recovery.stop();
    await look;
    assert.deepEqual(recovery.recovered, []);
    await store.locks.release([SESSION_B], false);
    await recovery.endOrphans(new Set());
    assert.deepEqual([(await eventsOf(store)).length, (await eventsOf(store, SESSION_B)).length], [3, 3]);
    await store.locks.take(SESSION_B, 1);
    recovery.resume();
    await recovery.endOrphans(new Set());
    assert.deepEqual([(await eventsOf(store)).length, (await eventsOf(store, SESSION_B)).length], [5, 3]);
  });

  test("that this writer's own resolver still runs", async () => {
    const { store, recovery } = await setUp();
    await leave(store);
    await recovery.endOrphans(new Set([SESSION_A]));
    assert.equal((await eventsOf(store)).length, 3);
  });

  // PROTOCOL 3.17.2
  test("where there are no locks, because nobody can tell then whether its writer lives", async () => {
    const store = await IndexedDbStore.open(randomUUID());
    await leave(store);
    const context = { store, hashers: new Hashers(), nowMs: () => NOW_MS, randomBytes: (count: number) => new Uint8Array(count) };
    await new Recovery(context, () => undefined).endOrphans(new Set());
    assert.equal((await eventsOf(store)).length, 3);
  });
});

void describe("a session that cannot be ended", () => {
  test("because its hash is unknown is told, given back, and does not keep the others", async () => {
    const { store, recovery, problems } = await setUp();
    await leave(store, { algorithm: "", lines: await chainLines(rawEvents(0, 3)) });
    await leave(store, { session: SESSION_B });
    await recovery.endOrphans(new Set());
    assert.deepEqual([problems, (await eventsOf(store)).length, store.locks.held()], [["unknown_algorithm"], 3, []]);
    assert.deepEqual(await verdict(store, SESSION_B), [true, 5, [], "sha256"]);
  });

  test("because a line of it is damaged is told", async () => {
    const { store, recovery, problems } = await setUp();
    const lines = await chainLines(rawEvents(0, 2));
    await leave(store, { lines: [lines[0]?.slice(1) ?? "", lines[1] ?? ""] });
    await recovery.endOrphans(new Set());
    assert.deepEqual([problems, (await store.head(SESSION_A))?.ended], [["store_corrupt"], false]);
  });
});

test("the sessions of a resolver that died end as such", async () => {
  const { store, recovery } = await setUp();
  await leave(store);
  await store.locks.take(SESSION_A, 7);
  await recovery.endOwn([SESSION_A, uuid(0xc, 1)]);
  assert.deepEqual((await eventsOf(store))[3]?.payload, { cause: "resolver_died", lost_at_most: 100, lost_count: null });
  assert.deepEqual([recovery.recovered.length, store.locks.held()], [1, []]);
});
