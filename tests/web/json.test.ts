import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

import { CraError } from "../../web/src/errors.js";
import { jsonText, objectText } from "../../web/src/json.js";

function refusing(pointer: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CraError, String(error));
    assert.deepEqual([error.code, error.details], ["not_canonical", { pointer }]);
    assert.match(error.message, /give finite numbers/);
    return true;
  };
}

const circular: { list: unknown[] } = { list: [] };
circular.list.push(circular);

const throwing = {
  get part(): never {
    throw new CraError("odd", "mine");
  },
};

/** `levels` objects, one in the other. */
function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) value = { a: value };
  return value;
}

/** 2^40 values in 41 objects. */
function doubled(): unknown {
  let value: unknown = [];
  for (let level = 0; level < 40; level += 1) value = [value, value];
  return value;
}

// PROTOCOL 0.1.3
test("what JSON tells is written as JSON.stringify writes it", () => {
  for (const value of [
    null,
    true,
    "",
    "a\n\"\u2028\ud800",
    -0,
    1e21,
    0.1,
    [],
    {},
    [[], {}, [1, "2", null]],
    { b: 1, a: { "": [undefined].length }, left: undefined },
    { when: new Date(0), again: [new Date(1)] },
    Object.assign(Object.create(null) as object, { bare: 1 }),
    { toJSON: (key: string) => [key] },
    { kept: { toJSON: (key: string) => key }, gone: { toJSON: () => undefined } },
    runInNewContext("({ other: [{ realm: 1 }] })"),
    nested(64),
  ]) {
    assert.equal(jsonText(value, "odd"), JSON.stringify(value));
  }
});

// PROTOCOL 0.1.3
test("what JSON would change or cannot tell is refused with its pointer", () => {
  const cases: readonly (readonly [unknown, string])[] = [
    [NaN, ""],
    [{ a: { limit: Infinity } }, "/a/limit"],
    [{ "a/b": [0, { "c~d": -Infinity }] }, "/a~1b/1/c~0d"],
    [1n, ""],
    [undefined, ""],
    [[1, undefined], "/1"],
    [Array(1), "/0"],
    [[{ toJSON: () => undefined }], "/0"],
    [{ f: () => 1 }, "/f"],
    [{ s: Symbol("s") }, "/s"],
    [{ tags: new Set([1]) }, "/tags"],
    [{ items: new Map([["a", 1]]) }, "/items"],
    [{ bytes: new Uint8Array(2) }, "/bytes"],
    [{ n: new Number(1) }, "/n"],
    [new (class Money {
      cents = 1;
    })(), ""],
    [runInNewContext("({ other: new Map() })"), "/other"],
    [Promise.resolve(1), ""],
    [{ when: new Date(NaN) }, "/when"],
    [circular, "/list/0"],
    [nested(65), "/a".repeat(64)],
    [nested(100_000), "/a".repeat(64)],
    [{ inside: throwing }, "/inside/part"],
    [{ inside: { toJSON: () => throwing } }, "/inside/part"],
    [[{ toJSON: () => assert.fail("mine") }], "/0"],
    [[{ toJSON: () => ({ n: NaN }) }], "/0/n"],
  ];
  for (const [value, pointer] of cases) assert.throws(() => jsonText(value, "not_canonical"), refusing(pointer), pointer);
  assert.throws(() => jsonText({ n: NaN }, "not_canonical", "/payload"), refusing("/payload/n"));
});

// PROTOCOL 0.3.1, 0.3.24
test("a value that takes too much is refused before it takes the memory", () => {
  const text = "x".repeat(1_000_000);
  for (const value of [doubled(), Array(500_001).fill(0), Array(100).fill(text)]) {
    assert.throws(() => jsonText(value, "too_large"), (error) => error instanceof CraError && error.code === "too_large");
  }
});

test("an object of arguments leaves out what is undefined, and refuses each of the rest by its own code", () => {
  assert.equal(objectText([["a", 1, "odd", "/a"], ["b", undefined, "odd", "/b"], ["c", null, "odd", "/c"]]), '{"a":1,"c":null}');
  assert.equal(objectText([]), "{}");
  assert.throws(() => objectText([["a", [NaN], "not_canonical", "/first"]]), refusing("/first/0"));
  assert.throws(() => objectText([["a", nested(64), "not_canonical", "/a"]]), refusing(`/a${"/a".repeat(63)}`));
});
