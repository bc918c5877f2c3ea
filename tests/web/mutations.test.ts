/** Changed traces get the verdict that Python gives, in all of it: term, line, message, head, hash (PROTOCOL 3.4). */

import assert from "node:assert/strict";
import { test } from "node:test";

import mutations from "../../specs/vectors/mutations.json";
import { verifyTrace } from "../../web/src/verify.js";

const encoder = new TextEncoder();
const bases = new Map(Object.entries(mutations.bases).map(([name, text]) => [name, encoder.encode(text)]));

/** Return the bytes with `removed` of them at `start` replaced. */
function edited(bytes: Uint8Array<ArrayBuffer>, [start, removed, inserted]: readonly unknown[]): Uint8Array<ArrayBuffer> {
  assert.ok(typeof start === "number" && typeof removed === "number");
  const added = typeof inserted === "string" ? encoder.encode(inserted) : Uint8Array.from(inserted as number[]);
  return Uint8Array.from([...bytes.subarray(0, start), ...added, ...bytes.subarray(start + removed)]);
}

test("there are cases of every kind and with every verdict", () => {
  const errors = new Set(mutations.cases.map(({ result }) => result.error));
  assert.deepEqual(
    errors,
    new Set([null, "bad_field", "duplicate_key", "bad_genesis", "sequence_gap", "chain_broken", "hash_mismatch"]),
  );
});

for (const [index, { kind, base, edits, result }] of mutations.cases.entries()) {
  test(`changed trace ${index}: ${kind} of ${base}`, async () => {
    let changed = bases.get(base) ?? new Uint8Array();
    for (const edit of edits) changed = edited(changed, edit);
    assert.deepEqual(await verifyTrace([changed]), result, JSON.stringify(edits));
  });
}
