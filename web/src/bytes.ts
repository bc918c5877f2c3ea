/** JSONL bytes: joined, and split into lines. */

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

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
