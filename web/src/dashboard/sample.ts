/** Makes a plausible value from a JSON Schema, where an atlas brings no example of its own. */

import type { Json, JsonObject } from "../model.js";

const MAX_DEPTH = 6;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * A value that a person can start from. It follows const, default, enum, type and the required members; it does not
 * solve patterns or combinations, so it may still fail the schema, and then the runtime says where.
 */
export function sampleOf(schema: unknown, depth = 0): Json {
  if (!isObject(schema) || depth > MAX_DEPTH) return null;
  for (const keyword of ["const", "default"]) {
    const fixed = schema[keyword];
    if (fixed !== undefined) return fixed;
  }
  for (const keyword of ["enum", "examples"]) {
    const choices = schema[keyword];
    if (Array.isArray(choices) && choices.length > 0) return choices[0] as Json;
  }
  return sampleOfType(schema, depth);
}

function sampleOfType(schema: JsonObject, depth: number): Json {
  const declared = schema["type"];
  const type: unknown = Array.isArray(declared) ? declared[0] : declared;
  switch (type) {
    case "string":
      return sampleText(schema);
    case "integer":
    case "number":
      return typeof schema["minimum"] === "number" ? schema["minimum"] : 1;
    case "boolean":
      return true;
    case "array":
      return Number(schema["minItems"] ?? 0) > 0 ? [sampleOf(schema["items"], depth + 1)] : [];
    case "object":
      return sampleMembers(schema, depth);
    default:
      return isObject(schema["properties"]) ? sampleMembers(schema, depth) : null;
  }
}

function sampleText(schema: JsonObject): string {
  const minChars = Number(schema["minLength"] ?? 0);
  const text = schema["format"] === "date-time" ? "2026-01-31T12:00:00Z" : "example";
  return text.padEnd(minChars, ".");
}

function sampleMembers(schema: JsonObject, depth: number): JsonObject {
  const properties = isObject(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"]) ? (schema["required"] as readonly unknown[]) : [];
  const members: Record<string, Json> = {};
  for (const [name, member] of Object.entries(properties)) {
    if (required.includes(name)) members[name] = sampleOf(member, depth + 1);
  }
  return members;
}
