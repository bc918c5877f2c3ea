/**
 * Checkpoints as C2SP signed notes (PROTOCOL 3.19): built, written, and read strictly. What is not this form to the byte
 * is `checkpoint_malformed`.
 */

import { canonicalize } from "./canonical.js";
import { CraError } from "./errors.js";
import { HASH, UUID } from "./formats.js";

/** What a checkpoint says: a session's chain had `size` events, and `head` (lower-case hex) is the hash of the last one. */
export interface CheckpointFacts {
  readonly session_id: string;
  readonly size: number;
  readonly head: string;
  readonly algorithm: string;
  /** The signer's wall clock, `YYYY-MM-DDTHH:MM:SS.mmmZ`. */
  readonly time: string;
}

/** One signature line: whose it says it is, and the bytes after the key's id. */
export interface NoteSignature {
  readonly name: string;
  readonly keyId: string;
  readonly signature: Uint8Array<ArrayBuffer>;
}

/** A note that was read. Nothing of it is verified yet. */
export interface Checkpoint extends CheckpointFacts {
  /** What the signatures are over. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** An Ed25519 public key with its name, as a vkey tells it. */
export interface VerifierKey {
  readonly name: string;
  /** Eight lower-case hex digits. */
  readonly keyId: string;
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

/** A line of a `.checkpoints.jsonl`: the signer's own claim of its key, and the whole note. */
export interface CheckpointEntry {
  readonly key: string;
  readonly note: string;
}

export const MAX_NOTE_BYTES = 4_096;
export const MAX_SIGNATURES = 16;
/** Of a line of a `.checkpoints.jsonl`, and of what a witness takes. */
export const MAX_ENTRY_BYTES = 8_192;

const ORIGIN = "cra-wasm/trace/";
const ED25519 = 1;
const KEY_BYTES = 32;
const KEY_ID_BYTES = 4;
const MAX_VKEY_CHARS = 512;

const SIZE = /^[1-9][0-9]{0,15}$/;
const ALGORITHM = /^[a-z0-9][a-z0-9_-]{0,39}$/;
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/;
const KEY_ID = /^[0-9a-f]{8}$/;
/** As C2SP: not empty, no plus and nothing that Unicode calls White_Space; `\s` means other characters in each language. */
const KEY_NAME = /^[^+\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$/u;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const LONE_SURROGATE = /\p{Surrogate}/u;

const encoder = new TextEncoder();

/** Return the text that is signed. Throws `checkpoint_malformed` where the facts have no such text. */
export function noteText({ session_id, size, head, algorithm, time }: CheckpointFacts): string {
  if (!HASH.test(head)) throw malformed("its head is no hash");
  const text = `${ORIGIN}${session_id}\n${size}\n${toBase64(fromHex(head))}\nalgorithm ${algorithm}\ntime ${time}\n`;
  readText(text.split("\n"));
  return text;
}

/** Return the whole note of a text and one signature over it. */
export function signedNote(text: string, key: VerifierKey, signature: Uint8Array): string {
  const bytes = new Uint8Array([...fromHex(key.keyId), ...signature]);
  return `${text}\n\u2014 ${key.name} ${toBase64(bytes)}\n`;
}

/** Read a whole note. Throws `checkpoint_malformed`. */
export function parseNote(note: string): Checkpoint {
  if (note.length > MAX_NOTE_BYTES || encoder.encode(note).length > MAX_NOTE_BYTES) throw malformed("it is too long");
  if (LONE_SURROGATE.test(note)) throw malformed("it is no text");
  const lines = note.split("\n");
  if (lines.pop() !== "" || lines[5] !== "") throw malformed("a note is five lines, an empty one and signatures");
  const signatures = lines.slice(6);
  if (signatures.length === 0 || signatures.length > MAX_SIGNATURES) throw malformed(`it has ${signatures.length} signatures`);
  const text = `${lines.slice(0, 5).join("\n")}\n`;
  return { ...readText(text.split("\n")), text, signatures: signatures.map(readSignature) };
}

/** Read a line of a `.checkpoints.jsonl`, without its LF; it must be canonical. Throws `checkpoint_malformed`. */
export function parseEntry(line: string): CheckpointEntry {
  if (line.length > MAX_ENTRY_BYTES || encoder.encode(line).length > MAX_ENTRY_BYTES) throw malformed("its line is too long");
  let entry: Readonly<Record<string, unknown>>;
  try {
    const value = JSON.parse(line) as Readonly<Record<string, unknown>> | null;
    if (value === null || canonicalize(value) !== line) throw new RangeError();
    entry = value;
  } catch {
    throw malformed("its line is no canonical JSON");
  }
  const { key, note } = entry;
  const isEntry = typeof key === "string" && typeof note === "string" && Object.keys(entry).length === 2;
  if (!isEntry) throw malformed("its line has `key` and `note`, and nothing else");
  return { key, note };
}

/** Return the line of a `.checkpoints.jsonl`, without its LF. */
export function entryLine({ key, note }: CheckpointEntry): string {
  return canonicalize({ key, note });
}

/** Return the key of a public key under the name that this project gives it. */
export async function verifierKey(publicKey: Uint8Array<ArrayBuffer>): Promise<VerifierKey> {
  const name = `cra-wasm/${toHex(await sha256(publicKey)).slice(0, 16)}`;
  return { name, keyId: await keyIdOf(name, publicKey), publicKey };
}

/** Return the key as text that others can pin. */
export function vkeyText({ name, keyId, publicKey }: VerifierKey): string {
  return `${name}+${keyId}+${toBase64(new Uint8Array([ED25519, ...publicKey]))}`;
}

/** Read a key's text; its name may be any that C2SP allows. Throws `checkpoint_malformed`. */
export async function parseVkey(vkey: string): Promise<VerifierKey> {
  const [name = "", keyId = "", ...rest] = vkey.split("+");
  const fits = vkey.length <= MAX_VKEY_CHARS && !LONE_SURROGATE.test(vkey) && KEY_NAME.test(name) && KEY_ID.test(keyId);
  if (!fits || rest.length === 0) throw malformed("a public key is `name+id+base64`");
  const bytes = fromBase64(rest.join("+"));
  if (bytes.length !== KEY_BYTES + 1 || bytes[0] !== ED25519) throw malformed("its public key is no Ed25519 key");
  const publicKey = bytes.slice(1);
  if ((await keyIdOf(name, publicKey)) !== keyId) throw malformed("its public key's id is not that of its name and key");
  return { name, keyId, publicKey };
}

function readText(lines: readonly string[]): CheckpointFacts {
  const [origin = "", size = "", head = "", algorithm = "", time = "", end] = lines;
  const facts = {
    session_id: without(ORIGIN, origin),
    size: Number(size),
    head: toHex(fromBase64(head)),
    algorithm: without("algorithm ", algorithm),
    time: without("time ", time),
  };
  const fits = {
    origin: UUID.test(facts.session_id),
    size: SIZE.test(size) && Number.isSafeInteger(facts.size),
    head: HASH.test(facts.head),
    algorithm: ALGORITHM.test(facts.algorithm),
    time: isTime(facts.time),
    end: end === "" && lines.length === 6,
  };
  for (const [part, isGood] of Object.entries(fits)) if (!isGood) throw malformed(`its ${part} is none`);
  return facts;
}

function readSignature(line: string): NoteSignature {
  const [dash, name = "", text = "", ...rest] = line.split(" ");
  if (dash !== "\u2014" || !KEY_NAME.test(name) || rest.length > 0) throw malformed("a signature is `\u2014 name base64`");
  const bytes = fromBase64(text);
  if (bytes.length <= KEY_ID_BYTES) throw malformed("a signature is too short");
  return { name, keyId: toHex(bytes.subarray(0, KEY_ID_BYTES)), signature: bytes.slice(KEY_ID_BYTES) };
}

function without(prefix: string, line: string): string {
  return line.startsWith(prefix) ? line.slice(prefix.length) : "";
}

/** Python knows no year 0. */
function isTime(time: string): boolean {
  const ms = TIME.test(time) && !time.startsWith("0000") ? Date.parse(time) : NaN;
  return !Number.isNaN(ms) && new Date(ms).toISOString() === time;
}

async function keyIdOf(name: string, publicKey: Uint8Array): Promise<string> {
  const digest = await sha256(new Uint8Array([...encoder.encode(name), 0x0a, ED25519, ...publicKey]));
  return toHex(digest.subarray(0, KEY_ID_BYTES));
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  // Pages that are not served securely have none.
  const subtle = (crypto as Partial<Crypto>).subtle;
  if (subtle === undefined) throw new CraError("ed25519_unavailable", "checkpoints need a page that is served securely");
  return new Uint8Array(await subtle.digest("SHA-256", bytes));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** Only the one text that these bytes have. */
function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const isWhole = BASE64.test(text) && text.length % 4 === 0;
  const bytes = isWhole ? Uint8Array.from(atob(text), (char) => char.charCodeAt(0)) : new Uint8Array();
  if (bytes.length === 0 || toBase64(bytes) !== text) throw malformed("its base64 is not that of RFC 4648, with padding");
  return bytes;
}

function malformed(why: string): CraError {
  return new CraError("checkpoint_malformed", `this is no checkpoint: ${why}`);
}
