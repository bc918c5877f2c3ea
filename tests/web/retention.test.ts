import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { CraError } from "../../web/src/errors.js";
import { checkedRetention, Keeper, sessionsToMakeRoom, sessionsToRemove, untilNextLook } from "../../web/src/retention.js";
import type { Footprint, Retention } from "../../web/src/retention.js";
import { uuid } from "./events.js";

const DAY_MS = 86_400_000;
const NOW_MS = 1_000 * DAY_MS;

/** The n-th session, n days old, of 100 bytes. */
function session(n: number, members: Partial<Footprint> = {}): Footprint {
  return { session_id: uuid(0xa, n), ended: true, pinned: false, size_bytes: 100, updated_ms: NOW_MS - n * DAY_MS, ...members };
}

function ids(...numbers: readonly number[]): string[] {
  return numbers.map((n) => uuid(0xa, n));
}

function removed(retention: Retention, all: readonly Footprint[] = [1, 2, 3, 4].map((n) => session(n))): readonly string[] {
  return sessionsToRemove(all, retention, NOW_MS);
}

void describe("retention", () => {
  test("without limits removes nothing", () => {
    assert.deepEqual(removed({}), []);
  });

  test("removes what is older than its days, and not what is just as old", () => {
    assert.deepEqual(removed({ maxAgeDays: 2 }), ids(4, 3));
    assert.deepEqual(removed({ maxAgeDays: 4 }), []);
    assert.deepEqual(removed({ maxAgeDays: 0 }), ids(4, 3, 2, 1));
  });

  test("removes the oldest until the rest fits", () => {
    assert.deepEqual(removed({ maxBytes: 400 }), []);
    assert.deepEqual(removed({ maxBytes: 399 }), ids(4));
    assert.deepEqual(removed({ maxSessions: 1 }), ids(4, 3, 2));
    assert.deepEqual(removed({ maxSessions: 0, maxBytes: 0 }), ids(4, 3, 2, 1));
  });

  // PROTOCOL 3.18.1
  test("never removes what is unfinished or pinned, however far beyond the limit", () => {
    const all = [session(1), session(2, { pinned: true }), session(3, { ended: false }), session(4)];
    assert.deepEqual(removed({ maxBytes: 0, maxSessions: 0, maxAgeDays: 0 }, all), ids(4, 1));
  });

  test("does not take more than the limits ask for", () => {
    for (let limit = 0; limit <= 4; limit += 1) assert.equal(removed({ maxSessions: limit }).length, 4 - limit);
  });

  // PROTOCOL 3.18.2
  test("makes room by the oldest tenth, at least one", () => {
    assert.deepEqual(sessionsToMakeRoom([1, 2, 3].map((n) => session(n))), ids(3));
    assert.deepEqual(sessionsToMakeRoom(Array.from({ length: 30 }, (_, n) => session(n + 1))), ids(30, 29, 28));
    assert.deepEqual(sessionsToMakeRoom([session(1, { pinned: true }), session(2, { ended: false })]), []);
    assert.deepEqual(sessionsToMakeRoom([]), []);
  });

  for (const bad of [{ maxBytes: -1 }, { maxBytes: NaN }, { maxAgeDays: Infinity }, { maxSessions: "3" }, { maxDays: 3 }, { maxBytes: null }]) {
    test(`refuses ${JSON.stringify(bad)}`, () => {
      assert.throws(
        () => checkedRetention(bad as Retention),
        (error) => error instanceof CraError && error.code === "invalid_retention",
      );
    });
  }
});

void describe("a keeper", () => {
  class Sessions {
    all: Footprint[];
    atOnce = 0;

    constructor(...all: Footprint[]) {
      this.all = all;
    }

    footprints(): Promise<readonly Footprint[]> {
      this.atOnce += 1;
      assert.equal(this.atOnce, 1, "one removal at a time");
      return Promise.resolve([...this.all]);
    }

    async remove(sessionId: string): Promise<boolean> {
      await Promise.resolve();
      this.all = this.all.filter(({ session_id }) => session_id !== sessionId);
      this.atOnce = 0;
      return true;
    }
  }

  test("removes what is beyond its limits, one removal at a time", async () => {
    const sessions = new Sessions(session(1), session(2), session(3));
    const keeper = new Keeper(sessions, { maxSessions: 2 });
    const first = keeper.tidy();
    assert.equal(await first, 1);
    sessions.all.push(session(4));
    assert.equal(await keeper.makeRoom(), 1);
    assert.deepEqual([sessions.all.map(({ session_id }) => session_id), keeper.removed], [ids(1, 2), 2]);
  });

  test("without retention removes nothing, not even for want of room", async () => {
    const sessions = new Sessions(session(1));
    const keeper = new Keeper(sessions, null);
    assert.deepEqual([await keeper.tidy(), await keeper.makeRoom(), sessions.all.length], [0, 0, 1]);
  });

  void describe("that keeps", () => {
    const DAY = 86_400_000;

    /** Ended so long ago. */
    const ended = (name: string, agoMs: number): Footprint => ({
      session_id: name,
      ended: true,
      pinned: false,
      size_bytes: 1,
      updated_ms: Date.now() - agoMs,
    });

    class Store {
      all: Footprint[];

      constructor(...all: Footprint[]) {
        this.all = all;
      }

      footprints(): Promise<readonly Footprint[]> {
        return Promise.resolve([...this.all]);
      }

      remove(sessionId: string): Promise<boolean> {
        this.all = this.all.filter(({ session_id }) => session_id !== sessionId);
        return Promise.resolve(true);
      }
    }

    class Timers {
      readonly waiting = new Map<() => void, number>();

      after(delayMs: number, work: () => void): () => void {
        this.waiting.set(work, delayMs);
        return () => {
          this.waiting.delete(work);
        };
      }
    }

    const noProblem = (problem: CraError): void => {
      throw problem;
    };

    // PROTOCOL 3.18.4
    test("removes a session that grows too old though nothing ends", async () => {
      const store = new Store(ended("old", DAY - 600_000));
      const timers = new Timers();
      const keeper = new Keeper(store, { maxAgeDays: 1 });
      await keeper.keep(timers, noProblem);
      const [first] = [...timers.waiting];
      assert.ok(first !== undefined && store.all.length === 1);
      assert.ok(first[1] > 500_000 && first[1] <= 600_001, `looks again in ${first[1]} ms`);
      store.all = [ended("old", DAY + 1_000)];
      const removed = new Promise<void>((resolve) => {
        timers.after = (): (() => void) => {
          resolve();
          return () => undefined;
        };
      });
      first[0]();
      await removed;
      assert.deepEqual([store.all, keeper.removed], [[], 1]);
    });

    test("waits with one timer, and with none once it is closed or ages have no limit", async () => {
      const timers = new Timers();
      const keeper = new Keeper(new Store(ended("old", 0)), { maxAgeDays: 1 });
      await keeper.keep(timers, noProblem);
      await keeper.keep(timers, noProblem);
      assert.equal(timers.waiting.size, 1);
      keeper.close();
      assert.equal(timers.waiting.size, 0);
      await keeper.keep(timers, noProblem);
      await new Keeper(new Store(), { maxSessions: 1 }).keep(timers, noProblem);
      assert.equal(timers.waiting.size, 0);
    });

    test("looks once more, not once for each, for all that ask while it looks", async () => {
      const store = new Store(ended("old", 0));
      let looks = 0;
      const footprints = store.footprints.bind(store);
      store.footprints = (): Promise<readonly Footprint[]> => {
        looks += 1;
        return footprints();
      };
      const keeper = new Keeper(store, { maxSessions: 1 });
      const first = keeper.keep(new Timers(), noProblem);
      await Promise.resolve();
      store.all.push(ended("new", 1));
      await Promise.all([first, ...Array.from({ length: 100 }, () => keeper.keep(new Timers(), noProblem))]);
      assert.deepEqual([looks <= 3, keeper.removed], [true, 1], `${looks} looks`);
    });

    test("looks at least each hour and never in a loop", () => {
      const now = Date.now();
      assert.equal(untilNextLook([], { maxAgeDays: 1 }, now), 3_600_000);
      assert.equal(untilNextLook([ended("old", 2 * DAY)], { maxAgeDays: 1 }, now), 1_000);
    });
  });
});
