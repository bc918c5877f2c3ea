/** The names of the hashes that a chain may have (PROTOCOL 3.8), without the hashes themselves. */

import { CraError } from "./errors.js";

export const ALGORITHMS = ["sha256", "blake3"] as const;

export type HashAlgorithm = (typeof ALGORITHMS)[number];

/** What TRACE/1.0 demands, and what a session has that names none. */
export const DEFAULT_ALGORITHM: HashAlgorithm = "sha256";

export function isAlgorithm(name: string): name is HashAlgorithm {
  return (ALGORITHMS as readonly string[]).includes(name);
}

/** Return `name`, or throw `unknown_algorithm`. */
export function checkedAlgorithm(name: string): HashAlgorithm {
  if (isAlgorithm(name)) return name;
  const message = `no hash named \`${name}\`, use one of ${ALGORITHMS.join(", ")}`;
  throw new CraError("unknown_algorithm", message, { pointer: "/hash_algorithm" });
}
