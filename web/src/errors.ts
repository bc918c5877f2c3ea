import type { ErrorBody } from "./protocol.js";

/**
 * The one error of this package. `code` is stable and the same as in Python (specs/PROTOCOL.md);
 * `message` is for people and may change; `details` are JSON values, often with the `pointer` of the culprit.
 *
 * Codes that only this side raises: `deadline_exceeded`, `worker_dead`, `worker_failed`, `closed`, `boot_failed`,
 * `unknown_method`, `unknown_storage`, `session_forked`, `traces_quarantined`, `store_failed`, `store_full`,
 * `store_blocked`, `store_lost`, `session_removed`, `invalid_retention`, `store_closed`, `store_corrupt`, `executor_failed`, `invalid_id`,
 * `ed25519_unavailable`, `key_unsafe`, `invalid_checkpoint_every`, `invalid_witness`, `witness_refused`,
 * `import_conflict`, `import_interrupted`, `compression_unavailable`.
 */
export class CraError extends Error {
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.name = "CraError";
    this.code = code;
    this.details = details;
  }

  /** The form in which errors cross between threads. */
  toBody(): ErrorBody {
    return { code: this.code, message: this.message, details: this.details };
  }

  /** Rebuild an error from the other side's body. */
  static fromBody(body: ErrorBody): CraError {
    return new CraError(body.code, body.message, body.details);
  }

  /** Return `cause` itself when it already is a CraError with a code, else wrap it under `code`. */
  static from(cause: unknown, code: string): CraError {
    if (cause instanceof CraError && typeof (cause.code as unknown) === "string") return cause;
    const name = cause instanceof Error ? cause.name : typeof cause;
    return new CraError(code, messageOf(cause), { cause: name });
  }
}

/** Return the message of anything that was thrown, cut to a length that a log can carry. */
export function messageOf(cause: unknown): string {
  const text = textOf(cause);
  // Pyodide's tracebacks can quote a one-megabyte source line.
  return text.length > MAX_MESSAGE_CHARS ? `${text.slice(0, MAX_MESSAGE_CHARS)}...` : text;
}

/** Not everything that is thrown has a text: a symbol as a message, an object without a prototype. */
function textOf(cause: unknown): string {
  try {
    return String(cause instanceof Error ? cause.message : cause);
  } catch {
    return "something without a text was thrown";
  }
}

const MAX_MESSAGE_CHARS = 4_000;
