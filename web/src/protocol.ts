/**
 * Messages between the page, the resolver's worker and the trace worker: types only.
 *
 * Every channel is a MessagePort over which both ends may ask. A request has an `id` and always gets one reply with
 * the same `id`, also when its method is unknown; a note has none and gets none. JSON of the protocols crosses as text.
 */

import type { HashAlgorithm } from "./algorithms.js";
import type { ImportResult, QuarantineNotice, SealedSession, SessionHead, VerifyResult, WorkerStatistics } from "./model.js";
import type { Retention } from "./retention.js";
import type { Durability } from "./store.js";

/** An error as it crosses: the Python error's code, unchanged. */
export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface RequestMessage {
  readonly kind: "request";
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
}

export interface ReplyMessage {
  readonly kind: "reply";
  readonly id: number;
  readonly result?: unknown;
  readonly error?: ErrorBody;
}

export interface NoteMessage {
  readonly kind: "note";
  readonly topic: string;
  readonly body: unknown;
}

export type Message = RequestMessage | ReplyMessage | NoteMessage;

/** One method of a channel: what is sent and what comes back. */
export interface Method {
  readonly params: unknown;
  readonly result: unknown;
}

/** The first and only message on a worker's own port: its channels. */
export interface ConnectMessage {
  readonly kind: "connect";
  /** To the page (client.ts or connect.ts). */
  readonly control: MessagePort;
  /** Between the resolver's side and the trace worker. */
  readonly traces: MessagePort;
  /** Name of a Web Lock that the worker holds as long as it lives. */
  readonly life: string;
}

/** A worker's only message on its own port: it holds its lock. */
export interface AliveMessage {
  readonly kind: "alive";
}

export type StorageKind = "indexeddb" | "file" | "memory";

/** One session's lines inside a batch; offset and length are bytes of `BatchMessage.bytes`. */
export interface BatchGroup {
  readonly session_id: string;
  readonly first_sequence: number;
  readonly count: number;
  readonly offset: number;
  readonly length: number;
  readonly algorithm: string;
}

/** What the bridge drains; `bytes` is transferred, never cloned. `count` 0 means nothing to drain. */
export interface BatchMessage {
  readonly batch_id: number;
  readonly count: number;
  readonly groups: readonly BatchGroup[];
  readonly bytes: Uint8Array;
}

/**
 * How many events the resolver's side has given away by drains, and how many it still has. The sum is how many it has
 * made: by that count a flush tells where it ends. It goes on when a trace worker is replaced; what is delivered again
 * counts once.
 */
export interface DrainProgress {
  readonly drained: number;
  readonly pending: number;
}

/** A batch, and how far the drains have come with it. */
export interface DrainedBatch extends BatchMessage, DrainProgress {}

/** A call of a bridge function that takes positional arguments and returns JSON text. */
export interface BridgeCall {
  readonly name: BridgeFunction;
  readonly args: readonly string[];
}

export type BridgeFunction =
  | "get_atlas"
  | "unload_atlas"
  | "list_atlases"
  | "create_session"
  | "resolve"
  | "resolve_request"
  | "validate"
  | "execute"
  | "list_approvals"
  | "decide_approval"
  | "end_session"
  | "emit"
  | "explain"
  | "statistics";

/** What the resolver's worker answers to the page. */
export interface ResolverMethods {
  /** Load Pyodide from `pyodideUrl`, import the bridge and configure its timers; progress comes as notes. */
  boot: { params: { readonly pyodideUrl: string; readonly timing_json: string }; result: null };
  /** Load the package that Python needs for a hash, if it needs one. Rejects with `hash_unavailable`. */
  load_hash: { params: { readonly algorithm: HashAlgorithm }; result: null };
  /** JSON text, or the bytes of a JSON document or of a package's zip. */
  load_atlas: { params: { readonly source: string | Uint8Array; readonly options_json: string }; result: string };
  bridge: { params: BridgeCall; result: string };
  register_executor: { params: { readonly action_id: string; readonly deadline_ms: number }; result: null };
  unregister_executor: { params: { readonly action_id: string }; result: null };
  /** Serve batches over another port from now on: the trace worker was replaced. */
  connect_traces: { params: { readonly port: MessagePort }; result: null };
  /** Make no more events, but let the last ones be drained. `running` calls may still come to their end and record it. */
  end: { params: null; result: { readonly running: number } };
  close: { params: null; result: null };
}

/** What the page answers to the resolver's worker. */
export interface PageMethods {
  /** Returns the result as JSON text. */
  run_executor: {
    params: { readonly action_id: string; readonly parameters_json: string; readonly call_json: string };
    result: string;
  };
}

/** What the resolver's side answers to the trace worker. */
export interface SourceMethods {
  drain: { params: { readonly max_events: number }; result: DrainedBatch };
  ack: { params: { readonly batch_id: number }; result: boolean };
  redeliver: { params: null; result: readonly BatchMessage[] };
  progress: { params: null; result: DrainProgress };
  /** Calls that wait until they are stored hear that they are not; null means those of every session. */
  refuse: { params: { readonly reason: string; readonly session_ids: readonly string[] | null }; result: null };
  running: { params: null; result: RunningSessions };
}

/** The sessions whose next event comes from here, and how many events of one of them may be not acknowledged. */
export interface RunningSessions {
  readonly session_ids: readonly string[];
  /** Null where nobody can tell. */
  readonly lost_at_most: number | null;
}

/** A piece of a stored session: whole lines. `next` is where to read on, null at the end; only the store knows its meaning. */
export interface StoredChunk {
  readonly bytes: Uint8Array;
  readonly next: number | null;
}

export interface ImportChunk {
  /** A UUID that the page made for this import. */
  readonly import_id: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly last: boolean;
}

/** What the trace worker answers to the page. */
export interface TraceMethods {
  open: {
    params: {
      readonly storage: StorageKind;
      readonly database_name: string;
      readonly owner: string;
      readonly retention: Retention | null;
      readonly checkpoint_every: number;
      /** Address of the witness that is told of checkpoints, or null. */
      readonly witness: string | null;
      readonly compress: boolean;
    };
    result: null;
  };
  /** `until` is how many events had been made at the call (DrainProgress); null where only the source knows. */
  flush: { params: { readonly durability: Durability; readonly until: number | null }; result: null };
  /** Everything that can be drained is stored; does not report quarantined events as flush does. */
  settle: { params: null; result: null };
  /** `position` is 0 at the start, then the last chunk's `next`. */
  read: { params: { readonly session_id: string; readonly position: number }; result: StoredChunk };
  /** `witness` is the address of one that is asked, or null. */
  verify: {
    params: { readonly session_id: string; readonly public_keys: readonly string[]; readonly witness: string | null };
    result: VerifyResult;
  };
  /** Lines of a `.checkpoints.jsonl`, without LF. */
  checkpoints: { params: { readonly session_id: string }; result: readonly string[] };
  public_key: { params: null; result: string };
  sessions: { params: null; result: readonly SessionHead[] };
  sealed: { params: null; result: readonly SealedSession[] };
  /** The next bytes of a trace; `offset` is how many came before. Null until the `last` ones are stored. */
  import_chunk: { params: ImportChunk; result: ImportResult | null };
  import_abort: { params: { readonly import_id: string }; result: null };
  pin: { params: { readonly session_id: string; readonly pinned: boolean }; result: null };
  statistics: { params: null; result: WorkerStatistics };
  /** The resolver died: its port does not tell in browsers, the page does. */
  source_gone: { params: null; result: null };
  /** `final`: the resolver ends too, so that nothing of its sessions can follow. */
  close: { params: { readonly final: boolean }; result: null };
}

/** Notes of the page to the trace worker. */
export interface PageNotes {
  /** The page may go at any time: store what is pending. */
  hidden: null;
  /** The page goes to sleep: hold nothing that would keep it from that. */
  sleep: null;
  awake: null;
}

/** Notes of the resolver's worker to the page. */
export interface BootProgress {
  readonly step: string;
  readonly done: number;
  readonly total: number;
}

export interface ResolverNotes {
  progress: BootProgress;
}

/** Notes of the trace worker to the page. */
export interface TraceNotes {
  problem: { readonly code: string; readonly message: string; readonly notice: QuarantineNotice | null };
}

/** Notes of the resolver's side to the trace worker. */
export interface SourceNotes {
  /** The bridge is there and can be drained. */
  ready: null;
  /** Drain now instead of at the next interval. */
  pressure: null;
  /** As pressure, and store the first `until` events so that they survive a power loss: a call waits for them. */
  durable: { readonly until: number };
}
