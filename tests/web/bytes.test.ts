import assert from "node:assert/strict";
import { test } from "node:test";

import { Utf8Encoder } from "../../web/src/bytes.js";

test("text is encoded as by TextEncoder, however long it is and whatever was encoded before", () => {
  const encoder = new Utf8Encoder();
  const texts: readonly (readonly string[])[] = [
    ["short"],
    [],
    ["", "a\n", "ä€\u{1f600}", "\ud800", ""],
    Array.from({ length: 5_000 }, (_, index) => `line ${index} of a segment, ¼\n`),
    ["\u20ac".repeat(2_000_000)],
    ["x".repeat(16_384), "y"],
    ["short again"],
  ];
  for (const some of texts) {
    assert.deepEqual(encoder.encode(some), new TextEncoder().encode(some.join("")), some[0]?.slice(0, 20));
  }
});

test("what was returned is written over by the next call, in the same memory while it is of usual size", () => {
  const encoder = new Utf8Encoder();
  const first = encoder.encode(["one"]);
  const { buffer } = first;
  assert.equal(encoder.encode(["two"]).buffer, buffer);
  assert.deepEqual(first, new TextEncoder().encode("two"));
  const large = encoder.encode(["x".repeat(4_194_305)]);
  assert.ok(large.buffer.byteLength > 4_194_304);
  assert.ok(encoder.encode(["small"]).buffer.byteLength < 100_000);
});
