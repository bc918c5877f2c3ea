/** The interfaces of web/src/model.ts say what the JSON Schemas of specs/schemas say, member for member. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";

import ts from "typescript";

type Schema = Readonly<Record<string, unknown>>;

const MODEL = resolve("src/model.ts");
const program = ts.createProgram([MODEL], { strict: true, noEmit: true, lib: ["lib.es2022.d.ts"], types: [] });
const checker = program.getTypeChecker();

/** What a schema's `type` is in TypeScript, where it says nothing else. */
const PLAIN: Readonly<Record<string, string>> = {
  string: "string",
  integer: "number",
  number: "number",
  boolean: "boolean",
  object: "JsonObject",
};

function interfaceType(name: string): ts.Type {
  const source = program.getSourceFile(MODEL);
  assert.ok(source !== undefined);
  const module = checker.getSymbolAtLocation(source);
  assert.ok(module !== undefined);
  const symbol = checker.getExportsOfModule(module).find((one) => one.name === name);
  assert.ok(symbol !== undefined, `${name} is not exported`);
  return checker.getDeclaredTypeOfSymbol(symbol);
}

function readSchema(name: string): Schema {
  return JSON.parse(readFileSync(resolve(`../specs/schemas/${name}.schema.json`), "utf-8")) as Schema;
}

/** Return what differs between a type and a schema, each with its place. */
function differences(type: ts.Type, given: unknown, root: Schema, place: string): string[] {
  if (given === true) return expectName(type, "Json", place);
  const schema = withoutReference(given as Schema, root);
  if (Array.isArray(schema["anyOf"])) return nullDifferences(type, schema["anyOf"] as Schema[], root, place);
  if (Array.isArray(schema["enum"])) return wordDifferences(type, schema["enum"] as string[], place);
  if (schema["type"] === "array") return itemDifferences(type, schema["items"], root, place);
  if (schema["properties"] !== undefined) return memberDifferences(type, schema, root, place);
  const name = "const" in schema ? "string" : PLAIN[schema["type"] as string];
  assert.ok(name !== undefined, `${place}: this schema is not understood`);
  return expectName(type, name, place);
}

function nullDifferences(type: ts.Type, choices: readonly Schema[], root: Schema, place: string): string[] {
  const [first, second] = choices;
  assert.equal(second?.["type"], "null", `${place}: only \`anyOf\` with null is understood`);
  const nullable = type.isUnion() && type.types.some((one) => (one.flags & ts.TypeFlags.Null) !== 0);
  const others = differences(checker.getNonNullableType(type), first, root, place);
  return nullable ? others : [`${place} may be null`, ...others];
}

function itemDifferences(type: ts.Type, items: unknown, root: Schema, place: string): string[] {
  if (!checker.isArrayType(type)) return [`${place} is an array`];
  const [item] = checker.getTypeArguments(type as ts.TypeReference);
  assert.ok(item !== undefined);
  return differences(item, items, root, `${place}[]`);
}

function memberDifferences(type: ts.Type, schema: Schema, root: Schema, place: string): string[] {
  const members = schema["properties"] as Readonly<Record<string, unknown>>;
  const required = new Set(schema["required"] as string[]);
  const properties = new Map(checker.getPropertiesOfType(type).map((one) => [one.name, one]));
  const extra = [...properties.keys()].filter((name) => !(name in members));
  return [
    ...extra.map((name) => `${place}.${name} is no member`),
    ...Object.entries(members).flatMap(([name, member]) => {
      const property = properties.get(name);
      if (property === undefined) return [`${place}.${name} is missing`];
      const optional = (property.flags & ts.SymbolFlags.Optional) !== 0;
      const wrong = optional === required.has(name) ? [`${place}.${name} is ${optional ? "required" : "optional"}`] : [];
      const declared = checker.getTypeOfSymbol(property);
      const own = optional ? checker.getNonNullableType(declared) : declared;
      return [...wrong, ...differences(own, member, root, `${place}.${name}`)];
    }),
  ];
}

function withoutReference(schema: Schema, root: Schema): Schema {
  const reference = schema["$ref"];
  if (typeof reference !== "string") return schema;
  const target = (root["$defs"] as Readonly<Record<string, Schema>>)[reference.replace("#/$defs/", "")];
  assert.ok(target !== undefined, reference);
  return target;
}

function wordDifferences(type: ts.Type, words: readonly string[], place: string): string[] {
  const known = type.isUnion() ? type.types.map((one) => (one.isStringLiteral() ? one.value : "?")) : [];
  const same = known.sort().join() === [...words].sort().join();
  return same ? [] : [`${place} is one of ${words.join(", ")}`];
}

function expectName(type: ts.Type, name: string, place: string): string[] {
  return (type.aliasSymbol?.name ?? checker.typeToString(type)) === name ? [] : [`${place} is ${name}`];
}

for (const [name, schema] of [
  ["Resolution", "resolution"],
  ["ExecuteResponse", "execute-response"],
  ["TraceEvent", "event"],
] as const) {
  test(`${name} has the members of ${schema}.schema.json`, () => {
    const root = readSchema(schema);
    assert.deepEqual(differences(interfaceType(name), root, root, name), []);
  });
}

test("a difference is found", () => {
  const root = readSchema("event");
  const { payload, ...others } = root["properties"] as Readonly<Record<string, unknown>>;
  const properties = { ...others, sequence: { type: "string" }, parent_span_id: { type: "string" }, severity: payload };
  const found = differences(interfaceType("TraceEvent"), { ...root, properties, required: ["sequence"] }, root, "E");
  for (const told of ["payload is no member", "severity is missing", "sequence is string", "event_id is optional"]) {
    assert.ok(found.includes(`E.${told}`), told);
  }
  assert.ok(found.includes("E.parent_span_id is string"));
});
