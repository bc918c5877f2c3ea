/** Text as UTF-8; JSONL bytes: joined, and split into lines. */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What an encoder's memory begins with. */
const START_BYTES = 65_536;

/** How much text is encoded at once: each call of encodeInto costs as much as 1,000 characters. */
const CHUNK_LENGTH = 16_384;

/** Memory that grew beyond this is given up by the next call. */
const MAX_KEPT_BYTES = 4_194_304;

/** The most that a UTF-16 code unit takes in UTF-8. */
const BYTES_PER_UNIT = 3;

/** Encodes into memory that is used again: a new array for each text costs more than all else about it. */
export class Utf8Encoder {
  #memory = new Uint8Array(START_BYTES);
  #length = 0;

  /** Return the texts behind each other, valid until the next call. */
  encode(texts: readonly string[]): Uint8Array<ArrayBuffer> {
    if (this.#memory.length > MAX_KEPT_BYTES) this.#memory = new Uint8Array(START_BYTES);
    this.#length = 0;
    let chunk = "";
    for (const text of texts) {
      chunk += text;
      if (chunk.length < CHUNK_LENGTH) continue;
      this.#add(chunk);
      chunk = "";
    }
    this.#add(chunk);
    return this.#memory.subarray(0, this.#length);
  }

  #add(text: string): void {
    const most = this.#length + text.length * BYTES_PER_UNIT;
    if (most > this.#memory.length) {
      const larger = new Uint8Array(Math.max(most, 2 * this.#memory.length));
      larger.set(this.#memory.subarray(0, this.#length));
      this.#memory = larger;
    }
    this.#length += encoder.encodeInto(text, this.#memory.subarray(this.#length)).written;
  }
}

/** Return one array of its own buffer with the parts' bytes; the result may be transferred. */
export function joinBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Return what follows the first `count` lines, each ended by LF. */
export function bytesBehindLines(bytes: Uint8Array, count: number): Uint8Array {
  let start = 0;
  for (let line = 0; line < count; line += 1) start = bytes.indexOf(10, start) + 1;
  return bytes.subarray(start);
}

/** Return the lines, each ended by LF in `bytes`, without it. Throws a TypeError where `bytes` are no UTF-8. */
export function splitLines(bytes: Uint8Array): string[] {
  return decoder.decode(bytes).split("\n").slice(0, -1);
}
