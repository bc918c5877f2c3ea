/** The protocols' JSON as it stands (specs/PROTOCOL.md): types only, field names never translated. */

/** A value of JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A JSON object. */
export interface JsonObject {
  readonly [key: string]: Json;
}

export type RiskTier = "low" | "medium" | "high" | "critical";

/** What loading an atlas tells about it. */
/** Something about an atlas; `file` stands where it is a package, and the pointer is into that file then. */
export interface AtlasFinding {
  readonly pointer: string;
  readonly code: string;
  readonly message: string;
  readonly file?: string;
}

export interface AtlasSummary {
  readonly atlas_id: string;
  readonly version: string;
  readonly name: string;
  readonly actions: number;
  readonly policies: number;
  readonly context_blocks: number;
  readonly context_packs: number;
  readonly capabilities: number;
  /** What was read from another dialect. */
  readonly warnings: readonly AtlasFinding[];
}

/** The whole resolution in one word. */
export interface Decision {
  readonly type: "allow" | "deny" | "partial" | "requires_approval";
  readonly reason: string | null;
  readonly approval_id: string | null;
  readonly expires_at: string | null;
}

/** One piece of context for the agent. `content` is foreign text: show it as text. */
export interface ContextBlock {
  readonly block_id: string;
  readonly source: string;
  readonly content_type: "text/markdown" | "text/plain" | "application/json";
  readonly content: string;
  readonly priority: number;
  readonly token_estimate: number;
}

/** One action that may be executed under the resolution. */
export interface AllowedAction {
  readonly action_id: string;
  readonly name: string;
  readonly description: string;
  readonly parameters_schema: Json;
  readonly returns_schema: Json;
  readonly risk_tier: RiskTier;
  readonly requires_confirmation: boolean;
  readonly idempotent: boolean;
  readonly rate_limit?: { readonly max_calls: number; readonly window_seconds: number };
}

/** One action that may not, why, and by which policy. */
export interface DeniedAction {
  readonly action_id: string;
  readonly reason: string;
  readonly policy_id: string;
}

/** A limit that stands over the allowed actions. */
export interface Constraint {
  readonly constraint_id: string;
  readonly type: "rate_limit" | "budget" | "time_window" | "require_approval" | "scope";
  readonly parameters: JsonObject;
}

/** The answer to resolve (PROTOCOL 2). */
export interface Resolution {
  readonly carp_version: string;
  readonly resolution_id: string;
  readonly request_id: string;
  readonly timestamp: string;
  readonly decision: Decision;
  readonly context_blocks: readonly ContextBlock[];
  readonly allowed_actions: readonly AllowedAction[];
  readonly denied_actions: readonly DeniedAction[];
  readonly constraints: readonly Constraint[];
  readonly ttl_seconds: number;
  readonly trace_id: string;
}

/** The answer to execute (PROTOCOL 2). A denial is such an answer, with `error` telling why. */
export interface ExecuteResponse {
  readonly carp_version: string;
  readonly execution_id: string;
  readonly request_id: string;
  readonly resolution_id: string;
  readonly timestamp: string;
  readonly status: "success" | "error" | "denied" | "pending_approval";
  readonly result: Json;
  readonly error: { readonly code: string; readonly message: string; readonly details: JsonObject } | null;
  readonly trace_id: string;
  /** Where the result does not fit the action's returns_schema; only there when it does not. */
  readonly result_findings?: readonly Finding[];
}

/** One reason to refuse a request; `pointer` is the JSON Pointer of the culprit in it. */
export interface Finding {
  readonly pointer: string;
  readonly code: string;
  readonly message: string;
}

/** The answer to operation validate (PROTOCOL 2.10). A request that would be denied is valid. */
export interface ValidateResponse {
  readonly carp_version: string;
  /** Null when the request has none that can be read. */
  readonly request_id: string | null;
  readonly timestamp: string;
  readonly valid: boolean;
  /** At most 100; the first is what the request would be refused for. */
  readonly findings: readonly Finding[];
  readonly findings_total: number;
  /** What a resolve would decide; null with findings, or when an execute was asked about. */
  readonly decision: Decision | null;
  /** What an execute would be answered; null with findings, or without `execution`. */
  readonly would_execute: {
    readonly status: "allowed" | "pending_approval" | "denied" | "answered_before";
    readonly reason: string | null;
    readonly policy_id: string | null;
    readonly approval_id: string | null;
    /** -1 when waiting for a full limit does not help. */
    readonly retry_after_ms: number | null;
  } | null;
}

/** Which policy decided one action of a resolution. */
export interface ActionExplanation {
  readonly action_id: string;
  readonly result: string;
  readonly policy_id: string;
  readonly reason: string | null;
  readonly policy_name: string | null;
  readonly policy_type: string | null;
}

/** How a session went. */
export interface SessionEnd {
  readonly session_id: string;
  readonly reason: string;
  readonly duration_ms: number;
  readonly resolution_count: number;
  readonly action_count: number;
}

export type SessionEndReason = "completed" | "timeout" | "error" | "cancelled";

/** One approval that was asked for, granted or refused; more fields may be present. */
export interface Approval {
  readonly approval_id: string;
  readonly session_id: string;
  readonly action_id: string;
  readonly [key: string]: Json;
}

/** One event of a session's hash chain (PROTOCOL 3). */
export interface TraceEvent {
  readonly trace_version: string;
  readonly event_id: string;
  readonly trace_id: string;
  readonly span_id: string;
  readonly parent_span_id: string | null;
  readonly session_id: string;
  readonly sequence: number;
  readonly timestamp: string;
  readonly event_type: string;
  readonly payload: JsonObject;
  readonly event_hash: string;
  readonly previous_event_hash: string;
}

/** The first thing that is wrong with a chain of events (PROTOCOL 3). */
export type ChainError =
  | "hash_mismatch"
  | "chain_broken"
  | "sequence_gap"
  | "bad_genesis"
  | "bad_field"
  | "duplicate_key";

/** What is wrong with a checkpoint, or with the trace beside it (PROTOCOL 3.19). */
export type CheckpointError =
  | "checkpoint_malformed"
  | "checkpoint_signature_invalid"
  | "checkpoint_key_unpinned"
  | "checkpoint_other_session"
  | "checkpoint_mismatch"
  | "checkpoint_beyond_end";

export type VerifyError = ChainError | CheckpointError;

/**
 * What a verification of a chain found.
 * `error_at` is the 0-based line of the first bad event, `events` how many before it are good, `head` the hash of the
 * last of these. `message` says what the term leaves open, mostly nothing. `algorithm` is the chain's hash, null where
 * the first line tells none that is known. `warnings` is empty or ["truncated"]: no session.ended, so later events may be missing.
 */
export interface ChainResult {
  readonly valid: boolean;
  readonly events: number;
  readonly error: ChainError | null;
  readonly error_at: number | null;
  readonly message: string | null;
  readonly head: string | null;
  readonly algorithm: string | null;
  readonly warnings: readonly string[];
  /** The recipe by which it was verified. TypeScript knows the project's own; Python verifies those of others too. */
  readonly profile: "jcs";
  /** Whether that recipe's hash keeps two different events apart. */
  readonly protects_boundaries: true;
}

/** What holds a trace besides its own chain, weakest first (PROTOCOL 3.19). */
export type Strength = "chain" | "signed" | "signed-pinned" | "witnessed";

/**
 * What a verification of a chain and of its checkpoints found; the same JSON as `cra-wasm verify --json`. With a
 * checkpoint's error `error_at` is null. More warnings are `unwitnessed` (the witness knows nothing of the session) and
 * `checkpoints_unchecked` (this platform has no Ed25519, so signatures could not be checked).
 */
export interface VerifyResult extends Omit<ChainResult, "error"> {
  readonly error: VerifyError | null;
  readonly strength: Strength;
  /** How many checkpoints held. */
  readonly checkpoints: number;
  /** The largest size that one covers; what comes after it is only chained. 0 without any. */
  readonly covered: number;
}

/** Where a stored session's chain stands. */
export interface SessionHead {
  readonly session_id: string;
  readonly next_sequence: number;
  readonly head_hash: string;
  readonly ended: boolean;
  /** The hash that the session's first event named: `sha256` or `blake3`; empty when that event is damaged. */
  readonly algorithm: string;
  /**
   * How many more events there may have been if the session's writer is gone: 0 after a close that stored everything,
   * null where nobody can tell. Means nothing once the session has ended.
   */
  readonly at_risk: number | null;
  /** There, and true, when it came by `importSession`: its writer is elsewhere, and nothing is ever appended to it here. */
  readonly imported?: true;
}

/** What an import did. */
export interface ImportResult {
  readonly session_id: string;
  /** False when all of it was there already, and nothing was stored. */
  readonly imported: boolean;
  readonly events: number;
  readonly head: string;
  readonly algorithm: string;
  /** As of the verification: empty or ["truncated"]. */
  readonly warnings: readonly string[];
}

/** What is left of a session whose events were removed by retention: where its chain ended. */
export interface SealedSession {
  readonly session_id: string;
  readonly events: number;
  readonly head_hash: string;
  readonly algorithm: string;
  /** When it was removed, as milliseconds since 1970. */
  readonly removed_ms: number;
}

/** A session that a writer found without one, and ended (PROTOCOL 3.17). */
export interface RecoveredSession {
  readonly session_id: string;
  /** Of the first event that was appended. */
  readonly first_sequence: number;
  readonly count: number;
  /** As its trace.gap says; 0 where it has none, because nothing can be missing. */
  readonly lost_at_most: number | null;
  /** `interrupted`: found with no writer at a start; `resolver_died`: its resolver's worker ended under this writer. */
  readonly cause: "interrupted" | "resolver_died";
}

/** Events that could not join a session's chain; they are kept in the quarantine store. */
export interface QuarantineNotice {
  readonly session_id: string;
  readonly first_sequence: number;
  readonly count: number;
  /**
   * `session_forked`: another event already holds the sequence; `sequence_gap`: events before it are missing;
   * `algorithm_changed`: the batch names another hash than the session's first event.
   */
  readonly reason: "session_forked" | "sequence_gap" | "bad_batch" | "unknown_algorithm" | "algorithm_changed";
}

/** What was done to make many small segments few larger ones, or compressed ones (PROTOCOL 3.18.5, 3.18.9). */
export interface CompactionStatistics {
  /** `unavailable`: asked for, but this platform has no CompressionStream, or the storage is not IndexedDB. */
  readonly compression: "off" | "on" | "unavailable";
  readonly steps: number;
  readonly segments_joined: number;
  /** Steps that the store refused. They are tried again, and nothing depends on them. */
  readonly failures: number;
  /** Steps given up because another tab had joined or compressed the same segments meanwhile. */
  readonly conflicts: number;
  /** Of the lines that were compressed, and of what is stored of them. */
  readonly plain_bytes: number;
  readonly stored_bytes: number;
}

/** What the trace worker did so far. Counts are of this worker's life. */
export interface TraceStatistics {
  /** `full`: the store has no room; what is drained is kept and tried again until it has. */
  readonly state: "running" | "backing_off" | "full" | "closed";
  readonly store: string;
  readonly batches_stored: number;
  readonly events_stored: number;
  /** Events of a redelivered batch that were already stored, byte for byte. */
  readonly events_skipped: number;
  readonly events_quarantined: number;
  /** The newest 100 at most. */
  readonly quarantined: readonly QuarantineNotice[];
  readonly retries: number;
  readonly last_error: { readonly code: string; readonly message: string } | null;
  /** `waiting` until the resolver is up and what it held is stored; then sessions without a writer are ended. */
  readonly recovery: "waiting" | "done";
  /** The newest 100 at most. */
  readonly recovered: readonly RecoveredSession[];
  /** By retention or for want of room. */
  readonly sessions_removed: number;
  readonly checkpoints: CheckpointStatistics;
  /** Null where no witness is told. */
  readonly witness: WitnessStatistics | null;
  /** Counts are 0 where the store has no segments: files, memory. */
  readonly compaction: CompactionStatistics;
  /** How often a trace worker that died was replaced. */
  readonly restarts: number;
  /** What the browser answered when asked to keep this origin's data: null where nobody was asked, or it has not said. */
  readonly persisted: boolean | null;
}

/** What was signed in this worker's life. */
export interface CheckpointStatistics {
  /** `waiting` until the key was first needed; `unavailable`: no Ed25519 here, traces are only chained. */
  readonly state: "waiting" | "ready" | "unavailable";
  readonly signed: number;
  /** Checkpoints that could not be signed or stored; the next one covers their events. */
  readonly failed: number;
  readonly last_error: { readonly code: string; readonly message: string } | null;
}

/** What a witness was told in this worker's life. */
export interface WitnessStatistics {
  readonly sent: number;
  /** Checkpoints that are not sent yet, the newest of each session. */
  readonly pending: number;
  /** What it did not take because it knows more of the session already. */
  readonly superseded: number;
  /** Tries that failed, and checkpoints that it refused. */
  readonly failed: number;
  readonly last_error: { readonly code: string; readonly message: string } | null;
}

/** The part of the statistics that the trace worker itself knows. */
export type WriterStatistics = Omit<WorkerStatistics, "checkpoints" | "witness" | "compaction" | "recovery" | "recovered" | "sessions_removed">;
export type WorkerStatistics = Omit<TraceStatistics, "restarts" | "persisted">;

/** The resolver's own figures; more fields may be present. `atlases` are the ids of the loaded ones. */
/** How time went for the resolver: what to look at when a tab wakes up (PROTOCOL 3.14). */
export interface ClockStatistics {
  readonly uptime_ms: number;
  /** Steps of the wall clock by more than a second, and suspensions: frozen tabs, sleeping machines. */
  readonly steps: number;
  readonly suspensions: number;
  /** Their sum: what the clocks jumped, and what the runtime slept through. */
  readonly gap_ms: number;
  readonly sessions_timed_out: number;
  readonly heartbeats: number;
  readonly heartbeats_missed: number;
  /** Null where nothing runs by itself. */
  readonly timers: {
    readonly backend: string;
    readonly named: number;
    readonly tracked: number;
    /** Until the next deadline; 0 when one is overdue, null when nothing waits. */
    readonly next_due_ms: number | null;
    readonly fired: number;
    readonly failures: number;
    readonly last_failure: string | null;
    readonly suspensions: number;
  } | null;
}

export interface ResolverStatistics {
  readonly version: string;
  readonly sessions_active: number;
  readonly resolutions_remembered: number;
  readonly atlases: readonly string[];
  /** How full the buffer is, 0 to 1, by weight. At 1 calls are refused. */
  readonly pressure: number;
  /** Counts of events; `capacity` and what ends in `_weight` are events' worth (PROTOCOL 3.7). */
  readonly buffer: {
    readonly capacity: number;
    readonly pending: number;
    readonly pending_weight: number;
    readonly in_flight: number;
    readonly in_flight_weight: number;
    readonly reserved_weight: number;
    readonly batches_in_flight: number;
    readonly pushed: number;
    readonly acknowledged: number;
    readonly refused: number;
    readonly dropped: number;
  };
  readonly clock: ClockStatistics;
  readonly [key: string]: unknown;
}

export interface Statistics {
  readonly resolver: ResolverStatistics;
  readonly traces: TraceStatistics;
}
