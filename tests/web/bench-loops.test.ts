/** What JavaScript times for the benchmarks: a refused call is no figure. No time is asserted. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { calibrate, timeLoop, timeWaitingLoop } from "../../web/src/bench-loops.js";
import type { Bridge } from "../../web/src/bridge.js";

function bridgeThat(answer: string, calls: unknown[][]): Bridge {
  const resolve = (...given: unknown[]): string => {
    calls.push(given);
    return answer;
  };
  return { resolve } as unknown as Bridge;
}

test("the bridge's resolve is called as often as asked, with plain strings", () => {
  const calls: unknown[][] = [];
  assert.ok(timeLoop(bridgeThat('{"carp_version":"1.0"}', calls), "bridge_resolve", 3, ["session", "goal"]) >= 0);
  assert.deepEqual(calls, Array(3).fill(["session", "goal", "low", ""]));
});

test("an error in the place of a resolution stops the measurement", () => {
  const bridge = bridgeThat('{"error":{"code":"buffer_full","message":"full","details":{}}}', []);
  assert.throws(() => timeLoop(bridge, "bridge_resolve", 1, ["session", "goal"]), { code: "buffer_full" });
});

test("a loop that is not there is told", () => {
  assert.throws(() => timeLoop(bridgeThat("", []), "nonsense", 1, []), /nonsense/);
});

test("a waiting loop that is not there is told", async () => {
  const pyodide = { pyimport: () => ({}) };
  await assert.rejects(timeWaitingLoop({ pyodide, bridge: bridgeThat("", []) }, "bridge_resolve", 1, () => undefined, []), /bridge_resolve/);
});

test("the calibration takes some time", () => {
  assert.ok(calibrate() > 0);
});
