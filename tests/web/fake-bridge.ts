/** cra_wasm.bridge as a TypeScript object: what it promises to JavaScript, with a buffer of its own and no Python. */

import type { BatchOrError, Bridge, BridgeExecutor } from "../../web/src/bridge.js";
import type { RawEvent } from "../../web/src/chain.js";
import { CraError } from "../../web/src/errors.js";
import type { BatchMessage, BootProgress } from "../../web/src/protocol.js";
import type { LoadedBridge } from "../../web/src/resolver-host.js";
import { batchOf, hashedWith, rawEvent, uuid } from "./events.js";

const MAX_IN_FLIGHT = 2;
const WAKE_EVENTS = 500;
const CLOSED = refused("resolver_closed", "this resolver was closed: make another");

function refused(code: string, message: string, details: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ error: { code, message, details } });
}

export class FakeBridge implements Bridge {
  readonly #executors = new Map<string, BridgeExecutor>();
  readonly #sequences = new Map<string, number>();
  readonly #algorithms = new Map<string, string>();
  readonly #running = new Set<string>();
  readonly #inFlight: BatchMessage[] = [];
  #pending: RawEvent[] = [];
  #batchId = 0;
  #listener: ((callWaits: boolean) => void) | undefined = undefined;
  #asleep = false;
  #ended = false;
  closed = 0;
  /** What was told of calls that wait: the reason, and the sessions as they crossed. */
  readonly refusals: (readonly [string, string])[] = [];
  /** What was loaded by the side of cra-wasm. */
  readonly packages: string[] = [];

  /** What it was configured with; null before. */
  configured: unknown = null;

  configure(text: string): string {
    this.configured = JSON.parse(text);
    if (text.includes('"interval_seconds":0')) return refused("invalid_heartbeat", "1 at least", { pointer: "/heartbeat" });
    return text;
  }

  load_atlas(source: string | Uint8Array, optionsJson: string): string {
    if (typeof source !== "string") {
      const told = { pointer: optionsJson, code: "bytes", message: `${source.length} of ${source.buffer.byteLength}` };
      return JSON.stringify({ atlas_id: "com.zip", warnings: [told] });
    }
    try {
      const { atlas_id = "" } = JSON.parse(source) as { readonly atlas_id?: string };
      if (atlas_id === "") return refused("invalid_atlas", "no atlas_id", { pointer: "/atlas_id" });
      const counts = { actions: 1, policies: 0, context_blocks: 0, context_packs: 0, capabilities: 0, warnings: [] };
      return JSON.stringify({ atlas_id, version: "1.0.0", name: "fake", ...counts });
    } catch {
      return refused("invalid_json", "this is no JSON", { pointer: "" });
    }
  }

  unload_atlas(atlasId: string): string {
    return JSON.stringify({ atlas_id: atlasId });
  }

  get_atlas(atlasId: string): string {
    return JSON.stringify({ atlas_id: atlasId });
  }

  list_atlases(): string {
    return "[]";
  }

  create_session(agentId: string, goal: string, algorithm = "", parent = ""): string {
    if (this.#ended) return CLOSED;
    if (algorithm === "blake3" && !this.packages.includes("blake3")) return refused("hash_unavailable", "load it first");
    const sessionId = uuid(0x5e5, this.#sequences.size);
    this.#sequences.set(sessionId, 0);
    this.#running.add(sessionId);
    this.#algorithms.set(sessionId, algorithm === "" ? "sha256" : algorithm);
    const named = algorithm === "blake3" ? { hash_algorithm: algorithm } : {};
    const nested = parent === "" ? {} : { parent_session_id: parent };
    this.#push(sessionId, "session.started", { agent_id: agentId, goal, ...named, ...nested });
    return JSON.stringify({ session_id: sessionId });
  }

  /** Answers with its own arguments, so that a test can see what crossed. */
  resolve(...args: readonly string[]): string {
    const [sessionId = "", goal = ""] = args;
    if (goal === "throw") throw new TypeError("a Python exception that is no CRAError");
    if (!this.#sequences.has(sessionId)) return refused("session_not_found", "no such session", { pointer: "/requester/session_id" });
    this.#push(sessionId, "carp.resolution.completed", { decision_type: "allow" });
    return JSON.stringify({ arguments: args });
  }

  resolve_request(text: string): string {
    return text;
  }

  validate(text: string): string {
    return text;
  }

  async execute(text: string): Promise<string> {
    const { session_id, action_id, parameters } = JSON.parse(text) as Readonly<Record<string, string>>;
    const executor = this.#executors.get(action_id ?? "");
    if (executor === undefined) return refused("no_executor", "register one first");
    try {
      const result = JSON.parse(await executor(JSON.stringify(parameters), JSON.stringify({ session_id, action_id }))) as unknown;
      return JSON.stringify({ status: "success", result, error: null });
    } catch (cause) {
      const { code, message } = CraError.from(cause, "unexpected");
      return JSON.stringify({ status: "error", result: null, error: { code, message, details: {} } });
    } finally {
      // An executor that outlives the end is recorded.
      if (this.#ended && this.#sequences.has(session_id ?? "")) this.#push(session_id ?? "", "action.completed", {});
    }
  }

  list_approvals(sessionId = ""): string {
    return JSON.stringify([{ approval_id: "", session_id: sessionId, action_id: "" }]);
  }

  decide_approval(text: string): string {
    return text;
  }

  end_session(sessionId: string, reason = ""): string {
    this.#push(sessionId, "session.ended", { reason });
    this.#running.delete(sessionId);
    return JSON.stringify({ session_id: sessionId, reason, duration_ms: 0, resolution_count: 0, action_count: 0 });
  }

  emit(sessionId: string, eventType: string, payloadJson: string): string {
    if (this.#ended) return CLOSED;
    const count = eventType === "many.events" ? (JSON.parse(payloadJson) as { readonly count: number }).count : 1;
    for (let n = 0; n < count; n += 1) this.#push(sessionId, eventType, { n });
    return JSON.stringify({ event_id: uuid(1, 0), sequence: (this.#sequences.get(sessionId) ?? 1) - 1 });
  }

  explain(...args: readonly string[]): string {
    return JSON.stringify(args);
  }

  statistics(): string {
    const buffer = { pending: this.#pending.length, in_flight: this.#inFlight.length };
    return JSON.stringify({ version: "fake", sessions_active: this.#sequences.size, buffer, configured: this.configured });
  }

  register_executor(actionId: string, executor: BridgeExecutor): string {
    if (actionId === "") return refused("invalid_id", "an action has an id");
    this.#executors.set(actionId, executor);
    return JSON.stringify({ action_id: actionId });
  }

  unregister_executor(actionId: string): string {
    return JSON.stringify({ action_id: actionId, removed: this.#executors.delete(actionId) });
  }

  running_sessions(): string {
    return JSON.stringify({ session_ids: [...this.#running], lost_at_most: 65_537 });
  }

  pending_events(): number {
    return this.#pending.length;
  }

  on_pressure(listener: ((callWaits: boolean) => void) | undefined): string {
    this.#listener = listener;
    this.#asleep = false;
    return JSON.stringify({ listening: listener !== undefined });
  }

  /** As when a call waits until it is stored. */
  waitDurable(): void {
    this.#listener?.(true);
  }

  refuse_durable(reason: string, sessionIdsJson = ""): string {
    if (reason === "") return refused("invalid_reason", "give one");
    this.refusals.push([reason, sessionIdsJson]);
    return JSON.stringify({ told: 1 });
  }

  drain_traces(maxEvents: number): BatchOrError {
    if (this.#pending.length === 0 || this.#inFlight.length === MAX_IN_FLIGHT) return batchOf(0);
    this.#asleep = false;
    const taken = this.#pending.slice(0, maxEvents);
    this.#pending = this.#pending.slice(maxEvents);
    const sessions = [...new Set(taken.map(({ session_id }) => session_id))];
    this.#batchId += 1;
    const made = batchOf(this.#batchId, ...sessions.map((id) => taken.filter(({ session_id }) => session_id === id)));
    const batch = hashedWith(made, (sessionId) => this.#algorithms.get(sessionId));
    this.#inFlight.push(batch);
    return copyOf(batch);
  }

  ack(batchId: number): boolean {
    const at = this.#inFlight.findIndex(({ batch_id }) => batch_id === batchId);
    if (at !== -1) this.#inFlight.splice(at, 1);
    return at !== -1;
  }

  redeliver(): readonly BatchMessage[] {
    return this.#inFlight.map(copyOf);
  }

  end(): string {
    this.#ended = true;
    return JSON.stringify({ ended: true });
  }

  close(): void {
    this.closed += 1;
    this.#executors.clear();
  }

  #push(sessionId: string, type: string, payload: object): void {
    const sequence = this.#sequences.get(sessionId) ?? 0;
    this.#sequences.set(sessionId, sequence + 1);
    this.#pending.push(rawEvent(sequence, { session: sessionId, type, payload: JSON.stringify(payload) }));
    if (this.#asleep || this.#pending.length < WAKE_EVENTS) return;
    this.#asleep = true;
    this.#listener?.(false);
  }
}

/** Every delivery has bytes of its own, because its buffer is transferred. */
function copyOf(batch: BatchMessage): BatchMessage {
  return { ...batch, bytes: batch.bytes.slice() };
}

/** Boots at once. The last part of the address chooses what a test wants to see go wrong. */
export function loadFakeBridge(url: string, onProgress: (step: BootProgress) => void): Promise<LoadedBridge> {
  onProgress({ step: "fake", done: 0, total: 1 });
  if (url.includes("broken")) return Promise.reject(new Error("no such wheel"));
  const bridge = new FakeBridge();
  if (url.includes("deadly")) bridge.list_atlases = () => process.exit(3);
  if (url.includes("silent")) {
    bridge.list_atlases = () => {
      for (;;);
    };
  }
  const loadPackage = (name: string): Promise<void> => {
    if (url.includes("lean")) return Promise.reject(new Error(`No known package with name '${name}'`));
    bridge.packages.push(name);
    return Promise.resolve();
  };
  return Promise.resolve({ bridge, loadPackage });
}

/** The bridge as Pyodide gives a module: each function can be taken out of it and called alone. */
export function asModule(bridge: FakeBridge): Bridge {
  return new Proxy<Bridge>(bridge, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });
}
