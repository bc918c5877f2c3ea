/** The public module: everything that a page, a Node script or a notebook may rely on. */

export { createCra } from "./client.js";
export { connectTraces } from "./connect.js";
export { CraError } from "./errors.js";
export { verifyTrace } from "./verify.js";
export { parseWitnessed, verifyWithCheckpoints } from "./checkpoint-verify.js";
export type { CheckpointOptions, WitnessedHead } from "./checkpoint-verify.js";
export type * from "./api.js";
export type { HashAlgorithm } from "./algorithms.js";
export type * from "./model.js";
export type { PyodideLike } from "./bridge.js";
export type { Retention } from "./retention.js";
export type { Durability } from "./store.js";
export type { BootProgress, StorageKind } from "./protocol.js";
