/** Ed25519 by WebCrypto, for checkpoints. Where the platform has none, `ed25519_unavailable`. */

import type { Checkpoint, CheckpointFacts, VerifierKey } from "./checkpoint.js";
import { noteText, signedNote, verifierKey } from "./checkpoint.js";
import { CraError, messageOf } from "./errors.js";

const NAME = "Ed25519";
const SIGNATURE_BYTES = 64;
const encoder = new TextEncoder();

/** Make a key pair. `extractable` lets the private key be written to a file. */
export async function generateKeys(extractable = false): Promise<CryptoKeyPair> {
  return await withEd25519((subtle) => subtle.generateKey(NAME, extractable, ["sign", "verify"]));
}

/** Take a private key as PKCS#8 and its raw public key; what comes back cannot be exported. */
export async function importKeys(
  pkcs8: Uint8Array<ArrayBuffer>,
  publicKey: Uint8Array<ArrayBuffer>,
): Promise<CryptoKeyPair> {
  return await withEd25519(async (subtle) => ({
    privateKey: await subtle.importKey("pkcs8", pkcs8, NAME, false, ["sign"]),
    publicKey: await subtle.importKey("raw", publicKey, NAME, true, ["verify"]),
  }));
}

/** Return the pair's public key under its name. */
export async function publicKeyOf({ publicKey }: CryptoKeyPair): Promise<VerifierKey> {
  return await withEd25519(async (subtle) => await verifierKey(new Uint8Array(await subtle.exportKey("raw", publicKey))));
}

/** Return the whole note of what is signed by this pair. */
export async function signCheckpoint(keys: CryptoKeyPair, key: VerifierKey, facts: CheckpointFacts): Promise<string> {
  const text = noteText(facts);
  const signature = await withEd25519((subtle) => subtle.sign(NAME, keys.privateKey, encoder.encode(text)));
  return signedNote(text, key, new Uint8Array(signature));
}

/** Tell whether the note is signed by this key: null where it has no line of it. */
export async function isSignedBy(checkpoint: Checkpoint, { name, keyId, publicKey }: VerifierKey): Promise<boolean | null> {
  const lines = checkpoint.signatures.filter((line) => line.name === name && line.keyId === keyId);
  if (lines.length === 0) return null;
  const signed = encoder.encode(checkpoint.text);
  return await withEd25519(async (subtle) => {
    let key: CryptoKey;
    try {
      key = await subtle.importKey("raw", publicKey, NAME, true, ["verify"]);
    } catch (cause) {
      // Bytes that are no point of the curve; without Ed25519 at all nobody can tell.
      if (isUnsupported(cause)) throw cause;
      return false;
    }
    for (const { signature } of lines) {
      if (signature.length === SIGNATURE_BYTES && (await subtle.verify(NAME, key, signature, signed))) return true;
    }
    return false;
  });
}

async function withEd25519<T>(work: (subtle: SubtleCrypto) => Promise<T>): Promise<T> {
  // Pages that are not served securely have none.
  const subtle = (crypto as Partial<Crypto>).subtle;
  if (subtle === undefined) throw unavailable("this page is not served securely");
  try {
    return await work(subtle);
  } catch (cause) {
    throw isUnsupported(cause) ? unavailable(messageOf(cause)) : cause;
  }
}

function isUnsupported(cause: unknown): boolean {
  return cause instanceof Error && cause.name === "NotSupportedError";
}

function unavailable(why: string): CraError {
  return new CraError("ed25519_unavailable", `checkpoints need Ed25519 of WebCrypto, use a newer browser: ${why}`);
}
