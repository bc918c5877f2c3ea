/** What runs in the trace worker: one writer, one store, and the readers of that store. */

import { DEFAULT_ALGORITHM } from "./algorithms.js";
import { Channel, Reply } from "./channel.js";
import type { None } from "./channel.js";
import { CheckpointSigner } from "./checkpoint-signer.js";
import { verifyWithCheckpoints } from "./checkpoint-verify.js";
import { Compactor } from "./compaction.js";
import { CraError } from "./errors.js";
import { checkedSessionId } from "./formats.js";
import { Hashers } from "./hashing.js";
import { Imports } from "./import.js";
import { randomBytes } from "./ids.js";
import type { VerifyResult, WorkerStatistics } from "./model.js";
import { openStore } from "./open-store.js";
import type { PageNotes, SourceMethods, SourceNotes, StoredChunk, TraceMethods, TraceNotes } from "./protocol.js";
import { askWitness } from "./witness-ask.js";
import { Recovery } from "./recovery.js";
import { Keeper } from "./retention.js";
import type { TraceStore } from "./store.js";
import { WitnessSender } from "./witness-send.js";
import { TraceWriter } from "./writer.js";
import type { BatchSource, WriterClock } from "./writer.js";

/** A drain waits for whatever Python is doing at that time. */
const SOURCE_DEADLINE_MS = 30_000;

/** Bytes of one chunk of a read: large enough to make messages rare, small enough to hold many. */
const CHUNK_BYTES = 1024 * 1024;

/** Until recovery is tried again where the store or the resolver did not let it be finished; the last one goes on. */
const RECOVERY_RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000] as const;

/** At a close, a resolver that does not answer has something left. */
const LAST_QUESTION_MS = 5_000;

const workerClock: WriterClock = {
  after: (delayMs, work) => {
    const timer = setTimeout(work, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};

interface Opened {
  readonly store: TraceStore;
  readonly writer: TraceWriter;
  readonly recovery: Recovery;
  readonly keeper: Keeper;
  readonly signer: CheckpointSigner;
  readonly sender: WitnessSender | null;
  readonly compactor: Compactor;
  readonly imports: Imports;
}

export class TraceHost {
  readonly #page: Channel<None, TraceMethods, PageNotes, TraceNotes>;
  readonly #source: Channel<SourceMethods, None, SourceNotes>;
  #opened: Opened | null = null;
  #sourceReady = false;
  /** What the resolver's buffer may hold of one session; null until it told. */
  #atRisk: number | null = null;
  #recovered = false;
  /** The sessions that its resolver ran when this worker started. */
  #own: ReadonlySet<string> = new Set();
  #startsFailed = 0;
  #startProblem: string | null = null;
  #cancelRetry: () => void = () => undefined;
  #stopping: Promise<void> = Promise.resolve();
  /** Whether the page sleeps, as it told last. */
  #pageSleeps = false;
  /** While the writer sleeps: the sessions whose locks it gave back. */
  #asleep: readonly string[] | null = null;
  /** The going to sleep or waking that runs. Never rejects. */
  #life: Promise<void> = Promise.resolve();

  constructor(control: MessagePort, traces: MessagePort) {
    this.#source = new Channel<SourceMethods, None, SourceNotes>(traces, {
      peer: "resolver",
      handlers: {},
      notes: {
        ready: () => {
          this.#sourceReady = true;
          void this.#start();
        },
        pressure: () => {
          this.#opened?.writer.wake();
        },
        durable: ({ until }) => {
          this.#opened?.writer.wakeStrict(until);
        },
      },
    });
    this.#source.onFailure(({ code }) => {
      // What was drained is still here and is stored by this last turn; then there is nothing more to drain.
      if (code !== "closed") this.#stopping = this.#stopWriting();
    });
    this.#page = new Channel<None, TraceMethods, PageNotes, TraceNotes>(control, {
      peer: "page",
      handlers: {
        open: (params) => this.#open(params),
        flush: async ({ durability, until }) => {
          await this.#writer().flush(durability, until);
          return null;
        },
        settle: async () => {
          await this.#stopping;
          await this.#writer().settle();
          return null;
        },
        read: ({ session_id, position }) => this.#read(session_id, position),
        verify: (params) => this.#verify(params),
        checkpoints: ({ session_id }) => this.#checkpoints(session_id),
        public_key: () => this.#use().signer.publicKey(),
        sessions: () => this.#use().store.sessions(),
        sealed: () => this.#use().store.sealed(),
        import_chunk: (chunk) => this.#use().imports.take(chunk),
        import_abort: async ({ import_id }) => {
          await this.#use().imports.abort(import_id);
          return null;
        },
        pin: ({ session_id, pinned }) => this.#pin(session_id, pinned),
        statistics: () => this.#statistics(),
        source_gone: () => {
          this.#source.fail(new CraError("worker_dead", "the resolver is gone, start a new one"));
          return null;
        },
        close: ({ final }) => this.#close(final),
      },
      notes: {
        hidden: () => {
          void this.#opened?.writer.settle().catch(() => undefined);
        },
        sleep: () => {
          this.#pageSleeps = true;
          this.#followPage();
        },
        awake: () => {
          this.#pageSleeps = false;
          this.#followPage();
        },
      },
    });
  }

  async #open(params: TraceMethods["open"]["params"]): Promise<null> {
    const { storage, database_name: name, owner, retention, checkpoint_every, witness, compress } = params;
    const tell = (problem: CraError): void => {
      this.#tell(problem);
    };
    const store = await openStore(storage, name, { owner, tell, compress });
    const keeper = new Keeper(store, retention);
    const hashers = new Hashers();
    // Where WebAssembly is refused, it is told now and not with the first batch.
    await hashers.load(DEFAULT_ALGORITHM);
    const sender = witness === null ? null : this.#sender(witness, store);
    const signer = new CheckpointSigner({
      store,
      every: checkpoint_every,
      nowMs: () => Date.now(),
      onSigned: (checkpoint) => {
        sender?.offer(checkpoint);
      },
      onProblem: tell,
    });
    const writer = new TraceWriter({
      source: batchSource(this.#source),
      store,
      hashers,
      clock: workerClock,
      atRisk: () => this.#atRisk,
      makeRoom: () => keeper.makeRoom(),
      onStored: (changes) => {
        signer.stored(changes);
      },
      onEnded: () => {
        // What retention removes has been signed before.
        void signer.idle().then(() => {
          this.#tidy(keeper);
        });
      },
      onProblem: ({ code, message }, notice) => {
        this.#page.note("problem", { code, message, notice });
      },
    });
    const context = { store, hashers, randomBytes, nowMs: () => Date.now() };
    const recovery = new Recovery(
      context,
      tell,
      (head) => {
        signer.sign(head);
      },
    );
    const compactor = new Compactor({
      compaction: store.compaction,
      compress,
      idle: () => writer.idle(),
      mayRun: () => !this.#pageSleeps && this.#asleep === null && writer.statistics().state === "running",
      after: (delayMs, work) => workerClock.after(delayMs, work),
    });
    const imports = new Imports(store);
    this.#opened = { store, writer, recovery, keeper, signer, sender, compactor, imports };
    sender?.start();
    // Python may take long to boot: nothing is asked of it before.
    if (this.#sourceReady) void this.#start();
    return null;
  }

  #sender(url: string, store: TraceStore): WitnessSender {
    return new WitnessSender({
      url,
      store,
      fetching: (address, init) => fetch(address, init),
      after: (delayMs, work) => workerClock.after(delayMs, work),
      random: () => Math.random(),
      onProblem: (problem) => {
        this.#tell(problem);
      },
    });
  }

  /**
   * Start draining; once what the resolver held is stored, end the sessions that have no writer. A session that ends
   * meanwhile is in the answer, and one that begins is locked before its first line: neither is taken for lost.
   */
  async #start(): Promise<void> {
    const opened = this.#opened;
    if (opened === null) return;
    const { store, writer, recovery, signer, compactor } = opened;
    try {
      const running = await this.#source.call("running", null, SOURCE_DEADLINE_MS);
      this.#atRisk = running.lost_at_most;
      for (const sessionId of running.session_ids) await store.locks.take(sessionId, this.#atRisk);
      writer.start();
      await writer.settle();
      this.#own = new Set(running.session_ids);
      const held = await recovery.endOrphans(this.#own);
      this.#recovered = true;
      if (held) this.#keepLooking(recovery);
      await signer.catchUp();
      await store.sweepStaged();
      this.#tidy(opened.keeper);
      compactor.start();
    } catch (cause) {
      const problem = CraError.from(cause, "store_failed");
      if (this.#source.failure !== null || problem.code === "store_closed") return;
      // What the writer met it has told.
      const isTold = [this.#startProblem, writer.statistics().last_error?.code].includes(problem.code);
      this.#startProblem = problem.code;
      if (!isTold) this.#tell(problem);
      writer.start();
      const delayMs = RECOVERY_RETRY_MS[Math.min(this.#startsFailed, RECOVERY_RETRY_MS.length - 1)] ?? 0;
      this.#startsFailed += 1;
      this.#cancelRetry = workerClock.after(delayMs, () => void this.#start());
    }
  }

  #keepLooking(recovery: Recovery): void {
    recovery.keepLooking(this.#own, (delayMs, work) => workerClock.after(delayMs, work));
  }

  /** The resolver is gone, and with it all that it had not given away: its sessions end here. */
  async #stopWriting(): Promise<void> {
    if (this.#opened === null) return;
    const { writer, recovery } = this.#opened;
    const before = writer.unfinished();
    await writer.settle().catch(() => undefined);
    await writer.close();
    await recovery.endOwn([...new Set([...before, ...writer.unfinished()])]);
  }

  #tidy(keeper: Keeper): void {
    void keeper.keep(workerClock, (problem) => {
      this.#tell(problem);
    });
  }

  /** Nothing may open the database again behind the pause. */
  async #sleep({ writer, recovery, signer, sender }: Opened): Promise<readonly string[]> {
    const stopped = recovery.stop();
    await writer.settle().catch(() => undefined);
    await stopped;
    await signer.idle();
    await sender?.rest();
    return await writer.pause();
  }

  /** A page may wake before it has gone to sleep, and sleep again before it has woken: one after the other. */
  #followPage(): void {
    this.#life = this.#life
      .then(async () => {
        if (this.#opened === null || this.#pageSleeps === (this.#asleep !== null)) return;
        if (this.#pageSleeps) this.#asleep = await this.#sleep(this.#opened);
        else await this.#wake(this.#opened);
      })
      .catch((problem: unknown) => {
        this.#tell(CraError.from(problem, "store_failed"));
      });
  }

  async #wake({ writer, recovery, sender }: Opened): Promise<void> {
    const held = this.#asleep ?? [];
    this.#asleep = null;
    await writer.resume(held);
    recovery.resume();
    // A look may have been cut short, and others' writers may have gone meanwhile.
    if (this.#recovered) this.#keepLooking(recovery);
    sender?.start();
  }

  #statistics(): WorkerStatistics {
    const { writer, recovery, keeper, signer, sender, compactor } = this.#use();
    return {
      ...writer.statistics(),
      sessions_removed: keeper.removed,
      checkpoints: signer.statistics(),
      witness: sender?.statistics() ?? null,
      compaction: compactor.statistics,
      recovery: this.#recovered ? "done" : "waiting",
      recovered: recovery.recovered,
    };
  }

  #tell({ code, message }: CraError): void {
    this.#page.note("problem", { code, message, notice: null });
  }

  async #read(sessionId: string, position: number): Promise<Reply<StoredChunk>> {
    const chunk = await this.#use().store.read(checkedSessionId(sessionId), position, CHUNK_BYTES);
    await this.#checkEnd(sessionId, chunk);
    return new Reply(chunk, [chunk.bytes.buffer]);
  }

  async #verify({ session_id: sessionId, public_keys: publicKeys, witness }: TraceMethods["verify"]["params"]): Promise<VerifyResult> {
    await this.#known(sessionId);
    const witnessed = witness === null ? null : await askWitness(witness, sessionId);
    // Before the events: what is signed meanwhile would be of events that are not read yet.
    const lines = await this.#use().signer.lines(sessionId);
    return await verifyWithCheckpoints(this.#chunks(sessionId), { lines, publicKeys, witnessed });
  }

  /** A removed session has those that it left. */
  async #checkpoints(sessionId: string): Promise<readonly string[]> {
    const lines = await this.#use().signer.lines(checkedSessionId(sessionId));
    if (lines.length === 0) await this.#known(sessionId);
    return lines;
  }

  async *#chunks(sessionId: string): AsyncGenerator<Uint8Array> {
    for (let position: number | null = 0; position !== null; ) {
      const chunk: StoredChunk = await this.#use().store.read(sessionId, position, CHUNK_BYTES);
      await this.#checkEnd(sessionId, chunk);
      yield chunk.bytes;
      position = chunk.next;
    }
  }

  /** A session that is not there, or was removed while it is read, ends like any other. */
  async #checkEnd(sessionId: string, { next }: StoredChunk): Promise<void> {
    if (next === null) await this.#known(sessionId);
  }

  async #pin(sessionId: string, pinned: boolean): Promise<null> {
    if (!(await this.#use().store.pin(checkedSessionId(sessionId), pinned))) await this.#known(sessionId);
    return null;
  }

  async #known(sessionId: string): Promise<void> {
    const { store } = this.#use();
    if ((await store.head(checkedSessionId(sessionId))) !== null) return;
    const sealed = (await store.sealed()).find(({ session_id }) => session_id === sessionId);
    if (sealed !== undefined) {
      const message = `the events of session \`${sessionId}\` were removed by retention, details tell where it ended`;
      throw new CraError("session_removed", message, { ...sealed });
    }
    throw new CraError("session_not_found", `no session \`${sessionId}\` is stored here`);
  }

  async #close(final: boolean): Promise<null> {
    this.#cancelRetry();
    const opened = this.#opened;
    const isCalm = await this.#lifeEnds();
    await opened?.recovery.stop();
    opened?.keeper.close();
    opened?.compactor.stop();
    await opened?.imports.close();
    await this.#stopping;
    const settled = final && isCalm && (await this.#isDry());
    // Ends what waits for an answer of Python; a write that runs is waited for.
    this.#source.close();
    await this.#life;
    if (opened !== null) await this.#release(opened, settled);
    return null;
  }

  async #release({ store, writer, signer, sender }: Opened, settled: boolean): Promise<void> {
    await writer.close();
    await writer.release(settled);
    await signer.idle();
    await sender?.rest();
    await store.close();
  }

  /** Whether a going to sleep that runs comes to its end: it may wait for a resolver that does not answer. */
  #lifeEnds(): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = workerClock.after(LAST_QUESTION_MS, () => {
        resolve(false);
      });
      void this.#life.then(() => {
        cancel();
        resolve(true);
      });
    });
  }

  async #isDry(): Promise<boolean> {
    try {
      return (await this.#source.call("progress", null, LAST_QUESTION_MS)).pending === 0;
    } catch {
      return false;
    }
  }

  #writer(): TraceWriter {
    if (this.#source.failure !== null) throw this.#source.failure;
    return this.#use().writer;
  }

  #use(): Opened {
    if (this.#opened === null) throw new CraError("store_closed", "the trace store is not open");
    return this.#opened;
  }
}

function batchSource(channel: Channel<SourceMethods, None, SourceNotes>): BatchSource {
  return {
    drain: (max_events) => channel.call("drain", { max_events }, SOURCE_DEADLINE_MS),
    ack: (batch_id) => channel.call("ack", { batch_id }, SOURCE_DEADLINE_MS),
    redeliver: () => channel.call("redeliver", null, SOURCE_DEADLINE_MS),
    progress: () => channel.call("progress", null, SOURCE_DEADLINE_MS),
    refuse: async (reason, session_ids) => {
      await channel.call("refuse", { reason, session_ids }, SOURCE_DEADLINE_MS);
    },
  };
}
