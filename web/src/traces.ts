/** The page's end of the trace worker: settles, reads and verifies. Shared by createCra and connectTraces. */

import { joinBytes, splitLines } from "./bytes.js";
import { Channel } from "./channel.js";
import type { None } from "./channel.js";
import { CraError } from "./errors.js";
import type { Deadlines, TraceOptions } from "./api.js";
import type { SessionHead, TraceEvent, TraceStatistics, VerifyResult } from "./model.js";
import { defaultStorage, startWorker } from "./platform.js";
import type { WorkerHandle } from "./platform.js";
import type { StoredChunk, TraceMethods, TraceNotes } from "./protocol.js";

export const DEFAULT_DEADLINES: Deadlines = { bootMs: 120_000, callMs: 15_000, executeMs: 330_000, storeMs: 60_000 };

const DEFAULT_DATABASE = "cra-wasm";

/** Codes that tell that nothing new can come: the store still holds all that was stored. */
const SOURCE_GONE: readonly string[] = ["worker_dead", "worker_failed", "closed"];

export class TraceClient {
  readonly #worker: WorkerHandle;
  readonly #channel: Channel<TraceMethods, None, TraceNotes>;
  readonly #deadlines: Deadlines;

  private constructor(worker: WorkerHandle, control: MessagePort, options: TraceOptions, deadlines: Deadlines) {
    this.#worker = worker;
    this.#deadlines = deadlines;
    const tell = options.onTraceProblem ?? ((): void => undefined);
    this.#channel = new Channel<TraceMethods, None, TraceNotes>(control, {
      peer: "trace worker",
      handlers: {},
      notes: { problem: tell },
    });
    this.#channel.onFailure((error) => {
      if (error.code !== "closed") tell({ code: error.code, message: error.message, notice: null });
    });
    worker.onDeath((error) => {
      this.#channel.fail(error);
    });
  }

  /** Start the trace worker on `source`, the other end of which serves the bridge's batches, and open its store. */
  static async start(
    site: URL,
    source: MessagePort,
    options: TraceOptions,
    deadlines: Deadlines,
  ): Promise<TraceClient> {
    const worker = await startWorker(new URL("lib/trace.worker.js", site), "trace worker");
    const { port1, port2 } = new MessageChannel();
    const client = new TraceClient(worker, port1, options, deadlines);
    worker.connect({ kind: "connect", control: port2, traces: source });
    const storage = options.storage ?? defaultStorage;
    const params = { storage, database_name: options.databaseName ?? DEFAULT_DATABASE };
    try {
      await client.#channel.call("open", params, deadlines.bootMs);
    } catch (cause) {
      await client.release();
      throw cause;
    }
    return client;
  }

  async flush(): Promise<void> {
    await this.#channel.call("flush", null, this.#deadlines.storeMs);
  }

  async *traces(sessionId: string): AsyncGenerator<TraceEvent, void, undefined> {
    for await (const chunk of this.#chunks(sessionId)) {
      for (const line of splitLines(chunk)) yield JSON.parse(line) as TraceEvent;
    }
  }

  async verify(sessionId: string): Promise<VerifyResult> {
    await this.#settle();
    return await this.#channel.call("verify", { session_id: sessionId }, this.#deadlines.storeMs);
  }

  async exportJsonl(sessionId: string): Promise<Uint8Array<ArrayBuffer>> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#chunks(sessionId)) chunks.push(chunk);
    return joinBytes(chunks);
  }

  sessions(): Promise<readonly SessionHead[]> {
    return this.#channel.call("sessions", null, this.#deadlines.storeMs);
  }

  statistics(): Promise<TraceStatistics> {
    return this.#channel.call("statistics", null, this.#deadlines.callMs);
  }

  /** Tell the trace worker that nothing more can come; what is stored stays readable. */
  async sourceGone(): Promise<void> {
    try {
      await this.#channel.call("source_gone", null, this.#deadlines.callMs);
    } catch (cause) {
      // A trace worker that is gone too rejects every later call by itself.
      if (!(cause instanceof CraError)) throw cause;
    }
  }

  /** Close the store and end the worker, whatever state it is in. */
  async release(): Promise<void> {
    try {
      await this.#channel.call("close", null, this.#deadlines.callMs);
    } catch (cause) {
      // A worker that is gone or does not answer has nothing left that could be saved.
      if (!(cause instanceof CraError)) throw cause;
    } finally {
      this.#channel.close();
      await this.#worker.terminate();
    }
  }

  async *#chunks(sessionId: string): AsyncGenerator<Uint8Array, void, undefined> {
    await this.#settle();
    for (let position: number | null = 0; position !== null; ) {
      const params: TraceMethods["read"]["params"] = { session_id: sessionId, position };
      const chunk: StoredChunk = await this.#channel.call("read", params, this.#deadlines.storeMs);
      yield chunk.bytes;
      position = chunk.next;
    }
  }

  /** What was emitted before a read is part of it, as long as there is anything that emits. */
  async #settle(): Promise<void> {
    try {
      await this.#channel.call("settle", null, this.#deadlines.storeMs);
    } catch (cause) {
      const sourceGone = cause instanceof CraError && SOURCE_GONE.includes(cause.code);
      if (!sourceGone || this.#channel.failure !== null) throw cause;
    }
  }
}
