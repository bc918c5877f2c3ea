/** The benchmarks' worker in a browser: wiring only. */

import { runBench } from "./bench.js";
import type { BenchMessage, BenchOptions } from "./bench.js";
import { messageOf } from "./errors.js";

function send(message: BenchMessage): void {
  (globalThis as unknown as { postMessage(message: BenchMessage): void }).postMessage(message);
}

globalThis.addEventListener(
  "message",
  ({ data }: MessageEvent<BenchOptions>) => {
    const tell = (line: string): void => {
      send({ line });
    };
    runBench(data, tell).then(
      (report) => {
        send({ report });
      },
      (cause: unknown) => {
        send({ failure: messageOf(cause) });
      },
    );
  },
  { once: true },
);
