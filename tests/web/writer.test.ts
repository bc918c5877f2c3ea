import assert from "node:assert/strict";
import { test } from "node:test";

import { CraError } from "../../web/src/errors.js";
import { Hashers } from "../../web/src/hashing.js";
import type { HashText } from "../../web/src/hashing.js";
import type { BatchMessage } from "../../web/src/protocol.js";
import type { SessionLocks } from "../../web/src/session-locks.js";
import type { MemoryStore } from "../../web/src/store-memory.js";
import { verifyTrace } from "../../web/src/verify.js";
import { BATCH_EVENTS, DRAIN_INTERVAL_MS } from "../../web/src/writer.js";
import {
  batchOf,
  blake3Events,
  chainLines,
  hashedWith,
  rawEvent,
  rawEvents,
  SESSION_A,
  SESSION_B,
  uuid,
} from "./events.js";
import { FakeLockManager, webLocks } from "./fake-locks.js";
import { FakeSource, FaultyStore, setUp, stored, withCode } from "./writing.js";

// PROTOCOL 3.5.6
test("drained batches are stored as one chain per session and then acknowledged", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 3), rawEvents(0, 2, { session: SESSION_B })), batchOf(2, rawEvents(3, 2)));
  await writer.flush();
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 5)));
  assert.deepEqual(await stored(store, SESSION_B), await chainLines(rawEvents(0, 2, { session: SESSION_B })));
  assert.deepEqual(source.acked, [1, 2]);
  assert.ok(source.drains.every((max) => max === BATCH_EVENTS));
  const result = await verifyTrace([(await store.read(SESSION_A, 0, Infinity)).bytes]);
  assert.deepEqual([result.valid, result.events], [true, 5]);
  const { batches_stored, events_stored, state, last_error } = writer.statistics();
  assert.deepEqual({ batches_stored, events_stored, state, last_error }, { batches_stored: 2, events_stored: 7, state: "running", last_error: null });
});

test("nothing to drain is no write and no acknowledgement", async () => {
  const { source, store, writer } = await setUp();
  await writer.flush();
  assert.deepEqual([store.writes.length, source.acked.length, source.drains.length], [0, 0, 0]);
});

// PROTOCOL 3.5.8
test("a batch is not acknowledged before the store has it", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 1)));
  store.beforeCommit = () => {
    assert.deepEqual(source.acked, []);
    return Promise.resolve();
  };
  await writer.flush();
  assert.deepEqual(source.acked, [1]);
});

test("the next batch is drained while one is stored, and never a third", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(...[0, 1, 2, 3, 4].map((n) => batchOf(n + 1, rawEvents(n * 2, 2))));
  const drainedAtCommit: number[] = [];
  store.beforeCommit = async () => {
    // Lets everything run that does not wait for this commit.
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
    drainedAtCommit.push(source.drains.length);
  };
  await writer.flush();
  assert.deepEqual(drainedAtCommit, [2, 3, 4, 5, 5]);
  assert.equal(source.mostInFlight, 2);
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 10)));
  assert.equal(store.headsAsked, 1, "each is hashed while the one before is stored, and the store is not asked where its chain stands");
});

// PROTOCOL 3.16.2
test("session ends and approvals are stored strictly, the stream is not", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(
    batchOf(1, rawEvents(0, 2)),
    batchOf(2, [rawEvent(2, { type: "approval.granted" })]),
    batchOf(3, [rawEvent(3, { type: "session.ended" })]),
  );
  await writer.flush();
  assert.deepEqual(store.writes.map(({ durability }) => durability), ["relaxed", "strict", "strict"]);
  assert.deepEqual((await store.head(SESSION_A))?.ended, true);
});

test("what a call waits for is stored strictly, once, and what was asked for during a turn in the next one", async () => {
  const { source, store, clock, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  store.beforeCommit = () => {
    store.beforeCommit = () => Promise.resolve();
    source.queue.push(batchOf(2, rawEvents(2, 1)));
    writer.wakeStrict(3);
    return Promise.resolve();
  };
  writer.wake();
  await writer.flush();
  await writer.idle();
  source.queue.push(batchOf(3, rawEvents(3, 1)));
  await writer.flush();
  assert.deepEqual(store.writes.map(({ durability }) => durability), ["relaxed", "strict", "relaxed"]);
  assert.equal(clock.timers.length, 1);
});

test("a store that fails refuses all calls that wait, and the retry is as strict as they asked", async () => {
  const { source, store, clock, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  store.commitFaults.push(new CraError("store_failed", "quota"));
  writer.wakeStrict(2);
  await assert.doesNotReject(writer.settle());
  assert.deepEqual(source.refusals, [{ reason: "the trace store failed: store_failed", sessionIds: null, acked: 0 }]);
  assert.deepEqual(store.writes.map(({ durability }) => durability), ["strict"]);
  assert.equal(clock.timers.length, 1);
});

test("calls of a session whose events are quarantined are refused before its batch is acknowledged", async () => {
  const { source, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(5, 2)), batchOf(2, rawEvents(7, 1)));
  await writer.settle();
  assert.deepEqual(
    source.refusals.map(({ sessionIds, acked }) => [sessionIds, acked]),
    [
      [[SESSION_A], 0],
      [[SESSION_A], 1],
    ],
  );
  assert.deepEqual(source.acked, [1, 2]);
});

// PROTOCOL 3.5.6
test("a redelivered batch that is stored already is skipped and acknowledged", async () => {
  const first = await setUp();
  first.source.queue.push(batchOf(1, rawEvents(0, 3)));
  await first.writer.flush();
  const before = await stored(first.store);
  const source = new FakeSource();
  source.inFlight.push(batchOf(1, rawEvents(0, 3)), batchOf(2, rawEvents(3, 1)));
  const { writer, store, problems } = await setUp(first.store, source);
  await writer.flush();
  assert.deepEqual(await stored(store), [...before, ...(await chainLines(rawEvents(0, 4))).slice(3)]);
  assert.deepEqual(source.acked, [1, 2]);
  assert.deepEqual([writer.statistics().events_skipped, writer.statistics().events_stored, problems], [3, 1, []]);
});

test("a batch of which only a part is stored is completed", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  await writer.flush();
  source.queue.push(batchOf(2, rawEvents(1, 3)));
  await writer.flush();
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 4)));
});

// PROTOCOL 3.5.7
test("a fork is quarantined, its session stops, the others of the batch go on, and flush tells", async () => {
  const { source, store, writer, problems } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 3)));
  await writer.flush();
  const before = await stored(store);
  source.queue.push(batchOf(2, rawEvents(2, 2, { kind: 9 }), rawEvents(0, 1, { session: SESSION_B })), batchOf(3, rawEvents(4, 1, { kind: 9 })));
  await assert.rejects(writer.flush(), withCode("session_forked"));
  assert.deepEqual(await stored(store), before);
  assert.equal((await stored(store, SESSION_B)).length, 1);
  assert.deepEqual(source.acked, [1, 2, 3]);
  const kept = await store.quarantined();
  assert.deepEqual(kept.map(({ first_sequence, count, reason }) => [first_sequence, count, reason]), [[2, 2, "session_forked"], [4, 1, "session_forked"]]);
  assert.equal(new TextDecoder().decode(kept[1]?.lines).startsWith(rawEvent(4, { kind: 9 }).event_id), true);
  assert.deepEqual(problems.map(({ code }) => code), ["session_forked", "session_forked"]);
  assert.equal(writer.statistics().events_quarantined, 3);
  await writer.flush();
});

test("the same event with another payload is a fork, not a redelivery", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  await writer.flush();
  source.queue.push(batchOf(2, rawEvents(0, 2, { payload: '{"n":99}' })));
  await assert.rejects(writer.flush(), withCode("session_forked"));
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 2)));
});

// PROTOCOL 3.5.7
test("a hole before a batch is never bridged", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(5, 2)));
  await assert.rejects(writer.flush(), withCode("traces_quarantined"));
  assert.equal(await store.head(SESSION_A), null);
  assert.equal((await store.quarantined())[0]?.reason, "sequence_gap");
});

test("a group that is not what the contract says is quarantined, not stored and not retried for ever", async () => {
  const good = batchOf(1, rawEvents(0, 2));
  const [group] = good.groups;
  assert.ok(group !== undefined);
  const text = new TextDecoder().decode(good.bytes);
  const withText = (changed: string): BatchMessage => {
    const bytes = new TextEncoder().encode(changed);
    return { ...good, bytes, groups: [{ ...group, length: bytes.length }] };
  };
  const bad: readonly [string, BatchMessage][] = [
    ["count", { ...good, groups: [{ ...group, count: 3 }] }],
    ["first sequence", { ...good, groups: [{ ...group, first_sequence: 1 }] }],
    ["session id", { ...good, groups: [{ ...group, session_id: "../../escape" }] }],
    ["cut bytes", { ...good, groups: [{ ...group, length: group.length - 3 }] }],
    ["a ninth field", withText(text.replace("\u001f", "\u001f\u001f"))],
    ["an event type", withText(text.replace("session.started", "Session.Started"))],
    ["a timestamp", withText(text.replace("03:04:05", "3:04:05"))],
    ["a sequence", withText(text.replace("\u001f0\u001f", "\u001f00\u001f"))],
    ["a payload", withText(text.replace('{"n":0}', "[]"))],
    ["a separator in a payload", withText(text.replace('{"n":0}', '{"n":"\u001f"}'))],
    ["text behind a payload", withText(text.replace('{"n":0}', '{"n":0} '))],
    ["a span id", withText(text.replace(uuid(3, 0), ""))],
    ["a parent span id", withText(text.replace("\u001f\u001f", "\u001f-\u001f"))],
    ["no UTF-8", { ...good, bytes: good.bytes.map((byte, at) => (at === 3 ? 0xff : byte)) }],
  ];
  for (const [name, batch] of bad) {
    const { source, store, writer } = await setUp();
    source.queue.push(batch);
    await assert.rejects(writer.flush(), withCode("traces_quarantined"), name);
    assert.deepEqual([(await store.quarantined())[0]?.reason, source.acked, await store.sessions()], ["bad_batch", [1], []], name);
  }
});

test("an unknown algorithm is quarantined by name", async () => {
  const { source, store, writer } = await setUp();
  const batch = batchOf(1, rawEvents(0, 1));
  source.queue.push({ ...batch, groups: batch.groups.map((group) => ({ ...group, algorithm: "md5" })) });
  await assert.rejects(writer.flush(), withCode("traces_quarantined"));
  assert.equal((await store.quarantined())[0]?.reason, "unknown_algorithm");
});

function asBlake3(batch: BatchMessage, sessionId = SESSION_A): BatchMessage {
  return hashedWith(batch, (id) => (id === sessionId ? "blake3" : "sha256"));
}

async function verdict(store: MemoryStore, sessionId = SESSION_A): Promise<unknown[]> {
  const { valid, events, algorithm } = await verifyTrace([(await store.read(sessionId, 0, Infinity)).bytes]);
  return [valid, events, algorithm];
}

test("sessions of both hashes share a batch and each keeps its own", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(
    asBlake3(batchOf(1, blake3Events(0, 2), rawEvents(0, 2, { session: SESSION_B }))),
    asBlake3(batchOf(2, blake3Events(2, 2), rawEvents(2, 1, { session: SESSION_B }))),
  );
  await writer.flush();
  assert.deepEqual(await stored(store), await chainLines(blake3Events(0, 4), "blake3"));
  assert.deepEqual(await verdict(store), [true, 4, "blake3"]);
  assert.deepEqual(await verdict(store, SESSION_B), [true, 3, "sha256"]);
  assert.deepEqual((await store.sessions()).map(({ algorithm }) => algorithm), ["blake3", "sha256"]);
});

// PROTOCOL 3.8.5
test("a new writer goes on with the hash that the stored session began with, and skips what it has", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(asBlake3(batchOf(1, blake3Events(0, 2))));
  await writer.flush();
  const again = await setUp(store);
  again.source.queue.push(asBlake3(batchOf(1, blake3Events(0, 4))));
  await again.writer.flush();
  assert.deepEqual(await verdict(store), [true, 4, "blake3"]);
  assert.equal(again.writer.statistics().events_skipped, 2);
});

for (const restart of [false, true]) {
  test(`a running session cannot change its hash${restart ? " by a restart" : ""}`, async () => {
    for (const blake3First of [true, false]) {
      const begun = await setUp();
      const events = blake3First ? blake3Events : rawEvents;
      const [first, then] = [batchOf(1, events(0, 2)), batchOf(2, events(2, 1))];
      begun.source.queue.push(blake3First ? asBlake3(first) : first);
      await begun.writer.flush();
      const { source, store, writer, problems } = restart ? await setUp(begun.store) : begun;
      source.queue.push(blake3First ? then : asBlake3(then));
      await assert.rejects(writer.flush(), withCode("traces_quarantined"));
      assert.deepEqual([(await store.quarantined())[0]?.reason, problems[0]?.code], ["algorithm_changed", "algorithm_changed"]);
      assert.deepEqual(await verdict(store), [true, 2, blake3First ? "blake3" : "sha256"]);
    }
  });
}

// PROTOCOL 3.8.5
test("a first event that names another hash than its batch is quarantined, the others go on", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(
    batchOf(1, blake3Events(0, 1), rawEvents(0, 1, { session: SESSION_B })),
    asBlake3(batchOf(2, rawEvents(0, 1, { session: uuid(0xc, 1) })), uuid(0xc, 1)),
    batchOf(3, [rawEvent(0, { session: uuid(0xd, 1), payload: '{"hash_algorithm":}' })]),
  );
  await assert.rejects(writer.flush(), withCode("traces_quarantined"));
  const reasons = (await store.quarantined()).map(({ session_id, reason }) => [session_id, reason]);
  assert.deepEqual(
    reasons,
    [SESSION_A, uuid(0xc, 1), uuid(0xd, 1)].map((id) => [id, "algorithm_changed"]),
  );
  assert.deepEqual((await store.sessions()).map(({ session_id }) => session_id), [SESSION_B]);
});

test("a batch is kept while its hash cannot be set up, and stored when it can", async () => {
  class LateHashers extends Hashers {
    failing = true;

    override load(algorithm: string): Promise<HashText> {
      if (!this.failing || algorithm === "sha256") return super.load(algorithm);
      return Promise.reject(new CraError("hash_unavailable", "not yet"));
    }
  }
  const hashers = new LateHashers();
  const { source, store, writer } = await setUp(new FaultyStore(), new FakeSource(), hashers);
  source.queue.push(asBlake3(batchOf(1, blake3Events(0, 2))));
  await assert.rejects(writer.flush(), withCode("hash_unavailable"));
  assert.deepEqual([await store.sessions(), await store.quarantined(), source.acked], [[], [], []]);
  hashers.failing = false;
  await writer.flush();
  assert.deepEqual([await verdict(store), source.acked], [[true, 2, "blake3"], [1]]);
});

test("events whose beginning is missing are a gap under any hash", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(asBlake3(batchOf(1, blake3Events(2, 1))));
  await assert.rejects(writer.flush(), withCode("traces_quarantined"));
  assert.equal((await store.quarantined())[0]?.reason, "sequence_gap");
});

// PROTOCOL 3.16.4
test("an error of the store keeps the batch, backs off, and loses nothing", async () => {
  const { source, store, clock, writer, problems } = await setUp();
  const full = new CraError("store_failed", "the disk is full");
  store.commitFaults.push(full, full, full);
  source.queue.push(batchOf(1, rawEvents(0, 2)), batchOf(2, rawEvents(2, 2)), batchOf(3, rawEvents(4, 1)));
  for (const delayMs of [250, 500, 1_000]) {
    await assert.rejects(writer.flush(), withCode("store_failed"));
    assert.deepEqual(source.acked, []);
    assert.equal(writer.statistics().state, "backing_off");
    assert.deepEqual(clock.timers.map((timer) => timer.delayMs), [delayMs]);
  }
  assert.deepEqual(problems.map(({ code }) => code), ["store_failed"], "the same trouble is told once");
  await writer.flush();
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 5)));
  assert.deepEqual(source.acked, [1, 2, 3]);
  assert.deepEqual([writer.statistics().state, writer.statistics().last_error, writer.statistics().retries], ["running", null, 3]);
  assert.deepEqual(clock.timers.map((timer) => timer.delayMs), [DRAIN_INTERVAL_MS]);
});

test("a batch that another writer stored in between is found by the swap and skipped", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)), batchOf(2, rawEvents(2, 2)), batchOf(3, rawEvents(4, 2)));
  let disturbed = false;
  store.beforeCommit = async () => {
    // While batch 2, hashed ahead, waits: another writer stores the very same events.
    if (disturbed || source.acked.length !== 1) return;
    disturbed = true;
    const other = await setUp(store);
    other.source.queue.push(batchOf(1, rawEvents(2, 2)));
    await other.writer.flush();
  };
  await writer.flush();
  assert.ok(disturbed);
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 6)));
  assert.equal(writer.statistics().events_skipped, 2);
});

test("a drain whose reply was lost is redelivered", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)), batchOf(2, rawEvents(2, 1)));
  source.loseDrainReply = true;
  source.faults.drain.push(new CraError("deadline_exceeded", "Python was busy"));
  await assert.rejects(writer.flush(), withCode("deadline_exceeded"));
  await writer.flush();
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 3)));
  assert.deepEqual(source.inFlight, []);
});

test("an acknowledgement that failed is made up for by a redelivery", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  source.faults.ack.push(new CraError("deadline_exceeded", "Python was busy"));
  await writer.flush();
  source.queue.push(batchOf(2, rawEvents(2, 1)));
  await writer.flush();
  assert.deepEqual(source.inFlight, []);
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 3)));
});

test("what was drained is stored even when the source died", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)), batchOf(2, rawEvents(2, 2)));
  store.commitFaults.push(new CraError("store_failed", "the disk is full"));
  await assert.rejects(writer.flush(), withCode("store_failed"));
  const dead = new CraError("worker_dead", "the resolver is gone");
  source.faults.ack.push(dead, dead);
  source.faults.redeliver.push(dead);
  await assert.rejects(writer.settle(), withCode("worker_dead"));
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 4)));
});

// PROTOCOL 3.16.3
test("a started writer drains on its timer and at once when woken", async () => {
  const { source, store, clock, writer } = await setUp();
  writer.start();
  await writer.settle();
  assert.deepEqual(clock.timers.map(({ delayMs }) => delayMs), [DRAIN_INTERVAL_MS]);
  source.queue.push(batchOf(1, rawEvents(0, 1)));
  clock.fire();
  await writer.settle();
  source.queue.push(batchOf(2, rawEvents(1, 1)));
  writer.wake();
  writer.wake();
  await writer.settle();
  assert.equal((await stored(store)).length, 2);
});

/** A FaultyStore with locks, as a tab of a browser has them. */
class LockingStore extends FaultyStore {
  override readonly locks: SessionLocks;
  paused = 0;

  constructor(readonly manager = new FakeLockManager()) {
    super();
    this.locks = webLocks(manager);
  }

  override pause(): void {
    this.paused += 1;
  }
}

// PROTOCOL 3.17.1
test("a session is locked before its first line is stored, and free once it has ended", async () => {
  const locking = new LockingStore();
  const { source, store, writer } = await setUp(locking);
  const heldAtCommit: (readonly string[])[] = [];
  store.beforeCommit = () => {
    heldAtCommit.push(locking.locks.held());
    return Promise.resolve();
  };
  source.queue.push(batchOf(1, rawEvents(0, 1), rawEvents(0, 1, { session: SESSION_B })));
  source.queue.push(batchOf(2, [rawEvent(1, { type: "session.ended" })]));
  await writer.flush();
  assert.deepEqual(heldAtCommit, [[SESSION_A, SESSION_B], [SESSION_A, SESSION_B]]);
  assert.deepEqual(locking.locks.held(), [SESSION_B]);
});

test("a session whose lock another holds is written all the same: the swap keeps its chain whole", async () => {
  const locking = new LockingStore();
  await webLocks(locking.manager).take(SESSION_A);
  const { source, writer } = await setUp(locking);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  await writer.flush();
  assert.deepEqual([locking.locks.held(), (await stored(locking)).length], [[], 2]);
});

// PROTOCOL 3.16.3, 3.17.6
test("a page that goes to sleep has its events stored and holds nothing, and goes on when it wakes", async () => {
  const locking = new LockingStore();
  const { source, writer } = await setUp(locking);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  const held = await writer.pause();
  assert.deepEqual([held, locking.manager.names(), locking.paused, source.acked], [[SESSION_A], [], 1, [1]]);
  source.queue.push(batchOf(2, rawEvents(2, 1)));
  await writer.resume(held);
  assert.deepEqual(locking.locks.held(), [SESSION_A]);
  await writer.flush();
  assert.deepEqual(await stored(locking), await chainLines(rawEvents(0, 3)));
});

// PROTOCOL 3.17.6
test("a page whose session was ended by another while it slept is told, and the chain stays whole", async () => {
  const locking = new LockingStore();
  const { source, writer, problems } = await setUp(locking);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  const held = await writer.pause();
  const other = await setUp(locking);
  other.source.queue.push(batchOf(1, [rawEvent(2, { kind: 9, type: "session.ended" })]));
  await other.writer.flush();
  source.queue.push(batchOf(2, rawEvents(2, 1)));
  await writer.resume(held);
  await assert.rejects(writer.flush(), withCode("session_forked"));
  assert.deepEqual(problems.map(({ code }) => code), ["session_forked"]);
  assert.deepEqual((await stored(locking)).length, 3);
});

test("a page that goes to sleep while its store refuses keeps what it could not store", async () => {
  const locking = new LockingStore();
  const { source, store, writer } = await setUp(locking);
  store.commitFaults.push(new CraError("store_failed", "the disk is gone"));
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  assert.deepEqual(await writer.pause(), [SESSION_A]);
  await writer.resume([SESSION_A]);
  await writer.flush();
  assert.deepEqual([await stored(locking), source.acked], [await chainLines(rawEvents(0, 2)), [1]]);
});

test("each head tells what may be missing behind it, and an end that nothing is", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 1), [rawEvent(0, { session: SESSION_B }), rawEvent(1, { session: SESSION_B, type: "session.ended" })]));
  await writer.flush();
  assert.deepEqual((await store.sessions()).map(({ at_risk }) => at_risk), [65_537, 0]);
});

// PROTOCOL 3.17.3
test("a close that stored everything says that nothing is missing; one that could not, does not", async () => {
  for (const settled of [true, false]) {
    const locking = new LockingStore();
    const { source, writer } = await setUp(locking);
    source.queue.push(batchOf(1, rawEvents(0, 1)));
    await writer.flush();
    await writer.close();
    await writer.release(settled);
    assert.deepEqual([(await locking.head(SESSION_A))?.at_risk, locking.locks.held()], [settled ? 0 : 65_537, []]);
  }
  const locking = new LockingStore();
  const { source, store, writer } = await setUp(locking);
  source.queue.push(batchOf(1, rawEvents(0, 1)));
  await writer.flush();
  store.commitFaults.push(new CraError("store_failed", "the disk is gone"));
  source.queue.push(batchOf(2, rawEvents(1, 1)));
  await assert.rejects(writer.flush(), withCode("store_failed"));
  await writer.close();
  await writer.release(true);
  assert.equal((await locking.head(SESSION_A))?.at_risk, 65_537);
});

// PROTOCOL 3.16.2
test("a strict flush makes durable what was stored before it, once", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  await writer.flush();
  await writer.flush("strict");
  await writer.flush("strict");
  assert.deepEqual(store.writes.map(({ durability, segments }) => [durability, segments.length]), [["relaxed", 1], ["strict", 0]]);
  source.queue.push(batchOf(2, [rawEvent(2, { type: "approval.granted" })]));
  await writer.flush("strict");
  assert.deepEqual(store.writes.map(({ durability }) => durability), ["relaxed", "strict", "strict"]);
  assert.deepEqual(await stored(store), await chainLines([...rawEvents(0, 2), rawEvent(2, { type: "approval.granted" })]));
});

test("of the batches of a strict flush only the last write is strict, and takes those before along", async () => {
  const { source, store, writer } = await setUp();
  const three = [1, 2, 3].map((id) => batchOf(id, rawEvents((id - 1) * 2, 2)));
  source.queue.push(...three);
  await writer.flush("strict");
  assert.deepEqual(store.writes.map(({ durability }) => durability), ["relaxed", "relaxed", "strict"]);
  assert.deepEqual(source.acked, [1, 2, 3]);
});

test("a strict write in which nothing is new syncs nothing, so that what was relaxed before is synced apart", async () => {
  const { source, store, writer } = await setUp();
  const batch = batchOf(1, rawEvents(0, 2));
  source.queue.push(batch);
  await writer.flush();
  source.queue.push({ ...batch, batch_id: 2 });
  await writer.flush("strict");
  assert.deepEqual(store.writes.map(({ durability, heads }) => [durability, heads.length]), [["relaxed", 1], ["strict", 0], ["strict", 1]]);
});

test("a batch that was drained while the store refused the one before is held, and stored behind it", async () => {
  const { source, store, clock, writer } = await setUp();
  store.commitFaults.push(new CraError("store_failed", "not now"));
  source.queue.push(...[1, 2, 3].map((id) => batchOf(id, rawEvents((id - 1) * 2, 2))));
  await assert.rejects(writer.flush(), withCode("store_failed"));
  assert.deepEqual([source.acked, source.drains.length], [[], 2]);
  clock.fire();
  await writer.flush();
  assert.deepEqual(source.acked, [1, 2, 3]);
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 6)));
});

// PROTOCOL 3.16.4
test("a full store keeps the batch, says so, and work goes on when there is room", async () => {
  const { source, store, clock, writer, problems } = await setUp();
  store.commitFaults.push(new CraError("store_full", "no room"), new CraError("store_full", "no room"));
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  await assert.rejects(writer.flush(), withCode("store_full"));
  await assert.rejects(writer.flush(), withCode("store_full"));
  assert.deepEqual([writer.statistics().state, source.acked, problems.map(({ code }) => code)], ["full", [], ["store_full"]]);
  clock.fire();
  await writer.settle();
  await writer.idle();
  assert.deepEqual([writer.statistics().state, source.acked], ["running", [1]]);
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 2)));
});

// PROTOCOL 3.18.2
test("a full store that old sessions make room in takes the batch at once, and nobody need be told", async () => {
  const { source, store, writer, problems, rooms } = await setUp();
  store.commitFaults.push(new CraError("store_full", "no room"), new CraError("store_full", "no room"));
  rooms.push(3, 1);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  await writer.flush();
  assert.deepEqual([await stored(store), problems, rooms], [await chainLines(rawEvents(0, 2)), [], []]);
});

// PROTOCOL 3.18.2
test("old sessions make room for a session's lock as well", async () => {
  const { source, store, writer, problems, rooms } = await setUp();
  const take = store.locks.take.bind(store.locks);
  store.locks.take = (): Promise<boolean> => {
    store.locks.take = take;
    return Promise.reject(new CraError("store_full", "no room"));
  };
  rooms.push(1);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  await writer.flush();
  assert.deepEqual([(await stored(store)).length, problems, rooms], [2, [], []]);
});

test("locks are given back also where a head cannot be read, and then nothing is claimed", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  await writer.flush();
  await writer.close();
  const released: unknown[] = [];
  store.locks.held = (): readonly string[] => [SESSION_A, SESSION_B];
  store.locks.release = (sessionIds, settled): Promise<void> => Promise.resolve(void released.push([sessionIds, settled]));
  store.headFaults.push(new CraError("store_corrupt", "damaged"));
  await assert.rejects(writer.release(true), withCode("store_corrupt"));
  assert.deepEqual(released, [[[SESSION_A, SESSION_B], false]]);
});

test("an end that is stored is told, once", async () => {
  const { source, store, writer, ended } = await setUp();
  store.commitFaults.push(new CraError("store_failed", "not yet"));
  source.queue.push(batchOf(1, rawEvents(0, 1), [rawEvent(0, { session: SESSION_B }), rawEvent(1, { session: SESSION_B, type: "session.ended" })]));
  await assert.rejects(writer.flush(), withCode("store_failed"));
  assert.deepEqual(ended, []);
  await writer.flush();
  await writer.flush();
  assert.deepEqual(ended, [SESSION_B]);
});

test("an end that was stored by a write whose answer was an error is told, once, and by what it was before", async () => {
  const { source, store, writer, ended, changes } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 3)));
  await writer.flush();
  store.afterCommit = (): void => {
    store.afterCommit = (): void => undefined;
    throw new CraError("store_failed", "the connection was lost");
  };
  source.queue.push(batchOf(2, [rawEvent(3, { type: "session.ended" })], [rawEvent(0, { session: SESSION_B })]));
  await assert.rejects(writer.flush(), withCode("store_failed"));
  assert.deepEqual(ended, []);
  await writer.flush();
  await writer.flush();
  assert.deepEqual(ended, [SESSION_A]);
  assert.deepEqual(
    changes.map(({ before, head }) => [head.session_id, before, head.next_sequence]),
    [[SESSION_A, 0, 3], [SESSION_A, 3, 4], [SESSION_B, 0, 1]],
  );
  assert.equal(store.locks.holds(SESSION_A), false);
});

test("of flushes at the same time none resolves over a quarantined event, and the next one does", async () => {
  const { source, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 3)));
  await writer.flush();
  source.queue.push(batchOf(2, rawEvents(1, 3, { kind: 9 })));
  const flushes = [writer.flush(), writer.flush("strict"), writer.flush()];
  await Promise.all(flushes.map((flush) => assert.rejects(flush, withCode("session_forked"))));
  await writer.flush();
});

test("a flush ends while events keep coming", async () => {
  const { source, store, writer } = await setUp();
  let made = 1;
  source.queue.push(batchOf(1, rawEvents(0, 1)));
  store.beforeCommit = () => {
    source.queue.push(batchOf(made + 1, rawEvents(made, 1)));
    made += 1;
    return Promise.resolve();
  };
  await writer.flush();
  assert.ok((await stored(store)).length >= 1);
  assert.ok(source.queue.length >= 1, "events of after the call may wait");
});

test("a closed writer refuses, drains no more and leaves no timer", async () => {
  const { source, clock, writer } = await setUp();
  writer.start();
  await writer.close();
  await writer.close();
  source.queue.push(batchOf(1, rawEvents(0, 1)));
  await assert.rejects(writer.flush(), withCode("closed"));
  writer.wake();
  assert.deepEqual([clock.timers.length, source.drains.length, writer.statistics().state], [0, 0, "closed"]);
});
