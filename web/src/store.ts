/** Where chained traces are kept. One contract for IndexedDB, files and memory. */

import type { QuarantineNotice, SealedSession, SessionHead } from "./model.js";
import type { StorageKind, StoredChunk } from "./protocol.js";
import type { SegmentCompaction } from "./compaction.js";
import type { Footprint } from "./retention.js";
import type { SessionLocks } from "./session-locks.js";

/** One drained batch's lines of one session: JSONL bytes, one record of the store. */
export interface Segment {
  readonly session_id: string;
  readonly first_sequence: number;
  readonly count: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Lines that could not join their chain, as the batch carried them, kept for a person to look at. */
export interface QuarantineRecord extends QuarantineNotice {
  /** The first line's; with session_id and first_sequence it is the key, so that a redelivery is kept once. */
  readonly event_id: string;
  readonly lines: Uint8Array<ArrayBuffer>;
}

/** A signed note of where a session's chain stood, and the vkey of who signed it. */
export interface StoredCheckpoint {
  readonly session_id: string;
  readonly size: number;
  readonly key: string;
  readonly note: string;
}

/** A session on its way in. Nobody sees it before it is published; what a crash leaves is swept by a later start. */
export interface StagedSession {
  /** Whole lines that follow those before. */
  add(segment: Segment): Promise<void>;
  /**
   * Make the session known, at once and durably, as imported. False, with nothing stored, when it is there already.
   * Rejects with `import_interrupted` when what was added is not all there any more. Over in every case.
   */
  publish(head: SessionHead): Promise<boolean>;
  /** Leave nothing of it. Idempotent, also behind `publish`. */
  discard(): Promise<void>;
}

/** What the writer saw of a session: null where the store had none. */
export interface ExpectedHead {
  readonly session_id: string;
  readonly head: SessionHead | null;
}

/** relaxed survives a killed process; strict is for power loss too. */
export type Durability = "relaxed" | "strict";

/** One batch, ready to store. */
export interface BatchWrite {
  /** The compare of the compare-and-swap, for every session of the batch. */
  readonly expected: readonly ExpectedHead[];
  readonly segments: readonly Segment[];
  /** The new ones; one without a segment changes `at_risk` only. */
  readonly heads: readonly SessionHead[];
  readonly quarantine: readonly QuarantineRecord[];
  readonly durability: Durability;
}

/** What a batch that is stored made of one session. */
export interface StoredChange {
  /** How many events it had before. */
  readonly before: number;
  readonly head: SessionHead;
}

/**
 * Stores segments, heads and quarantined lines. Errors reject with `store_failed`, `store_full`, `store_closed` or
 * `store_corrupt`.
 */
export interface TraceStore {
  readonly name: StorageKind;
  readonly locks: SessionLocks;
  /** Null where there are no segments to join. A position that `read` gave stays good when they are. */
  readonly compaction: SegmentCompaction | null;
  /** Where the session's chain stands, or null when the store does not know it. */
  head(sessionId: string): Promise<SessionHead | null>;
  /** Every session, by id (ids are in the order of their time). */
  sessions(): Promise<readonly SessionHead[]>;
  /**
   * Store the batch when every head is still the expected one. Resolves to false, with nothing stored, when one is not.
   * Resolves only when it is durable. INVARIANT: compare and swap happen in one transaction (files: under one writer,
   * where a crash may leave some sessions of a batch stored; its redelivery completes it).
   */
  commit(write: BatchWrite): Promise<boolean>;
  /** Whole lines from `position` (0, then the chunk's `next`) on; `maxBytes` may be exceeded by one segment or line. */
  read(sessionId: string, position: number, maxBytes: number): Promise<StoredChunk>;
  /** The stored lines with from <= sequence < to, without LF. */
  lines(sessionId: string, from: number, to: number): Promise<readonly string[]>;
  quarantined(): Promise<readonly QuarantineRecord[]>;
  /** What each session takes, in no order. */
  footprints(): Promise<readonly Footprint[]>;
  /** Keep a session from being removed, or no longer. Resolves to false when the store does not know it. */
  pin(sessionId: string, pinned: boolean): Promise<boolean>;
  /**
   * Remove an ended session's events and keep where its chain ended, with its newest checkpoint. Resolves to false,
   * with nothing removed, when it has not ended, is pinned or unknown.
   */
  remove(sessionId: string, nowMs: number): Promise<boolean>;
  /** Begin to take in a session of another store. `importId` is a UUID of this import's own. */
  stage(importId: string): Promise<StagedSession>;
  /** Remove what imports of workers that are gone left; resolves to how many there were. */
  sweepStaged(): Promise<number>;
  /** What is left of removed sessions, by id. */
  sealed(): Promise<readonly SealedSession[]>;
  /** Keep a checkpoint behind those of smaller size. */
  keepCheckpoint(checkpoint: StoredCheckpoint): Promise<void>;
  /** A session's checkpoints by size, also of one that was removed. */
  checkpoints(sessionId: string): Promise<readonly StoredCheckpoint[]>;
  /** The size of each session's newest checkpoint. */
  checkpointSizes(): Promise<ReadonlyMap<string, number>>;
  /** The newest checkpoint of each session of which `keepWitnessed` was told of none as large. */
  unwitnessed(): Promise<readonly StoredCheckpoint[]>;
  /** A witness knows a session up to this size. */
  keepWitnessed(sessionId: string, size: number): Promise<void>;
  /** The store's one key, made by the first call. Rejects with `ed25519_unavailable`, or `key_unsafe` (files). */
  signingKeys(): Promise<CryptoKeyPair>;
  /** Let go of what must not be held while the page sleeps; the next call takes it up again. */
  pause(): void;
  /** Idempotent. */
  close(): Promise<void>;
}

type ChainEnd = Pick<SessionHead, "next_sequence" | "head_hash">;

/** Tell whether two heads are the same state of a chain. */
export function sameHead(left: ChainEnd | null, right: ChainEnd | null): boolean {
  if (left === null || right === null) return left === right;
  return left.next_sequence === right.next_sequence && left.head_hash === right.head_hash;
}

/** What remains of a session that is removed at `nowMs`. */
export function sealedOf(head: SessionHead, nowMs: number): SealedSession {
  const { session_id, next_sequence: events, head_hash, algorithm } = head;
  return { session_id, events, head_hash, algorithm, removed_ms: nowMs };
}
