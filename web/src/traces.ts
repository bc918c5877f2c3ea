/** The page's end of the trace worker: settles, reads and verifies. Shared by createCra and connectTraces. */

import type { Deadlines, FlushOptions, ImportSource, TraceOptions, VerifyOptions } from "./api.js";
import { joinBytes, splitLines } from "./bytes.js";
import { guarded } from "./callbacks.js";
import { checkedOptions, FLUSH_OPTIONS, VERIFY_OPTIONS } from "./checked-options.js";
import { checkedEvery, DEFAULT_CHECKPOINT_EVERY } from "./checkpoint-signer.js";
import { checkedPublicKeys } from "./checkpoint-verify.js";
import { CraError } from "./errors.js";
import { checkedSessionId } from "./formats.js";
import { importPieces } from "./import-source.js";
import { randomBytes, uuid7 } from "./ids.js";
import type { ImportResult, SealedSession, SessionHead, TraceEvent, TraceStatistics, VerifyResult } from "./model.js";
import { watchPage } from "./page-life.js";
import { defaultStorage } from "./platform.js";
import type { StoredChunk, TraceMethods } from "./protocol.js";
import { checkedRetention } from "./retention.js";
import { checkedWitness } from "./witness-ask.js";
import { TraceLink } from "./trace-link.js";

export const DEFAULT_DEADLINES: Deadlines = { bootMs: 120_000, callMs: 15_000, executeMs: 330_000, storeMs: 60_000 };

const DEFAULT_DATABASE = "cra-wasm";

/** Codes that tell that nothing new can come: the store still holds all that was stored. */
const SOURCE_GONE: readonly string[] = ["worker_dead", "worker_failed", "closed"];

/** Have the resolver's side serve its batches over a port. Rejects when it is gone. */
export type ConnectSource = (port: MessagePort) => Promise<void>;

export class TraceClient {
  readonly #link: TraceLink;
  readonly #deadlines: Deadlines;
  readonly #unwatch: () => void;
  /** Ends the wait for the sources of imports. */
  readonly #closing = new AbortController();
  #persisted: boolean | null = null;

  private constructor(link: TraceLink, deadlines: Deadlines) {
    this.#link = link;
    this.#deadlines = deadlines;
    this.#unwatch = watchPage({
      hidden: () => {
        link.note("hidden");
      },
      sleep: () => {
        link.note("sleep");
      },
      awake: () => {
        link.note("awake");
      },
    });
  }

  /** Start the trace worker, open its store and have it drain what `connectSource` connects it with; `options` are checked. */
  static async start(
    site: URL,
    connectSource: ConnectSource,
    options: TraceOptions,
    deadlines: Deadlines,
  ): Promise<TraceClient> {
    const storage = options.storage ?? defaultStorage;
    const retention = options.retention === undefined ? null : checkedRetention(options.retention);
    const witness = options.witness === undefined ? null : checkedWitness(options.witness.url);
    const every = checkedEvery(options.checkpointEvery ?? DEFAULT_CHECKPOINT_EVERY);
    const owner = uuid7(Date.now(), randomBytes(10));
    const link = await TraceLink.open({
      url: new URL("lib/trace.worker.js", site),
      open: {
        storage,
        database_name: options.databaseName ?? DEFAULT_DATABASE,
        owner,
        retention,
        checkpoint_every: every,
        witness,
        compress: options.compress ?? false,
      },
      openDeadlineMs: deadlines.bootMs,
      connectSource,
      tell: guarded(options.onTraceProblem),
    });
    const client = new TraceClient(link, deadlines);
    if (storage === "indexeddb" && (options.askToPersist ?? true)) void client.#askToPersist();
    return client;
  }

  /** `until` is where it ends, as the source counts; null leaves it to what the source has once it is asked. */
  async flush(options: FlushOptions = {}, until: number | null = null): Promise<void> {
    const { durability = "relaxed" } = checkedOptions(options, FLUSH_OPTIONS);
    await this.#link.call("flush", { durability, until }, this.#deadlines.storeMs);
  }

  async *traces(sessionId: string): AsyncGenerator<TraceEvent, void, undefined> {
    for await (const chunk of this.#chunks(sessionId)) {
      for (const line of splitLines(chunk)) yield JSON.parse(line) as TraceEvent;
    }
  }

  async verify(sessionId: string, options: VerifyOptions = {}): Promise<VerifyResult> {
    const { publicKeys = [], witness } = checkedOptions(options, VERIFY_OPTIONS);
    const address = witness === undefined ? null : checkedWitness(witness);
    const params = { session_id: checkedSessionId(sessionId), public_keys: checkedPublicKeys(publicKeys), witness: address };
    await this.#settle();
    return await this.#link.call("verify", params, this.#deadlines.storeMs);
  }

  async checkpoints(sessionId: string): Promise<readonly string[]> {
    const params = { session_id: checkedSessionId(sessionId) };
    await this.#settle();
    return await this.#link.call("checkpoints", params, this.#deadlines.storeMs);
  }

  publicKey(): Promise<string> {
    return this.#link.call("public_key", null, this.#deadlines.storeMs);
  }

  exportStream(sessionId: string): ReadableStream<Uint8Array> {
    const chunks = this.#chunks(sessionId);
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const { value, done } = await chunks.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      cancel: async () => {
        await chunks.return();
      },
    });
  }

  async exportJsonl(sessionId: string): Promise<Uint8Array<ArrayBuffer>> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#chunks(sessionId)) chunks.push(chunk);
    return joinBytes(chunks);
  }

  /** One piece is on its way at a time, so that a fast source waits for the store. */
  async importSession(source: ImportSource): Promise<ImportResult> {
    const importId = uuid7(Date.now(), randomBytes(10));
    try {
      for await (const piece of importPieces(source, { silentMs: this.#deadlines.storeMs, signal: this.#closing.signal })) {
        const chunk = { import_id: importId, ...piece };
        const result = await this.#link.call("import_chunk", chunk, this.#deadlines.storeMs);
        if (result !== null) return result;
      }
      throw new CraError("import_interrupted", "the source ended without its last piece");
    } catch (cause) {
      await this.#link.call("import_abort", { import_id: importId }, this.#deadlines.storeMs).catch(() => undefined);
      throw CraError.from(cause, "import_interrupted");
    }
  }

  sessions(): Promise<readonly SessionHead[]> {
    return this.#link.call("sessions", null, this.#deadlines.storeMs);
  }

  sealedSessions(): Promise<readonly SealedSession[]> {
    return this.#link.call("sealed", null, this.#deadlines.storeMs);
  }

  async pin(sessionId: string, pinned = true): Promise<void> {
    if (typeof (pinned as unknown) !== "boolean") {
      throw new CraError("invalid_arguments", "`pinned` is true or false", { pointer: "/pinned" });
    }
    await this.#link.call("pin", { session_id: checkedSessionId(sessionId), pinned }, this.#deadlines.storeMs);
  }

  async statistics(): Promise<TraceStatistics> {
    const told = await this.#link.call("statistics", null, this.#deadlines.callMs);
    return { ...told, restarts: this.#link.restarts, persisted: this.#persisted };
  }

  /** Tell the trace worker that nothing more can come; what is stored stays readable. */
  async sourceGone(): Promise<void> {
    try {
      await this.#link.call("source_gone", null, this.#deadlines.callMs);
    } catch (cause) {
      // A trace worker that is gone too rejects every later call by itself.
      if (!(cause instanceof CraError)) throw cause;
    }
  }

  /** Close the store and end the worker, whatever state it is in. `final`: the resolver ends with it. */
  async release({ final }: { readonly final: boolean }): Promise<void> {
    this.#unwatch();
    this.#closing.abort(new CraError("closed", "the client was closed before the import had all of its source"));
    try {
      await this.#link.call("close", { final }, this.#deadlines.callMs);
    } catch (cause) {
      // A worker that is gone or does not answer has nothing left that could be saved.
      if (!(cause instanceof CraError)) throw cause;
    } finally {
      await this.#link.end();
    }
  }

  async *#chunks(sessionId: string): AsyncGenerator<Uint8Array, void, undefined> {
    checkedSessionId(sessionId);
    await this.#settle();
    for (let position: number | null = 0; position !== null; ) {
      const params: TraceMethods["read"]["params"] = { session_id: sessionId, position };
      const chunk: StoredChunk = await this.#link.call("read", params, this.#deadlines.storeMs);
      yield chunk.bytes;
      position = chunk.next;
    }
  }

  /** What was emitted before a read is part of it, as long as there is anything that emits. */
  async #settle(): Promise<void> {
    try {
      await this.#link.call("settle", null, this.#deadlines.storeMs);
    } catch (cause) {
      const sourceGone = cause instanceof CraError && SOURCE_GONE.includes(cause.code);
      if (!sourceGone || this.#link.failure !== null) throw cause;
    }
  }

  /** A browser may delete what an origin stored when the disk is full, unless it answers yes to this. */
  async #askToPersist(): Promise<void> {
    if (typeof document !== "object" || !("storage" in navigator)) return;
    try {
      this.#persisted = await navigator.storage.persist();
    } catch {
      // A page that may not ask was not answered.
    }
  }
}
