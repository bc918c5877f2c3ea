/** What a page measures for the benchmarks: the beats' waits, and a worker's memory. No time is asserted but one that is made up. */

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { serveMeter } from "../../web/src/bench-meter.js";
import type { Meter } from "../../web/src/bench-meter.js";
import { timeWaitingLoop } from "../../web/src/bench-loops.js";
import type { Bridge } from "../../web/src/bridge.js";
import { Channel } from "../../web/src/channel.js";

const DEADLINE_MS = 20_000;

/** Sends a beat when the test says so; one that waited `waitedMs`. */
class FakeBeater extends EventTarget {
  asked: unknown = null;
  isTerminated = false;

  postMessage(asked: unknown): void {
    this.asked = asked;
    // The first one finds a worker that has just started.
    this.beat(5_000);
  }

  beat(waitedMs: number): void {
    this.dispatchEvent(new MessageEvent("message", { data: performance.timeOrigin + performance.now() - waitedMs }));
  }

  terminate(): void {
    this.isTerminated = true;
  }
}

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

function newMeter(beaters: FakeBeater[]): Meter {
  const { port1, port2 } = new MessageChannel();
  const stop = serveMeter(port1, () => {
    const beater = new FakeBeater();
    beaters.push(beater);
    return beater as unknown as Worker;
  });
  const meter: Meter = new Channel(port2, { peer: "page", handlers: {}, notes: {} });
  stops.push(() => {
    stop();
    meter.close();
  });
  return meter;
}

function withMemory(measure: (() => Promise<unknown>) | undefined): void {
  Object.defineProperty(performance, "measureUserAgentSpecificMemory", { value: measure, configurable: true });
  stops.push(() => Reflect.deleteProperty(performance, "measureUserAgentSpecificMemory"));
}

test("the longest wait of a beat is told, not the first one's, and the beats end", async () => {
  const beaters: FakeBeater[] = [];
  const meter = newMeter(beaters);
  await meter.call("watch", null, DEADLINE_MS);
  for (const waitedMs of [1, 3_000, 2]) beaters[0]?.beat(waitedMs);
  const longestUs = await meter.call("longest_wait_us", null, DEADLINE_MS);
  assert.ok(longestUs >= 3_000_000 && longestUs < 5_000_000, String(longestUs));
  assert.deepEqual([beaters.length, beaters[0]?.isTerminated, beaters[0]?.asked], [1, true, { beat_ms: 1 }]);
});

test("a second watch begins anew", async () => {
  const beaters: FakeBeater[] = [];
  const meter = newMeter(beaters);
  await meter.call("watch", null, DEADLINE_MS);
  beaters[0]?.beat(60_000);
  await meter.call("watch", null, DEADLINE_MS);
  assert.ok((await meter.call("longest_wait_us", null, DEADLINE_MS)) < 60_000_000);
  assert.deepEqual(beaters.map(({ isTerminated }) => isTerminated), [true, true]);
});

test("a worker's memory is the sum of its parts, and a worker that is not there is told", async () => {
  const part = (bytes: number, url: string): unknown => ({ bytes, attribution: [{ url, scope: "DedicatedWorkerGlobalScope" }] });
  const breakdown = [part(7, "http://x/lib/trace.worker.js"), part(100, "http://x/lib/bench.worker.js"), { bytes: 9, attribution: [] }, part(5, "http://x/lib/trace.worker.js")];
  withMemory(() => Promise.resolve({ breakdown }));
  const meter = newMeter([]);
  assert.equal(await meter.call("worker_bytes", { script: "trace.worker.js" }, DEADLINE_MS), 12);
  await assert.rejects(meter.call("worker_bytes", { script: "resolver.worker.js" }, DEADLINE_MS), /resolver\.worker\.js/);
});

test("a page that cannot measure memory tells so", async () => {
  withMemory(undefined);
  await assert.rejects(newMeter([]).call("worker_bytes", { script: "trace.worker.js" }, DEADLINE_MS), /isolated/);
});

test("without a page nothing of it is measured", async () => {
  const subject = { pyodide: { pyimport: () => ({}) }, bridge: {} as Bridge };
  for (const loop of ["log_page", "log_memory"]) {
    await assert.rejects(timeWaitingLoop(subject, loop, 1, () => undefined, ["session"]), /with the help of a page/);
  }
});
