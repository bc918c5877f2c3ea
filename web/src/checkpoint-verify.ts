/** Checkpoints against the chain that they are of (PROTOCOL 3.19). Reads what others wrote and trusts nothing. */

import { parseEntry, parseNote, parseVkey } from "./checkpoint.js";
import type { Checkpoint, CheckpointEntry, VerifierKey } from "./checkpoint.js";
import { isSignedBy } from "./checkpoint-keys.js";
import { checkedOptions } from "./checked-options.js";
import type { Members } from "./checked-options.js";
import { CraError } from "./errors.js";
import { HASH, UUID } from "./formats.js";
import type { ChainResult, CheckpointError, Strength, VerifyResult } from "./model.js";
import { ChainWatch, verifyTrace } from "./verify.js";

/** One size and head that a witness told. */
export interface WitnessedHead {
  readonly session_id: string;
  readonly size: number;
  readonly head: string;
  /** Null where it told none. */
  readonly algorithm: string | null;
}

export interface CheckpointOptions {
  /** Lines of a `.checkpoints.jsonl`, without LF. */
  readonly lines: readonly string[];
  /** vkeys of which one must have signed each; empty: the key that came with it. */
  readonly publicKeys?: readonly string[];
  /** What a witness told, of any sessions; null: none was asked. */
  readonly witnessed?: readonly WitnessedHead[] | null;
}

const CHECKPOINT_OPTIONS: Members<CheckpointOptions> = { lines: "any", publicKeys: "any", witnessed: "any" };

interface Held {
  readonly checkpoints: readonly Checkpoint[];
  readonly error: CraError | null;
  /** False where the platform has no Ed25519. */
  readonly checked: boolean;
}

/**
 * Verify a trace as `verifyTrace` does, and what checkpoints and a witness tell of it. The chain's own fault comes first.
 * Rejects as `verifyTrace`; with `checkpoint_malformed` where one of `publicKeys` is none; where keys are given with
 * `checkpoints_not_found` if there is no checkpoint, and with `ed25519_unavailable` if none can be checked here; with
 * `invalid_arguments` where the options have another member, or one of another form.
 */
export async function verifyWithCheckpoints(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: CheckpointOptions,
): Promise<VerifyResult> {
  const { lines, publicKeys = [], witnessed = null } = checkedOptions(options, CHECKPOINT_OPTIONS);
  checkList(lines, "/lines", "a list of texts", "invalid_arguments", isText);
  checkedPublicKeys(publicKeys);
  if (witnessed !== null) checkList(witnessed, "/witnessed", "a list of what parseWitnessed reads", "invalid_arguments", isHead);
  const held = await readCheckpoints(lines, publicKeys, witnessed !== null);
  const watch = new ChainWatch([...held.checkpoints, ...(witnessed ?? [])].map(({ size }) => size));
  const chain = await verifyTrace(chunks, watch);
  const told = (witnessed ?? []).filter(({ session_id }) => session_id === watch.sessionId);
  if (!chain.valid) return { ...chain, strength: "chain", checkpoints: 0, covered: 0 };
  const fault = held.error ?? firstFault([...held.checkpoints, ...told], chain, watch);
  if (fault !== null) {
    const error = fault.code as CheckpointError;
    return { ...chain, valid: false, error, message: fault.message, warnings: [], strength: "chain", checkpoints: 0, covered: 0 };
  }
  const warnings = [...chain.warnings];
  if (!held.checked) warnings.push("checkpoints_unchecked");
  if (witnessed !== null && told.length === 0) warnings.push("unwitnessed");
  const checkpoints = held.checkpoints.length;
  const covered = Math.max(0, ...[...held.checkpoints, ...told].map(({ size }) => size));
  return { ...chain, warnings, strength: strengthOf(checkpoints, publicKeys.length > 0, told.length), checkpoints, covered };
}

/** Return `publicKeys` when they are a list of texts. Throws `checkpoint_malformed`; what the texts tell is not looked at. */
export function checkedPublicKeys(publicKeys: readonly string[]): readonly string[] {
  checkList(publicKeys, "/publicKeys", "a list of vkeys, `name+id+base64`", "checkpoint_malformed", isText);
  return publicKeys;
}

function checkList(value: unknown, pointer: string, words: string, code: string, isOne: (each: unknown) => boolean): void {
  if (!Array.isArray(value)) throw new CraError(code, `\`${pointer.slice(1)}\` is ${words}`, { pointer });
  // Holes are found, too.
  const wrong = value.findIndex((each: unknown) => !isOne(each));
  if (wrong !== -1) throw new CraError(code, `\`${pointer.slice(1)}\` is ${words}`, { pointer: `${pointer}/${wrong}` });
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isHead(value: unknown): boolean {
  return readHead(value) !== null;
}

function strengthOf(checkpoints: number, isPinned: boolean, witnessed: number): Strength {
  if (witnessed > 0) return "witnessed";
  if (checkpoints === 0) return "chain";
  return isPinned ? "signed-pinned" : "signed";
}

/** Lines of a witness's answer, of all sessions. */
const MAX_WITNESSED = 100_000;

/** Read a witness's answer, one JSON object a line. Throws `witness_malformed` where it is anything else. */
export function parseWitnessed(ndjson: string): readonly WitnessedHead[] {
  if (!isText(ndjson)) throw new CraError("invalid_arguments", "give the witness's answer as text", { pointer: "" });
  const lines = ndjson.split("\n").filter((line) => line !== "");
  if (lines.length > MAX_WITNESSED) throw new CraError("witness_malformed", `a witness tells at most ${MAX_WITNESSED} checkpoints`);
  return lines.map((line, number) => {
    try {
      const told = readHead(JSON.parse(line));
      if (told !== null) return told;
    } catch {
      // Told below.
    }
    const message = `line ${number + 1} of the witness's answer tells no size and head: ask it again`;
    throw new CraError("witness_malformed", message, { pointer: `/${number}` });
  });
}

/** Null where it is none. */
function readHead(value: unknown): WitnessedHead | null {
  const { session_id, size, head, algorithm = null } = Object(value) as Readonly<Record<string, unknown>>;
  if (typeof session_id !== "string" || typeof head !== "string" || typeof size !== "number") return null;
  if (algorithm !== null && typeof algorithm !== "string") return null;
  const isGood = UUID.test(session_id) && HASH.test(head) && Number.isSafeInteger(size) && size >= 1;
  return isGood ? { session_id, size, head, algorithm } : null;
}

/** `isAsked`: it is an error, and not only a warning, where the platform cannot check them. */
async function readCheckpoints(lines: readonly string[], publicKeys: readonly string[], isAsked: boolean): Promise<Held> {
  const checkpoints: Checkpoint[] = [];
  try {
    const pinned = await readPinned(publicKeys, lines.length);
    for (const line of lines) {
      try {
        checkpoints.push(await readCheckpoint(parseEntry(line), pinned));
      } catch (cause) {
        if (!(cause instanceof CraError) || cause.code === "ed25519_unavailable") throw cause;
        return { checkpoints, error: cause, checked: true };
      }
    }
  } catch (cause) {
    if (!(cause instanceof CraError) || cause.code !== "ed25519_unavailable" || isAsked || publicKeys.length > 0) throw cause;
    return { checkpoints: [], error: null, checked: false };
  }
  return { checkpoints, error: null, checked: true };
}

/** A pin without a checkpoint is an error: else it would be undone by taking the checkpoints away. */
async function readPinned(publicKeys: readonly string[], checkpoints: number): Promise<readonly VerifierKey[] | null> {
  if (publicKeys.length === 0) return null;
  const pinned = await Promise.all(publicKeys.map(parseVkey));
  if (checkpoints > 0) return pinned;
  throw new CraError("checkpoints_not_found", "there is no checkpoint for the key: ask the writer for them");
}

/** Throws the checkpoint's error. */
async function readCheckpoint({ key, note }: CheckpointEntry, pinned: readonly VerifierKey[] | null): Promise<Checkpoint> {
  const claimed = await parseVkey(key);
  const checkpoint = parseNote(note);
  const results = await Promise.all((pinned ?? [claimed]).map((each) => isSignedBy(checkpoint, each)));
  if (results.includes(true)) return checkpoint;
  if (pinned !== null && !results.includes(false)) {
    throw new CraError("checkpoint_key_unpinned", `the checkpoint at ${checkpoint.size} is signed by no given key`);
  }
  throw new CraError("checkpoint_signature_invalid", `the checkpoint at ${checkpoint.size} is not signed by its key`);
}

function firstFault(all: readonly WitnessedHead[], chain: ChainResult, watch: ChainWatch): CraError | null {
  for (const told of all) {
    const fault = faultOf(told, chain, watch);
    if (fault !== null) return fault;
  }
  return null;
}

function faultOf(
  told: WitnessedHead,
  { events, algorithm }: ChainResult,
  watch: ChainWatch,
): CraError | null {
  const { session_id: sessionId, size } = told;
  if (sessionId !== watch.sessionId) {
    return new CraError("checkpoint_other_session", `the checkpoint at ${size} is of session \`${sessionId}\``);
  }
  if (size > events) {
    return new CraError("checkpoint_beyond_end", `a checkpoint tells of ${size} events, the trace has ${events}: it was cut`);
  }
  if (told.head !== watch.head(size) || (told.algorithm ?? algorithm) !== algorithm) {
    return new CraError("checkpoint_mismatch", `the checkpoint at ${size} is of another chain`);
  }
  return null;
}
