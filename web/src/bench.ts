/**
 * Runs cra_wasm.bench on the site's own Pyodide: here, or in a worker as the product runs it.
 *
 * In Node the bundle is also a program: `node lib/bench.js OPTIONS_JSON` prints a line before each benchmark, and
 * the report's JSON as its last line.
 */

import type { MakeEvents } from "./bench-log.js";
import { calibrate, timeLoop, timeWaitingLoop } from "./bench-loops.js";
import { serveMeter } from "./bench-meter.js";
import type { Meter } from "./bench-meter.js";
import { importBridge } from "./bridge.js";
import { messageOf } from "./errors.js";
import { isNode } from "./platform.js";
import { loadPyodideWithWheels } from "./pyodide-host.js";

export interface BenchOptions {
  /** Benchmarks or families; empty means all. */
  readonly names: readonly string[];
  readonly runtime: "node" | "chromium";
  /** 5 to 100. */
  readonly runs: number;
  readonly quick: boolean;
  /** What else is part of the runtime, by name. */
  readonly versions?: Readonly<Record<string, string>>;
}

/** What the worker answers: lines as it goes, then one report or one failure. */
export type BenchMessage = { readonly line: string } | { readonly report: string } | { readonly failure: string };

interface Inside {
  run_for_javascript(
    optionsJson: string,
    calibrate: () => number,
    time: (name: string, count: number, ...texts: string[]) => number,
    timeAsync: (name: string, count: number, make: MakeEvents, ...texts: string[]) => Promise<number>,
    tell: (line: string) => void,
  ): Promise<string>;
}

/** What the page sends to the worker. */
export interface BenchRequest {
  readonly options: BenchOptions;
  /** Where the page serves a meter. */
  readonly meter: MessagePort;
}

/** Measure in this thread; returns the report's JSON, or {"error"} in its place. */
export async function runBench(options: BenchOptions, tell: (line: string) => void, meter: Meter | null = null): Promise<string> {
  const pyodide = await loadPyodideWithWheels(new URL("../pyodide/", import.meta.url).href);
  // Where it cannot be loaded, Python tells which benchmarks need it.
  const quiet = { messageCallback: () => undefined, errorCallback: () => undefined };
  await pyodide.loadPackage("blake3", quiet).catch(() => undefined);
  const bridge = importBridge(pyodide);
  const inside = pyodide.pyimport("cra_wasm.bench.inside") as Inside;
  const versions = { pyodide: pyodide.version, ...(isNode ? { node: process.versions.node } : {}), ...options.versions };
  const time = (name: string, count: number, ...texts: string[]): number => timeLoop(bridge, name, count, texts);
  const timeAsync = (name: string, count: number, make: MakeEvents, ...texts: string[]): Promise<number> =>
    timeWaitingLoop({ pyodide, bridge, meter }, name, count, make, texts);
  return await inside.run_for_javascript(JSON.stringify({ ...options, versions }), calibrate, time, timeAsync, tell);
}

/** Measure in a worker of its own, which ends with the report. For pages. */
export function runInWorker(options: BenchOptions, tell: (line: string) => void): Promise<string> {
  const newWorker = (name: string): Worker => new Worker(new URL("bench.worker.js", import.meta.url), { type: "module", name });
  const worker = newWorker("cra-wasm bench");
  const { port1, port2 } = new MessageChannel();
  const stopMeter = serveMeter(port1, () => newWorker("cra-wasm beat"));
  const report = new Promise<string>((resolve, reject) => {
    worker.addEventListener("message", ({ data }: MessageEvent<BenchMessage>) => {
      if ("line" in data) tell(data.line);
      else if ("report" in data) resolve(data.report);
      else reject(new Error(data.failure));
    });
    worker.addEventListener("error", (event) => {
      reject(new Error(event.message || "the benchmark's worker could not be loaded"));
    });
    worker.addEventListener("messageerror", () => {
      reject(new Error("the benchmark's worker sent what cannot be read"));
    });
  });
  worker.postMessage({ options, meter: port2 } satisfies BenchRequest, [port2]);
  return report.finally(() => {
    stopMeter();
    worker.terminate();
  });
}

/** Node's program. */
async function main(optionsJson: string): Promise<void> {
  try {
    const report = await runBench(JSON.parse(optionsJson) as BenchOptions, (line) => {
      console.log(line);
    });
    process.stdout.write(`${report}\n`);
  } catch (cause) {
    console.error(messageOf(cause));
    process.exitCode = 2;
  }
}

if (isNode && process.argv[1] !== undefined) {
  const [{ pathToFileURL }, { realpathSync }] = await Promise.all([import("node:url"), import("node:fs")]);
  if (pathToFileURL(realpathSync(process.argv[1])).href === import.meta.url) await main(process.argv[2] ?? "{}");
}
