/**
 * Sessions that are being imported into IndexedDB (PROTOCOL 3.18.6): segments under a name that is no session's, moved to
 * the session's own in the transaction that stores its head.
 */

import type { IDBPDatabase } from "idb";

import { compressSegment } from "./compression.js";
import type { Compress, StoredSegment } from "./compression.js";
import { CraError } from "./errors.js";
import type { SessionHead } from "./model.js";
import type { SessionLocks } from "./session-locks.js";
import { beginChange } from "./store-indexeddb-change.js";
import type { Run, StoredHead, TraceSchema } from "./store-indexeddb.js";
import type { StagedSession } from "./store.js";

/** No UUID begins so. */
const PREFIX = "import ";

export class IndexedDbStaging {
  readonly #run: Run;
  readonly #locks: SessionLocks;
  readonly #compress: Compress | null;

  /** One lock per import, so that a start tells an import that runs from what a dead one left. */
  constructor(run: Run, locks: SessionLocks, compress: Compress | null) {
    this.#run = run;
    this.#locks = locks;
    this.#compress = compress;
  }

  async begin(importId: string): Promise<StagedSession> {
    const name = PREFIX + importId;
    await this.#locks.take(name, null);
    return {
      add: (segment) =>
        this.#run(async (database) => {
          const staged: StoredSegment = this.#compress === null ? segment : await compressSegment(segment, this.#compress);
          const transaction = beginChange(database, ["segments"]);
          void transaction.objectStore("segments").add({ ...staged, session_id: name }).catch(() => undefined);
          await transaction.done;
        }),
      publish: (head) => this.#run((database) => publish(database, name, head)),
      discard: () => this.#discard(name),
    };
  }

  /** What cannot be locked is left: it is another tab's import, or nobody can tell whose. */
  async sweep(): Promise<number> {
    let swept = 0;
    for (const name of await this.#run(stagedNames)) {
      if (this.#locks.holds(name) || !(await this.#locks.take(name, null))) continue;
      await this.#discard(name);
      swept += 1;
    }
    return swept;
  }

  async #discard(name: string): Promise<void> {
    try {
      await this.#run(async (database) => {
        const transaction = beginChange(database, ["segments"]);
        void transaction.objectStore("segments").delete(all(name)).catch(() => undefined);
        await transaction.done;
      });
    } finally {
      await this.#locks.release([name], true);
    }
  }
}

/** One segment is in memory at a time. */
async function publish(database: IDBPDatabase<TraceSchema>, name: string, head: SessionHead): Promise<boolean> {
  const transaction = beginChange(database, ["segments", "sealed"], "strict");
  // A full disk rejects this first; it is awaited below in every case.
  transaction.done.catch(() => undefined);
  const [segments, heads] = [transaction.objectStore("segments"), transaction.objectStore("heads")];
  const { session_id: sessionId } = head;
  if ((await heads.get(sessionId)) !== undefined) {
    await transaction.done;
    return false;
  }
  let [next, size, compressedTo] = [0, 0, 0];
  for (const key of await segments.getAllKeys(all(name))) {
    const segment = await segments.get(key);
    if (segment?.first_sequence !== next) break;
    const moved: StoredSegment = { ...segment, session_id: sessionId };
    await segments.put(moved);
    // Where a platform compresses, it does so from the first one on.
    if (segment.encoding !== undefined && compressedTo === next) compressedTo += segment.count;
    next += segment.count;
    size += segment.bytes.length;
  }
  if (next !== head.next_sequence) {
    transaction.abort();
    throw new CraError("import_interrupted", "a part of what was imported is not there any more, import it again");
  }
  const stored: StoredHead = { ...head, imported: true, size_bytes: size, updated_ms: Date.now(), compact_to: next, loose: 0, compressed_to: compressedTo };
  await Promise.all([segments.delete(all(name)), heads.put(stored), transaction.objectStore("sealed").delete(sessionId)]);
  await transaction.done;
  return true;
}

/** From one name to the next, without looking at what lies between. */
async function stagedNames(database: IDBPDatabase<TraceSchema>): Promise<string[]> {
  const names: string[] = [];
  const store = database.transaction("segments").store;
  for (let from = PREFIX; ; from = `${names.at(-1) ?? ""}\u0001`) {
    const key = await store.getKey(IDBKeyRange.bound([from], [`${PREFIX}~`]));
    if (key === undefined) return names;
    names.push(key[0]);
  }
}

/** Array keys sort after every number. */
function all(name: string): IDBKeyRange {
  return IDBKeyRange.bound([name], [name, []]);
}
