/** What only a page can tell the benchmarks' worker: how long its own thread was held up, and what a worker has in memory. */

import { Channel } from "./channel.js";
import type { None } from "./channel.js";

export interface MeterMethods {
  /** Begin to listen for the beats of a worker. */
  watch: { params: null; result: null };
  /** End it; the longest that one of the beats since then had to wait for the page, in microseconds. */
  longest_wait_us: { params: null; result: number };
  /** What the workers of that script hold in memory, after a garbage collection. Rejects where the page is not isolated. */
  worker_bytes: { params: { readonly script: string }; result: number };
}

/** The worker's end. */
export type Meter = Channel<MeterMethods>;

/** What the benchmarks' worker is told when it shall only beat. */
export interface BeatRequest {
  readonly beat_ms: number;
}

/** So often that no task of interest falls between two beats, and seldom enough to cost nothing. */
const BEAT_MS = 1;

interface MemoryPart {
  readonly bytes: number;
  readonly attribution: readonly { readonly url: string; readonly scope: string }[];
}

interface MeasuringPerformance {
  measureUserAgentSpecificMemory?: () => Promise<{ readonly breakdown: readonly MemoryPart[] }>;
}

/** Serve a meter on the page, until the function that this returns is called. `newBeater` makes a worker that can beat. */
export function serveMeter(port: MessagePort, newBeater: () => Worker): () => void {
  let beater: Worker | null = null;
  let longestMs = 0;
  const stop = (): void => {
    beater?.terminate();
    beater = null;
  };
  const watch = async (): Promise<null> => {
    stop();
    const worker = newBeater();
    beater = worker;
    await new Promise<void>((resolve) => {
      worker.addEventListener("message", ({ data }: MessageEvent<number>) => {
        longestMs = Math.max(longestMs, performance.timeOrigin + performance.now() - data);
        resolve();
      });
      worker.postMessage({ beat_ms: BEAT_MS } satisfies BeatRequest);
    });
    // The first beat found a worker that had just started.
    longestMs = 0;
    return null;
  };
  const channel = new Channel<None, MeterMethods>(port, {
    peer: "benchmark",
    handlers: {
      watch,
      longest_wait_us: () => {
        stop();
        return longestMs * 1_000;
      },
      worker_bytes: ({ script }) => workerBytes(script),
    },
    notes: {},
  });
  return () => {
    stop();
    channel.close();
  };
}

/** Post the time of each beat, until the worker is terminated. `post` does not need this thread to be idle. */
export function beat({ beat_ms: beatMs }: BeatRequest, post: (sentMs: number) => void): void {
  const send = (): void => {
    post(performance.timeOrigin + performance.now());
  };
  if (!crossOriginIsolated) {
    // No more often than each 4 ms.
    setInterval(send, beatMs);
    return;
  }
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    Atomics.wait(never, 0, 0, beatMs);
    send();
  }
}

async function workerBytes(script: string): Promise<number> {
  const measuring: MeasuringPerformance = performance as unknown as MeasuringPerformance;
  if (measuring.measureUserAgentSpecificMemory === undefined) throw new Error("memory is measured in an isolated page of Chromium only");
  const { breakdown } = await measuring.measureUserAgentSpecificMemory();
  const parts = breakdown.filter(({ attribution }) => attribution.some(({ url }) => url.endsWith(script)));
  if (parts.length === 0) throw new Error(`the browser knows of no worker of \`${script}\``);
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}
