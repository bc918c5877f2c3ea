/** Beside the trace files: `<session_id>.checkpoints.jsonl`, and the key that signs them in a file that only its owner reads. */

import type * as Fs from "node:fs/promises";

import { splitLines } from "./bytes.js";
import { entryLine, parseEntry, parseNote } from "./checkpoint.js";
import { generateKeys, importKeys } from "./checkpoint-keys.js";
import { CraError } from "./errors.js";
import { UUID } from "./formats.js";
import { randomBytes, uuid7 } from "./ids.js";
import { appendWhole, replaceFile, unlessGone, writeDurably } from "./store-file-io.js";
import type { Damage } from "./store-file-io.js";
import type { StoredCheckpoint } from "./store.js";

const LF = 10;
const SUFFIX = ".checkpoints.jsonl";
const KEY_FILE = "checkpoint.key.pem";
/** Group and others may do nothing with the key's file. */
const OTHERS = 0o077;

export class FileCheckpoints {
  readonly #fs: typeof Fs;
  readonly #folder: string;
  readonly #damage: Damage;
  /** One change of a session's lines at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(fs: typeof Fs, folder: string, damage: Damage) {
    this.#fs = fs;
    this.#folder = folder;
    this.#damage = damage;
  }

  /** Rejects with `store_corrupt` behind a line that is none: it would no longer be the newest, and nobody would be told. */
  keep(checkpoint: StoredCheckpoint): Promise<void> {
    return this.#inTurn(() => this.#keep(checkpoint));
  }

  async #keep({ session_id: sessionId, key, note }: StoredCheckpoint): Promise<void> {
    const path = this.#path(sessionId);
    const bytes = await this.#bytes(path);
    // A line that a crash tore was never kept.
    const end = bytes.lastIndexOf(LF) + 1;
    entriesOf(sessionId, newestLine(bytes));
    const file = await this.#fs.open(path, this.#fs.constants.O_RDWR | this.#fs.constants.O_CREAT, 0o600);
    try {
      // Another process may have left the newest one alone of them: never is a file filled up to where it ended before.
      if ((await file.stat()).size < end) throw new CraError("store_failed", `\`${path}\` was changed by another hand`);
      await file.truncate(end);
      await appendWhole(file, [new TextEncoder().encode(`${entryLine({ key, note })}\n`)], end);
    } finally {
      await file.close();
    }
  }

  async of(sessionId: string): Promise<readonly StoredCheckpoint[]> {
    return entriesOf(sessionId, await this.#bytes(this.#path(sessionId)));
  }

  keepNewest(sessionId: string): Promise<void> {
    return this.#inTurn(() => this.#keepNewest(sessionId));
  }

  async #keepNewest(sessionId: string): Promise<void> {
    const path = this.#path(sessionId);
    const lines = splitLines(await this.#bytes(path));
    const newest = lines.at(-1);
    // A full disk, which this is to free, may have no room for another file.
    if (newest === undefined || lines.length === 1) return;
    await replaceFile(this.#fs, path, `${newest}\n`);
  }

  /** Of a session whose newest line is damaged, more than any: nothing is signed behind that. */
  async sizes(): Promise<ReadonlyMap<string, number>> {
    return new Map([...(await this.#newest())].map(([sessionId, newest]) => [sessionId, newest?.size ?? Infinity]));
  }

  async unwitnessed(): Promise<readonly StoredCheckpoint[]> {
    const found: StoredCheckpoint[] = [];
    for (const newest of (await this.#newest()).values()) {
      if (newest === null) continue;
      const told = Number(new TextDecoder().decode(await this.#bytes(this.#witnessedPath(newest.session_id))));
      if (!(told >= newest.size)) found.push(newest);
    }
    return found;
  }

  /** The newest of each session; null where that line is damaged. */
  async #newest(): Promise<ReadonlyMap<string, StoredCheckpoint | null>> {
    const found = new Map<string, StoredCheckpoint | null>();
    for (const name of (await this.#fs.readdir(this.#folder)).sort()) {
      const sessionId = name.slice(0, -SUFFIX.length);
      if (!name.endsWith(SUFFIX) || !UUID.test(sessionId)) continue;
      const newest = await this.#damage.skipped(this.#newestOf(sessionId));
      if (newest === null) found.set(sessionId, null);
      else for (const one of newest) found.set(sessionId, one);
    }
    return found;
  }

  /** None or one. */
  async #newestOf(sessionId: string): Promise<readonly StoredCheckpoint[]> {
    return entriesOf(sessionId, newestLine(await this.#bytes(this.#path(sessionId))));
  }

  async keepWitnessed(sessionId: string, size: number): Promise<void> {
    const path = this.#witnessedPath(sessionId);
    await this.#fs.mkdir(`${this.#folder}/witnessed`, { recursive: true });
    await replaceFile(this.#fs, path, String(size));
  }

  /** The folder's key, made by the first who asks. Rejects with `key_unsafe` where others may read its file. */
  async signingKeys(): Promise<CryptoKeyPair> {
    const path = `${this.#folder}/${KEY_FILE}`;
    const pem = (await this.#readKey(path)) ?? (await this.#makeKey(path));
    const { createPrivateKey, createPublicKey } = await import("node:crypto");
    try {
      const key = createPrivateKey(pem);
      const { x = "" } = createPublicKey(key).export({ format: "jwk" });
      const der = key.export({ format: "der", type: "pkcs8" });
      return await importKeys(new Uint8Array(der), new Uint8Array(Buffer.from(x, "base64url")));
    } catch (cause) {
      if (cause instanceof CraError) throw cause;
      throw new CraError("store_corrupt", `\`${path}\` holds no Ed25519 key, move it away to have a new one`);
    }
  }

  async #readKey(path: string): Promise<string | null> {
    const file = await unlessGone(this.#fs.open(path, "r"));
    if (file === null) return null;
    try {
      const { mode } = await file.stat();
      if (process.platform !== "win32" && (mode & OTHERS) !== 0) {
        throw new CraError("key_unsafe", `others may read the key \`${path}\`, set its mode to 0600 or move it away`);
      }
      return await file.readFile("utf8");
    } finally {
      await file.close();
    }
  }

  /** Of two who make one at the same time, both take the first one's. */
  async #makeKey(path: string): Promise<string> {
    const { privateKey } = await generateKeys(true);
    const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", privateKey)).toString("base64");
    const pem = `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`;
    const part = `${path}.${uuid7(Date.now(), randomBytes(10))}.part`;
    try {
      await writeDurably(this.#fs, part, pem);
      await this.#fs.link(part, path);
      return pem;
    } catch (cause) {
      const existing = (cause as NodeJS.ErrnoException).code === "EEXIST" ? await this.#readKey(path) : null;
      if (existing === null) throw cause;
      return existing;
    } finally {
      await this.#fs.rm(part, { force: true });
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #path(sessionId: string): string {
    return `${this.#folder}/${sessionId}${SUFFIX}`;
  }

  #witnessedPath(sessionId: string): string {
    return `${this.#folder}/witnessed/${sessionId}`;
  }

  async #bytes(path: string): Promise<Uint8Array> {
    return (await unlessGone(this.#fs.readFile(path))) ?? new Uint8Array();
  }
}

/** The last whole line, with its LF. */
function newestLine(bytes: Uint8Array): Uint8Array {
  const end = bytes.lastIndexOf(LF) + 1;
  return bytes.subarray(end < 2 ? 0 : bytes.lastIndexOf(LF, end - 2) + 1, end);
}

/** Throws `store_corrupt` where a whole line is no checkpoint. */
function entriesOf(sessionId: string, bytes: Uint8Array): readonly StoredCheckpoint[] {
  try {
    return splitLines(bytes).map((line) => {
      const { key, note } = parseEntry(line);
      return { session_id: sessionId, size: parseNote(note).size, key, note };
    });
  } catch {
    throw new CraError("store_corrupt", `a line of \`${sessionId}${SUFFIX}\` is no checkpoint, compare it with a copy`);
  }
}
