/** What a page, a Node script or a notebook sees of cra-wasm. JS arguments are camelCase, results the protocol's JSON. */

import type {
  ActionExplanation,
  Approval,
  AtlasSummary,
  ExecuteResponse,
  ImportResult,
  JsonObject,
  QuarantineNotice,
  Resolution,
  RiskTier,
  SealedSession,
  SessionEnd,
  SessionEndReason,
  SessionHead,
  Statistics,
  TraceEvent,
  TraceStatistics,
  ValidateResponse,
  VerifyResult,
} from "./model.js";
import type { HashAlgorithm } from "./algorithms.js";
import type { BootProgress, StorageKind } from "./protocol.js";
import type { Retention } from "./retention.js";
import type { Durability } from "./store.js";

/**
 * Milliseconds until a call rejects with `deadline_exceeded`: numbers of more than 0 and at most 2,147,483,647 (24 days),
 * the most that timers take. Infinity and what is larger is refused with `invalid_arguments`: no call may wait for ever.
 */
export interface Deadlines {
  /** Until Pyodide, the wheels and the store are ready; default 120,000. */
  readonly bootMs: number;
  /** Every call without a deadline of its own here; default 15,000. */
  readonly callMs: number;
  /** execute, which waits for an executor (an action may take 300 s); default 330,000. */
  readonly executeMs: number;
  /**
   * flush, traces, verify, exportJsonl and close; of importSession each step, and how long its source may give no byte;
   * default 60,000.
   */
  readonly storeMs: number;
}

/** A trace that could not be stored as it should: a fork, a gap, a store that refuses. */
export interface TraceProblem {
  readonly code: string;
  readonly message: string;
  readonly notice: QuarantineNotice | null;
}

/** A member of options, of this or any call, that is not listed is refused with `invalid_arguments`. */
export interface TraceOptions {
  /** Where the site lies (the folder with lib/ and pyodide/). Default: the parent of the folder of cra-wasm.js. */
  readonly baseUrl?: string | URL;
  /** Default: "indexeddb" in browsers, "file" in Node. "memory" loses everything with the worker. */
  readonly storage?: StorageKind;
  /** Name of the IndexedDB database, or path of the folder for "file". Default "cra-wasm". */
  readonly databaseName?: string;
  readonly deadlines?: Partial<Deadlines>;
  /** Limits beyond which the oldest finished sessions are removed; absent, none ever is. See `Retention`. */
  readonly retention?: Retention;
  /**
   * Compress what is stored in IndexedDB, in the background, to some 0.1 of the lines; default false. Reads give the same
   * bytes, also when it is turned off again. Does nothing where the platform has no CompressionStream, or to another
   * storage, so that one setup serves browsers and Node: `statistics()` tells by `compaction.compression`.
   */
  readonly compress?: boolean;
  /** Events of a session between two signed checkpoints, 1 to 1,000,000,000; default 10,000. Its end is always signed. */
  readonly checkpointEvery?: number;
  /** Where each new checkpoint is sent: the address of a `cra-wasm witness`. The page's policy must let it connect there. */
  readonly witness?: { readonly url: string | URL };
  /** Ask the browser not to delete this origin's data when its disk is full; default true. Some ask the user then. */
  readonly askToPersist?: boolean;
  /** Called for each trace problem as it is found; flush() rejects for the same reason. As to throwing, see onProgress. */
  readonly onTraceProblem?: (problem: TraceProblem) => void;
}

/** How often runtime.heartbeat is recorded. */
export interface HeartbeatOptions {
  /** 1 to 2,592,000; default 30. */
  readonly intervalSeconds?: number;
}

/** When sessions end by themselves, with reason "timeout". Each is 1 to 2,592,000 seconds, or null for never. */
export interface SessionTtlOptions {
  /** From a session's last event to its end; default 1,800. A running executor is no idleness. */
  readonly idleTimeoutSeconds?: number | null;
  /** From a session's start to its end, whatever it does; default 86,400. */
  readonly maxLifetimeSeconds?: number | null;
  /** From a session's last event to a session.idle event, less than the idle timeout; default none. */
  readonly idleWarningSeconds?: number | null;
}

export interface CraOptions extends TraceOptions {
  /** Absent: no heartbeats. The timers run in the resolver's worker, which a hidden tab does not slow down. */
  readonly heartbeat?: HeartbeatOptions;
  /** Absent: sessions end only when they are ended. */
  readonly sessionTtl?: SessionTtlOptions;
  /** The hash of sessions that ask for none; default "sha256". With "blake3" the site must have that package. */
  readonly hashAlgorithm?: HashAlgorithm;
  /**
   * Called at the start (`done` steps before it) and at the end (`done` equals `total`) of each boot step. What a callback
   * throws stops nothing: browsers get it as what a listener throws (`window.onerror`), in Node it is written to stderr.
   */
  readonly onProgress?: (step: BootProgress) => void;
}

/** JSON text or an object; or the bytes of UTF-8 JSON, or of a package's zip. At most 16 MiB. */
export type AtlasSource = string | JsonObject | Uint8Array | ArrayBuffer;

export interface LoadAtlasOptions {
  /** false reads other dialects where that allows nothing more, and tells each in `warnings`. Default true. */
  readonly strict?: boolean;
}

export interface SessionOptions {
  readonly agentId: string;
  readonly goal: string;
  /** The hash of the whole session's trace; default the one of createCra. */
  readonly hashAlgorithm?: HashAlgorithm;
  /** A running session, of any agent, under which this one is started; it ends with it at the latest. */
  readonly parentSessionId?: string;
}

export interface ResolveOptions {
  readonly sessionId: string;
  readonly goal: string;
  readonly riskTier?: RiskTier;
  readonly requiredCapabilities?: readonly string[];
  readonly contextHints?: readonly string[];
  /** Absent means every loaded atlas. */
  readonly atlasIds?: readonly string[];
  readonly context?: JsonObject;
  /** Take the session's latest resolution that was asked for with this and the same options, if it would come out the same. */
  readonly reuse?: boolean;
}

export interface ExecuteOptions {
  readonly sessionId: string;
  readonly resolutionId: string;
  readonly actionId: string;
  readonly parameters: JsonObject;
  readonly idempotencyKey?: string;
}

export interface ApprovalDecision {
  readonly approvalId: string;
  readonly granted: boolean;
  readonly approver: string;
  readonly reason?: string;
  readonly expiresInSeconds?: number;
  readonly uses?: number;
}

/** The call that an executor serves. */
export interface ExecutorCall {
  readonly session_id: string;
  readonly agent_id: string;
  readonly resolution_id: string;
  readonly execution_id: string;
  readonly action_id: string;
}

/** Runs an allowed action. Its result must be JSON (undefined means null), as `Cra` says. Throwing fails the action. */
export type Executor = (parameters: JsonObject, call: ExecutorCall) => Promise<unknown>;

export interface FlushOptions {
  /**
   * "relaxed" (default) survives a killed tab and browser; "strict" a power cut too, for everything stored so far. Files
   * are always strict, and so are the ends of sessions and approvals.
   */
  readonly durability?: Durability;
}

/** What a trace is held against besides its own chain and the checkpoints that are stored with it (PROTOCOL 3.19). */
export interface VerifyOptions {
  /** vkeys, of which one must have signed each checkpoint. */
  readonly publicKeys?: readonly string[];
  /** Address of a witness that is asked what it knows of the session. */
  readonly witness?: string | URL;
}

/** The bytes of a `.trace.jsonl`: a File is a Blob. */
export type ImportSource = ReadableStream<Uint8Array> | Blob | Uint8Array | ArrayBuffer;

/** Reads and settles traces; reads see sessions of earlier page loads too. */
export interface TraceAccess {
  /**
   * Resolves when everything emitted before the call is stored and chained.
   * Rejects with `session_forked` or `traces_quarantined` when events since the last flush could not join their chain.
   */
  flush(options?: FlushOptions): Promise<void>;
  /** The session's events in order. Rejects with `session_not_found`. */
  traces(sessionId: string): AsyncIterable<TraceEvent>;
  /**
   * Check every event and link, by the hash that the first event names, and the session's checkpoints. Rejects with
   * `session_not_found`, with `hash_unavailable` where it cannot be checked, when the store cannot be read, with
   * `checkpoint_malformed` where a public key is none, `checkpoints_not_found` where keys are given and nothing is signed,
   * `witness_failed` where the witness cannot be asked, and `witness_malformed` where it answers something else.
   */
  verify(sessionId: string, options?: VerifyOptions): Promise<VerifyResult>;
  /** The lines of the session's `.checkpoints.jsonl`, without LF. Rejects with `session_not_found`. */
  checkpoints(sessionId: string): Promise<readonly string[]>;
  /** The vkey by which this store signs, to be pinned elsewhere. Rejects with `ed25519_unavailable`, `key_unsafe`. */
  publicKey(): Promise<string>;
  /** The session's `.trace.jsonl`, byte for byte as it is stored. Rejects with `session_not_found`. */
  exportJsonl(sessionId: string): Promise<Uint8Array<ArrayBuffer>>;
  /** The same as a stream of whole lines, in chunks of about 1 MiB: nothing waits in memory. Errors as exportJsonl. */
  exportStream(sessionId: string): ReadableStream<Uint8Array>;
  /**
   * Store the session of another store, once all of it verifies; at most 1,000,000 events and 512 MiB. It stays as it
   * came: one that has not ended gets no further events here. Where all of it is there already nothing is stored, and
   * the result says so. Rejects with `invalid_trace` (details: `error`, `error_at`), `trace_too_large`,
   * `import_conflict` where the session is there with other events or its checkpoint tells of others, `import_interrupted`
   * when the source or the worker fails, `deadline_exceeded` when the source gives no byte for `storeMs`, and `closed` when
   * the client is closed; then nothing is stored (PROTOCOL 3.18.6). A source that is a stream is cancelled, and not waited for.
   */
  importSession(source: ImportSource): Promise<ImportResult>;
  /** Keep a session from being removed by retention, or no longer. Rejects with `session_not_found`, `session_removed`. */
  pin(sessionId: string, pinned?: boolean): Promise<void>;
  /** Where the chains of removed sessions ended, by id. */
  sealedSessions(): Promise<readonly SealedSession[]>;
  /** Every stored session, oldest first. */
  sessions(): Promise<readonly SessionHead[]>;
  /** Store what is pending and release the workers. A second call returns the first one's promise. */
  close(): Promise<void>;
}

/** The answer of connectTraces(). */
export interface TraceConnection extends TraceAccess {
  statistics(): Promise<TraceStatistics>;
}

/**
 * The answer of createCra(). Every call has a deadline and rejects with a CraError.
 *
 * Values that become JSON (parameters, contexts, payloads, results, atlases, requests) are refused where JSON.stringify would
 * change them: NaN and Infinity, BigInt, functions, symbols, cycles, an undefined in an array, and objects that are neither
 * plain nor have toJSON, as a Map. `details.pointer` names the first. Members that are undefined are left out.
 */
export interface Cra extends TraceAccess {
  /** Rejects with `invalid_atlas` and `details.findings`, and then nothing has changed. */
  loadAtlas(atlas: AtlasSource, options?: LoadAtlasOptions): Promise<AtlasSummary>;
  /** A loaded atlas as it was written; that of a package has what stood in its files. */
  getAtlas(atlasId: string): Promise<JsonObject>;
  unloadAtlas(atlasId: string): Promise<void>;
  listAtlases(): Promise<readonly AtlasSummary[]>;
  /** Resolves to the session id. Rejects with `hash_unavailable` when the site lacks the package of the hash. */
  createSession(options: SessionOptions): Promise<string>;
  endSession(sessionId: string, reason?: SessionEndReason): Promise<SessionEnd>;
  resolve(options: ResolveOptions): Promise<Resolution>;
  /** A whole CARPRequest (operations resolve and validate), object or text; the answer's shape follows the operation. */
  resolveRequest(request: string | JsonObject): Promise<JsonObject>;
  /** What a whole CARPRequest of any operation would be answered now, and all that is wrong with it. Has no effect. */
  validate(request: string | JsonObject): Promise<ValidateResponse>;
  /**
   * A call of a high or critical tier starts once what approved it is stored, for power loss too; rejects with
   * `not_durable` where that fails, and then nothing ran.
   */
  execute(options: ExecuteOptions): Promise<ExecuteResponse>;
  /** Replaces the action's executor. It runs on this thread. */
  registerExecutor(actionId: string, executor: Executor): Promise<void>;
  unregisterExecutor(actionId: string): Promise<void>;
  listApprovals(sessionId?: string): Promise<readonly Approval[]>;
  decideApproval(decision: ApprovalDecision): Promise<JsonObject>;
  /** Record a custom event; the protocol's own types are refused with `reserved_event_type`. */
  emit(
    sessionId: string,
    eventType: string,
    payload: JsonObject,
  ): Promise<{ readonly event_id: string; readonly sequence: number }>;
  explain(options: {
    readonly sessionId: string;
    readonly resolutionId: string;
  }): Promise<readonly ActionExplanation[]>;
  statistics(): Promise<Statistics>;
  /**
   * Replace the resolver, which died (`worker_dead`) or is stuck, by a new one. Its running sessions end as interrupted,
   * its pending calls reject with `worker_dead`. Executors stay; atlases must be loaded and sessions started anew. With
   * storage "memory" what was stored goes, too. Rejects as createCra; then it may be tried again.
   */
  restart(): Promise<void>;
}

