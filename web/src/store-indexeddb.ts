/**
 * Traces in IndexedDB: segments of JSONL bytes next to the sessions' heads.
 *
 * One record per segment, not per event: measured 80-130,000 events/s against 7-11,000.
 */

import { openDB } from "idb";
import type { DBSchema, IDBPDatabase } from "idb";

import { DEFAULT_ALGORITHM } from "./algorithms.js";
import { bytesBehindLines, joinBytes, splitLines } from "./bytes.js";
import { generateKeys } from "./checkpoint-keys.js";
import type { SegmentCompaction } from "./compaction.js";
import { plainBytes } from "./compression.js";
import type { Compress, StoredSegment } from "./compression.js";
import { CraError } from "./errors.js";
import type { SealedSession, SessionHead } from "./model.js";
import type { StoredChunk } from "./protocol.js";
import { NoLocks, WebSessionLocks } from "./session-locks.js";
import type { SessionLocks } from "./session-locks.js";
import type { Footprint } from "./retention.js";
import { sameHead, sealedOf } from "./store.js";
import { beginChange } from "./store-indexeddb-change.js";
import { IndexedDbCompaction, marksAfter } from "./store-indexeddb-compaction.js";
import { keysFrom, segmentAround, segmentsAt } from "./store-indexeddb-segments.js";
import { renewLog } from "./store-indexeddb-log.js";
import { IndexedDbStaging } from "./store-indexeddb-staging.js";
import type { BatchWrite, QuarantineRecord, Segment, StagedSession, StoredCheckpoint, TraceStore } from "./store.js";

/** Heads that were stored before there was a choice of hashes, recovery or retention, lack their members. */
export type StoredHead = Omit<SessionHead, "algorithm" | "at_risk"> &
  Partial<Pick<SessionHead, "algorithm" | "at_risk">> & {
    readonly pinned?: boolean;
    readonly size_bytes?: number;
    readonly updated_ms?: number;
    /** Segments that begin before this number are compact. */
    readonly compact_to?: number;
    /** How many segments are not; unknown in heads of before there was compaction. */
    readonly loose?: number;
    /** Segments that begin before this number are compressed, or not shorter so. */
    readonly compressed_to?: number;
    /** What those from there on take. */
    readonly uncompressed_bytes?: number;
  };

export interface TraceSchema extends DBSchema {
  segments: { key: [session_id: string, first_sequence: number]; value: StoredSegment };
  heads: { key: string; value: StoredHead };
  quarantine: { key: [session_id: string, first_sequence: number, event_id: string]; value: QuarantineRecord };
  sealed: { key: string; value: SealedSession };
  checkpoints: { key: [session_id: string, size: number]; value: StoredCheckpoint };
  keys: { key: string; value: CryptoKeyPair };
  witnessed: { key: string; value: number };
}

/** 2 brought `sealed`, 3 `checkpoints`, `keys` and `witnessed`, 4 segments that are compressed: who knows 3 must not read them. */
const VERSION = 4;

/** The name of the one key that signs checkpoints. */
const SIGNING_KEY = "checkpoint";

/** Does `work` on the open database. */
export type Run = <T>(work: (database: IDBPDatabase<TraceSchema>) => Promise<T>) => Promise<T>;

export class IndexedDbStore implements TraceStore {
  readonly name = "indexeddb";
  readonly locks: SessionLocks;
  readonly compaction: SegmentCompaction;
  readonly #databaseName: string;
  readonly #staging: IndexedDbStaging;
  readonly #tell: (problem: CraError) => void;
  /** One promise for all callers, so that two calls at once open one connection. */
  #database: Promise<IDBPDatabase<TraceSchema>> | null = null;
  readonly #keys = new WeakMap<IDBPDatabase<TraceSchema>, CryptoKeyPair>();
  #closed = false;

  private constructor(
    databaseName: string,
    tell: (problem: CraError) => void,
    manager: LockManager | undefined,
    compress: Compress | null,
  ) {
    this.#databaseName = databaseName;
    this.#tell = tell;
    const newLocks = (): SessionLocks => (manager === undefined ? new NoLocks() : new WebSessionLocks(manager, databaseName));
    this.locks = newLocks();
    const run: Run = (work) => this.#run(work);
    this.compaction = new IndexedDbCompaction(run, compress);
    // Of their own: the writer gives all of its locks back when the page sleeps.
    this.#staging = new IndexedDbStaging(run, newLocks(), compress);
  }

  /**
   * Open or create the database. `tell` hears `store_blocked` while another tab's connection, of an older version that
   * does not give way, keeps it from opening, and `store_lost` when the browser gave up what was stored (PROTOCOL 3.16.8).
   * `compress` is for compaction: what is compressed is read without it. Rejects with `store_failed`.
   */
  static async open(
    databaseName: string,
    tell: (problem: CraError) => void = ignoredHere,
    manager = lockManager(),
    compress: Compress | null = null,
  ): Promise<IndexedDbStore> {
    const store = new IndexedDbStore(databaseName, tell, manager, compress);
    await store.#run(() => Promise.resolve());
    void renewLog();
    return store;
  }

  head(sessionId: string): Promise<SessionHead | null> {
    return this.#run(async (database) => {
      const head = await database.get("heads", sessionId);
      return head === undefined ? null : wholeHead(head);
    });
  }

  sessions(): Promise<readonly SessionHead[]> {
    return this.#run(async (database) => (await database.getAll("heads")).map(wholeHead));
  }

  commit(write: BatchWrite): Promise<boolean> {
    return this.#run(async (database) => {
      const transaction = beginChange(database, ["segments", "quarantine"], write.durability);
      // `done` rejects on abort too: on a full disk no request's error fires. It is awaited below in every case, but
      // may reject before that.
      const done = transaction.done.then(
        () => null,
        (cause: unknown) => ({ cause }),
      );
      try {
        const heads = transaction.objectStore("heads");
        const stored = await Promise.all(write.expected.map(({ session_id }) => heads.get(session_id)));
        if (!write.expected.every(({ head }, index) => sameHead(stored[index] ?? null, head))) {
          transaction.abort();
          await done;
          return false;
        }
        // INVARIANT: nothing but this transaction's requests is awaited in here, and a put that throws aborts the rest.
        for (const segment of write.segments) void transaction.objectStore("segments").add(segment).catch(ignoredHere);
        const before = new Map(stored.map((head) => [head?.session_id, head]));
        for (const head of write.heads) {
          const added = write.segments.filter(({ session_id }) => session_id === head.session_id);
          void heads.put(grown(head, before.get(head.session_id), added)).catch(ignoredHere);
        }
        for (const record of write.quarantine) {
          void transaction.objectStore("quarantine").put(record).catch(ignoredHere);
        }
        transaction.commit();
      } catch (cause) {
        abortQuietly(transaction);
        await done;
        throw cause;
      }
      const failure = await done;
      if (failure !== null) throw failure.cause;
      return true;
    });
  }

  /** What is compressed is decompressed behind the transaction, which would end. */
  read(sessionId: string, position: number, maxBytes: number): Promise<StoredChunk> {
    return this.#run(async (database) => {
      const { segments, next } = await segmentsAt(database.transaction("segments").store, sessionId, position, maxBytes);
      const parts = await plainParts(segments);
      const [first, begun] = [segments[0]?.first_sequence ?? position, parts[0]];
      if (begun !== undefined && first < position) parts[0] = bytesBehindLines(begun, position - first);
      return { bytes: joinBytes(parts), next };
    });
  }

  lines(sessionId: string, from: number, to: number): Promise<readonly string[]> {
    return this.#run(async (database) => {
      const { store } = database.transaction("segments");
      const start = (await segmentAround(store, sessionId, from))?.first_sequence ?? from;
      const all = start < to ? await store.getAll(IDBKeyRange.bound([sessionId, start], [sessionId, to], false, true)) : [];
      const wanted = all.filter((segment) => segment.first_sequence + segment.count > from);
      const first = wanted[0]?.first_sequence ?? from;
      return (await plainParts(wanted)).flatMap(splitLines).slice(from - first, to - first);
    });
  }

  quarantined(): Promise<readonly QuarantineRecord[]> {
    return this.#run((database) => database.getAll("quarantine"));
  }

  footprints(): Promise<readonly Footprint[]> {
    return this.#run(async (database) =>
      (await database.getAll("heads")).map(({ session_id, ended, imported, pinned, size_bytes, updated_ms }) => ({
        session_id,
        ended: ended || imported === true,
        pinned: pinned ?? false,
        size_bytes: size_bytes ?? 0,
        updated_ms: updated_ms ?? 0,
      })),
    );
  }

  pin(sessionId: string, pinned: boolean): Promise<boolean> {
    return this.#run(async (database) => {
      const transaction = beginChange(database, []);
      const heads = transaction.objectStore("heads");
      const head = await heads.get(sessionId);
      if (head !== undefined) void heads.put({ ...head, pinned }).catch(ignoredHere);
      await transaction.done;
      return head !== undefined;
    });
  }

  remove(sessionId: string, nowMs: number): Promise<boolean> {
    return this.#run(async (database) => {
      const transaction = beginChange(database, ["segments", "sealed", "checkpoints"], "strict");
      const heads = transaction.objectStore("heads");
      const head = await heads.get(sessionId);
      const removable = head !== undefined && (head.ended || head.imported === true) && head.pinned !== true;
      const checkpoints = transaction.objectStore("checkpoints");
      const older = removable ? (await checkpoints.getAllKeys(keysFrom(sessionId, 0))).slice(0, -1) : [];
      for (const key of older) void checkpoints.delete(key).catch(ignoredHere);
      if (removable) {
        void transaction.objectStore("segments").delete(keysFrom(sessionId, 0)).catch(ignoredHere);
        void transaction.objectStore("sealed").put(sealedOf(wholeHead(head), nowMs)).catch(ignoredHere);
        void heads.delete(sessionId).catch(ignoredHere);
      }
      await transaction.done;
      return removable;
    });
  }

  stage(importId: string): Promise<StagedSession> {
    return this.#staging.begin(importId);
  }

  sweepStaged(): Promise<number> {
    return this.#staging.sweep();
  }

  sealed(): Promise<readonly SealedSession[]> {
    return this.#run((database) => database.getAll("sealed"));
  }

  keepCheckpoint(checkpoint: StoredCheckpoint): Promise<void> {
    return this.#run(async (database) => {
      const transaction = beginChange(database, ["checkpoints"]);
      void transaction.objectStore("checkpoints").put(checkpoint).catch(ignoredHere);
      await transaction.done;
    });
  }

  checkpoints(sessionId: string): Promise<readonly StoredCheckpoint[]> {
    return this.#run((database) => database.getAll("checkpoints", keysFrom(sessionId, 0)));
  }

  /** Keys only, in order: the last of a session is its newest. */
  checkpointSizes(): Promise<ReadonlyMap<string, number>> {
    return this.#run(async (database) => new Map(await database.getAllKeys("checkpoints")));
  }

  unwitnessed(): Promise<readonly StoredCheckpoint[]> {
    return this.#run(async (database) => {
      const transaction = database.transaction(["checkpoints", "witnessed"]);
      const [checkpoints, witnessed] = [transaction.objectStore("checkpoints"), transaction.objectStore("witnessed")];
      const sizes = new Map(await checkpoints.getAllKeys());
      const found: StoredCheckpoint[] = [];
      for (const [sessionId, size] of sizes) {
        if (((await witnessed.get(sessionId)) ?? 0) >= size) continue;
        const checkpoint = await checkpoints.get([sessionId, size]);
        if (checkpoint !== undefined) found.push(checkpoint);
      }
      return found;
    });
  }

  keepWitnessed(sessionId: string, size: number): Promise<void> {
    return this.#run(async (database) => {
      const transaction = beginChange(database, ["witnessed"]);
      void transaction.objectStore("witnessed").put(size, sessionId).catch(ignoredHere);
      await transaction.done;
    });
  }

  /**
   * Not extractable: the browser keeps it, no script ever sees its bytes. Of two tabs that make one, both take the first.
   * Remembered as long as the connection lasts, which ends when the database is deleted.
   */
  signingKeys(): Promise<CryptoKeyPair> {
    return this.#run(async (database) => {
      const known = this.#keys.get(database);
      if (known !== undefined) return known;
      const keys = await this.#loadKeys(database);
      this.#keys.set(database, keys);
      return keys;
    });
  }

  async #loadKeys(database: IDBPDatabase<TraceSchema>): Promise<CryptoKeyPair> {
    const kept = await database.get("keys", SIGNING_KEY);
    if (kept !== undefined) return kept;
    // Before the transaction, which would end while a key is made.
    const made = await generateKeys();
    const transaction = beginChange(database, ["keys"], "strict");
    const keys = transaction.objectStore("keys");
    const first = await keys.get(SIGNING_KEY);
    if (first === undefined) void keys.add({ privateKey: made.privateKey, publicKey: made.publicKey }, SIGNING_KEY).catch(ignoredHere);
    await transaction.done;
    return first ?? made;
  }

  /** An open connection may keep the page out of the back-forward cache, and a version change would throw it out. */
  pause(): void {
    this.#disconnect();
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#disconnect();
    return Promise.resolve();
  }

  /** Run `work` on the open database; every failure leaves as a CraError. */
  async #run<T>(work: (database: IDBPDatabase<TraceSchema>) => Promise<T>): Promise<T> {
    if (this.#closed) throw new CraError("store_closed", "the trace store is closed");
    try {
      return await work(await this.#connect());
    } catch (cause) {
      const full = cause instanceof DOMException && cause.name === "QuotaExceededError";
      throw CraError.from(cause, full ? "store_full" : "store_failed");
    }
  }

  /** A connection that failed, was lost or given up is opened again by the next call. */
  #connect(): Promise<IDBPDatabase<TraceSchema>> {
    this.#database ??= this.#open().catch((cause: unknown) => {
      this.#database = null;
      throw cause;
    });
    return this.#database;
  }

  #open(): Promise<IDBPDatabase<TraceSchema>> {
    const name = this.#databaseName;
    return openDB<TraceSchema>(name, VERSION, {
      upgrade: (database, oldVersion, _newVersion, _transaction, event) => {
        const why = lossOf(event);
        if (why !== null) {
          const message = `the browser found the database \`${name}\` damaged and began a new one, all that was stored is gone: ${why}`;
          this.#tell(new CraError("store_lost", message));
        }
        if (oldVersion < 2) database.createObjectStore("sealed", { keyPath: "session_id" });
        if (oldVersion < 3) {
          database.createObjectStore("checkpoints", { keyPath: ["session_id", "size"] });
          database.createObjectStore("keys");
          database.createObjectStore("witnessed");
        }
        if (oldVersion >= 1) return;
        database.createObjectStore("segments", { keyPath: ["session_id", "first_sequence"] });
        database.createObjectStore("heads", { keyPath: "session_id" });
        database.createObjectStore("quarantine", { keyPath: ["session_id", "first_sequence", "event_id"] });
      },
      blocked: () => {
        this.#tell(new CraError("store_blocked", `another tab holds an older version of the database \`${name}\`: close it`));
      },
      // Another tab deletes the database or brings a newer version: holding on would block it for ever.
      blocking: () => {
        this.#disconnect();
      },
      terminated: () => {
        this.#database = null;
      },
    });
  }

  #disconnect(): void {
    const database = this.#database;
    this.#database = null;
    database?.then((opened) => {
      opened.close();
    }, ignoredHere);
  }
}

/** What Chromium says of data that it gave up, which other browsers do not tell: null where it lost none. */
function lossOf(event: IDBVersionChangeEvent): string | null {
  const { dataLoss, dataLossMessage } = event as { readonly dataLoss?: unknown; readonly dataLossMessage?: unknown };
  return dataLoss === undefined || dataLoss === "none" ? null : String(dataLossMessage);
}

/** Pages that are not served securely have none. */
export function lockManager(): LockManager | undefined {
  return typeof navigator === "object" && "locks" in navigator ? navigator.locks : undefined;
}

function wholeHead(head: StoredHead): SessionHead {
  const { session_id, next_sequence, head_hash, ended, algorithm = DEFAULT_ALGORITHM, at_risk = null, imported } = head;
  return { session_id, next_sequence, head_hash, ended, algorithm, at_risk, ...(imported === true ? { imported } : {}) };
}

/** The head as it is stored: with what its session takes, when it was written, and how far it is compact. */
function grown(head: SessionHead, before: StoredHead | undefined, added: readonly Segment[]): StoredHead {
  const size = added.reduce((sum, { bytes }) => sum + bytes.length, before?.size_bytes ?? 0);
  return { ...head, pinned: before?.pinned ?? false, size_bytes: size, updated_ms: Date.now(), ...marksAfter(before, added) };
}

/** One at a time: a chunk is all that is in memory. */
async function plainParts(segments: readonly StoredSegment[]): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for (const segment of segments) parts.push(await plainBytes(segment));
  return parts;
}

/** A failed request fails its transaction, and that is what the caller hears. */
function ignoredHere(): undefined {
  return undefined;
}

function abortQuietly(transaction: { abort(): void }): void {
  try {
    transaction.abort();
  } catch {
    // It is over already; `done` tells how.
  }
}
