/**
 * Works around LevelDB, which Chromium's IndexedDB is kept in, and its issue 1287: a kill may leave half a record at the end
 * of its log. The next start reads up to there and writes on behind it; the start after that finds the log damaged, and
 * Chromium deletes all databases of the origin. Once the log was begun anew, nothing stands behind the half record.
 */

import { deleteDB, openDB } from "idb";

/** One name for all: what a kill leaves of it, the next start deletes. */
const SCRATCH = "cra-wasm-scratch";

/**
 * Have LevelDB begin a new log: it does when a database is deleted, whose space it takes back. Where it cannot be done
 * nothing is worse than before. Does nothing in browsers that keep IndexedDB elsewhere.
 */
export async function renewLog(): Promise<void> {
  if (typeof IDBVersionChangeEvent !== "function" || !("dataLoss" in IDBVersionChangeEvent.prototype)) return;
  try {
    const scratch = await openDB(SCRATCH, 1, {
      upgrade: (database) => {
        database.createObjectStore("nothing");
      },
      blocking: (_from, _to, event) => {
        (event.target as IDBDatabase).close();
      },
    });
    scratch.close();
    await deleteDB(SCRATCH);
  } catch {
    // A full disk, or a browser that forbids it.
  }
}
