/**
 * One small file per session, for Node, which has no Web Locks before version 24: who writes the session, and what may
 * be missing if that writer is gone. A process of this machine that no longer runs holds nothing; one of another machine, or whose
 * number was given to another process, is taken for alive: then nothing is recovered, and nothing is broken.
 */

import type * as Fs from "node:fs/promises";

import type { SessionLocks } from "./session-locks.js";
import { codeOf, storeError } from "./store-file-io.js";

interface LockFile {
  /** 0 when given back. */
  readonly pid: number;
  readonly host: string;
  readonly owner: string;
  readonly at_risk: number | null;
}

const FREE: LockFile = { pid: 0, host: "", owner: "", at_risk: null };

export class FileSessionLocks implements SessionLocks {
  readonly #fs: typeof Fs;
  readonly #folder: string;
  readonly #owner: string;
  readonly #host: string;
  readonly #held = new Map<string, number | null>();
  /** One at a time: two for one session would use the same names. */
  #turn: Promise<unknown> = Promise.resolve();

  /** `owner` names a client: a worker that replaces its dead one takes its locks over. */
  constructor(fs: typeof Fs, folder: string, owner: string, host: string) {
    this.#fs = fs;
    this.#folder = folder;
    this.#owner = owner;
    this.#host = host;
  }

  take(sessionId: string, atRisk: number | null): Promise<boolean> {
    const result = this.#turn.then(() => this.#take(sessionId, atRisk)).catch((cause: unknown) => {
      throw storeError(cause);
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #take(sessionId: string, atRisk: number | null): Promise<boolean> {
    if (this.#held.has(sessionId)) return true;
    const path = this.#path(sessionId);
    const fresh = `${path}.${this.#owner}.new`;
    try {
      await this.#write(fresh, { pid: process.pid, host: this.#host, owner: this.#owner, at_risk: atRisk });
      if (!(await this.#link(fresh, path)) && !(await this.#replace(path, fresh))) return false;
    } finally {
      await this.#fs.rm(fresh, { force: true });
    }
    this.#held.set(sessionId, atRisk);
    return true;
  }

  holds(sessionId: string): boolean {
    return this.#held.has(sessionId);
  }

  held(): readonly string[] {
    return [...this.#held.keys()];
  }

  /** A session that has not ended keeps its file: the next writer reads there what may be missing. */
  async release(sessionIds: readonly string[], settled: boolean): Promise<void> {
    for (const sessionId of sessionIds) {
      const atRisk = this.#held.get(sessionId);
      if (atRisk === undefined) continue;
      this.#held.delete(sessionId);
      await this.#write(this.#path(sessionId), { ...FREE, at_risk: settled ? 0 : atRisk });
    }
  }

  /** Remove what an ended session leaves. */
  async forget(sessionId: string): Promise<void> {
    this.#held.delete(sessionId);
    await this.#fs.rm(this.#path(sessionId), { force: true });
  }

  /** What may be missing of a session, null where nobody knows. */
  async atRisk(sessionId: string): Promise<number | null> {
    return (await this.#read(this.#path(sessionId))).at_risk;
  }

  /** Whether another process that runs writes the session. Another client of this process is told apart by its heads alone. */
  async isElsewhere(sessionId: string): Promise<boolean> {
    if (this.#held.has(sessionId)) return false;
    const lock = await this.#read(this.#path(sessionId));
    return lock.pid !== process.pid && this.#isHeld(lock);
  }

  #path(sessionId: string): string {
    return `${this.#folder}/${sessionId}.json`;
  }

  /**
   * Put `fresh` in the place of a lock whose writer is gone. Who does so has a claim meanwhile: of two that saw the same
   * dead lock the slower one would replace the lock that the other has just taken.
   */
  async #replace(path: string, fresh: string): Promise<boolean> {
    if (this.#isHeld(await this.#read(path))) return false;
    const claim = `${path}.claim`;
    if (!(await this.#link(fresh, claim)) && !((await this.#setAside(claim)) && (await this.#link(fresh, claim)))) return false;
    try {
      if (await this.#link(fresh, path)) return true;
      if (this.#isHeld(await this.#read(path))) return false;
      await this.#fs.rename(fresh, path);
      return true;
    } finally {
      await this.#fs.rm(claim, { force: true });
    }
  }

  /** Take the claim of one who died with it out of the way. A name is moved by one of two that try at once. */
  async #setAside(claim: string): Promise<boolean> {
    if (this.#isHeld(await this.#read(claim))) return false;
    const aside = `${claim}.${this.#owner}.old`;
    try {
      await this.#fs.rename(claim, aside);
      // Another may have taken it between the look and the move.
      const isHeld = this.#isHeld(await this.#read(aside));
      if (isHeld) await this.#link(aside, claim);
      return !isHeld;
    } catch (cause) {
      if (codeOf(cause) === "ENOENT") return true;
      throw cause;
    } finally {
      await this.#fs.rm(aside, { force: true });
    }
  }

  #isHeld({ pid, host, owner }: LockFile): boolean {
    if (pid === 0 || owner === this.#owner) return false;
    if (host !== this.#host) return true;
    try {
      process.kill(pid, 0);
      return true;
    } catch (cause) {
      return codeOf(cause) !== "ESRCH";
    }
  }

  async #write(path: string, lock: LockFile): Promise<void> {
    await this.#fs.writeFile(path, JSON.stringify(lock), { mode: 0o600 });
  }

  /** A file that is not there, or torn, is nobody's. */
  async #read(path: string): Promise<LockFile> {
    try {
      const { pid, host, owner, at_risk } = JSON.parse(await this.#fs.readFile(path, "utf8")) as Partial<LockFile>;
      if (!Number.isSafeInteger(pid) || typeof host !== "string" || typeof owner !== "string") return FREE;
      return { pid: pid ?? 0, host, owner, at_risk: Number.isSafeInteger(at_risk) ? (at_risk ?? null) : null };
    } catch (cause) {
      if (cause instanceof SyntaxError || cause instanceof TypeError || codeOf(cause) === "ENOENT") return FREE;
      throw cause;
    }
  }

  async #link(from: string, to: string): Promise<boolean> {
    try {
      await this.#fs.link(from, to);
      return true;
    } catch (cause) {
      if (codeOf(cause) === "EEXIST") return false;
      throw cause;
    }
  }
}
