/**
 * Takes in sessions of other stores (PROTOCOL 3.18.6): verified while they come, staged where nobody sees them, and made
 * known as a whole.
 */

import { joinBytes } from "./bytes.js";
import { COMPACT_BYTES } from "./compaction.js";
import { CraError } from "./errors.js";
import { checkedSessionId } from "./formats.js";
import type { ImportResult, SessionHead, ChainResult } from "./model.js";
import type { ImportChunk } from "./protocol.js";
import type { StagedSession, TraceStore } from "./store.js";
import { TraceVerifier } from "./verify.js";

/** The limits of a replay (PROTOCOL 3.11.1): what is imported can be replayed. */
export interface ImportLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

const LIMITS: ImportLimits = { maxEvents: 1_000_000, maxBytes: 512 * 1024 * 1024 };

const LF = 10;

/** The imports of one worker, by the ids that the page made. */
export class Imports {
  readonly #store: TraceStore;
  readonly #limits: ImportLimits;
  readonly #open = new Map<string, TraceImport>();

  constructor(store: TraceStore, limits = LIMITS) {
    this.#store = store;
    this.#limits = limits;
  }

  /**
   * Take the next bytes; resolves to the result with the last ones. Rejects with `invalid_trace`, `trace_too_large`,
   * `import_conflict`, the store's error, or `import_interrupted` where bytes before these did not come to this worker.
   * An import that was rejected is over and has left nothing.
   */
  async take({ import_id, offset, bytes, last }: ImportChunk): Promise<ImportResult | null> {
    const running = this.#open.get(import_id) ?? (offset === 0 ? this.#begin(checkedSessionId(import_id)) : null);
    if (running?.size !== offset) {
      await this.abort(import_id);
      throw new CraError("import_interrupted", "a part of the import is lost with its worker, import it again");
    }
    try {
      await running.add(bytes);
      if (!last) return null;
      const result = await running.finish();
      await this.abort(import_id);
      return result;
    } catch (cause) {
      await this.abort(import_id);
      throw cause;
    }
  }

  /** Leave nothing of an import; idempotent. What cannot be removed now is swept by a later start. */
  async abort(importId: string): Promise<void> {
    const running = this.#open.get(importId);
    this.#open.delete(importId);
    await running?.discard().catch(() => undefined);
  }

  async close(): Promise<void> {
    for (const importId of [...this.#open.keys()]) await this.abort(importId);
  }

  #begin(importId: string): TraceImport {
    const begun = new TraceImport(this.#store, importId, this.#limits);
    this.#open.set(importId, begun);
    return begun;
  }
}

/** One session on its way in. */
class TraceImport {
  readonly #store: TraceStore;
  readonly #importId: string;
  readonly #limits: ImportLimits;
  readonly #verifier = new TraceVerifier();
  #size = 0;
  /** Verified and not staged; and the beginning of a line. */
  #waiting: Uint8Array[] = [];
  #staged: StagedSession | null = null;
  #discarded = false;
  #stagedEvents = 0;

  constructor(store: TraceStore, importId: string, limits: ImportLimits) {
    this.#store = store;
    this.#importId = importId;
    this.#limits = limits;
  }

  /** How many bytes came. */
  get size(): number {
    return this.#size;
  }

  async add(bytes: Uint8Array): Promise<void> {
    this.#size += bytes.length;
    const isGood = await this.#verifier.push(bytes);
    const { maxBytes, maxEvents } = this.#limits;
    if (this.#size > maxBytes || this.#verifier.events > maxEvents) {
      throw new CraError("trace_too_large", `an import has at most ${maxEvents} events and ${maxBytes} bytes`);
    }
    if (!isGood) throw invalid(this.#verifier.end());
    this.#waiting.push(bytes);
    if (this.#waiting.reduce((sum, { length }) => sum + length, 0) >= COMPACT_BYTES) await this.#stage();
  }

  async finish(): Promise<ImportResult> {
    const verdict = this.#verifier.end();
    const { sessionId } = this.#verifier;
    if (!verdict.valid || sessionId === null) throw invalid(verdict);
    const { events, head, algorithm, warnings } = verdict;
    if (head === null || algorithm === null) throw invalid(verdict);
    const result = { session_id: sessionId, events, head, algorithm, warnings };
    if (await this.#isThere(result)) return { ...result, imported: false };
    await this.#stage();
    const ended = warnings.length === 0;
    const after: SessionHead = { session_id: sessionId, next_sequence: events, head_hash: head, ended, algorithm, at_risk: ended ? 0 : null };
    if ((await this.#staged?.publish(after)) === true) return { ...result, imported: true };
    // It came from elsewhere meanwhile.
    if (await this.#isThere(result)) return { ...result, imported: false };
    throw new CraError("import_interrupted", "the session was written or removed during its import, import it again");
  }

  async discard(): Promise<void> {
    this.#discarded = true;
    await this.#staged?.discard();
  }

  /** Stage the whole lines that wait. Each was verified, so that their number is known without counting. */
  async #stage(): Promise<void> {
    const { sessionId, events } = this.#verifier;
    const bytes = joinBytes(this.#waiting);
    const end = bytes.lastIndexOf(LF) + 1;
    if (sessionId === null || end === 0) return;
    this.#staged ??= await this.#store.stage(this.#importId);
    await this.#checkAborted(this.#staged);
    const lines = bytes.slice(0, end);
    await this.#staged.add({ session_id: sessionId, first_sequence: this.#stagedEvents, count: events - this.#stagedEvents, bytes: lines });
    // An abort may have come before these were staged.
    await this.#checkAborted(this.#staged);
    this.#stagedEvents = events;
    this.#waiting = [bytes.slice(end)];
  }

  async #checkAborted(staged: StagedSession): Promise<void> {
    if (!this.#discarded) return;
    await staged.discard();
    throw new CraError("import_interrupted", "the import was aborted");
  }

  /**
   * Whether the store has all these events: a hash stands for every event before it. Rejects with `import_conflict` where
   * it has others, fewer, or keeps a checkpoint of others.
   */
  async #isThere({ session_id, events, head }: Omit<ImportResult, "imported">): Promise<boolean> {
    const stored = await this.#store.head(session_id);
    if (stored === null) {
      const sealed = (await this.#store.sealed()).find((one) => one.session_id === session_id);
      if (sealed !== undefined && (sealed.events !== events || sealed.head_hash !== head)) throw conflict(session_id);
      return false;
    }
    const [line] = await this.#store.lines(session_id, events - 1, events);
    if (line === undefined || hashOf(line) !== head) throw conflict(session_id);
    return true;
  }
}

function invalid({ error, error_at, message }: ChainResult): CraError {
  const place = error_at === null ? "" : ` in line ${error_at}`;
  const why = message === null ? "" : `: ${message}`;
  return new CraError("invalid_trace", `the trace does not verify, ${error ?? "it has no events"}${place}${why}`, { error, error_at });
}

function conflict(sessionId: string): CraError {
  const message = `session \`${sessionId}\` is known here with other events: export or verify both and compare them`;
  return new CraError("import_conflict", message, { session_id: sessionId });
}

/** A damaged line has none. */
function hashOf(line: string): unknown {
  try {
    return (JSON.parse(line) as Readonly<Record<string, unknown>>)["event_hash"];
  } catch {
    return null;
  }
}
