/**
 * Traces as files, for Node: one `<session_id>.trace.jsonl` per session, fsynced, readable by any tool.
 *
 * The head is the last line, its hash what the first one names. A torn last line, left by a crash inside a write that was never acknowledged, is cut back
 * when the writer next appends; readers only stop before it. Processes may share a folder: a session is appended to by the
 * one that has its lock, and a file that grew by another's hand is noticed by its size. A damaged session (PROTOCOL 3.18.10)
 * is told and left out where all are listed, so that nobody takes it for unfinished or for one to remove; whatever else is
 * asked of it rejects, so that nothing joins it and its id begins no other session.
 */

import type * as Fs from "node:fs/promises";

import { joinBytes, splitLines } from "./bytes.js";
import { namedAlgorithm } from "./chain.js";
import { CraError } from "./errors.js";
import { checkedSessionId, HASH, UUID } from "./formats.js";
import type { SealedSession, SessionHead } from "./model.js";
import type { StoredChunk } from "./protocol.js";
import type { Footprint } from "./retention.js";
import { FileSessionLocks } from "./session-locks-file.js";
import { FileCheckpoints } from "./store-file-checkpoints.js";
import { appendWhole, Damage, replaceFile, storeError, unlessGone } from "./store-file-io.js";
import { FileSeals } from "./store-file-seals.js";
import { sameHead, sealedOf } from "./store.js";
import { FileStaging } from "./store-file-staging.js";
import type { BatchWrite, QuarantineRecord, StagedSession, StoredCheckpoint, TraceStore } from "./store.js";

const SUFFIX = ".trace.jsonl";
const LF = 10;
const TAIL_BYTES = 64 * 1024;
/** Files whose heads are remembered, at 700 bytes each. */
const MAX_KNOWN = 4_096;

/** A session's file as this store last saw it. */
interface KnownFile {
  readonly size: number;
  readonly head: ChainedHead;
}

/** What a session's own file tells; its lock's file tells the rest. */
type ChainedHead = Omit<SessionHead, "at_risk">;

export class FileStore implements TraceStore {
  readonly name = "file";
  readonly locks: FileSessionLocks;
  /** A session is one file, however many batches wrote it. */
  readonly compaction = null;
  readonly #fs: typeof Fs;
  readonly #folder: string;
  readonly #seals: FileSeals;
  readonly #checkpoints: FileCheckpoints;
  readonly #staging: FileStaging;
  readonly #damage: Damage;
  /** One change at a time: compare and swap are several steps here, and so are to look at a pin and to remove. */
  #turn: Promise<unknown> = Promise.resolve();
  /**
   * So that a look need not read what has not changed: those written last, and as many others as there is room for. What is
   * not here is read from its file, which alone decides: a commit takes heads and ends from the look that it begins with.
   */
  readonly #known = new Map<string, KnownFile>();
  /** A trace file was made whose name may not be durable yet. */
  #hasNewNames = false;
  #closed = false;

  private constructor(fs: typeof Fs, folder: string, locks: FileSessionLocks, staging: FileStaging, damage: Damage) {
    this.#fs = fs;
    this.#folder = folder;
    this.#seals = new FileSeals(fs, folder);
    this.#damage = damage;
    this.#checkpoints = new FileCheckpoints(fs, folder, damage);
    this.locks = locks;
    this.#staging = staging;
  }

  /**
   * Open `folder`, made when absent. `owner` is the name under which sessions are locked; `tell` hears of each session that
   * is left out because it is damaged.
   */
  static async open(
    folder: string,
    owner: string = crypto.randomUUID(),
    tell: (problem: CraError) => void = (): void => undefined,
  ): Promise<FileStore> {
    // Loaded here and not at the top, so that the bundle loads in browsers too.
    const [fs, { hostname }] = await Promise.all([import("node:fs/promises"), import("node:os")]);
    const locks = new FileSessionLocks(fs, `${folder}/locks`, checkedSessionId(owner), hostname());
    // Locks of their own: the writer gives all of its locks back at its end.
    const importLocks = new FileSessionLocks(fs, `${folder}/imports`, owner, hostname());
    const store = new FileStore(fs, folder, locks, new FileStaging(fs, folder, SUFFIX, importLocks), new Damage(tell));
    await store.#run(async () => {
      await fs.mkdir(store.#quarantineFolder, { recursive: true });
      await fs.mkdir(`${folder}/locks`, { recursive: true });
      await store.#seals.keepReserve();
    });
    return store;
  }

  head(sessionId: string): Promise<SessionHead | null> {
    return this.#run(() => this.#wholeHead(checkedSessionId(sessionId)));
  }

  sessions(): Promise<readonly SessionHead[]> {
    return this.#run(async () => {
      const heads: SessionHead[] = [];
      for (const id of await this.#ids()) {
        const head = await this.#damage.skipped(this.#wholeHead(id));
        if (head !== null) heads.push(head);
      }
      return heads;
    });
  }

  commit(write: BatchWrite): Promise<boolean> {
    return this.#inTurn(async () => {
      const ends = await this.#compare(write);
      if (ends === null) return false;
      // Two processes that append to one file at once would both see its old end.
      for (const { session_id } of write.segments) if (await this.locks.isElsewhere(session_id)) return false;
      if (!(await this.#swap(write, ends))) return false;
      for (const { session_id, ended } of write.heads) if (ended) await this.locks.forget(session_id);
      for (const record of write.quarantine) await this.#keep(record);
      return true;
    });
  }

  /** Return where each session's whole lines end, or null when a head is not the expected one. */
  async #compare({ expected }: BatchWrite): Promise<ReadonlyMap<string, number> | null> {
    const ends = new Map<string, number>();
    for (const { session_id, head } of expected) {
      const known = await this.#look(checkedSessionId(session_id));
      if (!sameHead(known?.head ?? null, head)) return null;
      ends.set(session_id, known?.size ?? 0);
    }
    return ends;
  }

  /** False, with nothing appended, where a file moved behind the compare. */
  async #swap({ heads, segments }: BatchWrite, ends: ReadonlyMap<string, number>): Promise<boolean> {
    let appended = 0;
    for (const head of heads) {
      const parts = segments.filter(({ session_id }) => session_id === head.session_id).map(({ bytes }) => bytes);
      if (parts.length === 0) continue;
      if (await this.#append(head, parts, ends.get(head.session_id) ?? 0)) appended += 1;
      else if (appended === 0) return false;
      else throw new CraError("store_failed", `\`${this.#path(head.session_id)}\` was changed by another hand, close that writer`);
    }
    // Also those of a commit that failed here: its redelivery finds their lines stored and makes nothing.
    if (this.#hasNewNames) await this.#syncFolder(this.#folder);
    this.#hasNewNames = false;
    return true;
  }

  read(sessionId: string, position: number, maxBytes: number): Promise<StoredChunk> {
    return this.#run(async () => {
      const path = this.#path(checkedSessionId(sessionId));
      // One long line may not fit: the buffer grows until it does.
      for (let wanted = maxBytes; ; wanted *= 2) {
        const bytes = await this.#bytes(path, position, wanted);
        const end = bytes.lastIndexOf(LF) + 1;
        const atEnd = bytes.length < wanted;
        if (end === 0 && !atEnd) continue;
        return { bytes: joinBytes([bytes.subarray(0, end)]), next: atEnd ? null : position + end };
      }
    });
  }

  lines(sessionId: string, from: number, to: number): Promise<readonly string[]> {
    return this.#run(async () => {
      const bytes = await unlessGone(this.#fs.readFile(this.#path(checkedSessionId(sessionId))));
      return bytes === null ? [] : splitLines(bytes).slice(from, to);
    });
  }

  quarantined(): Promise<readonly QuarantineRecord[]> {
    return this.#run(async () => {
      const records: QuarantineRecord[] = [];
      for (const name of (await this.#fs.readdir(this.#quarantineFolder)).sort()) {
        if (!name.endsWith(".json")) continue;
        const text = await this.#fs.readFile(`${this.#quarantineFolder}/${name}`, "utf8");
        const record = JSON.parse(text) as Omit<QuarantineRecord, "lines"> & { readonly lines: string };
        records.push({ ...record, lines: new TextEncoder().encode(record.lines) });
      }
      return records;
    });
  }

  footprints(): Promise<readonly Footprint[]> {
    return this.#run(async () => {
      const pinned = await this.#seals.pinned();
      const all: Footprint[] = [];
      for (const id of await this.#ids()) {
        const footprint = await this.#damage.skipped(this.#footprint(id, pinned.has(id)));
        if (footprint !== null) all.push(footprint);
      }
      return all;
    });
  }

  async #footprint(sessionId: string, pinned: boolean): Promise<Footprint | null> {
    const head = await this.#head(sessionId);
    const file = await unlessGone(this.#fs.stat(this.#path(sessionId)));
    if (file === null) return null;
    const ended = (head?.ended ?? false) || (await this.#staging.isImported(sessionId));
    return { session_id: sessionId, ended, pinned, size_bytes: file.size, updated_ms: Math.floor(file.mtimeMs) };
  }

  pin(sessionId: string, pinned: boolean): Promise<boolean> {
    return this.#inTurn(async () => {
      if ((await this.#head(checkedSessionId(sessionId))) === null) return false;
      await this.#seals.pin(sessionId, pinned);
      // Another process may have looked for the mark just before it came.
      if ((await this.#size(this.#path(sessionId))) > 0) return true;
      await this.#seals.pin(sessionId, false);
      return false;
    });
  }

  remove(sessionId: string, nowMs: number): Promise<boolean> {
    return this.#inTurn(async () => {
      const head = await this.#wholeHead(checkedSessionId(sessionId));
      if (head === null || !(head.ended || head.imported === true) || (await this.#seals.pinned()).has(sessionId)) return false;
      // Damage is told before the events go, and which line is the newest is not guessed then.
      const areGood = (await this.#damage.skipped(this.#checkpoints.of(sessionId))) !== null;
      await this.#seals.seal(sealedOf(head, nowMs));
      // Another process may have pinned it while the seal was written.
      if ((await this.#seals.pinned()).has(sessionId)) {
        await this.#seals.unseal(sessionId);
        return false;
      }
      this.#known.delete(sessionId);
      // Another process removed it meanwhile, and has done the rest.
      if ((await unlessGone(this.#fs.rm(this.#path(sessionId)).then(() => true))) === null) return false;
      await this.#staging.forget(sessionId);
      await this.#syncFolder(this.#folder);
      // Written anew, for which a full disk has room only now.
      if (areGood) await this.#checkpoints.keepNewest(sessionId);
      await this.#seals.keepReserve();
      return true;
    });
  }

  async stage(importId: string): Promise<StagedSession> {
    const staged = await this.#run(() => this.#staging.begin(checkedSessionId(importId)));
    return {
      add: ({ bytes }) => this.#run(() => staged.add(bytes)),
      publish: (head) =>
        this.#run(async () => {
          if (!(await staged.publish(head.session_id, (folder) => this.#syncFolder(folder)))) return false;
          await this.#seals.unseal(head.session_id);
          return true;
        }),
      discard: () => staged.discard(),
    };
  }

  sweepStaged(): Promise<number> {
    return this.#run(() => this.#staging.sweep());
  }

  sealed(): Promise<readonly SealedSession[]> {
    return this.#run(() => this.#seals.all());
  }

  keepCheckpoint(checkpoint: StoredCheckpoint): Promise<void> {
    return this.#run(async () => {
      checkedSessionId(checkpoint.session_id);
      await this.#checkpoints.keep(checkpoint);
      await this.#syncFolder(this.#folder);
    });
  }

  checkpoints(sessionId: string): Promise<readonly StoredCheckpoint[]> {
    return this.#run(() => this.#checkpoints.of(checkedSessionId(sessionId)));
  }

  checkpointSizes(): Promise<ReadonlyMap<string, number>> {
    return this.#run(() => this.#checkpoints.sizes());
  }

  unwitnessed(): Promise<readonly StoredCheckpoint[]> {
    return this.#run(() => this.#checkpoints.unwitnessed());
  }

  keepWitnessed(sessionId: string, size: number): Promise<void> {
    return this.#run(() => this.#checkpoints.keepWitnessed(checkedSessionId(sessionId), size));
  }

  signingKeys(): Promise<CryptoKeyPair> {
    return this.#run(() => this.#checkpoints.signingKeys());
  }

  pause(): void {
    // Files are opened for each call.
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  get #quarantineFolder(): string {
    return `${this.#folder}/quarantine`;
  }

  /** Of the sessions that have a file, in order. */
  async #ids(): Promise<readonly string[]> {
    const names = (await this.#fs.readdir(this.#folder)).filter((name) => name.endsWith(SUFFIX)).sort();
    return names.map((name) => name.slice(0, -SUFFIX.length)).filter((id) => UUID.test(id));
  }

  #path(sessionId: string): string {
    return `${this.#folder}/${sessionId}${SUFFIX}`;
  }

  async #wholeHead(sessionId: string): Promise<SessionHead | null> {
    const head = await this.#head(sessionId);
    if (head === null) return null;
    const imported = (await this.#staging.isImported(sessionId)) ? ({ imported: true } as const) : {};
    return { ...head, at_risk: head.ended ? 0 : await this.locks.atRisk(sessionId), ...imported };
  }

  async #head(sessionId: string): Promise<ChainedHead | null> {
    return (await this.#look(sessionId))?.head ?? null;
  }

  /** Null where the session has no whole line. */
  async #look(sessionId: string): Promise<KnownFile | null> {
    const path = this.#path(sessionId);
    const size = await this.#size(path);
    if (size === 0) return null;
    const known = this.#known.get(sessionId);
    if (known?.size === size) return known;
    const tail = await this.#lastLine(path, size);
    if (tail === null) return null;
    const first = await this.#firstLine(path);
    if (first === null) return null;
    const found = { size: tail.end, head: headOfLine(sessionId, first, tail.line) };
    // A look at more sessions than there is room for would forget each before it comes again.
    if (this.#known.size < MAX_KNOWN || known !== undefined) this.#known.set(sessionId, found);
    return found;
  }

  /** Return the last whole line and where it ends, or null when there is none. */
  async #lastLine(path: string, size: number): Promise<{ line: string; end: number } | null> {
    for (let wanted = TAIL_BYTES; ; wanted *= 2) {
      const start = Math.max(0, size - wanted);
      const bytes = await this.#bytes(path, start, size - start);
      const last = bytes.lastIndexOf(LF);
      const before = last <= 0 ? -1 : bytes.lastIndexOf(LF, last - 1);
      if (before === -1 && start > 0) continue;
      if (last === -1) return null;
      return { line: new TextDecoder().decode(bytes.subarray(before + 1, last)), end: start + last + 1 };
    }
  }

  /** Only called when the file has a whole line: null when it has gone meanwhile. */
  async #firstLine(path: string): Promise<string | null> {
    for (let wanted = TAIL_BYTES; ; wanted *= 2) {
      const bytes = await this.#bytes(path, 0, wanted);
      const end = bytes.indexOf(LF);
      if (end !== -1) return new TextDecoder().decode(bytes.subarray(0, end));
      if (bytes.length < wanted) return null;
    }
  }

  /** `end` is where the file's whole lines ended when its head was compared. False where they do not end there any more. */
  async #append(head: SessionHead, parts: readonly Uint8Array[], end: number): Promise<boolean> {
    const path = this.#path(head.session_id);
    const file = await this.#fs.open(path, this.#fs.constants.O_RDWR | this.#fs.constants.O_CREAT, 0o600);
    try {
      if (end === 0) this.#hasNewNames = true;
      const { size } = await file.stat();
      const tail = size > end ? await this.#bytes(path, end, size - end) : new Uint8Array();
      const isOurs = size >= end && !tail.includes(LF);
      if (!isOurs) return false;
      // Cuts a torn line.
      await file.truncate(end);
      this.#remember(head, await appendWhole(file, parts, end));
      return true;
    } finally {
      await file.close();
    }
  }

  #remember(head: SessionHead, size: number): void {
    this.#known.delete(head.session_id);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size < MAX_KNOWN) break;
      this.#known.delete(oldest);
    }
    this.#known.set(head.session_id, { size, head });
  }

  async #keep(record: QuarantineRecord): Promise<void> {
    const name = `${checkedSessionId(record.session_id)}.${record.first_sequence}.${checkedSessionId(record.event_id)}`;
    const path = `${this.#quarantineFolder}/${name}.json`;
    await replaceFile(this.#fs, path, JSON.stringify({ ...record, lines: new TextDecoder().decode(record.lines) }));
    await this.#syncFolder(this.#quarantineFolder);
  }

  /** Make names durable, not only contents. Not every platform lets a folder be synced. */
  async #syncFolder(folder: string): Promise<void> {
    if (process.platform === "win32") return;
    const handle = await this.#fs.open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async #size(path: string): Promise<number> {
    return (await unlessGone(this.#fs.stat(path)))?.size ?? 0;
  }

  async #bytes(path: string, position: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if ((await this.#size(path)) === 0) return new Uint8Array();
    const file = await unlessGone(this.#fs.open(path, "r"));
    if (file === null) return new Uint8Array();
    try {
      const buffer = new Uint8Array(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return buffer.subarray(0, filled);
    } finally {
      await file.close();
    }
  }

  /** Run when all changes before are done. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(() => this.#run(work));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new CraError("store_closed", "the trace store is closed");
    try {
      return await work();
    } catch (cause) {
      throw storeError(cause);
    }
  }
}

/** Read the session's hash out of its first line; none when that is damaged, which is for verification to name. */
function algorithmOf(first: string): string {
  try {
    const event = JSON.parse(first) as Readonly<Record<string, unknown>>;
    return namedAlgorithm(String(event["event_type"]), JSON.stringify(event["payload"]));
  } catch {
    return "";
  }
}

/** Read a head out of a session's first and last line. A whole line that is no event of it is damage, never cut in silence. */
function headOfLine(sessionId: string, first: string, last: string): ChainedHead {
  try {
    const event = JSON.parse(last) as Readonly<Record<string, unknown>>;
    const { sequence, event_hash: hash } = event;
    if (event["session_id"] !== sessionId || typeof hash !== "string" || !HASH.test(hash)) throw new TypeError();
    if (typeof sequence !== "number" || !Number.isSafeInteger(sequence)) throw new TypeError();
    const ended = event["event_type"] === "session.ended";
    return { session_id: sessionId, next_sequence: sequence + 1, head_hash: hash, ended, algorithm: algorithmOf(first) };
  } catch {
    throw new CraError("store_corrupt", `the last line of session \`${sessionId}\` is no event, verify its file`);
  }
}
