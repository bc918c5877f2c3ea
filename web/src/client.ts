/** createCra: the resolver in one worker, its traces in another, and a typed client here. */

import { checkedAlgorithm, DEFAULT_ALGORITHM } from "./algorithms.js";
import type { HashAlgorithm } from "./algorithms.js";
import type {
  ApprovalDecision,
  AtlasSource,
  Cra,
  CraOptions,
  Deadlines,
  ExecuteOptions,
  Executor,
  ExecutorCall,
  FlushOptions,
  ImportSource,
  LoadAtlasOptions,
  ResolveOptions,
  SessionOptions,
  VerifyOptions,
} from "./api.js";
import { parseAnswer } from "./bridge.js";
import { guarded } from "./callbacks.js";
import { Channel } from "./channel.js";
import {
  APPROVAL_DECISION,
  checkedOptions,
  CRA_OPTIONS,
  EXECUTE_OPTIONS,
  EXPLAIN_OPTIONS,
  LOAD_ATLAS_OPTIONS,
  RESOLVE_OPTIONS,
  SESSION_OPTIONS,
} from "./checked-options.js";
import { CraError } from "./errors.js";
import { jsonText, objectText } from "./json.js";
import type { Member } from "./json.js";
import type {
  ActionExplanation,
  Approval,
  AtlasSummary,
  ExecuteResponse,
  ImportResult,
  JsonObject,
  Resolution,
  ResolverStatistics,
  SessionEnd,
  SessionEndReason,
  SealedSession,
  SessionHead,
  Statistics,
  TraceEvent,
  ValidateResponse,
  VerifyResult,
} from "./model.js";
import { folderUrl, startWorker } from "./platform.js";
import type { WorkerHandle } from "./platform.js";
import type { BootProgress, BridgeFunction, PageMethods, ResolverMethods, ResolverNotes } from "./protocol.js";
import { bootProgress } from "./pyodide-host.js";
import { DEFAULT_DEADLINES, TraceClient } from "./traces.js";

type ResolverChannel = Channel<ResolverMethods, PageMethods, ResolverNotes>;

/**
 * Boot the resolver and the trace store. Rejects with `boot_failed`, `worker_dead`, `deadline_exceeded`, the store's
 * error, `hash_unavailable` when the site lacks the package of `hashAlgorithm`, or `invalid_arguments` where an option is
 * unknown or of another kind; nothing is left running then.
 */
export async function createCra(options: CraOptions = {}): Promise<Cra> {
  return await CraClient.boot(options);
}

/** What runs: ended and made anew together. */
interface Parts {
  readonly worker: WorkerHandle;
  readonly resolver: ResolverChannel;
  readonly traces: TraceClient;
}

class CraClient implements Cra {
  readonly #executors = new Map<string, Executor>();
  readonly #options: CraOptions;
  readonly #timingJson: string;
  readonly #onProgress: (step: BootProgress) => void;
  readonly #site: URL;
  readonly #deadlines: Deadlines;
  readonly #hashAlgorithm: HashAlgorithm;
  /** Set by #start, before anybody has this client. */
  #parts!: Parts;
  #restarting: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  private constructor(site: URL, options: CraOptions) {
    this.#site = site;
    this.#options = options;
    this.#timingJson = timingOf(options);
    this.#onProgress = guarded(options.onProgress);
    this.#deadlines = { ...DEFAULT_DEADLINES, ...options.deadlines };
    this.#hashAlgorithm = checkedAlgorithm(options.hashAlgorithm ?? DEFAULT_ALGORITHM);
  }

  static async boot(given: CraOptions): Promise<CraClient> {
    const options = checkedOptions(given, CRA_OPTIONS);
    const site = await folderUrl(options.baseUrl ?? new URL("..", import.meta.url));
    const client = new CraClient(site, options);
    await client.#start();
    return client;
  }

  /** Start both workers. Rejects with nothing left running. */
  async #start(): Promise<void> {
    this.#onProgress(bootProgress(0));
    const worker = await startWorker(new URL("lib/resolver.worker.js", this.#site), "resolver");
    const control = new MessageChannel();
    const resolver = this.#channel(control.port1);
    worker.onDeath((error) => {
      resolver.fail(error);
    });
    let connected = false;
    const connectSource = async (port: MessagePort): Promise<void> => {
      if (connected) await resolver.call("connect_traces", { port }, this.#deadlines.callMs, [port]);
      else worker.connect({ kind: "connect", control: control.port2, traces: port });
      connected = true;
    };
    let traces: TraceClient;
    try {
      traces = await TraceClient.start(this.#site, connectSource, this.#options, this.#deadlines);
    } catch (cause) {
      resolver.close();
      await worker.terminate();
      throw cause;
    }
    resolver.onFailure(({ code }) => {
      if (code !== "closed") void traces.sourceGone();
    });
    this.#parts = { worker, resolver, traces };
    try {
      const pyodideUrl = new URL("pyodide/", this.#site).href;
      await resolver.call("boot", { pyodideUrl, timing_json: this.#timingJson }, this.#deadlines.bootMs);
      await this.#loadHash(this.#hashAlgorithm);
      for (const actionId of this.#executors.keys()) await this.#register(actionId);
    } catch (cause) {
      await this.#release(null);
      throw cause;
    }
    this.#onProgress(bootProgress(4));
  }

  #channel(port: MessagePort): ResolverChannel {
    return new Channel<ResolverMethods, PageMethods, ResolverNotes>(port, {
      peer: "resolver",
      handlers: {
        run_executor: ({ action_id, parameters_json, call_json }) =>
          this.#run(action_id, parameters_json, call_json),
      },
      notes: {
        progress: this.#onProgress,
      },
    });
  }

  async loadAtlas(atlas: AtlasSource, options: LoadAtlasOptions = {}): Promise<AtlasSummary> {
    const { strict = true } = checkedOptions(options, LOAD_ATLAS_OPTIONS);
    const isBytes = atlas instanceof Uint8Array || atlas instanceof ArrayBuffer;
    const source = isBytes ? copyOf(atlas) : textOf(atlas, "invalid_atlas");
    const params = { source, options_json: objectText([["strict", strict, "invalid_arguments", "/strict"]]) };
    return parseAnswer(await this.#parts.resolver.call("load_atlas", params, this.#deadlines.callMs)) as AtlasSummary;
  }

  async getAtlas(atlasId: string): Promise<JsonObject> {
    return (await this.#ask("get_atlas", [atlasId])) as JsonObject;
  }

  async unloadAtlas(atlasId: string): Promise<void> {
    await this.#ask("unload_atlas", [atlasId]);
  }

  async listAtlases(): Promise<readonly AtlasSummary[]> {
    return (await this.#ask("list_atlases", [])) as readonly AtlasSummary[];
  }

  async createSession(options: SessionOptions): Promise<string> {
    const wish = checkedOptions(options, SESSION_OPTIONS);
    const { agentId, goal, hashAlgorithm = this.#hashAlgorithm, parentSessionId = "" } = wish;
    await this.#loadHash(checkedAlgorithm(hashAlgorithm));
    const created = await this.#ask("create_session", [agentId, goal, hashAlgorithm, parentSessionId]);
    return (created as { readonly session_id: string }).session_id;
  }

  async endSession(sessionId: string, reason: SessionEndReason = "completed"): Promise<SessionEnd> {
    return (await this.#ask("end_session", [sessionId, reason])) as SessionEnd;
  }

  async resolve(options: ResolveOptions): Promise<Resolution> {
    const { sessionId, goal, riskTier = "low", ...wish } = checkedOptions(options, RESOLVE_OPTIONS);
    const { requiredCapabilities, contextHints, atlasIds, context, reuse } = wish;
    const contextCode = typeof context === "object" ? "not_canonical" : "invalid_context";
    const more: readonly Member[] = [
      ["required_capabilities", requiredCapabilities, "invalid_required_capabilities", "/task/required_capabilities"],
      ["context_hints", contextHints, "invalid_context_hints", "/task/context_hints"],
      ["atlas_ids", atlasIds, "invalid_atlas_ids", "/atlas_ids"],
      ["context", context, contextCode, "/context"],
      ["reuse", reuse, "invalid_reuse", "/reuse"],
    ];
    // No options at all is the bridge's fast way.
    const moreJson = Object.keys(wish).length > 0 ? objectText(more) : "";
    return (await this.#ask("resolve", [sessionId, goal, riskTier, moreJson])) as Resolution;
  }

  async resolveRequest(request: string | JsonObject): Promise<JsonObject> {
    return (await this.#ask("resolve_request", [textOf(request, "invalid_request")])) as JsonObject;
  }

  async validate(request: string | JsonObject): Promise<ValidateResponse> {
    return (await this.#ask("validate", [textOf(request, "invalid_request")])) as ValidateResponse;
  }

  async execute(options: ExecuteOptions): Promise<ExecuteResponse> {
    const { sessionId, resolutionId, actionId, parameters, idempotencyKey } = checkedOptions(options, EXECUTE_OPTIONS);
    const request = objectText([
      ["session_id", sessionId, "invalid_id", "/session_id"],
      ["resolution_id", resolutionId, "invalid_id", "/resolution_id"],
      ["action_id", actionId, "invalid_action_id", "/execution/action_id"],
      ["parameters", parameters, "invalid_parameters", "/execution/parameters"],
      ["idempotency_key", idempotencyKey, "invalid_idempotency_key", "/execution/idempotency_key"],
    ]);
    return (await this.#ask("execute", [request], this.#deadlines.executeMs)) as ExecuteResponse;
  }

  async registerExecutor(actionId: string, executor: Executor): Promise<void> {
    if (typeof (executor as unknown) !== "function") {
      throw new CraError("invalid_executor", "give a function of the action's parameters", { pointer: "/executor" });
    }
    const before = this.#executors.get(actionId);
    this.#executors.set(actionId, executor);
    try {
      await this.#register(actionId);
    } catch (cause) {
      if (before === undefined) this.#executors.delete(actionId);
      else this.#executors.set(actionId, before);
      throw cause;
    }
  }

  async unregisterExecutor(actionId: string): Promise<void> {
    await this.#parts.resolver.call("unregister_executor", { action_id: actionId }, this.#deadlines.callMs);
    this.#executors.delete(actionId);
  }

  async listApprovals(sessionId = ""): Promise<readonly Approval[]> {
    return (await this.#ask("list_approvals", [sessionId])) as readonly Approval[];
  }

  async decideApproval(decision: ApprovalDecision): Promise<JsonObject> {
    const given = checkedOptions(decision, APPROVAL_DECISION);
    const request = objectText([
      ["approval_id", given.approvalId, "invalid_id", "/approval_id"],
      ["granted", given.granted, "invalid_arguments", "/granted"],
      ["approver", given.approver, "invalid_approver", "/approver"],
      ["reason", given.reason, "invalid_reason", "/reason"],
      ["expires_in_seconds", given.expiresInSeconds, "invalid_expiry", "/expires_in_seconds"],
      ["uses", given.uses, "invalid_uses", "/uses"],
    ]);
    return (await this.#ask("decide_approval", [request])) as JsonObject;
  }

  async emit(
    sessionId: string,
    eventType: string,
    payload: JsonObject,
  ): Promise<{ readonly event_id: string; readonly sequence: number }> {
    const given: unknown = payload;
    if (!["object", "string"].includes(typeof given) || given === null || Array.isArray(given)) {
      throw new CraError("invalid_payload", "give an object", { pointer: "/payload" });
    }
    const emitted = await this.#ask("emit", [sessionId, eventType, textOf(payload, "not_canonical", "/payload")]);
    return emitted as { readonly event_id: string; readonly sequence: number };
  }

  async explain(options: {
    readonly sessionId: string;
    readonly resolutionId: string;
  }): Promise<readonly ActionExplanation[]> {
    const { sessionId, resolutionId } = checkedOptions(options, EXPLAIN_OPTIONS);
    return (await this.#ask("explain", [sessionId, resolutionId])) as readonly ActionExplanation[];
  }

  flush(options?: FlushOptions): Promise<void> {
    return this.#parts.traces.flush(options);
  }

  traces(sessionId: string): AsyncIterable<TraceEvent> {
    return this.#parts.traces.traces(sessionId);
  }

  verify(sessionId: string, options?: VerifyOptions): Promise<VerifyResult> {
    return this.#parts.traces.verify(sessionId, options);
  }

  checkpoints(sessionId: string): Promise<readonly string[]> {
    return this.#parts.traces.checkpoints(sessionId);
  }

  publicKey(): Promise<string> {
    return this.#parts.traces.publicKey();
  }

  exportJsonl(sessionId: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.#parts.traces.exportJsonl(sessionId);
  }

  exportStream(sessionId: string): ReadableStream<Uint8Array> {
    return this.#parts.traces.exportStream(sessionId);
  }

  importSession(source: ImportSource): Promise<ImportResult> {
    return this.#parts.traces.importSession(source);
  }

  pin(sessionId: string, pinned?: boolean): Promise<void> {
    return this.#parts.traces.pin(sessionId, pinned);
  }

  sealedSessions(): Promise<readonly SealedSession[]> {
    return this.#parts.traces.sealedSessions();
  }

  sessions(): Promise<readonly SessionHead[]> {
    return this.#parts.traces.sessions();
  }

  async statistics(): Promise<Statistics> {
    const [resolver, traces] = await Promise.all([this.#ask("statistics", []), this.#parts.traces.statistics()]);
    return { resolver: resolver as ResolverStatistics, traces };
  }

  restart(): Promise<void> {
    if (this.#closing !== null) return Promise.reject(new CraError("closed", "this client was closed: make another"));
    this.#restarting ??= this.#restart().finally(() => {
      this.#restarting = null;
    });
    return this.#restarting;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** What the old resolver had not given away is lost; its sessions end with a trace.gap that says so. */
  async #restart(): Promise<void> {
    const { worker, resolver, traces } = this.#parts;
    resolver.fail(new CraError("worker_dead", "the resolver is restarted: load atlases and start sessions anew"));
    await worker.terminate();
    await traces.sourceGone();
    await traces.release({ final: false });
    await this.#start();
  }

  /**
   * The resolver ends first, so that nothing is made behind what is stored then; everything is released even if storing
   * fails, and then the failure is told.
   */
  async #close(): Promise<void> {
    await this.#restarting?.catch(() => undefined);
    let running: number | null = null;
    try {
      if (this.#parts.resolver.failure === null) {
        running = await this.#end();
        await this.#parts.traces.flush();
      }
    } finally {
      this.#executors.clear();
      await this.#release(running);
    }
  }

  /** How many calls may still make events; null where the resolver does not answer. */
  async #end(): Promise<number | null> {
    try {
      return (await this.#parts.resolver.call("end", null, this.#deadlines.callMs)).running;
    } catch (cause) {
      if (!(cause instanceof CraError)) throw cause;
      return null;
    }
  }

  async #release(running: number | null): Promise<void> {
    const { worker, resolver, traces } = this.#parts;
    try {
      await traces.release({ final: running === 0 });
      if (running !== null) await resolver.call("close", null, this.#deadlines.callMs);
    } catch (cause) {
      // Gone or stuck: ending its thread frees what close would have freed.
      if (!(cause instanceof CraError)) throw cause;
    } finally {
      resolver.close();
      await worker.terminate();
    }
  }

  async #register(actionId: string): Promise<void> {
    const params = { action_id: actionId, deadline_ms: this.#deadlines.executeMs };
    await this.#parts.resolver.call("register_executor", params, this.#deadlines.callMs);
  }

  /** Python has SHA-256 itself. */
  async #loadHash(algorithm: HashAlgorithm): Promise<void> {
    if (algorithm === DEFAULT_ALGORITHM) return;
    await this.#parts.resolver.call("load_hash", { algorithm }, this.#deadlines.bootMs);
  }

  async #ask(name: BridgeFunction, args: readonly string[], deadlineMs = this.#deadlines.callMs): Promise<unknown> {
    return parseAnswer(await this.#parts.resolver.call("bridge", { name, args }, deadlineMs));
  }

  /** Serve an execute: the executor's result as JSON text. */
  async #run(actionId: string, parametersJson: string, callJson: string): Promise<string> {
    const executor = this.#executors.get(actionId);
    if (executor === undefined) throw new CraError("executor_failed", `no executor for \`${actionId}\` here`);
    try {
      const result = await executor(JSON.parse(parametersJson) as JsonObject, JSON.parse(callJson) as ExecutorCall);
      return jsonText(result ?? null, "invalid_result");
    } catch (cause) {
      throw CraError.from(cause, "executor_failed");
    }
  }
}

/**
 * JSON text of the timers that were asked for, as the bridge's `configure` reads it. Throws `invalid_heartbeat` or
 * `invalid_session_ttl` for what has no JSON: a NaN would become null, which means never.
 */
function timingOf({ heartbeat, sessionTtl }: CraOptions): string {
  const parts: string[] = [];
  if (heartbeat !== undefined) {
    const { intervalSeconds } = heartbeat;
    parts.push(
      `"heartbeat":${objectText([["interval_seconds", intervalSeconds, "invalid_heartbeat", "/heartbeat/intervalSeconds"]])}`,
    );
  }
  if (sessionTtl !== undefined) {
    const { idleTimeoutSeconds, maxLifetimeSeconds, idleWarningSeconds } = sessionTtl;
    const code = "invalid_session_ttl";
    const members: readonly Member[] = [
      ["idle_timeout_seconds", idleTimeoutSeconds, code, "/sessionTtl/idleTimeoutSeconds"],
      ["max_lifetime_seconds", maxLifetimeSeconds, code, "/sessionTtl/maxLifetimeSeconds"],
      ["idle_warning_seconds", idleWarningSeconds, code, "/sessionTtl/idleWarningSeconds"],
    ];
    parts.push(`"session_ttl":${objectText(members)}`);
  }
  return `{${parts.join(",")}}`;
}

function textOf(value: string | JsonObject, code: string, pointer = ""): string {
  return typeof value === "string" ? value : jsonText(value, code, pointer);
}

/** A view may be a small part of a large buffer, and all of that would cross. */
function copyOf(bytes: Uint8Array | ArrayBuffer): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch {
    throw new CraError("invalid_arguments", "the atlas's bytes were handed over to another: give them anew", { pointer: "" });
  }
}
