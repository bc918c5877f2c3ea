/** The benchmarks' worker in a browser: wiring only. One that is asked to beat does nothing else. */

import { runBench } from "./bench.js";
import type { BenchMessage, BenchRequest } from "./bench.js";
import { beat } from "./bench-meter.js";
import type { BeatRequest, Meter } from "./bench-meter.js";
import { Channel } from "./channel.js";
import { messageOf } from "./errors.js";

function send(message: BenchMessage | number): void {
  (globalThis as unknown as { postMessage(message: BenchMessage | number): void }).postMessage(message);
}

function run({ options, meter }: BenchRequest): void {
  const page: Meter = new Channel(meter, { peer: "page", handlers: {}, notes: {} });
  const tell = (line: string): void => {
    send({ line });
  };
  runBench(options, tell, page).then(
    (report) => {
      send({ report });
    },
    (cause: unknown) => {
      send({ failure: messageOf(cause) });
    },
  );
}

globalThis.addEventListener(
  "message",
  ({ data }: MessageEvent<BenchRequest | BeatRequest>) => {
    if ("beat_ms" in data) beat(data, send);
    else run(data);
  },
  { once: true },
);
