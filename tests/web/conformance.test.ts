/** The cases of specs/conformance that concern this side: canonical JSON and the hash chain. Python runs all of them. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";

import { ALGORITHMS } from "../../web/src/algorithms.js";
import { canonicalize, hasDuplicateKey } from "../../web/src/canonical.js";
import { eventPreimage } from "../../web/src/chain.js";
import type { RawEvent } from "../../web/src/chain.js";
import { createHasher } from "../../web/src/hashing.js";
import { verifyTrace } from "../../web/src/verify.js";
import { jsonl } from "./events.js";

interface Case {
  readonly id: string;
  readonly input: {
    readonly json?: string;
    readonly event?: RawEvent & { readonly previous_event_hash: string };
    readonly algorithm?: string;
    readonly lines?: readonly string[];
    readonly text?: string;
    readonly hex?: string;
  };
  readonly expected?: unknown;
  readonly refused?: { readonly code: string };
}

// The tests run from web/ (npm test), whatever folder their bundles lie in.
const FOLDER = resolve("../specs/conformance");

function casesOf(area: string): Case[] {
  const files = readdirSync(resolve(FOLDER, area)).filter((name) => name.endsWith(".json"));
  return files.flatMap((name) => {
    const file = JSON.parse(readFileSync(resolve(FOLDER, area, name), "utf-8")) as { readonly cases: readonly Case[] };
    return file.cases;
  });
}

function canonicalText(json: string): string {
  const value: unknown = JSON.parse(json);
  if (hasDuplicateKey(json)) throw new RangeError("a member stands twice");
  return canonicalize(value);
}

function bytesOf({ lines, text, hex }: Case["input"]): Uint8Array {
  if (lines !== undefined) return jsonl(lines);
  return hex === undefined ? new TextEncoder().encode(text) : Uint8Array.from(Buffer.from(hex, "hex"));
}

test("both algorithms have cases with literal hashes", () => {
  const used = casesOf("hash-chain").flatMap(({ input }) => input.algorithm ?? []);
  assert.deepEqual(new Set(used), new Set(ALGORITHMS));
});

for (const { id, input, expected, refused } of casesOf("canonical-json")) {
  test(id, () => {
    assert.ok(input.json !== undefined);
    const { json } = input;
    if (refused === undefined) assert.deepEqual({ canonical: canonicalText(json) }, expected);
    else assert.throws(() => canonicalText(json));
  });
}

for (const { id, input, expected } of casesOf("hash-chain")) {
  test(id, async () => {
    const { event, algorithm } = input;
    if (event !== undefined && algorithm !== undefined) {
      const preimage = eventPreimage(event, event.previous_event_hash);
      assert.deepEqual({ preimage, event_hash: (await createHasher(algorithm))(preimage) }, expected);
    } else {
      const { message, profile, protects_boundaries, ...verdict } = await verifyTrace([bytesOf(input)]);
      assert.deepEqual([profile, protects_boundaries], ["jcs", true]);
      assert.ok(message === null || verdict.error === "bad_field");
      assert.deepEqual(verdict, expected);
    }
  });
}
