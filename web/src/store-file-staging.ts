/**
 * Sessions that are being imported into a folder (PROTOCOL 3.18.6): `imports/<id>.part`, which gets the session's name by
 * a hard link, so that it comes whole and never in the place of another; and `imported/<session_id>`, which says that it
 * did not begin here.
 */

import type * as Fs from "node:fs/promises";

import { UUID } from "./formats.js";
import type { FileSessionLocks } from "./session-locks-file.js";

const PART = ".part";

export class FileStaging {
  readonly #fs: typeof Fs;
  readonly #folder: string;
  readonly #suffix: string;
  readonly #locks: FileSessionLocks;

  /** `suffix` is that of the traces' files; the locks lie in `imports`, one per import. */
  constructor(fs: typeof Fs, folder: string, suffix: string, locks: FileSessionLocks) {
    this.#fs = fs;
    this.#folder = folder;
    this.#suffix = suffix;
    this.#locks = locks;
  }

  async begin(importId: string): Promise<StagedFile> {
    await this.#fs.mkdir(`${this.#folder}/imports`, { recursive: true });
    await this.#locks.take(importId, null);
    const path = this.#part(importId);
    const file = await this.#fs.open(path, "wx", 0o600);
    const end = async (): Promise<void> => {
      await file.close();
      await this.#fs.rm(path, { force: true });
      await this.#locks.forget(importId);
    };
    let ending: Promise<void> | null = null;
    const discard = (): Promise<void> => (ending ??= end());
    return {
      add: (bytes) => file.appendFile(bytes),
      publish: async (sessionId, syncFolder) => {
        await file.sync();
        // INVARIANT: the mark is there before the session, and the part as long as only one of both is.
        await this.#mark(sessionId, syncFolder);
        const isNew = await this.#link(path, `${this.#folder}/${sessionId}${this.#suffix}`);
        if (isNew) await syncFolder(this.#folder);
        await discard();
        return isNew;
      },
      discard,
    };
  }

  async isImported(sessionId: string): Promise<boolean> {
    return await this.#exists(`${this.#folder}/imported/${sessionId}`);
  }

  async forget(sessionId: string): Promise<void> {
    await this.#fs.rm(`${this.#folder}/imported/${sessionId}`, { force: true });
  }

  /** Also of marks whose session never came. */
  async sweep(): Promise<number> {
    // In this order: a mark that is seen without its session and without any part has lost its import.
    const marks = await this.#names("imported");
    const parts = (await this.#names("imports")).filter((name) => name.endsWith(PART));
    let left = parts.length;
    for (const name of parts) {
      const importId = name.slice(0, -PART.length);
      if (!UUID.test(importId) || this.#locks.holds(importId) || !(await this.#locks.take(importId, null))) continue;
      await this.#fs.rm(this.#part(importId), { force: true });
      await this.#locks.forget(importId);
      left -= 1;
    }
    for (const mark of left === 0 ? marks : []) {
      if (UUID.test(mark) && !(await this.#exists(`${this.#folder}/${mark}${this.#suffix}`))) await this.forget(mark);
    }
    return parts.length - left;
  }

  #part(importId: string): string {
    return `${this.#folder}/imports/${importId}${PART}`;
  }

  /** A session that is there already keeps being what it is. */
  async #mark(sessionId: string, syncFolder: SyncFolder): Promise<void> {
    if (await this.#exists(`${this.#folder}/${sessionId}${this.#suffix}`)) return;
    await this.#fs.mkdir(`${this.#folder}/imported`, { recursive: true });
    await this.#fs.writeFile(`${this.#folder}/imported/${sessionId}`, "");
    await syncFolder(`${this.#folder}/imported`);
  }

  async #link(from: string, to: string): Promise<boolean> {
    try {
      await this.#fs.link(from, to);
      return true;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw cause;
    }
  }

  async #exists(path: string): Promise<boolean> {
    try {
      await this.#fs.access(path);
      return true;
    } catch {
      return false;
    }
  }

  async #names(folder: string): Promise<readonly string[]> {
    try {
      return await this.#fs.readdir(`${this.#folder}/${folder}`);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw cause;
    }
  }
}

/** Make a folder's names durable. */
type SyncFolder = (folder: string) => Promise<void>;

export interface StagedFile {
  add(bytes: Uint8Array): Promise<void>;
  publish(sessionId: string, syncFolder: SyncFolder): Promise<boolean>;
  discard(): Promise<void>;
}
