/**
 * Segments compressed, and back (PROTOCOL 3.18.9).
 *
 * gzip and not deflate-raw: its CRC tells a damaged segment from a forged line, for 18 bytes in some 40,000.
 */

import { joinBytes } from "./bytes.js";
import { CraError } from "./errors.js";
import type { Segment } from "./store.js";

/** A segment as it is stored: plain without `encoding`. */
export interface StoredSegment extends Segment {
  readonly encoding?: string;
  /** Of the lines, where `bytes` are compressed. */
  readonly plain_bytes?: number;
}

export type Compress = (bytes: Uint8Array<ArrayBuffer>) => Promise<Uint8Array<ArrayBuffer>>;

const ENCODING = "gzip";

/** Compressed at a stretch, in half a millisecond (Node): a drain that comes meanwhile has its turn after that. */
const COMPRESS_AT_ONCE = 64 * 1024;

/** Decompressed at a stretch. No byte of it makes more than 1,032, so that much more than was told is never in memory. */
const DECOMPRESS_AT_ONCE = 16 * 1024;

/** Return what compresses on this platform, or null. */
export function platformCompress(): Compress | null {
  if (typeof CompressionStream !== "function") return null;
  return async (bytes) => {
    const compressed = await pumped(new CompressionStream(ENCODING), bytes, COMPRESS_AT_ONCE, Infinity);
    return joinBytes(compressed);
  };
}

/** Return the bytes of the segment's lines. */
export function plainSize({ encoding, plain_bytes: plainBytes, bytes }: StoredSegment): number {
  return encoding === undefined ? bytes.length : (plainBytes ?? 0);
}

/** Return the segment compressed, or as it is where that is not shorter. */
export async function compressSegment(segment: Segment, compress: Compress): Promise<StoredSegment> {
  const bytes = await compress(segment.bytes);
  return bytes.length < segment.bytes.length ? { ...segment, bytes, encoding: ENCODING, plain_bytes: segment.bytes.length } : segment;
}

/**
 * Return the segment's lines. Rejects with `store_corrupt` where they cannot be had or are not as long as the segment
 * says, and with `compression_unavailable`. Must not be awaited in a transaction, which would end.
 */
export async function plainBytes(segment: StoredSegment): Promise<Uint8Array<ArrayBuffer>> {
  const { encoding, bytes } = segment;
  if (encoding === undefined) return bytes;
  if (encoding !== ENCODING) throw corrupt(segment, `is of the unknown encoding \`${encoding}\``);
  if (typeof DecompressionStream !== "function") {
    throw new CraError("compression_unavailable", "the trace is stored compressed, which this platform cannot read: use a newer one");
  }
  const size = plainSize(segment);
  let parts: readonly Uint8Array[];
  try {
    parts = await pumped(new DecompressionStream(ENCODING), bytes, DECOMPRESS_AT_ONCE, size);
  } catch {
    throw corrupt(segment, "cannot be decompressed");
  }
  const plain = joinBytes(parts);
  if (plain.length !== size) throw corrupt(segment, `does not have the ${size} bytes that it should`);
  return plain;
}

/** Give `bytes` piece by piece and return what comes out, or its beginning as soon as that is longer than `maxBytes`. */
async function pumped(
  { readable, writable }: CompressionStream | DecompressionStream,
  bytes: Uint8Array<ArrayBuffer>,
  atOnce: number,
  maxBytes: number,
): Promise<Uint8Array[]> {
  const feed = async (): Promise<void> => {
    const writer = writable.getWriter();
    for (let at = 0; at < bytes.length; at += atOnce) await writer.write(bytes.subarray(at, at + atOnce));
    await writer.close();
  };
  const fed = feed();
  // What fails there fails the reader, too; a reader that has enough lets it fail.
  fed.catch(() => undefined);
  const reader = readable.getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { value } = await reader.read();
    if (value === undefined) break;
    parts.push(value);
    size += value.length;
    if (size > maxBytes) {
      await reader.cancel();
      return parts;
    }
  }
  await fed;
  return parts;
}

function corrupt({ session_id, first_sequence }: Segment, what: string): CraError {
  const message = `a stored segment of session \`${session_id}\`, from event ${first_sequence} on, ${what}: the database is damaged`;
  return new CraError("store_corrupt", message, { session_id, first_sequence });
}
