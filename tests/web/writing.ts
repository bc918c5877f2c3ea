/** What a trace writer works with, for its tests: a source and a store that fail or wait on demand, and a clock. */

import { splitLines } from "../../web/src/bytes.js";
import { CraError } from "../../web/src/errors.js";
import { Hashers } from "../../web/src/hashing.js";
import type { QuarantineNotice, SessionHead } from "../../web/src/model.js";
import type { BatchMessage, DrainedBatch, DrainProgress } from "../../web/src/protocol.js";
import { MemoryStore } from "../../web/src/store-memory.js";
import type { BatchWrite, StoredChange } from "../../web/src/store.js";
import { TraceWriter } from "../../web/src/writer.js";
import type { BatchSource, WriterClock } from "../../web/src/writer.js";
import { batchOf, SESSION_A } from "./events.js";

/** A buffer that gives the queued batches, keeps them until they are acknowledged and counts what is asked. */
export class FakeSource implements BatchSource {
  queue: BatchMessage[] = [];
  inFlight: BatchMessage[] = [];
  acked: number[] = [];
  drains: number[] = [];
  mostInFlight = 0;
  /** Errors to throw, each once, by method. */
  readonly faults: { drain: Error[]; ack: Error[]; redeliver: Error[]; progress: Error[] } = {
    drain: [],
    ack: [],
    redeliver: [],
    progress: [],
  };
  /** A drain that fails has given its batch away all the same. */
  loseDrainReply = false;

  #drained = 0;

  now(): DrainProgress {
    return { drained: this.#drained, pending: this.queue.reduce((sum, { count }) => sum + count, 0) };
  }

  progress(): Promise<DrainProgress> {
    const fault = this.faults.progress.shift();
    return fault === undefined ? Promise.resolve(this.now()) : Promise.reject(fault);
  }

  drain(maxEvents: number): Promise<DrainedBatch> {
    this.drains.push(maxEvents);
    const fault = this.faults.drain.shift();
    const batch = fault === undefined || this.loseDrainReply ? this.queue.shift() : undefined;
    if (batch !== undefined) this.inFlight.push(batch);
    this.#drained += batch?.count ?? 0;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight.length);
    if (fault !== undefined) return Promise.reject(fault);
    return Promise.resolve({ ...(batch ?? batchOf(0)), ...this.now() });
  }

  ack(batchId: number): Promise<boolean> {
    const fault = this.faults.ack.shift();
    if (fault !== undefined) return Promise.reject(fault);
    this.acked.push(batchId);
    this.inFlight = this.inFlight.filter(({ batch_id }) => batch_id !== batchId);
    return Promise.resolve(true);
  }

  readonly refusals: { readonly reason: string; readonly sessionIds: readonly string[] | null; readonly acked: number }[] =
    [];

  refuse(reason: string, sessionIds: readonly string[] | null): Promise<void> {
    this.refusals.push({ reason, sessionIds, acked: this.acked.length });
    return Promise.reject(new CraError("worker_dead", "nobody hears it"));
  }

  redeliver(): Promise<readonly BatchMessage[]> {
    const fault = this.faults.redeliver.shift();
    return fault === undefined ? Promise.resolve([...this.inFlight]) : Promise.reject(fault);
  }
}

/** A store that fails or waits on demand. */
export class FaultyStore extends MemoryStore {
  commitFaults: Error[] = [];
  headFaults: Error[] = [];
  readonly writes: BatchWrite[] = [];
  headsAsked = 0;
  /** Called before each commit; what it does is over before the commit begins. */
  beforeCommit: () => Promise<void> = () => Promise.resolve();
  /** Called when it is stored; what it throws is the commit's answer. */
  afterCommit: () => void = () => undefined;

  override async head(sessionId: string): Promise<SessionHead | null> {
    this.headsAsked += 1;
    const fault = this.headFaults.shift();
    if (fault !== undefined) throw fault;
    return await super.head(sessionId);
  }

  override async commit(write: BatchWrite): Promise<boolean> {
    await this.beforeCommit();
    const fault = this.commitFaults.shift();
    if (fault !== undefined) throw fault;
    this.writes.push(write);
    const done = await super.commit(write);
    this.afterCommit();
    return done;
  }
}

export class FakeClock implements WriterClock {
  readonly timers: { readonly delayMs: number; readonly work: () => void }[] = [];

  after(delayMs: number, work: () => void): () => void {
    const timer = { delayMs, work };
    this.timers.push(timer);
    return () => {
      const at = this.timers.indexOf(timer);
      if (at !== -1) this.timers.splice(at, 1);
    };
  }

  fire(): void {
    this.timers.shift()?.work();
  }
}

export interface Problem {
  readonly code: string;
  readonly notice: QuarantineNotice | null;
}

export interface Setup {
  readonly source: FakeSource;
  readonly store: FaultyStore;
  readonly clock: FakeClock;
  readonly problems: Problem[];
  readonly writer: TraceWriter;
  /** What each attempt to make room removes. */
  readonly rooms: number[];
  readonly ended: string[];
  /** What the writer told of each stored batch. */
  readonly changes: StoredChange[];
}

export async function setUp(
  store = new FaultyStore(),
  source = new FakeSource(),
  hashers = new Hashers(),
): Promise<Setup> {
  const clock = new FakeClock();
  const problems: Problem[] = [];
  const [rooms, ended, changes]: [number[], string[], StoredChange[]] = [[], [], []];
  await hashers.load("sha256");
  const writer = new TraceWriter({
    source,
    store,
    clock,
    hashers,
    atRisk: () => 65_537,
    makeRoom: () => Promise.resolve(rooms.shift() ?? 0),
    onStored: (stored) => void changes.push(...stored),
    onEnded: (sessionId) => ended.push(sessionId),
    onProblem: ({ code }, notice) => problems.push({ code, notice }),
  });
  return { source, store, clock, problems, writer, rooms, ended, changes };
}

export async function stored(store: MemoryStore, sessionId = SESSION_A): Promise<string[]> {
  return splitLines((await store.read(sessionId, 0, Infinity)).bytes);
}

export function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CraError && error.code === code;
}
