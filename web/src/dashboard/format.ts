/** Values as short text. */

import type { JsonObject } from "../model.js";

const HASH = /^[0-9a-f]{64}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MAX_SUMMARY_CHARS = 160;

export function cut(text: string, maxChars: number): string {
  return text.length > maxChars ? `${text.slice(0, maxChars - 1)}…` : text;
}

export function shortHash(hash: string): string {
  return hash.slice(0, 8);
}

/** The end of a UUIDv7: its beginning is the time, which ids of one minute share. */
export function shortId(id: string): string {
  return `…${id.slice(-8)}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

export function compactJson(value: unknown): string {
  const text: string | undefined = JSON.stringify(value);
  // Its declared type hides that a function or undefined gives undefined.
  return typeof text === "string" ? text : String(value);
}

export function prettyJson(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

export function milliseconds(duration_ms: number): string {
  return duration_ms < 10 ? `${duration_ms.toFixed(1)} ms` : `${Math.round(duration_ms)} ms`;
}

/** The local time of day with milliseconds; the timestamp itself where it is not one. */
export function timeOfDay(timestamp: string): string {
  const date = new Date(timestamp);
  if (Number.isNaN(date.getTime())) return timestamp;
  const pad = (value: number, width = 2): string => String(value).padStart(width, "0");
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

export function dayAndTime(timestamp: string): string {
  const date = new Date(timestamp);
  if (Number.isNaN(date.getTime())) return timestamp;
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** Fields whose value says it all, in the order in which people ask for them; the rest follow with their names. */
const PLAIN_FIELDS = ["action_id", "block_id", "result", "policy_id", "decision_type", "agent_id", "goal", "status", "reason"];

/** A payload in one line. Ids and hashes stay out: nobody reads them there, and the details have them. */
export function summarise(payload: JsonObject): string {
  const plain = PLAIN_FIELDS.filter((name) => Object.hasOwn(payload, name));
  const named = Object.keys(payload).filter((name) => !plain.includes(name));
  const parts: string[] = [];
  for (const name of [...plain, ...named]) {
    const value = payload[name];
    if (value === null || (typeof value === "string" && (HASH.test(value) || UUID.test(value)))) continue;
    const text = typeof value === "string" ? value : compactJson(value);
    parts.push(PLAIN_FIELDS.includes(name) ? text : `${name} ${text}`);
  }
  return cut(parts.join(" · "), MAX_SUMMARY_CHARS);
}
