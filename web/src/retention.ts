/** Which finished sessions may go (PROTOCOL 3.18): the oldest first, never one that is unfinished or pinned. */

import { CraError } from "./errors.js";

/** What a store keeps of one session, and what it takes. */
export interface Footprint {
  readonly session_id: string;
  readonly ended: boolean;
  readonly pinned: boolean;
  readonly size_bytes: number;
  /** When the session was last written, as milliseconds since 1970. */
  readonly updated_ms: number;
}

/** Limits on what is kept; one that is absent does not limit. Without any nothing is ever removed. */
export interface Retention {
  /** Sessions that ended longer ago go. */
  readonly maxAgeDays?: number;
  /** While all sessions together take more, the oldest go. */
  readonly maxBytes?: number;
  /** While there are more, the oldest go. */
  readonly maxSessions?: number;
}

const DAY_MS = 86_400_000;

/** Between two looks at the ages: a store that refuses is not asked in a loop, and other tabs' sessions come up too. */
const LOOK_MS = { least: 1_000, most: 3_600_000 } as const;

/** As the writer's clock. */
interface Clock {
  after(delayMs: number, work: () => void): () => void;
}
const NAMES: readonly string[] = ["maxAgeDays", "maxBytes", "maxSessions"];

/** Return `retention` when each limit is a finite number of at least 0. Throws `invalid_retention`. */
export function checkedRetention(retention: Retention): Retention {
  for (const [name, limit] of Object.entries(retention) as [string, unknown][]) {
    if (!NAMES.includes(name)) throw new CraError("invalid_retention", `there is no limit \`${name}\`, use ${NAMES.join(", ")}`);
    if (limit === undefined || (typeof limit === "number" && Number.isFinite(limit) && limit >= 0)) continue;
    throw new CraError("invalid_retention", `\`${name}\` is a number of at least 0`, { pointer: `/retention/${name}` });
  }
  return retention;
}

/** Return the sessions that must go for the limits to hold, oldest first; those that may not go can keep them broken. */
export function sessionsToRemove(all: readonly Footprint[], retention: Retention, nowMs: number): readonly string[] {
  const { maxAgeDays = Infinity, maxBytes = Infinity, maxSessions = Infinity } = retention;
  let count = all.length;
  let bytes = all.reduce((sum, { size_bytes }) => sum + size_bytes, 0);
  const removable = all.filter(({ ended, pinned }) => ended && !pinned).sort(byAge);
  const chosen: string[] = [];
  for (const { session_id: sessionId, size_bytes: size, updated_ms: updated } of removable) {
    if (nowMs - updated <= maxAgeDays * DAY_MS && bytes <= maxBytes && count <= maxSessions) break;
    chosen.push(sessionId);
    count -= 1;
    bytes -= size;
  }
  return chosen;
}

/** Return the oldest sessions that may go for a store without room: at least a tenth of what all take. */
export function sessionsToMakeRoom(all: readonly Footprint[]): readonly string[] {
  const bytes = all.reduce((sum, { size_bytes }) => sum + size_bytes, 0);
  return sessionsToRemove(all, { maxBytes: bytes * 0.9 }, 0);
}

/** In how many milliseconds to look for the next session that is too old; null without a limit on age. */
export function untilNextLook(all: readonly Footprint[], retention: Retention, nowMs: number): number | null {
  if (retention.maxAgeDays === undefined) return null;
  const ageMs = retention.maxAgeDays * DAY_MS;
  const due = all.filter(({ ended, pinned }) => ended && !pinned).map(({ updated_ms }) => updated_ms + ageMs + 1 - nowMs);
  return Math.max(LOOK_MS.least, Math.min(LOOK_MS.most, ...due));
}

function byAge(left: Footprint, right: Footprint): number {
  return left.updated_ms - right.updated_ms || (left.session_id < right.session_id ? -1 : 1);
}

/** The part of a store that removal needs. */
interface Removable {
  footprints(): Promise<readonly Footprint[]>;
  remove(sessionId: string, nowMs: number): Promise<boolean>;
}

/** Keeps a store within its limits; without limits it never removes anything. One removal runs at a time. */
export class Keeper {
  readonly #store: Removable;
  readonly #retention: Retention | null;
  #turn: Promise<unknown> = Promise.resolve();
  /** The look that has not begun: it serves all who ask for one until then. */
  #next: Promise<void> | null = null;
  #removed = 0;
  #cancelLook: () => void = () => undefined;
  #closed = false;

  constructor(store: Removable, retention: Retention | null) {
    this.#store = store;
    this.#retention = retention === null ? null : checkedRetention(retention);
  }

  /** How many sessions were removed. */
  get removed(): number {
    return this.#removed;
  }

  /** Remove what is beyond the limits. Rejects with the store's error. */
  tidy(): Promise<number> {
    const retention = this.#retention;
    if (retention === null) return Promise.resolve(0);
    return this.#remove((all) => sessionsToRemove(all, retention, Date.now()));
  }

  /** Tidy now, and again when the next session will be too old, until `close`. Hands on the store's errors. */
  keep(clock: Clock, onProblem: (problem: CraError) => void): Promise<void> {
    this.#next ??= this.#turn.then(() => {
      this.#next = null;
      return this.#keepNow(clock, onProblem);
    });
    return this.#next;
  }

  async #keepNow(clock: Clock, onProblem: (problem: CraError) => void): Promise<void> {
    const tell = (cause: unknown): void => {
      if (!this.#closed) onProblem(CraError.from(cause, "store_failed"));
    };
    await this.tidy().catch(tell);
    const retention = this.#retention;
    if (retention?.maxAgeDays === undefined) return;
    const all = await this.#store.footprints().catch((): readonly Footprint[] => []);
    const delayMs = untilNextLook(all, retention, Date.now());
    this.#cancelLook();
    if (delayMs === null || this.#closed) return;
    this.#cancelLook = clock.after(delayMs, () => void this.keep(clock, onProblem));
  }

  /** Look no more. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancelLook();
  }

  /** Remove the oldest sessions because the store is full; resolves to how many went. */
  makeRoom(): Promise<number> {
    if (this.#retention === null) return Promise.resolve(0);
    return this.#remove(sessionsToMakeRoom);
  }

  #remove(choose: (all: readonly Footprint[]) => readonly string[]): Promise<number> {
    const result = this.#turn.then(async () => {
      let count = 0;
      for (const sessionId of choose(await this.#store.footprints())) {
        if (await this.#store.remove(sessionId, Date.now())) count += 1;
      }
      this.#removed += count;
      return count;
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }
}
