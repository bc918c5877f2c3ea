import assert from "node:assert/strict";
import { test } from "node:test";

import { canonicalize, hasDuplicateKey, MAX_JSON_DEPTH } from "../../web/src/canonical.js";

test("numbers without a canonical form are refused", () => {
  for (const value of [Number.NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 53), 1e20, -123456789012345680000]) {
    assert.throws(() => canonicalize(value), RangeError, String(value));
  }
});

test("integers up to 2^53-1 and numbers written with an exponent are kept", () => {
  assert.equal(canonicalize(2 ** 53 - 1), "9007199254740991");
  assert.equal(canonicalize(-(2 ** 53 - 1)), "-9007199254740991");
  assert.equal(canonicalize(1e21), "1e+21");
  assert.equal(canonicalize(1e-7), "1e-7");
  assert.equal(canonicalize(333333333.33333329), "333333333.3333333");
  assert.equal(canonicalize(-0), "0");
});

test("lone surrogates are refused in values and in keys", () => {
  assert.throws(() => canonicalize("a\ud800"), RangeError);
  assert.throws(() => canonicalize({ "\udc00": 1 }), RangeError);
  assert.equal(canonicalize("\u{1f600}"), '"\u{1f600}"');
});

test("nesting is bounded at the same depth as in Python", () => {
  const nested = (depth: number): unknown => JSON.parse("[".repeat(depth) + "]".repeat(depth));
  assert.equal(canonicalize(nested(MAX_JSON_DEPTH)).length, 2 * MAX_JSON_DEPTH);
  assert.throws(() => canonicalize(nested(MAX_JSON_DEPTH + 1)), RangeError);
});

test("what JSON does not know is refused", () => {
  assert.throws(() => canonicalize(undefined), RangeError);
  assert.throws(() => canonicalize({ a: 1n }), RangeError);
});

test("keys are sorted by UTF-16 code units and strings escaped as RFC 8785 says", () => {
  const value: unknown = JSON.parse('{"\\u20ac":1,"\\r":2,"\\ufb33":3,"1":4,"\\ud83d\\ude00":5,"\\u0080":6,"\\u00f6":7}');
  assert.equal(canonicalize(value), '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\u{1f600}":5,"\ufb33":3}');
  assert.equal(canonicalize("\u0000\u001f\"\\/\b\t\n\f\r\u007f"), '"\\u0000\\u001f\\"\\\\/\\b\\t\\n\\f\\r\u007f"');
  assert.equal(canonicalize({ __proto__: null, b: [1, { d: true, c: null }], a: "" }), '{"a":"","b":[1,{"c":null,"d":true}]}');
});

test("a key that stands twice in one object is found at any depth and in any spelling", () => {
  for (const text of [
    '{"a":1,"a":1}',
    '{"a":{"b":1,"c":[],"b":2}}',
    '[{"x":1},{"x":1,"y":{"z":0},"x":2}]',
    '{"a":1,"\\u0061":2}',
    '{"__proto__":1,"__proto__":2}',
  ]) {
    assert.equal(hasDuplicateKey(text), true, text);
  }
});

test("a key that stands once per object, and strings that look like keys, are no duplicates", () => {
  for (const text of ['{"a":{"a":{"a":1}}}', '[{"a":1},{"a":2}]', '{"a":"a","b":["a","a"]}', '{"a":"\\"a\\":1,\\"a\\":2"}', '{"a":["x,{","x,{"]}']) {
    assert.equal(hasDuplicateKey(text), false, text);
  }
});

test("text that nests too deeply is not searched for its keys, wherever they stand", () => {
  const deep = `${"[".repeat(70)}${"]".repeat(70)}`;
  assert.equal(hasDuplicateKey(`{"a":1,"a":${deep}}`), false);
  assert.equal(hasDuplicateKey(`{"a":${deep},"b":1,"b":2}`), false);
});
