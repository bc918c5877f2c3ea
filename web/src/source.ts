/** The resolver's side of the trace channel: serves batches out of the bridge's buffer. */

import { checkedBatch } from "./bridge.js";
import type { Bridge } from "./bridge.js";
import { Channel, Reply } from "./channel.js";
import type { None } from "./channel.js";
import type { SourceMethods, SourceNotes } from "./protocol.js";

/** From this many on, the trace worker is told not to wait for its timer. */
export const PRESSURE_EVENTS = 500;

export class TraceSource {
  readonly #bridge: Bridge;
  readonly #channel: Channel<None, SourceMethods, None, SourceNotes>;

  constructor(port: MessagePort, bridge: Bridge) {
    this.#bridge = bridge;
    this.#channel = new Channel<None, SourceMethods, None, SourceNotes>(port, {
      peer: "trace worker",
      handlers: {
        drain: ({ max_events }) => {
          const batch = checkedBatch(bridge.drain_traces(max_events));
          return new Reply(batch, [batch.bytes.buffer]);
        },
        ack: ({ batch_id }) => bridge.ack(batch_id),
        redeliver: () => {
          const batches = bridge.redeliver().map(checkedBatch);
          return new Reply(
            batches,
            batches.map(({ bytes }) => bytes.buffer),
          );
        },
        pending: () => bridge.pending_events(),
      },
      notes: {},
    });
    this.#channel.note("ready", null);
  }

  /** Tell the trace worker when much is pending. Cheap enough to follow every call. */
  signalPressure(): void {
    const pending = this.#bridge.pending_events();
    if (pending >= PRESSURE_EVENTS) this.#channel.note("pressure", { pending });
  }

  /** Have what is pending stored now: an executor may be waiting for its request to be durable. */
  signalUrgency(): void {
    this.#channel.note("pressure", { pending: this.#bridge.pending_events() });
  }

  close(): void {
    this.#channel.close();
  }
}
