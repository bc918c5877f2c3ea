/** Formats of the fields that are hashed and of ids that become names (PROTOCOL 3.1): whole strings, ASCII only. */

import { CraError } from "./errors.js";

export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
export const HASH = /^[0-9a-f]{64}$/;
export const TIMESTAMP = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$/;
export const EVENT_TYPE = /^[a-z]+(?:\.[a-z_]+)+$/;

/**
 * Return `sessionId` when it is a lower-case UUID: nothing else may become part of a key or a file name.
 *
 * Throws `invalid_id`.
 */
export function checkedSessionId(sessionId: string): string {
  const given: unknown = sessionId;
  if (typeof given === "string" && UUID.test(given)) return given;
  const shown = typeof given === "string" ? `\`${given.slice(0, 64)}\`` : `what is given (${typeof given})`;
  throw new CraError("invalid_id", `${shown} is not a session's id, a lower-case UUID`, { pointer: "/sessionId" });
}
