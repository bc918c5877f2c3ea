/**
 * One lock per session, held by the writer that appends to it: who gets the lock of an unfinished session knows that its
 * writer is gone (PROTOCOL 3.17). The store's compare-and-swap keeps chains whole; locks only tell the living from the dead.
 */

export interface SessionLocks {
  /**
   * Take the session's lock without waiting. False when another writer holds it, or where there are no locks.
   * `atRisk` is kept beside the lock where a store's heads cannot keep it (SessionHead.at_risk).
   */
  take(sessionId: string, atRisk: number | null): Promise<boolean>;
  holds(sessionId: string): boolean;
  held(): readonly string[];
  /** Give locks back. `settled`: all that their sessions had is stored. Those that are not held are skipped. */
  release(sessionIds: readonly string[], settled: boolean): Promise<void>;
}

/** Web Locks, named by database and session. They end with their worker, however that ends. */
export class WebSessionLocks implements SessionLocks {
  readonly #manager: LockManager;
  readonly #prefix: string;
  readonly #letGo = new Map<string, { readonly giveBack: () => void; readonly ended: Promise<void> }>();

  constructor(manager: LockManager, databaseName: string) {
    this.#manager = manager;
    this.#prefix = `cra-wasm session ${databaseName} `;
  }

  take(sessionId: string): Promise<boolean> {
    if (this.#letGo.has(sessionId)) return Promise.resolve(true);
    return new Promise<boolean>((resolve) => {
      const request = this.#manager.request(this.#prefix + sessionId, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        if (lock === null) return undefined;
        return new Promise<void>((giveBack) => {
          this.#letGo.set(sessionId, { giveBack, ended: Promise.resolve(request).then(ignored, ignored) });
        });
      });
      // Refused, as to a page that is being closed: then it is not held.
      request.catch(() => {
        resolve(false);
      });
    });
  }

  holds(sessionId: string): boolean {
    return this.#letGo.has(sessionId);
  }

  held(): readonly string[] {
    return [...this.#letGo.keys()];
  }

  async release(sessionIds: readonly string[]): Promise<void> {
    for (const sessionId of sessionIds) {
      const lock = this.#letGo.get(sessionId);
      if (lock === undefined) continue;
      this.#letGo.delete(sessionId);
      lock.giveBack();
      await lock.ended;
    }
  }
}

/** For stores that nobody shares, and for pages that are not served securely, which have no Web Locks. */
export class NoLocks implements SessionLocks {
  take(): Promise<boolean> {
    return Promise.resolve(false);
  }

  holds(): boolean {
    return false;
  }

  held(): readonly string[] {
    return [];
  }

  release(): Promise<void> {
    return Promise.resolve();
  }
}

function ignored(): undefined {
  return undefined;
}
