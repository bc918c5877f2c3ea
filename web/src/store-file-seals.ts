/** Beside the trace files: which sessions are pinned, and what is left of those that were removed. One small file each. */

import type * as Fs from "node:fs/promises";

import { UUID } from "./formats.js";
import type { SealedSession } from "./model.js";
import { replaceFile } from "./store-file-io.js";

const SUFFIX = ".json";

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
    await replaceFile(this.#fs, `${this.#seals}/${sealed.session_id}${SUFFIX}`, JSON.stringify(sealed));
  }

  /** The session is here again. */
  async unseal(sessionId: string): Promise<void> {
    await this.#fs.rm(`${this.#seals}/${sessionId}${SUFFIX}`, { force: true });
  }

  async all(): Promise<readonly SealedSession[]> {
    const names = (await this.#names(this.#seals)).filter((name) => name.endsWith(SUFFIX) && UUID.test(name.slice(0, -SUFFIX.length)));
    const texts = await Promise.all(names.map((name) => this.#fs.readFile(`${this.#seals}/${name}`, "utf8")));
    return texts.map((text) => JSON.parse(text) as SealedSession);
  }

  async #names(folder: string): Promise<readonly string[]> {
    try {
      return (await this.#fs.readdir(folder)).sort();
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw cause;
    }
  }
}
