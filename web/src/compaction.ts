/**
 * Joins small segments of a session into larger ones, and compresses them where the host asks for it, in the background
 * (PROTOCOL 3.18.5, 3.18.9). The lines stay the same bytes.
 *
 * A session that trickles is drained every 250 ms: four records a second, each of an event or two.
 */

import { joinBytes } from "./bytes.js";
import type { StoredSegment } from "./compression.js";
import { CraError } from "./errors.js";
import type { CompactionStatistics } from "./model.js";
import type { Segment } from "./store.js";

/**
 * Joined segments are at most this large, which bounds what a step writes. Measured in Chromium, 2 cores: 256 segments of
 * 1 KB are joined in 8-11 ms, 34 at most; 2,560 of them are read in 64 ms before, in 14 ms after that.
 */
export const COMPACT_BYTES = 256 * 1024;

/** Segments that one step joins at most, and that a session which goes on must have before one is taken. */
export const COMPACT_SEGMENTS = 256;

/** Among compact ones a segment of this size counts as compact, too: measured, those of 10 KB are read as fast unjoined. */
export const SMALL_BYTES = 8 * 1024;

/** Between two rounds. A session that is written makes 120 segments at most in that time. */
export const COMPACT_INTERVAL_MS = 30_000;

/** Between two steps, so that whatever waits for the store has its turn. */
export const COMPACT_PAUSE_MS = 20;

/** What a step did. */
export interface CompactStep {
  readonly joined: number;
  /** Whether another step of the session may find something to do. */
  readonly more: boolean;
  /** What was compressed, where something was: the lines, and what is stored of them. */
  readonly compressed?: { readonly plain_bytes: number; readonly stored_bytes: number };
  /** There when another tab had changed the segments meanwhile: nothing was done. */
  readonly conflict?: boolean;
}

/** The part of a store whose sessions are segments; the others have nothing to join. */
export interface SegmentCompaction {
  /** Whether steps compress what they join. */
  readonly compresses: boolean;
  /** The sessions that have enough to join, or to compress, by id. */
  fragmented(): Promise<readonly string[]>;
  /**
   * Join the session's first small segments, in a transaction that looks at them first: whoever writes at that time
   * writes behind them. Rejects with the store's error, and then nothing has changed.
   */
  compact(sessionId: string): Promise<CompactStep>;
}

/** What to do with the first segments that are not compact yet. */
export interface CompactPlan {
  /** How many of them become one; 0 or at least 2. */
  readonly join: number;
  /** How many are done with after that: those that are joined, or one that stays as it is. */
  readonly settle: number;
}

/**
 * Decide about `segments`, which follow each other from `first` on. `whole`: there are no more, and none will follow.
 * A session that goes on waits until a step is full, so that each byte is copied once. One that is compressed stays.
 */
export function planCompaction(segments: readonly StoredSegment[], first: number, whole: boolean): CompactPlan {
  let count = 0;
  let size = 0;
  let next = first;
  for (const segment of segments) {
    // What does not follow is damage, for verification to tell; nothing is done with it.
    if (segment.first_sequence !== next) return { join: 0, settle: 0 };
    if (count > 0 && !mayJoin(segment, size)) break;
    next += segment.count;
    size += segment.bytes.length;
    count += 1;
    if (segment.encoding !== undefined || count === COMPACT_SEGMENTS) break;
  }
  const isFull = count < segments.length || count === COMPACT_SEGMENTS || size >= COMPACT_BYTES;
  if (!isFull && !whole) return { join: 0, settle: 0 };
  return { join: count > 1 ? count : 0, settle: count };
}

function mayJoin({ encoding, bytes }: StoredSegment, size: number): boolean {
  return encoding === undefined && size + bytes.length <= COMPACT_BYTES;
}

/** Return one segment with the lines of all; they follow each other. */
export function joinSegments([first, ...others]: readonly [Segment, ...Segment[]]): Segment {
  const all = [first, ...others];
  return {
    session_id: first.session_id,
    first_sequence: first.first_sequence,
    count: all.reduce((sum, { count }) => sum + count, 0),
    bytes: joinBytes(all.map(({ bytes }) => bytes)),
  };
}

export interface CompactorOptions {
  /** Null where the store has nothing to join. */
  readonly compaction: SegmentCompaction | null;
  /** Whether the host asked for compression; the store tells whether it can. */
  readonly compress: boolean;
  /** Resolves when the writer is between two batches. */
  readonly idle: () => Promise<void>;
  /** False while the store has other cares: it is full, refuses, or the page sleeps. */
  readonly mayRun: () => boolean;
  /** Call `work` in `delayMs`; returns what cancels it. */
  readonly after: (delayMs: number, work: () => void) => () => void;
}

/** Compacts a store bit by bit. What fails is counted and tried again with the next round: nothing depends on it. */
export class Compactor {
  readonly #options: CompactorOptions;
  readonly #counts = { steps: 0, segments_joined: 0, failures: 0, conflicts: 0, plain_bytes: 0, stored_bytes: 0 };
  #cancelTimer: () => void = () => undefined;
  #started = false;
  #stopped = false;

  constructor(options: CompactorOptions) {
    this.#options = options;
  }

  get statistics(): CompactionStatistics {
    const { compress, compaction } = this.#options;
    const able = compaction?.compresses === true ? "on" : "unavailable";
    return { compression: compress ? able : "off", ...this.#counts };
  }

  /** Begin with the first round. A second call does nothing. */
  start(): void {
    if (this.#started || this.#options.compaction === null) return;
    this.#started = true;
    void this.#rounds(this.#options.compaction);
  }

  /** Begin no further step; one that runs ends by itself. */
  stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
  }

  async #rounds(compaction: SegmentCompaction): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#round(compaction);
      } catch (cause) {
        if (CraError.from(cause, "store_failed").code === "store_closed") return;
        this.#counts.failures += 1;
      }
      await this.#pause(COMPACT_INTERVAL_MS);
    }
  }

  async #round(compaction: SegmentCompaction): Promise<void> {
    if (!this.#mayRun()) return;
    for (const sessionId of await compaction.fragmented()) {
      for (let more = true; more; ) {
        await this.#options.idle();
        if (!this.#mayRun()) return;
        const step = await compaction.compact(sessionId);
        this.#count(step);
        ({ more } = step);
        await this.#pause(COMPACT_PAUSE_MS);
      }
    }
  }

  #count({ joined, compressed, conflict = false }: CompactStep): void {
    this.#counts.steps += 1;
    this.#counts.segments_joined += joined;
    this.#counts.plain_bytes += compressed?.plain_bytes ?? 0;
    this.#counts.stored_bytes += compressed?.stored_bytes ?? 0;
    if (conflict) this.#counts.conflicts += 1;
  }

  #mayRun(): boolean {
    return !this.#stopped && this.#options.mayRun();
  }

  /** Never over once `stop` was called: nothing follows it then. */
  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#stopped) this.#cancelTimer = this.#options.after(delayMs, resolve);
    });
  }
}
