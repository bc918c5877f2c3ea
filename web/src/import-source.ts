/** What a page gives to be imported, as pieces of one size. */

import type { ImportSource } from "./api.js";
import { joinBytes } from "./bytes.js";
import { CraError } from "./errors.js";
import { nextTask } from "./platform.js";

/** Bytes of a piece but the last: large enough to make messages rare, small enough to hold some. */
export const PIECE_BYTES = 1024 * 1024;

/** `offset` is how many bytes came before. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly last: boolean;
}

/** What ends the wait for a stream. */
export interface Patience {
  /** How long a stream may give no byte. */
  readonly silentMs: number;
  /** Aborts with the error that the wait then rejects with. */
  readonly signal: AbortSignal;
}

/**
 * Cut `source` into pieces, of which the last one, which may be empty, says so. A stream is cancelled when nobody takes
 * more, and not waited for then. Rejects with what the stream fails of, `invalid_arguments` when its chunks or the source
 * are no bytes, `deadline_exceeded` when it gives none for too long, or the signal's reason.
 */
export async function* importPieces(source: ImportSource, patience: Patience): AsyncGenerator<Piece, void, undefined> {
  let waiting: Uint8Array[] = [];
  let size = 0;
  let offset = 0;
  for await (const chunk of chunksOf(source, patience)) {
    for (let start = 0; start < chunk.length; ) {
      // A full piece leaves when more is there, so that one is the last.
      if (size === PIECE_BYTES) {
        yield { offset, bytes: joinBytes(waiting), last: false };
        offset += size;
        waiting = [];
        size = 0;
      }
      const part = chunk.subarray(start, start + PIECE_BYTES - size);
      waiting.push(part);
      size += part.length;
      start += part.length;
    }
  }
  yield { offset, bytes: joinBytes(waiting), last: true };
}

async function* chunksOf(source: ImportSource, patience: Patience): AsyncGenerator<Uint8Array, void, undefined> {
  if (source instanceof Uint8Array) yield source;
  else if (source instanceof ArrayBuffer) yield new Uint8Array(source);
  else yield* chunksOfStream(source instanceof Blob ? source.stream() : source, patience);
}

/** By its reader: not every browser can iterate over a stream. */
async function* chunksOfStream(
  stream: ReadableStream<Uint8Array>,
  { silentMs, signal }: Patience,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (!((stream as unknown) instanceof ReadableStream)) throw notBytes();
  if (stream.locked) throw invalid("the stream has a reader already: give one that nobody reads");
  const reader = stream.getReader();
  let silentSince = performance.now();
  try {
    for (;;) {
      const leftMs = silentMs - (performance.now() - silentSince);
      // Empty chunks may come faster than any timer.
      if (leftMs <= 0) throw silent(silentMs);
      const { value, done } = await within(reader.read(), leftMs, silentMs, signal);
      if (done) return;
      if (!((value as unknown) instanceof Uint8Array)) throw notBytes();
      if (value.length === 0) {
        // A stream of nothing must hold up neither this thread nor the import for ever.
        await nextTask();
        continue;
      }
      yield value;
      silentSince = performance.now();
    }
  } finally {
    // Its source may never answer that.
    void reader.cancel().catch(() => undefined);
  }
}

function within<T>(work: Promise<T>, leftMs: number, silentMs: number, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => {
      end();
      reject(signal.reason as CraError);
    };
    const timer = setTimeout(() => {
      end();
      reject(silent(silentMs));
    }, leftMs);
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    };
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    work.finally(end).then(resolve, reject);
  });
}

function silent(silentMs: number): CraError {
  const details = { method: "importSession", deadline_ms: silentMs };
  return new CraError("deadline_exceeded", `the source of the import gave no byte in ${silentMs} ms`, details);
}

function notBytes(): CraError {
  return invalid("give a stream of Uint8Arrays, a Blob, a Uint8Array or an ArrayBuffer");
}

function invalid(message: string): CraError {
  return new CraError("invalid_arguments", message, { pointer: "/source" });
}
