/**
 * Ends sessions whose writer is gone (PROTOCOL 3.17): says what may be missing, then that they were interrupted.
 *
 * These are the only events that no resolver made. Whoever calls has the session's lock, or knows its resolver dead.
 */

import { eventLine, eventPreimage } from "./chain.js";
import type { RawEvent } from "./chain.js";
import { CraError } from "./errors.js";
import type { Hashers } from "./hashing.js";
import { uuid7 } from "./ids.js";
import type { RecoveredSession, SessionHead } from "./model.js";
import type { TraceStore } from "./store.js";

/** Time and randomness, injected for tests. */
export interface RecoveryContext {
  readonly store: TraceStore;
  readonly hashers: Hashers;
  nowMs(): number;
  randomBytes(count: number): Uint8Array;
}

const encoder = new TextEncoder();

const RECOVERED_KEPT = 100;

/** Pauses between looks after the first one: the worker of a page that was left may outlive it for some seconds. */
const NEXT_LOOKS_MS: readonly number[] = [1_000, 3_000, 10_000, 30_000];

/** Call `work` in `delayMs`; returns what cancels it. */
type After = (delayMs: number, work: () => void) => () => void;

/** Finds what has no writer and ends it. A session that cannot be ended is told, and does not keep the others. */
export class Recovery {
  readonly #context: RecoveryContext;
  readonly #onProblem: (problem: CraError) => void;
  readonly #onEnded: (head: SessionHead) => void;
  readonly #recovered: RecoveredSession[] = [];
  #cancelLook: () => void = () => undefined;
  /** The look that runs, or the last one. Never rejects. */
  #look: Promise<unknown> = Promise.resolve();
  #stopped = false;

  /** `onEnded` is told where each session that was ended here stands. */
  constructor(
    context: RecoveryContext,
    onProblem: (problem: CraError) => void,
    onEnded: (head: SessionHead) => void = (): void => undefined,
  ) {
    this.#context = context;
    this.#onEnded = onEnded;
    this.#onProblem = onProblem;
  }

  /** The newest ones. */
  get recovered(): readonly RecoveredSession[] {
    return [...this.#recovered];
  }

  /**
   * End the sessions that have no writer: unfinished, not `running` in this writer's resolver, and their lock is free.
   * Resolves to whether another held a lock. Rejects when the store's sessions cannot be read. `stop` cuts it short.
   */
  async endOrphans(running: ReadonlySet<string>): Promise<boolean> {
    const look = this.#endOrphans(running);
    this.#look = look.catch(() => undefined);
    return await look;
  }

  async #endOrphans(running: ReadonlySet<string>): Promise<boolean> {
    const { store } = this.#context;
    let held = false;
    for (const head of await store.sessions()) {
      if (this.#stopped) break;
      const { session_id: sessionId } = head;
      // An imported session's writer is elsewhere.
      if (head.ended || head.imported === true || running.has(sessionId) || store.locks.holds(sessionId)) continue;
      if (await store.locks.take(sessionId, head.at_risk)) await this.#end(sessionId, head.at_risk, "interrupted");
      else held = true;
    }
    return held;
  }

  /** Look some more times, as long as others hold locks of unfinished sessions, until `stop`. Returns at once. */
  keepLooking(running: ReadonlySet<string>, after: After, delaysMs = NEXT_LOOKS_MS): void {
    const [delayMs, ...rest] = delaysMs;
    if (delayMs === undefined || this.#stopped) return;
    this.#cancelLook();
    this.#cancelLook = after(delayMs, () => {
      this.#cancelLook = (): void => undefined;
      void this.endOrphans(running).then(
        (held) => {
          if (held) this.keepLooking(running, after, rest);
        },
        (problem: unknown) => {
          this.#onProblem(CraError.from(problem, "store_failed"));
        },
      );
    });
  }

  /**
   * Look no more until `resume`; resolves when the look that runs is over. INVARIANT: a writer that sleeps or closes gives
   * its locks back behind this, or a look would take its own sessions for ones that have no writer.
   */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelLook();
    await this.#look;
  }

  /** The writer has its locks again. */
  resume(): void {
    this.#stopped = false;
  }

  /** End sessions of this writer whose resolver is gone for good. */
  async endOwn(sessionIds: readonly string[]): Promise<void> {
    for (const sessionId of sessionIds) await this.#end(sessionId, undefined, "resolver_died");
  }

  /** `atRisk` is what was known before the lock was taken. */
  async #end(sessionId: string, atRisk: number | null | undefined, cause: RecoveredSession["cause"]): Promise<void> {
    const { store } = this.#context;
    try {
      const head = await store.head(sessionId);
      if (head === null || head.ended) return;
      const known = atRisk === undefined ? head : { ...head, at_risk: atRisk };
      const recovered = await endInterrupted(this.#context, known, cause);
      if (recovered !== null) await this.#ended(recovered);
      this.#recovered.splice(0, this.#recovered.length - RECOVERED_KEPT);
    } catch (problem) {
      this.#onProblem(CraError.from(problem, "store_failed"));
    } finally {
      await store.locks.release([sessionId], false);
    }
  }

  async #ended(recovered: RecoveredSession): Promise<void> {
    this.#recovered.push(recovered);
    const head = await this.#context.store.head(recovered.session_id);
    if (head !== null) this.#onEnded(head);
  }
}

/**
 * Append trace.gap, unless nothing can be missing, and session.ended to an unfinished session. Null when it moved
 * meanwhile: then somebody writes it. Rejects with the store's error, or `unknown_algorithm` where its first event is
 * damaged.
 */
export async function endInterrupted(
  context: RecoveryContext,
  head: SessionHead,
  cause: RecoveredSession["cause"],
): Promise<RecoveredSession | null> {
  const { store, hashers } = context;
  const hash = await hashers.load(head.algorithm);
  const [first] = await store.lines(head.session_id, 0, 1);
  const [last] = await store.lines(head.session_id, head.next_sequence - 1, head.next_sequence);
  if (first === undefined || last === undefined) return null;
  let previous = head.head_hash;
  let text = "";
  const events = recoveryEvents(context, head, cause, readStored(first), readStored(last));
  for (const event of events) {
    const digest = hash(eventPreimage(event, previous));
    text += `${eventLine(event, previous, digest)}\n`;
    previous = digest;
  }
  const { session_id, next_sequence: firstSequence, algorithm } = head;
  const after = { session_id, next_sequence: firstSequence + events.length, head_hash: previous, ended: true, algorithm, at_risk: 0 };
  const stored = await store.commit({
    expected: [{ session_id, head }],
    segments: [{ session_id, first_sequence: firstSequence, count: events.length, bytes: encoder.encode(text) }],
    heads: [after],
    quarantine: [],
    durability: "strict",
  });
  if (!stored) return null;
  return { session_id, first_sequence: firstSequence, count: events.length, lost_at_most: head.at_risk, cause };
}

interface StoredEvent {
  readonly span_id: string;
  readonly timestamp: string;
}

/** The store's own lines are well formed; what is not is damage, and nothing is appended to that. */
function readStored(line: string): StoredEvent {
  try {
    const { span_id, timestamp } = JSON.parse(line) as Readonly<Record<string, unknown>>;
    if (typeof span_id === "string" && typeof timestamp === "string") return { span_id, timestamp };
  } catch {
    // Told below.
  }
  throw new CraError("store_corrupt", "a stored line is no event, verify its session");
}

function recoveryEvents(
  context: RecoveryContext,
  head: SessionHead,
  cause: RecoveredSession["cause"],
  first: StoredEvent,
  last: StoredEvent,
): RawEvent[] {
  const now = new Date(context.nowMs()).toISOString().replace("Z", "000Z");
  const newId = (): string => uuid7(context.nowMs(), context.randomBytes(10));
  const traceId = newId();
  // Its own counts are not told: what was lost may have counted.
  const ended = { duration_ms: Math.max(0, Date.parse(last.timestamp) - Date.parse(first.timestamp)), reason: "interrupted" };
  const gap = { cause, lost_at_most: head.at_risk, lost_count: null };
  const texts: (readonly [string, object])[] = [["session.ended", ended]];
  if (head.at_risk !== 0) texts.unshift(["trace.gap", gap]);
  return texts.map(([eventType, payload], index) => ({
    event_id: newId(),
    trace_id: traceId,
    span_id: newId(),
    parent_span_id: first.span_id,
    session_id: head.session_id,
    sequence: head.next_sequence + index,
    // A clock that was set back does not let the end come before what it ends.
    timestamp: now > last.timestamp ? now : last.timestamp,
    event_type: eventType,
    // Canonical: the members above stand in order, and hold small integers, null and plain ASCII.
    payload_json: JSON.stringify(payload),
  }));
}
