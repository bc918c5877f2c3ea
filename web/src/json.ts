/**
 * What a page gives, as JSON text for Python.
 *
 * JSON.stringify changes values silently: NaN becomes null, a Map {}, an undefined in an array null. A limit that becomes
 * null is no limit, so what JSON cannot tell is refused here with its pointer.
 */

import { MAX_JSON_DEPTH } from "./canonical.js";
import { CraError, messageOf } from "./errors.js";

/** PROTOCOL 0.3.24. Also the end of what refers to one object many times. */
const MAX_VALUES = 500_000;

/** PROTOCOL 0.3.1; no UTF-8 has fewer bytes than its text has UTF-16 code units. */
const MAX_UNITS = 16 * 1024 * 1024;

const SHOWN_POINTER_CHARS = 200;

/**
 * Return the text that JSON.stringify gives, for values that it does not change: it also calls toJSON and leaves out
 * members that are undefined. `depth` is how many levels will stand around the text.
 *
 * Throws `code`, with `pointer` and what follows it as the pointer, for a number that is not finite, a BigInt, function or
 * symbol, undefined anywhere but as a member, an object that is neither plain nor has toJSON, an invalid Date, a cycle,
 * what is beyond the limits of PROTOCOL 0.3, and a getter or toJSON that throws.
 */
export function jsonText(value: unknown, code: string, pointer = "", depth = 0): string {
  const writer = new JsonWriter(depth);
  try {
    return writer.element(value);
  } catch (cause) {
    const why = cause instanceof Refusal ? cause.message : `cannot be read: ${messageOf(cause)}`;
    const culprit = pointer + writer.pointer;
    const shown = culprit.length > SHOWN_POINTER_CHARS ? `${culprit.slice(0, SHOWN_POINTER_CHARS)}...` : culprit;
    const message = `${shown === "" ? "the value" : `\`${shown}\``} ${why}: ${REMEDY}`;
    throw new CraError(code, message, { pointer: culprit });
  }
}

const REMEDY = "give finite numbers, text, true, false, null, and arrays and plain objects of these";

/** A member of an object that is written: its name, its value, and the code and pointer to refuse it with. */
export type Member = readonly [name: string, value: unknown, code: string, pointer: string];

/** Return an object's text. Members that are undefined are not there, so that Python's defaults hold. */
export function objectText(members: readonly Member[]): string {
  const given = members.filter(([, value]) => value !== undefined);
  return `{${given.map(([name, value, code, pointer]) => `"${name}":${jsonText(value, code, pointer, 1)}`).join(",")}}`;
}

/** Why a value is refused, told from what reading it may throw. */
class Refusal extends Error {}

/** Recursive, but never deeper than MAX_JSON_DEPTH. */
class JsonWriter {
  readonly #outside: number;
  /** Where the value stands that is written now. */
  readonly #path: (string | number)[] = [];
  /** The objects around it. */
  readonly #open: object[] = [];
  #values = 0;
  #units = 0;

  constructor(outside: number) {
    this.#outside = outside;
  }

  get pointer(): string {
    return this.#path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
  }

  /** The text of what must be there. */
  element(value: unknown): string {
    const text = this.#text(value);
    if (text === undefined) throw new Refusal("is undefined");
    return text;
  }

  #text(given: unknown): string | undefined {
    this.#values += 1;
    if (this.#values > MAX_VALUES) throw new Refusal(`is one of more than ${MAX_VALUES} values`);
    const value = this.#converted(given);
    switch (typeof value) {
      case "string":
        return this.#string(value);
      case "number":
        if (!Number.isFinite(value)) throw new Refusal(`is ${value}`);
        return String(value);
      case "boolean":
        return String(value);
      case "undefined":
        return undefined;
      case "object":
        return value === null ? "null" : this.#object(value);
      default:
        throw new Refusal(`is a ${typeof value}`);
    }
  }

  #converted(value: unknown): unknown {
    if (typeof value !== "object" || value === null) return value;
    const { toJSON } = value as { readonly toJSON?: unknown };
    if (typeof toJSON !== "function") return value;
    // Its toJSON gives null, as that of no other value.
    if (tagOf(value) === "Date" && Number.isNaN(Number(value))) throw new Refusal("is an invalid Date");
    return toJSON.call(value, String(this.#path.at(-1) ?? "")) as unknown;
  }

  #string(value: string): string {
    this.#units += value.length;
    if (this.#units > MAX_UNITS) throw new Refusal(`ends more than ${MAX_UNITS} characters`);
    return JSON.stringify(value);
  }

  #object(value: object): string {
    if (this.#open.includes(value)) throw new Refusal("contains itself");
    if (this.#open.length + this.#outside >= MAX_JSON_DEPTH) throw new Refusal(`nests deeper than ${MAX_JSON_DEPTH} levels`);
    this.#open.push(value);
    const text = Array.isArray(value) ? this.#array(value) : this.#members(value);
    this.#open.pop();
    return text;
  }

  #array(items: readonly unknown[]): string {
    const texts: string[] = [];
    for (let index = 0; index < items.length; index += 1) {
      this.#path.push(index);
      texts.push(this.element(items[index]));
      this.#path.pop();
    }
    return `[${texts.join(",")}]`;
  }

  #members(value: object): string {
    if (!isPlain(value)) throw new Refusal(`is a ${tagOf(value)} and no plain object`);
    const texts: string[] = [];
    for (const name of Object.keys(value)) {
      this.#path.push(name);
      const text = this.#text((value as Readonly<Record<string, unknown>>)[name]);
      if (text !== undefined) texts.push(`${this.#string(name)}:${text}`);
      this.#path.pop();
    }
    return `{${texts.join(",")}}`;
  }
}

/** Another realm's Object.prototype is not ours, but nothing stands above it either. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** "Map" of a Map; "Object" of a class's instances. */
function tagOf(value: object): string {
  return Object.prototype.toString.call(value).slice("[object ".length, -1);
}
