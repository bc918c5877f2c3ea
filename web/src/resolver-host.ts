/** What runs in the resolver's worker: the bridge, its executors, its traces. Pyodide itself comes in as `loadBridge`. */

import type { HashAlgorithm } from "./algorithms.js";
import { parseAnswer } from "./bridge.js";
import type { Bridge } from "./bridge.js";
import { Channel } from "./channel.js";
import type { None } from "./channel.js";
import { CraError, messageOf } from "./errors.js";
import type { BootProgress, BridgeCall, PageMethods, ResolverMethods, ResolverNotes } from "./protocol.js";
import { TraceSource } from "./source.js";

/** A running Python with cra-wasm in it. */
export interface LoadedBridge {
  readonly bridge: Bridge;
  /** Install a package of the site and import it once. Rejects when the site has no such package. */
  loadPackage(name: string): Promise<void>;
}

/** Loads Pyodide from a folder's address and imports cra_wasm.bridge. */
export type LoadBridge = (pyodideUrl: string, onProgress: (step: BootProgress) => void) => Promise<LoadedBridge>;

export class ResolverHost {
  readonly #loadBridge: LoadBridge;
  #tracesPort: MessagePort;
  readonly #page: Channel<PageMethods, ResolverMethods, None, ResolverNotes>;
  #loaded: LoadedBridge | null = null;
  #source: TraceSource | null = null;
  /** Calls that Python has not answered yet. */
  #calls = 0;

  constructor(control: MessagePort, traces: MessagePort, loadBridge: LoadBridge) {
    this.#loadBridge = loadBridge;
    this.#tracesPort = traces;
    this.#page = new Channel<PageMethods, ResolverMethods, None, ResolverNotes>(control, {
      peer: "page",
      handlers: {
        boot: ({ pyodideUrl, timing_json }) => this.#boot(pyodideUrl, timing_json),
        load_hash: ({ algorithm }) => this.#loadHash(algorithm),
        load_atlas: ({ source, options_json }) => this.#running().bridge.load_atlas(source, options_json),
        bridge: (call) => this.#call(call),
        register_executor: ({ action_id, deadline_ms }) => this.#register(action_id, deadline_ms),
        unregister_executor: ({ action_id }) => this.#unregister(action_id),
        connect_traces: ({ port }) => this.#connectTraces(port),
        end: () => this.#end(),
        close: () => this.#close(),
      },
      notes: {},
    });
  }

  async #boot(pyodideUrl: string, timingJson: string): Promise<null> {
    try {
      this.#loaded = await this.#loadBridge(pyodideUrl, (step) => {
        this.#page.note("progress", step);
      });
    } catch (cause) {
      throw CraError.from(cause, "boot_failed");
    }
    parseAnswer(this.#loaded.bridge.configure(timingJson));
    this.#source = new TraceSource(this.#tracesPort, this.#loaded.bridge);
    return null;
  }

  /** What the trace worker before had drained and not acknowledged, the new one is given again. */
  #connectTraces(port: MessagePort): null {
    this.#tracesPort = port;
    if (this.#loaded === null) return null;
    this.#source?.close();
    this.#source = new TraceSource(port, this.#loaded.bridge, this.#source);
    return null;
  }

  /** The hash's package has its name. Loading it again costs nothing. */
  async #loadHash(algorithm: HashAlgorithm): Promise<null> {
    try {
      await this.#running().loadPackage(algorithm);
    } catch (cause) {
      const message = `this site cannot load the package \`${algorithm}\`: build the site with it, or use sha256`;
      throw new CraError("hash_unavailable", message, { algorithm, cause: messageOf(cause) });
    }
    return null;
  }

  async #call({ name, args }: BridgeCall): Promise<string> {
    const answer = this.#running().bridge[name](...args);
    // A session of which nothing is stored cannot be found again, so its start is stored at once.
    if (name === "create_session") this.#source?.wake();
    this.#calls += 1;
    try {
      return await answer;
    } finally {
      this.#calls -= 1;
    }
  }

  #register(actionId: string, deadlineMs: number): null {
    const answer = this.#running().bridge.register_executor(actionId, (parametersJson, callJson) => {
      const params = { action_id: actionId, parameters_json: parametersJson, call_json: callJson };
      return this.#page.call("run_executor", params, deadlineMs);
    });
    parseAnswer(answer);
    return null;
  }

  #unregister(actionId: string): null {
    parseAnswer(this.#running().bridge.unregister_executor(actionId));
    return null;
  }

  #end(): { readonly running: number } {
    parseAnswer(this.#running().bridge.end());
    return { running: this.#calls };
  }

  #close(): null {
    this.#source?.close();
    this.#loaded?.bridge.close();
    this.#loaded?.bridge.destroy?.();
    this.#loaded = null;
    this.#source = null;
    return null;
  }

  #running(): LoadedBridge {
    if (this.#loaded === null) throw new CraError("closed", "the resolver is not running");
    return this.#loaded;
  }
}
