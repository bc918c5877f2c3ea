/** What a page gives to be imported, as pieces of one size. */

import type { ImportSource } from "./api.js";
import { joinBytes } from "./bytes.js";
import { CraError } from "./errors.js";

/** Bytes of a piece but the last: large enough to make messages rare, small enough to hold some. */
export const PIECE_BYTES = 1024 * 1024;

/** `offset` is how many bytes came before. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly last: boolean;
}

/**
 * Cut `source` into pieces, of which the last one, which may be empty, says so. A stream is cancelled when nobody takes
 * more. Rejects with what the stream fails of, or `invalid_arguments` when its chunks or the source are no bytes.
 */
export async function* importPieces(source: ImportSource): AsyncGenerator<Piece, void, undefined> {
  let waiting: Uint8Array[] = [];
  let size = 0;
  let offset = 0;
  for await (const chunk of chunksOf(source)) {
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

async function* chunksOf(source: ImportSource): AsyncGenerator<Uint8Array, void, undefined> {
  if (source instanceof Uint8Array) yield source;
  else if (source instanceof ArrayBuffer) yield new Uint8Array(source);
  else yield* chunksOfStream(source instanceof Blob ? source.stream() : source);
}

/** By its reader: not every browser can iterate over a stream. */
async function* chunksOfStream(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  if (!((stream as unknown) instanceof ReadableStream)) throw notBytes();
  const reader = stream.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      if (!((value as unknown) instanceof Uint8Array)) throw notBytes();
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function notBytes(): CraError {
  return new CraError("invalid_arguments", "give a stream of Uint8Arrays, a Blob, a Uint8Array or an ArrayBuffer");
}
