/**
 * Tells a witness of each checkpoint (PROTOCOL 3.19): at least once, the newest of each session only.
 *
 * Nothing waits for it. What is not sent is tried again with longer and longer pauses, and after a restart, because the
 * store knows up to which size each session was told of.
 */

import { entryLine, parseNote } from "./checkpoint.js";
import { CraError, messageOf } from "./errors.js";
import type { WitnessStatistics } from "./model.js";
import { textWithin } from "./response-text.js";
import type { StoredCheckpoint } from "./store.js";

/** The part of a store that a sender needs. */
export interface WitnessStore {
  unwitnessed(): Promise<readonly StoredCheckpoint[]>;
  keepWitnessed(sessionId: string, size: number): Promise<void>;
}

export interface WitnessOptions {
  readonly url: string;
  readonly store: WitnessStore;
  readonly fetching: (url: string, init: RequestInit) => Promise<Response>;
  /** Call `work` in `delayMs`; returns what cancels it. */
  readonly after: (delayMs: number, work: () => void) => () => void;
  /** 0 to 1, so that not everybody comes back at the same moment. */
  readonly random: () => number;
  readonly onProblem: (problem: CraError) => void;
}

const SEND_DEADLINE_MS = 15_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 300_000;
/** What is on its way at a close or a sleep may take so long. */
const LAST_SEND_MS = 2_000;
/** Of an answer; more is no witness's. */
const MAX_ANSWER_BYTES = 65_536;

type Outcome = "sent" | "superseded" | "conflict" | "refused";

export class WitnessSender {
  readonly #options: WitnessOptions;
  readonly #pending = new Map<string, StoredCheckpoint>();
  readonly #counts = { sent: 0, superseded: 0, failed: 0 };
  #lastError: CraError | null = null;
  #loaded = false;
  #resting = false;
  #failures = 0;
  #turn: Promise<void> | null = null;
  #cancelRetry: (() => void) | null = null;

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  /** Send from now on what the store has and the witness was not told. Returns at once. */
  start(): void {
    this.#resting = false;
    this.#pump();
  }

  /** This was signed and stored: send it instead of what waits of its session. Returns at once. */
  offer(checkpoint: StoredCheckpoint): void {
    this.#pending.set(checkpoint.session_id, checkpoint);
    this.#pump();
  }

  /** Send nothing more until `start`; waits a moment for what is on its way. Never rejects. */
  async rest(): Promise<void> {
    this.#resting = true;
    this.#cancelRetry?.();
    this.#cancelRetry = null;
    if (this.#turn === null) return;
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#options.after(LAST_SEND_MS, resolve);
    });
    await Promise.race([this.#turn, late]);
    cancel();
  }

  statistics(): WitnessStatistics {
    const error = this.#lastError;
    return {
      ...this.#counts,
      pending: this.#pending.size,
      last_error: error === null ? null : { code: error.code, message: error.message },
    };
  }

  #pump(): void {
    if (this.#resting || this.#turn !== null || this.#cancelRetry !== null) return;
    this.#turn = this.#sendPending()
      .then(
        () => {
          this.#failures = 0;
        },
        (cause: unknown) => {
          this.#retryLater(CraError.from(cause, "witness_failed"));
        },
      )
      .finally(() => {
        this.#turn = null;
        // What was offered while the last one was told of.
        if (this.#pending.size > 0) this.#pump();
      });
  }

  #retryLater(error: CraError): void {
    this.#counts.failed += 1;
    this.#lastError = error;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** this.#failures, LONGEST_PAUSE_MS);
    this.#failures += 1;
    if (this.#resting) return;
    this.#cancelRetry = this.#options.after(pause * (0.5 + this.#options.random() / 2), () => {
      this.#cancelRetry = null;
      this.#pump();
    });
  }

  async #sendPending(): Promise<void> {
    if (!this.#loaded) await this.#load();
    for (const [sessionId, checkpoint] of this.#pending) {
      if (this.#resting) return;
      const outcome = await this.#send(checkpoint);
      // Refused is for good as long as this worker lives: the witness may know better after a restart.
      if (outcome !== "refused") await this.#options.store.keepWitnessed(sessionId, checkpoint.size);
      if (outcome === "sent" || outcome === "superseded") this.#counts[outcome] += 1;
      else this.#counts.failed += 1;
      if (this.#pending.get(sessionId) === checkpoint) this.#pending.delete(sessionId);
    }
  }

  async #load(): Promise<void> {
    for (const checkpoint of await this.#options.store.unwitnessed()) {
      const { session_id: sessionId, size } = checkpoint;
      if (size > (this.#pending.get(sessionId)?.size ?? 0)) this.#pending.set(sessionId, checkpoint);
    }
    this.#loaded = true;
  }

  /** Rejects with `witness_failed` where it may be tried again. */
  async #send(checkpoint: StoredCheckpoint): Promise<Outcome> {
    const { status, answer } = await this.#post(entryLine(checkpoint));
    if (status === 200 && isReceipt(answer, checkpoint)) return "sent";
    const known = status === 409 && answer !== null ? objectIn(answer, "known") : null;
    if (known !== null && isNewer(known, checkpoint)) return "superseded";
    if (known !== null) {
      const message = `the witness knows session \`${checkpoint.session_id}\` otherwise: compare its entries with the trace`;
      return this.#told("conflict", "witness_conflict", message);
    }
    if ([400, 403, 413, 422].includes(status)) return this.#told("refused", "witness_refused", `the witness refused a checkpoint with ${status}`);
    throw new CraError("witness_failed", `the witness answered ${status} and no receipt`);
  }

  async #post(body: string): Promise<{ status: number; answer: Readonly<Record<string, unknown>> | null }> {
    const url = `${this.#options.url.replace(/\/+$/, "")}/checkpoints`;
    try {
      const response = await this.#options.fetching(url, {
        method: "POST",
        body,
        headers: { "content-type": "text/plain;charset=utf-8" },
        keepalive: true,
        credentials: "omit",
        cache: "no-store",
        signal: AbortSignal.timeout(SEND_DEADLINE_MS),
      });
      return { status: response.status, answer: objectOf((await textWithin(response, MAX_ANSWER_BYTES)) ?? "") };
    } catch (cause) {
      throw new CraError("witness_failed", `the witness cannot be reached: ${messageOf(cause)}`);
    }
  }

  #told(outcome: Outcome, code: string, message: string): Outcome {
    const error = new CraError(code, message);
    this.#lastError = error;
    this.#options.onProblem(error);
    return outcome;
  }
}

/** A page that answers everything with 200 has witnessed nothing. */
function isReceipt(answer: Readonly<Record<string, unknown>> | null, { session_id, size, note }: StoredCheckpoint): boolean {
  return answer?.["session_id"] === session_id && answer["size"] === size && answer["head"] === parseNote(note).head;
}

/** More of the same session, by the same signer. */
function isNewer(known: Readonly<Record<string, unknown>>, { session_id, size, key }: StoredCheckpoint): boolean {
  return known["session_id"] === session_id && known["key"] === key && Number(known["size"]) > size;
}

function objectOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    return objectIn({ text: JSON.parse(text) as unknown }, "text");
  } catch {
    return null;
  }
}

function objectIn(outer: Readonly<Record<string, unknown>>, name: string): Readonly<Record<string, unknown>> | null {
  const value = outer[name];
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : null;
}
