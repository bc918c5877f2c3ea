/** Turns of the writer that overlap: one drains and hashes while the last write of the one before is on its way. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { CraError } from "../../web/src/errors.js";
import { Hashers } from "../../web/src/hashing.js";
import type { HashText } from "../../web/src/hashing.js";
import type { BatchMessage, DrainedBatch, DrainProgress } from "../../web/src/protocol.js";
import type { BatchWrite } from "../../web/src/store.js";
import { batchOf, chainLines, rawEvents } from "./events.js";
import { FakeSource, FaultyStore, setUp, stored, withCode } from "./writing.js";

/** Lets everything run that waits for nothing outside. */
async function ticks(): Promise<void> {
  for (let turn = 0; turn < 100; turn += 1) await Promise.resolve();
}

/** Holds each commit back until it is let go. */
class HeldStore extends FaultyStore {
  readonly #waiting: (() => void)[] = [];

  override beforeCommit = (): Promise<void> =>
    new Promise((resolve) => {
      this.#waiting.push(resolve);
    });

  get waiting(): number {
    return this.#waiting.length;
  }

  letGo(): void {
    this.#waiting.shift()?.();
  }

  letAllGo(): void {
    this.beforeCommit = () => Promise.resolve();
    while (this.waiting > 0) this.letGo();
  }
}

/** A hash that cannot be had once, at the n-th time that it is asked for. */
class BreakingHashers extends Hashers {
  breaksAt = 0;

  override ready(algorithm: string): HashText | null {
    this.breaksAt -= 1;
    if (this.breaksAt === 0) throw new CraError("hash_unavailable", "out of memory");
    return super.ready(algorithm);
  }
}

test("the next turn drains and hashes while a strict flush waits for its write, and writes behind it", async () => {
  const held = new HeldStore();
  const { source, store, writer } = await setUp(held);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  let flushed = false;
  const flush = writer.flush("strict").then(() => (flushed = true));
  await ticks();
  source.queue.push(batchOf(2, rawEvents(2, 2)));
  writer.wake();
  await ticks();
  assert.deepEqual([source.drains.length, held.waiting, flushed, source.acked], [2, 1, false, []]);
  held.letGo();
  await flush;
  await ticks();
  assert.deepEqual([source.acked, held.waiting, store.headsAsked], [[1], 1, 1]);
  held.letGo();
  await writer.idle();
  assert.deepEqual(store.writes.map(({ durability }) => durability), ["strict", "relaxed"]);
  assert.deepEqual([source.acked, source.mostInFlight], [[1, 2], 2]);
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 4)));
});

test("a write that fails behind its turn is counted once, and what was hashed ahead of it is not written before it", async () => {
  const held = new HeldStore();
  const { source, store, clock, writer, problems } = await setUp(held);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  const flush = assert.rejects(writer.flush("strict"), withCode("store_failed"));
  await ticks();
  source.queue.push(batchOf(2, rawEvents(2, 2)));
  writer.wake();
  await ticks();
  store.commitFaults.push(new CraError("store_failed", "the disk is full"));
  held.letAllGo();
  await flush;
  await writer.idle();
  const { state, retries } = writer.statistics();
  assert.deepEqual([state, retries, source.acked, store.writes.length], ["backing_off", 1, [], 0]);
  assert.deepEqual([problems.map(({ code }) => code), clock.timers.map(({ delayMs }) => delayMs)], [["store_failed"], [250]]);
  clock.fire();
  await writer.idle();
  assert.deepEqual([source.acked, writer.statistics().state, await store.quarantined()], [[1, 2], "running", []]);
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 4)));
});

test("a turn that finds nothing to do does not take back that a write failed meanwhile", async () => {
  const held = new HeldStore();
  const { source, store, clock, writer } = await setUp(held);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  writer.wake();
  await ticks();
  const settled = assert.rejects(writer.settle(), withCode("store_failed"));
  store.commitFaults.push(new CraError("store_failed", "the disk is full"));
  await ticks();
  held.letAllGo();
  await settled;
  assert.deepEqual([writer.statistics().state, clock.timers.map(({ delayMs }) => delayMs)], ["backing_off", [250]]);
});

test("a close and a pause wait for the write that a turn left behind", async () => {
  for (const end of ["close", "pause"] as const) {
    const held = new HeldStore();
    const { source, store, writer } = await setUp(held);
    source.queue.push(batchOf(1, rawEvents(0, 2)));
    writer.wake();
    await ticks();
    // Its turn is over, and the next one fails: what is left behind is waited for all the same.
    source.faults.progress.push(new CraError("worker_dead", "the resolver is gone"));
    let ended = false;
    const ending = writer[end]().then(() => (ended = true));
    await ticks();
    assert.deepEqual([ended, held.waiting], [false, 1], end);
    held.letAllGo();
    await ending;
    assert.deepEqual([(await stored(store)).length, source.acked], [2, [1]], end);
  }
});

test("a flush does not take a source that waits for a lost acknowledgement for an empty one", async () => {
  const source = new BufferSource();
  const { store, writer } = await setUp(new FaultyStore(), source);
  source.queue.push(...[1, 2, 3].map((id) => batchOf(id, rawEvents((id - 1) * 2, 2))));
  source.faults.ack.push(...[1, 2].map(() => new CraError("deadline_exceeded", "Python was busy")));
  await assert.rejects(writer.flush(), withCode("deadline_exceeded"));
  await writer.flush();
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 6)));
  assert.deepEqual(source.inFlight, []);
});

test("a turn that cannot hash drains no more once it is over, whatever is stored then", async () => {
  const [held, hashers] = [new HeldStore(), new BreakingHashers()];
  const { source, store, clock, writer } = await setUp(held, new FakeSource(), hashers);
  source.queue.push(...[1, 2, 3].map((id) => batchOf(id, rawEvents((id - 1) * 2, 2))));
  hashers.breaksAt = 2;
  writer.wake();
  await ticks();
  assert.deepEqual([source.drains.length, held.waiting, writer.statistics().state], [2, 1, "backing_off"]);
  held.letAllGo();
  await ticks();
  assert.equal(source.drains.length, 2);
  clock.fire();
  await writer.settle();
  assert.deepEqual(store.writes.map(({ segments }) => segments.length), [1, 1, 1]);
  assert.deepEqual([await stored(store), source.acked], [await chainLines(rawEvents(0, 6)), [1, 2, 3]]);
});

test("what is redelivered is stored behind the write that is on its way", async () => {
  const [held, source] = [new HeldStore(), new BufferSource()];
  const { store, writer } = await setUp(held, source);
  source.queue.push(batchOf(1, rawEvents(0, 2)), batchOf(2, rawEvents(2, 2)));
  source.faults.ack.push(new CraError("deadline_exceeded", "Python was busy"));
  writer.wake();
  await ticks();
  held.letGo();
  await ticks();
  source.queue.push(batchOf(3, rawEvents(4, 2)));
  const flush = writer.flush();
  await ticks();
  assert.deepEqual([held.waiting, source.drains.length], [1, 2]);
  held.letAllGo();
  await flush;
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 6)));
  assert.deepEqual([source.inFlight, source.acked], [[], [2, 1, 3]]);
});

test("a batch whose drain is answered after its turn has failed is stored in its place", async () => {
  const source = new BufferSource();
  const { store, writer } = await setUp(new FaultyStore(), source);
  source.queue.push(...[1, 2, 3].map((id) => batchOf(id, rawEvents((id - 1) * 2, 2))));
  source.slowness = () => 20;
  store.headFaults.push(new CraError("store_failed", "the disk is gone"));
  await assert.rejects(writer.flush(), withCode("store_failed"));
  await writer.flush();
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 6)));
  assert.deepEqual([await store.quarantined(), source.acked], [[], [1, 2, 3]]);
});

test("what had to be delivered again is synced by a strict flush, too", async () => {
  const { source, store, writer } = await setUp();
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  await writer.flush("strict");
  source.queue.push(batchOf(2, rawEvents(2, 2)));
  source.loseDrainReply = true;
  source.faults.drain.push(new CraError("deadline_exceeded", "Python was busy"));
  await assert.rejects(writer.flush(), withCode("deadline_exceeded"));
  await writer.flush("strict");
  assert.deepEqual(
    store.writes.map(({ durability, segments }) => [durability, segments.length]),
    [
      ["strict", 1],
      ["strict", 1],
    ],
  );
});

test("a strict flush syncs what an earlier writer stored, and what was stored though it seemed to fail", async () => {
  const store = new FaultyStore();
  const batch = batchOf(1, rawEvents(0, 2));
  const earlier = await setUp(store);
  earlier.source.queue.push(batch);
  await earlier.writer.flush();
  const { source, writer } = await setUp(store);
  source.inFlight.push(batch);
  await writer.flush("strict");
  const synced = (): unknown => store.writes.splice(0).map(({ durability, heads }) => [durability, heads.length]);
  assert.deepEqual(synced(), [["relaxed", 1], ["strict", 0], ["strict", 1]]);

  source.queue.push(batchOf(2, rawEvents(2, 2)));
  store.afterCommit = () => {
    store.afterCommit = () => undefined;
    throw new CraError("store_failed", "the connection was lost");
  };
  await assert.rejects(writer.flush(), withCode("store_failed"));
  await writer.flush();
  await writer.flush("strict");
  assert.deepEqual(synced(), [["relaxed", 1], ["relaxed", 0], ["strict", 1]]);
});

test("a strict flush is served by the turn before it, and waits for nothing that came after it", async () => {
  const held = new HeldStore();
  const { source, store, writer } = await setUp(held);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  writer.wake();
  await ticks();
  source.queue.push(batchOf(2, rawEvents(2, 2)));
  writer.wake();
  const flush = writer.flush("strict");
  await ticks();
  source.queue.push(batchOf(3, rawEvents(4, 2)));
  held.letGo();
  await ticks();
  held.letGo();
  await flush;
  assert.deepEqual(store.writes.map(({ durability }) => durability), ["relaxed", "strict"]);
  assert.deepEqual([source.acked, source.now().pending], [[1, 2], 2]);
});

test("a flush is served by a turn that goes on behind it, which syncs where that is strict", async () => {
  for (const durability of ["relaxed", "strict"] as const) {
    const held = new HeldStore();
    const { source, store, writer } = await setUp(held);
    source.queue.push(...[1, 2, 3].map((id) => batchOf(id, rawEvents((id - 1) * 2, 2))));
    writer.wake();
    await ticks();
    // The source is not asked how far it is: that would count what it makes meanwhile.
    source.faults.progress.push(new CraError("worker_dead", "the resolver is gone"));
    const flush = writer.flush(durability, 4);
    held.letGo();
    await ticks();
    assert.deepEqual([source.acked, held.waiting], [[1], 1], durability);
    held.letGo();
    await flush;
    await ticks();
    assert.deepEqual([source.acked, held.waiting], [[1, 2], 1], durability);
    held.letAllGo();
    await writer.idle();
    assert.deepEqual(store.writes.map((write) => write.durability), ["relaxed", durability, "relaxed"]);
  }
});

test("the last batch of a turn takes up to a quarter more along, the others do not", async () => {
  const drainsOf = async (until: number, counts: readonly number[]): Promise<readonly number[]> => {
    const { source, writer } = await setUp();
    let made = 0;
    for (const [index, count] of counts.entries()) {
      source.queue.push(batchOf(index + 1, rawEvents(made, count)));
      made += count;
    }
    await writer.flush("relaxed", until);
    return source.drains;
  };
  assert.deepEqual(await drainsOf(2_250, [1_000, 1_250]), [1_000, 1_250]);
  assert.deepEqual(await drainsOf(2_251, [1_000, 1_000, 251]), [1_000, 1_000, 1_000]);
  assert.deepEqual(await drainsOf(1_016, [1_016]), [1_016]);
  assert.deepEqual(await drainsOf(5, [1_000]), [1_000]);
});

test("a batch is drained as soon as one of the two before it is stored, also while the other is hashed", async () => {
  const held = new HeldStore();
  const { source, store, writer } = await setUp(held);
  source.queue.push(batchOf(1, rawEvents(0, 2)), batchOf(2, rawEvents(2, 900)), batchOf(3, rawEvents(902, 2)));
  writer.wake();
  await ticks();
  assert.deepEqual([source.drains.length, held.waiting], [2, 1]);
  held.letGo();
  await ticks();
  assert.deepEqual([source.drains.length, source.acked, held.waiting], [3, [1], 0]);
  held.letAllGo();
  await writer.idle();
  assert.deepEqual([source.acked, source.mostInFlight], [[1, 2, 3], 2]);
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, 904)));
});

test("a sync of what was stored before waits for the write of another turn", async () => {
  const held = new HeldStore();
  const { source, store, writer } = await setUp(held);
  source.queue.push(batchOf(1, rawEvents(0, 2)));
  const stored = writer.flush();
  await ticks();
  held.letGo();
  await stored;
  const flush = writer.flush("strict");
  source.queue.push(batchOf(2, rawEvents(2, 2)));
  writer.wake();
  await ticks();
  assert.equal(held.waiting, 1);
  held.letAllGo();
  await flush;
  assert.deepEqual(store.writes.map(({ durability, segments }) => [durability, segments.length]), [["relaxed", 1], ["strict", 1]]);
});

/** As the buffer behind its channel: while two batches are in flight, a drain is empty (PROTOCOL 3.5.3); replies take time. */
class BufferSource extends FakeSource {
  /** How many ticks the next reply takes. */
  slowness: () => number = () => 0;
  /** Called before a batch is acknowledged. */
  beforeAck: (batchId: number) => void = () => undefined;
  #answered: Promise<unknown> = Promise.resolve();

  override progress(): Promise<DrainProgress> {
    return this.#later(super.progress());
  }

  override drain(maxEvents: number): Promise<DrainedBatch> {
    const isFull = this.inFlight.length === 2;
    return this.#later(isFull ? Promise.resolve({ ...batchOf(0), ...this.now() }) : super.drain(maxEvents));
  }

  override ack(batchId: number): Promise<boolean> {
    this.beforeAck(batchId);
    return this.#later(super.ack(batchId));
  }

  override redeliver(): Promise<readonly BatchMessage[]> {
    return this.#later(super.redeliver());
  }

  /** Behind the replies before it. */
  #later<T>(answer: Promise<T>): Promise<T> {
    answer.catch(() => undefined);
    const before = this.#answered;
    this.#answered = (async () => {
      await before;
      for (let tick = this.slowness(); tick > 0; tick -= 1) await Promise.resolve();
    })();
    return this.#answered.then(() => answer);
  }
}

/** Counts the events that a power cut would leave, and writes at the same time. */
class SyncedStore extends HeldStore {
  synced = 0;
  mostAtOnce = 0;
  #running = 0;

  override async commit(write: BatchWrite): Promise<boolean> {
    this.#running += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#running);
    const done = await super.commit(write).finally(() => (this.#running -= 1));
    if (done && write.durability === "strict" && write.heads.length > 0) this.synced = write.heads[0]?.next_sequence ?? 0;
    return done;
  }
}

/** Numbers below `bound` that only a seed decides. */
function numbers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** Lead one random life of a writer; everything that is promised of it is asserted on the way. */
async function live(seed: number): Promise<void> {
  const below = numbers(seed);
  const [source, held] = [new BufferSource(), new SyncedStore()];
  const { store, clock, writer } = await setUp(held, source);
  const settled: Promise<void>[] = [];
  /** The events that must be synced before a batch is acknowledged, because a call waits for them. */
  const durable = new Map<number, number>();
  const early: number[] = [];
  source.beforeAck = (batchId) => {
    if (held.synced < (durable.get(batchId) ?? 0)) early.push(batchId);
  };
  source.slowness = () => below(8);
  let [made, batches] = [0, 0];
  const push = (): void => {
    const count = 1 + below(3);
    batches += 1;
    source.queue.push(batchOf(batches, rawEvents(made, count)));
    made += count;
  };
  const settle = (durability: "relaxed" | "strict"): void => {
    const before = made;
    settled.push(
      writer.settle(durability, below(2) === 0 ? made : null).then(
        async () => {
          const next = (await store.sessions())[0]?.next_sequence ?? 0;
          assert.ok(next >= before, `seed ${seed}: a settled event is not stored`);
          if (durability === "strict") assert.ok(held.synced >= before, `seed ${seed}: a settled event is not synced`);
        },
        (error: unknown) => {
          assert.ok(error instanceof CraError);
        },
      ),
    );
  };
  const fault = (): CraError => new CraError("store_failed", "now and then");
  const steps: readonly (() => void)[] = [
    push,
    push,
    () => {
      push();
      durable.set(batches, made);
      writer.wakeStrict(made);
    },
    () => {
      writer.wake();
    },
    () => {
      settle("relaxed");
    },
    () => {
      settle("strict");
    },
    () => {
      clock.fire();
    },
    () => held.commitFaults.push(fault()),
    () => held.headFaults.push(fault()),
    () => {
      const asked = (["drain", "ack", "redeliver", "progress"] as const)[below(4)] ?? "drain";
      source.faults[asked].push(fault());
    },
    () => {
      source.loseDrainReply = !source.loseDrainReply;
    },
  ];
  for (let step = 0; step < 60; step += 1) {
    steps[below(steps.length)]?.();
    if (below(2) === 0) held.letGo();
    for (let turn = below(12); turn > 0; turn -= 1) await Promise.resolve();
  }
  held.commitFaults = [];
  held.headFaults = [];
  for (const faults of Object.values(source.faults)) faults.length = 0;
  held.letAllGo();
  await Promise.all(settled);
  source.slowness = () => 0;
  // The first makes up for what went wrong, the second for an acknowledgement that was lost in it.
  await writer.settle().catch(() => undefined);
  await writer.settle("strict");
  assert.deepEqual(await stored(store), await chainLines(rawEvents(0, made)), `seed ${seed}`);
  assert.deepEqual([await store.quarantined(), source.inFlight, held.synced], [[], [], made], `seed ${seed}`);
  assert.deepEqual([writer.statistics().state, clock.timers.length], ["running", 1], `seed ${seed}`);
  assert.deepEqual(early, [], `seed ${seed}: acknowledged before they were synced`);
  assert.equal(held.mostAtOnce, 1, `seed ${seed}`);
  await writer.close();
  assert.equal(clock.timers.length, 0);
}

// PROTOCOL 3.16.1, 3.16.2, 3.16.4
test("whatever fails and however turns overlap, what is settled is stored, what is strict is synced, and one chain holds all", async () => {
  for (let seed = 1; seed <= 1_500; seed += 1) await live(seed);
});
