/**
 * The trace writer: drain, hash and chain, store, acknowledge.
 *
 * INVARIANT: a batch is acknowledged only after the store said that it is durable, and kept here until then.
 * While one batch is hashed or stored the next is drained, so at most two are in flight, which is also the most that the
 * buffer gives away. A turn ends when its last batch was handed to the store: the next one drains and hashes meanwhile.
 */

import { CraError } from "./errors.js";
import { UUID } from "./formats.js";
import type { Hashers } from "./hashing.js";
import type { QuarantineNotice, SessionHead, WriterStatistics } from "./model.js";
import { Planner } from "./plan.js";
import type { Plan } from "./plan.js";
import type { BatchMessage, DrainedBatch, DrainProgress } from "./protocol.js";
import type { BatchWrite, Durability, StoredChange, TraceStore } from "./store.js";

/** Where batches come from: the resolver's side of the channel. */
export interface BatchSource {
  drain(maxEvents: number): Promise<DrainedBatch>;
  ack(batchId: number): Promise<boolean>;
  redeliver(): Promise<readonly BatchMessage[]>;
  progress(): Promise<DrainProgress>;
  /** Tell the calls that wait until they are stored, of some sessions or (null) of all, that they are not. */
  refuse(reason: string, sessionIds: readonly string[] | null): Promise<void>;
}

/** Time, injected so that tests need not wait. */
export interface WriterClock {
  /** Call `work` in `delayMs`; returns what cancels it. */
  after(delayMs: number, work: () => void): () => void;
}

export interface WriterOptions {
  readonly source: BatchSource;
  readonly store: TraceStore;
  readonly hashers: Hashers;
  readonly clock: WriterClock;
  /** How many events of a session the source may hold beyond what is stored; null where nobody knows. */
  readonly atRisk: () => number | null;
  /** Called when the store is full: resolves to how much was removed, and then the write is tried again. */
  readonly makeRoom: () => Promise<number>;
  /** A batch is durable: how it moved its sessions. Must return at once: its acknowledgement comes behind it. */
  readonly onStored?: (changes: readonly StoredChange[]) => void;
  /** A session has ended and its end is stored. */
  readonly onEnded: (sessionId: string) => void;
  /** Told of everything that could not be stored as it should, as it happens. */
  readonly onProblem: (problem: CraError, notice: QuarantineNotice | null) => void;
}

/** What is not durable is at most this old (PROTOCOL 3.5). */
export const DRAIN_INTERVAL_MS = 250;

/**
 * Events per batch: at 1,000 a transaction, strict durability costs 4 %; hashing them takes some 5 ms. The last one that
 * is asked for takes up to a quarter more along: whoever waits would wait for another transaction.
 */
export const BATCH_EVENTS = 1_000;
const LAST_BATCH_EVENTS = 1_250;

const BACK_OFF_MS = [250, 500, 1_000, 2_000, 5_000, 10_000] as const;
const REMEMBERED_HEADS = 4_096;
const NOTICES_KEPT = 100;

/** A swap that fails this often is no race but a store that does not hold what it says. */
const MAX_SWAP_TRIES = 100;

/** What is held: one that was delivered again does not say how far the drains had come with it. */
type Held = BatchMessage & Partial<DrainProgress>;

/** Asks for all that the source had made at that time to be stored. */
class Flush {
  readonly durability: Durability;
  /** How many events that are, by the source's count. */
  readonly end: number;
  /** Its turn has begun, which tells by itself how it ended. */
  inTurn = false;
  readonly served: Promise<void>;
  #serve: () => void = () => undefined;

  constructor(durability: Durability, end: number) {
    this.durability = durability;
    this.end = end;
    this.served = new Promise((resolve) => {
      this.#serve = resolve;
    });
  }

  serve(): void {
    if (!this.inTurn) this.#serve();
  }
}

/** Resolves when a turn before its own has stored all of it; where it could not even be asked, its own turn tells. */
async function served(asked: Promise<Flush>): Promise<void> {
  try {
    await (await asked).served;
  } catch {
    await new Promise(() => undefined);
  }
}

/** Without this, what fails before it is awaited counts as unhandled. */
function heardLater<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}

export class TraceWriter {
  readonly #options: WriterOptions;
  readonly #planner: Planner;
  readonly #stopped = new Map<string, QuarantineNotice["reason"]>();
  readonly #heads = new Map<string, SessionHead>();
  /** Drained and not acknowledged, oldest first. */
  readonly #held: Held[] = [];
  /** The newest of all that there were. */
  readonly #notices: QuarantineNotice[] = [];
  #noticed = 0;
  /** How many of them flushes have told. */
  #reported = 0;
  /** Sessions of a write that failed, and that may be stored all the same: where each stood before it. */
  readonly #untold = new Map<string, number>();
  /**
   * What a power cut may take, until a strict write follows: where it begins by the source's count (-1 where nobody knows),
   * and the session of the newest such write, null for that of an earlier writer.
   */
  #relaxed: { readonly from: number; readonly sessionId: string | null } | null = { from: -1, sessionId: null };
  readonly #counts = { batches_stored: 0, events_stored: 0, events_skipped: 0, events_quarantined: 0, retries: 0 };
  #turn: Promise<void> = Promise.resolve();
  /** The newest write; null once it is stored. A failed one stays until a turn stores what is held: nothing is written behind it. */
  #storing: Promise<void> | null = null;
  /** While a turn takes batches from the source. */
  #draining = false;
  /** The drain of the next batch, asked for while this one is planned. */
  #ahead: Promise<DrainedBatch> | null = null;
  /** The newest acknowledgement: the next batch is stored while its answer is on its way. */
  #acking: Promise<void> = Promise.resolve();
  /** How many events the source has given away by drains, as the last answer to one said. */
  #drained = 0;
  /** Those that no write has served yet, also where they were told that one failed. */
  readonly #flushes = new Set<Flush>();
  /** False while the source may have batches in flight that are not held here. */
  #inStep = false;
  #failures = 0;
  #lastError: CraError | null = null;
  #cancelTimer: (() => void) | null = null;
  #waking = false;
  #closed = false;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#planner = new Planner(options.store, options.hashers, this.#stopped, options.atRisk);
  }

  /** Take over what an earlier writer left un-acknowledged and drain from now on. Errors are told and retried. */
  start(): void {
    this.wake();
  }

  /** Drain now instead of at the next interval. */
  wake(): void {
    // One that waits for its turn serves all who ask before it starts. A store that refuses is not asked more often.
    if (this.#waking || this.#closed || this.#failures > 0) return;
    this.#background();
  }

  /** As `wake`; the first `until` events of the source are stored with strict durability, also if that takes a retry. */
  wakeStrict(until: number): void {
    this.#flushes.add(new Flush("strict", until));
    this.wake();
  }

  /**
   * Store everything that was pending before the call. Rejects with the store's or the source's error; what was drained
   * stays held and is tried again. Does not tell of quarantined events: `flush` does.
   *
   * `strict` makes all of it, and all that was stored before, durable against power loss. `until` is how many events the
   * source had made at the call, where that is known: else the source is asked, and what it makes until then counts too.
   */
  async settle(durability: Durability = "relaxed", until: number | null = null): Promise<void> {
    if (this.#closed) throw new CraError("closed", "the trace writer is closed");
    // Asked now, so that what comes later need not be waited for.
    const asked = heardLater(this.#ask(durability, until));
    try {
      // The turns before its own may store all of it, too, and go on behind it.
      await Promise.race([served(asked), heardLater(this.#settleInTurn(asked))]);
    } catch (cause) {
      // The retry serves nobody any more, but is as strict as it was asked to be.
      if (durability === "relaxed") void asked.then((flush) => this.#flushes.delete(flush), () => false);
      throw cause;
    }
  }

  async #ask(durability: Durability, until: number | null): Promise<Flush> {
    const flush = new Flush(durability, until ?? (await this.#made()));
    this.#flushes.add(flush);
    return flush;
  }

  async #made(): Promise<number> {
    const { drained, pending } = await this.#options.source.progress();
    return drained + pending;
  }

  async #settleInTurn(asked: Promise<Flush>): Promise<void> {
    const { last } = await this.#inTurn(async () => {
      void asked.then(
        (flush) => {
          flush.inTurn = true;
        },
        () => undefined,
      );
      await this.#pump(asked);
      return { last: this.#storing };
    });
    await last;
    await this.#acking;
    const flush = await asked;
    if (flush.durability === "strict" && this.#isRelaxed(flush)) await this.#inTurn(() => this.#harden(flush));
    this.#flushes.delete(flush);
  }

  /** As `settle`; rejects too when events since the last flush could not join their chain. */
  async flush(durability: Durability = "relaxed", until: number | null = null): Promise<void> {
    // Of flushes at the same time each tells.
    const reported = this.#reported;
    await this.settle(durability, until);
    const fresh = this.#noticed - reported;
    const notices = fresh === 0 ? [] : this.#notices.slice(-fresh);
    const [first] = notices;
    if (first === undefined) return;
    this.#reported = this.#noticed;
    const code = first.reason === "session_forked" ? "session_forked" : "traces_quarantined";
    throw new CraError(code, "events could not join their chain and stand in the quarantine", { sessions: notices });
  }

  /**
   * Store what is pending and give the sessions' locks back, because the page goes to sleep: then another tab takes these
   * sessions for interrupted. Returns those that were held. Never rejects: what could not be stored stays held.
   */
  async pause(): Promise<readonly string[]> {
    await this.settle().catch(() => undefined);
    await this.idle();
    const { locks } = this.#options.store;
    const held = locks.held();
    await locks.release(held, false);
    this.#heads.clear();
    this.#options.store.pause();
    return held;
  }

  /** Take locks back, look at the store's heads anew, and go on. */
  async resume(sessionIds: readonly string[]): Promise<void> {
    this.#heads.clear();
    for (const sessionId of sessionIds) await this.#options.store.locks.take(sessionId, this.#options.atRisk());
    this.wake();
  }

  /** The sessions that this writer wrote last and that have not ended. */
  unfinished(): readonly string[] {
    const remembered = [...this.#heads.values()].filter((head) => !head.ended);
    return [...new Set([...this.#options.store.locks.held(), ...remembered.map(({ session_id }) => session_id)])];
  }

  statistics(): WriterStatistics {
    const error = this.#lastError;
    return {
      state: this.#state(error),
      store: this.#options.store.name,
      ...this.#counts,
      quarantined: [...this.#notices],
      last_error: error === null ? null : { code: error.code, message: error.message },
    };
  }

  #state(error: CraError | null): WriterStatistics["state"] {
    if (this.#closed) return "closed";
    if (this.#failures === 0) return "running";
    return error?.code === "store_full" ? "full" : "backing_off";
  }

  /** Resolves when what drains or stores at the time of the call is done. */
  async idle(): Promise<void> {
    await this.#turn;
    await this.#storing?.catch(() => undefined);
    await this.#acking;
  }

  /** Stop draining; what runs is waited for. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer?.();
    await this.idle();
  }

  /**
   * After `close`: give the sessions' locks back. `settled` means that the resolver has ended too and had nothing left,
   * so that nothing can be missing behind what is stored, and each head says so.
   */
  async release(settled: boolean): Promise<void> {
    const { store } = this.#options;
    // A turn that the close cut off may have failed after all was stored; one that had drained something is out of step.
    let certain = settled && this.#inStep && this.#held.length === 0;
    try {
      for (const sessionId of certain ? store.locks.held() : []) await this.#settleHead(sessionId);
    } catch (cause) {
      certain = false;
      throw cause;
    } finally {
      await store.locks.release(store.locks.held(), certain);
    }
  }

  async #settleHead(sessionId: string): Promise<void> {
    const { store } = this.#options;
    const head = await store.head(sessionId);
    if (head === null) return;
    const heads = [{ ...head, at_risk: 0 }];
    const expected = [{ session_id: sessionId, head }];
    await store.commit({ expected, segments: [], heads, quarantine: [], durability: "relaxed" });
  }

  /** One pump that nobody waits for: its failure is in the statistics and was told. */
  #background(): void {
    this.#waking = true;
    this.#inTurn(() => {
      this.#waking = false;
      return this.#closed ? Promise.resolve() : this.#pump();
    }).catch(() => undefined);
  }

  /** Run after everything before it is done: there is one pump at a time. The timer starts anew behind it. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(async () => {
      this.#cancelTimer?.();
      // A write that this turn waits for, or that of the turn before, counts its own failure.
      const failures = this.#failures;
      try {
        const done = await work();
        if (this.#failures === failures) {
          this.#failures = 0;
          this.#lastError = null;
        }
        return done;
      } catch (cause) {
        throw this.#failures === failures ? this.#failed(cause) : CraError.from(cause, "store_failed");
      } finally {
        this.#schedule();
      }
    });
    this.#turn = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  #schedule(): void {
    if (this.#closed) return;
    const step = Math.min(this.#failures, BACK_OFF_MS.length) - 1;
    this.#cancelTimer = this.#options.clock.after(BACK_OFF_MS[step] ?? DRAIN_INTERVAL_MS, () => {
      this.#background();
    });
  }

  /** What is held is older than anything whose delivery was lost, so it goes first, also when the source is gone. */
  async #catchUp(): Promise<void> {
    await this.#storeHeld();
    if (this.#inStep) return;
    this.#held.push(...(await this.#options.source.redeliver()));
    this.#inStep = true;
    await this.#storeHeld();
  }

  /** Up to where a flush asked for, or to what is pending at the first drain: so it ends also while events keep coming. */
  async #pump(asked: Promise<Flush> | null = null): Promise<void> {
    await this.#catchUp();
    let last = (await asked)?.end ?? null;
    this.#draining = true;
    try {
      for (let reached = this.#drained; last === null || reached < last; ) {
        const batch: DrainedBatch = await (this.#ahead ?? this.#drain(last));
        this.#ahead = null;
        reached = batch.drained;
        last ??= reached + batch.pending;
        if (batch.count === 0) break;
        await this.#lock(batch);
        if (reached < last) this.#drainAhead(last);
        const early = await this.#planner.planAppends(batch, this.#heads);
        await this.#storing;
        const plan = early ?? (await this.#planner.plan(batch));
        this.#handOver(batch, plan);
      }
    } finally {
      this.#draining = false;
      // What comes of it is held for the next turn.
      await this.#ahead?.catch(() => undefined);
      this.#ahead = null;
    }
  }

  /** Have the source make the next batch while the one before it is hashed, as soon as that is not the third in flight. */
  #drainAhead(last: number): void {
    const drain = (): void => {
      if (this.#draining) this.#ahead = heardLater(this.#drain(last));
    };
    if (this.#storing === null) drain();
    else void this.#storing.then(drain, () => undefined);
  }

  /** Store in the background; there must be no other write. */
  #handOver(batch: Held, plan: Plan): void {
    const storing = this.#store(batch, plan).then(
      () => {
        if (this.#storing === storing) this.#storing = null;
      },
      (cause: unknown) => {
        throw this.#failed(cause);
      },
    );
    this.#storing = heardLater(storing);
  }

  async #storeHeld(): Promise<void> {
    // All that is held is on its way, if the turn before went well and the source has heard of all.
    if (this.#storing !== null && this.#failures === 0 && this.#inStep) return;
    await this.#storing?.catch(() => undefined);
    this.#storing = null;
    for (const batch of [...this.#held]) {
      await this.#lock(batch);
      await this.#store(batch, await this.#planner.plan(batch));
    }
  }

  /**
   * A session's lock comes before its first line: one in the store whose lock is free has no writer. Where another holds
   * it, the store's compare-and-swap decides.
   */
  async #lock(batch: BatchMessage): Promise<void> {
    const { locks } = this.#options.store;
    for (const { session_id } of batch.groups) {
      if (locks.holds(session_id) || !UUID.test(session_id)) continue;
      await this.#withRoom(() => locks.take(session_id, this.#options.atRisk()));
    }
  }

  /** A power cut may take some of it. */
  #isRelaxed({ end }: Flush): boolean {
    return this.#relaxed !== null && this.#relaxed.from < end;
  }

  /** Sync the store's log up to its end: everything before the strict write that this makes, too. */
  async #harden(flush: Flush): Promise<void> {
    const { store } = this.#options;
    await this.#storing;
    while (this.#relaxed !== null && this.#isRelaxed(flush)) {
      const { sessionId } = this.#relaxed;
      const head = sessionId === null ? (await store.sessions()).at(-1) : await store.head(sessionId);
      const heads = head === undefined || head === null ? [] : [head];
      const expected = heads.map((one) => ({ session_id: one.session_id, head: one }));
      // Without a session there is nothing to sync.
      const done = await store.commit({ expected, segments: [], heads, quarantine: [], durability: "strict" });
      if (done) this.#relaxed = null;
    }
  }

  /** `last` is where the turn ends, null while nobody knows. */
  async #drain(last: number | null): Promise<DrainedBatch> {
    try {
      const left = (last ?? 0) - this.#drained;
      const batch = await this.#options.source.drain(left > BATCH_EVENTS && left <= LAST_BATCH_EVENTS ? left : BATCH_EVENTS);
      if (batch.count > 0) this.#held.push(batch);
      if (batch.count === 0 && batch.pending > 0) {
        throw new CraError("deadline_exceeded", "an acknowledgement was lost: what the buffer waits for is stored anew");
      }
      this.#drained = batch.drained;
      return batch;
    } catch (cause) {
      // The batch may have been drained and its reply lost, or the buffer waits: have it give its batches again.
      this.#inStep = false;
      throw cause;
    }
  }

  /** Store, then acknowledge. A head that moved under the plan gives a new plan. */
  async #store(batch: Held, plan: Plan): Promise<void> {
    let current = plan;
    let write = this.#asAsked(current.write, batch);
    this.#remember(current);
    for (let tries = 1; !(await this.#commit(write)); tries += 1) {
      if (tries === MAX_SWAP_TRIES) throw new CraError("store_failed", "the store's heads do not hold still");
      current = await this.#planner.plan(batch);
      write = this.#asAsked(current.write, batch);
      this.#remember(current);
    }
    this.#count(current);
    const changes = this.#changes(write);
    this.#options.onStored?.(changes);
    this.#noteDurability(write, batch);
    const ended = changes.filter(({ head }) => head.ended).map(({ head }) => head.session_id);
    if (ended.length > 0) await this.#options.store.locks.release(ended, true);
    for (const sessionId of ended) this.#options.onEnded(sessionId);
    this.#held.splice(0, this.#held.length, ...this.#held.filter((held) => held !== batch));
    await this.#refuseQuarantined(current);
    this.#acking = this.#acknowledge(batch);
    this.#serveFlushes(batch);
  }

  /** Also of sessions that an earlier try has moved, whose answer was an error. */
  #changes({ expected, heads }: BatchWrite): readonly StoredChange[] {
    const moved = new Map(heads.map((head) => [head.session_id, head]));
    const changes: StoredChange[] = [];
    for (const { session_id: sessionId, head: before } of expected) {
      const untold = this.#untold.get(sessionId);
      this.#untold.delete(sessionId);
      const head = moved.get(sessionId) ?? (untold === undefined ? null : before);
      if (head !== null) changes.push({ before: untold ?? before?.next_sequence ?? 0, head });
    }
    return changes;
  }

  /** One that writes nothing syncs nothing. */
  #noteDurability({ heads, durability }: BatchWrite, { count, drained }: Held): void {
    const sessionId = heads.at(-1)?.session_id;
    if (sessionId === undefined) return;
    const from = drained === undefined ? -1 : drained - count;
    if (durability === "strict") this.#relaxed = null;
    else this.#noteRelaxed(from, sessionId);
  }

  #noteRelaxed(from: number, sessionId: string | null): void {
    this.#relaxed = { from: Math.min(from, this.#relaxed?.from ?? from), sessionId };
  }

  /** All up to the end of a batch is stored. Behind one that was delivered again there may be another. */
  #serveFlushes({ drained }: Held): void {
    for (const flush of this.#flushes) {
      if (drained === undefined || flush.end > drained || (flush.durability === "strict" && this.#isRelaxed(flush))) continue;
      this.#flushes.delete(flush);
      void this.#acking.then(() => {
        flush.serve();
      });
    }
  }

  /** Never rejects. Its message leaves at once, before that of the next drain. */
  async #acknowledge({ batch_id: batchId }: BatchMessage): Promise<void> {
    try {
      await this.#options.source.ack(batchId);
    } catch {
      // It is durable all the same, and what follows it must become so, even if the source is gone. If it is not, it
      // redelivers this batch, which is then found to be stored.
      this.#inStep = false;
    }
  }

  /** The write that reaches the end of a strict flush syncs, and takes those before along. */
  #asAsked(write: BatchWrite, { drained = Infinity }: Held): BatchWrite {
    const isAsked = [...this.#flushes].some(({ durability, end }) => durability === "strict" && end <= drained);
    return isAsked ? { ...write, durability: "strict" } : write;
  }

  /** Before the acknowledgement, which would let a call run whose approval is in no chain. */
  async #refuseQuarantined({ write }: Plan): Promise<void> {
    const stopped = [...new Set(write.quarantine.map(({ session_id }) => session_id))];
    if (stopped.length > 0) await this.#refuse("its events could not join their chain", stopped);
  }

  /** A source that does not hear it lets those calls end by their own deadline. */
  async #refuse(reason: string, sessionIds: readonly string[] | null): Promise<void> {
    await this.#options.source.refuse(reason, sessionIds).catch(() => undefined);
  }

  #commit(write: BatchWrite): Promise<boolean> {
    return this.#withRoom(async () => {
      try {
        return await this.#options.store.commit(write);
      } catch (cause) {
        this.#noteUnsure(write);
        throw cause;
      }
    });
  }

  /** In a full store again, as long as old sessions can make room for it. */
  async #withRoom<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (cause) {
        const isFull = cause instanceof CraError && cause.code === "store_full";
        if (!isFull || (await this.#options.makeRoom()) === 0) throw cause;
      }
    }
  }

  /** It may be stored all the same, and only its answer be lost. */
  #noteUnsure({ expected, heads }: BatchWrite): void {
    this.#noteRelaxed(-1, this.#relaxed?.sessionId ?? null);
    for (const { session_id: sessionId, head } of heads.length > 0 ? expected : []) {
      if (!this.#untold.has(sessionId)) this.#untold.set(sessionId, head?.next_sequence ?? 0);
    }
  }

  /** Where chains will stand, before it is stored: the next batch is hashed meanwhile. */
  #remember(plan: Plan): void {
    for (const head of plan.write.heads) this.#heads.set(head.session_id, head);
    // Forgetting one costs a look into the store.
    for (const id of this.#heads.keys()) {
      if (this.#heads.size <= REMEMBERED_HEADS) break;
      this.#heads.delete(id);
    }
  }

  #count(plan: Plan): void {
    this.#counts.batches_stored += 1;
    this.#counts.events_stored += plan.appended;
    this.#counts.events_skipped += plan.skipped;
    for (const { session_id, first_sequence, count, reason } of plan.write.quarantine) {
      const notice: QuarantineNotice = { session_id, first_sequence, count, reason };
      this.#stopped.set(session_id, reason);
      this.#counts.events_quarantined += count;
      this.#noticed += 1;
      this.#notices.push(notice);
      this.#notices.splice(0, this.#notices.length - NOTICES_KEPT);
      const message = `${count} events of session \`${session_id}\` could not join its chain and are quarantined`;
      this.#options.onProblem(new CraError(reason, message), notice);
    }
  }

  #failed(cause: unknown): CraError {
    const error = CraError.from(cause, "store_failed");
    const repeated = this.#lastError?.code;
    this.#failures += 1;
    this.#counts.retries += 1;
    this.#lastError = error;
    // Heads that were remembered ahead of a batch that failed are not the store's.
    this.#heads.clear();
    if (!this.#closed && repeated !== error.code) this.#options.onProblem(error, null);
    void this.#refuse(`the trace store failed: ${error.code}`, null);
    return error;
  }
}
