/** Web Locks of several tabs in one: each tab asks the same manager, and a tab that dies gives all of its own back. */

import { WebSessionLocks } from "../../web/src/session-locks.js";

type Granted = (lock: Lock | null) => unknown;

export class FakeLockManager {
  readonly #held = new Set<string>();
  /** Refuse all requests, as to a page that is being closed. */
  refusing = false;

  /** As navigator.locks, for what session locks ask. */
  tab(): LockManager {
    return { request: (name: string, _options: LockOptions, granted: Granted) => this.#request(name, granted) } as unknown as LockManager;
  }

  names(): readonly string[] {
    return [...this.#held].sort();
  }

  /** Give the locks back as browsers do when a worker ends. */
  kill(): void {
    this.#held.clear();
  }

  async #request(name: string, granted: Granted): Promise<unknown> {
    await Promise.resolve();
    if (this.refusing) throw new DOMException("the page is not active", "InvalidStateError");
    if (this.#held.has(name)) return granted(null);
    this.#held.add(name);
    try {
      return await granted({ name, mode: "exclusive" });
    } finally {
      this.#held.delete(name);
    }
  }
}

export function webLocks(manager: FakeLockManager, databaseName = "db"): WebSessionLocks {
  return new WebSessionLocks(manager.tab(), databaseName);
}
