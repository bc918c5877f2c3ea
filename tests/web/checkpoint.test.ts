import assert from "node:assert/strict";
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { describe, test } from "node:test";

import { entryLine, parseEntry, parseNote, parseVkey, vkeyText } from "../../web/src/checkpoint.js";
import type { CheckpointFacts } from "../../web/src/checkpoint.js";
import { generateKeys, isSignedBy, publicKeyOf, signCheckpoint } from "../../web/src/checkpoint-keys.js";
import { parseWitnessed, verifyWithCheckpoints } from "../../web/src/checkpoint-verify.js";
import type { CheckpointOptions } from "../../web/src/checkpoint-verify.js";
import { CraError } from "../../web/src/errors.js";
import type { VerifyResult } from "../../web/src/model.js";
import { chainLines, jsonl, rawEvents, SESSION_A, SESSION_B } from "./events.js";

const LINES = await chainLines(rawEvents(0, 4));

function headAt(size: number): string {
  return (JSON.parse(LINES[size - 1] ?? "") as { readonly event_hash: string }).event_hash;
}

function factsAt(size: number, members: Partial<CheckpointFacts> = {}): CheckpointFacts {
  return { session_id: SESSION_A, size, head: headAt(size), algorithm: "sha256", time: "2026-01-02T03:04:05.006Z", ...members };
}

async function signer(): Promise<{ vkey: string; line: (facts: CheckpointFacts) => Promise<string>; note: (facts: CheckpointFacts) => Promise<string> }> {
  const keys = await generateKeys();
  const key = await publicKeyOf(keys);
  const note = (facts: CheckpointFacts): Promise<string> => signCheckpoint(keys, key, facts);
  return { vkey: vkeyText(key), note, line: async (facts) => entryLine({ key: vkeyText(key), note: await note(facts) }) };
}

const ALICE = await signer();
const MALLORY = await signer();

function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CraError && error.code === code;
}

function verified(options: CheckpointOptions, lines: readonly string[] = LINES): Promise<VerifyResult> {
  return verifyWithCheckpoints([jsonl(lines)], options);
}

interface Vectors {
  readonly key: string;
  readonly facts: Omit<CheckpointFacts, "time">;
  readonly notes: readonly { readonly name: string; readonly note: string; readonly error: string | null }[];
  readonly bad_keys: readonly string[];
}

/** The same file is read by the Python side. */
const VECTORS = JSON.parse(await readFile(resolve("../specs/vectors/checkpoints.json"), "utf8")) as Vectors;

// PROTOCOL 3.19.1, 3.19.2, 3.19.3
void describe("a note of the specification", async () => {
  const key = await parseVkey(VECTORS.key);
  for (const { name, note, error } of VECTORS.notes) {
    test(`with ${name} is ${error ?? "read, and signed by its key"}`, async () => {
      if (error === "checkpoint_malformed") {
        assert.throws(() => parseNote(note), withCode(error));
        return;
      }
      assert.equal((await isSignedBy(parseNote(note), key)) === true, error === null);
    });
  }
  test("says what was signed", () => {
    const { session_id, size, head, algorithm } = parseNote(VECTORS.notes[0]?.note ?? "");
    assert.deepEqual({ session_id, size, head, algorithm }, VECTORS.facts);
  });
  for (const bad of VECTORS.bad_keys) {
    test(`has no key \`${JSON.stringify(bad).slice(0, 60)}\``, async () => {
      await assert.rejects(parseVkey(bad), withCode("checkpoint_malformed"));
    });
  }
});

void describe("a note", async () => {
  const note = await ALICE.note(factsAt(3));
  const text = note.slice(0, note.indexOf("\n\n") + 1);
  const signature = note.slice(note.indexOf("\n\n") + 2);
  const bad: Readonly<Record<string, string>> = {
    "is empty": "",
    "has no signature": `${text}\n`,
    "has no empty line": `${text}${signature}`,
    "lacks its last LF": note.slice(0, -1),
    "has carriage returns": note.replaceAll("\n", "\r\n"),
    "has another origin": note.replace("cra-wasm/trace/", "cra-wasm/other/"),
    "names no session": note.replace(SESSION_A, SESSION_A.toUpperCase()),
    "has the size 0": note.replace("\n3\n", "\n0\n"),
    "has a leading zero": note.replace("\n3\n", "\n03\n"),
    "has a size beyond 2^53-1": note.replace("\n3\n", "\n9007199254740992\n"),
    "has a short head": note.replace(/\n3\n[^\n]*/, "\n3\nAAAA"),
    "has base64 with stray bits": note.replace(/\n3\n[^\n]*/, `\n3\n${"A".repeat(42)}B=`),
    "has base64 without padding": note.replace("=\nalgorithm", "\nalgorithm"),
    "has no algorithm": note.replace("algorithm sha256", "algorithm "),
    "has a time that never was": note.replace("2026-01-02", "2026-02-30"),
    "has microseconds": note.replace("05.006Z", "05.006000Z"),
    "has one more line": note.replace("\n\n", "\nmore\n\n"),
    "has its lines in another order": note.replace(/(algorithm .*\n)(time .*\n)/, "$2$1"),
    "has a signature with a hyphen": note.replace("\u2014", "-"),
    "has a signature of four bytes": `${text}\n\u2014 name AAAAAA==\n`,
    "has a name with a plus": note.replace("\u2014 cra-wasm/", "\u2014 cra+wasm/"),
    "has 17 signatures": `${text}\n${signature.repeat(17)}`,
    "is longer than 4,096 bytes": `${text}\n${signature}\u2014 ${"n".repeat(4_000)} AAAAAAA=\n`,
    "has a lone surrogate": `${text}\n${signature}\u2014 \ud800 AAAAAAA=\n`,
  };
  for (const [what, broken] of Object.entries(bad)) {
    test(`that ${what} is malformed`, () => {
      assert.notEqual(broken, note);
      assert.throws(() => parseNote(broken), withCode("checkpoint_malformed"));
    });
  }

  test("gives back what was signed", () => {
    const { session_id, size, head, algorithm, time } = parseNote(note);
    assert.deepEqual({ session_id, size, head, algorithm, time }, factsAt(3));
  });

  for (const facts of [factsAt(3, { head: "00" }), factsAt(3, { size: 1.5 }), factsAt(3, { session_id: "x" }), factsAt(3, { time: "now" })]) {
    test(`is not written of ${JSON.stringify(facts)}`, async () => {
      await assert.rejects(ALICE.note(facts), withCode("checkpoint_malformed"));
    });
  }

  test("and its key are what others make of the same bytes", async () => {
    const seed = Buffer.alloc(32, 7);
    const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
    const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const raw = Buffer.from(String(createPublicKey(privateKey).export({ format: "jwk" })["x"]), "base64url");
    const name = `cra-wasm/${createHash("sha256").update(raw).digest("hex").slice(0, 16)}`;
    const id = createHash("sha256").update(`${name}\n\u0001`).update(raw).digest().subarray(0, 4);
    const vkey = `${name}+${id.toString("hex")}+${Buffer.from([1, ...raw]).toString("base64")}`;
    const body = `cra-wasm/trace/${SESSION_A}\n3\n${Buffer.from(headAt(3), "hex").toString("base64")}\nalgorithm sha256\ntime 2026-01-02T03:04:05.006Z\n`;
    const signed = Buffer.concat([id, sign(null, Buffer.from(body), privateKey)]).toString("base64");
    const line = entryLine({ key: vkey, note: `${body}\n\u2014 ${name} ${signed}\n` });
    assert.equal(vkeyText(await parseVkey(vkey)), vkey);
    assert.equal((await verified({ lines: [line] })).strength, "signed");
  });
});

void describe("a public key", () => {
  const [name = "", id = ""] = ALICE.vkey.split("+");
  for (const bad of ["", "name", `${name}+${id}`, ALICE.vkey.replace(id, "00000000"), ALICE.vkey.replace(id, id.toUpperCase() + "0"), `a b${ALICE.vkey}`, `x${ALICE.vkey}`, `${name}+${id}+AQ==`, `${ALICE.vkey}=`, `${"n".repeat(600)}+${id}+AQ==`]) {
    test(`is not \`${bad.slice(0, 60)}\``, async () => {
      await assert.rejects(parseVkey(bad), withCode("checkpoint_malformed"));
    });
  }
});

void describe("a line of a checkpoints file", () => {
  const good = { key: "k", note: "n" };
  for (const bad of ["", "{", "[]", "null", '{"key":"k"}', '{"key":1,"note":"n"}', '{"note":"n","key":"k"}', '{"key":"k", "note":"n"}', '{"key":"k","key":"k","note":"n"}', '{"key":"k","more":1,"note":"n"}', entryLine({ key: "k", note: "n".repeat(8_192) })]) {
    test(`is not \`${bad.slice(0, 40)}\``, () => {
      assert.throws(() => parseEntry(bad), withCode("checkpoint_malformed"));
    });
  }
  test("comes back as it was written", () => {
    assert.deepEqual(parseEntry(entryLine(good)), good);
  });
});

void describe("a verification with checkpoints", async () => {
  const [one, three] = [await ALICE.line(factsAt(1)), await ALICE.line(factsAt(3))];
  const bad: Readonly<Record<string, { readonly error: string; readonly options: CheckpointOptions; readonly lines?: readonly string[] }>> = {
    "refuses a line that is none": { error: "checkpoint_malformed", options: { lines: [one, "{}"] } },
    "refuses another's key in the line": { error: "checkpoint_signature_invalid", options: { lines: [entryLine({ key: MALLORY.vkey, note: parseEntry(one).note })] } },
    "refuses a changed text": { error: "checkpoint_signature_invalid", options: { lines: [entryLine({ key: ALICE.vkey, note: parseEntry(one).note.replace("\n1\n", "\n2\n") })] } },
    "refuses a changed text of a pinned key": { error: "checkpoint_signature_invalid", options: { publicKeys: [MALLORY.vkey, ALICE.vkey], lines: [entryLine({ key: ALICE.vkey, note: parseEntry(one).note.replace("\n1\n", "\n2\n") })] } },
    "refuses a key that is not pinned": { error: "checkpoint_key_unpinned", options: { lines: [one], publicKeys: [MALLORY.vkey] } },
    "refuses another session's": { error: "checkpoint_other_session", options: { lines: [await ALICE.line(factsAt(1, { session_id: SESSION_B }))] } },
    "refuses another head": { error: "checkpoint_mismatch", options: { lines: [await ALICE.line(factsAt(1, { head: headAt(2) }))] } },
    "refuses another algorithm": { error: "checkpoint_mismatch", options: { lines: [await ALICE.line(factsAt(1, { algorithm: "blake3" }))] } },
    "finds a trace that was cut": { error: "checkpoint_beyond_end", options: { lines: [one, three] }, lines: LINES.slice(0, 2) },
    "finds a cut by a witness": { error: "checkpoint_beyond_end", options: { lines: [one], witnessed: [factsAt(4)] }, lines: LINES.slice(0, 2) },
    "finds another chain by a witness": { error: "checkpoint_mismatch", options: { lines: [], witnessed: [factsAt(2), factsAt(3, { head: headAt(2) })] } },
    "tells the chain's own fault first": { error: "chain_broken", options: { lines: ["{}"] }, lines: [LINES[0] ?? "", (LINES[1] ?? "").replace(headAt(1), headAt(2))] },
  };
  for (const [what, { error, options, lines }] of Object.entries(bad)) {
    test(what, async () => {
      const result = await verified(options, lines);
      assert.deepEqual([result.valid, result.error, result.strength, result.checkpoints], [false, error, "chain", 0]);
    });
  }

  test("rejects a pinned key that is none", async () => {
    await assert.rejects(verified({ lines: [], publicKeys: ["nobody"] }), withCode("checkpoint_malformed"));
  });

  // PROTOCOL 3.19.8
  test("rejects a pinned key where nothing is signed: else a pin would be undone by taking checkpoints away", async () => {
    await assert.rejects(verified({ lines: [], publicKeys: [ALICE.vkey] }), withCode("checkpoints_not_found"));
  });

  test("is not valid where a witness was told of another algorithm", async () => {
    const { valid, error } = await verified({ lines: [], witnessed: [factsAt(2, { algorithm: "blake3" })] });
    assert.deepEqual([valid, error], [false, "checkpoint_mismatch"]);
  });

  const good: readonly (readonly [CheckpointOptions, Pick<VerifyResult, "strength" | "checkpoints" | "covered">, readonly string[]])[] = [
    [{ lines: [] }, { strength: "chain", checkpoints: 0, covered: 0 }, []],
    [{ lines: [one, three] }, { strength: "signed", checkpoints: 2, covered: 3 }, []],
    [{ lines: [one], publicKeys: [MALLORY.vkey, ALICE.vkey] }, { strength: "signed-pinned", checkpoints: 1, covered: 1 }, []],
    [{ lines: [one], witnessed: [] }, { strength: "signed", checkpoints: 1, covered: 1 }, ["unwitnessed"]],
    [{ lines: [one], witnessed: [factsAt(1, { session_id: SESSION_B })] }, { strength: "signed", checkpoints: 1, covered: 1 }, ["unwitnessed"]],
    [{ lines: [one], witnessed: [factsAt(1), factsAt(1, { session_id: SESSION_B, size: 9 })] }, { strength: "witnessed", checkpoints: 1, covered: 1 }, []],
  ];
  for (const [index, [options, expected, warnings]] of good.entries()) {
    test(`is ${expected.strength} (${index})`, async () => {
      const { valid, strength, checkpoints, covered, warnings: told } = await verified(options);
      assert.deepEqual({ valid, strength, checkpoints, covered }, { valid: true, ...expected });
      assert.deepEqual(told, ["truncated", ...warnings]);
    });
  }
});

void describe("a witness's answer", () => {
  for (const bad of ["<html>", "[]", "null", '{"session_id":"x","size":1,"head":"y"}', JSON.stringify({ ...factsAt(1), size: 0 }), JSON.stringify({ ...factsAt(1), size: "1" })]) {
    test(`is not \`${bad.slice(0, 40)}\``, () => {
      assert.throws(() => parseWitnessed(bad), withCode("witness_malformed"));
    });
  }
  test("is one head a line", () => {
    const { session_id, size, head, algorithm } = factsAt(2);
    assert.deepEqual(parseWitnessed(`${JSON.stringify(factsAt(2))}\n`), [{ session_id, size, head, algorithm }]);
    assert.equal(parseWitnessed(JSON.stringify({ session_id, size, head }))[0]?.algorithm, null);
    assert.deepEqual(parseWitnessed(""), []);
  });
});
