/**
 * Begins every transaction that changes the database, so that no two of them ever run at once.
 *
 * Chromium deletes all databases of an origin when it is killed while two transactions of one database are half written,
 * though they change different stores: at the next start each asks for the database's lock alone, and that they both had it
 * is taken for damage ("Unknown corruption"). Nearly every change is half written for a moment. One store that they all take
 * along keeps them apart, in all tabs, because a store is changed by one transaction at a time.
 */

import type { IDBPDatabase, IDBPTransaction, StoreNames } from "idb";

import type { TraceSchema } from "./store-indexeddb.js";

/** What all changes take along: the store that most of them change anyhow. */
const COMMON = "heads";

/** Begin a transaction that may change `stores`, and the heads (PROTOCOL 3.16.9). */
export function beginChange<Name extends StoreNames<TraceSchema>>(
  database: IDBPDatabase<TraceSchema>,
  stores: readonly Name[],
  durability: "relaxed" | "strict" = "relaxed",
): IDBPTransaction<TraceSchema, (Name | typeof COMMON)[], "readwrite"> {
  const scope: (Name | typeof COMMON)[] = [COMMON, ...stores];
  return database.transaction(scope, "readwrite", { durability });
}
