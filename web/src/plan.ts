/**
 * The writer's rule (PROTOCOL 3.5): which lines of a batch join their chain, which are stored already, which cannot.
 *
 * A plan is made from heads that may be stale; the store's compare-and-swap finds that out, and a new plan is made.
 */

import { groupBytes, groupEvents } from "./batch.js";
import { isAlgorithm } from "./algorithms.js";
import { Utf8Encoder } from "./bytes.js";
import { eventLine, eventPreimage, GENESIS_HASH, namedAlgorithm } from "./chain.js";
import type { RawEvent } from "./chain.js";
import { UUID } from "./formats.js";
import type { Hashers, HashText } from "./hashing.js";
import type { QuarantineNotice, SessionHead } from "./model.js";
import { nextTask } from "./platform.js";
import type { BatchGroup, BatchMessage } from "./protocol.js";
import type { BatchWrite, ExpectedHead, QuarantineRecord, Segment, TraceStore } from "./store.js";

/** What one batch becomes. */
export interface Plan {
  readonly write: BatchWrite;
  readonly appended: number;
  readonly skipped: number;
}

type Reason = QuarantineNotice["reason"];

const NIL_UUID = "00000000-0000-0000-0000-000000000000";

/** Session ends and approvals are decisions of people and ends of chains: they are made durable against power loss. */
const STRICT_EVENT = /^(?:session\.ended|approval\.[a-z_]+)$/;

/** Hashed at a stretch, about 1 ms: then what waits is heard, so that the store and the source go on meanwhile. */
const EVENTS_AT_A_STRETCH = 250;

const encoder = new Utf8Encoder();

/** Plans batches. Remembers which sessions were stopped, because nothing can follow a line that did not join. */
export class Planner {
  readonly #store: TraceStore;
  readonly #hashers: Hashers;
  readonly #stopped: Map<string, Reason>;
  readonly #atRisk: () => number | null;

  /** `atRisk` is what the source may hold of a session beyond what is stored; it becomes part of each head. */
  constructor(store: TraceStore, hashers: Hashers, stopped: Map<string, Reason>, atRisk: () => number | null) {
    this.#store = store;
    this.#hashers = hashers;
    this.#stopped = stopped;
    this.#atRisk = atRisk;
  }

  /**
   * Plan against the store's own heads. Everything before this batch must be stored. Rejects with the store's error, or
   * with `hash_unavailable`: then nothing of the batch is lost, it can be planned again.
   */
  async plan(batch: BatchMessage): Promise<Plan> {
    const heads = new Map<string, SessionHead | null>();
    for (const { session_id } of batch.groups) {
      if (UUID.test(session_id)) heads.set(session_id, await this.#store.head(session_id));
    }
    const draft = new Draft(heads, this.#atRisk());
    for (const group of batch.groups) await this.#planGroup(batch, group, draft);
    return draft.plan();
  }

  /**
   * Plan against remembered heads while the batch before is still being stored; null when any group does more than
   * append, which only the store itself can judge.
   */
  async planAppends(batch: BatchMessage, remembered: ReadonlyMap<string, SessionHead>): Promise<Plan | null> {
    const draft = new Draft(new Map(remembered), this.#atRisk());
    for (const group of batch.groups) {
      const head = draft.head(group.session_id);
      const hash = this.#hashers.ready(group.algorithm);
      if (head?.next_sequence !== group.first_sequence || head.algorithm !== group.algorithm) return null;
      if (hash === null || this.#stopped.has(group.session_id)) return null;
      const events = groupEvents(groupBytes(batch, group), group);
      if (events === null) return null;
      await draft.append(group, events, hash, 0);
    }
    return draft.plan();
  }

  /** Why the group cannot join its session's chain, whatever is in it. */
  #obstacle(group: BatchGroup, first: RawEvent, head: SessionHead | null): Reason | null {
    const stopped = this.#stopped.get(group.session_id);
    if (stopped !== undefined) return stopped;
    if (!isAlgorithm(group.algorithm)) return "unknown_algorithm";
    const begins = head === null && first.sequence === 0;
    const began = begins ? namedAlgorithm(first.event_type, first.payload_json) : head?.algorithm;
    if (began !== undefined && began !== group.algorithm) return "algorithm_changed";
    return group.first_sequence > (head?.next_sequence ?? 0) ? "sequence_gap" : null;
  }

  async #planGroup(batch: BatchMessage, group: BatchGroup, draft: Draft): Promise<void> {
    const bytes = groupBytes(batch, group);
    const events = groupEvents(bytes, group);
    const first = events?.[0];
    if (first === undefined || events === null) {
      draft.quarantine(group, null, bytes, "bad_batch");
      return;
    }
    const head = draft.head(group.session_id);
    const obstacle = this.#obstacle(group, first, head);
    if (obstacle !== null) {
      draft.quarantine(group, first.event_id, bytes, obstacle);
      return;
    }
    const next = head?.next_sequence ?? 0;
    const hash = await this.#hashers.load(group.algorithm);
    const known = await this.#knownPrefix(group, events, next, hash);
    const rest = events.slice(known);
    // What is left starts at a number that is taken: by another event.
    if ((rest[0]?.sequence ?? next) < next) draft.quarantine(group, first.event_id, bytes, "session_forked");
    else await draft.append(group, rest, hash, known);
  }

  /** Count the events at the group's start that are stored already, byte for byte. */
  async #knownPrefix(
    group: BatchGroup,
    events: readonly RawEvent[],
    next: number,
    hash: HashText,
  ): Promise<number> {
    const to = Math.min(next, group.first_sequence + events.length);
    if (group.first_sequence >= to) return 0;
    const stored = await this.#store.lines(group.session_id, group.first_sequence, to);
    let known = 0;
    for (const line of stored) {
      const event = events[known];
      if (event === undefined || !isStoredAs(event, line, hash)) break;
      known += 1;
    }
    return known;
  }
}

/** Chain the event where the stored line stands: the same event there gives the same bytes. */
function isStoredAs(event: RawEvent, line: string, hash: HashText): boolean {
  const { previous_event_hash: previous } = JSON.parse(line) as { readonly previous_event_hash: string };
  return eventLine(event, previous, hash(eventPreimage(event, previous))) === line;
}

/** A plan in the making. */
class Draft {
  readonly #expected = new Map<string, ExpectedHead>();
  readonly #heads: Map<string, SessionHead | null>;
  readonly #atRisk: number | null;
  readonly #changed = new Set<string>();
  readonly #segments: Segment[] = [];
  readonly #quarantine: QuarantineRecord[] = [];
  #strict = false;
  #chained = 0;
  #appended = 0;
  #skipped = 0;

  constructor(heads: Map<string, SessionHead | null>, atRisk: number | null) {
    this.#heads = heads;
    this.#atRisk = atRisk;
  }

  /** Where the session's chain will stand; the first look is what the store must still have. */
  head(sessionId: string): SessionHead | null {
    const head = this.#heads.get(sessionId) ?? null;
    if (!this.#expected.has(sessionId)) this.#expected.set(sessionId, { session_id: sessionId, head });
    return head;
  }

  /** Chain `events` to the group's session; `skipped` more before them are stored already. */
  async append(group: BatchGroup, events: readonly RawEvent[], hash: HashText, skipped: number): Promise<void> {
    const { session_id: sessionId, algorithm } = group;
    this.#skipped += skipped;
    const [first] = events;
    const last = events.at(-1);
    if (first === undefined || last === undefined) return;
    let previous = this.head(sessionId)?.head_hash ?? GENESIS_HASH;
    const lines: string[] = [];
    for (const event of events) {
      this.#chained += 1;
      if (this.#chained % EVENTS_AT_A_STRETCH === 0) await nextTask();
      const digest = hash(eventPreimage(event, previous));
      lines.push(`${eventLine(event, previous, digest)}\n`);
      previous = digest;
      if (STRICT_EVENT.test(event.event_type)) this.#strict = true;
    }
    this.#segments.push({
      session_id: sessionId,
      first_sequence: first.sequence,
      count: events.length,
      bytes: encoder.encode(lines).slice(),
    });
    this.#heads.set(sessionId, {
      session_id: sessionId,
      next_sequence: last.sequence + 1,
      head_hash: previous,
      ended: last.event_type === "session.ended",
      algorithm,
      at_risk: last.event_type === "session.ended" ? 0 : this.#atRisk,
    });
    this.#changed.add(sessionId);
    this.#appended += events.length;
  }

  quarantine(group: BatchGroup, eventId: string | null, lines: Uint8Array<ArrayBuffer>, reason: Reason): void {
    this.#quarantine.push({
      // A group that cannot be read may carry anything as its id: keys and file names take nothing but a UUID.
      session_id: UUID.test(group.session_id) ? group.session_id : NIL_UUID,
      first_sequence: group.first_sequence,
      count: group.count,
      reason,
      event_id: eventId ?? NIL_UUID,
      lines,
    });
  }

  plan(): Plan {
    const heads = [...this.#changed].map((id) => this.#heads.get(id)).filter((head) => head !== null && head !== undefined);
    return {
      write: {
        expected: [...this.#expected.values()],
        segments: this.#segments,
        heads,
        quarantine: this.#quarantine,
        durability: this.#strict ? "strict" : "relaxed",
      },
      appended: this.#appended,
      skipped: this.#skipped,
    };
  }
}
