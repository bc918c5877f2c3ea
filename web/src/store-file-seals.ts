/** Beside the trace files: which sessions are pinned, and what is left of those that were removed. One small file each. */

import type * as Fs from "node:fs/promises";

import { UUID } from "./formats.js";
import { randomBytes } from "./ids.js";
import type { SealedSession } from "./model.js";
import { replaceFile, storeError, unlessGone } from "./store-file-io.js";

const SUFFIX = ".json";
/** A seal and what its folder grows by take a block each; blocks are 4 KiB nearly everywhere. */
const RESERVE_BYTES = 16_384;

export class FileSeals {
  readonly #fs: typeof Fs;
  readonly #pins: string;
  readonly #seals: string;

  constructor(fs: typeof Fs, folder: string) {
    this.#fs = fs;
    this.#pins = `${folder}/pinned`;
    this.#seals = `${folder}/sealed`;
  }

  async pin(sessionId: string, pinned: boolean): Promise<void> {
    if (!pinned) {
      await this.#fs.rm(`${this.#pins}/${sessionId}`, { force: true });
      return;
    }
    await this.#fs.mkdir(this.#pins, { recursive: true });
    await this.#fs.writeFile(`${this.#pins}/${sessionId}`, "");
  }

  async pinned(): Promise<ReadonlySet<string>> {
    return new Set(await this.#names(this.#pins));
  }

  /** Durable before the events go. */
  async seal(sealed: SealedSession): Promise<void> {
    await this.#fs.mkdir(this.#seals, { recursive: true });
    const path = `${this.#seals}/${sealed.session_id}${SUFFIX}`;
    const text = JSON.stringify(sealed);
    try {
      await replaceFile(this.#fs, path, text);
    } catch (cause) {
      if (storeError(cause).code !== "store_full") throw cause;
      await this.#fs.rm(this.#reserve, { force: true });
      await replaceFile(this.#fs, path, text);
    }
  }

  /**
   * Hold room for the next seal: on a disk without a free block nothing could be removed, so that it would stay full.
   * Never rejects: a part of it is kept, too.
   */
  async keepReserve(): Promise<void> {
    try {
      await this.#fs.mkdir(this.#seals, { recursive: true });
      const { size } = await this.#fs.stat(this.#reserve).catch(() => ({ size: 0 }));
      // Random: some file systems store nothing for zeros.
      if (size < RESERVE_BYTES) await this.#fs.writeFile(this.#reserve, randomBytes(RESERVE_BYTES), { mode: 0o600 });
    } catch {
      // There may be room behind the next removal.
    }
  }

  get #reserve(): string {
    return `${this.#seals}/reserve`;
  }

  /** The session is here again. */
  async unseal(sessionId: string): Promise<void> {
    await this.#fs.rm(`${this.#seals}/${sessionId}${SUFFIX}`, { force: true });
  }

  async all(): Promise<readonly SealedSession[]> {
    const names = (await this.#names(this.#seals)).filter((name) => name.endsWith(SUFFIX) && UUID.test(name.slice(0, -SUFFIX.length)));
    const texts = await Promise.all(names.map((name) => unlessGone(this.#fs.readFile(`${this.#seals}/${name}`, "utf8"))));
    return texts.filter((text) => text !== null).map((text) => JSON.parse(text) as SealedSession);
  }

  async #names(folder: string): Promise<readonly string[]> {
    return ((await unlessGone(this.#fs.readdir(folder))) ?? []).sort();
  }
}
