/** The hashes of chains, by hash-wasm. Each is instantiated when it is first asked for. */

import { createBLAKE3, createSHA256 } from "hash-wasm";
import type { IHasher } from "hash-wasm";

import { checkedAlgorithm } from "./algorithms.js";
import { Utf8Encoder } from "./bytes.js";
import { CraError, messageOf } from "./errors.js";

/** Hashes text's UTF-8 to 64 lower-case hex digits. */
export type HashText = (text: string) => string;

const CREATORS = { sha256: () => createSHA256(), blake3: () => createBLAKE3() };

/**
 * Return the hasher of `algorithm`. One instance is re-used for every event: awaiting WebCrypto once per event costs
 * more than the hash itself and never lets the worker's event loop run.
 *
 * Rejects with `unknown_algorithm`, or `hash_unavailable` where WebAssembly refuses it.
 */
export async function createHasher(algorithm: string): Promise<HashText> {
  const create = CREATORS[checkedAlgorithm(algorithm)];
  let hasher: IHasher;
  try {
    hasher = await create();
  } catch (cause) {
    throw new CraError("hash_unavailable", `the hash ${algorithm} cannot be set up here: ${messageOf(cause)}`);
  }
  const encoder = new Utf8Encoder();
  return (text) => hasher.init().update(encoder.encode([text])).digest("hex");
}

/** The hashers of a writer, made once each. */
export class Hashers {
  readonly #made = new Map<string, HashText>();

  /** The hasher if it was loaded before, without waiting. */
  ready(algorithm: string): HashText | null {
    return this.#made.get(algorithm) ?? null;
  }

  /** Rejects as `createHasher`; what failed is tried again by the next call. */
  async load(algorithm: string): Promise<HashText> {
    const made = this.#made.get(algorithm) ?? (await createHasher(algorithm));
    this.#made.set(algorithm, made);
    return made;
  }
}
