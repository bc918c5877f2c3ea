/** The literal hashes of specs/vectors, which Python runs too (PROTOCOL 3.2 and 3.8). */

import assert from "node:assert/strict";
import { test } from "node:test";

import vectors from "../../specs/vectors/event_hash.json";
import { ALGORITHMS } from "../../web/src/algorithms.js";
import { eventPreimage } from "../../web/src/chain.js";
import { createHasher } from "../../web/src/hashing.js";
import { verifyTrace } from "../../web/src/verify.js";
import { jsonl } from "./events.js";

test("both algorithms have vectors", () => {
  assert.deepEqual(new Set(vectors.events.map(({ algorithm }) => algorithm)), new Set(ALGORITHMS));
});

for (const { name, algorithm, event, preimage, event_hash } of vectors.events) {
  test(`preimage and hash: ${name}`, async () => {
    assert.equal(eventPreimage(event, event.previous_event_hash), preimage);
    assert.equal((await createHasher(algorithm))(preimage), event_hash);
  });
}

for (const { name, lines, result } of vectors.traces) {
  test(`verdict: ${name}`, async () => {
    const { message, warnings, profile, protects_boundaries, ...told } = await verifyTrace([jsonl(lines)]);
    assert.deepEqual(told, result);
    assert.equal(message === null, result.error !== "bad_field");
    assert.deepEqual([warnings, profile, protects_boundaries], [[], "jcs", true]);
  });
}
