/**
 * What may stand in the options of each call. A member that nobody knows is refused, not skipped: a misspelt restriction
 * must not vanish (PROTOCOL 0.1.5). The values that cross to Python are checked there; here is only what Python never sees.
 */

import type {
  ApprovalDecision,
  CraOptions,
  Deadlines,
  ExecuteOptions,
  FlushOptions,
  HeartbeatOptions,
  LoadAtlasOptions,
  ResolveOptions,
  SessionOptions,
  SessionTtlOptions,
  TraceOptions,
  VerifyOptions,
} from "./api.js";
import { CraError, messageOf } from "./errors.js";

/** What timers take: a larger delay is one of 1 ms to them. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A longer text helps nobody to see what is misspelt. */
const SHOWN_NAME_CHARS = 100;

interface Kind {
  readonly holds: (value: unknown) => boolean;
  readonly words: string;
}

const KINDS = {
  any: { holds: () => true, words: "" },
  /** Python tells what is wrong with it; others cannot cross. */
  word: { holds: (value) => value === null || ["string", "number", "boolean"].includes(typeof value), words: "a text" },
  flag: { holds: (value) => typeof value === "boolean", words: "true or false" },
  function: { holds: (value) => typeof value === "function", words: "a function" },
  object: { holds: isObject, words: "an object" },
  text: { holds: (value) => typeof value === "string" && value !== "", words: "a text that is not empty" },
  address: { holds: (value) => typeof value === "string" || value instanceof URL, words: "a text or a URL" },
  durability: { holds: (value) => value === "relaxed" || value === "strict", words: 'one of "relaxed" and "strict"' },
  milliseconds: {
    holds: (value) => typeof value === "number" && value > 0 && value <= MAX_TIMER_MS,
    words: `a number of milliseconds, more than 0 and at most ${MAX_TIMER_MS} (24 days); leave it out for the default`,
  },
} as const satisfies Readonly<Record<string, Kind>>;

type KindName = keyof typeof KINDS;

/** The members of some options: the kind of each, or the members of what stands in it. */
export type Members<T> = { readonly [K in keyof Required<T>]: KindName | Readonly<Record<string, KindName>> };

type Flat<T> = { readonly [K in keyof Required<T>]: KindName };

const DEADLINES: Flat<Deadlines> = {
  bootMs: "milliseconds",
  callMs: "milliseconds",
  executeMs: "milliseconds",
  storeMs: "milliseconds",
};
const HEARTBEAT: Flat<HeartbeatOptions> = { intervalSeconds: "any" };
const SESSION_TTL: Flat<SessionTtlOptions> = { idleTimeoutSeconds: "any", maxLifetimeSeconds: "any", idleWarningSeconds: "any" };

export const TRACE_OPTIONS: Members<TraceOptions> = {
  baseUrl: "address",
  storage: "text",
  databaseName: "text",
  deadlines: DEADLINES,
  retention: "object",
  compress: "flag",
  checkpointEvery: "any",
  witness: { url: "any" },
  askToPersist: "flag",
  onTraceProblem: "function",
};
export const CRA_OPTIONS: Members<CraOptions> = {
  ...TRACE_OPTIONS,
  heartbeat: HEARTBEAT,
  sessionTtl: SESSION_TTL,
  hashAlgorithm: "text",
  onProgress: "function",
};
export const LOAD_ATLAS_OPTIONS: Members<LoadAtlasOptions> = { strict: "flag" };
export const SESSION_OPTIONS: Members<SessionOptions> = {
  agentId: "word",
  goal: "word",
  hashAlgorithm: "text",
  parentSessionId: "text",
};
export const RESOLVE_OPTIONS: Members<ResolveOptions> = {
  sessionId: "word",
  goal: "word",
  riskTier: "word",
  requiredCapabilities: "any",
  contextHints: "any",
  atlasIds: "any",
  context: "any",
  reuse: "any",
};
export const EXECUTE_OPTIONS: Members<ExecuteOptions> = {
  sessionId: "any",
  resolutionId: "any",
  actionId: "any",
  parameters: "any",
  idempotencyKey: "any",
};
export const APPROVAL_DECISION: Members<ApprovalDecision> = {
  approvalId: "any",
  granted: "any",
  approver: "any",
  reason: "any",
  expiresInSeconds: "any",
  uses: "any",
};
export const EXPLAIN_OPTIONS = { sessionId: "word", resolutionId: "word" } as const;
export const FLUSH_OPTIONS: Members<FlushOptions> = { durability: "durability" };
export const VERIFY_OPTIONS: Members<VerifyOptions> = { publicKeys: "any", witness: "any" };

/**
 * Return the members of `given` as they are now, without those that are undefined. Throws `invalid_arguments` with the
 * pointer of the first that is unknown, not of its kind or cannot be read; `pointer` is that of `given`.
 */
export function checkedOptions<T extends object>(given: T, members: Members<T>, pointer = ""): T {
  return checkedMembers(given, members, pointer) as T;
}

function checkedMembers(given: unknown, members: Readonly<Record<string, unknown>>, pointer: string): object {
  if (!isObject(given)) throw invalid(pointer, `give an object with ${namesOf(members)}`);
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(members, name)) continue;
    const message = `there is no \`${name.slice(0, SHOWN_NAME_CHARS)}\`, use ${namesOf(members)}`;
    throw invalid(`${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, message);
  }
  const checked: Record<string, unknown> = {};
  for (const [name, kind] of Object.entries(members) as [string, KindName | Readonly<Record<string, KindName>>][]) {
    const culprit = `${pointer}/${name}`;
    const value = memberOf(given, name, culprit);
    if (value === undefined) continue;
    if (typeof kind !== "string") checked[name] = checkedMembers(value, kind, culprit);
    else if (KINDS[kind].holds(value)) checked[name] = value;
    else throw invalid(culprit, `\`${name}\` is ${KINDS[kind].words}`);
  }
  return checked;
}

function memberOf(given: object, name: string, pointer: string): unknown {
  try {
    return Reflect.get(given, name);
  } catch (cause) {
    throw invalid(pointer, `\`${name}\` cannot be read: ${messageOf(cause)}`);
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function namesOf(members: object): string {
  return Object.keys(members).join(", ");
}

function invalid(pointer: string, message: string): CraError {
  return new CraError("invalid_arguments", message, { pointer });
}
