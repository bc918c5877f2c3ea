/** cra_wasm.bridge as JavaScript sees it, and how its answers are told from its errors. */

import { CraError } from "./errors.js";
import type { BatchMessage, BridgeFunction, ErrorBody } from "./protocol.js";

/** An executor as Python calls it: JSON text in, JSON text out. */
export type BridgeExecutor = (parametersJson: string, callJson: string) => Promise<string>;

export type BatchOrError = BatchMessage | { readonly error: ErrorBody };

type JsonFunctions = { readonly [K in BridgeFunction]: (...args: readonly string[]) => string | Promise<string> };

/** The module's functions. Strings in, JSON text out. */
export interface Bridge extends JsonFunctions {
  load_atlas(source: string | Uint8Array, optionsJson: string): string;
  /** Make the runtime with timers, before any other call. */
  configure(optionsJson: string): string;
  register_executor(actionId: string, executor: BridgeExecutor): string;
  unregister_executor(actionId: string): string;
  pending_events(): number;
  /**
   * Have `listener` called when much waits to be drained, once per drain, with false, and when a call waits until what is
   * pending is stored, with true; both in the middle of a call. Undefined ends it.
   */
  on_pressure(listener: ((callWaits: boolean) => void) | undefined): string;
  /** Tell the calls that wait that they are not stored; no ids (a JSON array) means those of every session. */
  refuse_durable(reason: string, sessionIdsJson?: string): string;
  /** JSON of RunningSessions, or of an error. */
  running_sessions(): string;
  drain_traces(maxEvents: number): BatchOrError;
  ack(batchId: number): boolean;
  redeliver(): readonly BatchOrError[];
  /** End the runtime, but let its last traces be drained until `close`. */
  end(): string;
  close(): unknown;
  /** Give the functions' proxies back to Python. */
  destroy?(): void;
}

type BridgeName = Exclude<keyof Bridge, "destroy">;

/** All of them: a name that is missing here, or too many, does not compile. */
const NAMES: Readonly<Record<BridgeName, true>> = {
  configure: true,
  load_atlas: true,
  get_atlas: true,
  unload_atlas: true,
  list_atlases: true,
  create_session: true,
  resolve: true,
  resolve_request: true,
  validate: true,
  execute: true,
  list_approvals: true,
  decide_approval: true,
  end_session: true,
  emit: true,
  explain: true,
  statistics: true,
  register_executor: true,
  unregister_executor: true,
  pending_events: true,
  running_sessions: true,
  on_pressure: true,
  refuse_durable: true,
  drain_traces: true,
  ack: true,
  redeliver: true,
  end: true,
  close: true,
};

interface Proxy {
  destroy?(): void;
}

/** What is needed of a running Pyodide. */
export interface PyodideLike {
  pyimport(moduleName: string): unknown;
}

/**
 * Import cra_wasm.bridge. Throws `boot_failed` where the wheel is not installed.
 *
 * Each function is asked of the module once: asking makes a new proxy of it, which costs more than the call.
 */
export function importBridge(pyodide: PyodideLike): Bridge {
  try {
    const module = pyodide.pyimport("cra_wasm.bridge") as object;
    const members = Object.keys(NAMES).map((name) => [name, functionOf(module, name)] as const);
    const proxies = [...members.map(([, member]) => member as Proxy), module as Proxy];
    return {
      ...(Object.fromEntries(members) as unknown as Bridge),
      destroy: () => {
        for (const proxy of proxies) proxy.destroy?.();
      },
    };
  } catch (cause) {
    throw CraError.from(cause, "boot_failed");
  }
}

function functionOf(module: object, name: string): unknown {
  const member: unknown = Reflect.get(module, name);
  if (typeof member === "function") return member;
  throw new CraError("boot_failed", `cra_wasm.bridge has no \`${name}\`: wheel and page are of different versions`);
}

/** Return the batch, or throw the bridge's error. */
export function checkedBatch(answer: BatchOrError): BatchMessage {
  if ("error" in answer) throw CraError.fromBody(answer.error);
  return answer;
}

/**
 * Parse a bridge function's answer; throw the CraError when it is one.
 * An ExecuteResponse has an `error` member too, but never alone: that one is an answer.
 */
export function parseAnswer(text: string): unknown {
  const value: unknown = JSON.parse(text);
  const body = errorOf(value);
  if (body !== null) throw CraError.fromBody(body);
  return value;
}

function errorOf(value: unknown): ErrorBody | null {
  if (typeof value !== "object" || value === null || Object.keys(value).length !== 1 || !("error" in value)) return null;
  return value.error as ErrorBody;
}
