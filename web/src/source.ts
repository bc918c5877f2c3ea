/** The resolver's side of the trace channel: serves batches out of the bridge's buffer. */

import { checkedBatch, parseAnswer } from "./bridge.js";
import type { Bridge } from "./bridge.js";
import { Channel, Reply } from "./channel.js";
import type { None } from "./channel.js";
import type { BatchMessage, DrainProgress, RunningSessions, SourceMethods, SourceNotes } from "./protocol.js";

export class TraceSource {
  readonly #bridge: Bridge;
  readonly #channel: Channel<None, SourceMethods, None, SourceNotes>;
  #drained: number;

  /** `before` is the source of the trace worker that this one's replaces. */
  constructor(port: MessagePort, bridge: Bridge, before: TraceSource | null = null) {
    this.#drained = before === null ? 0 : before.#drained;
    this.#bridge = bridge;
    this.#channel = new Channel<None, SourceMethods, None, SourceNotes>(port, {
      peer: "trace worker",
      handlers: {
        drain: ({ max_events }) => {
          const batch = this.#drain(max_events);
          return new Reply({ ...batch, ...this.#progress() }, [batch.bytes.buffer]);
        },
        ack: ({ batch_id }) => bridge.ack(batch_id),
        redeliver: () => {
          const batches = bridge.redeliver().map(checkedBatch);
          return new Reply(
            batches,
            batches.map(({ bytes }) => bytes.buffer),
          );
        },
        progress: () => this.#progress(),
        refuse: ({ reason, session_ids }) => {
          parseAnswer(bridge.refuse_durable(reason, session_ids === null ? "" : JSON.stringify(session_ids)));
          return null;
        },
        running: () => parseAnswer(bridge.running_sessions()) as RunningSessions,
      },
      notes: {},
    });
    // Python tells, so that a page's own Pyodide need not ask after each call. The note leaves in the middle of that
    // call; what it asks for is answered once Python returns.
    bridge.on_pressure((callWaits) => {
      if (callWaits) this.#channel.note("durable", { until: this.made() });
      else this.wake();
    });
    this.#channel.note("ready", null);
  }

  /** How many events were made so far: where a flush that is asked for now ends. Throws what Python does. */
  made(): number {
    const { drained, pending } = this.#progress();
    return drained + pending;
  }

  /** Have what is pending stored now instead of at the next interval. */
  wake(): void {
    this.#channel.note("pressure", null);
  }

  close(): void {
    this.#channel.close();
    this.#bridge.on_pressure(undefined);
  }

  /** What left Python is counted also where it did not arrive: it will be delivered again. */
  #drain(maxEvents: number): BatchMessage {
    const before = this.#bridge.pending_events();
    try {
      return checkedBatch(this.#bridge.drain_traces(maxEvents));
    } finally {
      this.#drained += before - this.#bridge.pending_events();
    }
  }

  #progress(): DrainProgress {
    return { drained: this.#drained, pending: this.#bridge.pending_events() };
  }
}
