/** What runs in the resolver's worker: the bridge, its executors, its traces. Pyodide itself comes in as `loadBridge`. */

import { parseAnswer } from "./bridge.js";
import type { Bridge } from "./bridge.js";
import { Channel } from "./channel.js";
import type { None } from "./channel.js";
import { CraError } from "./errors.js";
import type { BootProgress, BridgeCall, PageMethods, ResolverMethods, ResolverNotes } from "./protocol.js";
import { TraceSource } from "./source.js";

/** Loads Pyodide from a folder's address and returns its cra_wasm.bridge. */
export type LoadBridge = (pyodideUrl: string, onProgress: (step: BootProgress) => void) => Promise<Bridge>;

export class ResolverHost {
  readonly #loadBridge: LoadBridge;
  readonly #tracesPort: MessagePort;
  readonly #page: Channel<PageMethods, ResolverMethods, None, ResolverNotes>;
  #bridge: Bridge | null = null;
  #source: TraceSource | null = null;

  constructor(control: MessagePort, traces: MessagePort, loadBridge: LoadBridge) {
    this.#loadBridge = loadBridge;
    this.#tracesPort = traces;
    this.#page = new Channel<PageMethods, ResolverMethods, None, ResolverNotes>(control, {
      peer: "page",
      handlers: {
        boot: ({ pyodideUrl }) => this.#boot(pyodideUrl),
        bridge: (call) => this.#call(call),
        register_executor: ({ action_id, deadline_ms }) => this.#register(action_id, deadline_ms),
        unregister_executor: ({ action_id }) => this.#unregister(action_id),
        close: () => this.#close(),
      },
      notes: {},
    });
  }

  async #boot(pyodideUrl: string): Promise<null> {
    try {
      this.#bridge = await this.#loadBridge(pyodideUrl, (step) => {
        this.#page.note("progress", step);
      });
    } catch (cause) {
      throw CraError.from(cause, "boot_failed");
    }
    this.#source = new TraceSource(this.#tracesPort, this.#bridge);
    return null;
  }

  async #call({ name, args }: BridgeCall): Promise<string> {
    const answer = this.#running()[name](...args);
    // An execute may wait until its request is stored before its executor starts: it must not wait for the timer.
    if (name === "execute") this.#source?.signalPressure();
    return await answer;
  }

  #register(actionId: string, deadlineMs: number): null {
    const answer = this.#running().register_executor(actionId, (parametersJson, callJson) => {
      const params = { action_id: actionId, parameters_json: parametersJson, call_json: callJson };
      return this.#page.call("run_executor", params, deadlineMs);
    });
    parseAnswer(answer);
    return null;
  }

  #unregister(actionId: string): null {
    parseAnswer(this.#running().unregister_executor(actionId));
    return null;
  }

  #close(): null {
    this.#source?.close();
    this.#bridge?.close();
    this.#bridge?.destroy?.();
    this.#bridge = null;
    this.#source = null;
    return null;
  }

  #running(): Bridge {
    if (this.#bridge === null) throw new CraError("closed", "the resolver is not running");
    return this.#bridge;
  }
}
