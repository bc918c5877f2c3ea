/** A store that lives and dies with its worker. For tests, and for pages that must leave nothing behind. */

import { generateKeys } from "./checkpoint-keys.js";
import type { SealedSession, SessionHead } from "./model.js";
import type { StoredChunk } from "./protocol.js";
import { NoLocks } from "./session-locks.js";
import type { SessionLocks } from "./session-locks.js";
import type { Footprint } from "./retention.js";
import { sameHead, sealedOf } from "./store.js";
import type { BatchWrite, QuarantineRecord, Segment, StagedSession, StoredCheckpoint, TraceStore } from "./store.js";
import { joinBytes, splitLines } from "./bytes.js";

export class MemoryStore implements TraceStore {
  readonly name = "memory";
  readonly locks: SessionLocks = new NoLocks();
  readonly compaction = null;
  readonly #segments = new Map<string, Segment[]>();
  readonly #heads = new Map<string, SessionHead>();
  readonly #pinned = new Set<string>();
  readonly #updated = new Map<string, number>();
  readonly #sealed = new Map<string, SealedSession>();
  readonly #checkpoints = new Map<string, readonly StoredCheckpoint[]>();
  readonly #witnessed = new Map<string, number>();
  #keys: Promise<CryptoKeyPair> | null = null;
  readonly #quarantine = new Map<string, QuarantineRecord>();

  head(sessionId: string): Promise<SessionHead | null> {
    return Promise.resolve(this.#heads.get(sessionId) ?? null);
  }

  sessions(): Promise<readonly SessionHead[]> {
    const heads = [...this.#heads.values()];
    return Promise.resolve(heads.sort((left, right) => (left.session_id < right.session_id ? -1 : 1)));
  }

  commit(write: BatchWrite): Promise<boolean> {
    const unchanged = write.expected.every(({ session_id, head }) =>
      sameHead(this.#heads.get(session_id) ?? null, head),
    );
    if (!unchanged) return Promise.resolve(false);
    for (const segment of write.segments) {
      const stored = this.#segments.get(segment.session_id);
      if (stored === undefined) this.#segments.set(segment.session_id, [segment]);
      else stored.push(segment);
    }
    for (const head of write.heads) {
      this.#heads.set(head.session_id, head);
      this.#updated.set(head.session_id, Date.now());
    }
    for (const record of write.quarantine) {
      this.#quarantine.set(`${record.session_id} ${record.first_sequence} ${record.event_id}`, record);
    }
    return Promise.resolve(true);
  }

  read(sessionId: string, position: number, maxBytes: number): Promise<StoredChunk> {
    const segments = this.#segments.get(sessionId) ?? [];
    const taken: Uint8Array[] = [];
    let size = 0;
    let next = position;
    for (const segment of segments.slice(position)) {
      if (size > 0 && size + segment.bytes.length > maxBytes) break;
      taken.push(segment.bytes);
      size += segment.bytes.length;
      next += 1;
    }
    return Promise.resolve({ bytes: joinBytes(taken), next: next < segments.length ? next : null });
  }

  lines(sessionId: string, from: number, to: number): Promise<readonly string[]> {
    const all = (this.#segments.get(sessionId) ?? []).flatMap((segment) => splitLines(segment.bytes));
    return Promise.resolve(all.slice(from, to));
  }

  quarantined(): Promise<readonly QuarantineRecord[]> {
    return Promise.resolve([...this.#quarantine.values()]);
  }

  footprints(): Promise<readonly Footprint[]> {
    const all = [...this.#heads.values()].map(({ session_id, ended, imported = false }) => ({
      session_id,
      ended: ended || imported,
      pinned: this.#pinned.has(session_id),
      size_bytes: (this.#segments.get(session_id) ?? []).reduce((sum, { bytes }) => sum + bytes.length, 0),
      updated_ms: this.#updated.get(session_id) ?? 0,
    }));
    return Promise.resolve(all);
  }

  pin(sessionId: string, pinned: boolean): Promise<boolean> {
    if (!this.#heads.has(sessionId)) return Promise.resolve(false);
    if (pinned) this.#pinned.add(sessionId);
    else this.#pinned.delete(sessionId);
    return Promise.resolve(true);
  }

  remove(sessionId: string, nowMs: number): Promise<boolean> {
    const head = this.#heads.get(sessionId);
    if (head === undefined || !(head.ended || head.imported === true) || this.#pinned.has(sessionId)) return Promise.resolve(false);
    this.#sealed.set(sessionId, sealedOf(head, nowMs));
    this.#heads.delete(sessionId);
    this.#segments.delete(sessionId);
    this.#checkpoints.set(sessionId, (this.#checkpoints.get(sessionId) ?? []).slice(-1));
    return Promise.resolve(true);
  }

  stage(): Promise<StagedSession> {
    const staged: Segment[] = [];
    return Promise.resolve({
      add: (segment) => {
        staged.push(segment);
        return Promise.resolve();
      },
      publish: (head) => {
        const { session_id: sessionId } = head;
        if (this.#heads.has(sessionId)) return Promise.resolve(false);
        this.#segments.set(sessionId, staged);
        this.#heads.set(sessionId, { ...head, imported: true });
        this.#updated.set(sessionId, Date.now());
        this.#sealed.delete(sessionId);
        return Promise.resolve(true);
      },
      discard: () => Promise.resolve(),
    });
  }

  sweepStaged(): Promise<number> {
    return Promise.resolve(0);
  }

  sealed(): Promise<readonly SealedSession[]> {
    const all = [...this.#sealed.values()];
    return Promise.resolve(all.sort((left, right) => (left.session_id < right.session_id ? -1 : 1)));
  }

  async keepCheckpoint(checkpoint: StoredCheckpoint): Promise<void> {
    const { session_id: sessionId } = checkpoint;
    this.#checkpoints.set(sessionId, [...(await this.checkpoints(sessionId)), checkpoint]);
  }

  checkpoints(sessionId: string): Promise<readonly StoredCheckpoint[]> {
    return Promise.resolve(this.#checkpoints.get(sessionId) ?? []);
  }

  checkpointSizes(): Promise<ReadonlyMap<string, number>> {
    const newest = [...this.#checkpoints.values()].flatMap((each) => each.slice(-1));
    return Promise.resolve(new Map(newest.map(({ session_id, size }) => [session_id, size])));
  }

  unwitnessed(): Promise<readonly StoredCheckpoint[]> {
    const newest = [...this.#checkpoints.values()].flatMap((each) => each.slice(-1));
    return Promise.resolve(newest.filter(({ session_id, size }) => size > (this.#witnessed.get(session_id) ?? 0)));
  }

  keepWitnessed(sessionId: string, size: number): Promise<void> {
    this.#witnessed.set(sessionId, size);
    return Promise.resolve();
  }

  signingKeys(): Promise<CryptoKeyPair> {
    this.#keys ??= generateKeys();
    return this.#keys;
  }

  pause(): void {
    // Holds nothing outside of its worker.
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
