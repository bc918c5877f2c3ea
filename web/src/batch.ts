/** Reads a drained batch (PROTOCOL 3.5). What it lets through can be hashed and written without another check. */

import type { RawEvent } from "./chain.js";
import { EVENT_TYPE, TIMESTAMP, UUID } from "./formats.js";
import type { BatchGroup, BatchMessage } from "./protocol.js";

const UNIT_SEPARATOR = "\u001f";
const UUID_OR_EMPTY = new RegExp(`^$|${UUID.source}`);
const SEQUENCE = /^(?:0|[1-9][0-9]{0,15})$/;
const OBJECT = /^\{.*\}$/s;

/** In the order of a line's fields. */
const FIELD_FORMATS = [UUID, UUID, UUID, UUID_OR_EMPTY, SEQUENCE, TIMESTAMP, EVENT_TYPE, OBJECT] as const;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Return the bytes of one group's lines. */
export function groupBytes(batch: BatchMessage, group: BatchGroup): Uint8Array<ArrayBuffer> {
  return new Uint8Array(batch.bytes.subarray(group.offset, group.offset + group.length));
}

/**
 * Return the group's events in order, or null when it is not what the contract says: another number of lines, a field
 * without its format, sequences that are not consecutive. Payloads are canonical by contract and not parsed here.
 */
export function groupEvents(bytes: Uint8Array, group: BatchGroup): RawEvent[] | null {
  if (!UUID.test(group.session_id)) return null;
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return null;
  }
  const lines = text.split("\n");
  if (lines.pop() !== "" || lines.length !== group.count || group.count === 0) return null;
  const events: RawEvent[] = [];
  for (const line of lines) {
    const event = readLine(line, group.session_id);
    if (event?.sequence !== group.first_sequence + events.length) return null;
    events.push(event);
  }
  return events;
}

function readLine(line: string, sessionId: string): RawEvent | null {
  const fields = line.split(UNIT_SEPARATOR);
  if (fields.length !== FIELD_FORMATS.length) return null;
  if (!fields.every((field, index) => FIELD_FORMATS[index]?.test(field))) return null;
  const [eventId, traceId, spanId, parentSpanId, sequence, timestamp, eventType, payload] = fields as EightTexts;
  if (!Number.isSafeInteger(Number(sequence))) return null;
  return {
    event_id: eventId,
    trace_id: traceId,
    span_id: spanId,
    parent_span_id: parentSpanId === "" ? null : parentSpanId,
    session_id: sessionId,
    sequence: Number(sequence),
    timestamp,
    event_type: eventType,
    payload_json: payload,
  };
}

type EightTexts = [string, string, string, string, string, string, string, string];
