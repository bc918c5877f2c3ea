/** Asks a witness what it knows of a session (PROTOCOL 3.19). */

import { parseWitnessed } from "./checkpoint-verify.js";
import type { WitnessedHead } from "./checkpoint-verify.js";
import { CraError, messageOf } from "./errors.js";
import { textWithin } from "./response-text.js";

const DEADLINE_MS = 10_000;

/** Of a witness's answer, as in Python: more than it keeps of a session. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** Return the address as text. Throws `invalid_witness` where it is none of http or https. */
export function checkedWitness(witness: string | URL): string {
  const text = (witness as unknown) instanceof URL || typeof (witness as unknown) === "string" ? String(witness) : "";
  if (/^https?:\/\//i.test(text) && URL.canParse(text)) return text;
  throw new CraError("invalid_witness", "a witness is the http or https address of one", { pointer: "/witness" });
}

/** Rejects with `witness_failed` where it does not answer, and with `witness_malformed` where it does not answer as one. */
export async function askWitness(
  witness: string,
  sessionId: string,
  fetching: typeof fetch = fetch,
): Promise<readonly WitnessedHead[]> {
  const url = `${witness.replace(/\/+$/, "")}/checkpoints?session_id=${sessionId}`;
  let text: string | null;
  try {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const response = await fetching(url, { credentials: "omit", cache: "no-store", signal });
    if (!response.ok) throw new TypeError(`it answered ${response.status}`);
    text = await textWithin(response, MAX_ANSWER_BYTES);
  } catch (cause) {
    throw new CraError("witness_failed", `the witness could not be asked: ${messageOf(cause)}`);
  }
  if (text === null) throw new CraError("witness_failed", "the witness's answer is too long");
  return parseWitnessed(text);
}
