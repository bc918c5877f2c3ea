/** Chooses the store. */

import { platformCompress } from "./compression.js";
import { CraError } from "./errors.js";
import { isNode } from "./platform.js";
import type { StorageKind } from "./protocol.js";
import { FileStore } from "./store-file.js";
import { IndexedDbStore, lockManager } from "./store-indexeddb.js";
import { MemoryStore } from "./store-memory.js";
import type { TraceStore } from "./store.js";

export interface StoreOptions {
  /** Names whose locks this store may take over: the client's own, of a worker that died. */
  readonly owner: string;
  /** Hears what a person should know of the store and no call rejects with. */
  readonly tell: (problem: CraError) => void;
  /** Compress what is stored in segments, where this platform can; other stores have none. */
  readonly compress?: boolean;
}

/** Open the store of `kind`. Rejects with `unknown_storage` where this platform has no such store. */
export async function openStore(kind: StorageKind, databaseName: string, options: StoreOptions): Promise<TraceStore> {
  const { owner, tell, compress = false } = options;
  if (kind === "memory") return new MemoryStore();
  if (kind === "file" && isNode) return await FileStore.open(databaseName, owner, tell);
  if (kind === "indexeddb" && typeof indexedDB === "object") {
    return await IndexedDbStore.open(databaseName, tell, lockManager(), compress ? platformCompress() : null);
  }
  throw new CraError("unknown_storage", `no storage \`${kind}\` here, use indexeddb, file (Node) or memory`);
}
