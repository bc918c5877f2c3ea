/**
 * Canonical JSON, RFC 8785 (PROTOCOL 3.1): sorted keys, ECMAScript numbers, no white space.
 *
 * JavaScript's own number and string serialisation is what the RFC prescribes; what is left to do is to sort the keys
 * (by UTF-16 code units, which is how `sort` compares) and to refuse what has no canonical form.
 */

/** Deepest nesting of arrays and objects in a payload; the same limit as in Python. A line is one more around it. */
export const MAX_JSON_DEPTH = 64;

const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Return the canonical text of a parsed JSON value.
 *
 * Throws a RangeError for what the protocol refuses: a number that is not finite or whose text is an integer literal
 * beyond +-(2^53-1), a lone surrogate, a value that JSON does not know, or nesting deeper than MAX_JSON_DEPTH.
 */
export function canonicalize(value: unknown, depth = 0): string {
  if (value === null || value === true || value === false) return String(value);
  if (typeof value === "string") return canonicalString(value);
  if (typeof value === "number") return canonicalNumber(value);
  if (typeof value !== "object") throw new RangeError("not a JSON value");
  if (depth >= MAX_JSON_DEPTH) throw new RangeError("nested too deeply");
  if (Array.isArray(value)) {
    return `[${value.map((item: unknown) => canonicalize(item, depth + 1)).join(",")}]`;
  }
  return canonicalObject(value, depth);
}

function canonicalObject(value: object, depth: number): string {
  const members = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  const texts = members.map(
    ([key, item]: [string, unknown]) => `${canonicalString(key)}:${canonicalize(item, depth + 1)}`,
  );
  return `{${texts.join(",")}}`;
}

function canonicalString(value: string): string {
  if (LONE_SURROGATE.test(value)) throw new RangeError("lone surrogate");
  return JSON.stringify(value);
}

function canonicalNumber(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError("not a finite number");
  const text = JSON.stringify(value);
  // 1e21 and above are written with an exponent and are no integer literals.
  if (Number.isInteger(value) && !Number.isSafeInteger(value) && !text.includes("e")) {
    throw new RangeError("integer beyond 2^53-1");
  }
  return text;
}

/**
 * Tell whether any object in `text` has a key twice. `text` must be JSON that JSON.parse accepts.
 *
 * JSON.parse keeps the last of two equal keys in silence, so the text itself is walked. Only called for a line that is
 * already known to be bad: it finds the name of the fault, not the fault.
 */
export function hasDuplicateKey(text: string): boolean {
  const open: (Set<string> | null)[] = [];
  let keyExpected = false;
  let found = false;
  for (const [token] of text.matchAll(TOKEN)) {
    const keys = open.at(-1);
    if (token === "{" || token === "[") {
      open.push(token === "{" ? new Set() : null);
      // Too deep to be read at all, whatever its keys: the order of the checks is the same in Python.
      if (open.length > MAX_JSON_DEPTH + 1) return false;
      keyExpected = token === "{";
    } else if (token === "}" || token === "]") {
      open.pop();
      keyExpected = false;
    } else if (token === ",") {
      keyExpected = keys instanceof Set;
    } else if (keyExpected && keys instanceof Set) {
      const key = JSON.parse(token) as string;
      found ||= keys.has(key);
      keys.add(key);
      keyExpected = false;
    }
  }
  return found;
}

/** A string, a bracket or a comma: everything that decides where keys stand. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],]/gsu;
