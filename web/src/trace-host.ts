/** What runs in the trace worker: one writer, one store, and the readers of that store. */

import { DEFAULT_ALGORITHM } from "./algorithms.js";
import { Channel, Reply } from "./channel.js";
import type { None } from "./channel.js";
import { CraError } from "./errors.js";
import { checkedSessionId } from "./formats.js";
import { Hashers } from "./hashing.js";
import type { VerifyResult } from "./model.js";
import { openStore } from "./open-store.js";
import type { SourceMethods, SourceNotes, StorageKind, StoredChunk, TraceMethods, TraceNotes } from "./protocol.js";
import type { TraceStore } from "./store.js";
import { verifyTrace } from "./verify.js";
import { TraceWriter } from "./writer.js";
import type { BatchSource, WriterClock } from "./writer.js";

/** A drain waits for whatever Python is doing at that time. */
const SOURCE_DEADLINE_MS = 30_000;

/** Bytes of one chunk of a read: large enough to make messages rare, small enough to hold many. */
const CHUNK_BYTES = 1024 * 1024;

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
}

export class TraceHost {
  readonly #page: Channel<None, TraceMethods, None, TraceNotes>;
  readonly #source: Channel<SourceMethods, None, SourceNotes>;
  #opened: Opened | null = null;
  #sourceReady = false;

  constructor(control: MessagePort, traces: MessagePort) {
    this.#source = new Channel<SourceMethods, None, SourceNotes>(traces, {
      peer: "resolver",
      handlers: {},
      notes: {
        ready: () => {
          this.#sourceReady = true;
          this.#opened?.writer.start();
        },
        pressure: () => {
          this.#opened?.writer.wake();
        },
        durable: () => {
          this.#opened?.writer.wakeStrict();
        },
      },
    });
    this.#source.onFailure(() => {
      // What was drained is still here and is stored by this last turn; then there is nothing more to drain.
      void this.#stopWriting();
    });
    this.#page = new Channel<None, TraceMethods, None, TraceNotes>(control, {
      peer: "page",
      handlers: {
        open: ({ storage, database_name }) => this.#open(storage, database_name),
        flush: async () => {
          await this.#writer().flush();
          return null;
        },
        settle: async () => {
          await this.#writer().settle();
          return null;
        },
        read: ({ session_id, position }) => this.#read(session_id, position),
        verify: ({ session_id }) => this.#verify(session_id),
        sessions: () => this.#use().store.sessions(),
        statistics: () => this.#use().writer.statistics(),
        source_gone: () => {
          this.#source.fail(new CraError("worker_dead", "the resolver is gone, start a new one"));
          return null;
        },
        close: () => this.#close(),
      },
      notes: {},
    });
  }

  async #open(storage: StorageKind, databaseName: string): Promise<null> {
    const store = await openStore(storage, databaseName);
    const hashers = new Hashers();
    // Where WebAssembly is refused, it is told now and not with the first batch.
    await hashers.load(DEFAULT_ALGORITHM);
    const writer = new TraceWriter({
      source: batchSource(this.#source),
      store,
      hashers,
      clock: workerClock,
      onProblem: ({ code, message }, notice) => {
        this.#page.note("problem", { code, message, notice });
      },
    });
    this.#opened = { store, writer };
    // Python may take long to boot: nothing is asked of it before.
    if (this.#sourceReady) writer.start();
    return null;
  }

  async #stopWriting(): Promise<void> {
    const writer = this.#opened?.writer;
    await writer?.settle().catch(() => undefined);
    await writer?.close();
  }

  async #read(sessionId: string, position: number): Promise<Reply<StoredChunk>> {
    if (position === 0) await this.#known(sessionId);
    const chunk = await this.#use().store.read(checkedSessionId(sessionId), position, CHUNK_BYTES);
    return new Reply(chunk, [chunk.bytes.buffer]);
  }

  async #verify(sessionId: string): Promise<VerifyResult> {
    await this.#known(sessionId);
    return await verifyTrace(this.#chunks(sessionId));
  }

  async *#chunks(sessionId: string): AsyncGenerator<Uint8Array> {
    for (let position: number | null = 0; position !== null; ) {
      const chunk: StoredChunk = await this.#use().store.read(sessionId, position, CHUNK_BYTES);
      yield chunk.bytes;
      position = chunk.next;
    }
  }

  async #known(sessionId: string): Promise<void> {
    if ((await this.#use().store.head(checkedSessionId(sessionId))) !== null) return;
    throw new CraError("session_not_found", `no session \`${sessionId}\` is stored here`);
  }

  async #close(): Promise<null> {
    // Ends what waits for an answer of Python; a write that runs is waited for.
    this.#source.close();
    await this.#opened?.writer.close();
    await this.#opened?.store.close();
    return null;
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
    pending: () => channel.call("pending", null, SOURCE_DEADLINE_MS),
    refuse: async (reason, session_ids) => {
      await channel.call("refuse", { reason, session_ids }, SOURCE_DEADLINE_MS);
    },
  };
}
