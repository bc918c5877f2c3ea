import assert from "node:assert/strict";
import { test } from "node:test";

import { ALGORITHMS } from "../../web/src/algorithms.js";
import { eventLine, eventPreimage, GENESIS_HASH } from "../../web/src/chain.js";
import type { RawEvent } from "../../web/src/chain.js";
import { CraError } from "../../web/src/errors.js";
import { createHasher } from "../../web/src/hashing.js";
import type { VerifyError, ChainResult } from "../../web/src/model.js";
import { verifyTrace } from "../../web/src/verify.js";
import { blake3Events, chainLines, jsonl, rawEvent, rawEvents, SESSION_B } from "./events.js";

const REFERENCE: RawEvent = {
  event_id: "01234567-89ab-cdef-0123-456789abcdef",
  trace_id: "11111111-1111-1111-1111-111111111111",
  span_id: "22222222-2222-2222-2222-222222222222",
  parent_span_id: null,
  session_id: "33333333-3333-3333-3333-333333333333",
  sequence: 0,
  timestamp: "2024-12-28T12:00:00.000000Z",
  event_type: "session.started",
  payload_json: '{"agent_id":"test-agent","goal":"Test session"}',
};
const REFERENCE_HASH = "f5b4945b0bb5f9adc249a7062a5bf1bbcf6f095edbd8fb1503bbc2d5a05d19c5";

function verify(lines: readonly string[]): Promise<ChainResult> {
  return verifyTrace([jsonl(lines)]);
}

async function assertRefused(lines: readonly string[], error: VerifyError, at: number, message?: string): Promise<void> {
  const result = await verify(lines);
  assert.deepEqual([result.valid, result.error, result.error_at, result.events, result.warnings], [false, error, at, at, []], message);
}

/** A chain of four events that ends its session, and its last line's hash. */
async function chain(): Promise<{ lines: string[]; head: string }> {
  const lines = await chainLines([...rawEvents(0, 3), rawEvent(3, { type: "session.ended" })]);
  return { lines, head: hashOf(lines.at(-1) ?? "") };
}

function hashOf(line: string): string {
  return (JSON.parse(line) as { readonly event_hash: string }).event_hash;
}

test("the reference vector hashes to the protocol's value", async () => {
  const hash = await createHasher("sha256");
  assert.equal(hash(eventPreimage(REFERENCE, GENESIS_HASH)), REFERENCE_HASH);
  assert.deepEqual(await verify([eventLine(REFERENCE, GENESIS_HASH, REFERENCE_HASH)]), {
    valid: true,
    events: 1,
    error: null,
    error_at: null,
    message: null,
    head: REFERENCE_HASH,
    algorithm: "sha256",
    warnings: ["truncated"],
    profile: "jcs",
    protects_boundaries: true,
  });
});

test("an unknown hash algorithm is refused", async () => {
  await assert.rejects(createHasher("md5"), (error) => error instanceof CraError && error.code === "unknown_algorithm");
});

test("a hash that WebAssembly refuses is an error and no verdict", async () => {
  const chains = [await chainLines(rawEvents(0, 2)), await chainLines(blake3Events(0, 2), "blake3")];
  const { instantiate } = WebAssembly;
  const refuse = (): Promise<never> => Promise.reject(new Error("refused"));
  WebAssembly.instantiate = refuse;
  try {
    for (const lines of chains) {
      await assert.rejects(verify(lines), (error) => error instanceof CraError && error.code === "hash_unavailable");
    }
  } finally {
    WebAssembly.instantiate = instantiate;
  }
});

test("a whole chain verifies and tells its head", async () => {
  const { lines, head } = await chain();
  assert.deepEqual(await verify(lines), { valid: true, events: 4, error: null, error_at: null, message: null, head, algorithm: "sha256", warnings: [], profile: "jcs", protects_boundaries: true });
});

test("a trace without any event has no genesis", async () => {
  assert.deepEqual(await verifyTrace([]), {
    valid: false,
    events: 0,
    error: "bad_genesis",
    error_at: 0,
    message: null,
    head: null,
    algorithm: null,
    warnings: [],
    profile: "jcs",
    protects_boundaries: true,
  });
});

test("chunks may be cut anywhere, inside characters too", async () => {
  const lines = await chainLines(rawEvents(0, 3, { payload: '{"text":"€\u{1f600} \u2028"}' }));
  const bytes = jsonl(lines);
  for (const size of [1, 2, 7, 100, bytes.length]) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.slice(n * size, (n + 1) * size));
    assert.equal((await verifyTrace(chunks)).events, 3, `chunks of ${size}`);
  }
});

for (const algorithm of ALGORITHMS) {
  test(`one flipped bit in any byte of any event is found at that event, under ${algorithm}`, async () => {
    const events = [...(algorithm === "blake3" ? blake3Events : rawEvents)(0, 3), rawEvent(3, { type: "session.ended" })];
    const bytes = jsonl(await chainLines(events, algorithm));
    assert.deepEqual((await verifyTrace([bytes])).algorithm, algorithm);
    let line = 0;
    for (let at = 0; at < bytes.length; at += 1) {
      const flipped = bytes.slice();
      const byte = bytes[at] ?? 0;
      flipped[at] = byte ^ (1 << (at % 8));
      const result = await verifyTrace([flipped]);
      assert.equal(result.valid, false, `byte ${at}`);
      assert.equal(result.error_at, line, `byte ${at}`);
      if (byte === 10) line += 1;
    }
    assert.equal(line, 4);
  });
}

test("a changed field of right format is told by the term that fits", async () => {
  const { lines } = await chain();
  const [first = "", second = "", third = ""] = lines;
  const change = (line: string, from: RegExp, to: string): string => line.replace(from, to);
  await assertRefused([first, change(second, /"n":1/, '"n":2'), third], "hash_mismatch", 1);
  await assertRefused([first, change(second, /note\.taken/, "note.token"), third], "hash_mismatch", 1);
  await assertRefused([first, change(second, /03:04:05/, "03:04:06"), third], "hash_mismatch", 1);
  await assertRefused([first, change(second, /"parent_span_id":"[^"]*"/, '"parent_span_id":null'), third], "hash_mismatch", 1);
  await assertRefused([first, change(second, /"event_hash":"[^"]*"/, `"event_hash":"${GENESIS_HASH}"`), third], "hash_mismatch", 1);
  await assertRefused([first, change(second, /"previous_event_hash":"[^"]*"/, `"previous_event_hash":"${GENESIS_HASH}"`)], "chain_broken", 1);
  await assertRefused([first, change(second, /"session_id":"[^"]*"/, `"session_id":"${SESSION_B}"`)], "chain_broken", 1);
  await assertRefused([first, change(second, /"sequence":1/, '"sequence":2')], "sequence_gap", 1);
  await assertRefused([change(first, /"previous_event_hash":"0/, '"previous_event_hash":"1')], "bad_genesis", 0);
});

test("a missing, repeated or moved event is a sequence gap; a missing first one a bad genesis", async () => {
  const { lines } = await chain();
  const [first = "", second = "", third = "", fourth = ""] = lines;
  await assertRefused([first, third, fourth], "sequence_gap", 1);
  await assertRefused([first, first, second], "sequence_gap", 1);
  await assertRefused([first, third, second], "sequence_gap", 1);
  await assertRefused([second, third, fourth], "bad_genesis", 0);
});

test("an event after session.ended does not belong to the chain", async () => {
  const lines = await chainLines([rawEvent(0), rawEvent(1, { type: "session.ended" }), rawEvent(2)]);
  await assertRefused(lines, "chain_broken", 2);
});

test("fields whose boundary was moved keep the preimage and are refused by their formats", async () => {
  const hash = await createHasher("sha256");
  const event = rawEvent(0, { type: "a.b" });
  const moved: RawEvent[] = [
    { ...event, event_id: event.event_id + event.trace_id.slice(0, 1), trace_id: event.trace_id.slice(1) },
    { ...event, span_id: event.span_id + event.session_id.slice(0, 4), session_id: event.session_id.slice(4) },
    { ...event, timestamp: event.timestamp.slice(0, -1), event_type: `Z${event.event_type}` },
    { ...event, timestamp: `${event.timestamp}a`, event_type: ".b" },
    { ...event, parent_span_id: event.session_id, session_id: "" },
  ];
  for (const one of moved) {
    const text = eventPreimage(one, GENESIS_HASH);
    assert.equal(text, eventPreimage(event, GENESIS_HASH));
    await assertRefused([eventLine(one, GENESIS_HASH, hash(text))], "bad_field", 0);
  }
});

test("a line that is not its canonical form is a bad field", async () => {
  const { lines } = await chain();
  const [first = "", second = ""] = lines;
  const variants: readonly [string, string][] = [
    ["white space", second.replace('"n":1', '"n": 1')],
    ["a trailing blank", `${second} `],
    ["a carriage return", `${second}\r`],
    ["a byte order mark", `\ufeff${second}`],
    ["another spelling of a number", second.replace('"n":1', '"n":1.0')],
    ["an exponent", second.replace('"n":1', '"n":1e0')],
    ["minus zero", second.replace('"n":1', '"n":-0')],
    ["an escape that is not needed", second.replace('"n":1', '"\\u006e":1')],
    ["an integer beyond 2^53-1", second.replace('"n":1', '"n":9007199254740992')],
    ["an integer literal of 21 digits", second.replace('"n":1', '"n":100000000000000000000')],
    ["a lone surrogate", second.replace('"n":1', '"n":"\\ud800"')],
    ["a sequence with a fraction", second.replace('"sequence":1', '"sequence":1.0')],
    ["a sequence as text", second.replace('"sequence":1', '"sequence":"1"')],
    ["a negative sequence", second.replace('"sequence":1', '"sequence":-1')],
    ["a sequence beyond 2^53-1", second.replace('"sequence":1', '"sequence":9007199254740993')],
    ["a payload that is no object", second.replace('{"n":1}', "[1]")],
    ["an empty payload field", second.replace('{"n":1}', "null")],
    ["an upper-case id", second.replace('"event_id":"0190', '"event_id":"019A')],
    ["another trace_version", second.replace('"trace_version":"1.0"', '"trace_version":"1.1"')],
    ["a missing field", second.replace(/"parent_span_id":"[^"]*",/, "")],
    ["a thirteenth field", second.replace('"trace_version"', '"trace_v":1,"trace_version"')],
    ["another order of the fields", second.replace(/(\{)("event_hash":"[^"]*"),("event_id":"[^"]*")/, "$1$3,$2")],
    ["a timestamp without its fraction", second.replace(".000006Z", "Z")],
    ["digits that are not ASCII", second.replace("2026-", "٢٠٢٦-")],
    ["an event type of one word", second.replace("note.taken", "note")],
    ["no JSON", second.slice(0, -1)],
    ["an empty line", ""],
    ["a JSON value that is no object", "[]"],
  ];
  for (const [name, line] of variants) {
    assert.notEqual(line, second, name);
    await assertRefused([first, line], "bad_field", 1, name);
  }
});

test("a number at the limit that is written canonically is accepted", async () => {
  const payload = '{"a":9007199254740991,"b":1e+21,"c":5e-324,"d":0.1}';
  assert.equal((await verify(await chainLines([rawEvent(0, { payload })]))).valid, true);
});

test("a duplicate key has a term of its own, in the event and in its payload", async () => {
  const { lines } = await chain();
  const [first = "", second = ""] = lines;
  await assertRefused([first, second.replace('{"n":1}', '{"n":1,"n":1}')], "duplicate_key", 1);
  await assertRefused([first, second.replace('"sequence":1', '"sequence":1,"sequence":1')], "duplicate_key", 1);
});

test("a payload nests to the limit and not beyond", async () => {
  const nested = (depth: number): string => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
  assert.equal((await verify(await chainLines([rawEvent(0, { payload: nested(64) })]))).valid, true);
  await assertRefused(await chainLines([rawEvent(0, { payload: nested(65) })]), "bad_field", 0);
});

test("a payload beyond a million characters is refused and a line without end is not collected", async () => {
  const payload = (chars: number): string => `{"a":"${"\u{1f600}".repeat(chars - 8)}"}`;
  assert.equal((await verify(await chainLines([rawEvent(0, { payload: payload(1_000_000) })]))).valid, true);
  await assertRefused(await chainLines([rawEvent(0, { payload: payload(1_000_001) })]), "bad_field", 0);
  let chunks = 0;
  const endless = (function* () {
    for (;;) {
      chunks += 1;
      yield new Uint8Array(1024 * 1024).fill(0x20);
    }
  })();
  assert.equal((await verifyTrace(endless)).error, "bad_field");
  assert.ok(chunks < 10, `${chunks} chunks were read`);
});

test("a line that is too long is a bad field, whatever its keys", async () => {
  const { lines } = await chain();
  const [first = "", second = ""] = lines;
  const twice = (chars: number): string => second.replace('{"n":1}', `{"n":1,"n":"${"x".repeat(chars)}"}`);
  await assertRefused([first, twice(1_000_000)], "duplicate_key", 1);
  await assertRefused([first, twice(1_005_000)], "bad_field", 1);
});

test("bytes that are no UTF-8 are a bad field", async () => {
  const { lines } = await chain();
  const bytes = jsonl(lines);
  bytes[bytes.indexOf("n".charCodeAt(0), 300)] = 0xff;
  assert.equal((await verifyTrace([bytes])).error, "bad_field");
});

test("a last line without its line feed is torn", async () => {
  const { lines, head } = await chain();
  const bytes = jsonl(lines);
  const result = await verifyTrace([bytes.subarray(0, -1)]);
  assert.deepEqual([result.error, result.error_at], ["bad_field", 3]);
  assert.notEqual(result.head, head);
});
