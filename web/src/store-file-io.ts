/** What the files of a store have in common: bytes that are written whole or not at all, and what errors of a disk mean. */

import type * as Fs from "node:fs/promises";

import { CraError } from "./errors.js";

/** Write all of `parts` from `position` on, or nothing: where that fails, the file ends at `position`. Durable when it resolves. */
export async function appendWhole(file: Fs.FileHandle, parts: readonly Uint8Array[], position: number): Promise<number> {
  try {
    let end = position;
    for (const part of parts) end += await writeAll(file, part, end);
    await file.datasync();
    return end;
  } catch (cause) {
    // A part that stayed would hold the room in which a removal makes room. A power cut may bring it back: whole lines
    // then join their chain, a torn one is cut by the next append, so that the cut need not be synced.
    await file.truncate(position).catch(() => undefined);
    throw cause;
  }
}

/** A disk with little room takes a part and says nothing; only the write of the rest says why. */
async function writeAll(file: Fs.FileHandle, bytes: Uint8Array, position: number): Promise<number> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    if (bytesWritten === 0) throw new CraError("store_failed", "the disk takes nothing and does not say why");
    written += bytesWritten;
  }
  return bytes.length;
}

/**
 * Put a small file in its place as a whole, durably; nothing of one that could not be written stays. Of two processes that
 * write it at once the last one's stands.
 */
export async function replaceFile(fs: typeof Fs, path: string, text: string): Promise<void> {
  const part = `${path}.${crypto.randomUUID()}.part`;
  try {
    await writeDurably(fs, part, text);
    await fs.rename(part, path);
  } catch (cause) {
    await fs.rm(part, { force: true }).catch(() => undefined);
    throw cause;
  }
}

export async function writeDurably(fs: typeof Fs, path: string, text: string): Promise<void> {
  const file = await fs.open(path, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Return what a call of the store rejects with. */
export function storeError(cause: unknown): CraError {
  return CraError.from(cause, ["ENOSPC", "EDQUOT"].includes(codeOf(cause) ?? "") ? "store_full" : "store_failed");
}

/** Resolves to null where the file that is asked for has gone, or never was. */
export async function unlessGone<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return null;
    throw cause;
  }
}

/** Tells of each damaged file once. */
export class Damage {
  readonly #tell: (problem: CraError) => void;
  readonly #told = new Set<string>();

  constructor(tell: (problem: CraError) => void) {
    this.#tell = tell;
  }

  /** Resolves to null, and tells, where `look` finds damage: one session's must not keep all others from being listed. */
  async skipped<T>(look: Promise<T>): Promise<T | null> {
    try {
      return await look;
    } catch (cause) {
      if (!(cause instanceof CraError) || cause.code !== "store_corrupt") throw cause;
      if (!this.#told.has(cause.message)) this.#tell(cause);
      this.#told.add(cause.message);
      return null;
    }
  }
}

export function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
}
