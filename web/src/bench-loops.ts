/** What JavaScript itself times for cra_wasm.bench: fixed loops, and a fixed workload for the machine's pace. */

import { timeFlush, timeLog, timeVerify } from "./bench-log.js";
import type { MakeEvents, Subject } from "./bench-log.js";
import { longestWait, storedRatio, traceWorkerBytes } from "./bench-space.js";
import { parseAnswer } from "./bridge.js";
import type { Bridge } from "./bridge.js";

type Loop = (bridge: Bridge, count: number, texts: readonly string[]) => void;

/** One that waits, and returns its microseconds without what it sets up; or another figure that Python knows the unit of. */
type WaitingLoop = (subject: Subject, count: number, make: MakeEvents, texts: readonly string[]) => Promise<number>;

const CALIBRATIONS = 9;

/** By the names that the scenarios in Python ask for. A new one is one entry. */
const LOOPS: Readonly<Record<string, Loop>> = {
  bridge_resolve: (bridge, count, [sessionId = "", goal = ""]) => {
    let answer: string | Promise<string> = "";
    for (let call = 0; call < count; call += 1) answer = bridge.resolve(sessionId, goal, "low", "");
    parseAnswer(answer as string); // what was refused is quick to answer, and no figure
  },
};

const WAITING_LOOPS: Readonly<Record<string, WaitingLoop>> = {
  log: timeLog,
  log_flush: timeFlush,
  log_verify: timeVerify,
  log_page: longestWait,
  log_size: storedRatio,
  log_memory: traceWorkerBytes,
};

/** Return the microseconds that `count` rounds of a loop take. */
export function timeLoop(bridge: Bridge, name: string, count: number, texts: readonly string[]): number {
  const loop = LOOPS[name];
  if (loop === undefined) throw new Error(`there is no loop \`${name}\``);
  const start = performance.now();
  loop(bridge, count, texts);
  return (performance.now() - start) * 1_000;
}

/** As timeLoop, for loops that wait for the events that `make` makes. */
export async function timeWaitingLoop(
  subject: Subject,
  name: string,
  count: number,
  make: MakeEvents,
  texts: readonly string[],
): Promise<number> {
  const loop = WAITING_LOOPS[name];
  if (loop === undefined) throw new Error(`there is no loop \`${name}\``);
  return await loop(subject, count, make, texts);
}

/** Return the microseconds of a fixed workload, the median of nine. */
export function calibrate(): number {
  const times: number[] = [];
  for (let turn = 0; turn < CALIBRATIONS; turn += 1) {
    const start = performance.now();
    workload();
    times.push((performance.now() - start) * 1_000);
  }
  times.sort((one, other) => one - other);
  return times[Math.floor(CALIBRATIONS / 2)] ?? 0;
}

/** Look-ups, small texts and additions, as harness.py has them in Python. */
function workload(): number {
  const known = new Map<string, number>();
  let total = 0;
  for (let number = 0; number < 20_000; number += 1) {
    const text = `key ${number & 63}`;
    known.set(text, (known.get(text) ?? 0) + number);
    total += text.length;
  }
  return total + known.size;
}
