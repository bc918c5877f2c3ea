/** The resolver's side of the trace channel: serves batches out of the bridge's buffer. */

import { checkedBatch, parseAnswer } from "./bridge.js";
import type { Bridge } from "./bridge.js";
import { Channel, Reply } from "./channel.js";
import type { None } from "./channel.js";
import type { DrainProgress, RunningSessions, SourceMethods, SourceNotes } from "./protocol.js";

export class TraceSource {
  readonly #bridge: Bridge;
  readonly #channel: Channel<None, SourceMethods, None, SourceNotes>;
  /** Events that were given away by drains; what is delivered again counts once. */
  #drained = 0;

  constructor(port: MessagePort, bridge: Bridge) {
    this.#bridge = bridge;
    this.#channel = new Channel<None, SourceMethods, None, SourceNotes>(port, {
      peer: "trace worker",
      handlers: {
        drain: ({ max_events }) => {
          const batch = checkedBatch(bridge.drain_traces(max_events));
          this.#drained += batch.count;
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
      if (callWaits) this.#channel.note("durable", this.made());
      else this.wake();
    });
    this.#channel.note("ready", null);
  }

  /** How many events were made so far, drained or not: where a flush that is asked for now ends. */
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

  #progress(): DrainProgress {
    return { drained: this.#drained, pending: this.#bridge.pending_events() };
  }
}
