/** Batches and lines as Python's side makes them, for tests: ids and times are counted, never random. */

import { eventLine, eventPreimage, GENESIS_HASH } from "../../web/src/chain.js";
import type { RawEvent } from "../../web/src/chain.js";
import { createHasher } from "../../web/src/hashing.js";
import type { BatchMessage } from "../../web/src/protocol.js";

/** The n-th UUID of a kind; any lower-case UUID serves. */
export function uuid(kind: number, n: number): string {
  return `01900000-0000-7000-8${kind.toString(16).padStart(3, "0")}-${n.toString(16).padStart(12, "0")}`;
}

export const SESSION_A = uuid(0xa, 1);
export const SESSION_B = uuid(0xb, 1);

export interface EventOptions {
  readonly session?: string;
  readonly payload?: string;
  readonly type?: string;
  /** Another kind gives other event ids for the same sequences. */
  readonly kind?: number;
}

export function rawEvent(sequence: number, options: EventOptions = {}): RawEvent {
  return {
    event_id: uuid(options.kind ?? 1, sequence),
    trace_id: uuid(2, 0),
    span_id: uuid(3, sequence),
    parent_span_id: sequence === 0 ? null : uuid(3, 0),
    session_id: options.session ?? SESSION_A,
    sequence,
    timestamp: "2026-01-02T03:04:05.000006Z",
    event_type: options.type ?? (sequence === 0 ? "session.started" : "note.taken"),
    payload_json: options.payload ?? `{"n":${sequence}}`,
  };
}

export function rawEvents(first: number, count: number, options: EventOptions = {}): RawEvent[] {
  return Array.from({ length: count }, (_, index) => rawEvent(first + index, options));
}

export function rawLine(event: RawEvent): string {
  const parent = event.parent_span_id ?? "";
  const fields = [event.event_id, event.trace_id, event.span_id, parent, String(event.sequence), event.timestamp];
  return `${[...fields, event.event_type, event.payload_json].join("\u001f")}\n`;
}

/** A batch with one group per list of events. */
export function batchOf(batchId: number, ...groups: readonly RawEvent[][]): BatchMessage {
  const encoder = new TextEncoder();
  const texts = groups.map((events) => events.map(rawLine).join(""));
  let offset = 0;
  const described = groups.map((events, index) => {
    const length = encoder.encode(texts[index]).length;
    const group = {
      session_id: events[0]?.session_id ?? SESSION_A,
      first_sequence: events[0]?.sequence ?? 0,
      count: events.length,
      offset,
      length,
      algorithm: "sha256",
    };
    offset += length;
    return group;
  });
  const count = groups.reduce((sum, events) => sum + events.length, 0);
  return { batch_id: batchId, count, groups: described, bytes: encoder.encode(texts.join("")) };
}

/** The batch with the algorithm of each group's session; SHA-256 where there is none. */
export function hashedWith(batch: BatchMessage, algorithmOf: (sessionId: string) => string | undefined): BatchMessage {
  const groups = batch.groups.map((group) => ({ ...group, algorithm: algorithmOf(group.session_id) ?? "sha256" }));
  return { ...batch, groups };
}

/** A session's events of which the first names BLAKE3. */
export function blake3Events(first: number, count: number, options: EventOptions = {}): RawEvent[] {
  return rawEvents(first, count, options).map((event) =>
    event.sequence === 0 ? { ...event, payload_json: '{"hash_algorithm":"blake3"}' } : event,
  );
}

/** The canonical lines of a chain over `events`, without LF. */
export async function chainLines(events: readonly RawEvent[], algorithm = "sha256"): Promise<string[]> {
  const hash = await createHasher(algorithm);
  let previous = GENESIS_HASH;
  return events.map((event) => {
    const before = previous;
    previous = hash(eventPreimage(event, before));
    return eventLine(event, before, previous);
  });
}

export function jsonl(lines: readonly string[]): Uint8Array {
  return new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""));
}
