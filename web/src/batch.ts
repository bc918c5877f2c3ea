/** Reads a drained batch (PROTOCOL 3.5). What it lets through can be hashed and written without another check. */

import type { RawEvent } from "./chain.js";
import { EVENT_TYPE, TIMESTAMP, UUID } from "./formats.js";
import type { BatchGroup, BatchMessage } from "./protocol.js";

const ID = within(UUID);

/** In the order of a line's fields; the fourth may be empty. */
const FIELDS = [
  `(${ID})`,
  `(${ID})`,
  `(${ID})`,
  `(${ID})?`,
  "(0|[1-9][0-9]{0,15})",
  `(${within(TIMESTAMP)})`,
  `(${within(EVENT_TYPE)})`,
  String.raw`(\{[^\u001f]*\})`,
];

/** One expression: one for each field takes twice as long. */
const LINE = new RegExp(`^${FIELDS.join(String.raw`\u001f`)}$`);

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

type Matched = RegExpExecArray &
  [string, string, string, string, string | undefined, string, string, string, string];

/** What an expression `^...$` says of what is between: of alternatives it has none outside of groups. */
function within({ source }: RegExp): string {
  return source.slice(1, -1);
}

function readLine(line: string, sessionId: string): RawEvent | null {
  const fields = LINE.exec(line) as Matched | null;
  if (fields === null) return null;
  const [, eventId, traceId, spanId, parentSpanId, sequence, timestamp, eventType, payload] = fields;
  if (!Number.isSafeInteger(Number(sequence))) return null;
  return {
    event_id: eventId,
    trace_id: traceId,
    span_id: spanId,
    parent_span_id: parentSpanId ?? null,
    session_id: sessionId,
    sequence: Number(sequence),
    timestamp,
    event_type: eventType,
    payload_json: payload,
  };
}
