/**
 * The strict verifier of a session's trace (PROTOCOL 3.4). It reads bytes and trusts nothing.
 *
 * Each line is checked in this order, and its first fault is told: its own form (`bad_field`, `duplicate_key`; the
 * first one's includes that the hash which it names is known), its number (`bad_genesis`, `sequence_gap`), its link (`bad_genesis`, `chain_broken`), its hash (`hash_mismatch`). An event
 * of another session or after session.ended does not belong to the chain that it stands in: `chain_broken`.
 */

import { joinBytes } from "./bytes.js";
import { canonicalize, hasDuplicateKey } from "./canonical.js";
import { ALGORITHMS, isAlgorithm } from "./algorithms.js";
import type { HashAlgorithm } from "./algorithms.js";
import { eventLine, eventPreimage, GENESIS_HASH, namedAlgorithm, TRACE_VERSION } from "./chain.js";
import type { RawEvent } from "./chain.js";
import { CraError } from "./errors.js";
import { createHasher } from "./hashing.js";
import type { HashText } from "./hashing.js";
import { EVENT_TYPE, HASH, TIMESTAMP, UUID } from "./formats.js";
import type { ChainError, ChainResult } from "./model.js";

const LF = 10;

/** Longest payload that is read, in characters (code points); the same limit as in Python. */
const MAX_PAYLOAD_CHARS = 1_000_000;

/** Room for what stands around a payload. */
const REST_CHARS = 4_096;

/** The largest payload at four bytes a character, and the rest. */
const MAX_LINE_BYTES = 4 * MAX_PAYLOAD_CHARS + REST_CHARS;

/** A name that nobody knows may be long; more of it helps nobody. */
const SHOWN_NAME_CHARS = 40;

/** A line that passed every check of its own; only its place in the chain is open. */
interface ReadEvent extends RawEvent {
  readonly previous_event_hash: string;
  readonly event_hash: string;
}

/**
 * Verify a trace given as chunks of its bytes, cut anywhere.
 *
 * The result names the first bad event; what comes after it is not read. A last line without LF is torn and `bad_field`;
 * no event at all is `bad_genesis`. Warning `truncated`: the last event is not session.ended, so later events may be
 * missing. The first event names the hash (PROTOCOL 3.8). It rejects where the source of the chunks does, and with
 * `hash_unavailable`: then the trace is neither valid nor invalid, it cannot be checked here; and with `invalid_arguments`
 * where there are no chunks of bytes.
 */
export async function verifyTrace(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  watch: ChainWatch = new ChainWatch([]),
): Promise<ChainResult> {
  checkChunks(chunks);
  const verifier = new TraceVerifier(watch);
  for await (const chunk of chunks) {
    if (!((chunk as unknown) instanceof Uint8Array)) throw noChunks();
    if (!(await verifier.push(chunk))) break;
  }
  return verifier.end();
}

function checkChunks(chunks: unknown): void {
  const isIterable = typeof chunks === "object" && chunks !== null && (Symbol.asyncIterator in chunks || Symbol.iterator in chunks);
  if (!isIterable) throw noChunks();
}

function noChunks(): CraError {
  return new CraError("invalid_arguments", "give Uint8Arrays in a list, or in another iterable as a stream is in most browsers", { pointer: "/chunks" });
}

/** Verifies a trace whose chunks come one by one, as `verifyTrace` does. */
export class TraceVerifier {
  readonly #chain: ChainVerifier;
  #rest = new Uint8Array();

  constructor(watch: ChainWatch = new ChainWatch([])) {
    this.#chain = new ChainVerifier(watch);
  }

  /** How many whole lines were good so far. */
  get events(): number {
    return this.#chain.events;
  }

  /** Null before the first good line. */
  get sessionId(): string | null {
    return this.#chain.sessionId;
  }

  /** False when the trace is bad; what follows changes nothing. Rejects with `hash_unavailable`. */
  async push(chunk: Uint8Array): Promise<boolean> {
    const bytes = this.#rest.length === 0 ? chunk : joinBytes([this.#rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(LF); end !== -1; end = bytes.indexOf(LF, start)) {
      const line = bytes.subarray(start, end);
      if (!(this.#chain.hasBegun ? this.#chain.check(line) : await this.#chain.begin(line))) return false;
      start = end + 1;
    }
    this.#rest = bytes.slice(start);
    // One endless line must not fill the memory.
    return this.#rest.length > MAX_LINE_BYTES ? this.#chain.refuse("bad_field") : true;
  }

  end(): ChainResult {
    if (this.#rest.length > 0) this.#chain.refuse("bad_field");
    return this.#chain.result();
  }
}

/** What a verification is to remember for who compares heads: those of some sizes, and whose chain it is. */
export class ChainWatch {
  readonly #sizes: ReadonlySet<number>;
  readonly #heads = new Map<number, string>();
  /** Null until an event was good. */
  sessionId: string | null = null;

  constructor(sizes: Iterable<number>) {
    this.#sizes = new Set(sizes);
  }

  /** The hash of event `size`-1, when it is good and was asked for. */
  head(size: number): string | undefined {
    return this.#heads.get(size);
  }

  see(size: number, { session_id, event_hash }: ReadEvent): void {
    this.sessionId ??= session_id;
    if (this.#sizes.has(size)) this.#heads.set(size, event_hash);
  }
}

/** Checks a session's lines one by one. */
class ChainVerifier {
  readonly #watch: ChainWatch;
  // Fatal: bytes that are no UTF-8 must not turn into something that hashes. A byte order mark stays and fails.
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  /** The chain's, from the first line on. */
  #hash: HashText | null = null;
  #algorithm: HashAlgorithm | null = null;
  #last: ReadEvent | null = null;
  #events = 0;
  #error: ChainError | null = null;
  #message: string | null = null;

  constructor(watch: ChainWatch) {
    this.#watch = watch;
  }

  get hasBegun(): boolean {
    return this.#hash !== null;
  }

  get events(): number {
    return this.#events;
  }

  get sessionId(): string | null {
    return this.#last?.session_id ?? null;
  }

  /** Check the first line (without its LF), which names the hash; false when it is bad. Rejects as `createHasher`. */
  async begin(line: Uint8Array): Promise<boolean> {
    const event = this.#read(line);
    if (typeof event === "string") return this.refuse(event);
    const name = namedAlgorithm(event.event_type, event.payload_json);
    if (!isAlgorithm(name)) {
      // By code points: half a surrogate pair is no text.
      const shown = Array.from(name).slice(0, SHOWN_NAME_CHARS).join("");
      this.#message = `its hash_algorithm is \`${shown}\`, which is none of ${ALGORITHMS.join(", ")}`;
      return this.refuse("bad_field");
    }
    this.#algorithm = name;
    if (event.sequence !== 0 || event.previous_event_hash !== GENESIS_HASH) return this.refuse("bad_genesis");
    this.#hash = await createHasher(name);
    return this.#add(event, this.#hash);
  }

  /** Check the next line (without its LF); false when it is bad. */
  check(line: Uint8Array): boolean {
    if (this.#hash === null || this.#last === null) return this.refuse("bad_genesis");
    const event = this.#read(line);
    if (typeof event === "string") return this.refuse(event);
    const fault = linkFault(event, this.#last);
    return fault === null ? this.#add(event, this.#hash) : this.refuse(fault);
  }

  /** End the trace with a line that is bad. */
  refuse(error: ChainError): false {
    this.#error ??= error;
    return false;
  }

  /** What was found so far; a trace without events has no genesis. */
  result(): ChainResult {
    const error = this.#error ?? (this.#last === null ? "bad_genesis" : null);
    return {
      valid: error === null,
      events: this.#events,
      error,
      error_at: error === null ? null : this.#events,
      message: this.#message,
      head: this.#last?.event_hash ?? null,
      algorithm: this.#algorithm,
      warnings: error === null && this.#last?.event_type !== "session.ended" ? ["truncated"] : [],
      profile: "jcs",
      protects_boundaries: true,
    };
  }

  #read(line: Uint8Array): ReadEvent | "bad_field" | "duplicate_key" {
    let text: string;
    let value: unknown;
    if (line.length >= MAX_LINE_BYTES) return "bad_field";
    try {
      text = this.#decoder.decode(line);
      // Before its keys are looked at, as in Python: a line that is too long has no other fault.
      if (isLonger(text, MAX_PAYLOAD_CHARS + REST_CHARS)) return "bad_field";
      value = JSON.parse(text);
    } catch {
      return "bad_field";
    }
    return readEvent(value, text) ?? (hasDuplicateKey(text) ? "duplicate_key" : "bad_field");
  }

  #add(event: ReadEvent, hash: HashText): boolean {
    if (hash(eventPreimage(event, event.previous_event_hash)) !== event.event_hash) return this.refuse("hash_mismatch");
    this.#last = event;
    this.#events += 1;
    this.#watch.see(this.#events, event);
    return true;
  }
}

function linkFault(event: ReadEvent, previous: ReadEvent): ChainError | null {
  if (event.sequence !== previous.sequence + 1) return "sequence_gap";
  const follows =
    event.previous_event_hash === previous.event_hash &&
    event.session_id === previous.session_id &&
    previous.event_type !== "session.ended";
  return follows ? null : "chain_broken";
}

/** Return the event when `text` is its canonical line and every field has its format, else null. */
function readEvent(value: unknown, text: string): ReadEvent | null {
  if (!isObject(value) || value["trace_version"] !== TRACE_VERSION) return null;
  const { parent_span_id: parent, sequence } = value;
  const payloadJson = canonicalPayload(value["payload"]);
  if (typeof sequence !== "number" || !Number.isSafeInteger(sequence) || sequence < 0) return null;
  const event = {
    event_id: matching(value["event_id"], UUID),
    trace_id: matching(value["trace_id"], UUID),
    span_id: matching(value["span_id"], UUID),
    parent_span_id: parent === null ? null : matching(parent, UUID),
    session_id: matching(value["session_id"], UUID),
    sequence,
    timestamp: matching(value["timestamp"], TIMESTAMP),
    event_type: matching(value["event_type"], EVENT_TYPE),
    payload_json: payloadJson,
    previous_event_hash: matching(value["previous_event_hash"], HASH),
    event_hash: matching(value["event_hash"], HASH),
  };
  // What is missing or has another format is "" here; a thirteenth field cannot give the text back.
  if (Object.values(event).includes("")) return null;
  return eventLine(event, event.previous_event_hash, event.event_hash) === text ? event : null;
}

/** Tell whether a text has more code points than that. */
function isLonger(text: string, chars: number): boolean {
  return text.length > chars && Array.from(text).length > chars;
}

function matching(value: unknown, format: RegExp): string {
  return typeof value === "string" && format.test(value) ? value : "";
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Return the payload's canonical text, or "" when it has none or is too large. */
function canonicalPayload(payload: unknown): string {
  if (!isObject(payload)) return "";
  try {
    const text = canonicalize(payload);
    return isLonger(text, MAX_PAYLOAD_CHARS) ? "" : text;
  } catch {
    return "";
  }
}
