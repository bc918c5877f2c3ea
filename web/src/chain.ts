/** The hash chain (PROTOCOL 3.2): what is hashed, how a line is written, which hash a session names. */

import { DEFAULT_ALGORITHM } from "./algorithms.js";

export const TRACE_VERSION = "1.0";

/** previous_event_hash of sequence 0. */
export const GENESIS_HASH = "0".repeat(64);

const MEMBER = '"hash_algorithm":';

/** An event before it is chained, as the batch carries it. `payload_json` is canonical text, frozen at emit. */
export interface RawEvent {
  readonly event_id: string;
  readonly trace_id: string;
  readonly span_id: string;
  readonly parent_span_id: string | null;
  readonly session_id: string;
  readonly sequence: number;
  readonly timestamp: string;
  readonly event_type: string;
  readonly payload_json: string;
}

/** Return the text whose UTF-8 is hashed. Nothing stands between the fields: their formats keep it unambiguous. */
export function eventPreimage(event: RawEvent, previousEventHash: string): string {
  return (
    TRACE_VERSION +
    event.event_id +
    event.trace_id +
    event.span_id +
    (event.parent_span_id ?? "") +
    event.session_id +
    String(event.sequence) +
    event.timestamp +
    event.event_type +
    event.payload_json +
    previousEventHash
  );
}

/**
 * Return the event's canonical line without LF: the JCS of its twelve fields.
 * Nothing but the payload can need an escape, because the other fields' formats are checked before.
 */
export function eventLine(event: RawEvent, previousEventHash: string, eventHash: string): string {
  const parent = event.parent_span_id === null ? "null" : `"${event.parent_span_id}"`;
  return (
    `{"event_hash":"${eventHash}","event_id":"${event.event_id}","event_type":"${event.event_type}",` +
    `"parent_span_id":${parent},"payload":${event.payload_json},"previous_event_hash":"${previousEventHash}",` +
    `"sequence":${event.sequence},"session_id":"${event.session_id}","span_id":"${event.span_id}",` +
    `"timestamp":"${event.timestamp}","trace_id":"${event.trace_id}","trace_version":"${TRACE_VERSION}"}`
  );
}

/**
 * Return the hash that a session's first event names (PROTOCOL 3.8), which may be one that nobody knows; SHA-256 where
 * it names none. What is no text comes back as its JSON, which is no hash's name; so does a payload that is no JSON.
 */
export function namedAlgorithm(eventType: string, payloadJson: string): string {
  if (eventType !== "session.started" || !payloadJson.includes(MEMBER)) return DEFAULT_ALGORITHM;
  let payload: Readonly<Record<string, unknown>>;
  try {
    payload = JSON.parse(payloadJson) as Readonly<Record<string, unknown>>;
  } catch {
    return payloadJson;
  }
  if (!Object.hasOwn(payload, "hash_algorithm")) return DEFAULT_ALGORITHM;
  const name = payload["hash_algorithm"];
  return typeof name === "string" ? name : JSON.stringify(name);
}
