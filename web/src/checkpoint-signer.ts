/**
 * Signs where chains stand (PROTOCOL 3.19): every so many events of a session, and at its end.
 *
 * INVARIANT: it is told only of what is durable, and nobody who stores events waits for it. What cannot be signed is
 * counted and told, and costs no event.
 */

import { entryLine, vkeyText } from "./checkpoint.js";
import type { VerifierKey } from "./checkpoint.js";
import { publicKeyOf, signCheckpoint } from "./checkpoint-keys.js";
import { CraError } from "./errors.js";
import type { CheckpointStatistics, SessionHead } from "./model.js";
import type { StoredChange, StoredCheckpoint } from "./store.js";

export const DEFAULT_CHECKPOINT_EVERY = 10_000;
const MAX_CHECKPOINT_EVERY = 1_000_000_000;

/** The part of a store that signing needs. */
export interface CheckpointStore {
  keepCheckpoint(checkpoint: StoredCheckpoint): Promise<void>;
  sessions(): Promise<readonly SessionHead[]>;
  checkpointSizes(): Promise<ReadonlyMap<string, number>>;
  checkpoints(sessionId: string): Promise<readonly StoredCheckpoint[]>;
  signingKeys(): Promise<CryptoKeyPair>;
}

export interface SignerOptions {
  readonly store: CheckpointStore;
  /** Events of a session between two checkpoints. */
  readonly every: number;
  readonly nowMs: () => number;
  /** A checkpoint was signed and stored. Must return at once. */
  readonly onSigned?: (checkpoint: StoredCheckpoint) => void;
  readonly onProblem: (problem: CraError) => void;
}

interface Signing {
  readonly keys: CryptoKeyPair;
  readonly key: VerifierKey;
}

/** Return `every` when it is a whole number from 1 on. Throws `invalid_checkpoint_every`. */
export function checkedEvery(every: number): number {
  if (Number.isSafeInteger(every) && every >= 1 && every <= MAX_CHECKPOINT_EVERY) return every;
  const message = `\`checkpointEvery\` is a whole number of 1 to ${MAX_CHECKPOINT_EVERY} events`;
  throw new CraError("invalid_checkpoint_every", message, { pointer: "/checkpointEvery" });
}

export class CheckpointSigner {
  readonly #options: SignerOptions;
  /** What is to be signed: the newest state of each session. */
  readonly #waiting = new Map<string, SessionHead>();
  /** Sizes up to which was signed, or tried to, until `catchUp` has looked at all sessions. */
  #tried: Map<string, number> | null = new Map();
  /** Ends that `catchUp` signed: this worker may have stored one a moment ago, and is told of it after that. */
  readonly #caughtUp = new Set<string>();
  #turn: Promise<void> | null = null;
  #signing: Signing | null = null;
  #state: CheckpointStatistics["state"] = "waiting";
  #signed = 0;
  #failed = 0;
  #lastError: CraError | null = null;

  constructor(options: SignerOptions) {
    this.#options = options;
  }

  /** A batch was stored: sign the sessions that ended with it or went past a multiple of `every`. Returns at once. */
  stored(changes: readonly StoredChange[]): void {
    const { every } = this.#options;
    for (const { before, head } of changes) {
      const { session_id: sessionId, next_sequence: next, ended } = head;
      // Nothing smaller is signed behind an end.
      if (this.#caughtUp.has(sessionId)) {
        if (ended) this.#caughtUp.delete(sessionId);
        continue;
      }
      if (ended || Math.floor(next / every) > Math.floor(before / every)) this.sign(head);
    }
  }

  /** Sign this head, which is stored, behind what is signed now. Returns at once. */
  sign(head: SessionHead): void {
    if (this.#state === "unavailable") return;
    this.#waiting.set(head.session_id, head);
    this.#tried?.set(head.session_id, head.next_sequence);
    this.#turn ??= this.#signWaiting().finally(() => {
      this.#turn = null;
    });
  }

  /** Sign the ends that a worker before this one stored and did not sign. Rejects with the store's error. */
  async catchUp(): Promise<void> {
    const { store } = this.#options;
    await this.idle();
    const sizes = await store.checkpointSizes();
    for (const head of await store.sessions()) {
      const { session_id: sessionId, next_sequence: size } = head;
      const isOurs = head.imported !== true && head.algorithm !== "";
      const known = Math.max(sizes.get(sessionId) ?? 0, this.#tried?.get(sessionId) ?? 0);
      if (!head.ended || !isOurs || known >= size || this.#state === "unavailable") continue;
      this.#caughtUp.add(sessionId);
      this.sign(head);
    }
    this.#tried = null;
    await this.idle();
  }

  /** Resolves when nothing waits to be signed. Never rejects. */
  async idle(): Promise<void> {
    while (this.#turn !== null) await this.#turn;
  }

  /** The key by which is signed, as text. Rejects with the store's error, `key_unsafe` or `ed25519_unavailable`. */
  async publicKey(): Promise<string> {
    return vkeyText((await this.#prepare()).key);
  }

  /** A session's lines, as a `.checkpoints.jsonl` has them. */
  async lines(sessionId: string): Promise<readonly string[]> {
    await this.idle();
    return (await this.#options.store.checkpoints(sessionId)).map(entryLine);
  }

  statistics(): CheckpointStatistics {
    const error = this.#lastError;
    return {
      state: this.#state,
      signed: this.#signed,
      failed: this.#failed,
      last_error: error === null ? null : { code: error.code, message: error.message },
    };
  }

  async #signWaiting(): Promise<void> {
    // Never in the turn of who stores.
    await Promise.resolve();
    for (const [sessionId, head] of this.#waiting) {
      this.#waiting.delete(sessionId);
      await this.#signOne(head);
    }
  }

  async #signOne({ session_id, next_sequence: size, head_hash: head, algorithm }: SessionHead): Promise<void> {
    try {
      const { keys, key } = await this.#prepare();
      const time = new Date(this.#options.nowMs()).toISOString();
      const note = await signCheckpoint(keys, key, { session_id, size, head, algorithm, time });
      const checkpoint = { session_id, size, key: vkeyText(key), note };
      await this.#options.store.keepCheckpoint(checkpoint);
      this.#signed += 1;
      this.#options.onSigned?.(checkpoint);
    } catch (cause) {
      this.#refused(CraError.from(cause, "store_failed"));
    }
  }

  /** A platform without Ed25519 is no problem of a session: it stands in the statistics, once. */
  #refused(error: CraError): void {
    const repeated = this.#lastError?.code === error.code;
    this.#lastError = error;
    if (error.code === "ed25519_unavailable") {
      this.#state = "unavailable";
      this.#waiting.clear();
      return;
    }
    this.#failed += 1;
    if (!repeated) this.#options.onProblem(error);
  }

  /** The store is asked each time: one that was deleted under its pages has another key from then on. */
  async #prepare(): Promise<Signing> {
    const keys = await this.#options.store.signingKeys();
    if (this.#signing?.keys !== keys) this.#signing = { keys, key: await publicKeyOf(keys) };
    this.#state = "ready";
    return this.#signing;
  }
}
