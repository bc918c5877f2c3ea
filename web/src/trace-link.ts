/**
 * Keeps a trace worker running: one that dies is replaced, and the new one is given again what was not acknowledged.
 *
 * Every call of a trace worker may be repeated, so that one whose worker died under it is asked of the next.
 */

import { Channel } from "./channel.js";
import type { None } from "./channel.js";
import { CraError } from "./errors.js";
import { startWorker } from "./platform.js";
import type { WorkerHandle } from "./platform.js";
import type { PageNotes, TraceMethods, TraceNotes } from "./protocol.js";

/** A worker that dies more often than this in a minute dies of something that a new one will not mend. */
const MAX_DEATHS = 5;
const DEATHS_WINDOW_MS = 60_000;

type TraceChannel = Channel<TraceMethods, None, TraceNotes, PageNotes>;

export interface LinkOptions {
  readonly url: URL;
  readonly open: TraceMethods["open"]["params"];
  readonly openDeadlineMs: number;
  /** Have the resolver's side serve its batches over this port; called for each worker. */
  readonly connectSource: (port: MessagePort) => Promise<void>;
  /** Must not throw. */
  readonly tell: (problem: TraceNotes["problem"]) => void;
}

interface Running {
  readonly worker: WorkerHandle;
  readonly channel: TraceChannel;
}

export class TraceLink {
  readonly #options: LinkOptions;
  readonly #deaths: number[] = [];
  #current: Promise<Running>;
  #live: Running | null = null;
  #restarts = 0;
  #ended: CraError | null = null;

  private constructor(options: LinkOptions) {
    this.#options = options;
    this.#current = this.#start();
  }

  /** Start a worker and open its store. Rejects with the worker's or the store's error; nothing is left running then. */
  static async open(options: LinkOptions): Promise<TraceLink> {
    const link = new TraceLink(options);
    try {
      await link.#current;
    } catch (cause) {
      await link.end();
      throw cause;
    }
    return link;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** Why there is no worker any more and will be none, or null. */
  get failure(): CraError | null {
    return this.#ended;
  }

  /** Ask the worker, or the one that replaces it. Rejects as `Channel.call`. */
  async call<K extends keyof TraceMethods>(
    method: K,
    params: TraceMethods[K]["params"],
    deadlineMs: number,
  ): Promise<TraceMethods[K]["result"]> {
    for (;;) {
      if (this.#ended !== null) throw this.#ended;
      const { channel } = await this.#current;
      try {
        return await channel.call(method, params, deadlineMs);
      } catch (cause) {
        // The channel's own failure and not an answer: the worker is gone, and was replaced or given up.
        if (channel.failure !== cause) throw cause;
      }
    }
  }

  /** Tell the worker something; lost where there is none at this moment. */
  note(topic: keyof PageNotes): void {
    this.#live?.channel.note(topic, null);
  }

  /** End the worker, whatever state it is in. Idempotent. */
  async end(): Promise<void> {
    this.#ended ??= new CraError("closed", "the channel to the trace worker was closed");
    const live = this.#live;
    this.#live = null;
    live?.channel.close();
    await live?.worker.terminate();
  }

  async #start(): Promise<Running> {
    const worker = await startWorker(this.#options.url, "trace worker");
    try {
      return await this.#connect(worker);
    } catch (cause) {
      await worker.terminate();
      throw cause;
    }
  }

  async #connect(worker: WorkerHandle): Promise<Running> {
    const { open, openDeadlineMs, connectSource, tell } = this.#options;
    const control = new MessageChannel();
    const batches = new MessageChannel();
    const channel: TraceChannel = new Channel<TraceMethods, None, TraceNotes, PageNotes>(control.port1, {
      peer: "trace worker",
      handlers: {},
      notes: { problem: tell },
    });
    const running = { worker, channel };
    this.#live = running;
    worker.onDeath((error) => {
      channel.fail(error);
    });
    worker.connect({ kind: "connect", control: control.port2, traces: batches.port2 });
    await channel.call("open", open, openDeadlineMs);
    try {
      await connectSource(batches.port1);
    } catch {
      // The resolver is gone. What is stored stays readable, and its sessions end.
      await channel.call("source_gone", null, openDeadlineMs);
    }
    if (this.#ended !== null) throw this.#ended;
    channel.onFailure((error) => {
      if (this.#ended === null) this.#replace(worker, error);
    });
    return running;
  }

  #replace(dead: WorkerHandle, error: CraError): void {
    this.#current = this.#startAnew(dead, error);
    this.#current.catch((cause: unknown) => {
      this.#ended ??= CraError.from(cause, "worker_dead");
    });
  }

  /** Try until one runs, or too many died; then every call rejects with what the last one died of. */
  async #startAnew(dead: WorkerHandle, error: CraError): Promise<Running> {
    // One that only stopped understanding us still runs, and must not write beside its successor.
    await dead.terminate();
    for (let reason = error; ; ) {
      this.#options.tell({ code: reason.code, message: reason.message, notice: null });
      if (!this.#mayRestart()) throw reason;
      this.#restarts += 1;
      try {
        return await this.#start();
      } catch (cause) {
        if (this.#ended !== null) throw this.#ended;
        reason = CraError.from(cause, "worker_dead");
      }
    }
  }

  #mayRestart(): boolean {
    const now = performance.now();
    const recent = [...this.#deaths, now].filter((at) => now - at < DEATHS_WINDOW_MS);
    this.#deaths.splice(0, this.#deaths.length, ...recent);
    // What lived in the worker's memory died with it: a new one would take what follows for a chain without beginning.
    return this.#options.open.storage !== "memory" && recent.length <= MAX_DEATHS;
  }
}
